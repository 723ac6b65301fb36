"""Commands to the leader of the metadata log, when it is another node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from logd_wire.errors import ErrorCode, LogdError, NetworkError, NotLeaderError
from logd_wire.errors import TimeoutError as CallTimeoutError

from logd.metadata import Command
from logd.runtime.peers import Identify, PeerTransport, Submit, Submitted

#: How long a leader may take that is asked again elsewhere afterwards.
ATTEMPT_TIMEOUT_MS: Final = 5_000
#: How long it may take to say that it is there.
REACH_TIMEOUT_MS: Final = 1_000


class LeaderCalls:
    """Implements `Leader` over the peer transport; None where there are no peers."""

    def __init__(self, transport: PeerTransport | None, leader_address: Callable[[], str]) -> None:
        """`leader_address` says where the leader is now; empty: unknown."""
        self._transport = transport
        self._leader_address = leader_address

    async def submit(self, command: Command, *, once: bool, timeout_ms: int) -> Submitted:
        address = self._leader_address()
        if self._transport is None or not address:
            raise _nobody("the leader of the metadata log is not known")
        if not once:
            # A leader that is gone is told from one that took the command and did not answer.
            try:
                reach_ms = min(timeout_ms, REACH_TIMEOUT_MS)
                await self._transport.call(address, Identify(), timeout_ms=reach_ms)
            except (NetworkError, CallTimeoutError) as error:
                raise _nobody(f"the leader cannot be reached: {error.message}") from error
        attempt_ms = min(timeout_ms, ATTEMPT_TIMEOUT_MS) if once else timeout_ms
        answer = await self._transport.call(address, Submit(command), timeout_ms=attempt_ms)
        assert isinstance(answer, Submitted), "the transport matches answers to calls"
        return answer


def _nobody(why: str) -> LogdError:
    return NotLeaderError(why, hint="try again in a moment", code=ErrorCode.NOT_CONTROLLER)
