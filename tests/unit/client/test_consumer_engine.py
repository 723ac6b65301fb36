"""The consumer's engine against a cluster in memory: positions, credit, errors, reconnects."""

from __future__ import annotations

import re

import pytest
from logd_client._core.partition_reader import Reset
from logd_client._engine.offsets import Spec
from logd_client._transport import methods
from logd_client.values import Record, TopicPartition
from logd_proto.v1 import log_pb2
from logd_wire import WireRecord, encode_batch
from logd_wire.errors import (
    ClosedError,
    ConfigError,
    ErrorCode,
    LogdError,
    NotLeaderError,
    UnknownTopicError,
)

from tests.unit.client.harness import TP, World, read, run
from tests.unit.client.memory_cluster import MemoryCluster
from tests.unit.client.memory_log import MemoryLog


def offsets(records: list[Record[bytes, bytes]]) -> list[int]:
    return [record.offset for record in records]


def fetch_requests(cluster: MemoryCluster) -> list[log_pb2.FetchRequest]:
    return [
        message
        for method, message in cluster.written
        if method == methods.FETCH and isinstance(message, log_pb2.FetchRequest)
    ]


def log_with(world: World, count: int) -> MemoryLog:
    (log,) = world.cluster.create("t")
    for base in range(0, count, 10):
        records = [
            WireRecord(index, 1_000 + base + index, None, b"%d" % (base + index))
            for index in range(min(10, count - base))
        ]
        log.append(encode_batch(records))
    return log


def test_a_seek_into_a_batch_begins_at_the_record() -> None:
    async def main() -> None:
        world = World()
        log_with(world, 100)
        engine = world.consumer()
        engine.fetcher.assign([TP])
        engine.fetcher.seek(TP, 37)
        records = await read(engine, 63)
        assert offsets(records) == list(range(37, 100))
        assert records[0].value == b"37"
        assert records[0].timestamp_ms == 1_037
        assert engine.fetcher.position(TP) == 100
        await engine.close()

    run(main)


def test_the_position_follows_what_was_handed_out_not_what_was_fetched() -> None:
    async def main() -> None:
        world = World()
        log_with(world, 50)
        engine = world.consumer(reset=Reset.EARLIEST)
        engine.fetcher.assign([TP])
        await read(engine, 7)
        assert engine.fetcher.position(TP) == 7
        assert engine.fetcher.take_one().offset == 7  # type: ignore[union-attr]
        assert engine.fetcher.position(TP) == 8
        await read(engine, 2)
        assert engine.fetcher.position(TP) == 10
        await engine.close()

    run(main)


def test_new_records_are_pushed() -> None:
    async def main() -> None:
        world = World()
        (log,) = world.cluster.create("t")
        engine = world.consumer(reset=Reset.LATEST)
        engine.fetcher.assign([TP])
        await world.clock.sleep_ms(100)
        producer = world.producer()
        for number in range(3):
            await producer.send("t", b"%d" % number)
            await producer.flush()
        assert [record.value for record in await read(engine, 3)] == [b"0", b"1", b"2"]
        assert not await engine.wait_readable(timeout_ms=200)
        await producer.close()
        await engine.close()
        assert log.end == 3

    run(main)


def test_a_seek_drops_what_was_fetched_and_ignores_what_still_comes() -> None:
    async def main() -> None:
        world = World(MemoryCluster(latency_ms=20))
        log_with(world, 1_000)
        engine = world.consumer(reset=Reset.EARLIEST)
        engine.fetcher.assign([TP])
        await read(engine, 5)
        for target in (900, 3, 500):
            engine.fetcher.seek(TP, target)
            await world.clock.sleep_ms(5)
        assert offsets(await read(engine, 3)) == [500, 501, 502]
        await engine.close()

    run(main)


def test_credit_bounds_what_is_sent_ahead_and_comes_back_when_consumed() -> None:
    async def main() -> None:
        world = World()
        log = log_with(world, 5_000)
        size = sum(len(batch) for batch in log.batches)
        window = 20_000
        engine = world.consumer(reset=Reset.EARLIEST, window_bytes=window)
        engine.fetcher.assign([TP])
        await world.clock.sleep_ms(500)
        reader = engine.fetcher.reader(TP)
        held = sum(len(frame.records) for frame in reader.frames)
        assert window <= held <= window + 4_096
        assert size > 3 * window
        assert offsets(await read(engine, 5_000)) == list(range(5_000))
        await world.clock.sleep_ms(100)
        granted = sum(request.credit_bytes for request in fetch_requests(world.cluster))
        assert window + size - window // 8 <= granted <= window + size
        await engine.close()

    run(main)


