"""The consumer's engine when things fail: no position, out of range, damage, unknown topics."""

from __future__ import annotations

import pytest
from logd_client._core.partition_reader import Reset
from logd_client.read_errors import ReadDataLossError, ReadError
from logd_client.values import Record, TopicPartition
from logd_wire import WireRecord, encode_batch
from logd_wire.errors import (
    BootstrapError,
    CorruptBatchError,
    DataLossError,
    ErrorCode,
    LogdError,
    NoOffsetError,
    OffsetOutOfRangeError,
    UnknownTopicError,
    error_for,
)

from tests.unit.client.harness import TP, World, read, run
from tests.unit.client.memory_cluster import MemoryCluster
from tests.unit.client.memory_log import MemoryLog


def offsets(records: list[Record[bytes, bytes]]) -> list[int]:
    return [record.offset for record in records]


def log_with(world: World, count: int) -> MemoryLog:
    (log,) = world.cluster.create("t")
    for base in range(0, count, 10):
        records = [
            WireRecord(index, 1_000 + base + index, None, b"%d" % (base + index))
            for index in range(min(10, count - base))
        ]
        log.append(encode_batch(records))
    return log


def test_no_position_and_no_reset_is_an_error_at_the_first_read() -> None:
    async def main() -> None:
        world = World()
        log_with(world, 10)
        engine = world.consumer()
        engine.fetcher.assign([TP])
        with pytest.raises(NoOffsetError, match="auto_offset_reset='earliest'") as caught:
            await read(engine, 1)
        assert isinstance(caught.value, ReadError)
        assert (caught.value.topic, caught.value.partition) == ("t", 0)
        with pytest.raises(NoOffsetError):
            await engine.position(TP)
        engine.fetcher.seek(TP, 4)
        assert (await read(engine, 1))[0].offset == 4
        await engine.close()

    run(main)


@pytest.mark.parametrize(("reset", "expected"), [(Reset.EARLIEST, 50), (Reset.LATEST, 100)])
def test_out_of_range_follows_the_chosen_reset(reset: Reset, expected: int) -> None:
    async def main() -> None:
        world = World()
        log = log_with(world, 100)
        log.start = 50
        engine = world.consumer(reset=reset)
        engine.fetcher.assign([TP])
        engine.fetcher.seek(TP, 10)
        await world.clock.sleep_ms(200)
        assert engine.fetcher.position(TP) == expected
        await engine.close()

    run(main)


def test_out_of_range_without_reset_says_where_the_log_begins() -> None:
    async def main() -> None:
        world = World()
        log_with(world, 100).start = 50
        engine = world.consumer()
        engine.fetcher.assign([TP])
        engine.fetcher.seek(TP, 10)
        with pytest.raises(OffsetOutOfRangeError, match="first offset there is 50") as caught:
            await read(engine, 1)
        assert caught.value.offset == 10  # type: ignore[attr-defined]
        engine.fetcher.seek(TP, caught.value.next_offset)
        assert (await read(engine, 1))[0].offset == 50
        await engine.close()

    run(main)


def lost_range(_: str, __: int, offset: int) -> LogdError | None:
    if 20 <= offset < 40:
        return DataLossError("a segment is damaged", next_offset=40)
    return None


def test_lost_data_stops_the_partition_after_what_is_whole() -> None:
    async def main() -> None:
        world = World(MemoryCluster(latency_ms=5))
        log = log_with(world, 20)
        world.cluster.read_error = lost_range
        engine = world.consumer(reset=Reset.EARLIEST)
        engine.fetcher.assign([TP])
        await world.clock.sleep_ms(100)
        assert offsets(await read(engine, 20)) == list(range(20))
        for base in range(20, 60, 10):
            log.append(
                encode_batch([WireRecord(i, 0, None, b"%d" % (base + i)) for i in range(10)])
            )
        with pytest.raises(DataLossError) as caught:
            await read(engine, 1)
        error = caught.value
        assert isinstance(error, ReadDataLossError)
        assert (error.topic, error.partition, error.offset, error.next_offset) == ("t", 0, 20, 40)
        with pytest.raises(DataLossError):
            await read(engine, 1)
        engine.fetcher.seek(TP, error.next_offset)
        assert offsets(await read(engine, 20)) == list(range(40, 60))
        await engine.close()

    run(main)


def test_lost_data_is_skipped_when_chosen() -> None:
    async def main() -> None:
        world = World()
        log_with(world, 60)
        world.cluster.read_error = lost_range
        engine = world.consumer(skip_corrupt=True)
        engine.fetcher.assign([TP])
        engine.fetcher.seek(TP, 25)
        assert offsets(await read(engine, 20)) == list(range(40, 60))
        await engine.close()

    run(main)


def damage(log: MemoryLog, number: int, position: int = 80) -> None:
    batch = bytearray(log.batches[number])
    batch[position] ^= 0xFF
    log.batches[number] = bytes(batch)


