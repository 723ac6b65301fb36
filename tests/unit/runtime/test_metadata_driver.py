"""Commands, committed images, and callers that give up half-way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from logd_wire.errors import InvalidRequestError, StorageFullError, TopicExistsError

from logd.consensus import Committed, Role
from logd.metadata import (
    AllocateProducerIds,
    ClusterImage,
    Command,
    CreateTopic,
    DeleteTopic,
    FormCluster,
    MetadataMachine,
    MetadataSettings,
    RegisterNode,
)
from logd.model.ids import ClusterId, DirectoryId, LogIndex, NodeId, Term, TopicId
from logd.runtime.adapters import TaskSpawn
from logd.runtime.metadata_driver import MetadataDriver
from tests.support.loops import settle

NODE = NodeId(1)


class ManualConsensus:
    """Takes proposals; commits them when the test says so."""

    def __init__(self) -> None:
        self.proposed: list[tuple[int, Sequence[bytes], asyncio.Future[Committed]]] = []
        self.refuse: Exception | None = None
        self._next = 0

    async def propose(self, payloads: Sequence[bytes], *, timeout_ms: int) -> Committed:
        if self.refuse is not None:
            raise self.refuse
        future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self.proposed.append((self._next, payloads, future))
        self._next += len(payloads)
        return await future

    async def read_barrier(self, *, timeout_ms: int) -> LogIndex:
        return LogIndex(self._next)


class World:
    def __init__(self) -> None:
        self.consensus = ManualConsensus()
        self.followed: list[ClusterImage] = []
        self.follow_error: Exception | None = None
        self.fatal: list[BaseException] = []
        clock: Any = SimpleNamespace(wall_ms=lambda: 0, sleep_ms=lambda _ms: settle(1))
        self.driver = MetadataDriver(
            machine=MetadataMachine(MetadataSettings()), clock=clock, follow=self._follow
        )
        self.spawn = TaskSpawn(self.fatal.append)
        consensus: Any = self.consensus
        self.driver.start(consensus, self.spawn)

    async def _follow(self, _before: ClusterImage, after: ClusterImage) -> None:
        if self.follow_error is not None:
            error, self.follow_error = self.follow_error, None
            raise error
        self.followed.append(after)

    async def submit(self, command: Command) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(self.driver.submit(lambda machine: machine.handle(command, 0)))
        await settle(2)
        return task

    def commit(self) -> None:
        index, payloads, future = self.consensus.proposed.pop(0)
        result = self.driver.on_apply(LogIndex(index), Term(1), payloads)
        if not future.done():
            future.set_result(Committed(LogIndex(index), Term(1), result))

    async def done(self, command: Command) -> Any:
        task = await self.submit(command)
        if not task.done():
            self.commit()
        return await task


@pytest.fixture
async def world() -> Any:
    made = World()
    await made.done(FormCluster(ClusterId(b"c" * 16)))
    await made.done(RegisterNode(NODE, DirectoryId(b"d" * 16), b"i" * 16, "localhost:1"))
    yield made
    await made.spawn.cancel_all()
    assert made.fatal == []


def create(name: str, number: int = 1) -> CreateTopic:
    return CreateTopic(TopicId(bytes([number]) * 16), name)


async def test_a_reply_waits_for_the_commit_and_for_the_node_to_follow(world: World) -> None:
    world.follow_error = StorageFullError("the disk is full")
    task = await world.submit(create("orders"))
    assert "orders" not in world.driver.image.topic_ids
    world.commit()
    assert "orders" in world.driver.image.topic_ids
    topic = await task
    assert topic.name == "orders"
    assert world.followed[-1] is world.driver.image, "tried again after the error"


async def test_a_command_is_judged_against_what_is_on_its_way(world: World) -> None:
    first = await world.submit(create("orders", 1))
    second = await world.submit(create("orders", 2))
    with pytest.raises(TopicExistsError):
        await second
    world.commit()
    await first


async def test_a_caller_that_gives_up_takes_nothing_back(world: World) -> None:
    abandoned = [await world.submit(AllocateProducerIds(NODE)) for _ in range(2)]
    for task in abandoned:
        task.cancel()
    await settle()
    world.commit()
    third = await world.submit(AllocateProducerIds(NODE))
    world.commit()
    world.commit()
    assert (await third).first_id == 2_000, "the second block, still on its way, was not forgotten"


async def test_what_was_refused_leaves_no_trace(world: World) -> None:
    world.consensus.refuse = InvalidRequestError("too large")
    task = await world.submit(create("orders"))
    with pytest.raises(InvalidRequestError):
        await task
    world.consensus.refuse = None
    assert (await world.done(create("orders", 2))).name == "orders"


async def test_lost_leadership_forgets_what_was_not_committed(world: World) -> None:
    await world.submit(create("orders"))
    world.driver.on_role(Role.FOLLOWER, Term(2), None)
    again = await world.submit(create("orders", 2))
    assert not again.done(), "it was proposed anew, not refused as a duplicate"


async def test_one_follow_serves_everybody_up_to_it(world: World) -> None:
    tasks = [await world.submit(create(f"topic-{number}", number + 1)) for number in range(5)]
    for _ in tasks:
        world.commit()
    names = [(await task).name for task in tasks]
    assert names == [f"topic-{number}" for number in range(5)]
    assert (await world.done(DeleteTopic("topic-3"))).name == "topic-3"