def test_credit_of_dropped_frames_comes_back() -> None:
    async def main() -> None:
        world = World()
        log_with(world, 3_000)
        engine = world.consumer(reset=Reset.EARLIEST, window_bytes=10_000)
        engine.fetcher.assign([TP])
        for _ in range(20):
            await world.clock.sleep_ms(30)
            engine.fetcher.seek(TP, 0)
        assert offsets(await read(engine, 3_000)) == list(range(3_000))
        await engine.close()

    run(main)


def test_pause_and_resume() -> None:
    async def main() -> None:
        world = World()
        world.cluster.create("t", 2)
        producer = world.producer()
        for partition in (0, 1):
            for number in range(20):
                await producer.send("t", b"%d" % number, partition=partition)
        await producer.flush()
        await producer.close()
        other = TopicPartition("t", 1)
        engine = world.consumer(reset=Reset.EARLIEST)
        engine.fetcher.assign([TP, other])
        await read(engine, 1)
        engine.fetcher.pause([TP])
        assert engine.fetcher.paused() == {TP}
        position = engine.fetcher.position(TP)
        assert position is not None
        rest = await read(engine, 20 - (engine.fetcher.position(other) or 0))
        assert {record.partition for record in rest} == {1}
        assert not await engine.wait_readable(timeout_ms=100)
        engine.fetcher.resume([TP])
        records = await read(engine, 20 - position)
        assert offsets(records) == list(range(position, 20))
        await engine.close()

    run(main)


def test_a_broken_stream_loses_and_repeats_nothing() -> None:
    async def main() -> None:
        world = World()
        log_with(world, 2_000)
        engine = world.consumer(reset=Reset.EARLIEST, window_bytes=8_192)
        engine.fetcher.assign([TP])
        found: list[int] = []
        while len(found) < 2_000:
            found += offsets(await read(engine, min(150, 2_000 - len(found))))
            world.cluster.break_streams("n1:7171")
        assert found == list(range(2_000))
        await engine.close()

    run(main)


def test_a_moved_leader_is_followed() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=2))
        log_with(world, 20)
        engine = world.consumer(reset=Reset.EARLIEST)
        engine.fetcher.assign([TP])
        await read(engine, 20)
        world.cluster.move_leader("t", 0, 2)
        producer = world.producer()
        await producer.send("t", b"new")
        await producer.flush()
        world.cluster.push_all()
        assert [record.value for record in await read(engine, 1)] == [b"new"]
        await producer.close()
        await engine.close()

    run(main)


def test_all_partitions_of_a_topic_and_those_that_come_later() -> None:
    async def main() -> None:
        world = World()
        world.cluster.create("t", 2)
        engine = world.consumer("t", reset=Reset.LATEST)
        await engine.start()
        assert len(engine.fetcher.assignment()) == 2
        world.cluster.topics["t"].append(MemoryLog(leader=1))
        producer = world.producer()
        await producer.send("t", b"early", partition=2)
        await producer.flush()
        await world.clock.sleep_ms(301_000)
        assert len(engine.fetcher.assignment()) == 3
        # Nothing of the new partition is missed, although the reset is "latest".
        assert [record.value for record in await read(engine, 1)] == [b"early"]
        await producer.close()
        await engine.close()

    run(main)


YOUNG = [
    NotLeaderError("t-0 is not open on this node yet"),
    UnknownTopicError("no topic with id 01"),
    UnknownTopicError("topic 't' has no partition 0", code=ErrorCode.UNKNOWN_PARTITION),
]


@pytest.mark.parametrize("refusal", YOUNG, ids=lambda error: error.code.name)
def test_offsets_of_a_topic_so_young_that_its_leader_does_not_know_it(refusal: LogdError) -> None:
    async def main() -> None:
        world = World()
        log_with(world, 100)
        asked: list[int] = []

        def refuse(_topic: str, _partition: int, offset: int) -> LogdError | None:
            asked.append(offset)
            return refusal if len(asked) < 20 else None

        world.cluster.read_error = refuse
        engine = world.consumer()
        assert (await engine.offsets({TP: Spec.latest()}))[TP].offset == 100
        assert len(asked) == 20
        await engine.close()

    run(main)


