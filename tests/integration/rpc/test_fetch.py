"""The fetch stream over real gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from logd_proto.v1 import log_pb2
from logd_wire import WireRecord, decode_batch, encode_batch
from logd_wire.errors import (
    DataLossError,
    ErrorCode,
    InvalidRequestError,
    OverloadedError,
    ShuttingDownError,
)
from logd_wire.limits import MESSAGE_BYTES_MAX

from logd.rpc.fetch import next_response
from tests.support.rpc_broker import frame
from tests.support.rpc_server import LOG, ClientStream, Serving, eventually


def batch(value: bytes) -> bytes:
    return encode_batch([WireRecord(0, 1, None, value, ())])


class Consumer:
    """A fetch stream of one topic."""

    def __init__(self, edge: Serving, topic_id: bytes) -> None:
        self.topic_id = topic_id
        self.stream = ClientStream(edge.channel, LOG + "Fetch", log_pb2.FetchResponse)
        self._frames: list[log_pb2.FetchedPartition] = []

    def wanted(self, number: int, **fields: Any) -> log_pb2.FetchPartition:
        values = {"topic_id": self.topic_id, "leader_epoch": -1, **fields}
        return log_pb2.FetchPartition(subscription_id=number, **values)

    async def ask(self, *wanted: log_pb2.FetchPartition, credit: int = 0, **fields: Any) -> None:
        await self.stream.send(log_pb2.FetchRequest(add=wanted, credit_bytes=credit, **fields))

    async def frame(self) -> log_pb2.FetchedPartition:
        while not self._frames:
            response = await self.stream.receive()
            assert response is not None, "the stream ended"
            self._frames = list(response.partitions)
        return self._frames.pop(0)


@pytest.fixture
async def consumer(edge: Serving) -> Consumer:
    topic = await edge.broker.create_topic("orders", partitions=3)
    return Consumer(edge, topic.topic_id)


@pytest.fixture
def produce(edge: Serving, consumer: Consumer) -> Callable[..., None]:
    def append(value: bytes, partition: int = 0) -> None:
        edge.broker.log(consumer.topic_id, partition).append(batch(value))

    return append


async def test_batches_are_pushed_from_the_offset_on(
    consumer: Consumer, produce: Callable[..., None]
) -> None:
    for value in (b"a", b"b", b"c"):
        produce(value)
    await consumer.ask(consumer.wanted(5, offset=1), credit=1_000_000)
    frame = await consumer.frame()
    assert (frame.subscription_id, frame.next_offset, frame.high_watermark) == (5, 3, 3)
    assert frame.preferred_replica == -1
    values = decode_batch(frame.records), decode_batch(frame.records, len(frame.records) // 2)
    assert [records[0].value for records in values] == [b"b", b"c"]


async def test_nothing_is_pushed_without_credit(
    consumer: Consumer, produce: Callable[..., None], edge: Serving
) -> None:
    produce(b"a")
    await consumer.ask(consumer.wanted(1))
    await eventually(lambda: bool(edge.broker.sessions))
    assert edge.broker.fetch_held_peak == 0
    await consumer.ask(credit=1)
    assert (await consumer.frame()).next_offset == 1


async def test_faulty_subscriptions_are_refused_and_the_stream_goes_on(
    consumer: Consumer, produce: Callable[..., None]
) -> None:
    produce(b"a")
    await consumer.ask(
        consumer.wanted(1, topic_id=b"short"),
        consumer.wanted(2, partition=-1),
        consumer.wanted(3, offset=-1),
        consumer.wanted(4, leader_epoch=-2),
        consumer.wanted(5),
        credit=1_000,
    )
    frames = {frame.subscription_id: frame for frame in [await consumer.frame() for _ in range(5)]}
    assert [frames[number].error.code for number in (1, 2, 3, 4)] == [ErrorCode.INVALID_REQUEST] * 4
    assert not frames[5].HasField("error") and frames[5].records


async def test_a_removed_subscription_ends(
    consumer: Consumer, produce: Callable[..., None]
) -> None:
    produce(b"a", partition=0)
    await consumer.ask(consumer.wanted(1), consumer.wanted(2, partition=1), credit=1_000_000)
    assert (await consumer.frame()).subscription_id == 1
    await consumer.stream.send(log_pb2.FetchRequest(remove=[1]))
    await consumer.ask(consumer.wanted(3, partition=2))
    produce(b"b", partition=0)
    produce(b"c", partition=2)
    await consumer.ask(credit=1)
    assert (await consumer.frame()).subscription_id == 3


async def test_settings_come_with_the_first_message(consumer: Consumer, edge: Serving) -> None:
    await consumer.ask(min_bytes=10, max_wait_ms=20, partition_max_bytes=30)
    await consumer.ask(min_bytes=11)
    await consumer.ask(consumer.wanted(1), consumer.wanted(1))
    with pytest.raises(Exception, match="in use twice"):
        await consumer.frame()
    assert edge.broker.sessions[0].configured == {
        "min_bytes": 10,
        "max_wait_ms": 20,
        "partition_max_bytes": 30,
    }


@pytest.mark.parametrize("field", ["min_bytes", "max_wait_ms", "partition_max_bytes"])
async def test_negative_settings_end_the_stream(consumer: Consumer, field: str) -> None:
    await consumer.ask(**{field: -1})
    with pytest.raises(InvalidRequestError, match=field):
        await consumer.frame()


async def test_a_half_close_ends_the_stream_in_good_order(
    consumer: Consumer, edge: Serving
) -> None:
    await consumer.ask(consumer.wanted(1), credit=1)
    await consumer.stream.half_close()
    assert await consumer.stream.receive() is None
    await eventually(lambda: edge.server.calls.under_way == 0)


async def test_a_session_that_is_refused_ends_the_stream(consumer: Consumer, edge: Serving) -> None:
    edge.broker.failures["fetch_session"] = OverloadedError("too many", hint="later")
    await consumer.ask()
    with pytest.raises(OverloadedError):
        await consumer.frame()


async def test_a_client_that_leaves_closes_its_session(
    consumer: Consumer, produce: Callable[..., None], edge: Serving
) -> None:
    produce(bytes(100))
    await consumer.ask(consumer.wanted(1), credit=1_000_000)
    await consumer.frame()
    consumer.stream.cancel()
    await eventually(lambda: edge.server.calls.under_way == 0)
    assert await edge.broker.sessions[0].next_frames() == []
    assert edge.broker.fetch_held == 0


async def test_a_stalled_reader_holds_one_round_of_frames(
    consumer: Consumer, edge: Serving
) -> None:
    for _ in range(200):
        edge.broker.log(consumer.topic_id, 0).append(batch(bytes(100_000)))
    await consumer.ask(consumer.wanted(1), credit=1 << 40)
    await eventually(lambda: edge.broker.fetch_held > 0)
    frame_bytes = edge.broker.sessions[0].FRAME_BYTES
    assert edge.broker.fetch_held_peak <= frame_bytes + 100_100
    offset = 0
    while offset < 200:
        offset = (await consumer.frame()).next_offset
    await eventually(lambda: edge.broker.fetch_held == 0)
    assert edge.broker.fetch_held_peak <= frame_bytes + 100_100


async def test_a_node_that_stops_says_so(consumer: Consumer, edge: Serving) -> None:
    await consumer.ask(consumer.wanted(1), credit=1_000)
    await eventually(lambda: bool(edge.broker.sessions))
    await edge.server.stop(5)
    with pytest.raises(ShuttingDownError):
        await consumer.frame()


def test_many_error_frames_are_spread_over_messages() -> None:
    error = DataLossError("x" * 600, hint="y" * 300)
    frames = [frame(number, b"", -1, 0, error) for number in range(20_000)]
    sizes = []
    while frames:
        sizes.append(next_response(frames).ByteSize())
    assert max(sizes) < MESSAGE_BYTES_MAX and len(sizes) > 1
