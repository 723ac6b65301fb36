"""Who waits for the metadata log: proposals, reads, and those that want it applied so far."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from logd_wire.errors import ErrorCode, LogdError, NotLeaderError, OutcomeUnknownError

from logd.consensus import Committed, Entry
from logd.model.ids import NO_NODE, LogIndex, NodeId, Term
from logd.runtime.signal import Level, within

T = TypeVar("T")


class Pending:
    """Futures of callers. One that gave up takes itself out; nothing here waits."""

    def __init__(self) -> None:
        self._proposals: dict[LogIndex, tuple[Term, asyncio.Future[Committed]]] = {}
        self._reads: dict[int, asyncio.Future[LogIndex]] = {}
        self._last_read = 0
        self._applied = Level()

    # --- proposals ---------------------------------------------------------------------------

    async def proposal(self, index: LogIndex, term: Term, *, timeout_ms: int) -> Committed:
        """Wait until the entry proposed at `index` is applied. Raises OutcomeUnknownError."""
        future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._proposals[index] = (term, future)
        try:
            return await within(future, timeout_ms)
        except TimeoutError as error:
            raise OutcomeUnknownError(
                f"the metadata log did not take the change within {timeout_ms} ms",
                hint="it may still happen; look before you try again",
            ) from error
        finally:
            held = self._proposals.get(index)
            if held is not None and held[1] is future:
                del self._proposals[index]

    def applied(self, entry: Entry, result: object) -> None:
        """An entry was applied: whoever proposed it is answered, and whoever proposed another
        one for its place learns that this did not happen."""
        held = self._proposals.get(entry.index)
        if held is None:
            return
        term, future = held
        if future.done():
            return
        if term == entry.term:
            future.set_result(Committed(entry.index, entry.term, result))
        else:
            future.set_exception(lost("another leader's change took its place"))

    def fail_proposals(self, error: LogdError, *, below: LogIndex | None = None) -> None:
        """Tell those who proposed, below an index or at all, that they will not be answered."""
        for index, (_, future) in list(self._proposals.items()):
            if (below is None or index < below) and not future.done():
                future.set_exception(error)

    # --- reads -------------------------------------------------------------------------------

    def new_read(self) -> int:
        """A context for a read that is about to be asked for."""
        self._last_read += 1
        return self._last_read

    async def read(self, context: int, *, timeout_ms: int) -> LogIndex:
        """Wait until the read may be answered. Raises OutcomeUnknownError."""
        future: asyncio.Future[LogIndex] = asyncio.get_running_loop().create_future()
        self._reads[context] = future
        try:
            return await within(future, timeout_ms)
        except TimeoutError as error:
            raise OutcomeUnknownError(
                f"the metadata could not be confirmed within {timeout_ms} ms",
                hint="nothing was changed; try again",
            ) from error
        finally:
            self._reads.pop(context, None)

    def confirmed(self, context: int, index: LogIndex) -> None:
        future = self._reads.get(context)
        if future is not None and not future.done():
            future.set_result(index)

    def not_confirmed(self, context: int, error: LogdError) -> None:
        future = self._reads.get(context)
        if future is not None and not future.done():
            future.set_exception(error)

    # --- everything below an index -----------------------------------------------------------

    async def reached(self, index: LogIndex, *, timeout_ms: float) -> None:
        """Wait until `move_to` reaches `index`. Raises TimeoutError."""
        await self._applied.wait(index, timeout_ms=timeout_ms)

    def move_to(self, index: LogIndex) -> None:
        """Everything below `index` has been applied."""
        self._applied.move_to(index)

    def fail_all(self, error: LogdError) -> None:
        """Nobody will be answered any more."""
        futures: list[asyncio.Future[Any]] = [future for _, future in self._proposals.values()]
        futures += self._reads.values()
        for future in futures:
            if not future.done():
                future.set_exception(error)


def lost(why: str) -> OutcomeUnknownError:
    """What a proposer is told that will not be answered."""
    return OutcomeUnknownError(
        f"it is not known whether the metadata log took the change: {why}",
        hint="look before you try again",
    )


def led_no_more(leader_id: NodeId | None) -> NotLeaderError:
    """What is told of a read that was begun while this node led. `leader_id`: who does now."""
    error = NotLeaderError(
        "this node does not lead the metadata log any more",
        hint="try again in a moment",
        code=ErrorCode.NOT_CONTROLLER,
    )
    error.leader_id = NO_NODE if leader_id is None else leader_id
    return error
