"""One segment: its counters, its sparse index, and the sidecars that keep both.

    <20 digits>.log         record batches from byte 0, and nothing else
    <20 digits>.index       {relative base offset u32 · position u32}, both ascending
    <20 digits>.timeindex   {largest record time i64 · append time i64 · relative offset u32}
    <20 digits>.digest      what the batch headers of the segment add up to

An index entry stands for a batch at least `index_interval_bytes` behind the batch of the entry
before it; the first batch needs none. The time entry of the same batch says what holds for
everything *before* it in the segment: the largest record time, the last append time.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right

from crc32c import crc32c
from logd_wire import BatchHeader

from logd.storage.files import Files, join
from logd.storage.sidecar import decode_sidecar, encode_sidecar, read_sidecar, write_sidecar
from logd.storage.walk import Found

LOG_SUFFIX = ".log"
INDEX_SUFFIX = ".index"
TIME_INDEX_SUFFIX = ".timeindex"
DIGEST_SUFFIX = ".digest"
SIDECAR_SUFFIXES = (INDEX_SUFFIX, TIME_INDEX_SUFFIX, DIGEST_SUFFIX)

#: Bytes of a batch's head that the digest covers: up to and with the CRC field.
HEAD_BYTES = 21
NO_TIMESTAMP = -1
RELATIVE_OFFSET_MAX = (1 << 32) - 1

_INDEX_MAGIC = b"logd-ix\0"
_TIME_MAGIC = b"logd-tx\0"
_DIGEST_MAGIC = b"logd-dg\0"
_INDEX_ENTRY = struct.Struct(">II")
_TIME_ENTRY = struct.Struct(">qqI")
_DIGEST = struct.Struct(">qIIIIIqqqI")
_EPOCH = struct.Struct(">iq")


def segment_name(base_offset: int) -> str:
    """Return the file name without suffix."""
    return f"{base_offset:020d}"


class SegmentIndex:
    """Four parallel arrays, one column an entry; readers may search while the writer appends.

    The writer appends to `relative` last and never removes: an entry that a reader can see there
    is complete.
    """

    __slots__ = ("append_times", "positions", "relative", "timestamps")

    def __init__(self) -> None:
        self.relative = array("I")
        self.positions = array("I")
        self.timestamps = array("q")
        self.append_times = array("q")

    def add(self, relative: int, position: int, max_timestamp: int, append_ms: int) -> None:
        """Add the batch at `position`; times are those before it."""
        self.positions.append(position)
        self.timestamps.append(max_timestamp)
        self.append_times.append(append_ms)
        self.relative.append(relative)

    def find_offset(self, relative: int) -> tuple[int, int]:
        """Return (relative base offset, position) of the last entry at or below `relative`."""
        index = bisect_right(self.relative, relative) - 1
        return (self.relative[index], self.positions[index]) if index >= 0 else (0, 0)

    def find_time(self, timestamp: int) -> tuple[int, int]:
        """Return the last entry before which every record is older than `timestamp`."""
        index = bisect_left(self.timestamps, timestamp, 0, len(self.relative)) - 1
        return (self.relative[index], self.positions[index]) if index >= 0 else (0, 0)

    def append_time_after(self, relative: int, last_append_ms: int) -> int:
        """Return an append time at or shortly after that of the batch at `relative`.

        `last_append_ms`: of the segment.
        """
        index = bisect_right(self.relative, relative)
        return self.append_times[index] if index < len(self.relative) else last_append_ms

    def append_time_before(self, relative: int, first_append_ms: int) -> int:
        """Return an append time at or shortly before that of the batch at `relative`.

        `first_append_ms`: of the segment.
        """
        index = bisect_right(self.relative, relative) - 1
        return self.append_times[index] if index >= 0 else first_append_ms


class Segment:
    """Counters of one segment. Mutated by the writer only; sealed ones do not change.

    `next_offset` of a sealed segment is the base of the next. While `summarized` is false only
    `base_offset`, `next_offset` and `size` are known; the digest (or a walk) has the rest.
    """

    __slots__ = (
        "base_offset",
        "batches",
        "directory",
        "epoch_starts",
        "first_append_ms",
        "first_crc",
        "header_crc",
        "index",
        "indexed_position",
        "last_append_ms",
        "last_crc",
        "last_position",
        "max_timestamp",
        "next_offset",
        "sealed",
        "sidecars_stale",
        "size",
        "suffix",
        "summarized",
    )

    def __init__(self, directory: str, base_offset: int) -> None:
        self.directory = directory
        self.base_offset = base_offset
        self.next_offset = base_offset
        self.size = 0
        self.sealed = False
        self.suffix = LOG_SUFFIX
        self.index: SegmentIndex | None = None
        self.indexed_position = 0
        self.sidecars_stale = True
        self.summarized = True
        self.batches = 0
        self.header_crc = 0
        self.first_crc = 0
        self.last_crc = 0
        self.last_position = 0
        self.max_timestamp = NO_TIMESTAMP
        self.first_append_ms = NO_TIMESTAMP
        self.last_append_ms = NO_TIMESTAMP
        self.epoch_starts: list[tuple[int, int]] = []

    @property
    def path(self) -> str:
        """Where the batches are now."""
        return join(self.directory, segment_name(self.base_offset) + self.suffix)

    def sidecar(self, suffix: str) -> str:
        """Return the path of a file beside this segment."""
        return join(self.directory, segment_name(self.base_offset) + suffix)

    def add(
        self,
        header: BatchHeader,
        base_offset: int,
        leader_epoch: int,
        *,
        position: int,
        append_ms: int,
        header_crc: int,
        index_interval: int,
    ) -> None:
        """Count a batch at `position`; `header` gives sizes and times, the rest is as stamped.

        `header_crc` is the running CRC over all heads with this one.
        """
        index = self.index
        if index is not None and position - self.indexed_position >= index_interval:
            index.add(
                base_offset - self.base_offset, position, self.max_timestamp, self.last_append_ms
            )
            self.indexed_position = position
        if not self.batches:
            self.first_crc = header.crc
            self.first_append_ms = append_ms
        if not self.epoch_starts or self.epoch_starts[-1][0] != leader_epoch:
            self.epoch_starts.append((leader_epoch, base_offset))
        self.max_timestamp = max(self.max_timestamp, header.max_timestamp)
        self.last_append_ms = max(self.last_append_ms, append_ms)
        self.batches += 1
        self.header_crc = header_crc
        self.last_crc = header.crc
        self.last_position = position
        self.size = position + header.batch_length + 12
        self.next_offset = base_offset + header.last_offset_delta + 1
        self.sidecars_stale = True

    def add_found(self, found: Found, append_ms: int, index_interval: int) -> None:
        """Count a batch that a walk found."""
        header = found.header
        head = memoryview(found.buffer)[found.at : found.at + HEAD_BYTES]
        self.add(
            header,
            header.base_offset,
            header.leader_epoch,
            position=found.position,
            append_ms=append_ms,
            header_crc=crc32c(head, self.header_crc),
            index_interval=index_interval,
        )

    def encode_digest(self, identity: int) -> bytes:
        """Return the bytes of the digest file."""
        payload = _DIGEST.pack(
            self.next_offset,
            self.batches,
            self.header_crc,
            self.first_crc,
            self.last_crc,
            self.last_position,
            self.max_timestamp,
            self.first_append_ms,
            self.last_append_ms,
            len(self.epoch_starts),
        ) + b"".join(_EPOCH.pack(*start) for start in self.epoch_starts)
        return encode_sidecar(
            _DIGEST_MAGIC,
            payload,
            identity=identity,
            base_offset=self.base_offset,
            covered=self.size,
        )

    def load_digest(self, files: Files, identity: int | None) -> bool:
        """Take the counters from the digest if there is one of exactly this segment."""
        payload = read_sidecar(
            files,
            self.sidecar(DIGEST_SUFFIX),
            _DIGEST_MAGIC,
            identity=identity,
            base_offset=self.base_offset,
            covered=self.size,
        )
        if payload is None or len(payload) < _DIGEST.size:
            return False
        *counters, epochs = _DIGEST.unpack_from(payload)
        if self.sealed and counters[0] != self.next_offset:
            return False
        if len(payload) != _DIGEST.size + epochs * _EPOCH.size:
            return False
        self.take_counters(
            dict(zip(_COUNTERS, counters, strict=True)),
            list(_EPOCH.iter_unpack(payload[_DIGEST.size :])),
        )
        return True

    def load_index(self, files: Files, identity: int | None) -> bool:
        """Take the index from its two files if both speak of exactly this segment."""
        payloads = [
            read_sidecar(
                files,
                self.sidecar(suffix),
                magic,
                identity=identity,
                base_offset=self.base_offset,
                covered=self.size,
            )
            for suffix, magic in (
                (INDEX_SUFFIX, _INDEX_MAGIC),
                (TIME_INDEX_SUFFIX, _TIME_MAGIC),
            )
        ]
        if payloads[0] is None or payloads[1] is None:
            return False
        index = SegmentIndex()
        offsets = list(_INDEX_ENTRY.iter_unpack(payloads[0]))
        times = list(_TIME_ENTRY.iter_unpack(payloads[1]))
        if [relative for relative, _ in offsets] != [relative for _, _, relative in times]:
            return False
        index.relative.extend([relative for relative, _ in offsets])
        index.positions.extend([position for _, position in offsets])
        index.timestamps.extend([timestamp for timestamp, _, _ in times])
        index.append_times.extend([append_ms for _, append_ms, _ in times])
        self.indexed_position = index.positions[-1] if offsets else 0
        self.index = index
        return True

    def write_sidecars(self, files: Files, identity: int) -> None:
        """Write digest and, where it is in memory, the index; want of space is no error."""
        for suffix, data in self.encode_sidecars(identity):
            write_sidecar(files, self.sidecar(suffix), data)
        self.sidecars_stale = False

    def encode_sidecars(self, identity: int) -> list[tuple[str, bytes]]:
        """Return suffix and bytes of each sidecar; those of the index only if it is in memory."""
        made = [(DIGEST_SUFFIX, self.encode_digest(identity))]
        index = self.index
        if index is None:
            return made
        entries = zip(
            index.relative, index.positions, index.timestamps, index.append_times, strict=True
        )
        offsets, times = [], []
        for relative, position, timestamp, append_ms in entries:
            offsets.append(_INDEX_ENTRY.pack(relative, position))
            times.append(_TIME_ENTRY.pack(timestamp, append_ms, relative))
        for suffix, magic, parts in (
            (INDEX_SUFFIX, _INDEX_MAGIC, offsets),
            (TIME_INDEX_SUFFIX, _TIME_MAGIC, times),
        ):
            data = encode_sidecar(
                magic,
                b"".join(parts),
                identity=identity,
                base_offset=self.base_offset,
                covered=self.size,
            )
            made.insert(len(made) - 1, (suffix, data))
        return made

    def counters(self) -> dict[str, int]:
        """Return what a digest counts, by the name of its attribute."""
        return {name: getattr(self, name) for name in _COUNTERS}

    def take_counters(self, counters: dict[str, int], epoch_starts: list[tuple[int, int]]) -> None:
        """Take what `counters` of another process's twin returned: as if read from a digest."""
        for name in _COUNTERS:
            setattr(self, name, counters[name])
        self.epoch_starts = epoch_starts
        self.summarized = True
        self.sidecars_stale = False


