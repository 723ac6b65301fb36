"""Every decoder under garbage: a typed error or a value, never another exception, little memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire import (
    BatchHeader,
    Compression,
    WireRecord,
    decode_batch,
    encode_batch,
    iter_headers,
    read_header,
    verify_batch,
    verify_produced_batch,
)
from logd_wire.compression import compress
from logd_wire.errors import (
    CorruptBatchError,
    InvalidRecordError,
    LogdError,
    RecordTooLargeError,
    UnsupportedCompressionError,
)
from logd_wire.limits import HEADERS_MAX, MIB

from tests.unit.wire import twin

INT64_MAX = 2**63 - 1
ALLOWED = (
    CorruptBatchError,
    RecordTooLargeError,
    UnsupportedCompressionError,
    InvalidRecordError,
)

DECODERS: Sequence[Callable[[bytes], object]] = (
    read_header,
    verify_batch,
    verify_produced_batch,
    decode_batch,
    lambda data: decode_batch(data, verify=False),
    lambda data: list(iter_headers(data)),
)


def tried(data: bytes) -> list[WireRecord] | None:
    """Give `data` to every decoder; return what `decode_batch` read, None if it refused."""
    for decoder in DECODERS:
        try:
            decoder(data)
        except LogdError as error:
            assert isinstance(error, ALLOWED), error
            assert str(error)
    try:
        return decode_batch(data)
    except LogdError:
        return None


def refused(area: bytes, **fields: int) -> str:
    """Assert that a batch around `area`, its CRC right, is corrupt; return the message."""
    with pytest.raises(CorruptBatchError) as caught:
        decode_batch(twin.batch_bytes(area, **fields))
    return str(caught.value)


@given(st.binary(max_size=300))
def test_garbage(data: bytes) -> None:
    tried(data)


@given(
    fields=st.fixed_dictionaries(
        {},
        optional={
            "base_offset": st.integers(-(2**63), INT64_MAX),
            "batch_length": st.integers(-(2**31), 2**31 - 1),
            "leader_epoch": st.integers(-(2**31), 2**31 - 1),
            "magic": st.integers(-128, 127),
            "attributes": st.integers(-(2**15), 2**15 - 1),
            "last_offset_delta": st.one_of(st.integers(0, 9), st.integers(-(2**31), 2**31 - 1)),
            "base_timestamp": st.integers(-(2**63), INT64_MAX),
            "max_timestamp": st.integers(-(2**63), INT64_MAX),
            "producer_id": st.integers(-(2**63), INT64_MAX),
            "producer_epoch": st.integers(-(2**15), 2**15 - 1),
            "base_sequence": st.integers(-(2**31), 2**31 - 1),
            "records_count": st.one_of(st.integers(0, 9), st.integers(-(2**31), 2**31 - 1)),
        },
    ),
    area=st.one_of(st.binary(max_size=60), st.just(twin.record_bytes(0, 3, b"k", b"v"))),
)
def test_any_header_around_any_area(fields: dict[str, int], area: bytes) -> None:
    read = tried(twin.batch_bytes(area, **fields))
    for record in read or ():
        assert 0 <= record.offset < INT64_MAX
        assert -(2**63) <= record.timestamp <= INT64_MAX


@given(
    placed=twin.placed_records(),
    codec=st.sampled_from([Compression.NONE, Compression.GZIP, Compression.ZSTD]),
    flips=st.lists(st.tuples(st.integers(0), st.integers(0, 7)), min_size=1, max_size=4),
    cut=st.integers(0, 200),
)
def test_flipped_and_cut_batches_with_a_crc_that_fits(
    placed: tuple[int, list[WireRecord]],
    codec: Compression,
    flips: list[tuple[int, int]],
    cut: int,
) -> None:
    base_offset, records = placed
    batch = encode_batch(records, base_offset=base_offset, compression=codec)
    header = read_header(batch)
    area = bytearray(batch[61 : len(batch) - cut] if cut % 3 == 0 else batch[61:])
    for place, bit in flips:
        if area:
            area[place % len(area)] ^= 1 << bit
    damaged = with_area(header, bytes(area))
    read = tried(damaged)
    if read is not None:
        offsets = [record.offset for record in read]
        assert offsets == sorted(set(offsets))
        assert len(read) == len(records)
        assert all(base_offset <= offset <= header.last_offset for offset in offsets)


def with_area(header: BatchHeader, area: bytes) -> bytes:
    fields = header._asdict()
    del fields["crc"], fields["batch_length"]
    return twin.batch_bytes(area, **fields)


@given(
    numbers=st.lists(
        st.one_of(
            st.integers(-3, 70),
            st.integers(-(2**63), INT64_MAX),
            st.sampled_from([2**31 - 1, 2**31, -(2**31)]),
        ),
        min_size=1,
        max_size=9,
    ),
    tail=st.binary(max_size=20),
    length=st.one_of(st.none(), st.integers(-3, 100), st.integers(-(2**63), INT64_MAX)),
)
def test_records_of_any_numbers(numbers: list[int], tail: bytes, length: int | None) -> None:
    body = b"\0" + b"".join(map(twin.varint, numbers)) + tail
    area = twin.varint(len(body) if length is None else length) + body
    tried(twin.batch_bytes(area))
    tried(twin.batch_bytes(area * 2, records_count=2, last_offset_delta=1))


def test_more_or_fewer_records_than_counted() -> None:
    two = twin.record_bytes(0, 0) + twin.record_bytes(1, 0)
    for count in (0, 1, 3, 4, 1000):
        refused(two, records_count=count, last_offset_delta=max(count - 1, 3))
    assert "behind its offsets" in refused(twin.record_bytes(1, 0), last_offset_delta=0)
    assert "offset delta" in refused(twin.record_bytes(1, 0, None, None), last_offset_delta=0)


@pytest.mark.parametrize("value", [b"v", None])
def test_offsets_that_do_not_ascend(value: bytes | None) -> None:
    fields = {"records_count": 2, "last_offset_delta": 9}
    for first, second in ((0, 0), (5, 4), (-1, 0), (0, -1), (0, 10), (10, 11)):
        area = twin.record_bytes(first, 0, None, value) + twin.record_bytes(second, 0, None, value)
        refused(area, **fields)
    area = twin.record_bytes(8, 0, None, value) + twin.record_bytes(9, 0, None, value)
    assert len(decode_batch(twin.batch_bytes(area, **fields))) == 2


def test_lengths_that_lie() -> None:
    good = twin.record_bytes(0, 0, b"key", b"value", ((b"h", b"x"),))
    assert decode_batch(twin.batch_bytes(good))
    for lie in (-2, -1, 0, 1, 10, len(good) - 2, len(good), 2**31, 2**62):
        refused(twin.varint(lie) + good[1:])
    start = b"\0\0\0"
    for size in (-2, 5, 100, 2**31, 2**62):
        for body in (
            start + twin.varint(size) + b"k\0\0",
            start + b"\1" + twin.varint(size) + b"v\0",
            start + b"\1\1\2" + twin.varint(size) + b"h\1",
            start + b"\1\1\2\2h" + twin.varint(size) + b"x",
        ):
            refused(twin.varint(len(body)) + body)


def test_a_record_may_not_reach_into_what_follows() -> None:
    """Zeros behind the area must not complete a record that is cut."""
    for value in (b"", bytes(5), bytes(100)):
        record = twin.record_bytes(0, 0, None, value)
        for cut in range(1, len(record) + 1):
            refused(record[:-cut])
        refused(record + b"\0")
        refused(record + record)


def test_numbers_that_are_too_long() -> None:
    for number in (b"\xff" * 10 + b"\x01", b"\x80" * 10 + b"\0", b"\xff" * 9 + b"\x02"):
        body = b"\0" + number + b"\0\1\1\0"
        refused(twin.varint(len(body)) + body)
    padded = b"\0" + b"\x80\x80\0" + b"\x80\0" + b"\1\1\0"
    assert decode_batch(twin.batch_bytes(twin.varint(len(padded)) + padded))


def test_a_timestamp_stays_within_64_bits() -> None:
    for base, delta in ((INT64_MAX, 1), (INT64_MAX - 5, 6), (0, INT64_MAX), (-(2**63), -1)):
        fields = {"base_timestamp": base}
        for value in (b"", None):
            area = twin.record_bytes(0, delta, None, value)
            if base + delta == INT64_MAX:
                assert decode_batch(twin.batch_bytes(area, **fields))[0].timestamp == INT64_MAX
            else:
                assert "timestamp" in refused(area, **fields)


def test_header_names_are_there_and_text() -> None:
    refused(twin.record_bytes(0, 0, headers=((None, b""),)))
    assert "UTF-8" in refused(twin.record_bytes(0, 0, headers=((b"\xff", b""),)))
    for value in (b"\0", b"\1"):
        body = b"\0\0\0\1" + value + twin.varint(1)
        assert "cut" in refused(twin.varint(len(body)) + body)
    body = b"\0\0\0\1\1" + twin.varint(-1)
    assert "number of headers" in refused(twin.varint(len(body)) + body)


def test_a_flood_of_headers_is_refused_before_it_is_read() -> None:
    """Two bytes make a header, so a small batch could ask for gigabytes of objects."""
    flood = HEADERS_MAX + 1
    for count in (flood, 30 * MIB):
        body = b"\0\0\0\1\1" + twin.varint(count) + b"\0\1" * count
        area = twin.varint(len(body)) + body
        batch = twin.batch_bytes(compress(area, Compression.ZSTD), attributes=4)
        tracemalloc.start()
        try:
            with pytest.raises(RecordTooLargeError, match="headers"):
                decode_batch(batch)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < len(area) * 2.5 + MIB


def test_a_count_without_records_takes_no_memory() -> None:
    fields = {"records_count": 100_000, "last_offset_delta": 99_999}
    tracemalloc.start()
    try:
        refused(twin.record_bytes(0, 0), **fields)
        refused(b"", **fields)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MIB
