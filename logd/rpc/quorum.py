"""The cluster, its metadata quorum, and who belongs to both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from logd_proto.v1 import admin_pb2
from logd_wire.errors import InvalidRequestError
from logd_wire.limits import MIB

from logd.consensus.log_types import Role
from logd.metadata import AddVoter, RemoveNode, ReplaceNode
from logd.metadata.image import ClusterImage
from logd.model.ids import ID_BYTES, DirectoryId, LogIndex, NodeId, format_id
from logd.rpc.api import Connection
from logd.rpc.checks import INT32_MAX, INT64_MAX, check_range
from logd.rpc.edge import Edge, Operation
from logd.rpc.handshake import nodes
from logd.runtime.consensus_driver import ConsensusStatus
from logd.runtime.quorum_view import StoredEntry, submit_in_steps
from logd.runtime.raft_words import describe_payload

ENTRIES_MAX: Final = 1_000
ENTRIES_DEFAULT: Final = 100
#: Payload bytes after which one answer ends; it has at least one entry.
ENTRIES_BYTES: Final = MIB

_ROLES: Final = {
    Role.FOLLOWER: admin_pb2.QUORUM_ROLE_FOLLOWER,
    Role.PRE_CANDIDATE: admin_pb2.QUORUM_ROLE_PRE_CANDIDATE,
    Role.CANDIDATE: admin_pb2.QUORUM_ROLE_CANDIDATE,
    Role.LEADER: admin_pb2.QUORUM_ROLE_LEADER,
}


class QuorumHandlers:
    """The calls of this family."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    # ---- looking ---------------------------------------------------------------------------

    async def describe_cluster(
        self, _request: admin_pb2.DescribeClusterRequest, connection: Connection
    ) -> admin_pb2.DescribeClusterResponse:
        """Identity, nodes and controller, as this node knows them."""
        self._edge.authorize_cluster(connection, Operation.DESCRIBE)
        identity = self._edge.broker.identity
        image, status = self._edge.image, self._edge.broker.quorum
        return admin_pb2.DescribeClusterResponse(
            cluster_id=format_id(identity.cluster_id),
            controller_id=status.leader_id,
            node_id=identity.node_id,
            version=identity.version,
            nodes=nodes(self._edge, image),
            members=_members(self._edge, image, status),
            metadata_index=status.applied_index,
            controller_epoch=status.term,
        )

    async def describe_quorum(
        self, _request: admin_pb2.DescribeQuorumRequest, connection: Connection
    ) -> admin_pb2.DescribeQuorumResponse:
        """This node's part in the quorum."""
        self._edge.authorize_cluster(connection, Operation.DESCRIBE)
        identity, status = self._edge.broker.identity, self._edge.broker.quorum
        return admin_pb2.DescribeQuorumResponse(
            cluster_id=format_id(identity.cluster_id),
            node_id=identity.node_id,
            role=_ROLES[status.role],
            term=status.term,
            vote=status.vote,
            leader_id=status.leader_id,
            commit_index=status.commit_index,
            applied_index=status.applied_index,
            end_index=status.end_index,
            snapshot_index=status.snapshot_point.index,
            snapshot_term=status.snapshot_point.term,
            voters=[
                admin_pb2.QuorumVoter(
                    node_id=voter.node_id,
                    directory_id=voter.directory_id,
                    address=voter.address,
                )
                for voter in status.voters
            ],
            progress=[
                admin_pb2.QuorumProgress(
                    node_id=each.node_id,
                    match_index=each.match_index,
                    next_index=each.next_index,
                    voter=each.is_voter,
                    active=each.active,
                    state=each.state.value,
                )
                for each in status.progress
            ],
        )

    async def read_raft_log(
        self, request: admin_pb2.ReadRaftLogRequest, connection: Connection
    ) -> admin_pb2.ReadRaftLogResponse:
        """A page of this node's metadata log."""
        self._edge.authorize_cluster(connection, Operation.DESCRIBE)
        check_range("start_index", request.start_index, 0, INT64_MAX)
        check_range("max_entries", request.max_entries, 0, ENTRIES_MAX)
        broker = self._edge.broker
        entries = await broker.read_raft_log(
            LogIndex(request.start_index),
            entries_max=request.max_entries or ENTRIES_DEFAULT,
            bytes_max=ENTRIES_BYTES,
        )
        status = broker.quorum
        following = entries[-1].entry.next_index if entries else request.start_index
        return admin_pb2.ReadRaftLogResponse(
            entries=[_entry(stored, status.commit_index) for stored in entries],
            first_index=status.first_index,
            commit_index=status.commit_index,
            end_index=status.end_index,
            next_index=following,
        )

    # ---- members ---------------------------------------------------------------------------

    async def add_node(
        self, request: admin_pb2.AddNodeRequest, connection: Connection
    ) -> admin_pb2.AddNodeResponse:
        """Make a node a voter."""
        self._edge.authorize_cluster(connection, Operation.ALTER)
        node_id = _node_id(request.node_id)
        await self._edge.broker.submit(AddVoter(node_id))
        return admin_pb2.AddNodeResponse(voters=_voter_ids(self._edge.image))

    async def remove_node(
        self, request: admin_pb2.RemoveNodeRequest, connection: Connection
    ) -> admin_pb2.RemoveNodeResponse:
        """Take a node out."""
        self._edge.authorize_cluster(connection, Operation.ALTER)
        node_id = _node_id(request.node_id)
        command = RemoveNode(node_id, self._directory(node_id, request.directory_id))
        await submit_in_steps(self._edge.broker.submit, command)
        return admin_pb2.RemoveNodeResponse(voters=_voter_ids(self._edge.image))

    async def replace_node(
        self, request: admin_pb2.ReplaceNodeRequest, connection: Connection
    ) -> admin_pb2.ReplaceNodeResponse:
        """Strike out a lost directory."""
        self._edge.authorize_cluster(connection, Operation.ALTER)
        node_id = _node_id(request.node_id)
        command = ReplaceNode(
            node_id,
            self._directory(node_id, request.directory_id),
            accept_data_loss=request.accept_data_loss,
        )
        await submit_in_steps(self._edge.broker.submit, command)
        return admin_pb2.ReplaceNodeResponse(voters=_voter_ids(self._edge.image))

    def _directory(self, node_id: NodeId, asked: bytes) -> DirectoryId:
        """The directory that is meant, named now, so that later steps mean the same one."""
        if asked:
            if len(asked) != ID_BYTES:
                raise InvalidRequestError(
                    f"directory_id has {len(asked)} bytes", hint="DescribeCluster tells it"
                )
            return DirectoryId(asked)
        node = self._edge.image.nodes.get(node_id)
        return DirectoryId(b"") if node is None else node.directory_id


