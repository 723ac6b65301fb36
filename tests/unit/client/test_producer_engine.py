"""The producer's engine against a cluster in memory: order, exactly once, deadlines, memory."""

from __future__ import annotations

import pytest
from logd_client._transport import methods
from logd_proto.v1 import log_pb2
from logd_wire.errors import (
    BufferFullError,
    ErrorCode,
    LogdError,
    UnknownTopicError,
)

from tests.unit.client.harness import World, run
from tests.unit.client.memory_cluster import MemoryCluster, refusals
from tests.unit.client.memory_log import MemoryLog


def batches_written(cluster: MemoryCluster) -> list[log_pb2.ProduceBatch]:
    return [
        batch
        for method, message in cluster.written
        if method == methods.PRODUCE and isinstance(message, log_pb2.ProduceRequest)
        for batch in message.batches
    ]


def test_a_record_is_appended_and_its_offset_told() -> None:
    async def main() -> None:
        world = World()
        (log,) = world.cluster.create("t")
        engine = world.producer()
        batch, index = await engine.send("t", b"v", key=b"k", headers=(("h", None),))
        await engine.wait(batch)
        assert (batch.base_offset, index, batch.durable) == (0, 0, True)
        (record,) = log.records()
        assert (record.key, record.value, record.headers) == (b"k", b"v", (("h", None),))
        await engine.close()

    run(main)


def test_an_idle_partition_sends_at_once_and_a_busy_one_gathers() -> None:
    async def main() -> None:
        world = World(MemoryCluster(latency_ms=2))
        world.cluster.create("t")
        engine = world.producer(linger_ms=50)
        first, _ = await engine.send("t", b"0")
        await engine.wait(first)
        begin = world.clock.monotonic_ms()
        for number in range(1, 6):
            await engine.send("t", b"%d" % number)
            await world.clock.sleep_ms(1)
        await engine.flush()
        counts = [batch.records for batch in batches_written(world.cluster)]
        # One alone, one at once although lingering is allowed, the rest together.
        assert len(counts) == 3
        assert world.clock.monotonic_ms() - begin < 50
        await engine.close()

    run(main)


def test_a_full_batch_goes_before_its_linger_is_over() -> None:
    async def main() -> None:
        world = World(MemoryCluster(latency_ms=1))
        (log,) = world.cluster.create("t")
        engine = world.producer(linger_ms=10_000, batch_bytes=1_000)
        for number in range(100):
            await engine.send("t", b"%0100d" % number)
        last, _ = await engine.send("t", b"end")
        await engine.wait(last)
        assert log.values()[:100] == [b"%0100d" % n for n in range(100)]
        assert world.clock.monotonic_ms() < 1_000
        assert len(log.batches) > 10
        await engine.close()

    run(main)


def test_at_most_five_batches_of_a_partition_are_in_flight() -> None:
    async def main() -> None:
        world = World(MemoryCluster(latency_ms=10))
        (log,) = world.cluster.create("t")
        engine = world.producer(linger_ms=0, batch_bytes=200)
        seen = 0

        def watch(_: log_pb2.ProduceBatch) -> LogdError | None:
            nonlocal seen
            queue = engine.accumulator.topics["t"].queues[0]
            seen = max(seen, len(queue.in_flight))
            return None

        world.cluster.refuse = watch
        for number in range(60):
            await engine.send("t", b"%0100d" % number)
        await engine.flush()
        assert seen == 5
        assert len(log.records()) == 60
        await engine.close()

    run(main)


@pytest.mark.parametrize("every", [2, 3])
def test_lost_answers_make_no_duplicates_and_keep_order(every: int) -> None:
    """Every n-th answer is lost together with its stream (acceptance S-56)."""

    async def main() -> None:
        world = World(MemoryCluster(latency_ms=1))
        (log,) = world.cluster.create("t")
        seen = 0

        def lose(_: log_pb2.ProduceBatch) -> bool:
            nonlocal seen
            seen += 1
            return seen % every == 0

        world.cluster.lose_answer = lose
        engine = world.producer(linger_ms=0, batch_bytes=300)
        handles = [await engine.send("t", b"%0100d" % number) for number in range(200)]
        await engine.flush()
        assert log.values() == [b"%0100d" % number for number in range(200)]
        for number, (batch, index) in enumerate(handles):
            assert batch.error is None
            assert batch.base_offset + index == number
        await engine.close()

    run(main)


