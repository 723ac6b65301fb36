"""What nodes say to each other: raft messages, and calls with an answer; and the port for both.

The edge translates (`logd.rpc`), the drivers decide. Every connection begins with the identity of
its sender, so that a node of another cluster, or an emptied one, is refused in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from logd_wire.errors import LogdError

from logd.consensus.log_types import SnapshotMeta
from logd.consensus.messages import Message
from logd.metadata import Command, Reply
from logd.model.ids import ClusterId, DirectoryId, LogIndex, NodeId, Term, TopicPartitionId
from logd.runtime.replica_frames import ReplicaSource, ReplicaStream


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who speaks. `cluster_id` is None as long as the node belongs to no cluster."""

    cluster_id: ClusterId | None
    node_id: NodeId
    directory_id: DirectoryId


@dataclass(frozen=True, slots=True)
class Identify:
    """Who are you, and who leads? Answered by `Identified`, also to strangers."""


@dataclass(frozen=True, slots=True)
class Identified:
    identity: PeerIdentity
    term: Term
    #: NO_NODE: unknown.
    leader_id: NodeId
    #: Peer address of the leader; empty: unknown.
    leader_address: str


@dataclass(frozen=True, slots=True)
class Submit:
    """Decide on a command; only the leader does. Answered by `Submitted`, or refused."""

    command: Command


@dataclass(frozen=True, slots=True)
class Submitted:
    reply: Reply
    #: End index of the log at which the reply holds: a node that has applied so far sees it.
    index: LogIndex


@dataclass(frozen=True, slots=True)
class NodeHeartbeat:
    """The session of a node with the controller. Answered by `NodeHeartbeatAnswer`."""

    node_id: NodeId
    incarnation_id: bytes
    #: How far the node has followed the metadata log; end index.
    applied_index: LogIndex


@dataclass(frozen=True, slots=True)
class NodeHeartbeatAnswer:
    """`fenced`: the controller does not count on the node (yet, or any more)."""

    fenced: bool


@dataclass(frozen=True, slots=True)
class SnapshotChunk:
    """A part of a snapshot, in order. Answered by `ChunkTaken` when it is kept; the last one when
    all of it is durable."""

    term: Term
    snapshot: SnapshotMeta
    #: Of `data` in the whole.
    position: int
    size_bytes: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ChunkTaken:
    #: The position of the chunk expected next; `size_bytes`: complete.
    position: int


@dataclass(frozen=True, slots=True)
class BoundsQuery:
    """A partition, and an offset whose append time is asked for; -1: none."""

    partition: TopicPartitionId
    offset: int = -1


@dataclass(frozen=True, slots=True)
class AskBounds:
    """Where do partitions that you lead begin and end? Answered by `BoundsTold`."""

    queries: tuple[BoundsQuery, ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What can be read of a partition. `append_time_ms`: of the record at the offset that was
    asked for, or the first one after it; -1: there is none, or nobody knows."""

    start_offset: int
    high_watermark: int
    append_time_ms: int = -1


BoundsAnswer = Bounds | LogdError


@dataclass(frozen=True, slots=True)
class BoundsTold:
    #: In the order of the queries.
    answers: tuple[BoundsAnswer, ...]


PeerCall = Identify | Submit | NodeHeartbeat | SnapshotChunk | AskBounds
PeerAnswer = Identified | Submitted | NodeHeartbeatAnswer | ChunkTaken | BoundsTold


class PeerTransport(Protocol):
    """The way to other nodes, by their peer listener."""

    def introduce(self, identity: PeerIdentity) -> None:
        """Speak as `identity` from now on."""
        ...

    def set_addresses(self, addresses: Mapping[NodeId, str]) -> None:
        """Where the members are (`host:port`); connections to those that are gone are closed."""
        ...

    def send(self, message: Message) -> None:
        """Send to `message.to`, in order; never waits. What cannot be sent is dropped."""
        ...

    async def call(self, address: str, call: PeerCall, *, timeout_ms: int) -> PeerAnswer:
        """Ask the node at `address`.

        Raises the LogdError that it answered with, NetworkError, TimeoutError.
        """
        ...

    def replicate(self, node_id: NodeId, address: str) -> ReplicaStream:
        """Open a stream to copy what the node at `address` leads; whoever asks closes it.

        Opening does not connect: the first position does.
        """
        ...

    async def close(self) -> None: ...


class PeerHandler(Protocol):
    """What the edge hands arriving messages and calls to."""

    def on_message(self, sender: PeerIdentity, message: Message) -> None:
        """Take one message in. Raises LogdError in words when `sender` may not speak here."""
        ...

    async def on_call(self, sender: PeerIdentity, call: PeerCall) -> PeerAnswer:
        """Answer. Raises LogdError to refuse."""
        ...

    async def on_replicate(
        self, sender: PeerIdentity, receiver: NodeId, source: ReplicaSource
    ) -> None:
        """Serve what `sender` copies, until the stream ends; `receiver`: whom it means.

        Raises LogdError to refuse.
        """
        ...
