"""What the machine itself allows: page cache, fdatasync, and a gRPC stream that does nothing."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from logd.cli.benchmark.processes import bare_messages_per_second

_BLOCK = 1 << 20
_BLOCKS = 512
_SYNCS = 300
_SYNCED_BYTES = 4096
_GRPC = {"100 B": (100, 10_000), "64 KiB": (1 << 16, 3_000), "1 MiB": (1 << 20, 300)}


def page_cache_mb_s(folder: Path) -> tuple[float, float]:
    """MB/s of writing and of reading again, in blocks of 1 MiB."""
    block = os.urandom(_BLOCK)
    with (folder / "cache").open("wb+", buffering=0) as file:
        started = time.perf_counter()
        for _ in range(_BLOCKS):
            file.write(block)
        written = time.perf_counter()
        file.seek(0)
        while file.read(_BLOCK):
            pass
        done = time.perf_counter()
    total = _BLOCK * _BLOCKS / 1e6
    return total / (written - started), total / (done - written)


def fdatasync_ms(folder: Path) -> tuple[float, float]:
    """Median and 99th percentile of appending 4 KiB and syncing it, in milliseconds."""
    samples = []
    with (folder / "synced").open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            started = time.perf_counter()
            file.write(bytes(_SYNCED_BYTES))
            os.fdatasync(file.fileno())
            samples.append((time.perf_counter() - started) * 1000)
    return statistics.median(samples), statistics.quantiles(samples, n=100)[98]


def limits(data_dir: Path | None) -> dict[str, float]:
    """Name with unit -> value."""
    with tempfile.TemporaryDirectory(prefix="logd-bench-", dir=data_dir) as folder:
        write, read = page_cache_mb_s(Path(folder))
        sync, slow = fdatasync_ms(Path(folder))
    found = {
        "page cache, write, MB/s": round(write),
        "page cache, read, MB/s": round(read),
        "append 4 KiB and fdatasync, p50, ms": round(sync, 3),
        "append 4 KiB and fdatasync, p99, ms": round(slow, 3),
    }
    for name, (size, count) in _GRPC.items():
        for way, word in (("push", "to the server"), ("pull", "from it")):
            rate = bare_messages_per_second(way, "messages", size, count)
            found[f"gRPC stream of {name} {word}, messages/s"] = round(rate)
            found[f"gRPC stream of {name} {word}, MB/s"] = round(rate * size / 1e6)
    return found
