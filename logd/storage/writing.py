"""Writing a batch: where it belongs, and what to do when it did not go through."""

from __future__ import annotations

from typing import Final

from crc32c import crc32c
from logd_wire import BatchHeader

from logd.storage.access import LogContext, index_of
from logd.storage.clock_guard import SKEW_MS_MAX
from logd.storage.config import LogConfig
from logd.storage.files import is_no_space
from logd.storage.handles import Handle
from logd.storage.segment import HEAD_BYTES, RELATIVE_OFFSET_MAX, Segment
from logd.storage.sync import SyncState, full_error

#: Append times this far ahead of now were made by a clock that has been set back since.
_AHEAD_MS_MAX: Final = 3 * SKEW_MS_MAX

Buffer = bytes | memoryview


class BatchWriter:
    """Holds the open file of the active segment, pinned, between one batch and the next."""

    def __init__(self, context: LogContext, sync: SyncState) -> None:
        self._context = context
        self._sync = sync
        self._handle: Handle | None = None

    def open(self, segment: Segment) -> Handle:
        """Return the open file of the active segment, its index in memory. OSError."""
        if self._handle is not None:
            return self._handle
        handle = self._context.handles.acquire(segment)
        try:
            index_of(self._context, handle)
        except BaseException:
            self._context.handles.release(handle)
            raise
        self._handle = handle
        return handle

    def add(
        self,
        segment: Segment,
        header: BatchHeader,
        parts: tuple[Buffer, Buffer],
        *,
        base_offset: int,
        leader_epoch: int,
        append_ms: int,
    ) -> None:
        """Write a batch behind the last and count it; not durable yet.

        `parts` are the stamped head (offset, length, epoch) and the rest. Raises StorageFullError
        (nothing was changed), and OSError (the log writes no more).
        """
        handle = self._handle or self.open(segment)
        head, rest = parts
        position = segment.size
        try:
            written = handle.file.pwrite((head, rest), position)
            if written != len(head) + len(rest):
                _write_rest(handle, parts, position, written)
        except OSError as error:
            raise self._cut_back(handle, position, error) from error
        segment.add(
            header,
            base_offset,
            leader_epoch,
            position=position,
            append_ms=append_ms,
            header_crc=crc32c(rest[: HEAD_BYTES - len(head)], crc32c(head, segment.header_crc)),
            index_interval=self._context.index_interval,
        )
        self._sync.dirty[segment] = handle

    def _cut_back(self, handle: Handle, position: int, error: OSError) -> Exception:
        """Take a batch back that was not written whole; return what the caller is to raise."""
        if is_no_space(error):
            try:
                handle.file.truncate(position)
            except OSError as cut_error:
                self._sync.failed = True
                return cut_error
            if handle.segment not in self._sync.dirty:
                self._sync.dirty[handle.segment] = handle
            return full_error(self._context.directory)
        self._sync.failed = True
        return error

    def release(self, handle: Handle) -> None:
        """Give back the pin of a file that has become clean."""
        if handle is self._handle:
            self._handle = None
        self._context.handles.release(handle)

    def drop(self) -> None:
        """Give the pin back, unless unsynced bytes still hold it."""
        if self._handle is not None and self._handle.segment not in self._sync.dirty:
            self._context.handles.release(self._handle)
        self._handle = None


def _write_rest(handle: Handle, parts: tuple[Buffer, Buffer], position: int, written: int) -> None:
    """Go on after a short write; the error behind it comes with the next one."""
    view = memoryview(b"".join(parts))
    while written < len(view):
        written += handle.file.pwrite([view[written:]], position + written)


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
