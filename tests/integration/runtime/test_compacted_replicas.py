"""Three nodes that copy a compacted partition, and each compacts its own copy."""

from __future__ import annotations

import asyncio

from logd_wire import decode_batch, iter_headers

from logd.model.ids import NO_NODE
from logd.runtime.partition import Partition
from logd.testing import MemoryCluster, run
from tests.integration.runtime.test_replication import (
    all_in_sync,
    copy_on,
    created,
    leading,
    others,
    until,
)
from tests.sim.older_disk import roll_back
from tests.sim.watch import read_segments

SETTINGS = {"log.cleaner.backoff.ms": "1s", "retention.check.interval.ms": "1m"}
NODES = (1, 2, 3)
#: Two passes after a delete could be forgotten: more than twice its retention.
FORGOTTEN_S = 45
COMPACTING = {
    "cleanup_policy": "compact",
    "min_cleanable_dirty_ratio": "0.2",
    "delete_retention_ms": "10s",
}
#: Most of a segment.
FILLER = "x" * 700


async def put(cluster: MemoryCluster, *pairs: tuple[str, str | None]) -> None:
    async with cluster.producer(node=leading(cluster)) as producer:
        for key, value in pairs:
            data = None if value is None else value.encode()
            await producer.send_and_wait("t", data, key=key.encode())


def numbered(count: int) -> list[tuple[str, str | None]]:
    return [(f"k{number % 3}", f"{number} " * 30) for number in range(count)]


def row_of(offset: int, key: bytes | None, value: bytes | None) -> tuple[int, str, str | None]:
    return offset, (key or b"").decode(), None if value is None else value.decode()


async def read(cluster: MemoryCluster, node: int) -> list[tuple[int, str, str | None]]:
    """What a consumer gets who begins at the start: offset, key and value."""
    found = []
    async with cluster.consumer("t", node=node, auto_offset_reset="earliest") as consumer:
        while (record := await consumer.getone()) is not None:
            found.append(row_of(record.offset, record.key, record.value))
    return found


def keys(found: list[tuple[int, str, str | None]]) -> set[str]:
    return {key for _, key, _ in found if not key.startswith("filler")}


def kept(cluster: MemoryCluster, node: int) -> list[tuple[int, str, str | None]]:
    """What the copy of a node holds."""
    topic_id = copy_on(cluster, node).id.topic_id
    return [
        row_of(record.offset, record.key, record.value)
        for data in read_segments(cluster.processes[node].files, topic_id, 0)
        for position, _ in iter_headers(data)
        for record in decode_batch(data, position)
    ]


def clean_below(partition: Partition) -> int:
    return partition.log.cleaning.state.first_dirty


async def led_by_another(cluster: MemoryCluster, leader: int) -> int:
    """Stop who leads; return the node that leads then."""
    await cluster.stop(leader)
    await until(lambda: leading(cluster) not in (NO_NODE, leader))
    found = leading(cluster)
    await until(lambda: copy_on(cluster, found).leads(copy_on(cluster, found).leader_epoch))
    return found


def test_every_replica_compacts_its_own_copy() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster, **COMPACTING)
        await put(cluster, *numbered(60))
        await all_in_sync(cluster)
        await until(lambda: all(clean_below(copy_on(cluster, node)) > 30 for node in NODES))
        sizes = {copy_on(cluster, node).view.size_bytes for node in NODES}
        assert max(sizes) < 60 * 80 / 2, "disks of followers do not grow"
        before = await read(cluster, leader)
        second = await led_by_another(cluster, leader)
        after = await read(cluster, second)
        assert [row[0] for row in after] == sorted({row[0] for row in after})
        last = {key: value for _, key, value in after}
        assert last == {key: value for _, key, value in before} == dict(numbered(60))

    run(scenario, nodes=3, config=SETTINGS)


def test_a_copy_of_a_compacted_log_may_end_inside_of_what_was_compacted() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster, **COMPACTING)
        await put(cluster, *numbered(7))
        await all_in_sync(cluster)
        away = others(leader)[0]
        await cluster.crash(away)
        await put(cluster, *numbered(40))
        await until(lambda: clean_below(copy_on(cluster, leader)) > 20)
        await cluster.restart(away)
        await all_in_sync(cluster)
        assert dict(row[1:] for row in await read(cluster, leader)) == dict(numbered(40))

    run(scenario, nodes=3, config=SETTINGS)


