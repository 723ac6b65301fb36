"""The composition root: the only module that names concrete classes for a real node."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from logd_client._transport.grpc import GrpcTransport
from logd_wire.errors import ConfigError, StorageFailedError

from logd import __version__
from logd.http.endpoints import Endpoints
from logd.http.server import HttpServer
from logd.http.sync_times import SyncTimes
from logd.http.watch import CallCounts, NodeWatch
from logd.model.node_config import NodeConfig, NodeConfigEntry
from logd.rpc.calls import CallLimits
from logd.rpc.edge import Edge, ThreadOffload
from logd.rpc.memory import share_heaps
from logd.rpc.methods import SERVICES, build_methods
from logd.rpc.peer import PEER_LIMITS, PEER_SERVICES, build_peer_methods
from logd.rpc.peer_codec import PEER_RESPONSES
from logd.rpc.peer_transport import PEER_CHANNEL_OPTIONS, RpcPeerTransport
from logd.rpc.server import RpcServer
from logd.runtime.adapters import ChildCleaning, SystemClock, SystemRng, TaskSpawn, ThreadDisk
from logd.runtime.node import Node
from logd.runtime.voters import voters_of
from logd.runtime.world import Ports
from logd.storage import RealFiles

_logger = logging.getLogger("logd.node")

#: How long calls under way may take to end when the node is told to stop.
STOP_GRACE_S = 5.0
#: The same of other nodes, which have to do without this one anyway.
PEER_STOP_GRACE_S = 1.0
#: The same for answers of the admin port that are on their way.
ADMIN_STOP_GRACE_S = 1.0
#: The collector of cycles looks at new objects once there are so many.
_YOUNG_OBJECTS_MAX = 10_000


@asynccontextmanager
async def running_node(
    config: NodeConfig, entries: Sequence[NodeConfigEntry] = ()
) -> AsyncIterator[Node]:
    """A node that serves clients inside the block; its address is `config.listeners.advertised`
    of the node yielded (a configured port 0 has become a real one there).

    Raises ConfigError when the address or the data directory cannot be had.
    """
    share_heaps()
    config = _with_real_ports(config)
    syncs = SyncTimes()
    ports = _ports(config, syncs)
    watch = NodeWatch(config, ports, syncs, version=__version__)
    try:
        # It comes first and goes last: a start or a stop that takes long can be looked at.
        async with _admin_listener(config, watch) as config:
            node = Node(config, entries, ports, version=__version__)
            watch.starts(node)
            # The others are needed to start, and to end what is under way.
            async with _peer_listener(config, node):
                await node.start()
                try:
                    async with _client_listener(node, watch):
                        yield node
                finally:
                    await node.stop()
    finally:
        for disk in (ports.disk, ports.metadata_disk):
            await disk.close()


@asynccontextmanager
async def _client_listener(node: Node, watch: NodeWatch) -> AsyncIterator[None]:
    """Serve clients of a node that has started, inside the block."""
    listeners = node.config.listeners
    offload = ThreadOffload()
    try:
        inside = Edge(node.broker, node.ports.clock, offload, requests=node.meters.requests)
        async with _listener(node, inside, listeners.grpc) as calls:
            _announce(node.config)
            async with AsyncExitStack() as stack:
                counted = [calls]
                if listeners.outside:
                    outside = replace(inside, addresses=dict(listeners.outside_advertised))
                    counted.append(
                        await stack.enter_async_context(_listener(node, outside, listeners.outside))
                    )
                    _announce_outside(node.config)
                watch.serves(node, counted)
                try:
                    yield
                finally:
                    watch.stops()
    finally:
        offload.close()


@asynccontextmanager
async def _listener(node: Node, edge: Edge, address: str) -> AsyncIterator[CallCounts]:
    limits = node.config.limits
    server = RpcServer(
        build_methods(edge),
        services=SERVICES,
        limits=CallLimits(
            connections_max=limits.connections,
            calls_per_connection_max=limits.streams_per_connection,
        ),
        requests=edge.requests,
    )
    try:
        await server.start(address)
        yield server.calls
    finally:
        await server.stop(STOP_GRACE_S if node.failure is None else 0)


@asynccontextmanager
async def _peer_listener(config: NodeConfig, node: Node) -> AsyncIterator[None]:
    """Answer other nodes inside the block, where that is configured."""
    address = config.listeners.peer
    if not address:
        yield
        return
    methods = build_peer_methods(node.peers, voters_of)
    server = RpcServer(methods, services=PEER_SERVICES, limits=PEER_LIMITS)
    try:
        await server.start(address)
        _announce_to_peers(config)
        yield
    finally:
        await server.stop(PEER_STOP_GRACE_S if node.failure is None else 0)


@asynccontextmanager
async def _admin_listener(config: NodeConfig, watch: NodeWatch) -> AsyncIterator[NodeConfig]:
    """Answer on the admin port inside the block, which gets the configuration with its real
    address. Raises ConfigError when the address was asked for and cannot be had."""
    listeners = config.listeners
    if not listeners.admin:
        yield config
        return
    server = HttpServer(Endpoints(watch))
    address = await server.start(listeners.admin, or_any_port=listeners.admin_is_default)
    taken = listeners.admin_is_default and address != listeners.admin
    why = f" ({listeners.admin} is taken; listeners.admin chooses another)" if taken else ""
    _logger.info("health and metrics at http://%s%s", address, why)
    if not _is_loopback(address):
        _warn_of_exposure(address)
    try:
        yield replace(config, listeners=replace(listeners, admin=address))
    finally:
        await server.stop(ADMIN_STOP_GRACE_S)


async def serve(
    config: NodeConfig,
    entries: Sequence[NodeConfigEntry] = (),
    *,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Run a node until SIGTERM or SIGINT; `ready` is called with its address once it serves.

    A node that waits for others to form a cluster ends by the signals too. Raises
    StorageFailedError when it had to stop by itself.
    """
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    async with AsyncExitStack() as stack:
        starting = stack.enter_async_context(running_node(config, entries))
        node = await _unless_asked_to_stop(starting, asked_to_stop)
        if node is None:
            _logger.info("stopped before the node served")
            return
        _spare_the_collector()
        if ready is not None:
            ready(node.config.listeners.advertised)
        ends = [loop.create_task(asked_to_stop.wait()), loop.create_task(node.failed.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        if node.failure is None:
            _logger.info("stopping")
    if node.failure is not None:
        raise StorageFailedError(
            f"the node stopped by itself: {node.failure}",
            hint="nothing was acknowledged after the error; check the disk, then start it again",
            retriable=False,
        ) from node.failure


def _spare_the_collector() -> None:
    """Let the collector of cycles look at what is new, and that less often.

    Every call that waits is a few dozen objects, thousands may wait, and what makes up the node
    itself stays: by default a tenth of the time would go into looking at all that again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS_MAX, 20, 50)


async def _unless_asked_to_stop(
    starting: Coroutine[Any, Any, Node], asked_to_stop: asyncio.Event
) -> Node | None:
    """The node once it has started; None: it was asked to stop before, and has given up."""
    loop = asyncio.get_running_loop()
    work = loop.create_task(starting, name="start")
    asked = loop.create_task(asked_to_stop.wait())
    try:
        await asyncio.wait([work, asked], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        return None
    finally:
        asked.cancel()
        work.cancel()


def _ports(config: NodeConfig, syncs: SyncTimes) -> Ports:
    root = Path(config.node.data_dir)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    clock, rng = SystemClock(), SystemRng()
    transport = None
    if config.listeners.peer:
        network = GrpcTransport(responses=PEER_RESPONSES, options=PEER_CHANNEL_OPTIONS)
        transport = RpcPeerTransport(network, clock, rng)
    return Ports(
        files=RealFiles(root, synced=syncs.record),
        disk=ThreadDisk("disk"),
        metadata_disk=ThreadDisk("metadata"),
        clock=clock,
        rng=rng,
        spawn=TaskSpawn,
        transport=transport,
        cleaning=ChildCleaning(root.resolve(), config.cleaner.io_bytes_per_second),
    )


def _with_real_ports(config: NodeConfig) -> NodeConfig:
    """Replace a configured port 0 by a free one, so that the node can say where it is."""
    before = config.listeners
    grpc = _with_real_port("listeners.grpc", before.grpc)
    peer = _with_real_port("listeners.peer", before.peer)
    listeners = replace(
        before,
        grpc=grpc,
        advertised=grpc if before.advertised == before.grpc else before.advertised,
        peer=peer,
        peer_advertised=peer if before.peer_advertised == before.peer else before.peer_advertised,
    )
    return replace(config, listeners=listeners)


def _with_real_port(name: str, address: str) -> str:
    host, _, port = address.rpartition(":")
    if port != "0":
        return address
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        try:
            probe.bind((host.strip("[]"), 0))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {address}: {error}", hint=f"check {name}"
            ) from error
        return f"{host}:{probe.getsockname()[1]}"


def _announce(config: NodeConfig) -> None:
    listen, advertised = config.listeners.grpc, config.listeners.advertised
    _logger.info("listening on %s; clients are told to connect to %s", listen, advertised)
    if _is_loopback(listen):
        return
    _warn_of_exposure(listen)
    if _is_loopback(advertised):
        _logger.warning(
            "clients on other machines are told to connect to %s and cannot: set"
            " listeners.advertised",
            advertised,
        )


def _announce_outside(config: NodeConfig) -> None:
    listen, advertised = config.listeners.outside, dict(config.listeners.outside_advertised)
    _logger.info(
        "listening on %s for clients from outside, which are told to connect to %s",
        listen,
        advertised[config.node.id],
    )
    if not _is_loopback(listen):
        _warn_of_exposure(listen)


def _announce_to_peers(config: NodeConfig) -> None:
    listen, advertised = config.listeners.peer, config.listeners.peer_advertised
    _logger.info("listening on %s for other nodes, which are told %s", listen, advertised)
    if _is_loopback(listen):
        return
    _warn_of_exposure(listen)
    if _is_loopback(advertised) or _host(advertised) in {"0.0.0.0", "::"}:
        _logger.warning(
            "nodes on other machines are told to connect to %s and cannot: set"
            " listeners.peer_advertised",
            advertised,
        )


def _warn_of_exposure(listen: str) -> None:
    _logger.warning(
        "listening on %s without encryption or authentication: leave it on a trusted network",
        listen,
    )


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _is_loopback(address: str) -> bool:
    return _host(address).startswith(("127.", "localhost", "::1"))