def test_retriable_refusals_keep_order() -> None:
    async def main() -> None:
        world = World(MemoryCluster(latency_ms=1))
        (log,) = world.cluster.create("t")
        scripted = [
            ErrorCode.OVERLOADED,
            ErrorCode.STORAGE_FULL,
            ErrorCode.OVERLOADED,
            ErrorCode.OUTCOME_UNKNOWN,
        ]
        engine = world.producer(linger_ms=0, batch_bytes=300)
        first, _ = await engine.send("t", b"first")
        await engine.wait(first)
        world.cluster.refuse = refusals(*scripted)
        for number in range(50):
            await engine.send("t", b"%0100d" % number)
        await engine.flush()
        assert log.values() == [b"first", *(b"%0100d" % number for number in range(50))]
        # The batches behind a refused one were out of order only because of it.
        assert world.cluster.called(methods.INIT_PRODUCER_ID) == 1
        await engine.close()

    run(main)


def test_the_first_batch_of_a_producer_is_acknowledged_before_a_second_is_sent() -> None:
    """A node without state accepts any sequence: were the first batch refused and the second
    one taken, the first would be out of order for ever."""

    async def main() -> None:
        world = World(MemoryCluster(latency_ms=1))
        (log,) = world.cluster.create("t")
        world.cluster.refuse = refusals(ErrorCode.OVERLOADED)
        engine = world.producer(linger_ms=0, batch_bytes=200)
        for number in range(20):
            await engine.send("t", b"%0100d" % number)
        await engine.flush()
        assert log.values() == [b"%0100d" % number for number in range(20)]
        await engine.close()

    run(main)


def test_the_buffer_is_bounded() -> None:
    async def main() -> None:
        world = World()
        (log,) = world.cluster.create("t")
        engine = world.producer(
            max_block_ms=500, buffer_bytes=10_000, batch_bytes=2_000, delivery_timeout_ms=60_000
        )
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)
        world.cluster.take_down("n1:7171")
        sent = 0
        with pytest.raises(BufferFullError, match="buffer_memory"):
            while True:
                await engine.send("t", bytes(100))
                sent += 1
        assert 60 < sent < 100
        assert engine.accumulator.used_bytes < 10_300
        del world.cluster.down["n1:7171"]
        batch, _ = await engine.send("t", b"end")
        await engine.wait(batch)
        assert len(log.records()) == sent + 2
        await engine.flush()
        assert engine.accumulator.used_bytes == 0
        await engine.close()

    run(main)


def test_acks_0_does_not_wait_for_answers() -> None:
    async def main() -> None:
        world = World()
        (log,) = world.cluster.create("t")
        engine = world.producer(acks=0)
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)
        assert (batch.base_offset, batch.error) == (-1, None)
        assert log.values() == [b"0"]
        assert world.cluster.called(methods.INIT_PRODUCER_ID) == 0
        await engine.close()

    run(main)


def test_batches_of_several_partitions_travel_together() -> None:
    async def main() -> None:
        world = World()
        logs = world.cluster.create("t", 50)
        engine = world.producer()
        await engine.topic("t")
        for number in range(50):
            await engine.send("t", b"v", partition=number)
        await engine.flush()
        assert [len(log.records()) for log in logs] == [1] * 50
        requests = [message for method, message in world.cluster.written]
        assert len(requests) < 10
        await engine.close()

    run(main)


def test_hello_is_the_first_call_of_every_connection() -> None:
    async def main() -> None:
        world = World()
        world.cluster.create("t")
        engine = world.producer()
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)
        assert world.cluster.calls[0][1] == methods.HELLO
        assert world.cluster.called(methods.HELLO) == 1
        world.cluster.break_streams("n1:7171")
        batch, _ = await engine.send("t", b"1")
        await engine.wait(batch)
        assert world.cluster.called(methods.HELLO) == 2
        await engine.close()

    run(main)


def test_partitions_added_later_are_used_after_the_metadata_is_old() -> None:
    async def main() -> None:
        world = World()
        logs = world.cluster.create("t")
        engine = world.producer()
        await engine.topic("t")
        logs.append(MemoryLog(leader=1))
        with pytest.raises(UnknownTopicError, match="no partition 1"):
            await engine.send("t", b"v", partition=1)
        await world.clock.sleep_ms(301_000)
        batch, _ = await engine.send("t", b"v", partition=1)
        await engine.wait(batch)
        assert logs[1].values() == [b"v"]
        await engine.close()

    run(main)


def test_flush_and_waiting_end_the_linger() -> None:
    async def main() -> None:
        world = World(MemoryCluster(latency_ms=50))
        world.cluster.create("t")
        engine = world.producer(linger_ms=10_000)
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)
        for hurry in (engine.flush, None):
            begin = world.clock.monotonic_ms()
            await engine.send("t", b"1")
            await world.clock.sleep_ms(5)
            batch, _ = await engine.send("t", b"2")
            await (engine.wait(batch) if hurry is None else hurry())
            # One way there and one back, not behind the answer to the batch before.
            assert world.clock.monotonic_ms() - begin < 190
        await engine.close()

    run(main)
