"""The asyncio classes: the same names, awaited; and what a blocked loop does not lose."""

from __future__ import annotations

import asyncio
import threading

import pytest
from logd_client import (
    BufferFullError,
    ClosedError,
    InvalidRecordError,
    NoOffsetError,
    ProducerRecord,
    TimeoutError,
    TopicPartition,
    UnknownTopicError,
    json_deserializer,
    json_serializer,
)
from logd_wire import WireRecord, encode_batch
from logd_wire.errors import ErrorCode

from tests.unit.client.facades import Facades
from tests.unit.client.memory_cluster import refusals

N1 = "n1:7171"
TP = TopicPartition("t", 0)


async def test_send_is_awaited_twice(logd: Facades) -> None:
    logd.cluster.create("t")
    async with logd.AsyncProducer(N1) as producer:
        delivery = await producer.send("t", b"0", key=b"k")
        assert (await delivery).offset == 0
        assert (await delivery).offset == 0
        assert (await producer.send_and_wait("t", b"1", timeout=10)).offset == 1
        many = await producer.send_many("t", [b"2", ProducerRecord(b"3", headers={"a": "b"})])
        assert [each.offset for each in await many] == [2, 3]
        handles = [await producer.send("t", b"v") for _ in range(500)]
        offsets = [each.offset for each in await asyncio.gather(*handles)]
        assert offsets == list(range(4, 504))
        assert await producer.partitions_for("t") == {0}


async def test_failures_are_raised_where_they_are_awaited(logd: Facades) -> None:
    logd.cluster.create("t")
    async with logd.AsyncProducer(
        N1, max_block_ms=50, buffer_memory=3_000, batch_size=500
    ) as producer:
        with pytest.raises(UnknownTopicError):
            await producer.send("nope", b"0")
        logd.cluster.refuse = refusals(ErrorCode.INVALID_RECORD)
        with pytest.raises(InvalidRecordError):
            await (await producer.send("t", b"0"))
        logd.cluster.swallow = lambda _: True
        with pytest.raises(TimeoutError, match="outcome unknown"):
            await producer.send_and_wait("t", b"0", timeout=0.05)
        with pytest.raises(TimeoutError, match="flush"):
            await producer.flush(0.05)
        with pytest.raises(BufferFullError):
            for _ in range(1_000):
                await producer.send("t", bytes(100))
        logd.cluster.swallow = lambda _: False
        io = producer._life.io
        assert io is not None
        io.call_soon(lambda: logd.cluster.break_streams(N1))
    with pytest.raises(ClosedError):
        await producer.send("t", b"1")


async def test_one_cancelled_waiter_does_not_cancel_the_others(logd: Facades) -> None:
    logd.cluster.create("t")
    logd.cluster.swallow = lambda _: True
    async with logd.AsyncProducer(N1) as producer:
        delivery = await producer.send("t", b"0")

        async def wait() -> int:
            return int((await delivery).offset)

        first, second = asyncio.ensure_future(wait()), asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        first.cancel()
        logd.cluster.swallow = lambda _: False
        io = producer._life.io
        assert io is not None
        io.call_soon(lambda: logd.cluster.break_streams(N1))
        assert await second == 0
        assert first.cancelled()


async def test_iteration_and_positions(logd: Facades) -> None:
    logd.cluster.create("t")
    async with logd.AsyncProducer(N1, value_serializer=json_serializer) as producer:
        await (await producer.send_many("t", list(range(50))))
    options = {"auto_offset_reset": "earliest", "consumer_timeout_ms": 50}
    async with logd.AsyncConsumer(
        "t", bootstrap_servers=N1, value_deserializer=json_deserializer, **options
    ) as consumer:
        assert [record.value async for record in consumer] == list(range(50))
        assert await consumer.position(TP) == 50
        await consumer.seek(TP, 40)
        assert (await consumer.getone(timeout=5)).offset == 40
        await consumer.seek_to_beginning()
        found = await consumer.getmany(TP, timeout=5, max_records=3)
        assert [record.offset for record in found[TP]] == [0, 1, 2]
        assert await consumer.end_offsets([TP]) == {TP: 50}
        assert await consumer.beginning_offsets([TP]) == {TP: 0}
        await consumer.seek_to_end(TP)
        assert await consumer.lag() == {TP: 0}
        await consumer.seek_to_time(0)
        assert await consumer.position(TP) == 0
        assert await consumer.offsets_for_times({TP: 10**15}) == {TP: None}
        consumer.pause(TP)
        assert consumer.paused() == {TP}
        assert await consumer.getmany(timeout=0.02) == {}
        consumer.resume(TP)
        assert await consumer.assignment() == {TP}
        consumer.wakeup()
        assert await consumer.getone(timeout=0) is None or await consumer.getone(timeout=5)
    async with logd.AsyncConsumer(bootstrap_servers=N1) as consumer:
        consumer.assign([TP])
        with pytest.raises(NoOffsetError):
            await consumer.getmany(timeout=5)


async def test_admin(logd: Facades) -> None:
    async with logd.AsyncAdmin(N1) as admin:
        await admin.create_topic("a", partitions=3)
        assert len((await admin.describe_topic("a")).partitions) == 3
        assert [info.name for info in await admin.list_topics()] == ["a"]
        await admin.delete_topic("a")
        with pytest.raises(UnknownTopicError):
            await admin.describe_topic("a")


async def test_a_blocked_loop_delays_no_acknowledgement(logd: Facades) -> None:
    """The record is acknowledged while the loop that sent it does nothing at all."""
    logd.cluster.create("t")
    async with logd.AsyncProducer(N1) as producer:
        await producer.send_and_wait("t", b"0")
        acknowledged = threading.Event()
        await producer.send("t", b"1", on_delivery=lambda *_: acknowledged.set())
        # Not awaited: the loop is blocked here until the I/O thread has heard the answer.
        assert acknowledged.wait(10)


def test_two_loops_may_use_clients_of_one_process(logd: Facades) -> None:
    logd.cluster.create("t")

    async def produce(count: int) -> int:
        async with logd.AsyncProducer(N1) as producer:
            for _ in range(count):
                await producer.send_and_wait("t", b"v")
            return count

    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(asyncio.run(produce(20)))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [20, 20, 20]
    assert len(logd.cluster.topics["t"][0].records()) == 60


async def test_a_large_batch_is_decoded_away_from_the_loop(logd: Facades) -> None:
    (log,) = logd.cluster.create("t")
    records = [WireRecord(index, 0, None, b"%0500d" % index) for index in range(2_000)]
    log.append(encode_batch(records))
    log.append(encode_batch(records[:3]))
    async with logd.AsyncConsumer(
        "t", bootstrap_servers=N1, auto_offset_reset="earliest", consumer_timeout_ms=50
    ) as consumer:
        fetcher = await consumer._reader()
        news = asyncio.Event()
        loop = asyncio.get_running_loop()
        if fetcher.wait_nowait(lambda: loop.call_soon_threadsafe(news.set)):
            await news.wait()
        assert fetcher.heavy()
        first = await consumer.getmany(timeout=5, max_records=10)
        assert not fetcher.heavy()
        rest = [record.offset async for record in consumer]
        assert [record.offset for record in first[TP]] + rest == list(range(2_003))
