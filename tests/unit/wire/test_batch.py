"""The fixed part: parsing, verification, stamping, walking."""

from __future__ import annotations

import pytest
from crc32c import crc32c
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
    stamp,
    stamped_parts,
    verify_batch,
    verify_produced_batch,
)
from logd_wire.errors import CorruptBatchError, ErrorCode, InvalidRecordError
from logd_wire.limits import BATCH_BYTES_MAX, BATCH_RECORDS_MAX

from tests.unit.wire import twin

INT64_MAX = 2**63 - 1
RECORD = twin.record_bytes(0, 0, b"key", b"value")


def test_every_field_is_where_kafka_puts_it() -> None:
    batch = bytes.fromhex(
        "0000000000000001"  # base offset
        "00000031"  # length: 49
        "00000003"  # leader epoch
        "02"  # magic
        "04030201"  # crc
        "0078"  # attributes: append time, transactional, control, delete horizon
        "00000006"  # last offset delta
        "0000000000000007"  # base timestamp
        "0000000000000008"  # largest timestamp
        "0000000000000009"  # producer id
        "000a"  # producer epoch
        "7ffffffe"  # base sequence
        "00000005"  # records
    )
    header = read_header(batch)
    assert header == BatchHeader(
        base_offset=1,
        batch_length=49,
        leader_epoch=3,
        magic=2,
        crc=0x04030201,
        attributes=0x78,
        last_offset_delta=6,
        base_timestamp=7,
        max_timestamp=8,
        producer_id=9,
        producer_epoch=10,
        base_sequence=2**31 - 2,
        records_count=5,
    )
    assert (header.size, header.last_offset, header.next_offset) == (61, 7, 8)
    assert header.last_sequence == 4, "sequences wrap from 2**31 - 1 to 0"
    assert header.compression is Compression.NONE
    assert header.is_append_time
    assert header.is_transactional
    assert header.is_control
    assert header.has_delete_horizon
    assert header.has_producer


def test_a_plain_batch_has_no_flags_and_no_producer() -> None:
    header = read_header(twin.batch_bytes(RECORD, attributes=4))
    assert header.compression is Compression.ZSTD
    flags = (header.is_append_time, header.is_transactional, header.is_control)
    assert flags == (False, False, False)
    assert not header.has_delete_horizon
    assert not header.has_producer
    assert header.last_sequence == -1


@pytest.mark.parametrize("data", [b"", b"a", b"123456789", bytes(40), bytes(range(256)) * 2])
def test_the_library_computes_crc32c_as_the_bit_loop(data: bytes) -> None:
    assert crc32c(data) == twin.bitwise_crc32c(data)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"magic": 1}, "magic is 1"),
        ({"magic": 3}, "magic is 3"),
        ({"batch_length": 48}, "length 48"),
        ({"batch_length": -1}, "length -1"),
        ({"batch_length": BATCH_BYTES_MAX - 11}, "exceeds"),
        ({"batch_length": 2**31 - 1}, "exceeds"),
        ({"base_offset": -1}, "base offset -1"),
        ({"base_offset": INT64_MAX}, "base offset"),
        ({"base_offset": INT64_MAX - 1, "last_offset_delta": 1}, "base offset"),
        ({"leader_epoch": -2}, "below -1"),
        ({"producer_id": -2}, "below -1"),
        ({"producer_epoch": -2}, "below -1"),
        ({"base_sequence": -2}, "below -1"),
        ({"last_offset_delta": -1, "records_count": 0}, "last offset delta -1"),
        ({"records_count": -1}, "-1 records"),
        ({"records_count": 2}, "2 records in 1 offsets"),
        ({"last_offset_delta": BATCH_RECORDS_MAX}, "more than 100000"),
        ({"attributes": 5}, "codec 5"),
        ({"attributes": 7}, "codec 7"),
    ],
)
def test_an_impossible_field_is_refused_in_words(fields: dict[str, int], word: str) -> None:
    batch = twin.batch_bytes(RECORD, **fields)
    for check in (read_header, verify_batch, decode_batch, verify_produced_batch):
        with pytest.raises(CorruptBatchError, match=word):
            check(batch)


@pytest.mark.parametrize(
    "fields", [{"batch_length": BATCH_BYTES_MAX}, {"last_offset_delta": BATCH_RECORDS_MAX}]
)
def test_a_broken_limit_has_its_own_code(fields: dict[str, int]) -> None:
    with pytest.raises(CorruptBatchError) as caught:
        read_header(twin.batch_bytes(RECORD, **fields))
    assert caught.value.code is ErrorCode.BATCH_TOO_LARGE


@pytest.mark.parametrize(
    "fields",
    [
        {"base_offset": INT64_MAX - 1},
        {"last_offset_delta": BATCH_RECORDS_MAX - 1},
        {"last_offset_delta": 7, "records_count": 0},
        {"leader_epoch": 2**31 - 1, "producer_id": INT64_MAX, "producer_epoch": 2**15 - 1},
        {"batch_length": BATCH_BYTES_MAX - 12},
    ],
)
def test_what_lies_just_inside_is_accepted(fields: dict[str, int]) -> None:
    header = read_header(twin.batch_bytes(RECORD, **fields))
    assert {name: getattr(header, name) for name in fields} == fields


