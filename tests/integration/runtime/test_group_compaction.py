"""Committed offsets lie in a compacted topic: what was committed last outlives its compaction."""

from __future__ import annotations

from typing import Any

from logd.model.names import GROUP_TOPIC
from logd.runtime.group_coordinator import partition_of
from logd.testing import MemoryCluster, run
from tests.integration.runtime.test_groups import orders
from tests.support.group_calls import GroupCaller, Member, settled

COMMITS = 20


def test_a_failover_after_a_compaction_of_every_copy_finds_the_last_commits() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        topic_id = await orders(cluster, records=COMMITS)
        caller = GroupCaller(cluster)
        member = Member(caller, 1, "orders")
        await settled(member)
        held = set(member.held)
        who: dict[str, Any] = {"member_id": member.id, "member_epoch": member.epoch}
        for offset in range(1, COMMITS + 1):
            assert not (await caller.commit(topic_id, offset, **who)).HasField("error")
        number = partition_of(caller.group_id)
        admin = cluster.admin()
        (found,) = (await admin.compact_topic(GROUP_TOPIC, [number], now=True, wait=True)).values()
        for copy in (found, *found.others):
            assert copy.records_before - copy.records_after >= COMMITS - 1
        assert len(found.others) == 2
        before = await caller.coordinator()
        await cluster.crash(before)
        assert await caller.coordinator() != before
        assert await caller.offsets() == {("orders", 0): COMMITS}
        assert not (await member.beat()).HasField("assignment")
        assert member.held == held
        assert not (await caller.commit(topic_id, COMMITS - 1, **who)).HasField("error")
        assert await caller.offsets() == {("orders", 0): COMMITS - 1}

    run(scenario, nodes=3)
