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

`MemoryCluster(nodes=3)` has three nodes, 1 to 3, each with files of its own (`processes[2].files`);
what takes a node takes node 1 when nothing is said. `isolate` cuts one off, `add` brings another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from logd_client._engine.admin import AdminEngine
from logd_client._engine.cluster import ClusterConfig
from logd_client.values import TopicInfo

from logd.consensus import Role
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

#: The address of the only node; it exists only inside of the cluster's own network.
ADDRESS = "memory:7171"
#: The node that is meant where none is named.
FIRST = 1
#: A scenario that takes longer than this in virtual time hangs.
LIMIT_S = 24 * 3600.0


class MemoryCluster:
    """The nodes and what surrounds them; use it with `async with`, or through `run`.

    `config` are settings of every node by name, such as {"auto.create.topics.enable": "true"}. The
    same `seed` draws the same delays, ids and fates of unsynced bytes.
    """

    def __init__(
        self,
        *,
        nodes: int = 1,
        seed: int | str = 0,
        config: Mapping[str, str] | None = None,
        link: LinkProfile | None = None,
        latency: DiskLatency | None = None,
    ) -> None:
        self.address = ADDRESS if nodes == 1 else address_of(FIRST)
        self._ids = range(FIRST, FIRST + nodes)
        self._rng = SimRng(f"cluster/{seed}")
        self._settings = dict(config or {})
        self._link = link
        self._latency = latency
        self._clients: list[MemoryProducer | MemoryConsumer | AdminEngine] = []
        self._isolated: dict[int, None] = {}
        self._made = 0
        #: By node id.
        self.processes: dict[int, SimProcess] = {}

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.clock = SimClock(loop)
        self.trace = Trace(loop.time)
        self.network = SimNetwork(loop, self._rng.child("network"), self.trace, link=self._link)
        if len(self._ids) == 1:
            self._make(FIRST, {"listeners.grpc": ADDRESS})
        else:
            peers = peers_of(*self._ids)
            for node_id in self._ids:
                self._make(node_id, {**addresses_of(node_id), "cluster.peers": peers})
        await asyncio.gather(*(process.start() for process in self.processes.values()))
        return self

    def _make(
        self, node_id: int, settings: Mapping[str, str], files: MemoryFiles | None = None
    ) -> SimProcess:
        flags = {"node.id": str(node_id), **self._settings, **settings}
        config, entries = load_node_config(flags=flags)
        self._made += 1
        name = "process" if self._made == 1 else f"process/{self._made}"
        process = self.processes[node_id] = SimProcess(
            loop=asyncio.get_running_loop(),
            network=self.network,
            files=files or MemoryFiles(),
            clock=self.clock,
            rng=self._rng.child(name),
            trace=self.trace,
            config=config,
            config_entries=entries,
            latency=self._latency,
        )
        return process

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.heal()
        for client in self._clients:
            # What a client still has to say can only be said to a node that serves.
            await (client if isinstance(client, AdminEngine) else client.engine).close()
        for process in self.processes.values():
            if process.up:
                await process.stop()
            elif process.alive:
                process.crash(power_loss=False)

    @property
    def process(self) -> SimProcess:
        """The first node's process."""
        return self.processes[FIRST]

    @property
    def files(self) -> MemoryFiles:
        """The first node's files."""
        return self.process.files

    # --- clients -----------------------------------------------------------------------------

    def transport(self, name: str = "client") -> SimTransport:
        """A door to the network, for engines of your own."""
        return self.network.transport(name)

    def _new_client(self, kind: str, node: int) -> tuple[SimTransport, SimClock, SimRng, str]:
        name = f"{kind}-{len(self._clients) + 1}"
        address = self.processes[node].address
        return self.transport(name), self.clock, self._rng.child(name), address

    def producer(self, *, node: int = FIRST, **options: Any) -> MemoryProducer:
        """A producer; options as of `MemoryProducer`. `node`: whom it asks first."""
        producer = MemoryProducer(*self._new_client("producer", node), **options)
        self._clients.append(producer)
        return producer

    def consumer(self, *topics: str, node: int = FIRST, **options: Any) -> MemoryConsumer:
        """A consumer of all partitions of `topics`; options as of `MemoryConsumer`."""
        consumer = MemoryConsumer(*self._new_client("consumer", node), topics, **options)
        self._clients.append(consumer)
        return consumer

    def admin(self, *, node: int = FIRST) -> AdminEngine:
        """An admin client."""
        transport, clock, rng, address = self._new_client("admin", node)
        admin = AdminEngine(transport, clock, rng, ClusterConfig(bootstrap_servers=(address,)))
        self._clients.append(admin)
        return admin

    async def create_topic(
        self,
        name: str,
        *,
        partitions: int = 1,
        config: Mapping[str, str] | None = None,
        node: int = FIRST,
        replication_factor: int = -1,
    ) -> TopicInfo:
        """Create a topic; raises TopicExistsError."""
        return await self.admin(node=node).create_topic(
            name,
            partitions=partitions,
            replication_factor=replication_factor,
            config=config or {},
            exist_ok=False,
            validate_only=False,
        )

    # --- the nodes ---------------------------------------------------------------------------

    async def crash(self, node: int = FIRST, *, power_loss: bool = True) -> None:
        """End a node at once. `power_loss`: what was not synced is kept, lost or torn, write by
        write; otherwise only the process dies and the page cache survives."""
        self.processes[node].crash(power_loss=power_loss)
        await asyncio.sleep(0)

    async def stop(self, node: int = FIRST) -> None:
        """Stop a node in good order."""
        await self.processes[node].stop()

    async def restart(self, node: int = FIRST) -> None:
        """Start a node again on its files; stops it first if it runs."""
        process = self.processes[node]
        if process.up:
            await process.stop()
        await process.start()

    async def add(
        self,
        node: int,
        *,
        peers: Sequence[int],
        config: Mapping[str, str] | None = None,
        files: MemoryFiles | None = None,
    ) -> None:
        """Start another node, which is told of `peers`; returns once it serves.

        Without `files` it begins with an empty disk, also under a node id that there was before.
        """
        settings = {"cluster.peers": peers_of(*sorted({node, *peers}))}
        own = {**addresses_of(node), **settings, **(config or {})}
        await self._make(node, own, files).start()

    def isolate(self, *nodes: int) -> None:
        """Cut nodes off from the other nodes until `heal`; clients reach them still."""
        for node in nodes:
            self._isolated[node] = None
        names = {process.name: node for node, process in self.processes.items()}
        ports = {process.peer_address: node for node, process in self.processes.items()}

        def cut(client: str, address: str) -> bool:
            ends = (names.get(client), ports.get(address))
            return None not in ends and any(end in self._isolated for end in ends)

        self.network.partition(cut)

    def heal(self) -> None:
        """End every isolation."""
        self._isolated.clear()
        self.network.partition(None)

    def leader(self) -> int | None:
        """The node that leads the metadata log, and knows it."""
        for node_id, process in self.processes.items():
            if process.up and process.node.broker.quorum.role is Role.LEADER:
                return node_id
        return None


def address_of(node_id: int) -> str:
    """Where clients find a node."""
    return f"memory-{node_id}:7171"


def addresses_of(node_id: int) -> dict[str, str]:
    """The listeners of a node of several, as settings."""
    return {
        "listeners.grpc": address_of(node_id),
        "listeners.peer": f"memory-{node_id}:7172",
    }


def peers_of(*node_ids: int) -> str:
    """The nodes as `cluster.peers` has them."""
    return ",".join(f"{node_id}@memory-{node_id}:7172" for node_id in node_ids)


def run(
    scenario: Callable[[MemoryCluster], Coroutine[Any, Any, T]],
    *,
    limit_s: float = LIMIT_S,
    nodes: int = 1,
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
        cluster = MemoryCluster(nodes=nodes, seed=seed, config=config, link=link, latency=latency)
        async with cluster:
            result = await scenario(cluster)
        assert not cluster.network.failures, cluster.network.failures
        return result

    try:
        return loop.run(main(), limit_s=limit_s)
    finally:
        loop.finish()
