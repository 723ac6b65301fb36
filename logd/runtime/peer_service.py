"""What this node answers to other nodes, and to whom.

| who speaks | what it may |
| --- | --- |
| anybody | ask who we are (`Identify`) |
| a node of another cluster, or of none | nothing else |
| our own node id | nothing else: two nodes are configured with one id |
| a node whose directory was struck out, or is another one than is registered | register |
| the same | speak as the leader of a term: it was elected, and we may not know of it yet |
| everybody else of the cluster | everything |

A node that nobody here knows of is let through: its registration may be on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

from logd_wire.errors import (
    ErrorCode,
    InvalidRequestError,
    LogdError,
    NotLeaderError,
    ShuttingDownError,
)

from logd.consensus.messages import AppendRequest, HeartbeatRequest, InstallSnapshot, Message
from logd.metadata import ClusterImage, RegisterNode
from logd.model.ids import NO_NODE, ClusterId, DirectoryId, NodeId, Term, format_id
from logd.runtime.addresses import AddressBook
from logd.runtime.consensus_driver import ConsensusDriver
from logd.runtime.controller import Controller
from logd.runtime.metadata_driver import MetadataDriver
from logd.runtime.peers import (
    AskBounds,
    BoundsAnswer,
    BoundsQuery,
    BoundsTold,
    Identified,
    Identify,
    NodeHeartbeat,
    NodeHeartbeatAnswer,
    PeerAnswer,
    PeerCall,
    PeerIdentity,
    SnapshotChunk,
    Submit,
)
from logd.runtime.replica_frames import ReplicaServer, ReplicaSource

#: How long a leader may take to be sure that it is one; the caller gives up before.
HEARTBEAT_TIMEOUT_MS: Final = 5_000

#: What only the leader of a term says: a majority elected it, under whatever directory.
_OF_A_LEADER: Final = (AppendRequest, HeartbeatRequest, InstallSnapshot)


class BoundsHere(Protocol):
    """Says where the partitions that this node leads begin and end."""

    async def here(self, queries: Sequence[BoundsQuery]) -> tuple[BoundsAnswer, ...]: ...


@dataclass(frozen=True, slots=True)
class Member:
    """What a node consists of towards others, once it belongs to a cluster."""

    cluster_id: ClusterId
    consensus: ConsensusDriver
    metadata: MetadataDriver
    controller: Controller
    addresses: AddressBook
    replicas: ReplicaServer
    bounds: BoundsHere


class PeerService:
    """Implements `PeerHandler`. Before `join` it only says who it is; messages that come so early
    are lost, as others are on a bad way."""

    def __init__(self, node_id: NodeId) -> None:
        self._node_id = node_id
        self._directory_id: DirectoryId | None = None
        self._cluster_id: ClusterId | None = None
        self._member: Member | None = None
        self._left = False

    def introduce(self, directory_id: DirectoryId, cluster_id: ClusterId | None) -> None:
        """The data directory is open; `cluster_id` None: it belongs to no cluster yet."""
        self._directory_id = directory_id
        self._cluster_id = cluster_id

    def join(self, member: Member) -> None:
        """From here on there is a log, and the node takes part."""
        self._cluster_id = member.cluster_id
        self._member = member

    def leave(self) -> None:
        """The node is stopping: nothing is answered any more but who it is."""
        self._member = None
        self._left = True

    # --- as the handler ----------------------------------------------------------------------

    def on_message(self, sender: PeerIdentity, message: Message) -> None:
        if self._member is None and not self._left:
            return
        member = self._check_cluster(sender)
        if message.to != self._node_id:
            raise InvalidRequestError(
                f"a message for node {message.to} came to node {self._node_id}",
                hint="check cluster.peers and listeners.peer_advertised of both nodes",
            )
        if not isinstance(message.body, _OF_A_LEADER):
            _check_directory(sender, member)
        member.consensus.on_message(message)

    async def on_call(self, sender: PeerIdentity, call: PeerCall) -> PeerAnswer:
        if isinstance(call, Identify):
            return self._identified()
        member = self._check_cluster(sender)
        match call:
            case Submit():
                self._check_submit(sender, call, member)
                return await member.metadata.decide(call.command)
            case NodeHeartbeat():
                _check_directory(sender, member)
                fenced = await member.controller.confirmed_heartbeat(
                    call, timeout_ms=HEARTBEAT_TIMEOUT_MS
                )
                return NodeHeartbeatAnswer(fenced)
            case SnapshotChunk():
                return await member.consensus.take_chunk(call)
            case AskBounds():
                _check_directory(sender, member)
                return BoundsTold(await member.bounds.here(call.queries))
            case _:
                assert_never(call)

    async def on_replicate(
        self, sender: PeerIdentity, receiver: NodeId, source: ReplicaSource
    ) -> None:
        member = self._check_cluster(sender)
        _check_directory(sender, member)
        if receiver != self._node_id:
            raise InvalidRequestError(
                f"node {sender.node_id} means to copy from node {receiver}, this is node "
                f"{self._node_id}",
                hint="check the addresses in cluster.peers",
            )
        await member.replicas.serve(sender.node_id, source)

    def _identified(self) -> Identified:
        if self._directory_id is None:
            raise self._not_yet("is starting")
        identity = PeerIdentity(self._cluster_id, self._node_id, self._directory_id)
        if self._member is None:
            return Identified(identity, Term(0), NO_NODE, "")
        consensus = self._member.consensus
        leader_id = consensus.leader_id
        if leader_id is None:
            return Identified(identity, consensus.term, NO_NODE, "")
        address = self._member.addresses.of(leader_id)
        return Identified(identity, consensus.term, leader_id, address)

    # --- who may speak -----------------------------------------------------------------------

    def _check_cluster(self, sender: PeerIdentity) -> Member:
        member = self._member
        if member is None:
            raise self._not_yet("takes part in no cluster yet")
        if sender.cluster_id != member.cluster_id:
            theirs = "none" if sender.cluster_id is None else format_id(sender.cluster_id)
            raise LogdError(
                f"node {self._node_id} belongs to cluster {format_id(member.cluster_id)}, node "
                f"{sender.node_id} to {theirs}",
                hint="check cluster.peers and cluster.id of both nodes",
                code=ErrorCode.CLUSTER_ID_MISMATCH,
            )
        if sender.node_id == self._node_id:
            raise InvalidRequestError(
                f"another node says that it is node {self._node_id}, too",
                hint="give each node a node.id of its own",
            )
        return member

    def _check_submit(self, sender: PeerIdentity, call: Submit, member: Member) -> None:
        command = call.command
        if not isinstance(command, RegisterNode):
            _check_directory(sender, member)
        elif (command.node_id, command.directory_id) != (sender.node_id, sender.directory_id):
            raise InvalidRequestError(
                f"node {sender.node_id} would register node {command.node_id}",
                hint="a node registers itself alone",
            )

    def _not_yet(self, what: str) -> LogdError:
        if self._left:
            return ShuttingDownError(f"node {self._node_id} is stopping", hint="try another node")
        return NotLeaderError(
            f"node {self._node_id} {what}",
            hint="try again in a moment",
            code=ErrorCode.NOT_CONTROLLER,
        )


def _check_directory(sender: PeerIdentity, member: Member) -> None:
    """Refuse a node that forgot what it promised: its directory is not the one that is known.

    Voters are those of the log, committed or not; registrations those that are committed here.
    """
    image: ClusterImage = member.metadata.image
    if sender.directory_id in image.removed:
        raise InvalidRequestError(
            f"node {sender.node_id} with data directory {format_id(sender.directory_id)} was taken "
            "out of the cluster",
            hint="start the node with an empty data directory",
        )
    known = next(
        (each.directory_id for each in member.consensus.voters if each.node_id == sender.node_id),
        None,
    )
    registered = image.nodes.get(sender.node_id)
    if known is None and registered is not None:
        known = registered.directory_id
    if known not in (None, sender.directory_id):
        raise InvalidRequestError(
            f"node {sender.node_id} is known with data directory {format_id(known or b'')}, and "
            f"speaks with {format_id(sender.directory_id)}: its disk was emptied, or two nodes "
            "have one id",
            hint=f"if the old directory is lost: `logd node replace {sender.node_id}`",
        )
