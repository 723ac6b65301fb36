"""Whoever runs the cluster moves replicas, drains nodes, hands leaderships over, beside faults.

Every request goes through the real client and may be refused, lost or overtaken by the next; what
was asked for goes on while nobody waits for it. In the end every partition is brought back to all
nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from typing import Any

from logd_client.values import PartitionInfo
from logd_wire.errors import LogdError

from logd.testing.rng import SimRng
from tests.sim.keyed import new_admin
from tests.sim.world import World

#: How long a drain may take before the operator turns to something else; virtual milliseconds.
DRAIN_MS = 8_000
LOOK_MS = 200

#: By topic and partition: the nodes to be; None calls a move off.
Targets = Mapping[tuple[str, int], Sequence[int] | None]


class Operator:
    """Of the topics of the world, which have a replica on every node in the beginning."""

    def __init__(self, world: World, rng: SimRng, node_ids: Collection[int]) -> None:
        self._world = world
        self._rng = rng
        self._node_ids = tuple(node_ids)
        self._admin = new_admin(world, "operator")
        self._under_way: dict[asyncio.Task[None], None] = {}

    def _start(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._world.loop.create_task(self._try(what, work), name=f"operator {what}")
        self._under_way[task] = None
        task.add_done_callback(self._under_way.pop)

    async def _try(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except LogdError as error:
            self._world.trace(f"operator {what}: {error.code.name}")

    def _one(self) -> tuple[str, int]:
        topic = self._rng.choice(self._world.topics)
        return topic.name, self._rng.randrange(topic.partitions)

    # --- what is asked for ------------------------------------------------------------------

    def reassign(self) -> None:
        """Move one partition to two or three nodes, or call its move off."""
        target = tuple(self._rng.sample(self._node_ids, self._rng.choice((2, 2, 3))))
        where = self._one()
        called_off = self._rng.chance(0.15)
        self._start("reassign", self._reassign({where: None if called_off else target}))

    async def _reassign(self, targets: Targets) -> None:
        await self._admin.reassign_partitions(targets)
        self._world.sometimes("replicas reassigned")
        if None in targets.values():
            self._world.sometimes("reassignment called off")

    def transfer(self) -> None:
        """Have another node lead a partition; it is refused where that one is not in sync."""
        self._start("transfer", self._transfer(*self._one(), self._rng.choice(self._node_ids)))

    async def _transfer(self, name: str, partition: int, node_id: int) -> None:
        before = (await self._partitions())[name, partition].leader
        await self._admin.transfer_leader(name, partition, node_id)
        if before != node_id:
            self._world.sometimes("leadership handed over")

    def drain(self) -> None:
        """Move everything away from one node."""
        self._start("drain", self._drain(self._rng.choice(self._node_ids)))

    async def _drain(self, node_id: int) -> None:
        clock = self._world.client_clock
        deadline_ms = clock.monotonic_ms() + DRAIN_MS
        while clock.monotonic_ms() < deadline_ms:
            partitions = await self._partitions()
            if not any(node_id in part.replicas for part in partitions.values()):
                self._world.sometimes("node drained")
                return
            targets = {
                where: tuple(node for node in self._node_ids if node != node_id)
                for where, part in partitions.items()
                if node_id in (part.target or part.replicas)
            }
            if targets:
                await self._reassign(targets)
            await clock.sleep_ms(LOOK_MS)

    async def _partitions(self) -> dict[tuple[str, int], PartitionInfo]:
        topics = await self._admin.describe_topics([topic.name for topic in self._world.topics])
        return {(topic.name, part.partition): part for topic in topics for part in topic.partitions}

    # --- the end ----------------------------------------------------------------------------

    async def bring_back(self) -> None:
        """End what is under way; then have a replica of everything on every node."""
        await asyncio.gather(*self._under_way)
        while not await self._is_back():
            await self._world.client_clock.sleep_ms(LOOK_MS)
        await self._admin.close()

    async def _is_back(self) -> bool:
        everywhere = {*self._node_ids}
        try:
            partitions = await self._partitions()
            wrong = {
                where: self._node_ids
                for where, part in partitions.items()
                if {*(part.target or part.replicas)} != everywhere
            }
            if wrong:
                await self._admin.reassign_partitions(wrong)
        except LogdError as error:
            self._world.trace(f"operator brings back: {error.code.name}")
            return False
        return not wrong and all({*part.replicas} == everywhere for part in partitions.values())
