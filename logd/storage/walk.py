"""Walking a segment batch by batch with every check there is.

A batch is believed if its header is sane, its CRC-32C is right, its base offset is the one that
must come next, and its leader epoch is the one that the epoch file has for it. So each bit of it
is covered: what the CRC leaves out is bound by the chain of offsets, by the epoch file, or (the
length) by the CRC being taken over the wrong bytes.

After damage the walk can go on at the next batch that can be believed: the one where the damaged
header says that its batch ends or, if that length is damaged too, the first place that holds a
valid batch and behind it another one that follows it (or the end). The second condition keeps
batches that lie in record values from being taken for batches of the log.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from crc32c import crc32c
from logd_wire import BatchHeader, verify_batch
from logd_wire.batch import CRC_POSITION, HEADER, MAGIC
from logd_wire.errors import CorruptBatchError
from logd_wire.limits import BATCH_BYTES_MAX, BATCH_HEADER_BYTES

from logd.storage.damage import Damage
from logd.storage.epochs import LeaderEpochs
from logd.storage.files import File, Files

_LENGTH = struct.Struct(">i")
_LENGTH_POSITION = 8
_LENGTH_PREFIX = 12
_MAGIC_POSITION = 16
_MAGIC = bytes([MAGIC])
OFFSET_MAX = (1 << 63) - 1


class Found(NamedTuple):
    """A batch that was believed: at `position` of the file, in `buffer` from `at` on."""

    position: int
    header: BatchHeader
    buffer: bytes
    at: int

    @property
    def end_position(self) -> int:
        return self.position + self.header.size


class Walker:
    """Walks `file` from `position` to `end_position`, both at batch borders.

    `expected` is the base offset of the first batch. Batches at or above `bound` are not visited;
    with `resync` everything below it must be there, and what is not is yielded as Damage; without,
    the walk ends at the first byte that cannot be believed. `epochs` None: epochs may only grow.
    Afterwards `position` and `expected` say how far it came.
    """

    def __init__(
        self,
        file: File,
        *,
        segment_base: int,
        position: int,
        end_position: int,
        expected: int,
        epochs: LeaderEpochs | None,
        bound: int = OFFSET_MAX,
        resync: bool = False,
        window_bytes: int = 1 << 20,
    ) -> None:
        self.position = position
        self.expected = expected
        self.bytes_read = 0
        self._file = file
        self._segment_base = segment_base
        self._end = end_position
        self._epochs = epochs
        self._epoch = -1
        self._epoch_from = 0
        self._epoch_until = 0
        self._bound = bound
        self._resync = resync
        self._window = window_bytes
        self._buffer = b""
        self._start = position

    @classmethod
    @contextmanager
    def over(
        cls,
        files: Files,
        path: str,
        *,
        segment_base: int,
        end_position: int,
        expected: int,
        epochs: LeaderEpochs | None,
        position: int = 0,
        bound: int = OFFSET_MAX,
        resync: bool = False,
    ) -> Iterator[Walker]:
        """Open a file for one walk."""
        file = files.open(path, read_only=True)
        try:
            yield cls(
                file,
                segment_base=segment_base,
                position=position,
                end_position=end_position,
                expected=expected,
                epochs=epochs,
                bound=bound,
                resync=resync,
            )
        finally:
            file.close()

    def __iter__(self) -> Iterator[Found | Damage]:
        while self.position < self._end and self.expected < self._bound:
            yield from self._run()
            if self.position >= self._end or self.expected >= self._bound:
                break
            found = self._batch_at(self.position, self.expected)
            if found is not None:
                self._pass(found)
                yield found
            elif self._resync:
                yield from self._over_damage()
            else:
                return
        if self._resync and self.expected < self._bound < OFFSET_MAX:
            damage = self._damage(self._bound, "the segment ends too early")
            self.expected = self._bound
            yield damage

    def _run(self) -> Iterator[Found]:
        """Yield batches out of the buffer as long as each fits: the same checks, but no detours."""
        buffer, start = self._buffer, self._start
        view = memoryview(buffer)
        size, bound, epochs = len(buffer), self._bound, self._epochs
        at, expected = self.position - start, self.expected
        while expected < bound and 0 <= at <= size - BATCH_HEADER_BYTES:
            fields = HEADER.unpack_from(buffer, at)
            base, length, epoch, magic, crc, _, delta = fields[:7]
            end = at + _LENGTH_PREFIX + length
            if (
                base != expected
                or magic != MAGIC
                or not at + BATCH_HEADER_BYTES <= end <= size
                or delta < 0
                or crc32c(view[at + CRC_POSITION : end]) != crc
            ):
                return
            if epochs is None:
                if epoch < self._epoch:
                    return
                self._epoch = epoch
            elif epoch != self._epoch or not self._epoch_from <= base < self._epoch_until:
                return
            found = Found(start + at, tuple.__new__(BatchHeader, fields), buffer, at)
            at = end
            self.position = start + end
            self.expected = expected = base + delta + 1
            yield found

    def _pass(self, found: Found) -> None:
        self.position += found.header.batch_length + _LENGTH_PREFIX
        self.expected = found.header.next_offset
        if self._epochs is None:
            self._epoch = found.header.leader_epoch

    def _damage(self, end_offset: int, reason: str) -> Damage:
        return Damage(self.expected, end_offset, self._segment_base, self.position, reason)

    def _over_damage(self) -> Iterator[Found | Damage]:
        found = self._resynchronise()
        end_offset = found.header.base_offset if found else self._bound
        if end_offset < OFFSET_MAX:
            yield self._damage(end_offset, "damaged bytes")
        if found is None:
            self.expected = self._bound
            self._end = self.position
            return
        self.position = found.position
        if end_offset == self._bound:
            self.expected = end_offset
            self._end = self.position
            return
        self._pass(found)
        yield found

    def _ensure(self, position: int, size: int) -> int:
        """Have `size` bytes from `position` in the buffer, where the file has them."""
        at = position - self._start
        end = self._start + len(self._buffer)
        if at < 0 or (position + size > end and end < self._end) or position >= end:
            size = min(max(size, self._window), self._end - position)
            self._buffer = self._file.pread(size, position)
            self.bytes_read += len(self._buffer)
            self._start = position
            at = 0
        return at

    def _batch_at(self, position: int, expected: int | None) -> Found | None:
        """Return the batch at `position` if it can be believed; `expected` None: any offset."""
        if self._end - position < BATCH_HEADER_BYTES:
            return None
        at = self._ensure(position, BATCH_HEADER_BYTES)
        if len(self._buffer) - at < BATCH_HEADER_BYTES:
            return None
        size = _LENGTH.unpack_from(self._buffer, at + _LENGTH_POSITION)[0] + _LENGTH_PREFIX
        if not BATCH_HEADER_BYTES <= size <= min(BATCH_BYTES_MAX, self._end - position):
            return None
        at = self._ensure(position, size)
        try:
            header = verify_batch(self._buffer, at)
        except CorruptBatchError:
            return None
        if expected is not None and header.base_offset != expected:
            return None
        if not self._epoch_fits(header):
            return None
        return Found(position, header, self._buffer, at)

    def _epoch_fits(self, header: BatchHeader) -> bool:
        if self._epochs is None:
            return header.leader_epoch >= self._epoch
        base = header.base_offset
        if not self._epoch_from <= base < self._epoch_until:
            self._epoch = self._epochs.epoch_at(base)
            until = self._epochs.change_after(base)
            self._epoch_from = base
            self._epoch_until = OFFSET_MAX if until is None else until
        return header.leader_epoch == self._epoch

    def _resynchronise(self) -> Found | None:
        """Return the next batch behind `position` that can be believed."""
        at = self._ensure(self.position, BATCH_HEADER_BYTES)
        if len(self._buffer) - at >= BATCH_HEADER_BYTES:
            size = _LENGTH.unpack_from(self._buffer, at + _LENGTH_POSITION)[0] + _LENGTH_PREFIX
            if BATCH_HEADER_BYTES <= size <= BATCH_BYTES_MAX:
                found = self._batch_at(self.position + size, None)
                if found is not None and self._may_follow(found):
                    return found
        return self._search(self.position + 1)

    def _search(self, position: int) -> Found | None:
        while position + BATCH_HEADER_BYTES <= self._end:
            at = self._ensure(position, BATCH_HEADER_BYTES)
            magic_at = self._buffer.find(_MAGIC, at + _MAGIC_POSITION)
            if magic_at < 0:
                position = max(position + 1, self._start + len(self._buffer) - _MAGIC_POSITION)
                continue
            candidate = self._start + magic_at - _MAGIC_POSITION
            found = self._batch_at(candidate, None)
            if found is not None and self._may_follow(found) and self._is_followed(found):
                return found
            position = candidate + 1
        return None

    def _may_follow(self, found: Found) -> bool:
        return self.expected <= found.header.base_offset <= self._bound

    def _is_followed(self, found: Found) -> bool:
        end = found.end_position
        if end == self._end or found.header.next_offset == self._bound:
            return True
        return self._batch_at(end, found.header.next_offset) is not None
