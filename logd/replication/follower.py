"""One copied partition under one leadership.

    IDLE ──Begin, Connected──▶ ASKED ──Chunk──▶ WRITING ──Appended──▶ ASKED
                                 │                 ├─ diverges: TruncateTo ──Truncated──▶ ASKED
                                 │                 ├─ too low: RestartAt ──Restarted──▶ ASKED
                                 │                 └─ AppendFailed ──▶ PAUSED
                                 ├──refused──▶ PAUSED ──RetryAt, Tick──▶ ASKED
                                 └──Disconnected──▶ IDLE   (from WRITING: once it is written)

A position says what is durable here and asks for more. Nothing is ever cut because it lies above
a high watermark: where logs part, leader epochs tell. Cutting below what is known to be committed
means that somebody lost what was promised: the partition stops with an alarm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from logd.model.ids import LeaderEpoch
from logd.replication.divergence import Diverges, EndOffsetFor, truncation_offset

#: How long to wait before a leader is asked again that could not answer, or a full disk is tried.
RETRY_MS: Final = 100


@dataclass(frozen=True, slots=True)
class Connected:
    """The leader can be asked."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The stream broke: what was asked is not answered any more."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The leader's answer; its records are with whoever carries the machine out."""

    leader_epoch: LeaderEpoch
    size_bytes: int
    high_watermark: int
    log_start_offset: int
    diverging: Diverges | None
    too_low: bool
    refused: bool
    now_ms: int


@dataclass(frozen=True, slots=True)
class Written:
    """What was to be written is durable: the log ends there, with a batch of `last_epoch`."""

    end_offset: int
    last_epoch: int


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """It could not be written, and may be tried again."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Retry:
    """The time named by `RetryAt` has come."""


@dataclass(frozen=True, slots=True)
class SendPosition:
    """Tell the leader how far the log is durable."""

    end_offset: int
    last_epoch: int


@dataclass(frozen=True, slots=True)
class AppendChunk:
    """Append the records of the chunk; answered by `Written` or `WriteFailed`, as the next two."""


@dataclass(frozen=True, slots=True)
class TruncateTo:
    """Cut the log to whole batches below `offset`."""

    offset: int


@dataclass(frozen=True, slots=True)
class RestartAt:
    """Forget everything and go on empty at `offset`."""

    offset: int


@dataclass(frozen=True, slots=True)
class TrimTo:
    """Let the log start at `offset`, as the leader's does. Not answered."""

    offset: int


@dataclass(frozen=True, slots=True)
class Committed:
    """Everything below `offset` is committed, and here."""

    offset: int


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Send `Retry` at that time."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that must not be: nothing more is copied in this leadership."""

    text: str


FollowerEvent = Connected | Disconnected | Chunk | Written | WriteFailed | Retry
FollowerEffect = (
    SendPosition | AppendChunk | TruncateTo | RestartAt | TrimTo | Committed | RetryAt | Alarm
)


class _Phase(Enum):
    IDLE = "idle"
    ASKED = "asked"
    WRITING = "writing"
    PAUSED = "paused"
    STOPPED = "stopped"


class PartitionFollower:
    """One object for each partition and leadership of another node."""

    def __init__(
        self,
        leader_epoch: LeaderEpoch,
        *,
        end_offset: int,
        last_epoch: int,
        start_offset: int,
        high_watermark: int,
        end_offset_for: Callable[[], EndOffsetFor],
    ) -> None:
        """Ends are durable. `end_offset_for` returns where the epochs of the own log end, now."""
        self.leader_epoch = leader_epoch
        self._end_offset = end_offset
        self._last_epoch = last_epoch
        self._start_offset = start_offset
        self._high_watermark = high_watermark
        self._leader_high_watermark = -1
        self._end_offset_for = end_offset_for
        self._phase = _Phase.IDLE
        self._connected = False

    def handle(self, event: FollowerEvent) -> list[FollowerEffect]:
        """Take an event in; returns what is to be done, in that order."""
        match event:
            case Connected():
                self._connected = True
                return self._ask() if self._phase is _Phase.IDLE else []
            case Disconnected():
                self._connected = False
                if self._phase in (_Phase.ASKED, _Phase.PAUSED):
                    self._phase = _Phase.IDLE
                return []
            case Chunk():
                return self._chunk(event)
            case Written():
                return self._written(event)
            case WriteFailed():
                return self._pause(event.now_ms) if self._phase is _Phase.WRITING else []
            case Retry():
                return self._ask() if self._phase is _Phase.PAUSED else []

    def _ask(self) -> list[FollowerEffect]:
        if not self._connected:
            self._phase = _Phase.IDLE
            return []
        self._phase = _Phase.ASKED
        return [SendPosition(self._end_offset, self._last_epoch)]

    def _pause(self, now_ms: int) -> list[FollowerEffect]:
        self._phase = _Phase.PAUSED
        return [RetryAt(now_ms + RETRY_MS)]

    def _chunk(self, chunk: Chunk) -> list[FollowerEffect]:
        if self._phase is not _Phase.ASKED or chunk.leader_epoch != self.leader_epoch:
            return []
        if chunk.refused:
            return self._pause(chunk.now_ms)
        if chunk.diverging is not None:
            return self._cut(chunk.diverging)
        self._phase = _Phase.WRITING
        if chunk.too_low:
            return [RestartAt(chunk.log_start_offset)]
        self._leader_high_watermark = chunk.high_watermark
        effects = self._commit()
        # Never beyond what is known to be committed: the leader's start is at most that.
        start = min(chunk.log_start_offset, self._high_watermark)
        if start > self._start_offset:
            self._start_offset = start
            effects.append(TrimTo(start))
        if chunk.size_bytes:
            return [*effects, AppendChunk()]
        return [*effects, *self._ask()]

    def _cut(self, diverging: Diverges) -> list[FollowerEffect]:
        offset = truncation_offset(
            self._end_offset_for(), self._end_offset, self._start_offset, diverging
        )
        if offset < self._high_watermark:
            self._phase = _Phase.STOPPED
            return [
                Alarm(
                    f"the leader of epoch {self.leader_epoch} does not have what was committed: "
                    f"it would be cut to {offset}, below the high watermark "
                    f"{self._high_watermark}"
                )
            ]
        self._phase = _Phase.WRITING
        return [TruncateTo(offset)]

    def _written(self, event: Written) -> list[FollowerEffect]:
        if self._phase is not _Phase.WRITING:
            return []
        self._end_offset = event.end_offset
        self._last_epoch = event.last_epoch
        self._start_offset = min(self._start_offset, event.end_offset)
        return [*self._commit(), *self._ask()]

    def _commit(self) -> list[FollowerEffect]:
        """What the leader says is committed is so here as far as it is here."""
        offset = min(self._leader_high_watermark, self._end_offset)
        if offset <= self._high_watermark:
            return []
        self._high_watermark = offset
        return [Committed(offset)]
