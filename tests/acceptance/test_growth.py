"""Many partitions, slow readers, stalled producers: memory and files stay bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from logd_client import Admin, Consumer, Producer, TopicPartition
from logd_proto.v1 import log_pb2
from logd_wire import WireRecord, encode_batch

from tests.support.nodes import RealNode

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(90)]

MIB = 1024 * 1024
RecordFigure = Callable[[str, int | float | str], None]


def test_a_thousand_idle_partitions_cost_little(
    tmp_path: Path, record_figure: RecordFigure
) -> None:
    with RealNode(tmp_path / "data") as node:
        with Admin(node.address) as admin:
            for number in range(10):
                admin.create_topic(f"topic-{number}", partitions=100)
        with Producer(node.address) as producer:
            for number in range(10):
                for partition in range(100):
                    producer.send(f"topic-{number}", b"x" * 100, partition=partition)
            producer.flush(60)
        assert node.stop() == 0
        begun = time.monotonic()
        node.start()
        record_figure("1 000 partitions: seconds to start", round(time.monotonic() - begun, 2))
        memory, files = node.memory_bytes(), node.open_files()
        record_figure("1 000 partitions: resident MB", round(memory / 1e6))
        record_figure("1 000 partitions: open files", files)
        assert memory < 200e6
        assert files < 200, "files open when they are used"
        place = TopicPartition("topic-7", 42)
        with Consumer(bootstrap_servers=node.address) as consumer:
            consumer.assign([place])
            consumer.seek_to_beginning(place)
            record = consumer.getone(timeout=5)
            assert record is not None
            assert (record.offset, record.value) == (0, b"x" * 100)


def _topic_id(address: str, topic: str) -> bytes:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            "/logd.v1.Log/GetMetadata",
            request_serializer=log_pb2.GetMetadataRequest.SerializeToString,
            response_deserializer=log_pb2.GetMetadataResponse.FromString,
        )
        found: log_pb2.GetMetadataResponse = call(log_pb2.GetMetadataRequest(topics=[topic]))
        return found.topics[0].topic_id


def _stream(channel: grpc.aio.Channel, method: str, request: type, response: type):  # type: ignore[no-untyped-def]
    return channel.stream_stream(
        method,
        request_serializer=request.SerializeToString,  # type: ignore[attr-defined]
        response_deserializer=response.FromString,  # type: ignore[attr-defined]
    )()


def _channel(address: str, number: int) -> grpc.aio.Channel:
    # Channels of equal options share a connection; each of these is to have its own.
    options = [("grpc.max_receive_message_length", 16 * MIB), ("logd.test", number)]
    return grpc.aio.insecure_channel(address, options=options)


async def _stall_readers(address: str, topic_id: bytes, count: int) -> list[grpc.aio.Channel]:
    """Streams that ask for everything and read one frame."""
    channels = []
    for number in range(count):
        channel = _channel(address, number)
        call = _stream(channel, "/logd.v1.Log/Fetch", log_pb2.FetchRequest, log_pb2.FetchResponse)
        wanted = log_pb2.FetchPartition(
            subscription_id=1, topic_id=topic_id, partition=0, offset=0, leader_epoch=-1
        )
        await call.write(log_pb2.FetchRequest(add=[wanted], credit_bytes=1 << 40))
        await call.read()
        channels.append(channel)
    return channels


async def _stall_producers(address: str, topic_id: bytes, count: int) -> list[grpc.aio.Channel]:
    """Streams that send as fast as they are let and never read an answer."""
    batch = encode_batch([WireRecord(0, 0, None, b"x" * 500_000, ())])
    channels, calls = [], []
    for number in range(count):
        channel = _channel(address, 10_000 + number)
        call = _stream(
            channel, "/logd.v1.Log/Produce", log_pb2.ProduceRequest, log_pb2.ProduceResponse
        )
        channels.append(channel)
        calls.append(call)

    async def send(call) -> None:  # type: ignore[no-untyped-def]
        for number in range(4):
            entry = log_pb2.ProduceBatch(
                id=number, topic_id=topic_id, partition=0, leader_epoch=-1, acks=-1, records=batch
            )
            await call.write(log_pb2.ProduceRequest(batches=[entry]))

    await asyncio.gather(*(send(call) for call in calls))
    return channels


async def test_slow_readers_and_stalled_producers_stay_within_the_budgets(
    tmp_path: Path, record_figure: RecordFigure
) -> None:
    with RealNode(tmp_path / "data") as node:
        await asyncio.to_thread(_prepare, node.address)
        topic_id = await asyncio.to_thread(_topic_id, node.address, "big")
        before = node.memory_bytes()
        channels = await _stall_readers(node.address, topic_id, 200)
        channels += await _stall_producers(node.address, topic_id, 50)
        grown = node.memory_bytes() - before
        record_figure("200 stalled readers, 50 producers: MB more", round(grown / 1e6))
        # Two budgets of 64 MiB, and what the transport holds of 250 connections.
        assert grown < 300e6
        took = await asyncio.to_thread(_one_round, node.address)
        record_figure("beside them: seconds to produce and read 1 000 records", round(took, 2))
        assert took < 20
        for channel in channels:
            await channel.close()


def _prepare(address: str) -> None:
    with Admin(address) as admin:
        admin.create_topic("big")
        admin.create_topic("small")
    with Producer(address) as producer:
        for _ in range(200):
            producer.send("big", b"x" * 200_000)
        producer.flush(60)


def _one_round(address: str) -> float:
    begun = time.monotonic()
    with Producer(address) as producer:
        for number in range(1_000):
            producer.send("small", b"%d" % number)
        producer.flush(20)
    with Consumer("small", bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        seen = 0
        while seen < 1_000:
            seen += sum(map(len, consumer.getmany(timeout=5).values()))
    return time.monotonic() - begun
