"""Engines on a virtual loop against a cluster in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from logd_client._core.accumulator import BatchingConfig
from logd_client._core.fetch_state import FetchConfig
from logd_client._engine.admin import AdminEngine
from logd_client._engine.cluster import ClusterConfig
from logd_client._engine.consumer import ConsumerConfig, ConsumerEngine
from logd_client._engine.producer import ProducerConfig, ProducerEngine
from logd_client.values import Record, TopicPartition

from logd.testing.clock import SimClock
from logd.testing.loop import VirtualLoop
from logd.testing.rng import SimRng
from tests.unit.client.memory_cluster import MemoryCluster

T = TypeVar("T")

TP = TopicPartition("t", 0)


def run(main: Callable[[], Coroutine[Any, Any, T]], *, limit_s: float = 600) -> T:
    """Run `main` in virtual time; fails on anything that went to the loop's exception handler."""
    loop = VirtualLoop()
    try:
        result = loop.run(main(), limit_s=limit_s)
        assert loop.failures == []
        return result
    finally:
        loop.finish()


@dataclass
class World:
    """One cluster, and clients of it. Use inside of `run`."""

    cluster: MemoryCluster = field(default_factory=MemoryCluster)
    seed: int = 0
    servers: tuple[str, ...] = ("n1:7171",)

    def __post_init__(self) -> None:
        self.clock = SimClock(asyncio.get_running_loop())
        self.rng = SimRng(self.seed)
        self.bootstrap = ClusterConfig(bootstrap_servers=self.servers)

    def producer(
        self,
        *,
        acks: int = -1,
        idempotent: bool = True,
        max_block_ms: float = 60_000,
        **batching: Any,
    ) -> ProducerEngine:
        config = ProducerConfig(
            cluster=self.bootstrap,
            batching=BatchingConfig(**batching),
            acks=acks,
            idempotent=idempotent,
            max_block_ms=max_block_ms,
        )
        return ProducerEngine(self.cluster, self.clock, self.rng, config)

    def consumer(self, *topics: str, **fetch: Any) -> ConsumerEngine:
        config = ConsumerConfig(cluster=self.bootstrap, fetch=FetchConfig(**fetch), topics=topics)
        return ConsumerEngine(self.cluster, self.clock, self.rng, config)

    def admin(self) -> AdminEngine:
        return AdminEngine(self.cluster, self.clock, self.rng, self.bootstrap)


async def read(engine: ConsumerEngine, count: int) -> list[Record[bytes, bytes]]:
    """Wait until `count` records have come; errors of the fetcher pass."""
    found: list[Record[bytes, bytes]] = []
    while len(found) < count:
        for records in engine.fetcher.take(count - len(found)).values():
            found += records
        if len(found) < count:
            await engine.wait_readable()
    return found
