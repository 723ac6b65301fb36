"""The producer's engine when things fail: deadlines, refusals, nodes that go away."""

from __future__ import annotations

import asyncio

import pytest
from logd_client._core.batch import ProducerBatch
from logd_client._transport import methods
from logd_proto.v1 import log_pb2
from logd_wire.errors import (
    BootstrapError,
    ClosedError,
    ErrorCode,
    OutcomeUnknownError,
    RecordTooLargeError,
    TimeoutError,
    UnknownTopicError,
    error_for,
)

from tests.unit.client.harness import World, run
from tests.unit.client.memory_cluster import MemoryCluster, refusals


def batches_written(cluster: MemoryCluster) -> list[log_pb2.ProduceBatch]:
    return [
        batch
        for method, message in cluster.written
        if method == methods.PRODUCE and isinstance(message, log_pb2.ProduceRequest)
        for batch in message.batches
    ]


def test_a_refused_batch_fails_alone_and_the_next_goes_on() -> None:
    async def main() -> None:
        world = World(MemoryCluster(latency_ms=1))
        (log,) = world.cluster.create("t")
        engine = world.producer(linger_ms=0, batch_bytes=200)
        first, _ = await engine.send("t", b"first")
        await engine.wait(first)
        world.cluster.refuse = refusals(ErrorCode.INVALID_RECORD)
        handles = [await engine.send("t", b"%0100d" % number) for number in range(20)]
        await engine.flush()
        failed = [number for number, (batch, _) in enumerate(handles) if batch.error]
        assert failed
        assert log.values() == [
            b"first",
            *(b"%0100d" % number for number in range(20) if number not in failed),
        ]
        assert world.cluster.called(methods.INIT_PRODUCER_ID) == 2
        assert all(handles[number][0].error.code is ErrorCode.INVALID_RECORD for number in failed)  # type: ignore[union-attr]
        await engine.close()

    run(main)


def test_a_refusal_without_followers_takes_no_new_producer_id() -> None:
    async def main() -> None:
        world = World()
        (log,) = world.cluster.create("t")
        engine = world.producer()
        for _ in range(3):
            world.cluster.refuse = refusals(ErrorCode.BATCH_TOO_LARGE)
            batch, _ = await engine.send("t", b"bad")
            with pytest.raises(RecordTooLargeError):
                await engine.wait(batch)
            batch, _ = await engine.send("t", b"good")
            await engine.wait(batch)
        assert log.values() == [b"good"] * 3
        assert world.cluster.called(methods.INIT_PRODUCER_ID) == 1
        await engine.close()

    run(main)


def test_a_moved_leader_is_found_through_the_hint() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=2))
        (log,) = world.cluster.create("t")
        engine = world.producer()
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)
        before = world.cluster.called(methods.GET_METADATA)
        world.cluster.move_leader("t", 0, 2)
        begin = world.clock.monotonic_ms()
        batch, _ = await engine.send("t", b"1")
        await engine.wait(batch)
        assert log.values() == [b"0", b"1"]
        assert world.clock.monotonic_ms() - begin < 60
        assert world.cluster.called(methods.GET_METADATA) - before <= 1
        assert engine.cluster.metadata.leader("t", 0).epoch == 1  # type: ignore[union-attr]
        await engine.close()

    run(main)


def test_a_dead_leader_is_replaced_through_metadata() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=2))
        (log,) = world.cluster.create("t")
        engine = world.producer()
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)
        world.cluster.take_down("n1:7171")
        batch, _ = await engine.send("t", b"1")
        await world.clock.sleep_ms(500)
        assert not batch.done
        world.cluster.move_leader("t", 0, 2)
        await engine.wait(batch)
        assert log.values() == [b"0", b"1"]
        await engine.close()

    run(main)


def test_what_was_never_sent_times_out_with_the_cause() -> None:
    async def main() -> None:
        world = World()
        world.cluster.create("t")
        engine = world.producer(delivery_timeout_ms=3_000)
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)
        world.cluster.take_down("n1:7171")
        batch, _ = await engine.send("t", b"1")
        with pytest.raises(TimeoutError, match=r"could not be sent within 3 s.*refused"):
            await engine.wait(batch)
        assert 3_000 <= world.clock.monotonic_ms() < 3_200
        await engine.close()

    run(main)


def test_what_was_sent_and_never_answered_is_an_unknown_outcome() -> None:
    async def main() -> None:
        world = World()
        (log,) = world.cluster.create("t")
        world.cluster.swallow = lambda _: True
        engine = world.producer(delivery_timeout_ms=2_000)
        batch, _ = await engine.send("t", b"0")
        with pytest.raises(OutcomeUnknownError, match="not acknowledged"):
            await engine.wait(batch)
        world.cluster.swallow = lambda _: False
        # The unanswered batch is in the log; the partition goes on behind it.
        world.cluster.break_streams("n1:7171")
        batch, _ = await engine.send("t", b"1")
        await engine.wait(batch)
        assert log.values() == [b"0", b"1"]
        await engine.close()

    run(main)


def test_a_batch_given_up_unsent_leaves_no_gap_that_stops_the_next() -> None:
    async def main() -> None:
        world = World()
        (log,) = world.cluster.create("t")
        engine = world.producer(delivery_timeout_ms=1_000, linger_ms=0, batch_bytes=150)
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)
        world.cluster.refuse = lambda _: error_for(ErrorCode.OVERLOADED, "busy")
        given_up = [await engine.send("t", b"%0100d" % number) for number in range(8)]
        await engine.flush()
        assert all(batch.error is not None for batch, _ in given_up)
        world.cluster.refuse = lambda _: None
        batch, _ = await engine.send("t", b"1")
        await engine.wait(batch)
        assert log.values() == [b"0", b"1"]
        await engine.close()

    run(main)


