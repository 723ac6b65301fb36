"""Topics that the group reads grow, go, and come again under their names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from logd_client._engine.admin import AdminEngine
from logd_client._engine.cluster import ClusterConfig
from logd_client.values import TopicInfo
from logd_wire.errors import LogdError, UnknownTopicError

from logd.testing.rng import SimRng
from tests.sim.groups.world import GroupWorld
from tests.sim.world import Topic

#: A topic that has so many does not grow.
PARTITIONS_MAX = 7
RETRY_MS = 200.0


class Topics:
    """Changes one topic at a time, and never leaves a change half done."""

    def __init__(self, world: GroupWorld, rng: SimRng, copies: int, config: dict[str, str]) -> None:
        self._world = world
        self._rng = rng
        self._copies = copies
        self._config = config
        self._admin: AdminEngine | None = None
        self._change: asyncio.Task[None] | None = None

    async def settle(self) -> None:
        """Return when no change is under way; every topic is there then."""
        if self._change is None:
            return
        await self._change
        for topic in self._world.topics:
            # An attempt to delete it that seemed to have failed may have been late.
            await self._make(topic, topic.partitions)
        if self._admin is not None:
            await self._admin.close()

    def begin(self, change: Callable[[Topic], Coroutine[Any, Any, None]]) -> None:
        """Make a change to some topic; nothing while another one is under way."""
        if self._change is None or self._change.done():
            topic = self._rng.choice(self._world.topics)
            self._change = self._world.loop.create_task(change(topic), name="change of a topic")

    async def grow(self, topic: Topic) -> None:
        """Add a partition or two."""
        count = min(PARTITIONS_MAX, topic.partitions + self._rng.randint(1, 2))
        if count == topic.partitions:
            return

        async def alter(admin: AdminEngine) -> None:
            if len((await _described(admin, topic.name)).partitions) < count:
                await admin.alter_topic(
                    topic.name,
                    set_config={},
                    delete_config=(),
                    partitions=count,
                    validate_only=False,
                )

        await self._insist(f"{count} partitions of {topic.name}", alter)
        topic.partitions = count
        self._world.sometimes("topic grew")

    async def remake(self, topic: Topic) -> None:
        """Delete it and make it again, with as many partitions or others."""

        async def delete(admin: AdminEngine) -> None:
            try:
                await admin.delete_topic(topic.name)
            except UnknownTopicError:
                return

        await self._insist(f"delete {topic.name}", delete)
        self._world.sometimes("topic deleted")
        await self._world.client_clock.sleep_ms(self._rng.choice((0.0, 100.0, 1_000.0, 4_000.0)))
        await self._make(topic, self._rng.randint(1, 5))
        self._world.sometimes("topic made again")

    async def _make(self, topic: Topic, count: int) -> None:
        """It is there in the end, whoever has made it."""

        async def create(admin: AdminEngine) -> None:
            found = await admin.create_topic(
                topic.name,
                partitions=count,
                replication_factor=self._copies,
                config=self._config,
                exist_ok=True,
                validate_only=False,
            )
            topic.topic_id = bytes.fromhex(found.id.replace("-", ""))
            topic.partitions = len(found.partitions)

        await self._insist(f"create {topic.name}", create)

    async def _insist(
        self, what: str, change: Callable[[AdminEngine], Coroutine[Any, Any, None]]
    ) -> None:
        """However often it takes."""
        world = self._world
        admin = self._admin = self._admin or AdminEngine(
            world.network.transport("topics"),
            world.client_clock,
            self._rng.child("admin"),
            ClusterConfig(bootstrap_servers=world.bootstrap, request_timeout_ms=3_000.0),
        )
        world.trace(what)
        while True:
            try:
                return await change(admin)
            except LogdError as error:
                world.trace(f"{what}: {error.code.name}")
                await world.client_clock.sleep_ms(RETRY_MS)


async def _described(admin: AdminEngine, name: str) -> TopicInfo:
    (found,) = await admin.describe_topics([name])
    return found