def test_a_batch_that_cannot_be_decoded_stops_there() -> None:
    async def main() -> None:
        world = World()
        damage(log_with(world, 40), 2)
        engine = world.consumer(reset=Reset.EARLIEST)
        engine.fetcher.assign([TP])
        assert offsets(await read(engine, 20)) == list(range(20))
        with pytest.raises(CorruptBatchError, match=r"t\[0\] at offset 20") as caught:
            await read(engine, 1)
        assert isinstance(caught.value, ReadError)
        assert (caught.value.offset, caught.value.next_offset) == (20, 30)
        assert engine.fetcher.position(TP) == 20
        engine.fetcher.seek(TP, 30)
        assert offsets(await read(engine, 10)) == list(range(30, 40))
        await engine.close()

    run(main)


def test_a_batch_that_cannot_be_decoded_is_skipped_when_chosen() -> None:
    async def main() -> None:
        world = World()
        damage(log_with(world, 400), 2)
        engine = world.consumer(reset=Reset.EARLIEST, skip_corrupt=True)
        engine.fetcher.assign([TP])
        found = offsets(await read(engine, 390))
        assert found == [*range(20), *range(30, 400)]
        await engine.close()

    run(main)


def test_behind_a_damaged_header_the_rest_of_the_frame_is_skipped() -> None:
    async def main() -> None:
        world = World()
        log = log_with(world, 400)
        damaged = len(log.batches[0]) + 16

        def mangle(records: bytes) -> bytes:
            if records.startswith(log.batches[0]):
                return records[:damaged] + b"\xff" + records[damaged + 1 :]
            return records

        world.cluster.mangle = mangle
        engine = world.consumer(reset=Reset.EARLIEST, skip_corrupt=True)
        engine.fetcher.assign([TP])
        found = offsets(await read(engine, 100))
        assert found[:10] == list(range(10))
        assert found[10] > 20
        assert found[10:] == list(range(found[10], found[10] + 90))
        await engine.close()

    run(main)


def test_an_unknown_topic_or_partition_is_an_error_of_the_read() -> None:
    async def main() -> None:
        world = World()
        world.cluster.create("t")
        engine = world.consumer(reset=Reset.EARLIEST)
        engine.fetcher.assign([TopicPartition("nope", 0)])
        with pytest.raises(UnknownTopicError, match="'nope' does not exist"):
            await read(engine, 1)
        engine.fetcher.assign([TopicPartition("t", 9)])
        engine.fetcher.seek(TopicPartition("t", 9), 0)
        with pytest.raises(UnknownTopicError, match="has only 1 partitions"):
            await read(engine, 1)
        await engine.close()
        engine = world.consumer("nope")
        with pytest.raises(UnknownTopicError):
            await engine.start()
        await engine.close()

    run(main)


def test_unreachable_nodes_are_an_error_of_the_read_until_one_answers() -> None:
    async def main() -> None:
        world = World()
        log_with(world, 10)
        world.cluster.down["n1:7171"] = "connection refused"
        engine = world.consumer(reset=Reset.EARLIEST)
        engine.fetcher.assign([TP])
        with pytest.raises(BootstrapError, match="n1:7171: connection refused"):
            await read(engine, 1)
        world.cluster.down.clear()
        assert len(await read(engine, 10)) == 10
        # From here on an outage is waited for, not raised.
        world.cluster.take_down("n1:7171")
        assert not await engine.wait_readable(timeout_ms=5_000)
        world.cluster.down.clear()
        engine.fetcher.seek(TP, 0)
        assert len(await read(engine, 10)) == 10
        await engine.close()

    run(main)


def test_a_final_refusal_stops_the_partition() -> None:
    async def main() -> None:
        world = World()
        log_with(world, 10)
        world.cluster.read_error = lambda *_: error_for(ErrorCode.AUTHORIZATION_FAILED, "not yours")
        engine = world.consumer(reset=Reset.EARLIEST)
        engine.fetcher.assign([TP])
        with pytest.raises(ReadError, match="not yours") as caught:
            await read(engine, 1)
        assert caught.value.code is ErrorCode.AUTHORIZATION_FAILED
        await engine.close()

    run(main)


def test_a_paused_partition_raises_nothing_until_it_is_resumed() -> None:
    async def main() -> None:
        world = World()
        log_with(world, 10)
        engine = world.consumer()
        engine.fetcher.assign([TP])
        await world.clock.sleep_ms(100)
        engine.fetcher.pause([TP])
        assert engine.fetcher.take(10) == {}
        assert not await engine.wait_readable(timeout_ms=100)
        engine.fetcher.resume([TP])
        with pytest.raises(NoOffsetError):
            engine.fetcher.take(10)
        await engine.close()

    run(main)
