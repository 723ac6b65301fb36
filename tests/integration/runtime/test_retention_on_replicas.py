"""Retention where three nodes have each partition: starts move with the leader's, everywhere."""

from __future__ import annotations

import asyncio

import pytest
from logd_client.read_errors import ReadOffsetOutOfRangeError
from logd_client.values import TopicPartition

from logd.testing import MemoryCluster, run
from logd.testing.clients import MemoryConsumer
from tests.integration.runtime.test_compacted_replicas import (
    clean_below,
    kept,
    led_by_another,
    numbered,
    put,
)
from tests.integration.runtime.test_replication import (
    NODES,
    all_in_sync,
    copy_on,
    created,
    leading,
    others,
    until,
)

SETTINGS = {"retention.check.interval.ms": "1s"}
BY_NUMBER = {"retention_records": "4", "retention_ms": "-1"}
BY_AGE = {"retention_ms": "60s", "segment_ms": "10s"}
#: Two fit in a segment.
VALUE = b"v" * 300
TP = TopicPartition("t", 0)


async def send(cluster: MemoryCluster, count: int) -> None:
    async with cluster.producer(node=leading(cluster)) as producer:
        for _ in range(count):
            await producer.send_and_wait("t", VALUE)


def starts(cluster: MemoryCluster) -> list[int]:
    return [copy_on(cluster, node).view.start_offset for node in NODES]


def segments_of(cluster: MemoryCluster, node: int) -> list[int]:
    """Base offsets of the segment files on a disk, those that wait for their deletion apart."""
    folder = f"partitions/{copy_on(cluster, node).id.topic_id.hex()}-0"
    names = [entry.name for entry in cluster.processes[node].files.list_dir(folder)]
    return sorted(int(name.removesuffix(".log")) for name in names if name.endswith(".log"))


async def offsets(consumer: MemoryConsumer) -> list[int]:
    found = []
    while (record := await consumer.getone()) is not None:
        found.append(record.offset)
    return found


async def read(cluster: MemoryCluster, node: int) -> list[int]:
    async with cluster.consumer("t", node=node, auto_offset_reset="earliest") as consumer:
        return await offsets(consumer)


def test_the_start_moves_on_every_replica_and_so_do_the_files() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster, **BY_NUMBER)
        await send(cluster, 20)
        await until(lambda: starts(cluster) == [16, 16, 16])
        await asyncio.sleep(5)
        assert [segments_of(cluster, node)[0] for node in NODES] == [16, 16, 16]
        assert await read(cluster, leader) == [16, 17, 18, 19]
        second = await led_by_another(cluster, leader)
        assert await read(cluster, second) == [16, 17, 18, 19]

    run(scenario, nodes=3, config=SETTINGS)


def test_by_age_nothing_goes_early_anywhere_and_an_idle_topic_is_emptied_everywhere() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await created(cluster, **BY_AGE)
        await send(cluster, 8)
        await asyncio.sleep(58)
        assert starts(cluster) == [0, 0, 0]
        await asyncio.sleep(4)
        assert starts(cluster) == [8, 8, 8]
        await all_in_sync(cluster)

    run(scenario, nodes=3, config=SETTINGS)


def test_another_leader_goes_on_by_age_and_never_back() -> None:
    """What it copied counts from when it was appended first, not from when it was copied."""

    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster, **BY_AGE)
        away = others(leader)[0]
        await cluster.crash(away)
        await send(cluster, 8)
        await asyncio.sleep(50)
        await cluster.restart(away)
        await all_in_sync(cluster)
        for node in NODES:
            if node != away:
                await cluster.crash(node)
        await asyncio.sleep(1)
        for node in NODES:
            if node != away:
                await cluster.restart(node)
        await all_in_sync(cluster)
        assert starts(cluster) == [0, 0, 0]
        await asyncio.sleep(15)
        assert starts(cluster) == [8, 8, 8]

    run(scenario, nodes=3, config=SETTINGS)


def test_a_follower_that_was_away_catches_up_where_the_log_begins_now() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster, **BY_NUMBER)
        away = others(leader)[0]
        await send(cluster, 3)
        await all_in_sync(cluster)
        await cluster.crash(away)
        await send(cluster, 20)
        await until(lambda: copy_on(cluster, leader).view.start_offset > 3)
        start = copy_on(cluster, leader).view.start_offset
        await cluster.restart(away)
        await all_in_sync(cluster)
        assert starts(cluster) == [start] * 3
        assert segments_of(cluster, away)[0] == start, "nothing of before is left on its disk"
        await led_by_another(cluster, leader)
        assert await read(cluster, away) == list(range(start, 23))

    run(scenario, nodes=3, config=SETTINGS)


def test_a_consumer_behind_the_start_hears_where_it_is_and_chooses() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster, **BY_NUMBER)
        await send(cluster, 20)
        await until(lambda: starts(cluster) == [16, 16, 16])
        second = await led_by_another(cluster, leader)
        async with cluster.consumer(node=second) as consumer:
            consumer.assign([TP])
            consumer.seek(TP, 2)
            with pytest.raises(ReadOffsetOutOfRangeError, match="first offset there is 16") as told:
                await consumer.getone()
            error = told.value
            assert (error.topic, error.partition, error.offset) == ("t", 0, 2)
            assert error.next_offset == 16
            assert "auto_offset_reset" in error.hint and "seek" in error.hint
            consumer.seek(TP, error.next_offset)
            assert await offsets(consumer) == [16, 17, 18, 19]

    run(scenario, nodes=3, config=SETTINGS)


def test_what_is_compacted_goes_by_age_as_well_on_every_replica() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        config = {"cleanup_policy": "compact,delete", "min_cleanable_dirty_ratio": "0.2"}
        leader = await created(cluster, **config, **BY_AGE)
        away = others(leader)[0]
        await put(cluster, *numbered(20))
        await all_in_sync(cluster)
        await cluster.crash(away)
        await put(cluster, *numbered(40))
        await until(lambda: clean_below(copy_on(cluster, leader)) > 40)
        await cluster.restart(away)
        await all_in_sync(cluster)
        await asyncio.sleep(40)
        assert starts(cluster) == [0, 0, 0]
        for node in NODES:
            assert len(kept(cluster, node)) < 20
            last = {key: value for _, key, value in kept(cluster, node)}
            assert last == dict(numbered(40))
        await asyncio.sleep(25)
        assert starts(cluster) == [60, 60, 60]
        assert all(kept(cluster, node) == [] for node in NODES)

    run(scenario, nodes=3, config={**SETTINGS, "log.cleaner.backoff.ms": "1s"})
