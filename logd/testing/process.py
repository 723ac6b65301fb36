"""One node as a simulated process: started, stopped, crashed, started again on the same files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from logd import __version__
from logd.model.node_config import NodeConfig, NodeConfigEntry
from logd.rpc.edge import Edge
from logd.rpc.methods import build_methods
from logd.rpc.peer import build_peer_methods
from logd.rpc.peer_transport import RpcPeerTransport
from logd.runtime.node import Node
from logd.runtime.voters import voters_of
from logd.runtime.world import Ports
from logd.storage.memory_files import MemoryFiles
from logd.testing.clock import SimClock
from logd.testing.disk import CrashError, DiskLatency, SimDisk
from logd.testing.loop import OWNER, VirtualLoop
from logd.testing.network import SimNetwork
from logd.testing.rng import SimRng
from logd.testing.spawn import SimSpawn
from logd.testing.trace import Trace

T = TypeVar("T")

#: How long calls under way may take to end when the node is told to stop; virtual seconds.
STOP_GRACE_S = 5.0
#: A stop that takes longer than this is a bug of the node.
STOP_LIMIT_S = 120.0


class ProcessDiedError(Exception):
    """The node ended before it served; the message says how."""


class SimProcess:
    """The life of one node over `files`.

    `on_file_operation(operation, path)` is called before every file operation of a living
    process and may raise an OSError for the node or a CrashError, which ends the process: with a
    power loss when `power_loss` is set, else with its page cache intact. `up` tells whether the
    node serves; `node` is the last one started.
    """

    node: Node

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        network: SimNetwork,
        files: MemoryFiles,
        clock: SimClock,
        rng: SimRng,
        trace: Trace,
        config: NodeConfig,
        config_entries: Sequence[NodeConfigEntry] = (),
        latency: DiskLatency | None = None,
    ) -> None:
        self.loop = loop
        self.network = network
        self.files = files
        self.clock = clock
        self.trace = trace
        self.config = config
        self.address = config.listeners.advertised
        self.peer_address = config.listeners.peer
        #: By this name the node appears as a client of other nodes.
        self.name = f"node-{config.node.id}"
        self.latency = latency or DiskLatency()
        self.power_loss = True
        self.on_file_operation: Callable[[str, str], None] | None = None
        self.up = False
        self.incarnation = 0
        #: When, in virtual seconds, this incarnation stopped by itself; None: it did not.
        self.failed_at: float | None = None
        self._config_entries = config_entries
        self._rng = rng
        self._alive = False
        self._transport: RpcPeerTransport | None = None
        self._ended = asyncio.Event()
        self._end_reason = ""
        self._watcher: asyncio.Task[None] | None = None
        files.before = self._before

    @property
    def alive(self) -> bool:
        """Whether the process is there, serving or not."""
        return self._alive

    def _before(self, operation: str, path: str) -> None:
        if not self._alive:
            raise CrashError(f"{operation} {path}: the process is gone")
        self.trace(f"file {operation} {path}")
        if self.on_file_operation is not None:
            self.on_file_operation(operation, path)

    def set_latency(self, latency: DiskLatency) -> None:
        """Make the disks slower or faster, now and for starts to come."""
        self.latency = latency
        if self._alive:
            for disk in self._disks:
                disk.latency = latency

    async def start(self) -> None:
        """Start the node; returns once it serves. Raises ProcessDiedError when it does not."""
        assert not self._alive, "the process runs already"
        self.incarnation += 1
        self.trace(f"node start {self.incarnation}")
        self._alive = True
        self.failed_at = None
        self._ended.clear()
        rng = self._rng.child(f"incarnation/{self.incarnation}")
        self._disks = [
            SimDisk(self.loop, rng.child(name), latency=self.latency, on_crash=self._on_crash)
            for name in ("disk", "metadata")
        ]
        self._transport = None
        if self.peer_address:
            sim = self.network.transport(self.name)
            self._transport = RpcPeerTransport(sim, self.clock, rng.child("peers"))
        ports = Ports(
            files=self.files,
            disk=self._disks[0],
            metadata_disk=self._disks[1],
            clock=self.clock,
            rng=rng.child("node"),
            spawn=self._make_spawn,
            transport=self._transport,
        )
        self.node = Node(self.config, self._config_entries, ports, version=__version__)
        context = copy_context()
        context.run(OWNER.set, self.node)
        self._boot = self.loop.create_task(self._serve(self.node), name="boot", context=context)
        ended = self.loop.create_task(self._ended.wait(), name="boot watch")
        await asyncio.wait([self._boot, ended], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not self._alive:
            raise ProcessDiedError(self._end_reason)
        error = self._boot.exception() if self._boot.done() else None
        if error is not None:
            self._end(f"could not start: {error!r}", power_loss=False)
            raise ProcessDiedError(self._end_reason) from error

    def _make_spawn(self, on_fatal: Callable[[BaseException], None]) -> SimSpawn:
        def fatal(error: BaseException) -> None:
            if isinstance(error, CrashError):
                self._on_crash(error)
            else:
                on_fatal(error)

        self._spawn = SimSpawn(self.loop, fatal)
        return self._spawn

    async def _serve(self, node: Node) -> None:
        if self.peer_address:
            self.network.listen(self.peer_address, build_peer_methods(node.peers, voters_of))
        await node.start()
        edge = Edge(node.broker, self.clock, self._offload)
        self.network.listen(self.address, build_methods(edge))
        self.up = True
        self.trace("node up")
        self._watcher = self.loop.create_task(self._watch(node), name="watch")

    async def _watch(self, node: Node) -> None:
        """A node that failed stops by itself, as a real one does."""
        await node.failed.wait()
        self.failed_at = self.loop.time()
        self.trace(f"node failed: {node.failure!r}")
        await self._stop(grace_s=0.0)

    def _offload(self, work: Callable[[], T]) -> Awaitable[T]:
        """Implements `Offload`: at once, on the loop."""
        future: asyncio.Future[T] = self.loop.create_future()
        self.loop.call_soon(partial(_finish, future, work))
        return future

    async def stop(self) -> None:
        """Stop in good order and wait for the end."""
        if self._watcher is not None:
            self._watcher.cancel()
        await self._stop(STOP_GRACE_S)

    async def _stop(self, grace_s: float) -> None:
        self.up = False
        self.trace("node stop")
        stopping = self.loop.create_task(self._stop_node(grace_s), name="stop")
        ended = self.loop.create_task(self._ended.wait(), name="stop watch")
        done, _ = await asyncio.wait(
            [stopping, ended], return_when=asyncio.FIRST_COMPLETED, timeout=STOP_LIMIT_S
        )
        ended.cancel()
        if stopping in done and not self._ended.is_set():
            error = stopping.exception()
            if error is not None:
                self.network.report("stop", error)
        elif not done:
            self.network.report("stop", TimeoutError("the node did not stop"))
        if not stopping.done():
            stopping.cancel()
        self._end("stopped", power_loss=False)

    async def _stop_node(self, grace_s: float) -> None:
        await self.network.shut_down(self.address, grace_s)
        await self.node.stop()
        self.network.unlisten(self.peer_address)
        for disk in self._disks:
            await disk.close()

    def _on_crash(self, error: BaseException) -> None:
        self._end(f"crash: {error}", power_loss=self.power_loss)

    def crash(self, *, power_loss: bool) -> None:
        """End the process now. `power_loss`: what was not synced is kept, lost or torn, write by
        write; otherwise the page cache survives."""
        self._end("killed", power_loss=power_loss)

    def _end(self, reason: str, *, power_loss: bool) -> None:
        if not self._alive:
            return
        self._alive = False
        self.up = False
        self._end_reason = reason
        self.trace(f"node end ({'power loss' if power_loss else 'process'}): {reason}")
        for disk in self._disks:
            disk.kill()
        self._spawn.kill()
        self._boot.cancel()
        if isinstance(self.loop, VirtualLoop):
            self.loop.cancel_owned(self.node)
        if self._watcher is not None and self._watcher is not asyncio.current_task(self.loop):
            self._watcher.cancel()
        for address in (self.address, self.peer_address):
            self.network.unlisten(address, node_gone=True)
        if self._transport is not None:
            self._transport.set_addresses({})
            self.network.hang_up(self.name)
        if power_loss:
            self.files.crash(self._rng.child(f"power/{self.incarnation}"))
        else:
            self.files.kill()
        self._ended.set()

    async def wait_ended(self) -> str:
        """Wait until the process is gone; returns why."""
        await self._ended.wait()
        return self._end_reason


def _finish(future: asyncio.Future[T], work: Callable[[], T]) -> None:
    if future.cancelled():
        return
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)
