"""Replicas that move between nodes under load: nothing is lost, and what moved away is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from logd_client.values import PartitionInfo
from logd_wire.errors import InvalidRequestError

from logd.model.ids import TopicPartitionId
from logd.testing import MemoryCluster, run
from tests.sim.watch import read_segments


def topic_bytes(topic_id: str) -> bytes:
    return bytes.fromhex(topic_id.replace("-", ""))


async def until(cluster: MemoryCluster, holds: Callable[[PartitionInfo], bool]) -> None:
    """Until it holds for every partition."""
    admin = cluster.admin()
    async with asyncio.timeout(60):
        while True:
            topics = await admin.describe_topics(())
            if all(holds(part) for topic in topics for part in topic.partitions):
                return
            await asyncio.sleep(0.1)


def at_rest(part: PartitionInfo) -> bool:
    return not part.target and {*part.isr} == {*part.replicas} and part.leader is not None


class Load:
    """A producer with one record after the other, until it is told to stop."""

    def __init__(self, cluster: MemoryCluster, partitions: int) -> None:
        self._cluster = cluster
        self._partitions = partitions
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self.sent: list[list[bytes]] = [[] for _ in range(partitions)]

    async def _run(self) -> None:
        async with self._cluster.producer() as producer:
            number = 0
            while not self._stop.is_set():
                partition = number % self._partitions
                value = b"%d" % number
                record = await producer.send_and_wait("t", value, partition=partition)
                assert record.offset == len(self.sent[partition])
                self.sent[partition].append(value)
                number += 1

    async def more(self, count: int) -> None:
        wanted = self.total + count
        async with asyncio.timeout(60):
            while self.total < wanted:
                assert not self._task.done(), self._task.result()
                await asyncio.sleep(0.05)

    @property
    def total(self) -> int:
        return sum(map(len, self.sent))

    async def end(self) -> None:
        self._stop.set()
        await self._task


async def check_everything(cluster: MemoryCluster, sent: list[list[bytes]]) -> None:
    """Every record at its offset, read from the leaders; replicas are identical."""
    found: list[list[bytes]] = [[] for _ in sent]
    async with cluster.consumer("t", auto_offset_reset="earliest") as consumer:
        for _ in range(sum(map(len, sent))):
            record = await consumer.getone()
            assert record is not None
            assert record.value is not None
            assert record.offset == len(found[record.partition])
            found[record.partition].append(record.value)
    assert found == sent


def copies(cluster: MemoryCluster, topic_id: bytes, partition: int) -> dict[int, bytes]:
    """The bytes of a partition by the nodes that have a log of it."""
    return {
        node_id: b"".join(read_segments(process.files, topic_id, partition))
        for node_id, process in cluster.processes.items()
        if process.files.exists(f"partitions/{topic_id.hex()}-{partition}")
    }


def test_replicas_move_under_load_and_what_they_leave_is_deleted() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.add(4, peers=[1, 2, 3])
        await cluster.add(5, peers=[1, 2, 3])
        topic = await cluster.create_topic("t", partitions=3, replication_factor=2)
        load = Load(cluster, 3)
        await load.more(60)
        admin = cluster.admin()
        before = {part.partition: part.replicas for part in topic.partitions}
        targets = {("t", number): (4, 5) for number in before}
        moved = await admin.reassign_partitions(targets)
        assert all(part.adding for part in moved.values())
        assert {*await admin.list_reassignments()} <= {*targets}
        await until(cluster, at_rest)
        assert await admin.list_reassignments() == {}
        await load.more(30)
        # And back, node by node.
        await admin.reassign_partitions({("t", number): before[number] for number in before})
        await until(cluster, at_rest)
        await load.more(30)
        await load.end()
        await until(cluster, at_rest)
        (described,) = await admin.describe_topics(["t"])
        assert {part.partition: part.replicas for part in described.partitions} == before
        await check_everything(cluster, load.sent)
        topic_id = topic_bytes(topic.id)
        await asyncio.sleep(1)
        for number, replicas in before.items():
            kept = copies(cluster, topic_id, number)
            assert {*kept} == {*replicas}
            assert len({*kept.values()}) == 1
        for process in cluster.processes.values():
            damaged = [found for found in process.node._partitions.all() if found.view.damage]
            assert damaged == [], "what was here before is not taken for lost"

    run(scenario, nodes=3, config={"default.replication.factor": "2"})


def test_a_move_is_called_off() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        topic = await cluster.create_topic("t", replication_factor=2)
        (before,) = topic.partitions
        (other,) = {1, 2, 3}.difference(before.replicas)
        load = Load(cluster, 1)
        await load.more(20)
        admin = cluster.admin()
        # It cannot come in sync: nobody reaches it.
        cluster.isolate(other)
        (begun,) = (await admin.reassign_partitions({("t", 0): (other,)})).values()
        assert begun.adding == (other,)
        assert not begun.isr or other not in begun.isr
        (back,) = (await admin.reassign_partitions({("t", 0): None})).values()
        assert (back.replicas, back.target) == (before.replicas, ())
        cluster.heal()
        await load.more(20)
        await load.end()
        await until(cluster, at_rest)
        await check_everything(cluster, load.sent)

    run(scenario, nodes=3)


def test_a_node_that_was_away_sets_aside_what_moved_on() -> None:
    """It was down when the last of the new replicas came in sync; later it gets the partition
    back, and begins with nothing."""

    async def scenario(cluster: MemoryCluster) -> None:
        topic = await cluster.create_topic("t", replication_factor=2)
        (part,) = topic.partitions
        stays, goes = part.replicas
        (comes,) = {1, 2, 3}.difference(part.replicas)
        load = Load(cluster, 1)
        await load.more(20)
        await cluster.stop(goes)
        admin = cluster.admin(node=stays)
        await admin.reassign_partitions({("t", 0): (stays, comes)})
        await until(cluster, at_rest)
        await load.more(20)
        await cluster.restart(goes)
        topic_id = topic_bytes(topic.id)
        assert {*copies(cluster, topic_id, 0)} == {stays, comes}
        await admin.reassign_partitions({("t", 0): (goes, stays)})
        await until(cluster, at_rest)
        key = TopicPartitionId(topic_id, 0)  # type: ignore[arg-type]
        found = cluster.processes[goes].node._partitions.get(key)
        assert found is not None
        assert found.view.damage == ()
        await load.end()
        await check_everything(cluster, load.sent)

    run(scenario, nodes=3, config={"topic_defaults.min.insync.replicas": "1"})


def test_how_far_it_is_can_be_asked() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        topic = await cluster.create_topic("t", replication_factor=2)
        (part,) = topic.partitions
        (other,) = {1, 2, 3}.difference(part.replicas)
        async with cluster.producer() as producer:
            for _ in range(100):
                await producer.send("t", b"x" * 1_000)
            await producer.flush()
        cluster.isolate(other)
        admin = cluster.admin(node=part.replicas[0])
        await admin.reassign_partitions({("t", 0): (part.replicas[0], other)})
        (moving,) = (await admin.list_reassignments()).values()
        (progress,) = moving.progress
        assert (progress.node_id, progress.end_offset, progress.records_left) == (other, -1, 100)
        assert 90_000 < progress.bytes_left < 150_000
        assert moving.factor == 2
        cluster.heal()
        await until(cluster, at_rest)

    run(scenario, nodes=3)


def test_the_first_refusal_is_raised_after_all_were_tried() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", partitions=2)
        admin = cluster.admin()
        with pytest.raises(InvalidRequestError, match="has no such node"):
            await admin.reassign_partitions({("t", 0): (1, 9), ("t", 1): (1, 2)})
        (topic,) = await admin.describe_topics(["t"])
        assert topic.partitions[1].replicas == (1, 2) or topic.partitions[1].target == (1, 2)

    run(scenario, nodes=3)