#: The fields of a digest, in their order.
_COUNTERS = (
    "next_offset",
    "batches",
    "header_crc",
    "first_crc",
    "last_crc",
    "last_position",
    "max_timestamp",
    "first_append_ms",
    "last_append_ms",
)


def remove_segment_files(files: Files, segment: Segment) -> None:
    """Unlink a segment's batches and whatever lies beside them."""
    for path in (segment.path, *(segment.sidecar(suffix) for suffix in SIDECAR_SUFFIXES)):
        if files.exists(path):
            files.unlink(path)


def decode_index(data: bytes, base_offset: int) -> list[dict[str, int]] | None:
    """Return the entries of an offset index file's bytes; None: damaged."""
    payload = decode_sidecar(
        data, _INDEX_MAGIC, identity=None, base_offset=base_offset, covered=None
    )
    if payload is None or len(payload) % _INDEX_ENTRY.size:
        return None
    return [
        {"offset": base_offset + relative, "position": position}
        for relative, position in _INDEX_ENTRY.iter_unpack(payload)
    ]


def decode_time_index(data: bytes, base_offset: int) -> list[dict[str, int]] | None:
    """Return the entries of a time index file's bytes; None: damaged."""
    payload = decode_sidecar(
        data, _TIME_MAGIC, identity=None, base_offset=base_offset, covered=None
    )
    if payload is None or len(payload) % _TIME_ENTRY.size:
        return None
    return [
        {
            "max_timestamp_before": timestamp,
            "append_time_ms": append_ms,
            "offset": base_offset + relative,
        }
        for timestamp, append_ms, relative in _TIME_ENTRY.iter_unpack(payload)
    ]


def decode_digest(data: bytes, base_offset: int) -> list[dict[str, int]] | None:
    """Return the one entry of a digest file's bytes; None: damaged."""
    payload = decode_sidecar(
        data, _DIGEST_MAGIC, identity=None, base_offset=base_offset, covered=None
    )
    if payload is None or len(payload) < _DIGEST.size:
        return None
    names = (
        "next_offset",
        "batches",
        "headers_crc",
        "first_batch_crc",
        "last_batch_crc",
        "last_batch_position",
        "max_timestamp",
        "first_append_time_ms",
        "last_append_time_ms",
        "leader_epochs",
    )
    return [dict(zip(names, _DIGEST.unpack_from(payload), strict=True))]
