"""What the batch codecs cost, side by side: `python -m bench.codec`. Prints a table.

Each figure is the best of several rounds, in nanoseconds for each record (or call); the rounds of
the two codecs take turns.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

from logd_wire import (
    Compression,
    Headers,
    _pure_decode,
    _pure_encode,
    _pure_filter,
    partitioner,
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


def make_record(
    offset: int, timestamp: int, key: bytes | None, value: bytes | None, headers: Headers
) -> ClientRecord:
    """What the client does: no generated constructor, which costs as much again."""
    return tuple.__new__(ClientRecord, (offset, timestamp, key, value, headers, "topic", 0))


def codecs() -> dict[str, Any]:
    """The codecs that are here; each has the functions of `logd_wire`."""
    pure = SimpleNamespace()
    for module in (partitioner, _pure_filter, _pure_encode, _pure_decode):
        vars(pure).update(vars(module))
    found: dict[str, Any] = {"pure": pure}
    try:
        found["compiled"] = importlib.import_module("logd_wire._speed")
    except ImportError:
        print("the compiled codec is not built", file=sys.stderr)
    return found


def batch(codec: Any, bytes_max: int, key: bytes | None, packed: Compression) -> bytes:
    builder = codec.BatchBuilder(packed, bytes_max)
    append = builder.append
    while append(NOW, key, VALUE) >= 0:
        pass
    built: bytes = builder.build()
    return built


def read_keys(codec: Any, one: bytes) -> None:
    for _offset, _key, _has_value in codec.iter_keys(one):
        pass


def read_views(codec: Any, one: bytes) -> None:
    for view in codec.iter_records(one):
        view.key  # noqa: B018 - reading it is what is measured


def every_other(offset: int, _key: bytes | None, _has_value: bool) -> int:
    return offset & 1


def rows(codec: Any) -> list[Row]:
    found: list[Row] = []
    none = Compression.NONE
    for label, key in (("no key", None), ("10 B key", KEY)):
        one = batch(codec, BATCH_BYTES, key, none)
        records = codec.decode_batch(one)
        made = (
            ("append + build", partial(batch, codec, BATCH_BYTES, key, none)),
            ("encode_batch", partial(codec.encode_batch, records)),
            ("decode_batch", partial(codec.decode_batch, one)),
            ("decode_records, a factory", partial(codec.decode_records, one, 0, make_record)),
            ("decode_records, a NamedTuple", partial(codec.decode_records, one, 0, ClientRecord)),
            ("decode_rows", partial(codec.decode_rows, one, 0, ClientRecord, (), ())),
            ("iter_records, keys read", partial(read_views, codec, one)),
            ("iter_keys", partial(read_keys, codec, one)),
            ("filter_batch, half", partial(codec.filter_batch, one, 0, every_other)),
        )
        found += [Row(f"{name}, {label}", run, len(records)) for name, run in made]
    for packed in (Compression.GZIP, Compression.ZSTD):
        one = batch(codec, BATCH_BYTES, None, packed)
        count = verify_batch(one).records_count
        name = packed.name.lower()
        build = partial(batch, codec, BATCH_BYTES, None, packed)
        found.append(Row(f"append + build, {name}", build, count))
        found.append(Row(f"decode_batch, {name}", partial(codec.decode_batch, one), count))
    large = batch(codec, LARGE_BATCH_BYTES, None, none)
    count = verify_batch(large).records_count
    return [
        *found,
        Row("append + build, 1 MiB", partial(batch, codec, LARGE_BATCH_BYTES, None, none), count),
        Row("decode_batch, 1 MiB", partial(codec.decode_batch, large), count),
        Row("murmur2, 10 B", lambda: [codec.murmur2(KEY) for _ in range(100)], 100),
        Row("verify_batch, 16 KiB (call)", partial(verify_batch, one), 1),
        Row("verify_batch, 1 MiB (call)", partial(verify_batch, large), 1),
    ]


def measured(rows: list[Row], rounds: int) -> list[float]:
    """Nanoseconds for one operation of each row, the best of `rounds` of at least 2 ms each."""
    repeats = [1] * len(rows)
    best = [float("inf")] * len(rows)
    for number, row in enumerate(rows):
        while _spent(row, repeats[number]) < 2_000_000:
            repeats[number] *= 2
    for _ in range(rounds):
        for number, row in enumerate(rows):
            spent = _spent(row, repeats[number]) / repeats[number] / row.operations
            best[number] = min(best[number], spent)
    return best


def _spent(row: Row, repeats: int) -> int:
    start = time.perf_counter_ns()
    for _ in range(repeats):
        row.run()
    return time.perf_counter_ns() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the batch codec.")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of which the best counts")
    options = parser.parse_args()
    version = sys.version.split()[0]
    print(f"Python {version}, {platform.machine()}; values of 100 B; batches of 16 KiB")
    found = codecs()
    print(f"{'ns':42}" + "".join(f"{name:>12}" for name in found))
    for side_by_side in zip(*map(rows, found.values()), strict=True):
        figures = measured(list(side_by_side), options.rounds)
        print(f"{side_by_side[0].name:42}" + "".join(f"{figure:12,.0f}" for figure in figures))


if __name__ == "__main__":
    main()
