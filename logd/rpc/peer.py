"""What a node answers to other nodes: raft messages, and calls."""

from __future__ import annotations

from typing import Final

from logd_proto.v1 import peer_pb2 as pb

from logd.rpc.api import Connection, Methods, ServerStream, StreamMethod, UnaryMethod
from logd.rpc.calls import CallLimits
from logd.rpc.peer_codec import (
    ASK_BOUNDS,
    HEARTBEAT,
    IDENTIFY,
    PEER_SERVICE,
    RAFT,
    REPLICATE,
    SNAPSHOT_CHUNK,
    SUBMIT,
    CallRequest,
    CallResponse,
    VotersOf,
    decode_call,
    decode_caller,
    decode_introduction,
    decode_messages,
    encode_answer,
)
from logd.rpc.peer_values import malformed
from logd.rpc.replica_streams import PeerReplicaSource
from logd.runtime.peers import PeerHandler

#: Full names of the services that `build_peer_methods` answers.
PEER_SERVICES: Final = (PEER_SERVICE,)
#: Each node has three connections to each other: for raft messages, for replicas, and for calls,
#: which are the commands that it passes on, and a few others.
PEER_LIMITS: Final = CallLimits(
    calls_max=4_096, connections_max=256, calls_per_connection_max=160, configurable=False
)


class PeerHandlers:
    """The calls of this family. `voters_of` tells which voters an entry puts in force."""

    def __init__(self, handler: PeerHandler, voters_of: VotersOf) -> None:
        self._handler = handler
        self._voters_of = voters_of

    async def raft(self, stream: ServerStream) -> None:
        """Hand on what one peer says, until it ends its stream or may not speak here."""
        frame = await stream.read()
        if frame is None:
            return
        assert isinstance(frame, pb.RaftRequest)
        route = decode_introduction(frame)
        while True:
            for message in decode_messages(frame.messages, route, self._voters_of):
                self._handler.on_message(route.sender, message)
            frame = await stream.read()
            if frame is None:
                return
            assert isinstance(frame, pb.RaftRequest)
            if frame.HasField("sender"):
                malformed("a stream with a second sender")

    async def replicate(self, stream: ServerStream) -> None:
        """Serve the replicas of one follower, until it ends its stream or may not speak here."""
        source = PeerReplicaSource(stream)
        route = await source.begin()
        if route is not None:
            await self._handler.on_replicate(route.sender, route.receiver, source)

    async def call(self, request: CallRequest, _connection: Connection) -> CallResponse:
        """Answer any of the calls."""
        sender = decode_caller(request)
        return encode_answer(await self._handler.on_call(sender, decode_call(request)))


def build_peer_methods(handler: PeerHandler, voters_of: VotersOf) -> Methods:
    """Return the handlers of the peer service over one node."""
    handlers = PeerHandlers(handler, voters_of)
    return Methods(
        unary={
            IDENTIFY: UnaryMethod(pb.IdentifyRequest, handlers.call),
            SUBMIT: UnaryMethod(pb.SubmitRequest, handlers.call),
            HEARTBEAT: UnaryMethod(pb.HeartbeatRequest, handlers.call),
            ASK_BOUNDS: UnaryMethod(pb.AskBoundsRequest, handlers.call),
            SNAPSHOT_CHUNK: UnaryMethod(pb.SnapshotChunkRequest, handlers.call),
        },
        streams={
            RAFT: StreamMethod(pb.RaftRequest, pb.RaftResponse, handlers.raft),
            REPLICATE: StreamMethod(pb.ReplicateRequest, pb.ReplicateResponse, handlers.replicate),
        },
    )
