"""Nodes that coordinate consumer groups: the log behind them, failovers, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from logd_client._transport import methods
from logd_proto.v1 import group_pb2 as pb
from logd_wire.errors import (
    CoordinatorLoadingError,
    ErrorCode,
    GroupNotEmptyError,
    GroupNotFoundError,
    InvalidRequestError,
    LogdError,
    NotCoordinatorError,
)

from logd.model.names import GROUP_TOPIC
from logd.testing import MemoryCluster, run
from tests.support.group_calls import GroupCaller, Member, settled


async def orders(cluster: MemoryCluster, *, records: int = 10, partitions: int = 4) -> bytes:
    """A topic with so many records in partition 0; returns its id."""
    topic = await cluster.create_topic("orders", partitions=partitions)
    async with cluster.producer() as producer:
        for number in range(records):
            await producer.send_and_wait("orders", b"%d" % number, partition=0)
    return UUID(topic.id).bytes


def test_a_group_and_its_offsets_outlive_a_power_loss() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        topic_id = await orders(cluster)
        caller = GroupCaller(cluster)
        member = Member(caller, 1, "orders")
        await settled(member)
        assert member.held == {("orders", number) for number in range(4)}
        who: dict[str, Any] = {"member_id": member.id, "member_epoch": member.epoch}
        assert not (await caller.commit(topic_id, 7, **who)).HasField("error")
        await cluster.crash()
        await cluster.restart()
        assert await caller.offsets() == {("orders", 0): 7}
        answer = await member.beat()
        assert answer.member_epoch == member.epoch and not answer.HasField("assignment")
        assert not (await caller.commit(topic_id, 8, **who)).HasField("error")

    run(scenario)


def test_a_member_that_is_silent_loses_everything_within_its_session() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await orders(cluster)
        caller = GroupCaller(cluster)
        dead, alive = Member(caller, 1, "orders"), Member(caller, 2, "orders")
        await settled(dead, alive)
        began = asyncio.get_running_loop().time()
        while len(alive.held) < 4:
            await alive.beat(max_wait_ms=2_000)
        took = asyncio.get_running_loop().time() - began
        assert 5.9 < took < 7.0
        with pytest.raises(LogdError) as caught:
            await dead.beat()
        assert caught.value.code is ErrorCode.UNKNOWN_MEMBER

    run(scenario)


def test_a_planned_leave_hands_over_at_once() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await orders(cluster)
        caller = GroupCaller(cluster)
        goes, stays = Member(caller, 1, "orders"), Member(caller, 2, "orders")
        goes.session_timeout_ms = stays.session_timeout_ms = 45_000
        await settled(goes, stays)
        kept = asyncio.ensure_future(stays.beat(max_wait_ms=5_000))
        await asyncio.sleep(1)
        assert not kept.done()
        began = asyncio.get_running_loop().time()
        await goes.leave()
        answer = await kept
        assert answer.heartbeat_interval_ms == 0 and not answer.HasField("assignment")
        await stays.beat()
        assert len(stays.held) == 4
        assert asyncio.get_running_loop().time() - began < 0.5

    run(scenario)


def test_a_kept_answer_comes_when_the_heartbeat_is_due_or_a_newer_one_comes() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await orders(cluster)
        member = Member(GroupCaller(cluster), 1, "orders")
        await settled(member)
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await member.beat(max_wait_ms=60_000)
        assert answer.heartbeat_interval_ms == 0
        assert 0.9 < loop.time() - began < 1.2, "a sixth of its session"
        kept = asyncio.ensure_future(member.beat(max_wait_ms=60_000))
        await asyncio.sleep(0.1)
        began = loop.time()
        assert (await member.beat()).heartbeat_interval_ms == 1_000
        assert (await kept).heartbeat_interval_ms == 0
        assert loop.time() - began < 0.1

    run(scenario)


def test_kept_answers_do_not_keep_a_node_from_stopping() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await orders(cluster)
        member = Member(GroupCaller(cluster), 1, "orders")
        member.session_timeout_ms = 45_000
        await settled(member)
        kept = asyncio.ensure_future(member.beat(max_wait_ms=60_000))
        await asyncio.sleep(0.1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await cluster.stop()
        assert loop.time() - began < 1
        await cluster.restart()
        await kept

    run(scenario)


# --- several nodes -------------------------------------------------------------------------------


@pytest.mark.parametrize("power_loss", [False, True])
def test_another_node_takes_over_with_everything_that_was_committed(power_loss: bool) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        topic_id = await orders(cluster)
        caller = GroupCaller(cluster)
        one, two = Member(caller, 1, "orders"), Member(caller, 2, "orders")
        await settled(one, two)
        held = (set(one.held), set(two.held))
        owner = one if ("orders", 0) in one.held else two
        who: dict[str, Any] = {"member_id": owner.id, "member_epoch": owner.epoch}
        for offset in range(1, 10):
            assert not (await caller.commit(topic_id, offset, **who)).HasField("error")
        before = await caller.coordinator()
        await cluster.crash(before, power_loss=power_loss)
        answers = [await member.beat() for member in (one, two)]
        assert not any(answer.HasField("assignment") for answer in answers)
        assert (one.held, two.held) == held
        assert await caller.coordinator() != before
        assert await caller.offsets() == {("orders", 0): 9}
        described = await caller.describe()
        assert described.state == "stable" and len(described.members) == 2

    run(scenario, nodes=3)


def test_a_coordinator_that_is_cut_off_answers_nothing_that_another_one_may_contradict() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        topic_id = await orders(cluster)
        caller = GroupCaller(cluster)
        member = Member(caller, 1, "orders")
        await settled(member)
        before = await caller.coordinator()
        await caller.commit(topic_id, 3, member_id=member.id, member_epoch=member.epoch)
        cluster.isolate(before)
        request = pb.CommitOffsetsRequest(
            group_id="mailers",
            member_id=member.id,
            member_epoch=member.epoch,
            offsets=[pb.OffsetCommit(topic_id=topic_id, offset=4, leader_epoch=-1)],
        )
        with pytest.raises(LogdError) as caught:
            await caller.at(before, methods.COMMIT_OFFSETS, request)
        assert caught.value.retriable and caught.value.hint
        await asyncio.sleep(5)
        fetch = pb.FetchOffsetsRequest(group_id="mailers", member_epoch=-1)
        with pytest.raises(LogdError) as caught:
            await caller.at(before, methods.FETCH_OFFSETS, fetch)
        assert isinstance(caught.value, CoordinatorLoadingError | NotCoordinatorError)
        others = [node for node in cluster.processes if node != before]
        find = pb.FindCoordinatorRequest(group_id="mailers")
        now = await caller.at(others[0], methods.FIND_COORDINATOR, find)
        after = now.coordinator.leader_id
        assert after in others
        found = await caller.at(after, methods.FETCH_OFFSETS, fetch)
        assert [each.offset for each in found.offsets] == [3]
        cluster.heal()
        await asyncio.sleep(5)
        with pytest.raises(NotCoordinatorError) as moved:
            await caller.at(before, methods.FETCH_OFFSETS, fetch)
        assert moved.value.leader_id == after
        assert moved.value.leader_address == cluster.processes[after].address

    run(scenario, nodes=3)


def test_groups_wait_until_so_many_nodes_are_there_as_keep_them() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.crash(3)
        await asyncio.sleep(5)
        caller = GroupCaller(cluster)
        find = pb.FindCoordinatorRequest(group_id="mailers")
        with pytest.raises(CoordinatorLoadingError, match="3 nodes, and 2 are in service") as why:
            await caller.at(1, methods.FIND_COORDINATOR, find)
        assert why.value.retriable and "start the others" in why.value.hint
        await cluster.restart(3)
        await caller.coordinator()
        (info,) = await cluster.admin().describe_topics([GROUP_TOPIC])
        assert info.internal and len(info.partitions) == 16
        assert all(len(each.replicas) == 3 for each in info.partitions)
        await cluster.crash(3)
        await caller.coordinator()

    run(scenario, nodes=3)


def test_who_asks_the_wrong_node_is_told_the_right_one() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        caller = GroupCaller(cluster)
        coordinator = await caller.coordinator()
        await caller.ask(methods.LIST_GROUPS, pb.ListGroupsRequest())
        for node in cluster.processes:
            if node == coordinator:
                continue
            with pytest.raises(NotCoordinatorError) as caught:
                await caller.at(
                    node, methods.DESCRIBE_GROUP, pb.DescribeGroupRequest(group_id="mailers")
                )
            assert caught.value.leader_id == coordinator
            assert caught.value.leader_address == cluster.processes[coordinator].address

    run(scenario, nodes=3)


# --- what is refused -----------------------------------------------------------------------------


def test_offsets_that_cannot_be_are_refused_one_by_one() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        topic_id = await orders(cluster)
        caller = GroupCaller(cluster)
        wanted = [
            (topic_id, 0, 10, 0),
            (topic_id, 0, 11, ErrorCode.OFFSET_OUT_OF_RANGE),
            (topic_id, 1, 0, 0),
            (topic_id, 1, 1, ErrorCode.OFFSET_OUT_OF_RANGE),
            (topic_id, 4, 0, ErrorCode.UNKNOWN_PARTITION),
            (b"?" * 16, 0, 0, ErrorCode.UNKNOWN_TOPIC),
        ]
        for each, partition, offset, code in wanted:
            outcome = await caller.commit(each, offset, partition)
            assert outcome.error.code == code
        assert await caller.offsets() == {("orders", 0): 10, ("orders", 1): 0}

    run(scenario, nodes=3)


def test_a_group_with_members_is_not_deleted_nor_moved_by_others() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        topic_id = await orders(cluster)
        caller = GroupCaller(cluster)
        member = Member(caller, 1, "orders")
        await settled(member)
        partitions = [pb.TopicPartitions(topic_id=topic_id, partitions=[0])]
        for method, request in (
            (methods.DELETE_GROUP, pb.DeleteGroupRequest(group_id="mailers")),
            (
                methods.DELETE_OFFSETS,
                pb.DeleteOffsetsRequest(group_id="mailers", topics=partitions),
            ),
        ):
            with pytest.raises(GroupNotEmptyError):
                await caller.ask(method, request)
        with pytest.raises(GroupNotEmptyError):
            await caller.commit(topic_id, 1)
        await member.leave()
        await caller.commit(topic_id, 1)
        await caller.ask(
            methods.DELETE_OFFSETS, pb.DeleteOffsetsRequest(group_id="mailers", topics=partitions)
        )
        assert await caller.offsets() == {}
        await caller.ask(methods.DELETE_GROUP, pb.DeleteGroupRequest(group_id="mailers"))
        with pytest.raises(GroupNotFoundError):
            await caller.describe()
        listed = await caller.ask(methods.LIST_GROUPS, pb.ListGroupsRequest())
        assert not listed.groups

    run(scenario)


def test_only_nodes_write_and_shape_the_topic_of_groups() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        topic_id = await orders(cluster)
        await GroupCaller(cluster).commit(topic_id, 4)
        admin = cluster.admin()
        with pytest.raises(InvalidRequestError, match="cannot be trimmed or deleted"):
            await admin.delete_topic(GROUP_TOPIC)
        with pytest.raises(InvalidRequestError, match="cannot be altered"):
            await admin.alter_topic(
                GROUP_TOPIC,
                set_config={"cleanup.policy": "delete"},
                delete_config=(),
                partitions=0,
                validate_only=False,
            )
        with pytest.raises(LogdError, match="kept for the system itself"):
            await cluster.create_topic("__mine")
        async with cluster.producer() as producer:
            with pytest.raises(InvalidRequestError, match="cannot be produced to"):
                await producer.send_and_wait(GROUP_TOPIC, b"x", key=b"k")
        async with cluster.consumer(GROUP_TOPIC, auto_offset_reset="earliest") as consumer:
            record = await consumer.getone()
        assert record is not None and b"mailers" in (record.key or b"")

    run(scenario)


# --- lag -----------------------------------------------------------------------------------------


def test_the_lag_is_told_in_records_and_in_time_by_whoever_leads() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        topic_id = await orders(cluster, records=0)
        async with cluster.producer() as producer:
            for number in range(8):
                await producer.send_and_wait("orders", b"x", partition=number % 2)
                await asyncio.sleep(10)
        caller = GroupCaller(cluster)
        await caller.commit(topic_id, 2, partition=0)
        await caller.commit(topic_id, 4, partition=1)
        await caller.commit(topic_id, 0, partition=2)
        lag = await caller.ask(methods.GROUP_LAG, pb.GroupLagRequest(group_id="mailers"))
        told = {each.partition: each for each in lag.partitions}
        assert {number: each.records for number, each in told.items()} == {0: 2, 1: 0, 2: 0}
        # The third record of partition 0 was the fifth of all: four pauses before now.
        assert 39_000 < told[0].lag_ms < 42_000
        assert told[1].lag_ms == told[2].lag_ms == 0
        assert (told[0].log_start_offset, told[0].high_watermark) == (0, 4)
        assert {each.topic for each in lag.partitions} == {"orders"}
        (info,) = await cluster.admin().describe_topics(["orders"])
        leader = info.partitions[0].leader
        if leader is not None and await caller.coordinator() != leader:
            await cluster.crash(leader)
            lag = await caller.ask(methods.GROUP_LAG, pb.GroupLagRequest(group_id="mailers"))
            assert {each.partition for each in lag.partitions} == {0, 1, 2}

    run(scenario, nodes=3)


def test_the_metrics_tell_the_lag_of_every_group_from_its_coordinator() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        topic_id = await orders(cluster, records=0)
        async with cluster.producer() as producer:
            for _ in range(4):
                await producer.send_and_wait("orders", b"x", partition=0)
                await asyncio.sleep(10)
        committed = {"behind": 0, "near": 3, "done": 4}
        for group_id, offset in committed.items():
            await GroupCaller(cluster, group_id).commit(topic_id, offset)
        member = Member(GroupCaller(cluster, "near"), 1, "orders")
        member.session_timeout_ms = 45_000
        await settled(member)
        await asyncio.sleep(12)
        told = [process.node.gauges().groups for process in cluster.processes.values()]
        assert sum(each.count for each in told) == 3
        assert sum(each.loading for each in told) == 0
        assert dict(one for each in told for one in each.members) == {
            "behind": 0,
            "near": 1,
            "done": 0,
        }
        lags = {(lag.group_id, lag.partition): lag for each in told for lag in each.lags}
        assert {key[0]: lag.records for key, lag in lags.items() if key[1] == 0} == {
            "behind": 4,
            "near": 1,
            "done": 0,
        }
        assert lags["near", 1].records == -1, "assigned, and nothing committed"
        assert lags["done", 0].lag_ms == 0
        assert 30_000 <= lags["behind", 0].lag_ms - lags["near", 0].lag_ms < 31_000

    run(scenario, nodes=3)
