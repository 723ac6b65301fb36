"""Batches of ours read by two independent clients of Kafka, and theirs read by us."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from aiokafka.record.default_records import (
    DefaultRecordBatch,
    DefaultRecordBatchBuilder,
    _DefaultRecordBatchBuilderPy,
    _DefaultRecordBatchPy,
)
from hypothesis import given
from hypothesis import strategies as st
from logd_wire import (
    BatchBuilder,
    Compression,
    WireRecord,
    decode_batch,
    encode_batch,
    murmur2,
    stamp,
    verify_produced_batch,
)

with warnings.catch_warnings():
    # kafka-python calls what Python 3.11 deprecates, while it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    kafka_python = importlib.import_module("kafka.record.default_records")
    kafka_python_murmur2 = importlib.import_module("kafka.partitioner.default").murmur2

HAS_LZ4 = importlib.util.find_spec("lz4") is not None


class Peer(NamedTuple):
    """A client's codec: its builder, its reader, and the codecs that both sides have here."""

    build: Callable[..., Any]
    read: Callable[..., Any]
    codecs: tuple[Compression, ...]


_LZ4 = (Compression.LZ4,) if HAS_LZ4 else ()
_COMMON = (Compression.NONE, Compression.GZIP, Compression.ZSTD)
PEERS = {
    "aiokafka": Peer(DefaultRecordBatchBuilder, DefaultRecordBatch, _COMMON + _LZ4),
    "aiokafka in Python": Peer(_DefaultRecordBatchBuilderPy, _DefaultRecordBatchPy, _COMMON + _LZ4),
    "kafka-python": Peer(
        kafka_python.DefaultRecordBatchBuilder, kafka_python.DefaultRecordBatch, _COMMON
    ),
}

_blobs = st.one_of(
    st.none(),
    st.binary(max_size=80),
    st.integers(0, 9_000).map(lambda size: (b"0123456789" * 900)[:size]),
)
_headers = st.lists(
    st.tuples(st.text(max_size=9), st.one_of(st.none(), st.binary(max_size=80))), max_size=3
).map(tuple)
_times = st.one_of(st.integers(1_700_000_000_000, 1_700_000_009_999), st.integers(0, 2**62))
contents = st.lists(st.tuples(_times, _blobs, _blobs, _headers), min_size=1, max_size=8)
producers = st.one_of(
    st.just((-1, -1, -1)),
    st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**15 - 1), st.integers(0, 2**31 - 1)),
)


def of_peer(peer: Peer, records: list[WireRecord], codec: int, producer: tuple[int, ...]) -> bytes:
    builder = peer.build(2, codec, 0, *producer, 2**23)
    for record in records:
        assert builder.append(
            record.offset, record.timestamp, record.key, record.value, list(record.headers)
        )
    return bytes(builder.build())


def read_by(peer: Peer, batch: bytes) -> tuple[Any, list[WireRecord]]:
    theirs = peer.read(batch)
    assert theirs.validate_crc()
    return theirs, [
        WireRecord(one.offset, one.timestamp, one.key, one.value, tuple(map(tuple, one.headers)))
        for one in theirs
    ]


@pytest.mark.parametrize("name", PEERS)
@given(data=st.data(), contents=contents, producer=producers)
def test_both_read_what_the_other_writes(
    name: str, data: st.DataObject, contents: list[Any], producer: tuple[int, int, int]
) -> None:
    peer = PEERS[name]
    codec = data.draw(st.sampled_from(peer.codecs))
    records = [WireRecord(index, *content) for index, content in enumerate(contents)]
    producer_id, producer_epoch, base_sequence = producer
    builder = BatchBuilder(codec)
    for record in records:
        builder.append(*record[1:])
    ours = builder.build(
        producer_id=producer_id, producer_epoch=producer_epoch, base_sequence=base_sequence
    )
    theirs = of_peer(peer, records, codec, producer)

    assert decode_batch(theirs) == records
    header, read = read_by(peer, ours)
    assert read == records
    expected = verify_produced_batch(ours)
    assert verify_produced_batch(theirs)[9:] == expected[9:]
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == producer
    assert header.compression_type == expected.compression
    assert header.max_timestamp == expected.max_timestamp
    assert header.last_offset_delta == expected.last_offset_delta
    if expected.compression is Compression.NONE and verify_produced_batch(theirs).attributes == 0:
        # kafka-python leaves 0 for the leader epoch, which the leader overwrites.
        assert ours == stamp(theirs, 0, -1), "without compression there is one form only"


@pytest.mark.parametrize("name", PEERS)
@given(
    contents=contents,
    base_offset=st.integers(1, 2**62),
    leader_epoch=st.integers(0, 2**31 - 1),
    codec=st.sampled_from(_COMMON),
)
def test_a_stamped_batch_is_read_at_its_offsets(
    name: str, contents: list[Any], base_offset: int, leader_epoch: int, codec: Compression
) -> None:
    records = [WireRecord(index, *content) for index, content in enumerate(contents)]
    batch = stamp(encode_batch(records, compression=codec), base_offset, leader_epoch)
    header, read = read_by(PEERS[name], batch)
    assert header.base_offset == base_offset
    assert [record.offset for record in read] == [
        base_offset + index for index in range(len(records))
    ]
    assert read == decode_batch(batch)


@given(st.binary(max_size=200))
def test_murmur2_is_kafka_pythons(data: bytes) -> None:
    assert murmur2(data) & 0xFFFFFFFF == kafka_python_murmur2(data) & 0xFFFFFFFF