def _node_id(number: int) -> NodeId:
    check_range("node_id", number, 0, INT32_MAX)
    return NodeId(number)


def _voter_ids(image: ClusterImage) -> list[int]:
    return [voter.node_id for voter in image.voters]


def _members(
    edge: Edge, image: ClusterImage, status: ConsensusStatus
) -> Iterator[admin_pb2.NodeDescription]:
    """Registered nodes, and voters that are not registered, by id."""
    voters = {voter.node_id: voter for voter in status.voters}
    progress = {each.node_id: each for each in status.progress}
    for node_id in sorted({*image.nodes, *voters}):
        described = admin_pb2.NodeDescription(
            id=node_id,
            voter=node_id in voters,
            controller=node_id == status.leader_id,
            lag=-1,
        )
        if (node := image.nodes.get(node_id)) is not None:
            described.address = edge.address_of(node)
            described.peer_address = node.peer_address
            described.rack = node.rack
            described.fenced = node.fenced
            described.directory_id = node.directory_id
            described.incarnation_id = node.incarnation_id
        else:
            described.peer_address = voters[node_id].address
            described.directory_id = voters[node_id].directory_id
            described.fenced = True
        if status.role is Role.LEADER and node_id == edge.broker.identity.node_id:
            described.lag, described.heard = 0, True
        elif (known := progress.get(node_id)) is not None:
            described.lag = max(0, status.end_index - known.match_index)
            described.heard = known.active
        yield described


def _entry(stored: StoredEntry, commit_index: LogIndex) -> admin_pb2.RaftLogEntry:
    entry = stored.entry
    words = [describe_payload(payload) for payload in entry.payloads]
    return admin_pb2.RaftLogEntry(
        index=entry.index,
        next_index=entry.next_index,
        term=entry.term,
        time_ms=stored.time_ms,
        committed=entry.next_index <= commit_index,
        records=[admin_pb2.RaftLogRecord(type=word.kind, text=word.text) for word in words],
    )
