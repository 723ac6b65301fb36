"""What the controller answers to commands ⇄ protobuf.

What records hold too is written as there; reading is stricter, for a peer may send anything.
"""

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
from logd.runtime.record_codec import node_message, partition_message, voters_message


def encode_reply(reply: Reply) -> pb.Reply:
    """Return the message of a reply."""
    match reply:
        case bytes():
            return pb.Reply(cluster_id=reply)
        case NodeImage():
            return pb.Reply(node=node_message(reply))
        case TopicImage():
            return pb.Reply(topic=_topic_message(reply))
        case ProducerIdBlock():
            block = pb.ProducerIdsReply(first_id=reply.first_id, count=reply.count)
            return pb.Reply(producer_ids=block)
        case PartitionImage():
            return pb.Reply(partition=partition_message(reply))
        case VoterSet():
            return pb.Reply(voters=voters_message(reply.voters))
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
        message.vote_withdrawn,
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
        partitions=map(partition_message, topic.partitions),
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
        _nodes(message.adding),
        _nodes(message.target),
        _nodes(message.damaged),
    )


def _nodes(ids: Iterable[int]) -> tuple[NodeId, ...]:
    return tuple(map(values.node_id, ids))
