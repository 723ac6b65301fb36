"""Retention: which segments may go by age, by size and by number, and saying so in words.

Oldest first, stopping at the first that must stay; never past the limit (the high watermark). The
active segment may go too: it is rolled first, so that a log always has one.

*Age* is counted from the largest record time of a segment, if that can be believed. It cannot if
it lies behind the last append (a stamp of the future would pin the log), or so far before the
first append that the segment would have been gone when it was written (old records that are
copied here stay as long as new ones). Then the time of the last append counts.

*Append times* are those of the node's steady clock (`clock_guard`). Where that clock had to be set
anew, nothing is older than the moment of the setting: `trusted_since_ms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from logd.storage.access import LogContext, summarize
from logd.storage.clock_guard import SKEW_MS_MAX
from logd.storage.config import LogConfig
from logd.storage.segment import Segment

#: Where now and an append time are both right, now is at most this much behind it.
_BEHIND_MS_MAX = 3 * SKEW_MS_MAX


class Moment(NamedTuple):
    """What a check knows of time.

    `now_ms` is what ages are counted to. `brake` says in words why nothing may go by age, empty
    when it may. Whatever is there is at most as old as `trusted_since_ms`.
    """

    now_ms: int
    brake: str = ""
    trusted_since_ms: int = 0


class DeletedSegment(NamedTuple):
    """Offsets `[base_offset, next_offset)` of `size` bytes, and the setting that let them go."""

    base_offset: int
    next_offset: int
    size: int
    reason: str


class RetentionStatus(NamedTuple):
    """What retention would take now, and when the oldest segment that stays is old enough.

    `due_ms` is None where age decides nothing; `held_back`: the high watermark is in the way.
    """

    deletable: tuple[DeletedSegment, ...]
    segments: int
    due_ms: int | None
    held_back: bool


class Bounds(NamedTuple):
    """A log as a whole: bytes of all segments, its end, and where deletion must stop."""

    size: int
    end_offset: int
    limit_offset: int


def expired(
    context: LogContext,
    segments: Sequence[Segment],
    config: LogConfig,
    bounds: Bounds,
    moment: Moment,
) -> list[DeletedSegment]:
    """Return the oldest segments that retention lets go.

    By size the log stays at or above `retention_bytes`, by number it keeps `retention_records`
    committed offsets or more, by age a segment goes once it is older than `retention_ms`.
    """
    result: list[DeletedSegment] = []
    size = bounds.size
    for segment, following in zip(segments, [*segments[1:], None], strict=True):
        next_offset = following.base_offset if following is not None else bounds.end_offset
        if next_offset > bounds.limit_offset or (following is None and not segment.size):
            break
        reason = _by_extent(segment, config, size, bounds.limit_offset - next_offset)
        reason = reason or _by_age(context, segment, config, moment)
        if reason is None:
            break
        result.append(DeletedSegment(segment.base_offset, next_offset, segment.size, reason))
        size -= segment.size
    return result


def _by_extent(segment: Segment, config: LogConfig, size: int, behind: int) -> str | None:
    """`size` is of this segment and all later ones, `behind` the offsets of the later ones."""
    if config.retention_bytes >= 0 and size - config.retention_bytes >= segment.size:
        return "retention.bytes"
    if 0 <= config.retention_records <= behind:
        return "retention.records"
    return None


def _by_age(context: LogContext, segment: Segment, config: LogConfig, moment: Moment) -> str | None:
    if config.retention_ms < 0 or moment.brake:
        return None
    try:
        summarize(context, segment)
    except FileNotFoundError:
        return "missing"
    born_ms = retention_time_ms(segment, config.retention_ms, moment)
    return "retention.ms" if moment.now_ms - born_ms > config.retention_ms else None


def retention_time_ms(segment: Segment, retention_ms: int, moment: Moment) -> int:
    """Return the time that a segment's age is counted from; see the module's text."""
    append_ms = segment.last_append_ms
    stamp_ms = segment.max_timestamp
    if stamp_ms < 0 or not segment.first_append_ms - retention_ms <= stamp_ms <= append_ms:
        stamp_ms = append_ms
    if moment.trusted_since_ms and append_ms - moment.now_ms > _BEHIND_MS_MAX:
        # Written while the clock was ahead; it has been set back since, no later than then.
        return moment.trusted_since_ms
    return max(stamp_ms, moment.trusted_since_ms)


def may_have_expired(
    segments: Sequence[Segment], config: LogConfig, bounds: Bounds, moment: Moment
) -> bool:
    """Whether it is worth asking `expired`: no I/O, may err on the side of yes."""
    segment = segments[0]
    if len(segments) == 1:
        next_offset = bounds.end_offset
        if not segment.size:
            return False
    else:
        next_offset = segments[1].base_offset
    if next_offset > bounds.limit_offset:
        return False
    if _by_extent(segment, config, bounds.size, bounds.limit_offset - next_offset):
        return True
    if config.retention_ms < 0 or moment.brake:
        return False
    if not segment.summarized:
        return True
    born_ms = retention_time_ms(segment, config.retention_ms, moment)
    return moment.now_ms - born_ms > config.retention_ms


def retention_status(
    context: LogContext,
    segments: Sequence[Segment],
    config: LogConfig,
    bounds: Bounds,
    moment: Moment,
) -> RetentionStatus:
    """Look without deleting; may read digests."""
    deletable = expired(context, segments, config, bounds, moment)
    oldest = segments[len(deletable)] if len(deletable) < len(segments) else None
    due_ms = None
    held_back = False
    if oldest is not None and oldest.size:
        following = segments[len(deletable) + 1 :]
        next_offset = following[0].base_offset if following else bounds.end_offset
        held_back = next_offset > bounds.limit_offset
        if config.retention_ms >= 0:
            summarize(context, oldest)
            born_ms = retention_time_ms(oldest, config.retention_ms, moment)
            due_ms = born_ms + config.retention_ms + 1
    return RetentionStatus(tuple(deletable), len(segments), due_ms, held_back)
