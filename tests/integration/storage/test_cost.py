"""What finding a record and starting a log cost, counted in files and bytes, on real files.

`make test` looks at a log of 128 MiB, `make proof` at one of 10 GiB.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from logd_wire import WireRecord, encode_batch, read_header, verify_batch

from logd.storage import File, LogConfig, PartitionLog, RealFiles

MIB = 1024 * 1024
START_MS = 1_700_000_000_000
RECORDS = 64
RecordFigure = Callable[[str, int | float | str], None]


class CountedFile:
    """Counts what is read of segment files; everything else is the real file's."""

    def __init__(self, inner: File, files: CountedFiles, path: str) -> None:
        self._inner = inner
        self._files = files
        self._path = path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def pread(self, size: int, position: int) -> bytes:
        data = self._inner.pread(size, position)
        if self._path.endswith(".log"):
            self._files.counts.segments.add(self._path)
            self._files.counts.bytes_read += len(data)
        return data


class Counts:
    def __init__(self) -> None:
        self.segments: set[str] = set()
        self.bytes_read = 0


class CountedFiles:
    def __init__(self, root: Path) -> None:
        self._inner = RealFiles(root)
        self.counts = Counts()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def open(self, path: str, **options: bool) -> CountedFile:
        return CountedFile(self._inner.open(path, **options), self, path)


def build(folder: Path, size: int, config: LogConfig) -> tuple[int, int]:
    """Write a log of `size` bytes; returns its end offset and the bytes of one batch."""
    log = PartitionLog.create(RealFiles(folder), "log", config)
    value = b"x" * 1_000
    offset = 0
    batch_bytes = 0
    while log.view.size_bytes < size:
        batch = encode_batch(
            [
                WireRecord(number, START_MS + offset + number, None, value, ())
                for number in range(RECORDS)
            ]
        )
        batch_bytes = len(batch)
        log.append(batch, read_header(batch), leader_epoch=0, now_ms=START_MS + offset)
        offset += RECORDS
    log.close(clean=True)
    return offset, batch_bytes


def look(folder: Path, config: LogConfig, end: int, batch_bytes: int) -> dict[str, float]:
    """Find a record by offset and one by time in a log just opened after a clean stop."""
    files = CountedFiles(folder)
    as_files: Any = files
    begun = time.monotonic()
    log = PartitionLog.open(
        as_files, "log", config, durable_end=end, clean=True, now_ms=START_MS + end
    )
    seconds = time.monotonic() - begun
    assert log.view.durable_end_offset == end
    opened = files.counts.bytes_read
    assert opened <= config.index_interval_bytes + batch_bytes, "a clean start scans nothing"
    most = 0
    for wanted in (end // 3 + 7, end // 2, 5, end - 1):
        counts = files.counts = Counts()
        result = log.view.read(wanted, bytes_max=1, limit_offset=end)
        header = verify_batch(result.records)
        assert header.base_offset <= wanted < header.next_offset
        assert len(counts.segments) == 1
        # One interval, one batch, and the header behind them.
        assert counts.bytes_read <= config.index_interval_bytes + 2 * batch_bytes + 4096
        most = max(most, counts.bytes_read)
        counts = files.counts = Counts()
        found = log.view.offset_for_time(START_MS + wanted, end)
        assert found == (wanted, START_MS + wanted)
        assert len(counts.segments) == 1
        assert counts.bytes_read <= config.index_interval_bytes + 2 * batch_bytes + 4096
        most = max(most, counts.bytes_read)
    log.close(clean=True)
    return {"open_s": seconds, "bytes_read": most}


def recover(folder: Path, config: LogConfig, end: int) -> tuple[float, int]:
    """Open the log as after a crash that left nothing but the segments believed."""
    begun = time.monotonic()
    log = PartitionLog.open(
        RealFiles(folder), "log", config, durable_end=end, clean=False, now_ms=START_MS + end
    )
    seconds = time.monotonic() - begun
    scanned = log.recovery.scanned_bytes
    log.close(clean=False)
    return seconds, scanned


def test_finding_a_record_opens_one_segment_and_reads_one_interval(tmp_path: Path) -> None:
    config = LogConfig(segment_bytes=4 * MIB)
    end, batch_bytes = build(tmp_path, 128 * MIB, config)
    look(tmp_path, config, end, batch_bytes)


@pytest.mark.proof
def test_the_same_in_ten_gibibytes(tmp_path: Path, record_figure: RecordFigure) -> None:
    config = LogConfig()
    end, batch_bytes = build(tmp_path, 10 * 1024 * MIB, config)
    figures = look(tmp_path, config, end, batch_bytes)
    record_figure("10 GiB: most bytes read to find a record", figures["bytes_read"])
    record_figure("10 GiB: bytes of one batch", batch_bytes)
    record_figure("10 GiB: seconds to open after a clean stop", round(figures["open_s"], 4))
    seconds, _ = recover(tmp_path, config, end)
    record_figure("10 GiB: seconds to open after an unclean stop", round(seconds, 3))


@pytest.mark.proof
def test_recovery_reads_fast(tmp_path: Path, record_figure: RecordFigure) -> None:
    config = LogConfig(segment_bytes=1024 * MIB)
    end, _ = build(tmp_path, 1_000 * MIB, config)
    seconds, scanned = recover(tmp_path, config, end)
    assert scanned > 900 * MIB
    record_figure("recovery of 1 000 MiB: MB/s", round(scanned / seconds / 1e6))
