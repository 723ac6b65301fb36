"""R-04, the last replica standing: whose log is damaged never has others cut off what they have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from logd_client.values import PartitionInfo

from logd.model.ids import TopicPartitionId
from logd.storage import remove_tree
from logd.testing import MemoryCluster, run


async def partition_when(
    cluster: MemoryCluster, node: int, holds: Callable[[PartitionInfo], bool]
) -> PartitionInfo:
    """Partition 0 of t, once it is so."""
    admin = cluster.admin(node=node)
    async with asyncio.timeout(60):
        while True:
            (topic,) = await admin.describe_topics(["t"])
            if holds(topic.partitions[0]):
                return topic.partitions[0]
            await asyncio.sleep(0.1)


def lose_folder(cluster: MemoryCluster, node: int, topic_id: bytes) -> None:
    files = cluster.processes[node].files
    hook, files.before = files.before, None
    remove_tree(files, f"partitions/{topic_id.hex()}-0")
    files.before = hook


def own_end(cluster: MemoryCluster, node: int, topic_id: bytes) -> int:
    key = TopicPartitionId(topic_id, 0)  # type: ignore[arg-type]
    found = cluster.processes[node].node._partitions.get(key)
    assert found is not None
    return found.view.written_end_offset


async def write(cluster: MemoryCluster, node: int, count: int) -> None:
    async with cluster.producer(node=node) as producer:
        for number in range(count):
            await producer.send_and_wait("t", b"%d" % number)


def test_the_last_one_in_sync_does_not_lead_with_a_damaged_log() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        topic = await cluster.create_topic(
            "t", replication_factor=3, config={"min.insync.replicas": "1"}
        )
        topic_id = bytes.fromhex(topic.id.replace("-", ""))
        last, *others = topic.partitions[0].replicas
        (watcher, _) = {1, 2, 3, 4, 5}.difference(topic.partitions[0].replicas)
        await write(cluster, watcher, 20)
        for node in others:
            await cluster.stop(node)
        await partition_when(cluster, watcher, lambda part: part.isr == (last,))
        await write(cluster, watcher, 20)
        await cluster.crash(last)
        lose_folder(cluster, last, topic_id)
        for node in others:
            await cluster.restart(node)
        await cluster.restart(last)
        part = await partition_when(cluster, watcher, lambda part: part.damaged == (last,))
        assert (part.leader, part.isr, part.eligible) == (None, (), ())
        await asyncio.sleep(5)
        part = await partition_when(cluster, watcher, lambda part: True)
        assert part.leader is None
        assert [own_end(cluster, node, topic_id) for node in others] == [20, 20], "nothing is cut"

    run(scenario, nodes=5)


def test_a_leader_whose_report_comes_too_late_leads_on() -> None:
    """It gave way to a replica that has left the in-sync set meanwhile: nobody else can lead. What
    is intact is served, and it gives way once the other one is back."""

    async def scenario(cluster: MemoryCluster) -> None:
        topic = await cluster.create_topic(
            "t",
            replication_factor=2,
            config={"min.insync.replicas": "1", "segment.bytes": "1048576"},
        )
        topic_id = bytes.fromhex(topic.id.replace("-", ""))
        key = TopicPartitionId(topic_id, 0)  # type: ignore[arg-type]
        leader, other = topic.partitions[0].replicas
        watcher = next(node for node in (1, 2, 3) if node not in (leader, other))
        await write(cluster, watcher, 10)
        await cluster.stop(other)
        before = await partition_when(cluster, watcher, lambda part: part.isr == (leader,))
        await write(cluster, watcher, 10)
        node = cluster.processes[leader].node
        led = node._partitions.get(key)
        assert led is not None
        await node._damage(led, leads_on=True)
        part = await partition_when(cluster, watcher, lambda part: part.isr == (leader,))
        assert (part.leader, part.leader_epoch) == (leader, before.leader_epoch)
        await write(cluster, watcher, 10)
        await cluster.restart(other)
        await partition_when(cluster, watcher, lambda part: len(part.isr) == 2)
        await node._damage(led, leads_on=True)
        part = await partition_when(cluster, watcher, lambda part: part.leader == other)
        part = await partition_when(cluster, watcher, lambda part: len(part.isr) == 2)
        assert own_end(cluster, leader, topic_id) == own_end(cluster, other, topic_id) == 30

    run(scenario, nodes=3)


def test_an_eligible_log_that_is_damaged_waits_for_one_that_is_not() -> None:
    """Both were in sync when all went down; the damaged one is back first, and does not lead."""

    async def scenario(cluster: MemoryCluster) -> None:
        topic = await cluster.create_topic(
            "t", replication_factor=2, config={"min.insync.replicas": "2"}
        )
        topic_id = bytes.fromhex(topic.id.replace("-", ""))
        first, second = topic.partitions[0].replicas
        (watcher, *_) = {1, 2, 3, 4, 5}.difference(topic.partitions[0].replicas)
        await write(cluster, watcher, 30)
        await cluster.crash(second)
        await partition_when(cluster, watcher, lambda part: part.isr == (first,))
        await cluster.crash(first)
        await partition_when(cluster, watcher, lambda part: {*part.eligible} == {first, second})
        lose_folder(cluster, first, topic_id)
        await cluster.restart(first)
        part = await partition_when(cluster, watcher, lambda part: part.damaged == (first,))
        assert (part.leader, part.eligible) == (None, (second,))
        await cluster.restart(second)
        part = await partition_when(cluster, watcher, lambda part: len(part.isr) == 2)
        assert (part.leader, part.damaged) == (second, ())
        assert own_end(cluster, first, topic_id) == own_end(cluster, second, topic_id) == 30

    run(scenario, nodes=5)