async def deleted_while_one_was_away(cluster: MemoryCluster) -> tuple[int, int]:
    """Put and delete a key; return who leads and who was away for the delete."""
    leader = await created(cluster, **COMPACTING)
    away = others(leader)[0]
    await put(cluster, ("a", "1"))
    await all_in_sync(cluster)
    await cluster.crash(away)
    await put(cluster, ("a", None), ("filler", FILLER), ("filler", FILLER))
    await cluster.admin(node=leader).compact_topic("t", [], now=True, wait=True)
    return leader, away


def test_a_delete_is_kept_until_every_replica_has_it() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader, away = await deleted_while_one_was_away(cluster)
        await asyncio.sleep(FORGOTTEN_S)
        assert (1, "a", None) in await read(cluster, leader)
        await cluster.restart(away)
        await all_in_sync(cluster)
        await put(cluster, ("filler", FILLER), ("filler", FILLER))
        await asyncio.sleep(FORGOTTEN_S)
        for node in NODES:
            assert copy_on(cluster, node).forgotten_end == 2
            assert "a" not in keys(kept(cluster, node))
        second = await led_by_another(cluster, leader)
        assert "a" not in keys(await read(cluster, second))

    run(scenario, nodes=3, config=SETTINGS)


def test_a_copy_that_was_rolled_back_brings_no_key_back() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader, away = await deleted_while_one_was_away(cluster)
        process = cluster.processes[away]
        old = process.files.synced()
        await cluster.restart(away)
        await all_in_sync(cluster)
        await put(cluster, ("filler", FILLER), ("filler", FILLER))
        await asyncio.sleep(FORGOTTEN_S)
        assert [copy_on(cluster, node).forgotten_end for node in NODES] == [2, 2, 2]
        await cluster.crash(away)
        await put(cluster, ("b", "1"))
        roll_back(process.files, old)
        await cluster.restart(away)
        await all_in_sync(cluster)
        assert copy_on(cluster, away).forgotten_end == 2, "what it lacks is known to it"
        assert {key for _, key, _ in kept(cluster, away)} == {"filler", "b"}
        second = await led_by_another(cluster, leader)
        assert keys(await read(cluster, second)) == {"b"}

    run(scenario, nodes=3, config=SETTINGS)


def test_compacting_now_is_for_every_copy_and_tells_of_each() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster, **COMPACTING)
        await put(cluster, ("a", "1"), ("a", "2"), ("b", "1"))
        await all_in_sync(cluster)
        admin = cluster.admin(node=others(leader)[0])
        (found,) = (await admin.compact_topic("t", [], now=True, wait=True)).values()
        assert found.node_id == leader
        assert [copy.node_id for copy in found.others] == sorted(others(leader))
        for copy in (found, *found.others):
            assert (copy.done, copy.records_before, copy.records_after) == (True, 3, 2)
            assert "compacted below offset 3" in copy.outcome
            assert kept(cluster, copy.node_id) == [(1, "a", "2"), (2, "b", "1")]
        (info,) = await admin.describe_topics(["t"], copies=True)
        told = {copy.node_id: copy.compaction for copy in info.partitions[0].copies}
        assert sorted(told) == list(NODES)
        assert all("compacted below offset 3" in words for words in told.values())

    run(scenario, nodes=3, config=SETTINGS)


def test_a_copy_that_is_away_is_named_and_the_others_are_compacted() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster, **COMPACTING)
        away, there = others(leader)
        await all_in_sync(cluster)
        await cluster.crash(away)
        await put(cluster, ("a", "1"), ("a", "2"))
        admin = cluster.admin(node=leader)
        (found,) = (await admin.compact_topic("t", [], now=True, wait=True)).values()
        copies = {copy.node_id: copy for copy in found.others}
        assert copies[away].outcome.startswith("not compacted: ")
        assert (found.records_after, copies[there].records_after) == (1, 1)
        (info,) = await admin.describe_topics(["t"], copies=True)
        assert {copy.node_id for copy in info.partitions[0].copies} == {leader, there}

    run(scenario, nodes=3, config=SETTINGS)