@given(flip=st.integers(0), position=st.integers(0, 200))
def test_one_flipped_bit_behind_the_crc_is_noticed(flip: int, position: int) -> None:
    batch = twin.batch_bytes(RECORD)
    damaged = bytearray(batch)
    bit = flip % ((len(batch) - 17) * 8)
    damaged[17 + bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptBatchError):
        verify_batch(bytes(position) + damaged, position)
    assert verify_batch(bytes(position) + batch, position) == read_header(batch)


def test_offset_and_epoch_lie_outside_the_crc() -> None:
    batch = twin.batch_bytes(RECORD)
    assert verify_batch(stamp(batch, 10**15, 77)).crc == verify_batch(batch).crc


def test_a_cut_batch_is_refused_at_every_length() -> None:
    batch = twin.batch_bytes(RECORD)
    for size in range(len(batch)):
        with pytest.raises(CorruptBatchError, match=r"is cut|are fewer"):
            verify_batch(batch[:size])
        with pytest.raises(CorruptBatchError, match=r"is cut|are fewer"):
            decode_batch(batch[:size], verify=False)


def test_a_position_outside_the_buffer_is_refused() -> None:
    batch = twin.batch_bytes(RECORD)
    for position in (-1, -len(batch), 1, len(batch), len(batch) + 1):
        with pytest.raises(CorruptBatchError):
            read_header(batch, position)
        with pytest.raises(CorruptBatchError):
            verify_batch(batch, position)


def test_exact_allows_nothing_behind() -> None:
    batch = twin.batch_bytes(RECORD)
    assert verify_batch(batch, exact=True) == verify_batch(batch + b"\0")
    with pytest.raises(CorruptBatchError, match="1 bytes follow"):
        verify_batch(batch + b"\0", exact=True)
    with pytest.raises(CorruptBatchError):
        verify_produced_batch(batch + batch)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_buffer_will_do(kind: type) -> None:
    batch = kind(twin.batch_bytes(RECORD))
    assert verify_batch(batch).size == len(batch)
    assert decode_batch(batch)[0].value == b"value"
    assert type(decode_batch(batch)[0].value) is bytes
    assert stamp(batch, 0, -1) == bytes(batch)
    assert [position for position, _ in iter_headers(batch)] == [0]


@given(base_offset=st.integers(0, INT64_MAX - 1), leader_epoch=st.integers(-1, 2**31 - 1))
def test_a_stamp_changes_offset_and_epoch_only(base_offset: int, leader_epoch: int) -> None:
    batch = twin.batch_bytes(RECORD, producer_id=5, producer_epoch=6, base_sequence=7)
    stamped = stamp(batch, base_offset, leader_epoch)
    header = verify_batch(stamped, exact=True)
    assert header == read_header(batch)._replace(base_offset=base_offset, leader_epoch=leader_epoch)
    first, rest = stamped_parts(batch, base_offset, leader_epoch)
    assert first + bytes(rest) == stamped
    assert rest.obj is batch, "the rest is a view, not a copy"


def test_headers_of_whole_batches_are_walked() -> None:
    batches = [
        encode_batch([WireRecord(offset, 0, None, bytes(offset))], base_offset=offset)
        for offset in range(5)
    ]
    log = b"".join(batches)
    starts = [sum(map(len, batches[:index])) for index in range(5)]
    for size in range(len(log) + 1):
        whole = [
            start
            for start, batch in zip(starts, batches, strict=True)
            if start + len(batch) <= size
        ]
        seen = list(iter_headers(log[:size]))
        assert [position for position, _ in seen] == whole
        assert [header.base_offset for _, header in seen] == list(range(len(whole)))


def test_walking_stops_with_an_error_at_what_is_no_batch() -> None:
    headers = iter_headers(twin.batch_bytes(RECORD) + bytes(61))
    assert next(headers)[0] == 0
    with pytest.raises(CorruptBatchError):
        next(headers)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"last_offset_delta": 1}, CorruptBatchError),
        ({"records_count": 0}, CorruptBatchError),
        ({"attributes": 0x08}, InvalidRecordError),
        ({"attributes": 0x10}, InvalidRecordError),
        ({"attributes": 0x20}, InvalidRecordError),
        ({"attributes": 0x40}, InvalidRecordError),
        ({"attributes": 0x80}, InvalidRecordError),
        ({"attributes": -0x8000}, InvalidRecordError),
        ({"max_timestamp": 1}, InvalidRecordError),
        ({"base_timestamp": -2}, InvalidRecordError),
        ({"producer_id": 1}, InvalidRecordError),
        ({"producer_id": 1, "producer_epoch": 0}, InvalidRecordError),
        ({"base_sequence": 0}, InvalidRecordError),
    ],
)
def test_a_producer_may_not_send_what_only_brokers_write(
    fields: dict[str, int], error: type[Exception]
) -> None:
    batch = twin.batch_bytes(RECORD, **fields)
    verify_batch(batch)
    with pytest.raises(error):
        verify_produced_batch(batch)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"attributes": 4},
        {"producer_id": 0, "producer_epoch": 0, "base_sequence": 0},
        {"base_timestamp": -1, "max_timestamp": -1},
    ],
)
def test_what_a_producer_may_send(fields: dict[str, int]) -> None:
    batch = twin.batch_bytes(RECORD, **fields)
    assert verify_produced_batch(batch) == read_header(batch)
