"""Compacted logs for tests: puts and deletes, a pass from end to end, and what a reader sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from logd_wire import Compression, WireRecord, decode_batch, encode_batch, iter_headers

from logd.storage import Appended, Files, LogView, MemoryFiles, Moment, PartitionLog
from logd.storage.cleaner import CleaningPlan, CleaningResult, clean
from tests.unit.storage.kit import CONFIG, DIRECTORY, NOW_MS, append, read_from, sync

HOUR_MS = 3_600_000
COMPACT = replace(CONFIG, compacts=True, segment_bytes=600, delete_retention_ms=HOUR_MS)
MAP_BYTES = 1 << 20

#: Key and value; None deletes the key.
Put = tuple[bytes | None, bytes | None]
A, B, C, D = b"a", b"b", b"c", b"d"
BATCHES: list[list[Put]] = [
    [(A, b"1"), (B, b"1")],
    [(C, b"1")],
    [(A, b"2"), (D, b"1")],
    [(B, None)],
    [(A, b"3")],
]
#: What a pass leaves of them.
LAST = [(2, C, b"1"), (4, D, b"1"), (5, B, None), (6, A, b"3")]


def batch_of(
    puts: Sequence[Put],
    *,
    timestamp: int = 1000,
    producer: tuple[int, int, int] = (-1, -1, -1),
    compression: Compression = Compression.NONE,
) -> bytes:
    records = [WireRecord(i, timestamp + i, key, value, ()) for i, (key, value) in enumerate(puts)]
    return encode_batch(
        records,
        compression=compression,
        producer_id=producer[0],
        producer_epoch=producer[1],
        base_sequence=producer[2],
    )


def put(log: PartitionLog, *puts: Put, now_ms: int = NOW_MS, epoch: int = 0) -> Appended:
    """Append one batch."""
    return append(log, batch_of(puts), now_ms=now_ms, leader_epoch=epoch)


def roll(log: PartitionLog) -> None:
    """Close the active segment and have everything durable."""
    if log._active.size:
        log._roll()
    sync(log)


def filled_log(
    batches: Sequence[Sequence[Put]], files: Files | None = None, *, per_segment: int = 2
) -> PartitionLog:
    """A log with a segment for each few batches, all of them closed."""
    log = PartitionLog.create(files or MemoryFiles(), DIRECTORY, COMPACT)
    for number, puts in enumerate(batches):
        put(log, *puts)
        if number % per_segment == per_segment - 1:
            roll(log)
    roll(log)
    return log


def plan_of(
    log: PartitionLog,
    *,
    now_ms: int = NOW_MS,
    limit: int | None = None,
    map_bytes: int = MAP_BYTES,
    tag: str = "t",
    brake: str = "",
    replicated_end: int | None = None,
) -> CleaningPlan | None:
    return log.cleaning.plan(
        Moment(now_ms, brake),
        log.view.durable_end_offset if limit is None else limit,
        tag=tag,
        map_bytes=map_bytes,
        asked=True,
        replicated_end=replicated_end,
    )


def install(log: PartitionLog, result: CleaningResult) -> bool:
    """Put a pass in place; False: the log had changed."""
    for number in range(len(result.files)):
        if not log.cleaning.swap(result, number):
            log.cleaning.discard(result)
            return False
    log.cleaning.finish(result)
    return True


def clean_once(
    files: Files,
    log: PartitionLog,
    *,
    now_ms: int = NOW_MS,
    map_bytes: int = MAP_BYTES,
    tag: str = "t",
) -> CleaningResult | None:
    """One pass from plan to its end; None: nothing was due."""
    plan = plan_of(log, now_ms=now_ms, map_bytes=map_bytes, tag=tag)
    if plan is None:
        return None
    result = clean(files, CleaningPlan.from_plain(plan.to_plain()))
    assert install(log, CleaningResult.from_plain(result.to_plain()))
    return result


def records(view: LogView, offset: int | None = None) -> list[WireRecord]:
    """What a reader gets from an offset on, the start by default."""
    start = view.start_offset if offset is None else offset
    return [
        record
        for stored in read_from(view, start)
        for at, _ in iter_headers(stored.data)
        for record in decode_batch(stored.data, at)
        if record.offset >= start
    ]


def rows(view: LogView, offset: int | None = None) -> list[tuple[int, bytes | None, bytes | None]]:
    return [(record.offset, record.key, record.value) for record in records(view, offset)]


def names(files: Files) -> list[str]:
    return [entry.name for entry in files.list_dir(DIRECTORY)]
