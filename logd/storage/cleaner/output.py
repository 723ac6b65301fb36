"""The file that a group of segments becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from crc32c import crc32c
from logd_wire import BatchHeader, empty_batch, read_header
from logd_wire.limits import BATCH_RECORDS_MAX

from logd.storage.cleaner.plan import CleaningPlan, Source
from logd.storage.cleaner.result import CleanedFile
from logd.storage.epochs import LeaderEpochs
from logd.storage.files import File, Files, join, pwrite_all, write_plain
from logd.storage.layout import CLEANED_SUFFIX
from logd.storage.segment import HEAD_BYTES, Segment, SegmentIndex, segment_name
from logd.storage.walk import Found

#: Written at a time.
_CHUNK_BYTES = 1 << 20


class GroupWriter:
    """Batches in, one file out, with what its sidecars need. `finish` or `abandon` ends it."""

    def __init__(
        self,
        files: Files,
        plan: CleaningPlan,
        epochs: LeaderEpochs,
        group: Sequence[Source],
        pace: Callable[[int], None],
    ) -> None:
        self._files = files
        self._plan = plan
        self._epochs = epochs
        self._group = group
        self._pace = pace
        self._base, self._end = group[0].base_offset, group[-1].next_offset
        self._stem = f"{segment_name(self._base)}-{segment_name(self._end)}-{plan.tag}"
        self._name = self._stem + CLEANED_SUFFIX
        # Over the heads of all batches that were read: the same result means the same file.
        self._source_crc = 0
        self._segment = Segment(plan.directory, self._base)
        self._segment.index = SegmentIndex()
        self._chunks: list[bytes] = []
        self._waiting = 0
        self._written = 0
        path = join(plan.directory, self._name)
        self._file: File | None = files.open(path, create=True)
        self._file.truncate(0)

    def saw(self, found: Found) -> None:
        """A batch of the group was read; called for each, whatever becomes of it."""
        head = memoryview(found.buffer)[found.at : found.at + HEAD_BYTES]
        self._source_crc = crc32c(head, self._source_crc)

    def copy(self, found: Found, append_ms: int) -> None:
        """Take a batch as it is."""
        header = found.header
        self._add(found.buffer[found.at : found.at + header.size], header, append_ms)

    def put(self, batch: bytes, append_ms: int) -> None:
        """Take a batch that was made anew."""
        self._add(batch, read_header(batch), append_ms)

    def _add(self, batch: bytes, header: BatchHeader, append_ms: int) -> None:
        self._fill_up_to(header.base_offset, append_ms)
        self._count(batch, header, append_ms)

    def _fill_up_to(self, offset: int, append_ms: int) -> None:
        for batch in gap_batches(self._segment.next_offset, offset, self._epochs):
            self._count(batch, read_header(batch), append_ms)

    def _count(self, batch: bytes, header: BatchHeader, append_ms: int) -> None:
        segment = self._segment
        segment.add(
            header,
            header.base_offset,
            header.leader_epoch,
            position=segment.size,
            append_ms=append_ms,
            header_crc=crc32c(batch[:HEAD_BYTES], segment.header_crc),
            index_interval=self._plan.index_interval,
        )
        self._chunks.append(batch)
        self._waiting += len(batch)
        if self._waiting >= _CHUNK_BYTES:
            self._write()

    def _write(self) -> None:
        assert self._file is not None, "a finished file takes no more"
        data = b"".join(self._chunks)
        self._pace(len(data))
        pwrite_all(self._file, data, self._written)
        self._written += len(data)
        self._chunks, self._waiting = [], 0

    def finish(self) -> CleanedFile | None:
        """Make the file durable; None, and no file, if it would be what the segment is already."""
        self._fill_up_to(self._end, self._group[-1].last_append_ms)
        if len(self._group) == 1 and self._segment.header_crc == self._source_crc:
            for name in self.abandon():
                self._files.unlink(join(self._plan.directory, name))
            return None
        self._write()
        assert self._file is not None, "it is finished once"
        self._file.sync()
        self._close()
        segment = self._segment
        segment.first_append_ms = self._group[0].first_append_ms
        segment.last_append_ms = self._group[-1].last_append_ms
        cleaned = CleanedFile(
            name=self._name,
            base_offset=self._base,
            next_offset=self._end,
            size=segment.size,
            sources=tuple(source.base_offset for source in self._group),
            counters=segment.counters(),
            epoch_starts=tuple(segment.epoch_starts),
        )
        for suffix, data in segment.encode_sidecars(self._plan.identity):
            write_plain(self._files, join(self._plan.directory, cleaned.sidecar(suffix)), data)
        return cleaned

    def abandon(self) -> list[str]:
        """Close; return the names that were written."""
        self._close()
        return [self._name]

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def gap_batches(offset: int, end_offset: int, epochs: LeaderEpochs) -> Iterator[bytes]:
    """Yield empty batches for `[offset, end_offset)`, each within one leader epoch."""
    while offset < end_offset:
        change = epochs.change_after(offset)
        until = min(end_offset, offset + BATCH_RECORDS_MAX)
        if change is not None:
            until = min(until, change)
        yield empty_batch(offset, until, epochs.epoch_at(offset))
        offset = until
