"""Three nodes under faults drawn from a seed: what was acknowledged is there, on every node."""

from __future__ import annotations

import asyncio
import random

import pytest
from logd_wire.errors import LogdError, OutcomeUnknownError, TopicExistsError

from logd.testing import MemoryCluster, run
from logd.testing.process import ProcessDiedError

NODES = (1, 2, 3)
ROUNDS = 12
#: Virtual seconds of peace after which everything must be well.
PEACE_S = 60.0


class Chaos:
    """Writers that note what was promised, and faults that come meanwhile."""

    def __init__(self, cluster: MemoryCluster, rng: random.Random) -> None:
        self.cluster = cluster
        self.rng = rng
        self.created: set[str] = set()
        self.deleted: set[str] = set()
        self.unknown: set[str] = set()
        self._number = 0
        self._starts: list[asyncio.Future[None]] = []
        self._over = False

    def alive(self) -> list[int]:
        return [node for node in NODES if self.cluster.processes[node].up]

    async def write(self) -> None:
        """Create topics through any node, and delete some."""
        while not self._over:
            await asyncio.sleep(self.rng.random() * 0.2)
            alive = self.alive()
            if not alive:
                continue
            broker = self.cluster.processes[self.rng.choice(alive)].node.broker
            if self.created and self.rng.random() < 0.2:
                name = self.rng.choice(sorted(self.created))
                self.created.discard(name)
                try:
                    await broker.delete_topic(name)
                    self.deleted.add(name)
                except OutcomeUnknownError:
                    self.unknown.add(name)
                except LogdError:
                    self.created.add(name)
            else:
                self._number += 1
                name = f"topic-{self._number}"
                try:
                    await broker.create_topic(name, replication_factor=1)
                    self.created.add(name)
                except TopicExistsError as error:
                    raise AssertionError(f"{name} was asked for once") from error
                except LogdError:
                    self.unknown.add(name)

    async def disturb(self) -> None:
        """One fault, and then its end or the next one."""
        node = self.rng.choice(NODES)
        process = self.cluster.processes[node]
        match self.rng.choice(("crash", "kill", "stop", "isolate", "heal", "full", "start")):
            case "crash" | "kill" as how if process.up:
                await self.cluster.crash(node, power_loss=how == "crash")
            case "stop" if process.up:
                await process.stop()
            case "isolate":
                self.cluster.isolate(node)
            case "heal":
                self.cluster.heal()
            case "full" if process.up:
                process.files.capacity = min(
                    process.files.capacity, (1 << 40) - process.files.free_bytes()
                )
                await asyncio.sleep(self.rng.random() * 3)
                process.files.capacity = 1 << 40
            case "start" if not process.alive:
                self._begin(node)
            case _:
                pass
        await asyncio.sleep(self.rng.random() * 2.5)

    def _begin(self, node: int) -> None:
        """Start a node; it may take until others are there."""
        self._starts.append(asyncio.ensure_future(self._start(node)))

    async def _start(self, node: int) -> None:
        try:
            await self.cluster.processes[node].start()
        except ProcessDiedError as error:
            assert "killed" in str(error), error

    async def run(self) -> None:
        writers = [asyncio.ensure_future(self.write()) for _ in range(3)]
        for _ in range(ROUNDS):
            await self.disturb()
        self.cluster.heal()
        for node in NODES:
            if not self.cluster.processes[node].alive:
                self._begin(node)
        async with asyncio.timeout(PEACE_S):
            while len(self.alive()) < len(NODES):
                await asyncio.sleep(0.1)
            self._over = True
            for ended in (*writers, *self._starts):
                await ended
            while not self._is_well():
                await asyncio.sleep(0.1)

    def _is_well(self) -> bool:
        brokers = [self.cluster.processes[node].node.broker for node in NODES]
        first = brokers[0].image
        return (
            all(broker.image == first and broker.serving for broker in brokers)
            and all(not node.fenced for node in first.nodes.values())
            and self.cluster.leader() is not None
        )


@pytest.mark.parametrize("seed", range(6))
def test_nothing_that_was_promised_is_lost(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logd.runtime.snapshot_taker.SNAPSHOT_ENTRIES", 25)
    play(seed)


def play(seed: int) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        chaos = Chaos(cluster, random.Random(seed))
        await chaos.run()
        for node in NODES:
            names = set(cluster.processes[node].node.broker.image.topic_ids)
            assert chaos.created - names == set(), "acknowledged and gone"
            assert chaos.deleted & names == set(), "deleted and back"
            assert names - chaos.created - chaos.unknown == set(), "from nowhere"

    run(scenario, nodes=3, seed=seed)
