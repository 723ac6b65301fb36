"""Commands to the leader of the metadata log, when it is another node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from logd_wire.errors import ErrorCode, LogdError, NetworkError, NotLeaderError
from logd_wire.errors import TimeoutError as CallTimeoutError

from logd.metadata import Command
from logd.runtime.peers import Identify, PeerTransport, Submit, Submitted
from logd.runtime.ports import Clock

#: How long a leader may take that is asked again elsewhere afterwards.
ATTEMPT_TIMEOUT_MS: Final = 5_000
#: How long it may take to say that it is there.
REACH_TIMEOUT_MS: Final = 1_000
#: A leader that answered so short a time ago is there: it is not asked before every command.
REACHED_MS: Final = 100
#: Commands on their way; the leader takes a few more calls from one node.
COMMANDS_MAX: Final = 128


class LeaderCalls:
    """Implements `Leader` over the peer transport; None where there are no peers."""

    def __init__(
        self, transport: PeerTransport | None, leader_address: Callable[[], str], clock: Clock
    ) -> None:
        """`leader_address` says where the leader is now; empty: unknown."""
        self._transport = transport
        self._leader_address = leader_address
        self._clock = clock
        self._room = asyncio.Semaphore(COMMANDS_MAX)
        #: Who answered last, and when it was asked.
        self._reached: tuple[str, int] = ("", 0)

    async def submit(self, command: Command, *, once: bool, timeout_ms: int) -> Submitted:
        deadline_ms = self._clock.monotonic_ms() + timeout_ms
        async with self._admitted(timeout_ms):
            left_ms = max(deadline_ms - self._clock.monotonic_ms(), 1)
            return await self._submit(command, once, left_ms)

    @asynccontextmanager
    async def _admitted(self, timeout_ms: int) -> AsyncIterator[None]:
        try:
            if self._room.locked():
                await asyncio.wait_for(self._room.acquire(), timeout_ms / 1000)
            else:
                # At once, without the task that a limited wait takes: every read passes here.
                await self._room.acquire()
        except TimeoutError:
            raise _nobody(f"{COMMANDS_MAX} other commands wait for the leader") from None
        try:
            yield
        finally:
            self._room.release()

    async def _submit(self, command: Command, once: bool, timeout_ms: int) -> Submitted:
        address = self._leader_address()
        if self._transport is None or not address:
            raise _nobody("the leader of the metadata log is not known")
        if not once:
            await self._reach(self._transport, address, timeout_ms)
        attempt_ms = min(timeout_ms, ATTEMPT_TIMEOUT_MS) if once else timeout_ms
        asked_ms = self._clock.monotonic_ms()
        try:
            answer = await self._transport.call(address, Submit(command), timeout_ms=attempt_ms)
        except (NetworkError, CallTimeoutError):
            self._reached = ("", 0)
            raise
        assert isinstance(answer, Submitted), "the transport matches answers to calls"
        self._reached = (address, asked_ms)
        return answer

    async def _reach(self, transport: PeerTransport, address: str, timeout_ms: int) -> None:
        """Tell a leader that is gone from one that takes the command and does not answer."""
        now_ms = self._clock.monotonic_ms()
        if self._reached[0] == address and now_ms - self._reached[1] <= REACHED_MS:
            return
        try:
            reach_ms = min(timeout_ms, REACH_TIMEOUT_MS)
            await transport.call(address, Identify(), timeout_ms=reach_ms)
        except (NetworkError, CallTimeoutError) as error:
            raise _nobody(f"the leader cannot be reached: {error.message}") from error
        self._reached = (address, now_ms)


def _nobody(why: str) -> LogdError:
    return NotLeaderError(why, hint="try again in a moment", code=ErrorCode.NOT_CONTROLLER)
