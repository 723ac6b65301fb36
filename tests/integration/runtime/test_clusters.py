"""Clusters of real nodes on a virtual network: forming, losing, growing, replacing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from logd_client.values import TopicInfo
from logd_wire.errors import InvalidRequestError, LogdError

from logd.consensus import Role
from logd.metadata import AddVoter, NodeRemoval, RemoveNode, ReplaceNode
from logd.model.ids import NodeId
from logd.runtime.broker import Broker
from logd.testing import MemoryCluster, run
from logd.testing.clients import MemoryConsumer
from logd.testing.cluster import peers_of
from logd.testing.process import ProcessDiedError
from tests.support.loops import until


def broker(cluster: MemoryCluster, node: int) -> Broker:
    return cluster.processes[node].node.broker


def voters(cluster: MemoryCluster, node: int) -> list[int]:
    return [voter.node_id for voter in broker(cluster, node).quorum.voters]


def led_by_another(cluster: MemoryCluster, old: int) -> Callable[[], bool]:
    return lambda: cluster.leader() not in (None, old)


async def formed(cluster: MemoryCluster, *nodes: int) -> int:
    """Wait until all of `nodes` vote; returns the leader."""
    await until(lambda: all(voters(cluster, node) == list(nodes) for node in nodes))
    await until(lambda: cluster.leader() is not None)
    leader = cluster.leader()
    assert leader is not None
    return leader


async def create(cluster: MemoryCluster, name: str, node: int, partitions: int = 1) -> TopicInfo:
    return await cluster.create_topic(name, node=node, partitions=partitions, replication_factor=1)


async def values(consumer: MemoryConsumer, count: int) -> list[bytes]:
    records = [await consumer.getone() for _ in range(count)]
    return sorted(record.value or b"" for record in records if record is not None)


def same_image(cluster: MemoryCluster, *nodes: int) -> Callable[[], bool]:
    def check() -> bool:
        first, *others = (broker(cluster, node).image for node in nodes)
        return all(other == first for other in others)

    return check


def test_three_nodes_form_one_cluster() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        assert asyncio.get_running_loop().time() < 2, "nobody waits for a timeout"
        await formed(cluster, 1, 2, 3)
        identities = {broker(cluster, node).identity.cluster_id for node in (1, 2, 3)}
        assert len(identities) == 1
        assert broker(cluster, 1).quorum.term == 1, "there was one election"
        assert same_image(cluster, 1, 2, 3)()
        assert not any(node.fenced for node in broker(cluster, 2).image.nodes.values())

    run(scenario, nodes=3)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_starts_does_not_matter(seed: int) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        assert same_image(cluster, 1, 2, 3)()

    run(scenario, nodes=3, seed=seed)


def test_topics_are_created_through_any_node() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        for node in (1, 2, 3):
            await create(cluster, f"topic-{node}", node, partitions=3)
            assert f"topic-{node}" in broker(cluster, node).image.topic_ids, "seen where asked"
        await until(same_image(cluster, 1, 2, 3))
        topic = broker(cluster, 2).image.topic_named("topic-1")
        assert sorted(state.leader_id for state in topic.partitions) == [1, 2, 3]
        for node in (1, 2, 3):
            async with cluster.producer(node=node) as producer:
                for partition in range(3):
                    await producer.send_and_wait("topic-1", b"%d" % node, partition=partition)
        async with cluster.consumer("topic-1", node=3, auto_offset_reset="earliest") as consumer:
            assert await values(consumer, 9) == [b"1"] * 3 + [b"2"] * 3 + [b"3"] * 3

    run(scenario, nodes=3)


@pytest.mark.parametrize("power_loss", [False, True])
def test_the_leader_is_killed_and_another_one_decides(power_loss: bool) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await formed(cluster, 1, 2, 3)
        await create(cluster, "before", 2)
        await cluster.crash(leader, power_loss=power_loss)
        loop = asyncio.get_running_loop()
        began = loop.time()
        other = next(node for node in (1, 2, 3) if node != leader)
        await create(cluster, "after", other)
        assert loop.time() - began < 5, "an election and a command"
        assert led_by_another(cluster, leader)()
        await until(lambda: broker(cluster, other).image.nodes[NodeId(leader)].fenced)
        await cluster.restart(leader)
        assert {"before", "after"} <= set(broker(cluster, leader).image.topic_ids)
        await until(same_image(cluster, 1, 2, 3))

    run(scenario, nodes=3)


def test_all_nodes_are_restarted() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        await create(cluster, "orders", 1, partitions=3)
        async with cluster.producer() as producer:
            for partition in range(3):
                await producer.send_and_wait("orders", b"kept", partition=partition)
        for node in (1, 2, 3):
            await cluster.crash(node)
        await asyncio.gather(*(cluster.restart(node) for node in (1, 2, 3)))
        await formed(cluster, 1, 2, 3)
        async with cluster.consumer("orders", auto_offset_reset="earliest") as consumer:
            assert await values(consumer, 3) == [b"kept"] * 3
        async with cluster.producer() as producer:
            for partition in range(3):
                assert (
                    await producer.send_and_wait("orders", b"more", partition=partition)
                ).offset == 1

    run(scenario, nodes=3)


def test_a_leader_that_stops_hands_over() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await formed(cluster, 1, 2, 3)
        other = next(node for node in (1, 2, 3) if node != leader)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await cluster.stop(leader)
        assert led_by_another(cluster, leader)(), "before the old leader was gone"
        assert loop.time() - began < 1
        await create(cluster, "orders", other)
        await cluster.restart(leader)
        await formed(cluster, 1, 2, 3)

    run(scenario, nodes=3)


@pytest.mark.parametrize("leads", [True, False])
def test_a_node_that_stops_is_fenced_at_once(leads: bool) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await formed(cluster, 1, 2, 3)
        stopping = leader if leads else min({1, 2, 3} - {leader})
        others = [node for node in (1, 2, 3) if node != stopping]
        await create(cluster, "spread", others[0], partitions=3)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await cluster.stop(stopping)
        await until(
            lambda: all(broker(cluster, n).image.nodes[NodeId(stopping)].fenced for n in others)
        )
        # No heartbeat came late, and no session had to end: it was told, and told the others.
        assert loop.time() - began < 0.1
        for node in others:
            image = broker(cluster, node).image
            led = [state.leader_id for state in image.topic_named("spread").partitions]
            assert stopping not in led
        await cluster.restart(stopping)
        await until(lambda: broker(cluster, others[0]).image.nodes_in_service == {1, 2, 3})

    run(scenario, nodes=3)


def test_an_isolated_leader_decides_nothing_and_gives_way() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await formed(cluster, 1, 2, 3)
        await create(cluster, "orders", leader, partitions=3)
        cluster.isolate(leader)
        doomed = asyncio.ensure_future(create(cluster, "islands", leader))
        await until(led_by_another(cluster, leader))
        other = cluster.leader()
        assert other is not None
        await create(cluster, "mainland", other)
        await until(lambda: broker(cluster, leader).quorum.role is not Role.LEADER)
        # Its session is over: it serves nothing, without having been told.
        await until(lambda: not broker(cluster, leader).serving)
        topic_id = broker(cluster, leader).image.topic_named("orders").topic_id
        with pytest.raises(LogdError, match="out of service"):
            await broker(cluster, leader).produce(topic_id, 0, b"", leader_epoch=-1, acks=-1)
        cluster.heal()
        await doomed
        await until(same_image(cluster, 1, 2, 3))
        assert {"islands", "mainland"} <= set(broker(cluster, leader).image.topic_ids)
        await until(lambda: not broker(cluster, 1).image.nodes[NodeId(leader)].fenced)

    run(scenario, nodes=3)


def test_from_one_node_to_three_and_back_while_a_producer_writes() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await create(cluster, "orders", 1)
        stop = asyncio.Event()
        sent: list[int] = []

        async def write() -> None:
            async with cluster.producer() as producer:
                while not stop.is_set():
                    record = await producer.send_and_wait("orders", b"%d" % len(sent))
                    sent.append(record.offset)
                    await asyncio.sleep(0.005)

        writing = asyncio.ensure_future(write())
        for node in (2, 3):
            await cluster.add(node, peers=[1, 2, 3])
            await broker(cluster, 1).submit(AddVoter(NodeId(node)))
        await formed(cluster, 1, 2, 3)
        count = len(sent)
        await until(lambda: len(sent) > count + 20)
        for node in (3, 2):
            await remove(cluster, node)
            await cluster.stop(node)
        assert voters(cluster, 1) == [1]
        count = len(sent)
        await until(lambda: len(sent) > count + 20)
        stop.set()
        await writing
        assert sent == list(range(len(sent))), "every record once, in order"

    run(scenario, config={"listeners.peer": "memory-1:7172"})


async def remove(cluster: MemoryCluster, node: int) -> None:
    """As a tool does it: the same command until it is done."""
    directory = broker(cluster, 1).image.nodes[NodeId(node)].directory_id
    while True:
        try:
            done = await broker(cluster, 1).submit(RemoveNode(NodeId(node), directory))
        except InvalidRequestError as error:
            if not error.retriable:
                raise
            await asyncio.sleep(0.1)
            continue
        assert isinstance(done, NodeRemoval)
        if done.done:
            return


def why(error: BaseException) -> str:
    """All that an error says, with what it came from."""
    text = str(error)
    return text if error.__cause__ is None else f"{text} <- {why(error.__cause__)}"


@pytest.mark.parametrize("lost", [1, 3])
def test_a_node_whose_disk_was_emptied_is_refused_until_it_is_replaced(lost: int) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        await create(cluster, "orders", 2)
        before = broker(cluster, 2).image.nodes[NodeId(lost)]
        await cluster.crash(lost)
        await until(lambda: broker(cluster, 2).image.nodes[NodeId(lost)].fenced)
        with pytest.raises(ProcessDiedError) as caught:
            await cluster.add(lost, peers=[1, 2, 3])
        assert "registered with data directory" in why(caught.value)
        assert f"node replace {lost}" in why(caught.value)
        done = None
        while not (isinstance(done, NodeRemoval) and done.done):
            command = ReplaceNode(NodeId(lost), before.directory_id, accept_data_loss=True)
            done = await broker(cluster, 2).submit(command)
        await cluster.add(lost, peers=[1, 2, 3])
        await formed(cluster, 1, 2, 3)
        after = broker(cluster, lost).image.nodes[NodeId(lost)]
        assert after.directory_id != before.directory_id
        assert "orders" in broker(cluster, lost).image.topic_ids
        await until(same_image(cluster, 1, 2, 3))

    run(scenario, nodes=3)


def test_a_node_that_is_to_join_another_cluster_is_refused() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        with pytest.raises(ProcessDiedError) as caught:
            await cluster.add(4, peers=[1, 2, 3], config={"cluster.id": "ab" * 16})
        assert "configured is abababab" in why(caught.value)

    run(scenario, nodes=3)


def test_a_node_of_another_cluster_is_refused() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        await cluster.add(4, peers=[], config={"cluster.peers": ""})
        files = cluster.processes[4].files
        await cluster.stop(4)
        with pytest.raises(ProcessDiedError) as caught:
            await cluster.add(4, peers=[1, 2, 3], files=files)
        assert "belongs to cluster" in why(caught.value)

    run(scenario, nodes=3)


def test_two_nodes_with_one_id_are_refused() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        with pytest.raises(ProcessDiedError) as caught:
            await cluster.add(
                2, peers=[1, 2, 3], config={"listeners.peer": "elsewhere:1", **elsewhere(2)}
            )
        assert "registered with data directory" in why(caught.value)

    run(scenario, nodes=3)


def elsewhere(node: int) -> dict[str, str]:
    peers = peers_of(1, 2, 3).replace(f"{node}@memory-{node}:7172", f"{node}@elsewhere:1")
    return {"listeners.grpc": "elsewhere:2", "cluster.peers": peers}


def test_a_node_that_was_away_gets_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logd.runtime.snapshot_taker.SNAPSHOT_ENTRIES", 20)

    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        await cluster.stop(3)
        for number in range(60):
            await create(cluster, f"topic-{number}", 1)
        assert broker(cluster, 1).quorum.snapshot_point.index > 40
        await cluster.restart(3)
        assert broker(cluster, 3).quorum.snapshot_point.index > 40
        await until(same_image(cluster, 1, 2, 3))
        for node in (1, 2, 3):
            await cluster.crash(node)
        await asyncio.gather(*(cluster.restart(node) for node in (1, 2, 3)))
        await until(same_image(cluster, 1, 2, 3))
        assert len(broker(cluster, 3).image.topics) == 60

    run(scenario, nodes=3)


def test_a_full_disk_of_one_node_stops_none() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await formed(cluster, 1, 2, 3)
        await create(cluster, "orders", leader, partitions=3)
        files = cluster.processes[leader].files
        if files.exists("raft/reserve"):
            files.unlink("raft/reserve")
        files.capacity -= files.free_bytes()
        other = next(node for node in (1, 2, 3) if node != leader)
        await create(cluster, "meanwhile", other)
        assert led_by_another(cluster, leader)()
        assert cluster.processes[leader].up
        files.capacity = 1 << 40
        await until(same_image(cluster, 1, 2, 3))

    run(scenario, nodes=3)


@pytest.mark.parametrize("free_bytes", [0, 100, 2_000, 20_000])
@pytest.mark.parametrize("leads", [True, False])
def test_a_node_stops_in_good_order_on_a_full_disk(leads: bool, free_bytes: int) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await formed(cluster, 1, 2, 3)
        stopping = leader if leads else min({1, 2, 3} - {leader})
        other = next(node for node in (1, 2, 3) if node not in (leader, stopping))
        await create(cluster, "orders", stopping, partitions=3)
        files = cluster.processes[stopping].files
        if files.exists("raft/reserve"):
            files.unlink("raft/reserve")
        files.capacity -= files.free_bytes() - free_bytes
        await cluster.stop(stopping)
        await create(cluster, "meanwhile", other)
        files.capacity = 1 << 40
        await cluster.restart(stopping)
        await until(same_image(cluster, 1, 2, 3))

    run(scenario, nodes=3)


@pytest.mark.parametrize("free_bytes", [0, 10, 100, 1_000, 2_000, 5_000, 10_000])
def test_a_single_node_stops_in_good_order_on_a_full_disk(free_bytes: int) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("orders")
        producer = cluster.producer()
        await producer.send_and_wait("orders", b"kept")
        files = cluster.files
        files.capacity -= files.free_bytes() - free_bytes
        await cluster.stop()
        files.capacity = 1 << 40
        await cluster.restart()
        consumer = cluster.consumer("orders", auto_offset_reset="earliest")
        assert await values(consumer, 1) == [b"kept"]

    run(scenario)
