"""The compiled codec under a flood of damaged batches, and over time: no crash, nothing left."""

from __future__ import annotations

import gc
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from logd_wire import Compression, WireRecord, encode_batch, read_header
from logd_wire.errors import LogdError
from logd_wire.limits import HEADERS_MAX, RECORD_BYTES_MAX

from tests.unit.wire import twin
from tests.unit.wire.codecs import (
    Row,
    both,
    fields,
    keep_some,
    needs_both,
    outcome,
    same,
    same_reading,
)
from tests.unit.wire.test_hostile import with_area

pytestmark = needs_both

#: Stands before and behind every row.
SHARED = object()

NOW = 1_700_000_000_000
SEED = 5


def corpus() -> list[bytes]:
    """Honest batches of every shape."""
    headers = (("name", b"content"), ("null", None), ("", b""), ("\u20ac", b"\xff"))
    found = []
    for count in (1, 2, 9, 40):
        records = [
            WireRecord(
                index * 3,
                NOW + index * 90 * (-1) ** index,
                None if index % 3 == 0 else b"k" * (index * 7 % 90),
                None if index % 5 == 4 else b"v" * (index * 31 % 200),
                headers[: index % 5],
            )
            for index in range(count)
        ]
        for codec in (Compression.NONE, Compression.NONE, Compression.ZSTD, Compression.GZIP):
            found.append(encode_batch(records, compression=codec))
    found.append(twin.batch_bytes(b"", records_count=0, last_offset_delta=5))
    return found


def damaged(batch: bytes, dice: random.Random) -> bytes:
    """`batch` with some bytes other than they were; often with a CRC that fits again."""
    data = bytearray(batch)
    for _ in range(dice.choice((1, 1, 2, 5))):
        low = 61 if dice.random() < 0.8 and len(data) > 61 else 0
        place = dice.randrange(low, len(data)) if len(data) > low else 0
        match dice.randrange(6):
            case 0:
                del data[place : place + dice.choice((1, 1, 3, 50))]
            case 1:
                data[place:place] = dice.randbytes(dice.choice((1, 2, 9)))
            case 2:
                data[place : place + 1] = dice.choice((b"\xff", b"\x80", b"\0", b"\1", b"\x7f"))
            case 3:
                data[place : place + 10] = b"\xff" * 9 + bytes([dice.randrange(256)])
            case _:
                if data:
                    data[place % len(data)] ^= 1 << dice.randrange(8)
    try:
        header = read_header(batch if dice.random() < 0.7 else bytes(data))
    except LogdError:
        return bytes(data)
    return with_area(header, bytes(data[61:]))


def flood(inputs: int, seed: int) -> int:
    """Give both codecs `inputs` damaged batches; return how many of them still are one."""
    dice = random.Random(seed)
    batches = corpus()
    return sum(same_reading(damaged(dice.choice(batches), dice)) for _ in range(inputs))


def test_a_sample_of_damaged_batches() -> None:
    assert 0 < flood(3_000, SEED) < 2_500


@pytest.mark.proof
def test_a_flood_of_damaged_batches(
    record_figure: Callable[[str, int | float | str], None],
) -> None:
    inputs = 250_000
    record_figure("still_batches", flood(inputs, random.SystemRandom().getrandbits(40)))
    record_figure("damaged_batches", inputs)


def _read_everything(codec: Any, batch: bytes) -> None:
    codec.decode_batch(batch)
    codec.decode_records(bytearray(batch), 0, lambda *parts: parts)
    codec.decode_rows(batch, 0, Row, (SHARED,), (SHARED, None))
    codec.decode_rows(batch, 0, Row, ([],), ())
    outcome(codec.decode_rows, batch, 0, list, (), ())
    outcome(codec.decode_rows, batch[:-1], 0, Row, (), ())
    for view in codec.iter_records(memoryview(batch)):
        fields(view)
    next(codec.iter_records(batch), None)
    kept = [*codec.iter_keys(batch)]
    codec.filter_batch(batch, 0, keep_some)
    codec.filter_batch(batch, 0, keep_some, delete_horizon=NOW)
    refused = outcome(codec.decode_batch, batch[:-1])
    assert refused[0] == "raised"
    outcome(codec.decode_batch, batch, 0, 0)
    outcome(codec.filter_batch, batch, 0, lambda *_: int("x"))
    outcome(codec.decode_records, batch, 0, lambda *_: int("x"))
    codec.murmur2(batch)
    codec.partition_for_key(batch, len(kept) + 1)


