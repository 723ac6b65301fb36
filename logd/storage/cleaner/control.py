"""The cleaning of one log: what could be cleaned, a plan, and its result put in place."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from logd_wire.errors import StorageFailedError, StorageFullError

from logd.storage.access import LogContext
from logd.storage.cleaner.plan import (
    CleaningPlan,
    CleaningStatus,
    LogShape,
    Surroundings,
    cleaning_status,
    plan_cleaning,
)
from logd.storage.cleaner.result import CleaningResult
from logd.storage.cleaner.state import (
    UNKNOWN_END,
    CleanState,
    load_state,
    lower_state,
    store_state,
)
from logd.storage.cleaner.swap import begin_swap, discard, swap_in
from logd.storage.config import LogConfig
from logd.storage.deletion import Deletion
from logd.storage.files import is_no_space
from logd.storage.producers import ProducerState
from logd.storage.retention import Moment
from logd.storage.segment import Segment
from logd.storage.sync import SyncState


class CleaningInputs(NamedTuple):
    """A log as it is now. The last segment is the active one."""

    segments: tuple[Segment, ...]
    config: LogConfig
    start_offset: int
    durable_end: int
    generation: int
    producers: ProducerState


class CleanedLog(Protocol):
    """What a log offers to its cleaning."""

    def cleaning_inputs(self) -> CleaningInputs: ...

    def replace_segments(self, sources: Sequence[Segment], segment: Segment) -> None: ...


class CleaningControl:
    """One for each log. Only `status` may be called beside the writer."""

    def __init__(
        self, context: LogContext, deletion: Deletion, sync: SyncState, log: CleanedLog
    ) -> None:
        self._context = context
        self._deletion = deletion
        self._sync = sync
        self._log = log
        self.state: CleanState = load_state(context.files, context.directory, context.identity)

    def status(self, moment: Moment, limit_offset: int, *, asked: bool = False) -> CleaningStatus:
        """What could be cleaned, and whether it is worth it; `asked`: somebody wants it done.

        Any thread. OSError: a segment cannot be looked at.
        """
        inputs = self._log.cleaning_inputs()
        shape = self._shape(inputs, limit_offset)
        return cleaning_status(self._context, shape, inputs.config, moment, asked=asked)

    def _shape(self, inputs: CleaningInputs, limit_offset: int) -> LogShape:
        limit = min(limit_offset, inputs.durable_end)
        return LogShape(inputs.segments, inputs.start_offset, limit, self.state)

    def plan(
        self,
        moment: Moment,
        limit_offset: int,
        *,
        tag: str,
        map_bytes: int,
        asked: bool = False,
        replicated_end: int | None = None,
    ) -> CleaningPlan | None:
        """Make a plan if a pass is due.

        `limit_offset`: the ledger vouches for what is below, durably. Every replica has what lies
        below `replicated_end`; None: there is no other. OSError: a segment cannot be looked at.
        """
        inputs = self._log.cleaning_inputs()
        shape = self._shape(inputs, limit_offset)
        status = cleaning_status(self._context, shape, inputs.config, moment, asked=asked)
        if not status.verdict.is_due:
            return None
        around = Surroundings(
            generation=inputs.generation,
            kept_batches=inputs.producers.batch_offsets(status.cleanable_end),
            tag=tag,
            map_bytes=map_bytes,
            replicated_end=inputs.durable_end if replicated_end is None else replicated_end,
        )
        return plan_cleaning(self._context, shape, inputs.config, moment, status, around=around)

    def swap(self, result: CleaningResult, number: int) -> bool:
        """Put file `number` of a pass in place, in their order; False: the log has changed, or
        there is no room for a name.

        Views that are open stay usable. After False, or an error, `discard`. OSError and
        StorageFailedError: it stopped half way, the log writes no more, a start finishes it.
        """
        self._sync.check_usable()
        inputs, cleaned = self._log.cleaning_inputs(), result.files[number]
        sources = [one for one in inputs.segments[:-1] if one.base_offset in cleaned.sources]
        if not self._notes_forgotten(result.forgotten_end):
            return False
        if (
            result.generation != inputs.generation
            or [one.base_offset for one in sources] != list(cleaned.sources)
            or sources[-1].next_offset != cleaned.next_offset
        ):
            return False
        try:
            begin_swap(self._context, cleaned)
        except OSError as error:
            if is_no_space(error):
                return False
            self._sync.failed = True
            raise
        try:
            segment = swap_in(self._context, self._deletion, cleaned, sources)
        except BaseException as error:
            self._sync.failed = True
            if not isinstance(error, OSError) or not is_no_space(error):
                raise
            raise StorageFailedError(
                f"no space for a name in {self._context.directory}: the swap of a cleaned segment"
                " is unfinished",
                hint="free space, then start the node again: the start finishes it",
            ) from error
        self._log.replace_segments(sources, segment)
        return True

    def _notes_forgotten(self, end_offset: int) -> bool:
        try:
            self.forget_below(end_offset)
        except StorageFullError:
            return False
        return True

    def finish(self, result: CleaningResult) -> bool:
        """All files of a pass are in place: so far the log is clean. False: it has been cut since,
        and counts as it did before."""
        self._sync.check_usable()
        if result.generation != self._log.cleaning_inputs().generation:
            return False
        state = self.state._replace(
            first_dirty=result.mapped_end,
            horizon_ms=result.horizon_ms,
            cleaned_at_ms=result.now_ms,
        )
        with contextlib.suppress(StorageFullError):
            self._store(state)
        self.state = state
        return True

    def forget_below(self, offset: int) -> None:
        """Tombstones below `offset` are about to be missing; durable on return.

        `swap` does it for a pass that drops some. Whoever copies records from a log that lacks some
        does it before. Raises StorageFullError, StorageFailedError and OSError.
        """
        self._sync.check_usable()
        if offset <= self.state.forgotten_end:
            return
        state = self.state._replace(forgotten_end=offset)
        self._store(state)
        self.state = state

    def assume_forgotten(self, end_offset: int) -> None:
        """Where it is not known below which offset tombstones are missing: below `end_offset`."""
        if self.state.forgotten_end == UNKNOWN_END:
            self.state = self.state._replace(forgotten_end=end_offset)

    def _store(self, state: CleanState) -> None:
        context = self._context
        self._sync.guarded(
            lambda: store_state(context.files, context.directory, context.identity, state)
        )

    def discard(self, result: CleaningResult) -> None:
        """Remove what is left of a pass that was given up."""
        discard(self._context.files, self._context.directory, result.files)

    def lower(self, end_offset: int) -> None:
        """The log is about to be cut at `end_offset`: it is not clean beyond."""
        context = self._context
        self.state = lower_state(
            context.files, context.directory, context.identity, self.state, end_offset
        )
