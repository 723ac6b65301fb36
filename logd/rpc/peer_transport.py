"""The way to other nodes, over any `Transport` of the client: gRPC, or a network in memory.

Each peer has a connection for its stream of raft messages, and one for calls, so that a snapshot
or a command delays no heartbeat. A peer that is slow, silent or gone takes a bounded queue and
one task, and touches no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from logd_client._transport.api import Channel, Transport
from logd_wire.errors import InvalidRequestError, NetworkError

from logd.consensus.messages import Message
from logd.model.ids import NodeId
from logd.rpc.peer_codec import Route, decode_answer, encode_call
from logd.rpc.peer_link import PeerLink, is_cancelled
from logd.rpc.replica_streams import PeerReplicaStream
from logd.runtime.peers import PeerAnswer, PeerCall, PeerIdentity
from logd.runtime.ports import Clock, Rng

#: Options of gRPC for connections between nodes, beside those of the client.
PEER_CHANNEL_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    # Our own backoff is the one that counts.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 50),
    # How long one attempt to connect may take. A network that comes back in between is found by
    # the next one.
    ("grpc.min_reconnect_backoff_ms", 2_000),
)
#: Connections for calls that are kept, of those not in use.
_CHANNELS_KEPT: Final = 16


class RpcPeerTransport:
    """Implements `PeerTransport`. To be used on one event loop, from its creation on."""

    def __init__(self, transport: Transport, clock: Clock, rng: Rng) -> None:
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self._identity: PeerIdentity | None = None
        self._links: dict[NodeId, PeerLink] = {}
        self._addresses: dict[NodeId, str] = {}
        self._calls = _CallChannels(transport)
        # A dict keeps the order of the ends.
        self._ending: dict[asyncio.Task[None], None] = {}
        self._closed = False

    def introduce(self, identity: PeerIdentity) -> None:
        if identity != self._identity:
            self._identity = identity
            self._connect()

    def set_addresses(self, addresses: Mapping[NodeId, str]) -> None:
        self._addresses = {node: address for node, address in addresses.items() if address}
        self._connect()

    def send(self, message: Message) -> None:
        link = self._links.get(message.to)
        if link is None or self._closed:
            return
        sender = link.route.sender
        # On the wire a message has no sender but that of its stream.
        if (message.sender, message.sender_directory) == (sender.node_id, sender.directory_id):
            link.send(message.body)

    async def call(self, address: str, call: PeerCall, *, timeout_ms: int) -> PeerAnswer:
        if self._identity is None:
            raise RuntimeError("a call before introduce()")
        if self._closed:
            raise _closed(address)
        method, request = encode_call(self._identity, call)
        try:
            async with self._calls.channel(address) as channel:
                response = await channel.unary(method, request, timeout_ms=timeout_ms)
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise _closed(address) from None
        try:
            return decode_answer(response)
        except InvalidRequestError as error:
            raise NetworkError(error.message, hint=error.hint, broker=address) from None

    def replicate(self, node_id: NodeId, address: str) -> PeerReplicaStream:
        if self._identity is None:
            raise RuntimeError("a stream before introduce()")
        if self._closed:
            raise _closed(address)
        route = Route(self._identity, node_id)
        return PeerReplicaStream(route, self._transport.connect(address))

    async def close(self) -> None:
        """End all streams and calls, and wait until all is closed."""
        self._closed = True
        self._addresses = {}
        self._connect()
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._calls.close()

    def _connect(self) -> None:
        """Make the links those that identity and addresses ask for."""
        for node, link in list(self._links.items()):
            wanted = self._addresses.get(node)
            if link.address != wanted or link.route.sender != self._identity:
                ending = asyncio.ensure_future(self._links.pop(node).close())
                self._ending[ending] = None
                ending.add_done_callback(self._ending.pop)
        if self._identity is None:
            return
        for node, address in self._addresses.items():
            if node not in self._links:
                route = Route(self._identity, node)
                channel = self._transport.connect(address)
                self._links[node] = PeerLink(route, channel, self._clock, self._rng)


def _closed(address: str) -> NetworkError:
    return NetworkError("this node is stopping", broker=address)


class _CallChannels:
    """Connections for calls, by address; those idle longest are closed when there are many."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        #: The one used last is the last.
        self._channels: dict[str, Channel] = {}
        self._in_use: dict[str, int] = {}

    @asynccontextmanager
    async def channel(self, address: str) -> AsyncIterator[Channel]:
        """The connection to `address`, which stays open for the block."""
        channel = self._channels.pop(address, None) or self._transport.connect(address)
        self._channels[address] = channel
        self._in_use[address] = self._in_use.get(address, 0) + 1
        try:
            yield channel
        finally:
            self._in_use[address] -= 1
            if not self._in_use[address]:
                del self._in_use[address]
            await self._close_surplus()

    async def _close_surplus(self) -> None:
        idle = [address for address in self._channels if address not in self._in_use]
        for address in idle[: max(len(self._channels) - _CHANNELS_KEPT, 0)]:
            await self._channels.pop(address).close()

    async def close(self) -> None:
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()
