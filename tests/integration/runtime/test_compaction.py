"""A whole node that compacts by itself, on virtual time."""

from __future__ import annotations

import asyncio
import logging

import pytest
from logd_wire.errors import InvalidRecordError

from logd.runtime.cleaner import CompactionOutcome
from logd.testing import MemoryCluster, run

SETTINGS = {"log.cleaner.backoff.ms": "1s", "retention.check.interval.ms": "1m"}
COMPACT = {"cleanup.policy": "compact", "segment.bytes": "1KiB", "file.delete.delay.ms": "1s"}


async def put(cluster: MemoryCluster, *pairs: tuple[str, str | None]) -> None:
    async with cluster.producer() as producer:
        for key, value in pairs:
            data = None if value is None else value.encode()
            await producer.send_and_wait("t", data, key=key.encode())


async def words(cluster: MemoryCluster) -> str:
    (info,) = await cluster.admin().describe_topics(["t"])
    return info.partitions[0].compaction


async def read(cluster: MemoryCluster) -> list[tuple[int, bytes | None, bytes | None]]:
    found = []
    async with cluster.consumer("t", auto_offset_reset="earliest") as consumer:
        while (record := await consumer.getone()) is not None:
            found.append((record.offset, record.key, record.value))
    return found


def numbered(count: int) -> list[tuple[str, str | None]]:
    return [(f"k{number % 3}", f"{number} " * 30) for number in range(count)]


def test_a_node_compacts_by_itself_and_goes_on_after_a_crash() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config=COMPACT)
        assert "not compacted yet; nothing is cleanable" in await words(cluster)
        await put(cluster, *numbered(60))
        await asyncio.sleep(5)
        assert "compacted below offset" in await words(cluster)
        found = await read(cluster)
        assert len(found) < 20
        assert [offset for offset, _, _ in found] == sorted(offset for offset, _, _ in found)
        last = {key: value for _, key, value in found}
        assert last == {key.encode(): str(value).encode() for key, value in numbered(60)}
        await cluster.crash()
        await cluster.restart()
        assert {key: value for _, key, value in await read(cluster)} == last

    run(scenario, config=SETTINGS)


def test_now_takes_everything_and_says_what_came_of_it() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config={**COMPACT, "min.cleanable.dirty.ratio": "1"})
        await put(cluster, *numbered(8), ("k0", None))
        (found,) = (await cluster.admin().compact_topic("t", [], now=True, wait=True)).values()
        assert (found.done, found.records_after) == (True, 3)
        assert found.bytes_after < found.bytes_before
        assert "compacted below offset 9" in found.outcome
        assert [offset for offset, _, _ in await read(cluster)] == [5, 7, 8]
        (again,) = (await cluster.admin().compact_topic("t", [0], now=True, wait=True)).values()
        assert (again.done, again.bytes_before) == (True, 0)
        assert "deleted keys may be forgotten in 23h 59m" in again.outcome
        (asked,) = (await cluster.admin().compact_topic("t", [], now=False, wait=False)).values()
        assert (asked.done, asked.outcome) == (False, "waits for its turn")

    run(scenario, config=SETTINGS)


def test_what_is_not_committed_yet_does_not_keep_the_caller() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config=COMPACT)
        await put(cluster, ("a", "1"), ("a", "2"))
        node = cluster.process.node
        (found,) = node._partitions.all()
        found.high_watermark = 1
        asked = await node.broker.compact("t", [0], now=True, wait_ms=10_000)
        assert isinstance(asked[0], CompactionOutcome)
        assert asked[0].done and "reaches beyond the high watermark" in asked[0].words

    run(scenario, config=SETTINGS)


def test_a_tombstone_goes_after_a_day_and_not_before() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config=COMPACT)
        await put(cluster, ("a", "1"), ("a", None), ("b", "1"))
        await cluster.admin().compact_topic("t", [], now=True, wait=True)
        await asyncio.sleep(86_400 - 60)
        assert [row[0] for row in await read(cluster)] == [1, 2]
        await asyncio.sleep(120)
        assert [row[0] for row in await read(cluster)] == [2]

    run(scenario, config=SETTINGS, limit_s=3 * 86_400)


def test_the_lags() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        config = {**COMPACT, "min.compaction.lag.ms": "1h", "max.compaction.lag.ms": "2h"}
        await cluster.create_topic("t", config=config)
        await put(cluster, ("a", "1"), ("a", "2"))
        await cluster.admin().compact_topic("t", [], now=True, wait=True)
        assert "the next segment is cleanable in " in await words(cluster)
        assert len(await read(cluster)) == 2
        await asyncio.sleep(3700)
        assert len(await read(cluster)) == 1
        await put(cluster, ("a", "3"))
        await asyncio.sleep(3600)
        assert len(await read(cluster)) == 2, "still in the segment that is written to"
        await asyncio.sleep(3700)
        assert len(await read(cluster)) == 1, "max.compaction.lag.ms closes it and has it cleaned"

    run(scenario, config=SETTINGS)


