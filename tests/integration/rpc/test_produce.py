"""The produce stream over real gRPC."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from logd_proto.v1 import log_pb2
from logd_wire import WireRecord, encode_batch
from logd_wire.errors import (
    ErrorCode,
    InvalidRequestError,
    NotLeaderError,
    ShuttingDownError,
    StorageFullError,
)
from logd_wire.limits import BATCH_BYTES_MAX

from tests.support.rpc_forge import many
from tests.support.rpc_server import LOG, ClientStream, Serving, eventually


def batch(count: int = 1, size: int = 100) -> bytes:
    return encode_batch([WireRecord(i, 1, None, bytes(size), ()) for i in range(count)])


class Producer:
    """A produce stream to one topic."""

    def __init__(self, edge: Serving, topic_id: bytes) -> None:
        self._topic_id = topic_id
        self.stream = ClientStream(edge.channel, LOG + "Produce", log_pb2.ProduceResponse)
        self._results: list[log_pb2.ProduceResult] = []

    def entry(self, number: int, records: bytes, **fields: Any) -> log_pb2.ProduceBatch:
        values = {"topic_id": self._topic_id, "leader_epoch": -1, "acks": -1, **fields}
        return log_pb2.ProduceBatch(id=number, records=records, **values)

    async def send(self, *entries: log_pb2.ProduceBatch) -> None:
        await self.stream.send(log_pb2.ProduceRequest(batches=entries))

    async def result(self) -> log_pb2.ProduceResult:
        while not self._results:
            response = await self.stream.receive()
            assert response is not None, "the stream ended"
            self._results = list(response.results)
        return self._results.pop(0)

    async def results(self, count: int) -> dict[int, log_pb2.ProduceResult]:
        found = [await self.result() for _ in range(count)]
        return {result.id: result for result in found}


@pytest.fixture
async def producer(edge: Serving) -> Producer:
    topic = await edge.broker.create_topic("orders", partitions=2)
    return Producer(edge, topic.topic_id)


async def test_every_batch_is_answered_under_its_id(producer: Producer) -> None:
    await producer.send(producer.entry(7, batch(3)), producer.entry(8, batch(2)))
    await producer.send(producer.entry(9, batch(), partition=1))
    results = await producer.results(3)
    assert {number: result.base_offset for number, result in results.items()} == {7: 0, 8: 3, 9: 0}
    assert all(result.synced and result.replicas == 1 for result in results.values())
    assert not any(result.HasField("error") for result in results.values())


async def test_results_that_are_ready_together_share_a_response(
    edge: Serving, producer: Producer
) -> None:
    edge.broker.hold = True
    for number in range(50):
        await producer.send(producer.entry(number, batch()))
    await eventually(lambda: len(edge.broker.held) == 50)
    edge.broker.answer_held()
    response = await producer.stream.receive()
    assert [result.id for result in response.results] == list(range(50))


async def test_refused_batches_do_not_end_the_stream(edge: Serving, producer: Producer) -> None:
    good = batch()
    await producer.send(
        producer.entry(1, good, topic_id=b"short"),
        producer.entry(2, good, topic_id=bytes(16)),
        producer.entry(3, good, partition=-1),
        producer.entry(4, good, partition=99),
        producer.entry(5, good, acks=5),
        producer.entry(6, good, leader_epoch=-2),
        producer.entry(7, b""),
        producer.entry(8, good[:-1]),
        producer.entry(9, good[:-1] + b"\xff"),
        producer.entry(10, good + good),
        producer.entry(11, bytes(BATCH_BYTES_MAX + 1)),
        producer.entry(12, good),
    )
    results = await producer.results(12)
    codes = {number: result.error.code for number, result in results.items()}
    assert codes == {
        1: ErrorCode.INVALID_REQUEST,
        2: ErrorCode.UNKNOWN_TOPIC,
        3: ErrorCode.INVALID_REQUEST,
        4: ErrorCode.UNKNOWN_PARTITION,
        5: ErrorCode.INVALID_REQUEST,
        6: ErrorCode.INVALID_REQUEST,
        7: ErrorCode.INVALID_REQUEST,
        8: ErrorCode.CORRUPT_BATCH,
        9: ErrorCode.CORRUPT_BATCH,
        10: ErrorCode.CORRUPT_BATCH,
        11: ErrorCode.BATCH_TOO_LARGE,
        12: 0,
    }
    assert edge.broker.budget.held == 0


async def test_errors_keep_their_kind_and_what_comes_with_it(
    edge: Serving, producer: Producer
) -> None:
    failure = NotLeaderError("led elsewhere", hint="go there")
    failure.leader_id, failure.leader_epoch, failure.leader_address = 3, 9, "other:7171"
    edge.broker.hold = True
    await producer.send(producer.entry(1, batch()))
    await eventually(lambda: bool(edge.broker.held))
    edge.broker.answer_held(failure)
    error = (await producer.result()).error
    assert (error.code, error.retriable, error.hint) == (ErrorCode.NOT_LEADER, True, "go there")
    assert error.leader.leader_id == 3 and error.leader.leader_epoch == 9
    assert error.leader.address == "other:7171"


async def test_a_full_disk_is_a_retriable_error_of_the_batch(
    edge: Serving, producer: Producer
) -> None:
    edge.broker.failures["produce"] = StorageFullError("no space", hint="free some")
    await producer.send(producer.entry(1, batch()))
    assert (await producer.result()).error.retriable
    edge.broker.failures.clear()
    await producer.send(producer.entry(2, batch()))
    assert (await producer.result()).base_offset == 0
    assert edge.broker.budget.held == 0


async def test_without_acks_there_is_no_answer_not_even_to_errors(
    edge: Serving, producer: Producer
) -> None:
    await producer.send(
        producer.entry(1, batch(), acks=0),
        producer.entry(2, batch(), acks=0, topic_id=bytes(16)),
        producer.entry(3, b"x", acks=0),
        producer.entry(4, batch(), acks=1),
    )
    assert (await producer.result()).id == 4
    await producer.stream.half_close()
    assert await producer.stream.receive() is None
    assert edge.broker.budget.held == 0


async def test_what_was_accepted_is_answered_after_a_half_close(
    edge: Serving, producer: Producer
) -> None:
    edge.broker.hold = True
    await producer.send(producer.entry(1, batch()))
    await producer.stream.half_close()
    await eventually(lambda: bool(edge.broker.held))
    edge.broker.answer_held()
    assert (await producer.result()).id == 1
    assert await producer.stream.receive() is None


async def test_bytes_stay_on_the_account_until_the_broker_lets_go(
    edge: Serving, producer: Producer
) -> None:
    edge.broker.hold = True
    records = batch()
    await producer.send(producer.entry(1, records))
    await eventually(lambda: bool(edge.broker.held))
    assert edge.broker.budget.held == len(records)
    producer.stream.cancel()
    await eventually(lambda: edge.server.calls.under_way == 0)
    assert edge.broker.budget.held == len(records)
    edge.broker.answer_held()
    await eventually(lambda: edge.broker.budget.held == 0)


async def test_a_client_that_leaves_while_it_waits_for_the_budget_leaves_nothing(
    edge: Serving, producer: Producer
) -> None:
    await edge.broker.budget.acquire(edge.broker.budget.bytes_max)
    await producer.send(producer.entry(1, batch()))
    await eventually(lambda: edge.server.calls.under_way == 1)
    producer.stream.cancel()
    await eventually(lambda: edge.server.calls.under_way == 0)
    edge.broker.budget.release(edge.broker.budget.bytes_max)
    assert edge.broker.budget.held == 0


async def test_a_node_that_stops_answers_what_it_accepted_and_says_so(
    edge: Serving, producer: Producer
) -> None:
    edge.broker.hold = True
    await producer.send(producer.entry(1, batch()))
    await eventually(lambda: bool(edge.broker.held))
    stopping = asyncio.ensure_future(edge.server.stop(10))
    await asyncio.sleep(0.05)
    assert not stopping.done()
    edge.broker.answer_held()
    assert (await producer.result()).id == 1
    with pytest.raises(ShuttingDownError) as caught:
        await producer.stream.receive()
    assert caught.value.retriable
    await stopping


async def test_too_many_batches_in_one_request_end_the_stream(producer: Producer) -> None:
    await producer.send(producer.entry(1, batch()))
    assert (await producer.result()).id == 1
    await producer.stream.send(b"\x0a\x00" * 10_001)
    with pytest.raises(InvalidRequestError, match="10001 batches"):
        await producer.stream.receive()


async def test_a_client_that_never_reads_its_results_is_read_no_further(edge: Serving) -> None:
    """Faulty entries of four bytes, whose errors take fifty times the room that they do."""
    entry = log_pb2.ProduceBatch(acks=1).SerializeToString()
    request = many(1, 5_000, entry)
    sent = 0

    async def flood(stream: ClientStream) -> None:
        nonlocal sent
        while await stream.send(request):
            sent += 1

    # What the client's own transport takes in unread is bounded so, too.
    async with edge.connect(
        [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536)]
    ) as channel:
        stream = ClientStream(channel, LOG + "Produce", log_pb2.ProduceResponse)
        flooding = asyncio.ensure_future(flood(stream))
        still, last = 0, -1
        while still < 20:
            await asyncio.sleep(0.05)
            still, last = (still + 1, last) if sent == last else (0, sent)
            assert sent < 100, "it is read for ever"
        flooding.cancel()
        stream.cancel()
        await eventually(lambda: edge.server.calls.under_way == 0)