def _write_everything(codec: Any, records: list[WireRecord]) -> None:
    outcome(codec.encode_batch, [*records, (0, 0, 0, 0, 0)])
    outcome(codec.encode_batch, records, producer_id=2**63)
    outcome(codec.encode_batch, records)
    builder = codec.BatchBuilder(Compression.ZSTD, 5_000)
    for record in records:
        builder.append(*record[1:])
    odd: tuple[tuple[Any, ...], ...] = (
        (NOW, bytearray(b"k"), b"v", [("n", None)]),
        (-2, None, b""),
        (NOW, "k", b""),
        (NOW, b"k", b"v", ((1, 2),)),
        (),
    )
    for content in odd:
        outcome(builder.append, *content)
    values = [record.value for record in records]
    outcome(builder.extend, NOW, values, 0)
    outcome(builder.extend, NOW, iter(values), 0)
    outcome(builder.extend, NOW, values, -1)
    outcome(builder.extend, None, values, 0)
    builder.close()
    outcome(builder.build, producer_id=1, producer_epoch=1, base_sequence=1)
    outcome(builder.build, producer_id=None)
    _take_in(codec, values)


def _take_in(codec: Any, values: list[bytes | None]) -> None:
    intake, builder = codec.Intake(), codec.BatchBuilder(bytes_max=5_000)
    intake.put(builder, builder)
    made = [
        intake.add(value, codec.Receipt, time.time_ns)
        for value in (*values, bytes(6_000), None, "text")
    ]
    outcome(intake.add, b"v", object, time.time_ns)
    outcome(intake.add, b"v", codec.Receipt, str)
    outcome(intake.put, SHARED, None)
    outcome(codec.Receipt, SHARED, 1)
    intake.put(codec.BatchBuilder(), SHARED)
    made.append(intake.add(b"v", codec.Receipt, lambda: NOW * 1_000_000))
    intake.put(None, made)


def _everything(codec: Any, batches: list[bytes]) -> None:
    """Every function, on good input and on bad; what is made goes away again."""
    for batch in batches:
        _read_everything(codec, batch)
        _write_everything(codec, codec.decode_batch(batch))


def test_nothing_is_left_behind() -> None:
    _, speed = both()
    batches = [*corpus(), encode_batch([WireRecord(0, NOW, None, bytes(RECORD_BYTES_MAX))])]
    _everything(speed, batches)
    tracemalloc.start()
    try:
        _everything(speed, batches)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            _everything(speed, batches)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 4_000, "one object of 32 bytes for each batch would be 10 000 bytes"


def test_the_objects_that_are_shared_keep_their_counts() -> None:
    """None, the booleans and the types take no memory for being held once more."""
    _, speed = both()
    batches = corpus()
    watched = [
        None,
        True,
        False,
        (),
        SHARED,
        Row,
        WireRecord,
        speed.BatchBuilder,
        speed.Receipt,
        speed.Intake,
        Compression.NONE,
        lambda: 0,
    ]
    _everything(speed, batches)
    gc.collect()
    before = [sys.getrefcount(one) for one in watched]
    for _ in range(10):
        _everything(speed, batches)
    gc.collect()
    after = [sys.getrefcount(one) for one in watched]
    for one, first, last in zip(watched, before, after, strict=True):
        assert abs(last - first) < 60, (one, first, last)


