"""Real nodes of one simulation, each started again whenever it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from logd_client._engine.admin import AdminEngine
from logd_client._engine.cluster import ClusterConfig
from logd_wire.errors import LogdError

from logd.model.node_config import load_node_config
from logd.runtime.partition import Partition
from logd.storage.memory_files import MemoryFiles
from logd.testing.clock import SimClock
from logd.testing.cluster import addresses_of, peers_of
from logd.testing.disk import DiskLatency
from logd.testing.loop import describe_tasks
from logd.testing.process import ProcessDiedError, SimProcess
from logd.testing.rng import SimRng
from tests.sim.world import Topic, World

T = TypeVar("T")


async def _at_once(_: SimProcess) -> None:
    """A node may start again whenever it has ended."""


def _is_intact(_: int, __: Partition) -> bool:
    """Nobody damages what is stored."""
    return False


class Nodes:
    """The processes by node id, and what they hold."""

    def __init__(
        self,
        ids: Sequence[int],
        world: World,
        clock: SimClock,
        rng: SimRng,
        *,
        latency: DiskLatency,
        restart_max: float,
        config: Mapping[str, str] | None = None,
        may_be_damaged: Callable[[int, Partition], bool] = _is_intact,
    ) -> None:
        self.ids = tuple(ids)
        self._world = world
        self._clock = clock
        self._rng = rng
        self._latency = latency
        self._restart_max = restart_max
        self._config = dict(config or {})
        self._may_be_damaged = may_be_damaged
        self.processes = {node_id: self._make_process(node_id) for node_id in self.ids}

    def _make_process(self, node_id: int) -> SimProcess:
        flags = {
            **addresses_of(node_id),
            "node.id": str(node_id),
            "cluster.peers": peers_of(*self.ids),
            "disk.free_bytes_min": "0",
            **self._config,
        }
        config, entries = load_node_config(flags=flags)
        return SimProcess(
            loop=self._world.loop,
            network=self._world.network,
            files=MemoryFiles(),
            clock=self._clock,
            rng=self._rng.child(f"process/{node_id}"),
            trace=self._world.trace,
            config=config,
            config_entries=entries,
            latency=self._latency,
        )

    async def supervise(
        self, node_id: int, may_start: Callable[[SimProcess], Awaitable[None]] = _at_once
    ) -> None:
        """Start a node, and again whenever it has ended; `may_start` returns when it may."""
        rng, process = self._rng.child(f"supervisor/{node_id}"), self.processes[node_id]
        trace = self._world.trace
        while True:
            await may_start(process)
            try:
                await process.start()
                self._check_damage(node_id)
                reason = await process.wait_ended()
                trace(f"supervisor {node_id}: {reason}")
            except ProcessDiedError as error:
                trace(f"supervisor {node_id}: {error}")
            await asyncio.sleep(0.005 + rng.random() * self._restart_max)

    def _check_damage(self, node_id: int) -> None:
        for partition in self.partitions(node_id):
            damage = partition.log.recovery.damage
            if damage and not self._may_be_damaged(node_id, partition):
                self._world.problems.append(
                    f"damage in {partition.name} of node {node_id}: {damage}"
                )

    def partitions(self, node_id: int) -> list[Partition]:
        """The replicas of a node that serves."""
        process = self.processes[node_id]
        return process.node._partitions.all() if process.up else []

    async def create_topics(
        self, topics: Mapping[str, int], replication_factor: int, config: Mapping[str, str]
    ) -> None:
        """Make them, however often it takes; they are the topics of the world then."""
        world = self._world
        admin = AdminEngine(
            world.network.transport("setup"),
            world.client_clock,
            world.rng.child("setup"),
            ClusterConfig(bootstrap_servers=world.bootstrap, request_timeout_ms=3_000.0),
        )
        for name, partitions in topics.items():
            while True:
                try:
                    topic = await admin.create_topic(
                        name,
                        partitions=partitions,
                        replication_factor=replication_factor,
                        config=config,
                        exist_ok=True,
                        validate_only=False,
                    )
                    break
                except LogdError as error:
                    world.trace(f"create {name}: {error}")
                    await world.client_clock.sleep_ms(200)
            topic_id = bytes.fromhex(topic.id.replace("-", ""))
            world.topics.append(Topic(name, topic_id, partitions))
        await admin.close()

    async def wait_in_sync(self, partitions: int) -> None:
        """Wait until every replica of so many partitions at least is in sync, and knows it."""
        while not self._is_in_sync(partitions):
            await self._world.client_clock.sleep_ms(50)

    def _is_in_sync(self, partitions: int) -> bool:
        ends: dict[tuple[bytes, int], set[tuple[int, int]]] = {}
        for node_id in self.ids:
            for each in self.partitions(node_id):
                view = each.view
                marks = (view.durable_end_offset, each.high_watermark)
                ends.setdefault(each.key, set()).add(marks)
                if len(each.state.isr) != len(self.ids) or marks[0] != marks[1]:
                    return False
        counts = {len(self.partitions(node_id)) for node_id in self.ids}
        all_there = counts == {len(ends)} and len(ends) >= partitions
        return all_there and all(len(marks) == 1 for marks in ends.values())

    async def within(
        self,
        limit_s: float,
        what: str,
        work: Awaitable[T],
        state: Callable[[], Collection[str]] | None = None,
    ) -> T:
        """Wait for `work`; when it hangs say where, and how things stand."""
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait([task], timeout=limit_s)
        if not done:
            states = self.states() if state is None else state()
            hanging = describe_tasks(self._world.loop)
            raise AssertionError(
                "\n".join([f"not within {limit_s:g} virtual s: {what}", *states, hanging])
            )
        return await task

    def states(self) -> list[str]:
        """One line for each replica."""
        return [
            f"{node_id} {each.name} {each.state} end {each.view.durable_end_offset} "
            f"high watermark {each.high_watermark}"
            for node_id in self.ids
            for each in self.partitions(node_id)
        ]