@pytest.mark.parametrize("refusal", YOUNG, ids=lambda error: error.code.name)
def test_offsets_end_with_what_was_said_last_when_time_is_over(refusal: LogdError) -> None:
    async def main() -> None:
        world = World()
        log_with(world, 100)
        world.cluster.read_error = lambda *_: refusal
        engine = world.consumer(reset=Reset.EARLIEST)
        began_ms = world.clock.monotonic_ms()
        with pytest.raises(type(refusal), match=re.escape(str(refusal.message))):
            await engine.offsets({TP: Spec.latest()})
        took_ms = world.clock.monotonic_ms() - began_ms
        limit_ms = engine.config.cluster.request_timeout_ms
        assert limit_ms < took_ms < limit_ms + 1_000
        await engine.close()

    run(main)


def test_offsets_of_a_deleted_topic_are_refused_at_once() -> None:
    async def main() -> None:
        world = World()
        log_with(world, 100)
        engine = world.consumer(reset=Reset.EARLIEST)
        assert (await engine.offsets({TP: Spec.latest()}))[TP].offset == 100
        world.cluster.delete("t")
        began_ms = world.clock.monotonic_ms()
        with pytest.raises(UnknownTopicError, match="topic 't' does not exist"):
            await engine.offsets({TP: Spec.latest()})
        assert world.clock.monotonic_ms() - began_ms < 1_000
        await engine.close()

    run(main)


def test_offsets_lag_and_seek_to_places() -> None:
    async def main() -> None:
        world = World()
        log_with(world, 100).start = 10
        engine = world.consumer(reset=Reset.EARLIEST)
        engine.fetcher.assign([TP])
        assert (await engine.offsets({TP: Spec.earliest()}))[TP].offset == 10
        assert (await engine.offsets({TP: Spec.latest()}))[TP].offset == 100
        found = (await engine.offsets({TP: Spec.at_time(1_042)}))[TP]
        assert (found.offset, found.timestamp_ms) == (42, 1_042)
        assert await engine.position(TP) == 10
        assert await engine.lag([TP]) == {TP: 90}
        await engine.seek_to({TP: Spec.at_time(1_055)})
        assert (await read(engine, 1))[0].offset == 55
        await engine.seek_to({TP: Spec.at_time(99_999)})
        assert engine.fetcher.position(TP) == 100
        with pytest.raises(ConfigError, match="not assigned"):
            engine.fetcher.seek(TopicPartition("t", 3), 0)
        with pytest.raises(UnknownTopicError, match="no partition 3"):
            await engine.offsets({TopicPartition("t", 3): Spec.latest()})
        await engine.close()

    run(main)


def test_partitions_take_turns() -> None:
    async def main() -> None:
        world = World()
        for log in world.cluster.create("t", 3):
            for base in range(0, 300, 10):
                batch = [WireRecord(i, 0, None, b"%d" % (base + i)) for i in range(10)]
                log.append(encode_batch(batch))
        engine = world.consumer("t", reset=Reset.EARLIEST)
        await engine.start()
        await world.clock.sleep_ms(200)
        served = [next(iter(engine.fetcher.take(5))).partition for _ in range(6)]
        assert sorted(served[:3]) == [0, 1, 2]
        assert served[:3] == served[3:]
        await engine.close()

    run(main)


def test_wakeup_and_close_end_a_wait() -> None:
    async def main() -> None:
        world = World()
        world.cluster.create("t")
        engine = world.consumer(reset=Reset.EARLIEST)
        engine.fetcher.assign([TP])
        engine.fetcher.wakeup()
        assert await engine.wait_readable(timeout_ms=10_000)
        assert engine.fetcher.take_wakeup()
        assert not engine.fetcher.take_wakeup()
        await engine.close()
        with pytest.raises(ClosedError):
            engine.fetcher.take(1)

    run(main)


def test_a_stream_that_ends_is_opened_again_with_a_full_window() -> None:
    async def main() -> None:
        world = World()
        log_with(world, 3_000)
        engine = world.consumer(reset=Reset.EARLIEST, window_bytes=10_000)
        engine.fetcher.assign([TP])
        await world.clock.sleep_ms(100)
        world.cluster.break_streams("n1:7171")
        await world.clock.sleep_ms(2_000)
        firsts = [each for each in fetch_requests(world.cluster) if each.max_wait_ms]
        assert [each.credit_bytes for each in firsts] == [10_000, 10_000]
        assert [each.min_bytes for each in firsts] == [1, 1]
        assert offsets(await read(engine, 3_000)) == list(range(3_000))
        await engine.close()

    run(main)
