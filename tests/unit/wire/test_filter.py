"""Lazy records, keys alone, and batches with fewer records: what the cleaner is made of."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire import (
    Compression,
    WireRecord,
    decode_batch,
    encode_batch,
    filter_batch,
    iter_keys,
    iter_records,
    read_header,
    stamp,
    verify_batch,
)
from logd_wire.errors import (
    CorruptBatchError,
    ErrorCode,
    InvalidRecordError,
    RecordTooLargeError,
    UnsupportedCompressionError,
)
from logd_wire.limits import BATCH_BYTES_MAX, RECORD_BYTES_MAX

from tests.unit.wire import twin

NOW = 1_700_000_000_000
CODECS = [Compression.NONE, Compression.GZIP, Compression.ZSTD]
RECORDS = [
    WireRecord(7, NOW, b"a", b"first", (("h", b"x"),)),
    WireRecord(8, NOW + 9, b"b", None),
    WireRecord(11, NOW - 50, None, b"v" * 200),
    WireRecord(12, NOW + 4, b"a", b""),
]


def batch_of(codec: Compression = Compression.NONE) -> bytes:
    made = encode_batch(
        RECORDS,
        base_offset=5,
        leader_epoch=3,
        compression=codec,
        producer_id=70,
        producer_epoch=2,
        base_sequence=40,
    )
    assert read_header(made).compression is codec
    return made


def none(*_: object) -> bool:
    return False


def test_records_are_seen_one_by_one() -> None:
    views = iter_records(b"before" + batch_of() + b"behind", 6)
    first = next(views)
    assert (first.offset, first.timestamp, first.key, first.value) == (7, NOW, b"a", b"first")
    assert first.headers == (("h", b"x"),)
    rest = list(views)
    assert [view.offset for view in rest] == [8, 11, 12]
    assert [view.value for view in rest] == [None, b"v" * 200, b""]
    assert next(views, None) is None


def test_a_view_outlives_its_iterator_and_its_buffer() -> None:
    buffer = bytearray(batch_of())
    (first, *_), keys = iter_records(buffer), iter_keys(buffer)
    buffer[61:] = bytes(len(buffer) - 61)
    assert (first.key, first.value, first.headers) == (b"a", b"first", (("h", b"x"),))
    del buffer
    assert next(keys) == (7, b"a", True)


@pytest.mark.parametrize("codec", CODECS)
def test_keys_alone(codec: Compression) -> None:
    expected = [(7, b"a", True), (8, b"b", False), (11, None, True), (12, b"a", True)]
    assert list(iter_keys(batch_of(codec))) == expected
    kept = [one for one in iter_keys(batch_of(codec)) if one[1]]
    assert kept == [expected[0], expected[1], expected[3]], "what is kept does not change"


@given(placed=twin.placed_records(), codec=st.sampled_from(CODECS))
def test_views_and_keys_are_those_of_the_records(
    placed: tuple[int, list[WireRecord]], codec: Compression
) -> None:
    base_offset, records = placed
    batch = encode_batch(records, base_offset=base_offset, compression=codec)
    views = list(iter_records(batch))
    assert records == [
        WireRecord(view.offset, view.timestamp, view.key, view.value, view.headers)
        for view in views
    ]
    assert list(iter_keys(batch)) == [
        (record.offset, record.key, record.value is not None) for record in records
    ]


def test_a_damaged_batch_is_refused_before_anything_is_seen() -> None:
    good = twin.record_bytes(0, 0, b"k", b"v")
    damaged = twin.batch_bytes(good * 2, records_count=2, last_offset_delta=1)
    asked: list[int] = []
    for read in (iter_records, iter_keys):
        with pytest.raises(CorruptBatchError):
            read(damaged)
    with pytest.raises(CorruptBatchError):
        filter_batch(damaged, 0, lambda offset, *_: asked.append(offset))
    assert asked == []
    flipped = bytearray(batch_of())
    flipped[-2] ^= 1
    for read in (iter_records, iter_keys):
        with pytest.raises(CorruptBatchError, match="CRC"):
            read(flipped)
        assert len(list(read(flipped, verify=False))) == 4
    with pytest.raises(CorruptBatchError, match="CRC"):
        filter_batch(flipped, 0, none)
    assert filter_batch(flipped, 0, none, verify=False)


@pytest.mark.parametrize("codec", CODECS)
def test_survivors_keep_their_place(codec: Compression) -> None:
    batch = batch_of(codec)
    before = read_header(batch)
    seen: list[tuple[int, bytes | None, bool]] = []

    def keep(offset: int, key: bytes | None, has_value: bool) -> bool:
        seen.append((offset, key, has_value))
        return offset in {8, 12}

    cleaned = filter_batch(b"before" + batch + b"behind", 6, keep)
    assert seen == list(iter_keys(batch))
    assert decode_batch(cleaned) == [RECORDS[1], RECORDS[3]]
    after = verify_batch(cleaned, exact=True)
    assert after._replace(crc=0, batch_length=0, attributes=0) == before._replace(
        crc=0, batch_length=0, attributes=0, records_count=2, max_timestamp=NOW + 9
    )
    assert after.compression in (codec, Compression.NONE), "what gains nothing is not compressed"


@pytest.mark.parametrize("codec", CODECS)
def test_none_may_survive(codec: Compression) -> None:
    before = read_header(batch_of(codec))
    cleaned = filter_batch(batch_of(codec), 0, none)
    after = verify_batch(cleaned, exact=True)
    assert after == before._replace(
        batch_length=49, records_count=0, crc=after.crc, attributes=0
    ), "offsets, sequences and the largest timestamp stay"
    assert decode_batch(cleaned) == []
    assert list(iter_records(cleaned)) == []
    assert list(iter_keys(cleaned)) == []
    assert filter_batch(cleaned, 0, none) == cleaned


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_that_loses_nothing_is_the_same_bytes(codec: Compression) -> None:
    for kind in (bytes, bytearray, memoryview):
        cleaned = filter_batch(kind(batch_of(codec) + b"behind"), 0, lambda *_: True)
        assert cleaned == batch_of(codec)
        assert type(cleaned) is bytes


def test_flags_and_foreign_forms_stay() -> None:
    """Transactional, control and append time; attributes of records, and padded numbers."""
    padded = b"\x07" + b"\x80\x80\0" + b"\x82\0" + b"\1\1\0"
    padded = twin.varint(len(padded)) + padded
    area = twin.record_bytes(0, 5, b"k", b"v", attributes=9) + padded
    fields = {"last_offset_delta": 4, "attributes": 0x38, "max_timestamp": NOW + 77}
    batch = twin.batch_bytes(area, records_count=2, **fields)
    cleaned = filter_batch(batch, 0, lambda offset, *_: offset == 1)
    assert cleaned == twin.batch_bytes(padded, records_count=1, **fields)
    assert [record.timestamp for record in decode_batch(cleaned)] == [NOW + 77]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("horizon", [0, NOW - 5, NOW + 86_400_000, 2**63 - 2])
def test_a_delete_horizon_moves_no_timestamp(codec: Compression, horizon: int) -> None:
    cleaned = filter_batch(
        batch_of(codec), 0, lambda _, key, __: key != b"a", delete_horizon=horizon
    )
    header = verify_batch(cleaned, exact=True)
    assert header.has_delete_horizon
    assert (header.base_timestamp, header.max_timestamp) == (horizon, NOW + 9)
    assert decode_batch(cleaned) == [RECORDS[1], RECORDS[2]]
    again = filter_batch(cleaned, 0, lambda _, key, __: key is None)
    assert verify_batch(again).has_delete_horizon
    assert verify_batch(again).base_timestamp == horizon
    assert decode_batch(again) == [RECORDS[2]]


def test_a_delete_horizon_is_set_though_all_survive() -> None:
    cleaned = filter_batch(batch_of(), 0, lambda *_: True, delete_horizon=NOW + 5)
    assert verify_batch(cleaned).has_delete_horizon
    assert decode_batch(cleaned) == RECORDS
    for horizon in (-1, 2**63 - 1, 2**70):
        with pytest.raises(InvalidRecordError, match="delete horizon") as caught:
            filter_batch(batch_of(), 0, none, delete_horizon=horizon)
        assert caught.value.code is ErrorCode.INVALID_TIMESTAMP


@given(
    placed=twin.placed_records(),
    codec=st.sampled_from(CODECS),
    kept=st.lists(st.booleans(), min_size=8, max_size=8),
    horizon=st.one_of(st.none(), st.integers(0, 2**63 - 2)),
)
def test_filtering_is_filtering_the_records(
    placed: tuple[int, list[WireRecord]],
    codec: Compression,
    kept: list[bool],
    horizon: int | None,
) -> None:
    base_offset, records = placed
    batch = encode_batch(records, base_offset=base_offset, compression=codec)
    answers = iter(kept)
    cleaned = filter_batch(batch, 0, lambda *_: next(answers), delete_horizon=horizon)
    left = [record for record, keep in zip(records, kept, strict=False) if keep]
    assert decode_batch(cleaned) == left
    before, after = read_header(batch), verify_batch(cleaned, exact=True)
    assert after.next_offset == before.next_offset
    assert after.base_offset == before.base_offset
    if left:
        assert after.max_timestamp == max(record.timestamp for record in left)
    moved = stamp(cleaned, 0, 9)
    assert [r.offset for r in decode_batch(moved)] == [r.offset - base_offset for r in left]


def test_what_would_grow_over_the_limit_is_refused() -> None:
    """Packed well by its producer, survivors may not fit when they are packed in a hurry."""
    digits = random.Random(5).randbytes(RECORD_BYTES_MAX // 2).hex().encode()
    records = [WireRecord(index, NOW, None, digits) for index in range(10)]
    packed = encode_batch(records, compression=Compression.ZSTD)
    assert len(packed) < BATCH_BYTES_MAX
    assert decode_batch(filter_batch(packed, 0, lambda offset, *_: offset)) == records[1:]
    with pytest.raises(RecordTooLargeError) as caught:
        filter_batch(packed, 0, lambda offset, *_: offset, level=-(1 << 17))
    assert caught.value.code is ErrorCode.BATCH_TOO_LARGE


def test_a_codec_that_is_not_there_is_refused_in_words() -> None:
    snappy = twin.batch_bytes(b"", attributes=2)
    readers: list[Callable[[bytes], object]] = [
        iter_records,
        iter_keys,
        lambda data: filter_batch(data, 0, none),
    ]
    for read in readers:
        with pytest.raises(UnsupportedCompressionError, match="choose zstd"):
            read(snappy)
