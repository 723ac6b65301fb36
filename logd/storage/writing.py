"""Before and after a write: where a batch belongs, and what to do when it did not go through."""

from __future__ import annotations

from typing import Final

from logd_wire import BatchHeader

from logd.storage.clock_guard import SKEW_MS_MAX
from logd.storage.config import LogConfig
from logd.storage.files import is_no_space
from logd.storage.handles import Handle
from logd.storage.segment import RELATIVE_OFFSET_MAX, Segment
from logd.storage.sync import SyncState, full_error

#: Append times this far ahead of now were made by a clock that has been set back since.
_AHEAD_MS_MAX: Final = 3 * SKEW_MS_MAX


def write_rest(handle: Handle, batch: bytes, stamp: bytes, position: int, written: int) -> None:
    """Go on after a short write; the error behind it comes with the next one."""
    view = memoryview(stamp + batch[len(stamp) :])
    while written < len(view):
        written += handle.file.pwrite([view[written:]], position + written)


def cut_back(
    sync: SyncState, directory: str, handle: Handle, position: int, error: OSError
) -> Exception:
    """Take a batch back that was not written whole; return what the caller is to raise."""
    if is_no_space(error):
        try:
            handle.file.truncate(position)
        except OSError as cut_error:
            sync.failed = True
            return cut_error
        if handle.segment not in sync.dirty:
            sync.dirty[handle.segment] = handle
        return full_error(directory)
    sync.failed = True
    return error


def roll_is_due(segment: Segment, config: LogConfig, now_ms: int) -> bool:
    """By time alone. Times of a clock that was set back since and those of now do not mix."""
    return segment.size > 0 and (
        now_ms - segment.first_append_ms >= config.roll_ms
        or segment.last_append_ms - now_ms > _AHEAD_MS_MAX
    )


def is_full(
    segment: Segment, header: BatchHeader, end_offset: int, config: LogConfig, now_ms: int
) -> bool:
    """Whether the batch, which begins at `end_offset`, belongs into another segment."""
    relative_end = end_offset + header.last_offset_delta - segment.base_offset
    return (
        segment.size + header.size > config.segment_bytes
        or roll_is_due(segment, config, now_ms)
        or relative_end > RELATIVE_OFFSET_MAX
    )
