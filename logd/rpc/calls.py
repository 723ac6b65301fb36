"""Who may call now: counts calls by connection, refuses beyond the limits, and waits for the end.

gRPC does not tell Python about connections, only about calls. A connection counts from its first
call under way to its last; one without calls is closed by the transport after five idle minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from logd_wire.errors import OverloadedError, ShuttingDownError


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Most calls and streams under way, in all and on one connection, and most connections."""

    calls_max: int = 8_192
    connections_max: int = 4_000
    calls_per_connection_max: int = 100
    #: Whether `limits.connections` and `limits.streams_per_connection` set them.
    configurable: bool = True


class Stoppable(Protocol):
    """Something under way that is told when the node is about to stop."""

    def stop(self) -> None: ...


class _Admitted:
    """One of thousands that may be under way: a generator would weigh more."""

    __slots__ = ("_awaited", "_calls", "_peer")

    def __init__(self, calls: Calls, peer: str, awaited: bool) -> None:
        self._calls, self._peer, self._awaited = calls, peer, awaited

    def __enter__(self) -> None:
        self._calls.begin(self._peer, self._awaited)

    def __exit__(self, *_: object) -> None:
        self._calls.end(self._peer, self._awaited)


class Calls:
    """The calls under way on one server."""

    def __init__(self, limits: CallLimits) -> None:
        self.limits = limits
        self.under_way = 0
        self._awaited = 0
        self._by_peer: dict[str, int] = {}
        # A dict keeps the order of the starts.
        self._stoppable: dict[Stoppable, None] = {}
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def connections(self) -> int:
        """Number of connections with at least one call under way."""
        return len(self._by_peer)

    def admitted(self, peer: str, *, awaited: bool = True) -> AbstractContextManager[None]:
        """One call of `peer`, from here to the end of the block.

        `awaited`: `wait_idle` waits for its end. Raises ShuttingDownError when the node stops,
        OverloadedError beyond the limits.
        """
        return _Admitted(self, peer, awaited)

    def begin(self, peer: str, awaited: bool) -> None:
        """What `admitted` does where the block begins."""
        self._check(peer)
        self.under_way += 1
        self._awaited += awaited
        self._by_peer[peer] = self._by_peer.get(peer, 0) + 1
        if awaited:
            self._idle.clear()

    def end(self, peer: str, awaited: bool) -> None:
        """What it does where the block ends."""
        self.under_way -= 1
        self._awaited -= awaited
        left = self._by_peer[peer] - 1
        if left:
            self._by_peer[peer] = left
        else:
            del self._by_peer[peer]
        if self._awaited == 0:
            self._idle.set()

    @contextmanager
    def told_to_stop(self, call: Stoppable) -> Iterator[None]:
        """Within the block, `call.stop()` is called when the node is about to stop."""
        self._stoppable[call] = None
        try:
            yield
        finally:
            del self._stoppable[call]

    def stop(self) -> None:
        """Refuse new calls from now on, and tell those under way; idempotent."""
        self._stopping = True
        for call in list(self._stoppable):
            call.stop()

    async def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no call is under way that is awaited; False when `timeout_s` passed before."""
        if self._idle.is_set():
            return True
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def _check(self, peer: str) -> None:
        if self._stopping:
            raise shutting_down()
        limits = self.limits
        own = self._by_peer.get(peer, 0)
        if own >= limits.calls_per_connection_max:
            raise OverloadedError(
                f"{own} calls are under way on this connection, the most there may be",
                hint=self._hint("wait for some of them", "limits.streams_per_connection"),
            )
        if own == 0 and len(self._by_peer) >= limits.connections_max:
            raise OverloadedError(
                f"{len(self._by_peer)} connections are in use on this node, the most there may be",
                hint=self._hint("try again later", "limits.connections"),
            )
        if self.under_way >= limits.calls_max:
            raise OverloadedError(
                f"{self.under_way} calls are under way on this node, the most there may be",
                hint="try again later",
            )

    def _hint(self, what: str, setting: str) -> str:
        return f"{what}, or raise {setting}" if self.limits.configurable else what


def shutting_down() -> ShuttingDownError:
    """The error of every call that a stopping node refuses or ends."""
    return ShuttingDownError(
        "the node is shutting down", hint="try again; another node, or this one, will answer"
    )
