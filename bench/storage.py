"""How fast storage is by itself: `python bench/storage.py [--directory DIR]` prints a table.

Figures are medians of several runs on one thread, in CPU time of the process, system calls
included: they say what the code costs, on an idle machine or a busy one. Data lies in the page
cache, and nothing waits for the disk.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from logd_wire import BatchHeader, WireRecord, encode_batch, verify_batch

from logd.storage import LogConfig, PartitionLog, RealFiles

RUNS = 5
TOTAL_BYTES = 48 << 20
NOW_MS = 1_700_000_000_000


def make_batch(records: int, size: int, producer: bool, sequence: int = 0) -> bytes:
    """One batch of `records` values of `size` bytes."""
    value = bytes(range(256)) * (size // 256 + 1)
    return encode_batch(
        [WireRecord(i, NOW_MS, None, value[:size], ()) for i in range(records)],
        producer_id=1 if producer else -1,
        producer_epoch=0 if producer else -1,
        base_sequence=sequence if producer else -1,
    )


def median_s(work: Callable[[], None], runs: int = RUNS) -> float:
    times = []
    for _ in range(runs):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return statistics.median(times)


def filled(files: RealFiles, name: str, batch: bytes, total: int, *, clean: bool = False) -> int:
    """Write `total` bytes of the same batch; return the end offset."""
    log = PartitionLog.create(files, name, LogConfig())
    header = verify_batch(batch)
    for _ in range(max(total // len(batch), 1)):
        log.append(batch, header, leader_epoch=0, now_ms=NOW_MS)
    end = log.view.written_end_offset
    log.close(clean=clean)
    return end


def append_us(files: RealFiles, name: str, batch: bytes, *, producer: bool) -> float:
    """Microseconds for one append, without sync."""
    log = PartitionLog.create(files, name, LogConfig())
    header = verify_batch(batch)
    count = min(20_000, TOTAL_BYTES // len(batch))
    headers: list[BatchHeader] = [header] * count
    if producer:
        records = header.records_count
        headers = [header._replace(base_sequence=i * records) for i in range(count)]
    begin = time.process_time()
    for each in headers:
        log.append(batch, each, leader_epoch=0, now_ms=NOW_MS)
    took = time.process_time() - begin
    log.close(clean=False)
    return took / count * 1e6


def round_us(files: RealFiles, name: str, batch: bytes) -> float:
    """Microseconds for prepare_sync and complete_sync around one append, without the sync."""
    log = PartitionLog.create(files, name, LogConfig())
    header = verify_batch(batch)
    spent = 0.0
    for _ in range(2000):
        log.append(batch, header, leader_epoch=0, now_ms=NOW_MS)
        begin = time.process_time()
        point = log.prepare_sync()
        assert point is not None
        point.done = True
        log.complete_sync(point)
        spent += time.process_time() - begin
        assert log.view.durable_end_offset
    log.close(clean=False)
    return spent / 2000 * 1e6


def read_mib_s(files: RealFiles, name: str, end: int, bytes_max: int) -> float:
    log = PartitionLog.open(files, name, LogConfig(), durable_end=end, clean=True, now_ms=NOW_MS)
    view = log.view

    def read_all() -> None:
        offset = 0
        while offset < end:
            offset = view.read(offset, bytes_max=bytes_max, limit_offset=end).next_offset

    speed = view.size_bytes / median_s(read_all) / (1 << 20)
    log.close(clean=True)
    return speed


def recover_mib_s(files: RealFiles, name: str, durable_end: int) -> float:
    """Opening after an unclean stop; `durable_end` 0: everything is copied as well."""
    scanned = 0

    def recover() -> None:
        nonlocal scanned
        log = PartitionLog.open(
            files, name, LogConfig(), durable_end=durable_end, clean=False, now_ms=NOW_MS
        )
        scanned = log.recovery.scanned_bytes
        log.close(clean=False)

    took = median_s(recover, runs=3)
    return scanned / took / (1 << 20)


def clean_open_ms(files: RealFiles, name: str, end: int) -> float:
    def reopen() -> None:
        log = PartitionLog.open(
            files, name, LogConfig(), durable_end=end, clean=True, now_ms=NOW_MS
        )
        assert log.recovery.clean
        log.close(clean=True)

    return median_s(reopen) * 1e3


def report(directory: Path) -> None:
    """Measure and print."""
    files = RealFiles(directory)
    shapes = ((1, 100), (10, 100), (160, 100), (16, 1024), (256, 1024))
    columns = "append us", "idemp. us", "read MiB/s", "scan MiB/s", "copy MiB/s"
    print(f"{'records x bytes':>16} {'batch B':>8} " + " ".join(f"{c:>11}" for c in columns))
    for number, (records, size) in enumerate(shapes):
        batch = make_batch(records, size, False)
        name = f"s{number}"
        end = filled(files, name, batch, TOTAL_BYTES, clean=True)
        row = (
            append_us(files, f"a{number}", batch, producer=False),
            append_us(files, f"p{number}", make_batch(records, size, True), producer=True),
            read_mib_s(files, name, end, 1 << 20),
            recover_mib_s(files, name, end),
            recover_mib_s(files, name, 0),
        )
        label = f"{records} x {size}"
        print(f"{label:>16} {len(batch):>8} " + " ".join(f"{value:>11.1f}" for value in row))
    print(f"sync bookkeeping a round: {round_us(files, 'r', make_batch(16, 1024, False)):.1f} us")
    for mib in (1, 48, 384):
        batch = make_batch(256, 1024, False)
        end = filled(files, f"o{mib}", batch, mib << 20, clean=True)
        took_ms = clean_open_ms(files, f"o{mib}", end)
        print(f"open after a clean stop, {mib:>4} MiB: {took_ms:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", help="where to put the files (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        report(Path(directory))


if __name__ == "__main__":
    main()
