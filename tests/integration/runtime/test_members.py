"""Clients and tools over clusters of real nodes on a virtual network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from logd_client._engine.admin import AdminEngine
from logd_client.values import MemberInfo, RaftEntryInfo
from logd_wire.errors import InvalidRequestError, LogdError

from logd.metadata import NodeRemoval, RemoveNode
from logd.model.ids import NodeId
from logd.storage import MemoryFiles
from logd.testing import MemoryCluster, run
from logd.testing.cluster import peers_of
from logd.testing.process import ProcessDiedError
from tests.integration.runtime.test_clusters import broker, create, formed, voters
from tests.support.loops import until


async def members(admin: AdminEngine) -> dict[int, MemberInfo]:
    return {member.id: member for member in (await admin.describe_cluster()).members}


def committed(cluster: MemoryCluster, node: int, end: int) -> Callable[[], bool]:
    return lambda: cluster.processes[node].node.broker.quorum.commit_index >= end


def fenced(cluster: MemoryCluster, node: int, seen_by: int) -> Callable[[], bool]:
    return lambda: cluster.processes[seen_by].node.broker.image.nodes[NodeId(node)].fenced


def test_every_node_describes_the_same_cluster() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await formed(cluster, 1, 2, 3)
        for node in (1, 2, 3):
            admin = cluster.admin(node=node)
            found = await admin.describe_cluster()
            assert (found.controller_id, found.node_id) == (leader, leader)
            assert found.metadata_index > 0
            assert [member.id for member in found.members] == [1, 2, 3]
            assert all(each.voter and not each.fenced for each in found.members)
            assert all(each.heard and each.lag is not None for each in found.members)
            assert len({each.directory_id for each in found.members}) == 3
            quorum = await admin.describe_quorum(node)
            assert quorum.node_id == node
            assert (quorum.role == "leader") is (node == leader)
            assert [voter.id for voter in quorum.voters] == [1, 2, 3]
            assert quorum.vote in (None, leader)
            assert bool(quorum.progress) is (node == leader)
            await admin.close()

    run(scenario, nodes=3)


def test_every_node_shows_the_same_log() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await formed(cluster, 1, 2, 3)
        await create(cluster, "orders", 2)
        admin = cluster.admin(node=1)
        end = (await admin.describe_quorum(leader)).commit_index
        logs = []
        for node in (1, 2, 3):
            await until(committed(cluster, node, end))
            entries: list[RaftEntryInfo] = []
            start = 0
            while start < end:
                page = await admin.read_raft_log(start, 3, node)
                assert page.first_index == 0
                entries += page.entries
                start = page.next_index
            entries = [entry for entry in entries if entry.index < end]
            assert all(entry.committed for entry in entries)
            logs.append([(entry.index, entry.term, entry.records) for entry in entries])
        assert logs[0] == logs[1] == logs[2]
        kinds = [record.type for _, _, records in logs[0] for record in records]
        assert kinds.count("voters-changed") >= 2
        assert "topic-created" in kinds and "unreadable" not in kinds
        await admin.close()

    run(scenario, nodes=3)


def test_a_fourth_node_is_added_and_removed() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        admin = cluster.admin(node=2)
        with pytest.raises(InvalidRequestError, match="node 4 is not registered"):
            await admin.add_node(4)
        await cluster.add(4, peers=[1, 2, 3])
        four = (await members(admin))[4]
        assert not four.voter
        assert await admin.add_node(4) == [1, 2, 3, 4]
        assert await admin.add_node(4) == [1, 2, 3, 4]
        assert await admin.remove_node(4, bytes.fromhex(four.directory_id)) == [1, 2, 3]
        assert await admin.remove_node(4, bytes.fromhex(four.directory_id)) == [1, 2, 3]
        assert sorted(await members(admin)) == [1, 2, 3]
        await admin.close()

    run(scenario, nodes=3)


def test_a_node_comes_in_that_was_not_told_where_the_controller_is() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await formed(cluster, 1, 2, 3)
        told = next(node for node in (1, 2, 3) if node != leader)
        await cluster.add(4, peers=[told])
        assert sorted(await members(cluster.admin(node=4))) == [1, 2, 3, 4]

    run(scenario, nodes=3, limit_s=60)


def test_voters_that_no_configuration_names_find_each_other_again() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        await cluster.add(4, peers=[1])
        admin = cluster.admin(node=4)
        await admin.add_node(4)
        known = await members(admin)
        for node in (2, 3):
            await admin.remove_node(node, bytes.fromhex(known[node].directory_id))
            await cluster.crash(node, power_loss=False)
        for node in (1, 4):
            await cluster.crash(node)
        # Node 1 is told of 2 and 3 alone: only its log says where node 4 is.
        await asyncio.gather(cluster.restart(1), cluster.restart(4))
        assert sorted(await members(admin)) == [1, 4]

    run(scenario, nodes=3, limit_s=60)


def test_a_vote_that_was_taken_away_stays_away_under_another_controller() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await formed(cluster, 1, 2, 3)
        other, gone = (node for node in (1, 2, 3) if node != leader)
        # The first step alone: the node itself stays for now, and every configuration names it.
        step = await broker(cluster, leader).submit(RemoveNode(NodeId(gone)))
        assert step == NodeRemoval(NodeId(gone), done=False)
        await cluster.stop(leader)
        await until(lambda: cluster.leader() == other)
        await asyncio.gather(cluster.restart(leader), cluster.restart(gone))
        await until(lambda: len(broker(cluster, other).image.nodes_in_service) == 3)
        await cluster.clock.sleep_ms(5_000)
        assert voters(cluster, other) == sorted({leader, other})
        assert await cluster.admin(node=other).add_node(gone) == [1, 2, 3]

    run(scenario, nodes=3)


@pytest.mark.parametrize("leads", [True, False], ids=["controller", "other"])
@pytest.mark.parametrize("after_ms", range(0, 24, 2))
def test_topics_come_and_go_while_the_controller_is_killed(after_ms: int, leads: bool) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        for turn in range(2):
            leader = await formed(cluster, 1, 2, 3)
            asked = leader if leads else min({1, 2, 3} - {leader})
            admin = cluster.admin(node=asked)
            await admin.cluster.refresh(())
            work = (
                admin.create_topic(
                    "orders",
                    partitions=2,
                    replication_factor=-1,
                    config={},
                    exist_ok=False,
                    validate_only=False,
                )
                if turn == 0
                else admin.delete_topic("orders")
            )
            task = asyncio.ensure_future(work)
            await cluster.clock.sleep_ms(after_ms)
            await cluster.crash(leader)
            await task
            await cluster.restart(leader)
        await until(lambda: not broker(cluster, 1).image.topics)

    run(scenario, nodes=3, seed=after_ms)


def test_a_node_comes_back_whose_configured_peers_have_all_left() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        admin = cluster.admin(node=3)
        for node in (4, 5):
            await cluster.add(node, peers=[1, 2, 3])
            await admin.add_node(node)
        known = await members(admin)
        for node in (1, 2):
            await admin.remove_node(node, bytes.fromhex(known[node].directory_id))
            await cluster.crash(node, power_loss=False)
        await cluster.stop(3)
        # Under another address, at which no leader looks for it.
        where = "memory-3:8172"
        moved = {"listeners.peer": where, "cluster.peers": f"{peers_of(1, 2)},3@{where}"}
        await cluster.add(3, peers=[1, 2], config=moved, files=cluster.processes[3].files)
        assert sorted(await members(cluster.admin(node=3))) == [3, 4, 5]

    run(scenario, nodes=3, limit_s=60)


def test_the_controller_itself_is_removed() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await formed(cluster, 1, 2, 3)
        other = next(node for node in (1, 2, 3) if node != leader)
        admin = cluster.admin(node=other)
        directory = bytes.fromhex((await members(admin))[leader].directory_id)
        assert await admin.remove_node(leader, directory) == [
            node for node in (1, 2, 3) if node != leader
        ]
        assert leader not in await members(admin)
        await admin.close()

    run(scenario, nodes=3)


def test_a_lost_directory_is_replaced_through_the_admin_client() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        await cluster.crash(3)
        admin = cluster.admin(node=1)
        before = (await members(admin))[3]
        directory = bytes.fromhex(before.directory_id)
        if not before.fenced:
            with pytest.raises(LogdError, match="in service"):
                await admin.replace_node(3, directory, accept_data_loss=False)
        await until(fenced(cluster, 3, seen_by=1))
        cluster.processes[3].files = MemoryFiles()
        with pytest.raises(ProcessDiedError, match="node 3 is registered with data directory"):
            await cluster.restart(3)
        assert await admin.replace_node(3, directory, accept_data_loss=False) == [1, 2]
        await cluster.restart(3)
        await formed(cluster, 1, 2, 3)
        assert (await members(admin))[3].directory_id != before.directory_id
        await admin.close()

    run(scenario, nodes=3)


@pytest.mark.parametrize("seed", range(3))
def test_clients_survive_the_loss_of_the_node_they_began_with(seed: int) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        topic = await create(cluster, "orders", 1, partitions=3)
        leaders = {part.partition: part.leader for part in topic.partitions}
        assert sorted(filter(None, leaders.values())) == [1, 2, 3]
        async with cluster.producer(node=1) as producer:
            for partition in range(3):
                await producer.send_and_wait("orders", b"before", partition=partition)
            await cluster.crash(1, power_loss=False)
            for partition, leader in leaders.items():
                if leader != 1:
                    await producer.send_and_wait("orders", b"after", partition=partition)
            mine = next(partition for partition, leader in leaders.items() if leader == 1)
            waiting = await producer.send("orders", b"back", partition=mine)
            admin = cluster.admin(node=2)
            await admin.create_topic(
                "another",
                partitions=1,
                replication_factor=1,
                config={},
                exist_ok=False,
                validate_only=False,
            )
            (described,) = await admin.describe_topics(["orders"])
            ends = {part.partition: part.end_offset for part in described.partitions}
            assert {end for number, end in ends.items() if number != mine} == {2}
            assert ends[mine] == -1
            await cluster.restart(1)
            await waiting
            (described,) = await admin.describe_topics(["orders"])
            assert [part.end_offset for part in described.partitions] == [2, 2, 2]
            await admin.close()

    run(scenario, nodes=3, seed=seed)


def test_a_node_that_is_cut_off_does_not_mislead_a_client() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await formed(cluster, 1, 2, 3)
        admin = cluster.admin(node=leader)
        await admin.cluster.refresh(())
        known = admin.cluster.metadata
        assert known.controller_id == leader
        cluster.isolate(leader)
        await until(lambda: cluster.leader() not in (None, leader))
        other = cluster.leader()
        assert other is not None
        await create(cluster, "meanwhile", other)
        await until(fenced(cluster, leader, seen_by=other))
        for _ in range(6):
            await admin.cluster.refresh(["meanwhile"])
        state = known.topic("meanwhile")
        assert state is not None and state.error is None
        assert known.controller_id == other
        assert known.nodes[leader].fenced
        cluster.heal()
        await admin.close()

    run(scenario, nodes=3)
