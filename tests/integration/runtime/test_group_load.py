"""How long a coordinator takes to read its log, on a real disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from logd_wire.errors import CoordinatorLoadingError, NotCoordinatorError

from logd.app import running_node
from logd.groups import FetchOffsets, OffsetCommitted
from logd.model.ids import TopicId, TopicPartitionId
from logd.model.names import GROUP_TOPIC
from logd.model.node_config import load_node_config
from logd.runtime.group_coordinator import partition_of
from logd.runtime.group_log import encode_decision
from logd.runtime.node import Node

GROUPS, PARTITIONS, ROUNDS = 20, 100, 50
#: Below what the requirement says, on a machine that does nothing else.
SECONDS_MAX = 3.0


@asynccontextmanager
async def node_on(path: Path) -> AsyncIterator[Node]:
    flags = {"node.data_dir": str(path), "listeners.grpc": "127.0.0.1:0", "listeners.admin": ""}
    config, entries = load_node_config(flags=flags)
    async with running_node(config, entries) as node:
        yield node


async def answered(node: Node, group_id: str) -> int:
    """How many offsets the coordinator has, as soon as it answers."""
    wanted = FetchOffsets(group_id)
    async with asyncio.timeout(60):
        while True:
            try:
                found = await node.broker.groups.read(
                    group_id, lambda groups: groups.fetch_offsets(wanted)
                )
                return len(found)
            except (CoordinatorLoadingError, NotCoordinatorError):
                await asyncio.sleep(0.01)


async def fill(node: Node, group_ids: list[str]) -> None:
    """Commit everything again and again, past the coordinator, as it would."""
    topic = await node.broker.create_topic("orders", partitions=PARTITIONS)
    await node.broker.groups.find(group_ids[0])
    await answered(node, group_ids[0])
    log_id: TopicId = node.broker.image.topic_named(GROUP_TOPIC).topic_id
    found = node._partitions.get(TopicPartitionId(log_id, partition_of(group_ids[0])))
    assert found is not None
    for offset in range(ROUNDS):
        records = [
            OffsetCommitted(group_id, topic.topic_id, number, offset, 0, "", 1, "orders")
            for group_id in group_ids
            for number in range(PARTITIONS)
        ]
        for batch in encode_decision(records, 1):
            await found.append(batch, leader_epoch=found.leader_epoch, acks=-1)


@pytest.mark.slow
async def test_a_coordinator_with_100000_commits_answers_within_three_seconds(
    tmp_path: Path, record_figure: Callable[[str, float], None]
) -> None:
    names = (f"group-{number}" for number in range(10_000))
    first = partition_of("group-0")
    group_ids = [name for name in names if partition_of(name) == first][:GROUPS]
    async with node_on(tmp_path) as node:
        await fill(node, group_ids)
    async with node_on(tmp_path) as node:
        began = time.monotonic()
        assert await answered(node, group_ids[0]) == PARTITIONS
        took = time.monotonic() - began
        assert await answered(node, group_ids[-1]) == PARTITIONS
    record_figure("group_load_100000_commits_s", round(took, 2))
    assert took < SECONDS_MAX
