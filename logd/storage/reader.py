"""What readers hold: an immutable view of a partition log.

A view names the segments and the ends as they were when it was taken; it stays usable while the
log grows, rolls and loses its oldest segments (until those are unlinked). Nothing here writes the
log, and any number of threads may read.

The fast path checks each batch it hands out: CRC-32C, chain of base offsets, leader epoch. What
does not fit goes to the slow path, which walks with every check (`walk`) from the last index entry,
remembers the damaged ranges, and serves what can be believed.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import NamedTuple

from crc32c import crc32c
from logd_wire import decode_batch, read_header
from logd_wire.errors import (
    DataLossError,
    LogdError,
    OffsetOutOfRangeError,
    StorageFailedError,
)
from logd_wire.limits import BATCH_BYTES_MAX, BATCH_HEADER_BYTES

from logd.storage.access import LogContext, index_of, summarize
from logd.storage.damage import Damage
from logd.storage.handles import Handle
from logd.storage.segment import Segment
from logd.storage.walk import Found, Walker

_HEAD = struct.Struct(">qiibIhi")
_PREFIX = 12
_CRC_FROM = 21


class ReadResult(NamedTuple):
    """Whole batches, bytes as on disk; the first may begin below the offset asked for."""

    records: bytes
    next_offset: int


class _Want(NamedTuple):
    """What a read is to return: from `offset` on, below `limit`, and where to begin looking.

    `position` and `expected` are of a batch at or below `offset`, as the index has them.
    """

    offset: int
    bytes_max: int
    limit: int
    position: int
    expected: int


class _Unreadable(Exception):
    """The fast path met bytes it cannot vouch for."""


class LogView:
    """See the module's text. Ends are exclusive."""

    __slots__ = (
        "_context",
        "_segments",
        "durable_end_offset",
        "size_bytes",
        "start_offset",
        "written_end_offset",
    )

    def __init__(
        self,
        context: LogContext,
        segments: tuple[Segment, ...],
        *,
        start_offset: int,
        durable_end_offset: int,
        written_end_offset: int,
        size_bytes: int,
    ) -> None:
        self._context = context
        self._segments = segments
        self.start_offset = start_offset
        self.durable_end_offset = durable_end_offset
        self.written_end_offset = written_end_offset
        self.size_bytes = size_bytes

    @property
    def segment_count(self) -> int:
        return len(self._segments)

    @property
    def damage(self) -> tuple[Damage, ...]:
        """Damaged ranges that are known so far and not yet trimmed."""
        return tuple(d for d in self._context.damage.ranges if d.end_offset > self.start_offset)

    def size_from(self, offset: int) -> int:
        """Return about how many bytes lie at and above `offset`."""
        size = 0
        for index, segment in enumerate(self._segments):
            base, end = segment.base_offset, self._segment_end(index)
            if end > offset:
                size += segment.size * (end - max(base, offset)) // max(end - base, 1)
        return size

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        """Return (largest known epoch <= `epoch`, its end offset); (-1, -1) if there is none."""
        return self._context.epochs.end_offset_for(epoch, self.written_end_offset)

    def epoch_at(self, offset: int) -> int:
        """Return the epoch of the batch at `offset`; -1: it lies below all that are known."""
        return self._context.epochs.epoch_at(offset)

    def read(self, offset: int, *, bytes_max: int, limit_offset: int) -> ReadResult:
        """Return verified whole batches from the one that holds `offset`, all below `limit_offset`.

        At least one batch however large, then as many as fit in `bytes_max`; never across a
        segment. The limit lies at a batch border; empty when `offset` is the limit. Raises
        OffsetOutOfRangeError (`next_offset`: the start or the limit) and DataLossError
        (`next_offset`: where reading can go on, -1 nowhere).
        """
        limit = min(limit_offset, self.written_end_offset)
        if not self.start_offset <= offset <= limit:
            raise self._out_of_range(offset, limit)
        if offset == limit:
            return ReadResult(b"", offset)
        segments = self._segments
        index = bisect_right(segments, offset, key=_base_offset) - 1
        if index < 0 or self._context.damage.find(offset) is not None:
            raise self._data_loss(offset)
        segment = segments[index]
        try:
            handle = self._context.handles.acquire(segment)
        except FileNotFoundError:
            raise self._missing_file(segment, index, offset) from None
        try:
            return self._read_segment(handle, index, offset, bytes_max, limit)
        except OSError as error:
            raise StorageFailedError(
                f"reading offset {offset} of {self._context.directory} failed: {error}",
                hint="check the disk; another replica may have the range",
            ) from error
        finally:
            self._context.handles.release(handle)

    def _read_segment(
        self, handle: Handle, index: int, offset: int, bytes_max: int, limit: int
    ) -> ReadResult:
        segment = handle.segment
        relative, position = index_of(self._context, handle).find_offset(
            offset - segment.base_offset
        )
        if self._context.damage.ranges and self._context.damage.find(offset) is not None:
            raise self._data_loss(offset)
        end = min(limit, self._segment_end(index))
        want = _Want(offset, bytes_max, end, position, segment.base_offset + relative)
        try:
            return self._read_fast(handle, want)
        except _Unreadable:
            return self._read_slowly(handle, want)

    def _segment_end(self, index: int) -> int:
        if index + 1 < len(self._segments):
            return self._segments[index + 1].base_offset
        return self.written_end_offset

    def _read_fast(self, handle: Handle, want: _Want) -> ReadResult:
        interval = self._context.index_interval
        position, available = want.position, handle.segment.size - want.position
        ahead = min(max(want.bytes_max, BATCH_HEADER_BYTES), 2 * BATCH_BYTES_MAX)
        data = handle.file.pread(min(ahead + interval, available), position)
        at, expected = _skip_to(data, want.expected, want.offset)
        if at < 0:
            # The batch asked for begins behind what was read: large batches, small `bytes_max`.
            data = handle.file.pread(min(2 * BATCH_BYTES_MAX + interval, available), position)
            at, expected = _skip_to(data, want.expected, want.offset)
            if at < 0:
                raise _Unreadable
        size = _batch_size(data, at)
        if at + size > len(data):
            data = handle.file.pread(size, position + at)
            at = 0
        end, next_offset = self._take(data, at, expected, want)
        if end == at:
            raise _Unreadable
        return ReadResult(data if end - at == len(data) else data[at:end], next_offset)

    def _take(self, data: bytes, at: int, expected: int, want: _Want) -> tuple[int, int]:
        """Return where the verified batches from `at` on end, and the offset behind them."""
        epochs = self._context.epochs
        epoch = epochs.epoch_at(expected)
        change = epochs.change_after(expected)
        view = memoryview(data)
        unpack = _HEAD.unpack_from
        size, limit = len(data), want.limit
        start, end_max = at, at + want.bytes_max
        while expected < limit and at + BATCH_HEADER_BYTES <= size:
            base, length, leader_epoch, magic, crc, _, delta = unpack(data, at)
            end = at + _PREFIX + length
            if end > size or (end > end_max and at > start):
                break
            if change is not None and base >= change:
                epoch = epochs.epoch_at(base)
                change = epochs.change_after(base)
            if (
                base != expected
                or magic != 2
                or leader_epoch != epoch
                or end <= at
                or crc32c(view[at + _CRC_FROM : end]) != crc
            ):
                break
            at = end
            expected = base + delta + 1
        return at, expected

    def _read_slowly(self, handle: Handle, want: _Want) -> ReadResult:
        parts: list[bytes] = []
        taken, offset, next_offset = 0, want.offset, want.offset
        for item in self._walk(handle, want.position, want.expected, want.limit):
            if isinstance(item, Damage):
                self._context.damage.add(item)
                if parts or item.start_offset <= offset < item.end_offset:
                    break
                continue
            if item.header.next_offset <= offset:
                continue
            if parts and taken + item.header.size > want.bytes_max:
                break
            parts.append(item.buffer[item.at : item.at + item.header.size])
            taken += item.header.size
            next_offset = item.header.next_offset
            if taken >= want.bytes_max:
                break
        if not parts:
            raise self._data_loss(offset)
        return ReadResult(b"".join(parts), next_offset)

    def _walk(self, handle: Handle, position: int, expected: int, end_offset: int) -> Walker:
        return Walker(
            handle.file,
            segment_base=handle.segment.base_offset,
            position=position,
            end_position=handle.segment.size,
            expected=expected,
            epochs=self._context.epochs,
            bound=end_offset,
            resync=True,
            window_bytes=self._context.index_interval + BATCH_HEADER_BYTES,
        )

    def offset_for_time(self, timestamp_ms: int, limit_offset: int) -> tuple[int, int] | None:
        """Return (offset, timestamp) of the first record at or behind `timestamp_ms`.

        By log order: with stamps out of order an earlier stamp may follow. None: no such record
        below the limit. Damaged ranges are passed over.
        """
        limit = min(limit_offset, self.written_end_offset)
        for index, segment in enumerate(self._segments):
            if segment.base_offset >= limit:
                return None
            try:
                summarize(self._context, segment)
                if segment.max_timestamp < timestamp_ms:
                    continue
                handle = self._context.handles.acquire(segment)
            except FileNotFoundError:
                continue
            try:
                end = min(limit, self._segment_end(index))
                hit = self._find_time(handle, timestamp_ms, end)
            finally:
                self._context.handles.release(handle)
            if hit is not None:
                return hit
        return None

    def append_time_at(self, offset: int) -> int:
        """When the batch at `offset` was appended, or one shortly after it; -1: unknown."""
        return self.append_times_around(offset)[1]

    def append_times_around(self, offset: int) -> tuple[int, int]:
        """Between which times, ends included, the batch at `offset` was appended; -1: unknown."""
        index = bisect_right(self._segments, offset, key=_base_offset) - 1
        if index < 0:
            return -1, -1
        segment = self._segments[index]
        relative = offset - segment.base_offset
        try:
            summarize(self._context, segment)
            handle = self._context.handles.acquire(segment)
        except OSError:
            return -1, -1
        try:
            entries = index_of(self._context, handle)
            return (
                entries.append_time_before(relative, segment.first_append_ms),
                entries.append_time_after(relative, segment.last_append_ms),
            )
        except OSError:
            return -1, -1
        finally:
            self._context.handles.release(handle)

    def batch_border(self, offset: int) -> int:
        """Return where the batch that holds `offset` begins, the end if none does.

        Where that cannot be told, for damage, it is the start of the log.
        """
        if offset >= self.written_end_offset:
            return self.written_end_offset
        try:
            found = self.read(offset, bytes_max=1, limit_offset=self.written_end_offset)
        except LogdError:
            return self.start_offset
        return read_header(found.records).base_offset

    def _find_time(self, handle: Handle, timestamp_ms: int, end: int) -> tuple[int, int] | None:
        segment = handle.segment
        index = index_of(self._context, handle)
        relative, position = max(
            index.find_time(timestamp_ms),
            index.find_offset(max(self.start_offset - segment.base_offset, 0)),
        )
        for item in self._walk(handle, position, segment.base_offset + relative, end):
            if isinstance(item, Damage):
                self._context.damage.add(item)
            elif item.header.max_timestamp >= timestamp_ms:
                hit = self._first_at(item, timestamp_ms, end)
                if hit is not None:
                    return hit
        return None

    def _first_at(self, found: Found, timestamp_ms: int, end: int) -> tuple[int, int] | None:
        if self._context.damage.find(found.header.base_offset) is not None:
            return None
        for record in decode_batch(found.buffer, found.at, verify=False):
            if record.timestamp >= timestamp_ms and self.start_offset <= record.offset < end:
                return record.offset, record.timestamp
        return None

    def _out_of_range(self, offset: int, limit: int) -> OffsetOutOfRangeError:
        below = offset < self.start_offset
        return OffsetOutOfRangeError(
            f"offset {offset} of {self._context.directory} is out of range: "
            f"{self.start_offset} to {limit} can be read",
            hint="choose a reset policy, or seek",
            next_offset=self.start_offset if below else limit,
        )

    def _data_loss(self, offset: int) -> DataLossError:
        next_offset = offset
        while next_offset < self.written_end_offset:
            damage = self._context.damage.find(next_offset)
            if damage is None:
                break
            next_offset = damage.end_offset
        if next_offset == offset:
            next_offset = -1
        return DataLossError(
            f"offset {offset} of {self._context.directory} is damaged on this replica; "
            f"reading can go on at {next_offset}",
            hint="copy the range from another replica, or accept the loss and read on",
            next_offset=next_offset,
        )

    def _missing_file(self, segment: Segment, index: int, offset: int) -> Exception:
        if segment.suffix != ".log":
            return OffsetOutOfRangeError(
                f"offset {offset} of {self._context.directory} was deleted by retention or trim",
                hint="take the log's start",
                next_offset=self._segment_end(index),
            )
        end = self._segment_end(index)
        self._context.damage.add(
            Damage(segment.base_offset, end, segment.base_offset, 0, "the file is missing")
        )
        return self._data_loss(offset)


def _base_offset(segment: Segment) -> int:
    return segment.base_offset


def _batch_size(data: bytes, at: int) -> int:
    """Return the size the header at `at` claims; _Unreadable if there is none that can be."""
    if len(data) - at < BATCH_HEADER_BYTES:
        raise _Unreadable
    size: int = _HEAD.unpack_from(data, at)[1] + _PREFIX
    if not BATCH_HEADER_BYTES <= size <= BATCH_BYTES_MAX:
        raise _Unreadable
    return size


def _skip_to(data: bytes, expected: int, offset: int) -> tuple[int, int]:
    """Return position and base offset of the batch that holds `offset`; position -1: not in `data`.

    Only chained headers are looked at; what is handed out is verified later.
    """
    at = 0
    first = expected
    while True:
        if at + BATCH_HEADER_BYTES > len(data):
            return -1, first
        base, length, _, magic, _, _, delta = _HEAD.unpack_from(data, at)
        if base != expected or magic != 2 or length < BATCH_HEADER_BYTES - _PREFIX or delta < 0:
            raise _Unreadable
        if base + delta >= offset:
            return at, base
        expected = base + delta + 1
        at += length + _PREFIX
