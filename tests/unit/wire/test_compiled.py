"""The compiled codec is the pure one: same bytes, same records, same errors, on garbage too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire import Compression, WireRecord, encode_batch, read_header
from logd_wire.limits import (
    BATCH_RECORDS_MAX,
    HEADER_BYTES_MAX,
    HEADERS_MAX,
    KEY_BYTES_MAX,
    RECORD_BYTES_MAX,
)

from tests.unit.wire import twin
from tests.unit.wire.codecs import (
    NAMES,
    both,
    fields,
    needs_both,
    outcome,
    same,
    same_reading,
)
from tests.unit.wire.test_hostile import with_area

pytestmark = needs_both

INT64_MAX = 2**63 - 1
NOW = 1_700_000_000_000
CODECS = [Compression.NONE, Compression.GZIP, Compression.ZSTD]


# ---- reading ------------------------------------------------------------------------------------

_numbers = st.one_of(
    st.integers(-3, 130), st.integers(-(2**63), INT64_MAX), st.integers(-(2**69), 2**69 - 1)
)
_any_fields = st.fixed_dictionaries(
    {},
    optional={
        "base_offset": st.one_of(st.integers(0, 9), st.integers(-(2**63), INT64_MAX)),
        "batch_length": st.integers(-(2**31), 2**31 - 1),
        "leader_epoch": st.integers(-(2**31), 2**31 - 1),
        "magic": st.integers(-128, 127),
        "attributes": st.one_of(st.just(8), st.integers(-(2**15), 2**15 - 1)),
        "last_offset_delta": st.one_of(st.integers(0, 9), st.integers(-(2**31), 2**31 - 1)),
        "base_timestamp": st.one_of(
            st.integers(INT64_MAX - 9_000, INT64_MAX), st.integers(-(2**63), INT64_MAX)
        ),
        "max_timestamp": st.integers(-(2**63), INT64_MAX),
        "producer_id": st.integers(-(2**63), INT64_MAX),
        "producer_epoch": st.integers(-(2**15), 2**15 - 1),
        "base_sequence": st.integers(-(2**31), 2**31 - 1),
        "records_count": st.one_of(st.integers(0, 9), st.integers(-(2**31), 2**31 - 1)),
        "crc": st.integers(0, 2**32 - 1),
    },
)


@given(placed=twin.placed_records(), codec=st.sampled_from(CODECS), before=st.integers(0, 99))
def test_honest_batches_are_read_alike(
    placed: tuple[int, list[WireRecord]], codec: Compression, before: int
) -> None:
    batch = encode_batch(placed[1], base_offset=placed[0], compression=codec)
    assert same_reading(batch)
    assert same_reading(bytearray(batch))
    assert same_reading(memoryview(batch + b"behind"))
    moved = bytes(before) + batch
    for data in (moved, bytearray(moved), memoryview(moved)):
        _, records = same(lambda codec, *at: codec.decode_batch(*at), data, before)
        assert records == placed[1]
        same(lambda codec, *at: list(codec.iter_keys(*at)), data, before)
        same(lambda codec, *at: codec.filter_batch(*at, lambda *_: True), data, before)


@given(st.binary(max_size=300))
def test_garbage_is_read_alike(data: bytes) -> None:
    same_reading(data)


@given(fields=_any_fields, area=st.one_of(st.binary(max_size=60), st.just(b"\x0e\0\6\0\2k\2v\0")))
def test_any_header_around_any_area_is_read_alike(fields: dict[str, int], area: bytes) -> None:
    same_reading(twin.batch_bytes(area, **fields))


@given(
    placed=twin.placed_records(),
    codec=st.sampled_from(CODECS),
    flips=st.lists(st.tuples(st.integers(0), st.integers(0, 7)), min_size=1, max_size=4),
    cut=st.integers(0, 200),
)
def test_damaged_areas_are_read_alike(
    placed: tuple[int, list[WireRecord]],
    codec: Compression,
    flips: list[tuple[int, int]],
    cut: int,
) -> None:
    batch = encode_batch(placed[1], base_offset=placed[0], compression=codec)
    area = bytearray(batch[61 : len(batch) - cut] if cut % 3 == 0 else batch[61:])
    for place, bit in flips:
        if area:
            area[place % len(area)] ^= 1 << bit
    same_reading(with_area(read_header(batch), bytes(area)))


@given(
    numbers=st.lists(_numbers, min_size=1, max_size=9),
    tail=st.binary(max_size=20),
    length=st.one_of(st.none(), _numbers),
    fields=st.fixed_dictionaries(
        {}, optional={"base_timestamp": st.integers(-(2**63), INT64_MAX), "attributes": st.just(8)}
    ),
)
def test_records_of_any_numbers_are_read_alike(
    numbers: list[int], tail: bytes, length: int | None, fields: dict[str, int]
) -> None:
    body = b"\0" + b"".join(map(twin.varint, numbers)) + tail
    area = twin.varint(len(body) if length is None else length) + body
    same_reading(twin.batch_bytes(area, **fields))
    same_reading(twin.batch_bytes(area * 2, records_count=2, last_offset_delta=1, **fields))


@given(
    name=st.one_of(st.none(), st.binary(max_size=5), st.text(max_size=3).map(str.encode)),
    value=st.one_of(st.none(), st.binary(max_size=3)),
    count=st.sampled_from([1, 2, HEADERS_MAX, HEADERS_MAX + 1]),
)
def test_header_names_of_any_bytes_are_read_alike(
    name: bytes | None, value: bytes | None, count: int
) -> None:
    same_reading(twin.batch_bytes(twin.record_bytes(0, 0, b"k", None, ((name, value),) * count)))


def test_every_text_of_three_bytes_that_may_be_wrong_is_read_alike() -> None:
    edges = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF]
    edges += [0xE0, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]
    for first in edges:
        for second in edges:
            for rest in (b"", b"\x80", b"\x80\x80", b"\xbf\xbf", b"\x80a", b"\xc0\x80"):
                name = bytes([first, second]) + rest
                batch = twin.batch_bytes(twin.record_bytes(0, 0, headers=((name, b""),)))
                same(lambda codec, data: codec.decode_batch(data), batch)
                same(lambda codec, data: list(map(fields, codec.iter_records(data))), batch)


def test_records_of_few_bytes_at_the_very_end_are_read_alike() -> None:
    good = twin.record_bytes(0, 0)
    fields = {"records_count": 2, "last_offset_delta": 1}
    for size in range(9):
        for there in range(size + 1):
            short = twin.varint(size) + bytes(there)
            # Six zeros are a whole record: key, value and headers are empty.
            whole = size == there == 6
            assert same_reading(twin.batch_bytes(short)) is whole
            same_reading(twin.batch_bytes(good + short, **fields))


def test_a_name_does_not_go_on_in_what_follows_it() -> None:
    """The length of a value of 64 bytes begins with a byte that could continue a character."""
    for name in (b"\xc2", b"a\xe2\x82", b"\xf0\x9f\x98"):
        same_reading(twin.batch_bytes(twin.record_bytes(0, 0, headers=((name, bytes(64)),))))


def test_numbers_that_are_padded_or_too_long_are_read_alike() -> None:
    for number in (b"\x80\0", b"\x80" * 8 + b"\0", b"\x80" * 9 + b"\0", b"\x80" * 10 + b"\0"):
        for number_of in (number, number[:-1] + b"\2", b"\xff" * (len(number) - 1) + b"\x7f"):
            for parts in range(6):
                numbers = [b"\0", b"\0", b"\1", b"\1", b"\0"]
                if parts < 5:
                    numbers[parts] = number_of
                body = b"\0" + b"".join(numbers)
                length = number_of if parts == 5 else twin.varint(len(body))
                for base in (-(2**63), 0, INT64_MAX):
                    same_reading(twin.batch_bytes(length + body, base_timestamp=base))


@pytest.mark.parametrize(
    "position", [-1, 0, 1, 61, 2**40, -(2**40), 2**63, -(2**64), True, 0.0, None, "0"]
)
def test_any_position_is_taken_alike(position: Any) -> None:
    batch = encode_batch([WireRecord(0, NOW, b"k", b"v")])
    for data in (batch, b"x" + batch, bytearray(batch), memoryview(batch), b""):
        for name in ("decode_batch", "iter_records", "iter_keys"):
            same(
                lambda codec, d=data, n=name: list(
                    map(tuple, _five(getattr(codec, n)(d, position)))
                )
            )
        same(lambda codec, *at: codec.filter_batch(*at, lambda *_: False), data, position)


def _five(found: Any) -> list[tuple[object, ...]]:
    return [one if type(one) is tuple else fields(one) for one in found]


def test_buffers_of_every_kind_are_taken_alike() -> None:
    batch = encode_batch([WireRecord(0, NOW, b"k", b"v" * 34)])
    padded = batch + bytes(-len(batch) % 4)
    released = memoryview(batch)
    released.release()
    kinds: list[Any] = [
        memoryview(padded).cast("I"),
        memoryview(padded).cast("B", [4, len(padded) // 4]),
        memoryview(batch * 2)[::2],
        memoryview(batch).toreadonly(),
        released,
        "text",
        None,
        list(batch),
    ]
    for data in kinds:
        for name in ("decode_batch", "iter_keys"):
            same(lambda codec, n, data: list(getattr(codec, n)(data)), name, data)


def test_calls_that_fit_no_signature_are_refused() -> None:
    batch = encode_batch([WireRecord(0, NOW, b"k", b"v")])
    calls: list[Callable[[Any], object]] = [
        lambda codec: codec.decode_batch(),
        lambda codec: codec.decode_batch(batch, 0, True),
        lambda codec: codec.decode_batch(batch, buffer=batch),
        lambda codec: codec.decode_batch(batch, unknown=1),
        lambda codec: codec.decode_records(batch, 0),
        lambda codec: codec.filter_batch(batch, 0),
        lambda codec: codec.filter_batch(batch, 0, None),
        lambda codec: codec.decode_records(batch, 0, None),
        lambda codec: codec.encode_batch(),
        lambda codec: codec.encode_batch([], 0),
        lambda codec: codec.encode_batch(None),
        lambda codec: codec.BatchBuilder(unknown=1),
        lambda codec: codec.BatchBuilder(Compression.NONE, "1"),
        lambda codec: codec.BatchBuilder().append(),
        lambda codec: codec.BatchBuilder().append(NOW, None),
        lambda codec: codec.BatchBuilder().append(NOW, None, b"", (), 1),
        lambda codec: codec.BatchBuilder().append(NOW, None, b"", timestamp=1),
        lambda codec: codec.BatchBuilder().build(1),
        lambda codec: codec.murmur2("text"),
        lambda codec: codec.partition_for_key(b"key"),
        lambda codec: codec.partition_for_key("text", 3),
    ]
    for call in calls:
        assert same(call)[:2] == ("raised", TypeError)
    named: list[Callable[[Any], object]] = [
        lambda codec: codec.decode_batch(buffer=batch, position=0, verify=0),
        lambda codec: codec.decode_records(make=lambda *a: a, position=0, buffer=batch),
        lambda codec: codec.filter_batch(batch, keep=lambda *_: 0, position=0),
        lambda codec: codec.BatchBuilder(bytes_max=5).append(value=b"v", key=None, timestamp=NOW),
    ]
    for call in named:
        assert same(call)[0] == "returned"


def test_what_the_caller_raises_passes_and_counts_alike() -> None:
    batch = encode_batch([WireRecord(i, NOW, b"k", b"v") for i in range(5)])
    for codec in both():
        seen: list[int] = []

        def failing(offset: int, *_: object, seen: list[int] = seen) -> None:
            seen.append(offset)
            if offset == 3:
                raise IndexError("the caller's own")

        with pytest.raises(IndexError, match="the caller's own"):
            codec.decode_records(batch, 0, failing)
        with pytest.raises(IndexError, match="the caller's own"):
            codec.filter_batch(batch, 0, failing)
        assert seen == [0, 1, 2, 3] * 2


def test_the_compiled_names_are_the_compiled_ones() -> None:
    """What would fall back in silence would be right, and slow."""
    pure, speed = both()
    assert set(vars(speed)) == set(NAMES) == set(vars(pure))
    batch = encode_batch([WireRecord(i, NOW, b"k", b"v") for i in range(3)])
    for data in (batch, bytearray(batch), memoryview(batch)):
        for name in ("iter_records", "iter_keys"):
            found = getattr(speed, name)(data)
            assert type(found).__module__ == "logd_wire._speed"
            assert len(list(found)) == 3
            assert next(found, None) is None
    assert type(speed.BatchBuilder()).__module__ == "logd_wire._speed"


# ---- writing ------------------------------------------------------------------------------------

_odd: st.SearchStrategy[Any] = st.one_of(
    twin.blobs,
    st.binary(max_size=9).map(bytearray),
    st.binary(max_size=9).map(lambda data: memoryview(data)[:]),
    st.sampled_from(["text", 5, 1.5, True]),
    st.sampled_from([KEY_BYTES_MAX, KEY_BYTES_MAX + 1, RECORD_BYTES_MAX]).map(bytes),
)
_odd_headers: st.SearchStrategy[Any] = st.one_of(
    twin.headers,
    twin.headers,
    twin.headers.map(list),
    st.sampled_from(
        [
            (("n", b"v"),) * HEADERS_MAX,
            (("n", b"v"),) * (HEADERS_MAX + 1),
            (("n", bytes(HEADER_BYTES_MAX)),),
            (("n", bytes(HEADER_BYTES_MAX - 1)),),
            (("\ud800", b""),),
            ((b"n", b""),),
            (("n", "v"),),
            (("n", bytearray(b"v")),),
            (["n", b"v"],),
            (("n",),),
            (None,),
            "ab",
        ]
    ),
)
_odd_times: st.SearchStrategy[Any] = st.one_of(
    twin.timestamps,
    twin.timestamps,
    st.sampled_from([-2, INT64_MAX, 2**64, -(2**70), True, 1.5, None, "1"]),
)
_appends = st.lists(st.tuples(_odd_times, _odd, _odd, _odd_headers), max_size=8)
_options = st.fixed_dictionaries(
    {"compression": st.sampled_from([*CODECS, Compression.NONE, Compression.SNAPPY, 0])},
    optional={
        "level": st.sampled_from([None, 1, 99]),
    },
)
_ids = st.one_of(
    st.integers(-1, 2**15 - 1), st.sampled_from([-2, 2**31, 2**63, 2**64, True, None, 1.5])
)
_producers = st.fixed_dictionaries(
    {}, optional={"producer_id": _ids, "producer_epoch": _ids, "base_sequence": _ids}
)


@given(
    appends=_appends,
    options=_options,
    bytes_max=st.one_of(st.integers(0, 2_000), st.integers(-(2**70), 2**70)),
    producer=_producers,
)
def test_builders_fill_alike(
    appends: list[tuple[Any, ...]],
    options: dict[str, Any],
    bytes_max: int,
    producer: dict[str, Any],
) -> None:
    if same(lambda codec: codec.BatchBuilder(**options).count)[0] == "raised":
        return
    made = [codec.BatchBuilder(bytes_max=bytes_max, **options) for codec in both()]

    def alike(name: str, *arguments: Any, **named: Any) -> None:
        first, second = (outcome(getattr(one, name), *arguments, **named) for one in made)
        assert first == second

    for record in appends:
        alike("append", *record)
        assert made[0].count == made[1].count
        assert made[0].size_estimate == made[1].size_estimate
    alike("build", **producer)
    alike("build")


@given(
    placed=twin.placed_records(),
    odd=st.lists(st.tuples(st.integers(0, 7), _odd_times, _odd, _odd, _odd_headers), max_size=1),
    shift=st.sampled_from([0, 0, 0, 1, -1, BATCH_RECORDS_MAX, -INT64_MAX, -(2**65), 0.0, True]),
    settings=st.tuples(
        _options, st.fixed_dictionaries({}, optional={"leader_epoch": _ids}), _producers
    ).map(lambda parts: {**parts[0], **parts[1], **parts[2]}),
)
def test_batches_are_encoded_alike(
    placed: tuple[int, list[WireRecord]],
    odd: list[tuple[Any, ...]],
    shift: Any,
    settings: dict[str, Any],
) -> None:
    base_offset, records = placed
    for at, *content in odd:
        place = at % len(records)
        records[place] = WireRecord(records[place].offset, *content)
    settings = {"base_offset": base_offset + shift, **settings}
    same(lambda codec: codec.encode_batch(records, **settings))
    same(lambda codec: codec.encode_batch(iter(map(list, records)), **settings))


@pytest.mark.parametrize(
    "records",
    [
        [],
        [(0, NOW, None, b"")],
        [(0, NOW, None, b"", (), 1)],
        [None],
        [(None, NOW, None, b"", ())],
        [(1.0, NOW, None, b"", ())],
        [(0, 1.0, None, b"", ())],
        [(True, True, None, b"", ())],
        [(5, NOW, None, b"", ()), (5, NOW, None, b"", ())],
        [(BATCH_RECORDS_MAX, NOW, None, b"", ())],
        [(2**62, NOW, None, b"", ())],
    ],
)
def test_odd_lists_of_records_are_encoded_alike(records: list[Any]) -> None:
    same(lambda codec: codec.encode_batch(records))


def test_a_generator_that_fails_passes_its_error() -> None:
    def failing() -> Any:
        yield WireRecord(0, NOW, None, b"")
        raise IndexError("the caller's own")

    for codec in both():
        with pytest.raises(IndexError, match="the caller's own"):
            codec.encode_batch(failing())


def test_builders_are_full_at_the_same_byte() -> None:
    for bytes_max in range(61, 200):
        for key, value in ((None, b"v"), (b"k" * 20, b"v" * 40), (None, bytes(70))):
            counts = []
            for codec in both():
                builder = codec.BatchBuilder(bytes_max=bytes_max)
                while builder.append(NOW, key, value) >= 0:
                    pass
                counts.append((builder.count, builder.size_estimate))
            assert counts[0] == counts[1]


def test_full_builders_build_alike() -> None:
    pure, speed = both()
    for key, value in ((None, b""), (b"key", b"v" * 100), (None, bytes(RECORD_BYTES_MAX // 4))):
        built = []
        for codec in (pure, speed):
            builder = codec.BatchBuilder()
            while builder.append(NOW, key, value) >= 0:
                pass
            built.append((builder.count, builder.size_estimate, builder.build()))
        assert built[0] == built[1]
        assert speed.decode_batch(built[0][2]) == pure.decode_batch(built[0][2])


@given(
    values=st.lists(
        st.one_of(st.binary(max_size=300), st.none(), st.binary(max_size=9).map(bytearray)),
        max_size=40,
    ),
    before=st.integers(0, 3),
    start=st.integers(-1, 42),
    time=st.one_of(st.just(NOW), _odd_times),
    bytes_max=st.integers(0, 4_000),
    closed=st.booleans(),
)
def test_builders_take_many_values_alike(  # noqa: PLR0917 (drawn by name)
    values: list[Any], before: int, start: int, time: Any, bytes_max: int, closed: bool
) -> None:
    results = []
    for codec in both():
        builder = codec.BatchBuilder(bytes_max=bytes_max)
        for number in range(before):
            builder.append(NOW + number, b"k", b"v")
        if closed:
            assert builder.close() == builder.count
        added = outcome(builder.extend, time, values, start)
        results.append((added, builder.count, builder.size_estimate, outcome(builder.build)))
        if closed:
            assert builder.append(NOW, None, b"") == -1
    assert results[0] == results[1]


@pytest.mark.parametrize("values", [[bytes(RECORD_BYTES_MAX)], [bytes(RECORD_BYTES_MAX + 1)]])
def test_the_largest_value_is_the_last_that_is_taken(values: list[bytes]) -> None:
    fits = len(values[0]) == RECORD_BYTES_MAX
    found = same(lambda codec: codec.BatchBuilder().extend(NOW, [b"v", *values, b"v"], 1))
    assert found == ("returned", 2 if fits else 0)


# ---- the partitioner ----------------------------------------------------------------------------


@given(
    key=st.one_of(st.binary(max_size=600), st.binary(max_size=9).map(bytearray)),
    partitions=st.one_of(st.integers(1, 10_000), st.sampled_from([0, -3, 2**31, 2**64])),
)
def test_keys_are_hashed_alike(key: bytes, partitions: int) -> None:
    same(lambda codec: codec.murmur2(key))
    same(lambda codec: codec.partition_for_key(key, partitions))