def test_a_record_without_a_key_is_refused_at_the_door() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config=COMPACT)
        async with cluster.producer() as producer:
            with pytest.raises(InvalidRecordError, match="no key, and the topic is compacted"):
                await producer.send_and_wait("t", b"value")
            assert (await producer.send_and_wait("t", b"value", key=b"k")).offset == 0
        await cluster.admin().alter_topic(
            "t",
            set_config={"cleanup.policy": "delete"},
            delete_config=[],
            partitions=0,
            validate_only=False,
        )
        async with cluster.producer() as producer:
            assert (await producer.send_and_wait("t", b"value")).offset == 1
        assert await words(cluster) == "not compacted: cleanup.policy has no compact"

    run(scenario, config=SETTINGS)


def test_damage_marks_the_partition_and_the_others_are_cleaned() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config={**COMPACT, "min.cleanable.dirty.ratio": "1"})
        await put(cluster, *numbered(20))
        (info,) = await cluster.admin().describe_topics(["t"])
        folder = f"partitions/{info.id.replace('-', '')}-0"
        file = cluster.files.open(f"{folder}/{0:020d}.log")
        file.pwrite([b"damaged"], 100)
        file.sync()
        await cluster.create_topic("u", config=COMPACT)
        (found,) = (await cluster.admin().compact_topic("t", [], now=True, wait=True)).values()
        assert found.done and "it is damaged: offsets 0" in found.outcome
        assert "cannot be compacted: it is damaged" in await words(cluster)
        async with cluster.producer() as producer:
            for number in range(20):
                await producer.send_and_wait("u", b"x" * 300, key=b"k%d" % (number % 2))
        await asyncio.sleep(5)
        (info,) = await cluster.admin().describe_topics(["u"])
        assert "compacted below offset" in info.partitions[0].compaction

    run(scenario, config=SETTINGS)


def test_what_could_not_be_cleaned_is_tried_again_later_and_later() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config={**COMPACT, "min.cleanable.dirty.ratio": "0.1"})
        await put(cluster, *numbered(20))
        (info,) = await cluster.admin().describe_topics(["t"])
        path = f"partitions/{info.id.replace('-', '')}-0/{0:020d}.log"
        file = cluster.files.open(path)
        good = file.pread(7, 100)
        file.pwrite([b"damaged"], 100)
        await asyncio.sleep(2)
        assert "(tried again in 5" in await words(cluster)
        await asyncio.sleep(60)
        assert "(tried again in 1m 5" in await words(cluster)
        file.pwrite([good], 100)
        await asyncio.sleep(110)
        assert "cannot be compacted" in await words(cluster)
        await asyncio.sleep(12)
        assert "compacted below offset" in await words(cluster)
        assert "cannot be compacted" not in await words(cluster)

    run(scenario, config=SETTINGS)


def test_the_dirtiest_log_comes_first(caplog: pytest.LogCaptureFixture) -> None:
    async def fill(cluster: MemoryCluster, topic: str, count: int) -> None:
        async with cluster.producer() as producer:
            for number in range(count):
                await producer.send_and_wait(topic, b"v" * 80, key=b"%d of %d" % (number, count))

    async def scenario(cluster: MemoryCluster) -> None:
        for topic, records in (("cleaner", 30), ("dirty", 0), ("clean", 40)):
            await cluster.create_topic(topic, config=COMPACT)
            await fill(cluster, topic, records)
            await cluster.admin().compact_topic(topic, [], now=True, wait=True)
        caplog.clear()
        for topic, records in (("cleaner", 41), ("dirty", 31), ("clean", 51)):
            await fill(cluster, topic, records)
        await asyncio.sleep(3700)

    with caplog.at_level(logging.INFO, "logd.cleaner"):
        run(scenario, config={**SETTINGS, "log.cleaner.backoff.ms": "1h"})
    order = [line.partition("-0: compacted")[0] for line in caplog.messages]
    assert order == ["dirty", "cleaner", "clean"]


def test_switched_off_it_cleans_only_what_is_asked_for() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config=COMPACT)
        await put(cluster, *numbered(30))
        await asyncio.sleep(60)
        assert "due, but log.cleaner.enable is false here" in await words(cluster)
        assert len(await read(cluster)) == 30
        await cluster.admin().compact_topic("t", [], now=True, wait=True)
        assert len(await read(cluster)) == 3

    run(scenario, config={**SETTINGS, "log.cleaner.enable": "false"})


def test_a_deleted_topic_is_no_trouble() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config=COMPACT)
        await put(cluster, *numbered(60))
        await cluster.admin().delete_topic("t")
        await asyncio.sleep(10)
        await cluster.create_topic("t", config=COMPACT)
        await put(cluster, *numbered(30))
        await asyncio.sleep(10)
        assert "compacted below offset" in await words(cluster)

    run(scenario, config=SETTINGS)
