"""A cluster inside one test: the real node on memory files, a network in memory, virtual time.

    from logd.testing import MemoryCluster, run

    def test_orders_are_counted():
        async def scenario(cluster: MemoryCluster) -> None:
            await cluster.create_topic("orders", partitions=2)
            async with cluster.producer() as producer:
                await producer.send_and_wait("orders", b"one")
            await cluster.crash()
            await cluster.restart()
            async with cluster.consumer("orders", auto_offset_reset="earliest") as consumer:
                assert (await consumer.getone()).value == b"one"

        run(scenario)

`run` gives the scenario a cluster on a virtual loop: an hour of `asyncio.sleep` takes no time,
nothing depends on the machine's speed, and the same seed gives the same run. A cluster may also be
used on an ordinary loop (`async with MemoryCluster() as cluster`); time is then real.

What it can do beside serving: lose power or be killed and start again (`crash`, `restart`), break
connections (`network.connections()[0].reset("why")`), jump the wall clock (`clock.jump_wall`),
fill its disk (`files.capacity`), fail a sync (`files.sync_fails`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from logd_client._engine.admin import AdminEngine
from logd_client._engine.cluster import ClusterConfig
from logd_client.values import TopicInfo

from logd.model.node_config import load_node_config
from logd.storage.memory_files import MemoryFiles
from logd.testing.clients import MemoryConsumer, MemoryProducer
from logd.testing.clock import SimClock
from logd.testing.disk import DiskLatency
from logd.testing.loop import VirtualLoop
from logd.testing.network import LinkProfile, SimNetwork, SimTransport
from logd.testing.process import SimProcess
from logd.testing.rng import SimRng
from logd.testing.trace import Trace

T = TypeVar("T")

#: The address of the node; it exists only inside of the cluster's own network.
ADDRESS = "memory:7171"
#: A scenario that takes longer than this in virtual time hangs.
LIMIT_S = 24 * 3600.0


class MemoryCluster:
    """One node and what surrounds it; use it with `async with`, or through `run`.

    `config` are settings of the node by name, such as {"auto.create.topics.enable": "true"}. The
    same `seed` draws the same delays, ids and fates of unsynced bytes.
    """

    def __init__(
        self,
        *,
        seed: int | str = 0,
        config: Mapping[str, str] | None = None,
        link: LinkProfile | None = None,
        latency: DiskLatency | None = None,
    ) -> None:
        self.address = ADDRESS
        self.files = MemoryFiles()
        self._rng = SimRng(f"cluster/{seed}")
        self._settings = {"listeners.grpc": ADDRESS, **(config or {})}
        self._link = link
        self._latency = latency
        self._clients: list[MemoryProducer | MemoryConsumer | AdminEngine] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.clock = SimClock(loop)
        self.trace = Trace(loop.time)
        self.network = SimNetwork(loop, self._rng.child("network"), self.trace, link=self._link)
        config, entries = load_node_config(flags=self._settings)
        self.process = SimProcess(
            loop=loop,
            network=self.network,
            files=self.files,
            clock=self.clock,
            rng=self._rng.child("process"),
            trace=self.trace,
            config=config,
            config_entries=entries,
            latency=self._latency,
        )
        await self.process.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for client in self._clients:
            # What a client still has to say can only be said to a node that serves.
            await (client if isinstance(client, AdminEngine) else client.engine).close()
        if self.process.up:
            await self.process.stop()

    # --- clients -----------------------------------------------------------------------------

    def transport(self, name: str = "client") -> SimTransport:
        """A door to the network, for engines of your own."""
        return self.network.transport(name)

    def _new_client(self, kind: str) -> tuple[SimTransport, SimClock, SimRng, str]:
        name = f"{kind}-{len(self._clients) + 1}"
        return self.transport(name), self.clock, self._rng.child(name), self.address

    def producer(self, **options: Any) -> MemoryProducer:
        """A producer; options as of `MemoryProducer`."""
        producer = MemoryProducer(*self._new_client("producer"), **options)
        self._clients.append(producer)
        return producer

    def consumer(self, *topics: str, **options: Any) -> MemoryConsumer:
        """A consumer of all partitions of `topics`; options as of `MemoryConsumer`."""
        consumer = MemoryConsumer(*self._new_client("consumer"), topics, **options)
        self._clients.append(consumer)
        return consumer

    def admin(self) -> AdminEngine:
        """An admin client."""
        transport, clock, rng, address = self._new_client("admin")
        admin = AdminEngine(transport, clock, rng, ClusterConfig(bootstrap_servers=(address,)))
        self._clients.append(admin)
        return admin

    async def create_topic(
        self, name: str, *, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> TopicInfo:
        """Create a topic; raises TopicExistsError."""
        return await self.admin().create_topic(
            name,
            partitions=partitions,
            replication_factor=-1,
            config=config or {},
            exist_ok=False,
            validate_only=False,
        )

    # --- the node ----------------------------------------------------------------------------

    async def crash(self, *, power_loss: bool = True) -> None:
        """End the node at once. `power_loss`: what was not synced is kept, lost or torn, write by
        write; otherwise only the process dies and the page cache survives."""
        self.process.crash(power_loss=power_loss)
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """Stop the node in good order."""
        await self.process.stop()

    async def restart(self) -> None:
        """Start the node again on its files; stops it first if it runs."""
        if self.process.up:
            await self.process.stop()
        await self.process.start()


def run(
    scenario: Callable[[MemoryCluster], Coroutine[Any, Any, T]],
    *,
    limit_s: float = LIMIT_S,
    seed: int | str = 0,
    config: Mapping[str, str] | None = None,
    link: LinkProfile | None = None,
    latency: DiskLatency | None = None,
) -> T:
    """Run `scenario(cluster)` on a virtual loop; TimeoutError after `limit_s` virtual seconds.

    AssertionError when the node did something that only a bug explains.
    """
    loop = VirtualLoop()

    async def main() -> T:
        cluster = MemoryCluster(seed=seed, config=config, link=link, latency=latency)
        async with cluster:
            result = await scenario(cluster)
        assert not cluster.network.failures, cluster.network.failures
        return result

    try:
        return loop.run(main(), limit_s=limit_s)
    finally:
        loop.finish()
