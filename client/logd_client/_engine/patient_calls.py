"""Calls that any node may answer, sent again where that helps, until time is over."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from google.protobuf.message import Message
from logd_wire.errors import (
    BootstrapError,
    ErrorCode,
    LogdError,
    NetworkError,
    OutcomeUnknownError,
    TimeoutError,
)

from logd_client._core.backoff import Backoff
from logd_client._engine.cluster import ASK_TIMEOUT_MS, Cluster, Connection
from logd_client._engine.ports import Clock, Rng

#: Refusals after which a change may be sent again: it has certainly not happened.
NOT_DONE: Final = frozenset(
    {ErrorCode.OVERLOADED, ErrorCode.NOT_CONTROLLER, ErrorCode.SHUTTING_DOWN}
)
#: Ends of a call that tell nothing of what became of it.
NOT_KNOWN: Final = frozenset({ErrorCode.OUTCOME_UNKNOWN, ErrorCode.BOOTSTRAP})
#: Hints in a row that are followed without a wait.
HINTS_AT_ONCE_MAX: Final = 2


class PatientCalls:
    """What is asked of a cluster as a whole. Raises what the node answers that is asked last."""

    def __init__(self, cluster: Cluster, clock: Clock, rng: Rng, timeout_ms: float) -> None:
        self._cluster = cluster
        self._clock = clock
        self._rng = rng
        self._timeout_ms = timeout_ms
        self._backoff = Backoff()

    async def read(self, method: str, request: Message) -> Any:
        """A call that changes nothing: repeated while that helps."""
        return await self.patiently(
            lambda left_ms: self._cluster.ask(method, request, timeout_ms=left_ms)
        )

    async def change(self, method: str, request: Message, *, repeatable: bool = False) -> Any:
        """A call that changes something: repeated only where it has certainly not happened, unless
        it is `repeatable`: then a second time changes nothing more."""

        await self._know_where_else()

        async def once(left_ms: float) -> Any:
            connection = await self._cluster.any_connection()
            return await self._sent(connection, method, request, left_ms)

        return await self.patiently(once, NOT_DONE | NOT_KNOWN if repeatable else NOT_DONE)

    async def change_once(self, method: str, request: Message) -> Any:
        """A change that carries an id drawn here, by which the cluster knows it again: sent until
        it is answered. OutcomeUnknownError: time is over, and it may have happened."""
        await self._know_where_else()
        doubt: LogdError | None = None

        async def once(left_ms: float) -> Any:
            nonlocal doubt
            try:
                connection = await self._cluster.any_connection()
                patience_ms = min(left_ms, ASK_TIMEOUT_MS)
                return await self._sent(connection, method, request, patience_ms)
            except OutcomeUnknownError as error:
                doubt = error
                raise
            except BootstrapError as error:
                if doubt is None:
                    raise
                raise doubt from error

        try:
            return await self.patiently(once, NOT_DONE | {ErrorCode.OUTCOME_UNKNOWN})
        except LogdError as error:
            if doubt is not None and error.code in NOT_DONE:
                # This time it was refused; what became of it before is not known.
                raise doubt from error
            raise

    async def change_members(self, method: str, request: Message) -> Any:
        """A change of who is there, which a second time changes nothing more. Those that are there
        afterwards are known: the node that was asked may be the next to go."""
        answer = await self.change(method, request, repeatable=True)
        with contextlib.suppress(LogdError):
            await self._cluster.refresh(())
        return answer

    async def _know_where_else(self) -> None:
        """Where else to ask, when the node that is asked goes."""
        if not self._cluster.metadata.nodes:
            await self._cluster.refresh(())

    async def _sent(
        self, connection: Connection, method: str, request: Message, timeout_ms: float
    ) -> Any:
        """The answer of one node to a change; OutcomeUnknownError when none came."""
        try:
            return await connection.call(method, request, timeout_ms=timeout_ms)
        except (NetworkError, TimeoutError) as error:
            self._cluster.go_elsewhere(connection.address, error)
            what = method.rpartition("/")[2]
            raise OutcomeUnknownError(
                f"outcome unknown: {what} was sent, and no answer came ({error.message})",
                hint="look whether it happened before trying again",
                broker=error.broker,
                retriable=False,
            ) from error

    def new_id(self) -> bytes:
        return bytes(int(self._rng.random() * 256) for _ in range(16))

    async def patiently(
        self,
        call: Callable[[float], Awaitable[Any]],
        again: frozenset[ErrorCode] = NOT_DONE,
    ) -> Any:
        """Call until it does not end in one of `again`, or time is over."""
        deadline_ms = self._clock.monotonic_ms() + self._timeout_ms
        attempt = 0
        while True:
            left_ms = deadline_ms - self._clock.monotonic_ms()
            try:
                return await call(max(1.0, left_ms))
            except LogdError as error:
                if error.code not in again:
                    raise
                attempt += 1
                delay_ms = self._backoff.delay_ms(attempt, self._rng)
                # A hint is followed at once; but two nodes may name each other.
                if self._hinted(error) and attempt <= HINTS_AT_ONCE_MAX:
                    delay_ms = 0.0
                if delay_ms >= left_ms:
                    raise
            await self._clock.sleep_ms(delay_ms)

    def _hinted(self, error: LogdError) -> bool:
        """Whether a refusal named the node to go to; its sender is asked last from now on."""
        if error.code is ErrorCode.OVERLOADED or not error.broker:
            return False
        return self._cluster.go_elsewhere(error.broker, error)