def test_an_unknown_topic_is_refused_at_once_with_what_to_do() -> None:
    async def main() -> None:
        world = World()
        engine = world.producer()
        with pytest.raises(UnknownTopicError, match="logd topic create nope"):
            await engine.send("nope", b"v")
        assert world.clock.monotonic_ms() < 100
        world.cluster.auto_create = True
        batch, _ = await engine.send("nope", b"v")
        await engine.wait(batch)
        with pytest.raises(UnknownTopicError, match="no partition 7"):
            await engine.send("nope", b"v", partition=7)
        await engine.close()

    run(main)


def test_bootstrap_names_every_address_and_its_cause() -> None:
    async def main() -> None:
        world = World()
        world.cluster.down["n1:7171"] = "connection refused"
        engine = world.producer()
        engine.cluster.config = type(world.bootstrap)(bootstrap_servers=("n1:7171", "nowhere:1"))
        with pytest.raises(BootstrapError) as caught:
            await engine.send("t", b"v")
        text = str(caught.value)
        assert "n1:7171: connection refused" in text
        assert "nowhere:1: DNS: nowhere:1 is not known" in text
        await engine.close()

    run(main)


def test_close_fails_what_was_not_acknowledged() -> None:
    async def main() -> None:
        world = World()
        world.cluster.create("t")
        world.cluster.swallow = lambda _: True
        engine = world.producer()
        batch, _ = await engine.send("t", b"0")
        waiting = asyncio.ensure_future(engine.wait(batch))
        await world.clock.sleep_ms(100)
        await engine.close()
        with pytest.raises(ClosedError):
            await waiting
        await engine.close()
        with pytest.raises(ClosedError):
            await engine.send("t", b"1")

    run(main)


def test_a_recreated_topic_takes_the_records_that_wait() -> None:
    async def main() -> None:
        world = World()
        world.cluster.create("t")
        engine = world.producer()
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)
        del world.cluster.topics["t"]
        (log,) = world.cluster.create("t")
        world.cluster.ids["t"] = bytes(15) + b"\x99"
        batch, _ = await engine.send("t", b"1")
        await engine.wait(batch)
        assert log.values() == [b"1"]
        await engine.close()

    run(main)


def test_retries_are_a_small_share_of_the_calls_while_a_node_is_overloaded() -> None:
    async def main() -> None:
        world = World()
        world.cluster.create("t", 10)
        engine = world.producer(delivery_timeout_ms=10_000)
        await engine.topic("t")
        world.cluster.refuse = lambda _: error_for(ErrorCode.OVERLOADED, "busy")
        batches: list[ProducerBatch] = []
        for number in range(10):
            batch, _ = await engine.send("t", b"v", partition=number)
            batches.append(batch)
        await engine.flush()
        assert all(batch.error is not None for batch in batches)
        # Ten partitions for ten seconds at about two tries a second each, not a storm.
        assert len(batches_written(world.cluster)) < 400
        await engine.close()

    run(main)


def test_a_deleted_topic_is_named_as_the_cause() -> None:
    async def main() -> None:
        world = World()
        world.cluster.create("t")
        engine = world.producer(delivery_timeout_ms=3_000)
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)
        del world.cluster.topics["t"]
        batch, _ = await engine.send("t", b"1")
        with pytest.raises(TimeoutError, match="no topic 't'"):
            await engine.wait(batch)
        await engine.close()

    run(main)


def test_another_cluster_at_the_old_address_gets_nothing() -> None:
    async def main() -> None:
        world = World()
        (log,) = world.cluster.create("t")
        engine = world.producer(delivery_timeout_ms=2_000)
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)
        world.cluster.cluster_id = "another"
        world.cluster.break_streams("n1:7171")
        batch, _ = await engine.send("t", b"1")
        with pytest.raises(TimeoutError, match="another cluster"):
            await engine.wait(batch)
        assert log.values() == [b"0"]
        await engine.close()

    run(main)


def test_a_lost_answer_is_an_unknown_outcome_when_the_node_stays_away() -> None:
    async def main() -> None:
        world = World()
        (log,) = world.cluster.create("t")
        engine = world.producer(delivery_timeout_ms=2_000)
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)

        def lose(_: log_pb2.ProduceBatch) -> bool:
            world.cluster.down["n1:7171"] = "connection refused"
            return True

        world.cluster.lose_answer = lose
        batch, _ = await engine.send("t", b"1")
        with pytest.raises(OutcomeUnknownError, match="refused"):
            await engine.wait(batch)
        world.cluster.lose_answer = lambda _: False
        world.cluster.down.clear()
        batch, _ = await engine.send("t", b"2")
        await engine.wait(batch)
        assert log.values() == [b"0", b"1", b"2"]
        await engine.close()

    run(main)


def test_acks_0_a_write_that_breaks_is_told_and_not_repeated() -> None:
    async def main() -> None:
        world = World(MemoryCluster(latency_ms=5))
        (log,) = world.cluster.create("t")
        engine = world.producer(acks=0)
        first, _ = await engine.send("t", b"first")
        await engine.wait(first)
        broken, _ = await engine.send("t", b"broken")
        await world.clock.sleep_ms(2)
        world.cluster.break_streams("n1:7171")
        with pytest.raises(OutcomeUnknownError, match="acks=0"):
            await engine.wait(broken)
        await engine.flush()
        after, _ = await engine.send("t", b"after")
        await engine.wait(after)
        assert log.values() == [b"first", b"after"]
        await engine.close()

    run(main)
