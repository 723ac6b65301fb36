"""Records of the system's own logs ⇄ bytes.

The bytes are part of the on-disk format: fields are only ever added, and with a new meaning goes
a new version. A record that this version cannot read in full stops the node: to skip it would be
to run on another history than the one that was agreed on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, assert_never

from google.protobuf.message import DecodeError
from logd_proto.v1 import record_pb2 as pb
from logd_wire.errors import ErrorCode, LogdError

from logd.metadata.records import (
    ClusterFormed,
    MetadataRecord,
    NodeFenced,
    NodeRegistered,
    NodeRemoved,
    NodeUnfenced,
    Overrides,
    PartitionChanged,
    PartitionImage,
    PartitionsAdded,
    ProducerIdsAllocated,
    RequestDone,
    TopicConfigured,
    TopicCreated,
    TopicDeleted,
    VoterImage,
    VotersChanged,
)
from logd.metadata.replay import InconsistentLogError
from logd.model.ids import ID_BYTES, NO_NODE, ClusterId, DirectoryId, LeaderEpoch, NodeId, TopicId

#: Version of the metadata records this software writes, and the newest it reads.
#:
#: 1: one node. 2: nodes are fenced and unfenced, voters, eligible replicas. 3: replicas move, and
#: are damaged. 4: votes that were taken away, deletions with a request id. 5: requests that are
#: remembered.
METADATA_VERSION: Final = 5


def encode_metadata_record(record: MetadataRecord) -> bytes:  # noqa: C901, PLR0912 - dispatch
    """Return the bytes of a record; equal records have equal bytes."""
    message = pb.MetadataRecord(version=METADATA_VERSION)
    match record:
        case ClusterFormed():
            message.cluster_formed.cluster_id = record.cluster_id
        case NodeRegistered():
            message.node_registered.CopyFrom(node_message(record))
        case TopicCreated():
            message.topic_created.CopyFrom(_topic_message(record))
        case TopicConfigured():
            message.topic_configured.topic_id = record.topic_id
            message.topic_configured.config.update(record.overrides)
        case PartitionsAdded():
            message.partitions_added.topic_id = record.topic_id
            message.partitions_added.partitions.extend(map(partition_message, record.partitions))
        case TopicDeleted():
            message.topic_deleted.topic_id = record.topic_id
            message.topic_deleted.request_id = record.request_id
        case ProducerIdsAllocated():
            message.producer_ids_allocated.CopyFrom(_block_message(record))
        case PartitionChanged():
            message.partition_changed.topic_id = record.topic_id
            message.partition_changed.state.CopyFrom(partition_message(record.state))
        case NodeFenced():
            message.node_fenced.node_id = record.node_id
            message.node_fenced.incarnation_id = record.incarnation_id
        case NodeUnfenced():
            message.node_unfenced.node_id = record.node_id
            message.node_unfenced.incarnation_id = record.incarnation_id
        case NodeRemoved():
            message.node_removed.CopyFrom(_removed_message(record))
        case VotersChanged():
            message.voters_changed.CopyFrom(voters_message(record.voters))
        case RequestDone():
            message.request_done.request_id = record.request_id
            message.request_done.topic_id = record.topic_id
        case _:
            assert_never(record)
    return message.SerializeToString(deterministic=True)


def decode_metadata_record(data: bytes) -> MetadataRecord:
    """Return the record.

    Raises LogdError (UNSUPPORTED_VERSION) for a version or a kind that this software does not
    know, InconsistentLogError for bytes that are no record.
    """
    message = pb.MetadataRecord()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise InconsistentLogError(f"{len(data)} bytes are not a record: {error}") from None
    if not 1 <= message.version <= METADATA_VERSION:
        raise _unsupported(f"has version {message.version}")
    return _from_message(message)


def _from_message(message: pb.MetadataRecord) -> MetadataRecord:  # noqa: C901, PLR0912 - dispatch
    record: MetadataRecord
    match message.WhichOneof("kind"):
        case "cluster_formed":
            record = ClusterFormed(ClusterId(_id(message.cluster_formed.cluster_id)))
        case "node_registered":
            record = _node(message.node_registered)
        case "topic_created":
            record = _topic_created(message.topic_created)
        case "topic_configured":
            configured = message.topic_configured
            record = TopicConfigured(_topic_id(configured), _overrides(configured))
        case "partitions_added":
            added = message.partitions_added
            record = PartitionsAdded(_topic_id(added), tuple(map(_partition, added.partitions)))
        case "topic_deleted":
            record = _topic_deleted(message.topic_deleted)
        case "producer_ids_allocated":
            ids = message.producer_ids_allocated
            record = ProducerIdsAllocated(NodeId(ids.node_id), ids.first_id, ids.count)
        case "partition_changed":
            changed = message.partition_changed
            record = PartitionChanged(_topic_id(changed), _partition(changed.state))
        case "node_fenced":
            fenced = message.node_fenced
            record = NodeFenced(NodeId(fenced.node_id), _id(fenced.incarnation_id))
        case "node_unfenced":
            unfenced = message.node_unfenced
            record = NodeUnfenced(NodeId(unfenced.node_id), _id(unfenced.incarnation_id))
        case "node_removed":
            record = _removed(message.node_removed)
        case "voters_changed":
            record = VotersChanged(tuple(map(_voter, message.voters_changed.voters)))
        case "request_done":
            request = message.request_done
            record = RequestDone(_id(request.request_id), _topic_id(request))
        case _:
            raise _unsupported("is of a kind that did not exist yet")
    return record


def _unsupported(what: str) -> LogdError:
    return LogdError(
        f"a record of the metadata log {what}; this software reads versions up to "
        f"{METADATA_VERSION}",
        hint="the data folder was written by a newer version: run that version or a later one",
        code=ErrorCode.UNSUPPORTED_VERSION,
        retriable=False,
    )


def node_message(node: NodeRegistered) -> pb.NodeRegistered:
    """A node, in a record or on its way to another node."""
    return pb.NodeRegistered(
        node_id=node.node_id,
        directory_id=node.directory_id,
        incarnation_id=node.incarnation_id,
        address=node.address,
        rack=node.rack,
        peer_address=node.peer_address,
        fenced=node.fenced,
        node_epoch=node.node_epoch,
        vote_withdrawn=node.vote_withdrawn,
    )


def _node(message: pb.NodeRegistered) -> NodeRegistered:
    return NodeRegistered(
        NodeId(message.node_id),
        DirectoryId(_id(message.directory_id)),
        _id(message.incarnation_id),
        message.address,
        message.rack,
        message.peer_address,
        message.node_epoch,
        message.fenced,
        message.vote_withdrawn,
    )


def _removed_message(node: NodeRemoved) -> pb.NodeRemoved:
    return pb.NodeRemoved(
        node_id=node.node_id, directory_id=node.directory_id, node_epoch=node.node_epoch
    )


def _removed(message: pb.NodeRemoved) -> NodeRemoved:
    return NodeRemoved(
        NodeId(message.node_id), DirectoryId(_id(message.directory_id)), message.node_epoch
    )


def _block_message(block: ProducerIdsAllocated) -> pb.ProducerIdsAllocated:
    return pb.ProducerIdsAllocated(
        node_id=block.node_id, first_id=block.first_id, count=block.count
    )


def voters_message(voters: Iterable[VoterImage]) -> pb.VotersChanged:
    """A voter set, in a record or on its way to another node."""
    return pb.VotersChanged(voters=map(_voter_message, voters))


def _voter_message(voter: VoterImage) -> pb.VoterState:
    return pb.VoterState(
        node_id=voter.node_id, directory_id=voter.directory_id, address=voter.address
    )


def _voter(message: pb.VoterState) -> VoterImage:
    return VoterImage(
        NodeId(message.node_id), DirectoryId(_id(message.directory_id)), message.address
    )


def _topic_message(topic: TopicCreated) -> pb.TopicCreated:
    return pb.TopicCreated(
        topic_id=topic.topic_id,
        name=topic.name,
        partitions=map(partition_message, topic.partitions),
        config=dict(topic.overrides),
    )


def _topic_created(message: pb.TopicCreated) -> TopicCreated:
    return TopicCreated(
        _topic_id(message),
        message.name,
        tuple(map(_partition, message.partitions)),
        _overrides(message),
    )


def _topic_deleted(message: pb.TopicDeleted) -> TopicDeleted:
    request_id = message.request_id
    return TopicDeleted(_topic_id(message), _id(request_id) if request_id else b"")


def partition_message(state: PartitionImage) -> pb.PartitionState:
    """A partition, in a record or on its way to another node."""
    last_known = state.last_known_leader
    return pb.PartitionState(
        partition=state.partition,
        leader_id=state.leader_id,
        leader_epoch=state.leader_epoch,
        replicas=state.replicas,
        isr=state.isr,
        partition_epoch=state.partition_epoch,
        eligible=state.eligible,
        last_known_leader_id=None if last_known == NO_NODE else last_known,
        adding=state.adding,
        target=state.target,
        damaged=state.damaged,
    )


def _partition(message: pb.PartitionState) -> PartitionImage:
    return PartitionImage(
        message.partition,
        NodeId(message.leader_id),
        LeaderEpoch(message.leader_epoch),
        tuple(map(NodeId, message.replicas)),
        tuple(map(NodeId, message.isr)),
        message.partition_epoch,
        tuple(map(NodeId, message.eligible)),
        _last_known_leader(message),
        tuple(map(NodeId, message.adding)),
        tuple(map(NodeId, message.target)),
        tuple(map(NodeId, message.damaged)),
    )


def _last_known_leader(message: pb.PartitionState) -> NodeId:
    # Node ids begin at 0, so that absence has to be told from it.
    if not message.HasField("last_known_leader_id"):
        return NO_NODE
    return NodeId(message.last_known_leader_id)


def _topic_id(
    message: pb.TopicCreated
    | pb.TopicConfigured
    | pb.PartitionsAdded
    | pb.TopicDeleted
    | pb.RequestDone
    | pb.PartitionChanged,
) -> TopicId:
    return TopicId(_id(message.topic_id))


def _overrides(message: pb.TopicCreated | pb.TopicConfigured) -> Overrides:
    return tuple(sorted(message.config.items()))


def _id(value: bytes) -> bytes:
    if len(value) != ID_BYTES:
        raise InconsistentLogError(f"an id has {len(value)} bytes instead of {ID_BYTES}")
    return value
