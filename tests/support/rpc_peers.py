"""Members of a quorum without one: what is said arrives in lists, calls get answers by rote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from logd_client._transport.grpc import GrpcTransport
from logd_wire.errors import ErrorCode, LogdError

from logd.consensus.messages import Body, HeartbeatRequest, Message
from logd.metadata import ProducerIdBlock
from logd.model.ids import NO_NODE, ClusterId, DirectoryId, LogIndex, NodeId, Term
from logd.rpc.api import Methods
from logd.rpc.peer import PEER_SERVICES, build_peer_methods
from logd.rpc.peer_codec import PEER_RESPONSES
from logd.rpc.peer_transport import PEER_CHANNEL_OPTIONS, RpcPeerTransport
from logd.rpc.server import RpcServer
from logd.runtime.adapters import SystemClock, SystemRng
from logd.runtime.peers import (
    AskBounds,
    Bounds,
    BoundsTold,
    ChunkTaken,
    Identified,
    Identify,
    NodeHeartbeat,
    NodeHeartbeatAnswer,
    PeerAnswer,
    PeerCall,
    PeerIdentity,
    SnapshotChunk,
    Submit,
    Submitted,
)
from logd.runtime.replica_frames import ReplicaChunk, ReplicaPosition, ReplicaSource
from tests.support.peer_values import voters_of

CLUSTER = ClusterId(b"cluster of tests")


def identity(node: int, cluster: ClusterId | None = CLUSTER) -> PeerIdentity:
    return PeerIdentity(cluster, NodeId(node), DirectoryId(bytes([node]) * 16))


def message(sender: int, to: int, body: Body) -> Message:
    return Message(NodeId(sender), identity(sender).directory_id, NodeId(to), body)


def heartbeat(number: int) -> HeartbeatRequest:
    """One of many: `number` is its round."""
    return HeartbeatRequest(Term(1), LogIndex(0), number)


def _nothing_new(position: ReplicaPosition) -> ReplicaChunk:
    return ReplicaChunk(position.partition, position.leader_epoch)


@dataclass(slots=True)
class FakePeerHandler:
    """Takes in what arrives, from its own cluster; `on_call` answers as `answers` says."""

    me: PeerIdentity
    arrived: list[Message] = field(default_factory=list)
    callers: list[PeerIdentity] = field(default_factory=list)
    calls: list[PeerCall] = field(default_factory=list)
    refusal: LogdError | None = None
    answers: Callable[[PeerCall], Awaitable[PeerAnswer]] | None = None
    chunk_of: Callable[[ReplicaPosition], ReplicaChunk] = _nothing_new

    def on_message(self, sender: PeerIdentity, message: Message) -> None:
        self._check(sender)
        self.arrived.append(message)

    async def on_replicate(
        self, sender: PeerIdentity, receiver: NodeId, source: ReplicaSource
    ) -> None:
        """Answer each position with what `chunk_of` makes of it."""
        self.callers.append(sender)
        self._check(sender)
        assert receiver == self.me.node_id
        while (positions := await source.read()) is not None:
            await source.write([self.chunk_of(position) for position in positions])

    async def on_call(self, sender: PeerIdentity, call: PeerCall) -> PeerAnswer:
        self.callers.append(sender)
        self.calls.append(call)
        if not isinstance(call, Identify):
            self._check(sender)
        if self.answers is not None:
            return await self.answers(call)
        match call:
            case Identify():
                return Identified(self.me, Term(1), NO_NODE, "")
            case Submit():
                return Submitted(ProducerIdBlock(5, 1_000), LogIndex(7))
            case NodeHeartbeat():
                return NodeHeartbeatAnswer(True)
            case SnapshotChunk():
                return ChunkTaken(call.position + len(call.data))
            case AskBounds():
                return BoundsTold(tuple(Bounds(0, 7, 9) for _ in call.queries))

    def rounds(self, sender: int) -> list[int]:
        """Rounds of the heartbeats that arrived from one node."""
        return [
            each.body.round
            for each in self.arrived
            if each.sender == sender and isinstance(each.body, HeartbeatRequest)
        ]

    def _check(self, sender: PeerIdentity) -> None:
        if self.refusal is not None:
            raise self.refusal
        if sender.cluster_id != self.me.cluster_id:
            raise LogdError(
                "this node belongs to another cluster",
                code=ErrorCode.CLUSTER_ID_MISMATCH,
                hint="check cluster.peers",
            )


def grpc_transport() -> RpcPeerTransport:
    """What a node speaks to others with."""
    network = GrpcTransport(responses=PEER_RESPONSES, options=PEER_CHANNEL_OPTIONS)
    return RpcPeerTransport(network, SystemClock(), SystemRng())


class Member:
    """One node's both ends over gRPC, on a free port of this machine."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.handler = FakePeerHandler(identity(number))
        self.transport = grpc_transport()
        self.transport.introduce(self.handler.me)
        self.port = 0
        self._server: RpcServer | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def listen(self, methods: Methods | None = None) -> None:
        """Listen, on the same port as before if there was one."""
        methods = methods or build_peer_methods(self.handler, voters_of)
        self._server = RpcServer(methods, services=PEER_SERVICES)
        self.port = await self._server.start(f"127.0.0.1:{self.port}")

    async def stop_listening(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    def send(self, to: int, body: Body) -> None:
        self.transport.send(message(self.number, to, body))

    async def close(self) -> None:
        await self.transport.close()
        await self.stop_listening()


@asynccontextmanager
async def members(count: int) -> AsyncIterator[list[Member]]:
    """So many members, numbered from 1, that know each other's addresses."""
    found = [Member(number) for number in range(1, count + 1)]
    try:
        for each in found:
            await each.listen()
        addresses = addresses_of(found)
        for each in found:
            each.transport.set_addresses(addresses)
        yield found
    finally:
        await asyncio.gather(*(each.close() for each in found))


def addresses_of(found: list[Member]) -> Mapping[NodeId, str]:
    return {NodeId(each.number): each.address for each in found}


def outbox(transport: RpcPeerTransport, to: int) -> Any:
    """What waits to be written to one peer."""
    return transport._links[NodeId(to)]._outbox
