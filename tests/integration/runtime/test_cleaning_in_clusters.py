"""Retention, trimming and compaction where the partitions of a topic lie on different nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from logd_client.values import PartitionInfo
from logd_wire.errors import InvalidRequestError, NotLeaderError

from logd.model.ids import NO_NODE, NodeId
from logd.runtime.partition import Partition
from logd.testing import MemoryCluster, run

SETTINGS = {"log.cleaner.backoff.ms": "1s", "retention.check.interval.ms": "1s"}
SMALL = {"segment.bytes": "1KiB", "file.delete.delay.ms": "1s"}
COMPACT = {**SMALL, "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "1"}
RECORDS = 12
NODES = (1, 2, 3)


async def fill(cluster: MemoryCluster, config: Mapping[str, str]) -> None:
    """Three partitions on three nodes, `RECORDS` records of two keys in each."""
    await cluster.create_topic("t", partitions=3, config=config, replication_factor=1)
    async with cluster.producer() as producer:
        for partition in range(3):
            for number in range(RECORDS):
                key, value = b"k%d" % (number % 2), b"%d " % number * 40
                await producer.send_and_wait("t", value, key=key, partition=partition)


async def described(cluster: MemoryCluster, node: int) -> tuple[PartitionInfo, ...]:
    (info,) = await cluster.admin(node=node).describe_topics(["t"])
    return info.partitions


def led(cluster: MemoryCluster, node: int) -> Partition:
    """The one partition that lies on a node."""
    (found,) = cluster.processes[node].node._partitions.all()
    return found


async def offsets(cluster: MemoryCluster) -> list[int]:
    found = []
    async with cluster.consumer("t", auto_offset_reset="earliest") as consumer:
        while (record := await consumer.getone()) is not None:
            found.append(record.offset)
    return found


@pytest.mark.parametrize("node", NODES)
def test_every_partition_is_compacted_by_its_leader(node: int) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await fill(cluster, COMPACT)
        assert sorted(part.leader or 0 for part in await described(cluster, node)) == [1, 2, 3]
        found = await cluster.admin(node=node).compact_topic("t", [], now=True, wait=True)
        assert list(found) == [0, 1, 2]
        for outcome in found.values():
            assert (outcome.done, outcome.records_before, outcome.records_after) == (True, 12, 2)
        for part in await described(cluster, node):
            assert f"compacted below offset {RECORDS}" in part.compaction
            assert "no segment is deleted: cleanup.policy is compact" in part.retention
        (one,) = (
            await cluster.admin(node=node).compact_topic("t", [2], now=False, wait=True)
        ).items()
        assert (one[0], one[1].done) == (2, True)

    run(scenario, nodes=3, config=SETTINGS)


def test_what_lies_elsewhere_is_neither_compacted_nor_trimmed_here() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await fill(cluster, COMPACT)
        for node in NODES:
            broker = cluster.processes[node].node.broker
            own = led(cluster, node).id.partition
            outcomes = await broker.compact("t", [0, 1, 2], now=True, wait_ms=0)
            starts = await broker.trim("t", {0: 1, 1: 1, 2: 1})
            for partition in range(3):
                refused = partition != own
                assert isinstance(outcomes[partition], NotLeaderError) is refused
                assert isinstance(starts[partition], NotLeaderError) is refused
            found = led(cluster, node)
            found.follow(replace(found.state, leader_id=NO_NODE), found._node_epochs)
            outcomes = await broker.compact("t", [], now=True, wait_ms=0)
            starts = await broker.trim("t", {own: 2})
            assert list(outcomes) == [own], "each copy is compacted for itself, led or not"
            assert not isinstance(outcomes[own], NotLeaderError)
            assert isinstance(starts[own], NotLeaderError), "it is here, and nobody leads it"

    run(scenario, nodes=3, config=SETTINGS)


def test_a_trim_goes_to_every_leader_and_not_beyond_the_high_watermark() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await fill(cluster, SMALL)
        admin = cluster.admin(node=2)
        assert await admin.delete_records("t", {0: 3, 1: -1, 2: 5}) == {0: 3, 1: RECORDS, 2: 5}
        assert [part.start_offset for part in await described(cluster, 3)] == [3, RECORDS, 5]
        with pytest.raises(InvalidRequestError, match="its high watermark is 12"):
            await admin.delete_records("t", {0: RECORDS + 1})

    run(scenario, nodes=3, config=SETTINGS)


def test_a_delete_that_a_replica_may_have_missed_is_not_forgotten() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config={**COMPACT, "delete.retention.ms": "1s"})
        async with cluster.producer() as producer:
            await producer.send_and_wait("t", b"there", key=b"k")
            await producer.send_and_wait("t", None, key=b"k")
        found = led(cluster, 1)
        state = found.state
        found.follow(replace(state, replicas=(NodeId(1), NodeId(2))), found._node_epochs)
        admin = cluster.admin()
        for _ in range(2):
            await admin.compact_topic("t", [], now=True, wait=True)
            await asyncio.sleep(5)
        assert await offsets(cluster) == [1]
        found.follow(state, found._node_epochs)
        await asyncio.sleep(5)
        assert await offsets(cluster) == []

    run(scenario, config=SETTINGS)


def test_only_the_leader_moves_the_start_of_a_log() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await fill(cluster, SMALL)
        found = led(cluster, 2)
        state = found.state
        found.follow(replace(state, leader_id=NO_NODE), found._node_epochs)
        await cluster.admin().alter_topic(
            "t",
            set_config={"retention.records": "2"},
            delete_config=(),
            partitions=0,
            validate_only=False,
        )
        # The change itself tells every node again who leads.
        found.follow(replace(state, leader_id=NO_NODE), found._node_epochs)
        await asyncio.sleep(5)
        starts = {node: led(cluster, node).view.start_offset for node in NODES}
        assert starts[2] == 0 and starts[1] > 0 and starts[3] > 0
        found.follow(state, found._node_epochs)
        await asyncio.sleep(5)
        assert led(cluster, 2).view.start_offset == starts[1]

    run(scenario, nodes=3, config=SETTINGS)
