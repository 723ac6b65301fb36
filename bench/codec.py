"""What the batch codec costs: `python -m bench.codec`. Prints a table, judges nothing.

Each figure is the best of several rounds, in nanoseconds for each record (or call).
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from logd_wire import (
    BatchBuilder,
    Compression,
    Headers,
    WireRecord,
    decode_records,
    encode_batch,
    murmur2,
    verify_batch,
)

NOW = 1_700_000_000_000
VALUE = b"v" * 100
KEY = b"0123456789"
BATCH_BYTES = 16 * 1024
LARGE_BATCH_BYTES = 1024 * 1024


class Row(NamedTuple):
    """One line: `run` does `operations` of what it names."""

    name: str
    run: Callable[[], object]
    operations: int


class ClientRecord(NamedTuple):
    """A record as a consumer hands it out."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    topic: str = "topic"
    partition: int = 0


def fill(builder: BatchBuilder, key: bytes | None) -> BatchBuilder:
    append = builder.append
    while append(NOW, key, VALUE) >= 0:
        pass
    return builder


def batch(bytes_max: int, key: bytes | None, codec: Compression = Compression.NONE) -> bytes:
    return fill(BatchBuilder(codec, bytes_max), key).build()


def rows() -> list[Row]:
    found: list[Row] = []
    for label, key in (("no key", None), ("10 B key", KEY)):
        one = batch(BATCH_BYTES, key)
        records = decode_records(one, 0, WireRecord)
        count = len(records)
        found += [
            Row(f"append + build, {label}", partial(batch, BATCH_BYTES, key), count),
            Row(f"encode_batch, {label}", partial(encode_batch, records), count),
            Row(
                f"decode_records, {label}",
                partial(decode_records, one, 0, ClientRecord),
                count,
            ),
        ]
    for codec in (Compression.GZIP, Compression.ZSTD):
        packed = batch(BATCH_BYTES, None, codec)
        count = verify_batch(packed).records_count
        found += [
            Row(
                f"append + build, {codec.name.lower()}",
                partial(batch, BATCH_BYTES, None, codec),
                count,
            ),
            Row(
                f"decode_records, {codec.name.lower()}",
                partial(decode_records, packed, 0, ClientRecord),
                count,
            ),
        ]
    large = batch(LARGE_BATCH_BYTES, None)
    count = verify_batch(large).records_count
    found += [
        Row("append + build, 1 MiB", partial(batch, LARGE_BATCH_BYTES, None), count),
        Row("decode_records, 1 MiB", partial(decode_records, large, 0, ClientRecord), count),
        Row("murmur2, 10 B", lambda: [murmur2(KEY) for _ in range(100)], 100),
        Row("verify_batch, 16 KiB (call)", partial(verify_batch, one), 1),
        Row("verify_batch, 1 MiB (call)", partial(verify_batch, large), 1),
    ]
    return found


def measured(row: Row, rounds: int) -> float:
    """Nanoseconds for one operation, the best of `rounds` of at least 2 ms each."""
    repeats = 1
    best = float("inf")
    while rounds:
        start = time.perf_counter_ns()
        for _ in range(repeats):
            row.run()
        spent = time.perf_counter_ns() - start
        if spent < 2_000_000:
            repeats *= 2
            continue
        best = min(best, spent / repeats / row.operations)
        rounds -= 1
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the batch codec.")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of which the best counts")
    options = parser.parse_args()
    version = sys.version.split()[0]
    print(f"Python {version}, {platform.machine()}; values of 100 B; batches of 16 KiB")
    for row in rows():
        print(f"{row.name:32}{measured(row, options.rounds):12,.0f} ns")


if __name__ == "__main__":
    main()
