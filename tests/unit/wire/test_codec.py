"""Encoding and decoding of records, held to a naive twin; the builder held to `encode_batch`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire import (
    BatchBuilder,
    Compression,
    WireRecord,
    decode_batch,
    decode_records,
    encode_batch,
    read_header,
    stamp,
    verify_batch,
    verify_produced_batch,
)
from logd_wire.errors import (
    CorruptBatchError,
    ErrorCode,
    InvalidRecordError,
    RecordTooLargeError,
    UnsupportedCompressionError,
)
from logd_wire.limits import (
    BATCH_BYTES_MAX,
    BATCH_RECORDS_MAX,
    DECOMPRESSED_BYTES_MAX,
    HEADER_BYTES_MAX,
    HEADERS_MAX,
    KEY_BYTES_MAX,
    MIB,
    RECORD_BYTES_MAX,
)

from tests.unit.wire import twin

INT64_MAX = 2**63 - 1
NOW = 1_700_000_000_000
CODECS = [Compression.NONE, Compression.GZIP, Compression.ZSTD]
FULL_RECORD = WireRecord(9, NOW + 5, b"key", b"value", (("name", b"content"), ("", None)))


# ---- one batch ----------------------------------------------------------------------------------


@given(
    placed=twin.placed_records(),
    codec=st.sampled_from(CODECS),
    leader_epoch=st.integers(-1, 2**31 - 1),
    producer=twin.producers,
)
def test_all_that_is_encoded_is_decoded(
    placed: tuple[int, list[WireRecord]],
    codec: Compression,
    leader_epoch: int,
    producer: tuple[int, int, int],
) -> None:
    base_offset, records = placed
    producer_id, producer_epoch, base_sequence = producer
    batch = encode_batch(
        records,
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        compression=codec,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
    )
    header = verify_batch(batch, exact=True)
    assert header._replace(crc=0, attributes=0) == (
        base_offset,
        len(batch) - 12,
        leader_epoch,
        2,
        0,
        0,
        records[-1].offset - base_offset,
        records[0].timestamp,
        max(record.timestamp for record in records),
        producer_id,
        producer_epoch,
        base_sequence,
        len(records),
    )
    assert header.attributes in (codec, Compression.NONE)
    assert decode_batch(batch) == records
    assert decode_batch(b"before" + batch + b"behind", 6) == records


@given(placed=twin.placed_records())
def test_the_bytes_are_those_of_the_twin(placed: tuple[int, list[WireRecord]]) -> None:
    base_offset, records = placed
    first = records[0].timestamp
    area = b"".join(
        twin.record_bytes(
            record.offset - base_offset,
            record.timestamp - first,
            record.key,
            record.value,
            tuple((name.encode(), value) for name, value in record.headers),
        )
        for record in records
    )
    batch = encode_batch(records, base_offset=base_offset)
    assert batch == twin.batch_bytes(
        area,
        base_offset=base_offset,
        last_offset_delta=records[-1].offset - base_offset,
        base_timestamp=first,
        max_timestamp=max(record.timestamp for record in records),
        records_count=len(records),
    )
    assert twin.read_area(batch[61:], read_header(batch)) == decode_batch(batch)


def test_lengths_around_every_step_of_a_number() -> None:
    sizes = [0, 1, 62, 63, 64, 65, 4079, 4080, 4081, 4095, 4096, 8175, 8191, 8192, 8193, 65_536]
    records = [
        WireRecord(index, NOW, key, b"v" * size)
        for index, (key, size) in enumerate(
            (key, size)
            for size in sizes
            for key in (None, b"", b"k", b"k" * 63, b"k" * 64, b"k" * 8192)
        )
    ]
    assert decode_batch(encode_batch(records)) == records
    assert decode_batch(_built(records)) == records


def test_offsets_and_times_around_every_step_of_a_number() -> None:
    steps = [0, 1, 63, 64, 65, 1023, 1024, 4095, 4096, 8191, 8192, 99_999]
    records = [WireRecord(step, NOW + step, None, b"v") for step in steps]
    assert decode_batch(encode_batch(records)) == records
    records = [WireRecord(step, NOW - step, None, b"v") for step in steps]
    assert decode_batch(encode_batch(records)) == records
    times = [5, *(5 + sign * 2**power for power in range(62) for sign in (1, -1))]
    records = [WireRecord(i, time, None, b"") for i, time in enumerate(times) if time >= -1]
    records = [WireRecord(i, *record[1:]) for i, record in enumerate(records)]
    assert decode_batch(encode_batch(records)) == records


def test_times_at_the_ends_of_their_range() -> None:
    last = twin.TIMESTAMP_MAX
    for times in ([last, last - 1], [-1, last], [last, -1], [-1, -1]):
        records = [WireRecord(index, time, None, b"") for index, time in enumerate(times)]
        assert decode_batch(encode_batch(records)) == records
        assert decode_batch(_built(records)) == records


def test_broker_time_stands_for_every_record() -> None:
    area = twin.record_bytes(0, 0) + twin.record_bytes(1, 7, value=b"v" * 9000)
    batch = twin.batch_bytes(
        area, attributes=0x08, last_offset_delta=1, records_count=2, max_timestamp=NOW
    )
    assert [record.timestamp for record in decode_batch(batch)] == [NOW, NOW]


def test_an_empty_batch_and_gaps_may_remain_after_compaction() -> None:
    assert decode_batch(twin.batch_bytes(b"", records_count=0, last_offset_delta=5)) == []
    area = twin.record_bytes(2, 0) + twin.record_bytes(4, 0)
    batch = twin.batch_bytes(area, base_offset=10, records_count=2, last_offset_delta=5)
    assert [record.offset for record in decode_batch(batch)] == [12, 14]


def test_record_attributes_are_ignored() -> None:
    batch = twin.batch_bytes(twin.record_bytes(0, 0, attributes=255))
    assert decode_batch(batch) == [WireRecord(0, NOW, None, b"")]


def test_make_builds_what_the_caller_wants_and_its_errors_pass() -> None:
    batch = encode_batch([FULL_RECORD._replace(offset=0), WireRecord(1, NOW, None, None)])
    seen = decode_records(batch, 0, lambda offset, *rest: (offset, rest))
    assert seen == [
        (0, (NOW + 5, b"key", b"value", FULL_RECORD.headers)),
        (1, (NOW, None, None, ())),
    ]

    def failing(*_: Any) -> None:
        raise IndexError("the caller's own")

    with pytest.raises(IndexError, match="the caller's own"):
        decode_records(batch, 0, failing)


def test_without_verification_only_the_crc_is_left_out() -> None:
    batch = bytearray(encode_batch([WireRecord(0, NOW, None, b"value")]))
    batch[-2] ^= 1
    with pytest.raises(CorruptBatchError, match="CRC-32C"):
        decode_batch(batch)
    assert decode_batch(batch, verify=False)[0].value == b"valud"
    batch[-8] ^= 0xFF
    with pytest.raises(CorruptBatchError):
        decode_batch(batch, verify=False)


def test_compression_that_gains_nothing_is_left_out() -> None:
    for codec in (Compression.GZIP, Compression.ZSTD):
        batch = encode_batch([WireRecord(0, NOW, None, b"x")], compression=codec)
        assert read_header(batch).compression is Compression.NONE
        batch = encode_batch([WireRecord(0, NOW, None, b"x" * 500)], compression=codec, level=1)
        assert read_header(batch).compression is codec
        assert len(batch) < 150


# ---- limits and bad input of the encoder --------------------------------------------------------


def _bad_records() -> list[tuple[WireRecord, type[Exception], str]]:
    plain = WireRecord(0, NOW, None, b"")
    wrong: Any = "text"
    many = tuple((str(index), b"") for index in range(HEADERS_MAX + 1))
    return [
        (plain._replace(key=b"k" * (KEY_BYTES_MAX + 1)), RecordTooLargeError, "the key has 65537"),
        (plain._replace(value=b"v" * (RECORD_BYTES_MAX + 1)), RecordTooLargeError, "the record"),
        (plain._replace(key=b"k", value=b"v" * RECORD_BYTES_MAX), RecordTooLargeError, "record"),
        (plain._replace(headers=many), RecordTooLargeError, "101 headers"),
        (
            plain._replace(headers=(("n", b"v" * HEADER_BYTES_MAX),)),
            RecordTooLargeError,
            "the headers have|the headers has",
        ),
        (plain._replace(key=wrong), InvalidRecordError, "key is a str"),
        (plain._replace(value=wrong), InvalidRecordError, "value is a str"),
        (plain._replace(headers=((wrong, wrong),)), InvalidRecordError, "header 'text' is a str"),
        (plain._replace(headers=(("\ud800", b""),)), InvalidRecordError, "not text"),
        (plain._replace(timestamp=-2), InvalidRecordError, "timestamp -2"),
        (plain._replace(timestamp=INT64_MAX), InvalidRecordError, "timestamp"),
        (plain._replace(timestamp=2**64 + 5), InvalidRecordError, "timestamp"),
    ]


@pytest.mark.parametrize(("record", "error", "word"), _bad_records())
def test_a_bad_record_is_refused_and_leaves_the_builder_as_it_was(
    record: WireRecord, error: type[Exception], word: str
) -> None:
    with pytest.raises(error, match=word):
        encode_batch([record])
    builder = BatchBuilder()
    with pytest.raises(error, match=word):
        builder.append(*record[1:])
    assert (builder.count, builder.size_estimate) == (0, 61)
    builder.append(NOW, b"key", b"value")
    before = builder.build()
    with pytest.raises(error, match=word):
        builder.append(*record[1:])
    assert builder.build() == before


def test_the_largest_record_is_accepted() -> None:
    headers = tuple((f"{index:03}", b"v" * 100) for index in range(HEADERS_MAX))
    size = sum(len(name) + len(value) for name, value in headers)
    key = b"k" * KEY_BYTES_MAX
    record = WireRecord(0, NOW, key, b"v" * (RECORD_BYTES_MAX - KEY_BYTES_MAX - size), headers)
    for batch in (encode_batch([record]), _built([record])):
        assert decode_batch(batch) == [record]


def test_a_batch_needs_a_record_and_offsets_that_ascend() -> None:
    plain = WireRecord(5, NOW, None, b"")
    with pytest.raises(InvalidRecordError, match="at least one"):
        encode_batch([])
    with pytest.raises(InvalidRecordError, match="at least one"):
        BatchBuilder().build()
    for offsets in ([5, 5], [5, 4]):
        with pytest.raises(InvalidRecordError, match="not above 5"):
            encode_batch([plain._replace(offset=offset) for offset in offsets])
    with pytest.raises(InvalidRecordError, match="offset 5 is not above"):
        encode_batch([plain], base_offset=6)
    with pytest.raises(RecordTooLargeError, match="offsets") as caught:
        encode_batch([plain._replace(offset=BATCH_RECORDS_MAX)])
    assert caught.value.code is ErrorCode.BATCH_TOO_LARGE
    encode_batch([plain._replace(offset=BATCH_RECORDS_MAX - 1)])


@pytest.mark.parametrize(
    "fields",
    [
        {"base_offset": -1},
        {"base_offset": INT64_MAX},
        {"leader_epoch": -2},
        {"leader_epoch": 2**31},
        {"producer_id": -2},
        {"producer_id": 2**63},
        {"producer_epoch": -2},
        {"producer_epoch": 2**15},
        {"base_sequence": -2},
        {"base_sequence": 2**31},
    ],
)
def test_a_field_out_of_range_is_refused(fields: dict[str, int]) -> None:
    record = WireRecord(max(fields.get("base_offset", 0), 0), NOW, None, b"")
    with pytest.raises(InvalidRecordError, match=r"out of range|below -1|not above"):
        encode_batch([record], **fields)  # type: ignore[arg-type]


def test_a_batch_over_the_limits_is_refused() -> None:
    record = WireRecord(0, NOW, None, bytes(RECORD_BYTES_MAX))
    eight = [record._replace(offset=index) for index in range(8)]
    with pytest.raises(RecordTooLargeError) as caught:
        encode_batch(eight)
    assert caught.value.code is ErrorCode.BATCH_TOO_LARGE
    assert decode_batch(encode_batch(eight, compression=Compression.ZSTD)) == eight
    many = (record._replace(offset=index) for index in range(DECOMPRESSED_BYTES_MAX // MIB))
    with pytest.raises(RecordTooLargeError, match="of records"):
        encode_batch(many, compression=Compression.ZSTD)


def test_a_codec_that_is_not_there_is_refused_in_words() -> None:
    with pytest.raises(UnsupportedCompressionError, match="choose zstd"):
        encode_batch([FULL_RECORD], compression=Compression.SNAPPY)
    with pytest.raises(UnsupportedCompressionError, match="choose zstd"):
        BatchBuilder(Compression.SNAPPY)
    with pytest.raises(UnsupportedCompressionError, match="no level 99"):
        BatchBuilder(Compression.ZSTD, level=99)
    with pytest.raises(UnsupportedCompressionError, match="choose zstd"):
        decode_batch(twin.batch_bytes(b"", attributes=2))


# ---- the builder --------------------------------------------------------------------------------


def _built(records: list[WireRecord], **options: Any) -> bytes:
    builder = BatchBuilder(**options)
    for index, record in enumerate(records):
        assert builder.append(*record[1:]) == index
    return builder.build()


@given(
    contents=st.lists(twin.contents, min_size=1, max_size=8),
    codec=st.sampled_from(CODECS),
    producer=twin.producers,
)
def test_the_builder_makes_the_bytes_of_encode_batch(
    contents: list[twin.Content], codec: Compression, producer: tuple[int, int, int]
) -> None:
    records = [WireRecord(index, *content) for index, content in enumerate(contents)]
    builder = BatchBuilder(codec)
    sizes = [len(encode_batch(records[: end + 1])) for end in range(len(records))]
    for index, record in enumerate(records):
        assert builder.append(*record[1:]) == index
        assert builder.count == index + 1
        assert builder.size_estimate == sizes[index]
    names = ("producer_id", "producer_epoch", "base_sequence")
    fields = dict(zip(names, producer, strict=True))
    batch = builder.build(**fields)
    assert batch == encode_batch(records, compression=codec, **fields)
    assert batch == builder.build(**fields), "building changes nothing"
    assert len(batch) <= builder.size_estimate


@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=40),
    keys=st.booleans(),
    headers=st.booleans(),
    bytes_max=st.integers(0, 2_000),
)
def test_the_builder_is_full_exactly_at_its_limit(
    sizes: list[int], keys: bool, headers: bool, bytes_max: int
) -> None:
    builder = BatchBuilder(bytes_max=bytes_max)
    accepted: list[WireRecord] = []
    for size in sizes:
        key = b"k" * (size % 70) if keys else None
        extra: tuple[tuple[str, bytes | None], ...] = (("h", b"v"),) if headers else ()
        record = WireRecord(len(accepted), NOW + size, key, bytes(size), extra)
        fits = not accepted or len(encode_batch([*accepted, record])) <= bytes_max
        assert builder.append(*record[1:]) == (len(accepted) if fits else -1)
        if fits:
            accepted.append(record)
    assert decode_batch(builder.build()) == accepted


@pytest.mark.parametrize("value", [b"v" * 20, b"v" * 5_000])
def test_the_last_byte_of_the_limit_may_be_used(value: bytes) -> None:
    size = len(encode_batch([WireRecord(index, NOW, None, value) for index in range(3)]))
    for spare, count in ((0, 3), (-1, 2)):
        builder = BatchBuilder(bytes_max=size + spare)
        while builder.append(NOW, None, value) >= 0:
            pass
        assert builder.count == count


def test_the_first_record_is_never_refused_for_its_size() -> None:
    builder = BatchBuilder(bytes_max=100)
    assert builder.append(NOW, None, bytes(RECORD_BYTES_MAX)) == 0
    assert builder.append(NOW, None, b"") == -1
    assert len(decode_batch(builder.build())) == 1


def test_no_batch_grows_over_the_limits_whatever_is_asked() -> None:
    builder = BatchBuilder(bytes_max=100 * BATCH_BYTES_MAX)
    while builder.append(NOW, None, bytes(RECORD_BYTES_MAX // 4)) >= 0:
        pass
    assert BATCH_BYTES_MAX - RECORD_BYTES_MAX // 2 < builder.size_estimate <= BATCH_BYTES_MAX
    assert len(builder.build()) == builder.size_estimate
    builder = BatchBuilder()
    while builder.append(NOW, None, b"") >= 0:
        pass
    assert builder.count == BATCH_RECORDS_MAX
    batch = builder.build()
    assert verify_produced_batch(batch).records_count == BATCH_RECORDS_MAX
    assert [record.offset for record in decode_batch(batch)] == list(range(BATCH_RECORDS_MAX))


def test_a_large_batch_comes_back_whole() -> None:
    records = [
        WireRecord(index, NOW + index // 70, b"k%d" % index if index % 3 else None, b"v" * 100)
        for index in range(12_000)
    ]
    batch = _built(records, compression=Compression.ZSTD)
    assert decode_batch(batch) == records
    assert batch == encode_batch(records, compression=Compression.ZSTD)
    moved = stamp(batch, 10**12, 3)
    assert [r.offset for r in decode_batch(moved)] == [10**12 + r.offset for r in records]


def test_bytes_that_may_change_are_copied() -> None:
    key, value = bytearray(b"key"), bytearray(b"value")
    for keyed in (True, False):
        builder = BatchBuilder()
        builder.append(NOW, None, b"first")
        builder.append(NOW, bytes(key) if keyed else key, value)  # type: ignore[arg-type]
        before = builder.build()
        key[:], value[:] = b"KEY", b"VALUE"
        assert builder.build() == before
        key[:], value[:] = b"key", b"value"
