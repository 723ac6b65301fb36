"""Batches, logs and comparisons for the tests of storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from logd_wire import WireRecord, encode_batch, iter_headers, read_header, stamp, verify_batch

from logd.storage import Appended, Files, LogConfig, LogView, MemoryFiles, PartitionLog

DIRECTORY = "partition"
NOW_MS = 1_000_000
#: Small segments and index intervals, so that few batches meet every border.
CONFIG = LogConfig(segment_bytes=2000, index_interval_bytes=300, segment_ms=10_000, retention_ms=-1)


class Stored(NamedTuple):
    """A batch as it should lie in the log."""

    base_offset: int
    next_offset: int
    data: bytes


def make_batch(
    count: int = 1,
    *,
    size: int = 50,
    timestamp: int = 1000,
    fill: int = 0,
    producer: tuple[int, int, int] = (-1, -1, -1),
) -> bytes:
    """A batch of `count` records of `size` bytes; `producer` is (id, epoch, first sequence)."""
    value = bytes([fill % 256]) * size
    records = [WireRecord(i, timestamp + i, None, value, ()) for i in range(count)]
    producer_id, producer_epoch, base_sequence = producer
    return encode_batch(
        records,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
    )


def append(
    log: PartitionLog, batch: bytes, *, leader_epoch: int = 0, now_ms: int = NOW_MS
) -> Appended:
    """Append as the node does."""
    return log.append(batch, verify_batch(batch), leader_epoch=leader_epoch, now_ms=now_ms)


def sync(log: PartitionLog) -> None:
    """Sync all that is written and publish it."""
    point = log.prepare_sync()
    if point is not None:
        point.run()
        log.complete_sync(point)


def fill(log: PartitionLog, batches: int, *, leader_epoch: int = 0, size: int = 50) -> list[Stored]:
    """Append numbered batches of one to three records and sync them."""
    stored = []
    for number in range(batches):
        batch = make_batch(1 + number % 3, size=size, fill=number, timestamp=1000 * number)
        appended = append(log, batch, leader_epoch=leader_epoch, now_ms=NOW_MS + number)
        stored.append(
            Stored(
                appended.base_offset,
                appended.next_offset,
                stamp(batch, appended.base_offset, leader_epoch),
            )
        )
    sync(log)
    return stored


def create(files: Files | None = None, config: LogConfig = CONFIG) -> PartitionLog:
    return PartitionLog.create(files or MemoryFiles(), DIRECTORY, config)


def reopen(
    files: Files,
    *,
    durable_end: int | None,
    clean: bool = False,
    config: LogConfig = CONFIG,
    now_ms: int = NOW_MS,
) -> PartitionLog:
    return PartitionLog.open(
        files, DIRECTORY, config, durable_end=durable_end, clean=clean, now_ms=now_ms
    )


def read_from(view: LogView, offset: int, bytes_max: int = 700) -> list[Stored]:
    """Read to the end in chunks; what is read must advance and be whole batches."""
    limit = view.written_end_offset
    stored: list[Stored] = []
    while offset < limit:
        result = view.read(offset, bytes_max=bytes_max, limit_offset=limit)
        assert result.records and result.next_offset > offset
        batches = [
            Stored(h.base_offset, h.next_offset, result.records[at : at + h.size])
            for at, h in iter_headers(result.records)
        ]
        assert sum(len(batch.data) for batch in batches) == len(result.records)
        assert len(batches) == 1 or len(result.records) <= bytes_max
        assert batches[-1].next_offset == result.next_offset
        stored += batches
        offset = result.next_offset
    return stored


def path_of(base_offset: int, suffix: str = ".log") -> str:
    return f"{DIRECTORY}/{base_offset:020d}{suffix}"


def content_of(files: Files, path: str) -> bytes:
    file = files.open(path, read_only=True)
    return file.pread(file.size(), 0)


def overwrite(files: Files, path: str, data: bytes) -> None:
    """Replace a file's content, as damage on the medium would: it is there after a crash too."""
    file = files.open(path, create=True)
    file.truncate(0)
    if data:
        file.pwrite([data], 0)
    file.sync()
    file.close()
    files.sync_dir(path.rpartition("/")[0])


def flip(data: bytes, position: int, mask: int = 0xFF) -> bytes:
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


def headers_of(data: bytes) -> Sequence[tuple[int, int]]:
    """(position, size) of each batch."""
    found, position = [], 0
    while position < len(data):
        header = read_header(data, position)
        found.append((position, header.size))
        position += header.size
    return found
