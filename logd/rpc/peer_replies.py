"""What the controller answers to commands ⇄ protobuf."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from logd_proto.v1 import peer_pb2 as pb
from logd_proto.v1 import record_pb2

from logd.metadata import (
    NodeImage,
    NodeRemoval,
    PartitionChanges,
    PartitionImage,
    ProducerIdBlock,
    Reply,
    TopicImage,
    VoterImage,
    VoterSet,
)
from logd.model.ids import NO_NODE, ClusterId, DirectoryId, LeaderEpoch, NodeId, TopicId
from logd.rpc import peer_values as values


def encode_reply(reply: Reply) -> pb.Reply:
    """Return the message of a reply."""
    match reply:
        case bytes():
            return pb.Reply(cluster_id=reply)
        case NodeImage():
            return pb.Reply(node=_node_message(reply))
        case TopicImage():
            return pb.Reply(topic=_topic_message(reply))
        case ProducerIdBlock():
            block = pb.ProducerIdsReply(first_id=reply.first_id, count=reply.count)
            return pb.Reply(producer_ids=block)
        case PartitionImage():
            return pb.Reply(partition=_partition_message(reply))
        case VoterSet():
            voters = record_pb2.VotersChanged(voters=map(_voter_message, reply.voters))
            return pb.Reply(voters=voters)
        case NodeRemoval():
            removal = pb.NodeRemovalReply(node_id=reply.node_id, done=reply.done)
            return pb.Reply(node_removal=removal)
        case PartitionChanges():
            changes = pb.PartitionChangesReply(count=reply.count, more=reply.more)
            return pb.Reply(partition_changes=changes)
        case _:
            assert_never(reply)


def decode_reply(message: pb.Reply) -> Reply:
    """Return the reply; raises InvalidRequestError when it is none."""
    reply: Reply
    match message.WhichOneof("kind"):
        case "cluster_id":
            reply = ClusterId(values.id_bytes("cluster_id", message.cluster_id))
        case "node":
            reply = _node(message.node)
        case "topic":
            reply = _topic(message.topic)
        case "producer_ids":
            ids = message.producer_ids
            first_id = values.number("first_id", ids.first_id)
            reply = ProducerIdBlock(first_id, values.number("count", ids.count))
        case "partition":
            reply = _partition(message.partition)
        case "voters":
            reply = VoterSet(tuple(map(_voter, message.voters.voters)))
        case "node_removal":
            removal = message.node_removal
            reply = NodeRemoval(values.node_id(removal.node_id), removal.done)
        case "partition_changes":
            changes = message.partition_changes
            reply = PartitionChanges(values.number("count", changes.count), changes.more)
        case _:
            values.malformed("a reply of no kind that this version knows")
    return reply


def _node_message(node: NodeImage) -> record_pb2.NodeRegistered:
    return record_pb2.NodeRegistered(
        node_id=node.node_id,
        directory_id=node.directory_id,
        incarnation_id=node.incarnation_id,
        address=node.address,
        rack=node.rack,
        peer_address=node.peer_address,
        fenced=node.fenced,
        node_epoch=node.node_epoch,
    )


def _node(message: record_pb2.NodeRegistered) -> NodeImage:
    return NodeImage(
        values.node_id(message.node_id),
        DirectoryId(values.id_bytes("directory_id", message.directory_id)),
        values.id_bytes("incarnation_id", message.incarnation_id),
        values.address(message.address),
        message.rack,
        values.address(message.peer_address, what="peer_address"),
        values.number("node_epoch", message.node_epoch),
        message.fenced,
    )


def _voter_message(voter: VoterImage) -> record_pb2.VoterState:
    return record_pb2.VoterState(
        node_id=voter.node_id, directory_id=voter.directory_id, address=voter.address
    )


def _voter(message: record_pb2.VoterState) -> VoterImage:
    return VoterImage(
        values.node_id(message.node_id),
        DirectoryId(values.id_bytes("directory_id", message.directory_id)),
        values.address(message.address),
    )


def _topic_message(topic: TopicImage) -> pb.TopicReply:
    return pb.TopicReply(
        topic_id=topic.topic_id,
        name=topic.name,
        partitions=map(_partition_message, topic.partitions),
        config=topic.config,
    )


def _topic(message: pb.TopicReply) -> TopicImage:
    topic_id = message.topic_id
    return TopicImage(
        TopicId(values.id_bytes("topic_id", topic_id) if topic_id else b""),
        message.name,
        tuple(map(_partition, message.partitions)),
        tuple(sorted(message.config.items())),
    )


def _partition_message(state: PartitionImage) -> record_pb2.PartitionState:
    last_known = state.last_known_leader
    return record_pb2.PartitionState(
        partition=state.partition,
        leader_id=state.leader_id,
        leader_epoch=state.leader_epoch,
        replicas=state.replicas,
        isr=state.isr,
        partition_epoch=state.partition_epoch,
        eligible=state.eligible,
        last_known_leader_id=None if last_known == NO_NODE else last_known,
    )


def _partition(message: record_pb2.PartitionState) -> PartitionImage:
    last_known = message.last_known_leader_id
    return PartitionImage(
        values.number("partition", message.partition),
        values.node_id(message.leader_id, what="leader_id", or_none=True),
        LeaderEpoch(values.number("leader_epoch", message.leader_epoch)),
        _nodes(message.replicas),
        _nodes(message.isr),
        values.number("partition_epoch", message.partition_epoch),
        _nodes(message.eligible),
        values.node_id(last_known) if message.HasField("last_known_leader_id") else NO_NODE,
    )


def _nodes(ids: Iterable[int]) -> tuple[NodeId, ...]:
    return tuple(map(values.node_id, ids))
