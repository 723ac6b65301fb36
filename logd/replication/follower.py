"""One copied partition, in the leadership of another node.

    at rest      not begun, or not connected
    ASKED        a position is out: what is durable here, and the wish for what comes next
    WRITING      the log is being appended to, cut, or restarted: one of them at a time
    WAITING      until the time of `RetryAt`: the leader could not serve, or the log not be written
    STOPPED      after an alarm

    at rest, connected        ASKED
    ASKED: records            WRITING        ASKED, disconnected     at rest
    ASKED: diverges           WRITING        WRITING: done           ASKED
    ASKED: too low            WRITING        WRITING: failed         WAITING
    ASKED: refused            WAITING        WAITING: it is time     ASKED

Nothing is ever cut because it lies above the high watermark: where logs part, leader epochs tell.
A cut below it means that committed records are lost somewhere: an alarm.

A leader may have forgotten that keys were deleted, below its `forgotten_end`. Whoever has less than
that may hold values that were deleted since, and would keep them: its log starts over. Once it is
copied as a whole from one leader, with the same forgotten end, there is nothing to be missed. That
never meets a replica in sync, because nothing is forgotten before it is committed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from logd.model.ids import LeaderEpoch
from logd.replication.divergence import NO_EPOCH, Diverges, EndOffsetFor, truncation_offset
from logd.replication.effects import (
    Alarm,
    AppendChunk,
    FollowerEffect,
    HighWatermarkMoved,
    RestartAt,
    RetryAt,
    SendPosition,
    TrimTo,
    TruncateTo,
)
from logd.replication.events import (
    Appended,
    AppendFailed,
    Begin,
    Chunk,
    Connected,
    Disconnected,
    FollowerEvent,
    Restarted,
    Tick,
    Truncated,
)

#: How long to wait before a leader that could not serve, or a log that failed, is tried again.
RETRY_MS: Final = 100


class _State(StrEnum):
    AT_REST = "at rest"
    ASKED = "asked"
    WRITING = "writing"
    WAITING = "waiting"
    STOPPED = "stopped"


class PartitionFollower:
    """Invariant: `start_offset <= high_watermark <= end_offset`."""

    def __init__(
        self,
        leader_epoch: LeaderEpoch,
        *,
        end_offset: int,
        last_epoch: int,
        high_watermark: int,
        start_offset: int,
        end_offset_for: EndOffsetFor,
    ) -> None:
        """Begin at the durable end of the own log.

        `high_watermark` is what is known to be committed, also by what was trimmed.
        `end_offset_for` answers for the own log as it is when asked.
        """
        self.high_watermark = min(max(high_watermark, start_offset), end_offset)
        self._leader_epoch = leader_epoch
        self._end_offset = end_offset
        self._last_epoch = last_epoch
        self._start_offset = start_offset
        self._end_offset_for = end_offset_for
        self._leader_high_watermark = 0
        self._state = _State.AT_REST
        self._retry_ms = 0
        #: The leader's forgotten end when its log began to be copied as a whole; None: it was not.
        self._forgotten_end: int | None = None
        self._is_begun = False
        self._is_connected = False

    def handle(self, event: FollowerEvent) -> list[FollowerEffect]:
        """Take in what happened; return what is to be done."""
        match event:
            case Begin():
                self._is_begun = True
                return self._asked()
            case Connected():
                self._is_connected = True
                return self._asked()
            case Disconnected():
                self._is_connected = False
                if self._state is _State.ASKED:
                    self._state = _State.AT_REST
                return []
            case Chunk():
                return self._chunk(event)
            case Tick():
                return self._tick(event.now_ms)
            case _:
                return self._written(event)

    def _asked(self) -> list[FollowerEffect]:
        """Send a position, if that is what comes next."""
        if self._state is not _State.AT_REST or not (self._is_begun and self._is_connected):
            return []
        self._state = _State.ASKED
        return [SendPosition(self._end_offset, self._last_epoch)]

    def _tick(self, now_ms: int) -> list[FollowerEffect]:
        if self._state is not _State.WAITING or now_ms < self._retry_ms:
            return []
        self._state = _State.AT_REST
        return self._asked()

    def _waiting(self, now_ms: int) -> list[FollowerEffect]:
        self._state = _State.WAITING
        self._retry_ms = now_ms + RETRY_MS
        return [RetryAt(self._retry_ms)]

    def _chunk(self, chunk: Chunk) -> list[FollowerEffect]:
        if self._state is not _State.ASKED or chunk.leader_epoch != self._leader_epoch:
            return []
        if chunk.refused:
            return self._waiting(chunk.now_ms)
        if chunk.diverging is not None:
            return self._cut(chunk.diverging)
        self._leader_high_watermark = chunk.high_watermark
        if chunk.too_low:
            return self._restart(chunk)
        if chunk.size_bytes and self._may_miss_deletes(chunk.forgotten_end):
            return self._start_over(chunk.log_start_offset)
        effects = [*self._committed(), *self._trimmed(chunk.log_start_offset)]
        if chunk.size_bytes:
            self._state = _State.WRITING
            missed = chunk.forgotten_end if chunk.forgotten_end > self._end_offset else 0
            return [*effects, AppendChunk(missed)]
        self._state = _State.AT_REST
        return [*effects, *self._asked()]

    def _cut(self, diverging: Diverges) -> list[FollowerEffect]:
        offset = truncation_offset(
            self._end_offset_for, self._end_offset, self._start_offset, diverging
        )
        if offset < self.high_watermark:
            return self._stopped(f"would be cut to offset {offset}")
        self._state = _State.WRITING
        return [TruncateTo(offset)]

    def _restart(self, chunk: Chunk) -> list[FollowerEffect]:
        if chunk.log_start_offset <= self._end_offset:
            # Not so: nothing that comes next is gone.
            return self._waiting(chunk.now_ms)
        self._state = _State.WRITING
        return [RestartAt(chunk.log_start_offset)]

    def _may_miss_deletes(self, forgotten_end: int) -> bool:
        if self._end_offset == self._start_offset:
            self._forgotten_end = forgotten_end
        return self._end_offset < forgotten_end != self._forgotten_end

    def _start_over(self, leader_start: int) -> list[FollowerEffect]:
        offset = max(leader_start, self._start_offset)
        self.high_watermark = min(self.high_watermark, offset)
        self._state = _State.WRITING
        return [HighWatermarkMoved(self.high_watermark), RestartAt(offset)]

    def _stopped(self, what: str) -> list[FollowerEffect]:
        self._state = _State.STOPPED
        return [
            Alarm(
                f"the log {what} for the leader of epoch {self._leader_epoch}, and is committed up "
                f"to offset {self.high_watermark}: committed records are lost on a replica"
            )
        ]

    def _trimmed(self, leader_start: int) -> list[FollowerEffect]:
        """Follow the leader's start, no further than what is committed here."""
        offset = min(leader_start, self.high_watermark)
        if offset <= self._start_offset:
            return []
        self._start_offset = offset
        return [TrimTo(offset)]

    def _written(
        self, event: Appended | AppendFailed | Truncated | Restarted
    ) -> list[FollowerEffect]:
        if self._state is not _State.WRITING:
            return []
        match event:
            case AppendFailed():
                return self._waiting(event.now_ms)
            case Restarted():
                self._start_offset = event.offset
                self._end_offset, self._last_epoch = event.offset, NO_EPOCH
            case Appended() | Truncated():
                self._end_offset, self._last_epoch = event.end_offset, event.last_epoch
        if self._end_offset < self.high_watermark:
            return self._stopped(f"was cut to offset {self._end_offset}")
        self._state = _State.AT_REST
        return [*self._committed(), *self._asked()]

    def _committed(self) -> list[FollowerEffect]:
        """What the leader says is committed is so here, as far as it is here. What lies below the
        start of the log was committed before it was trimmed."""
        known = max(self._leader_high_watermark, self._start_offset)
        offset = min(known, self._end_offset)
        if offset <= self.high_watermark:
            return []
        self.high_watermark = offset
        return [HighWatermarkMoved(offset)]