def test_a_builder_that_its_own_record_changes_says_so() -> None:
    _, speed = both()
    builder = speed.BatchBuilder()
    builder.append(NOW, None, b"first")

    class Sly(int):
        """Being compared, it appends to the builder."""

        def __ge__(self, other: int) -> bool:
            if builder.count < 2:
                builder.append(NOW, None, b"between")
            return super().__ge__(other)

    with pytest.raises(RuntimeError, match="changed"):
        builder.append(Sly(NOW), None, b"second")
    assert builder.count == 2
    assert [record.value for record in speed.decode_batch(builder.build())] == [
        b"first",
        b"between",
    ]


def test_a_list_that_a_timestamp_empties_is_not_read_behind_its_end() -> None:
    _, speed = both()
    values = [b"value %d" % number for number in range(500)]

    class Sly(int):
        """Being compared, it empties the list."""

        def __ge__(self, other: int) -> bool:
            values.clear()
            return super().__ge__(other)

    builder = speed.BatchBuilder()
    assert builder.extend(Sly(NOW), values, 0) == 1
    assert [record.value for record in speed.decode_batch(builder.build())] == [b"value 0"]


def test_a_builder_that_is_closed_while_it_adds_adds_nothing() -> None:
    _, speed = both()
    builder = speed.BatchBuilder()
    builder.append(NOW, None, b"first")

    class Sly(int):
        """Being compared, it closes the builder."""

        def __ge__(self, other: int) -> bool:
            builder.close()
            return super().__ge__(other)

    assert builder.append(Sly(NOW), None, b"second") == -1
    assert builder.count == 1


def test_rows_of_plain_values_are_nothing_to_the_collector() -> None:
    """Millions of records would be gone through again and again; a row that may be part of a cycle
    must be, or it would never go away."""
    _, speed = both()
    batch = encode_batch([WireRecord(i, NOW, b"k", b"v", (("h", None),)) for i in range(3)])
    assert not any(map(gc.is_tracked, speed.decode_rows(batch, 0, Row, ("t", 1), (None,))))
    assert not any(map(gc.is_tracked, speed.decode_batch(batch)))
    for before, after in ((([],), ()), ((), ([],))):
        assert all(map(gc.is_tracked, speed.decode_rows(batch, 0, Row, before, after)))


@pytest.mark.parametrize(
    "arguments",
    [(Row, ("t",), (1,)), (tuple, (), ()), (list, (), ()), (Row, ["t"], [1]), (WireRecord, (), ())],
)
def test_rows_of_every_kind_are_made_alike(arguments: tuple[Any, ...]) -> None:
    batch = encode_batch([WireRecord(i, NOW + i, b"k", None, (("h", b"x"),)) for i in range(3)])
    found = same(lambda codec: codec.decode_rows(batch, 0, *arguments))
    if found[0] == "returned":
        kind, before, after = arguments
        assert all(type(row) is kind for row in found[1])  # type: ignore[attr-defined]
        expected = [(*before, i, b"k", None, (("h", b"x"),), NOW + i, *after) for i in range(3)]
        assert found[1] == expected


def test_a_collection_in_the_middle_finds_no_holes() -> None:
    """A factory that walks every object must not meet the list that is being filled."""
    _, speed = both()
    batch = encode_batch([WireRecord(i, NOW, b"k", b"v") for i in range(50)])
    sizes: list[int] = []

    def make(*parts: object) -> tuple[object, ...]:
        sizes.append(sum(1 for one in gc.get_objects() if type(one) is list and len(one) == 50))
        gc.collect(0)
        return parts

    held = sum(1 for one in gc.get_objects() if type(one) is list and len(one) == 50)
    assert len(speed.decode_records(batch, 0, make)) == 50
    assert max(sizes) <= held


def test_a_record_with_all_that_fits() -> None:
    headers = tuple((f"{index:03}", b"v" * 100) for index in range(HEADERS_MAX))
    batch = encode_batch([WireRecord(0, NOW, b"k" * 65_536, b"v" * 900_000, headers)])
    assert same_reading(batch)
