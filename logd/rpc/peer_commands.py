"""Commands for the controller and its replies ⇄ protobuf.

Here only the shape is checked; whether a command makes sense the metadata machine decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from logd_proto.v1 import peer_pb2 as pb
from logd_proto.v1 import record_pb2

from logd.metadata import (
    AllocateProducerIds,
    AlterTopic,
    Command,
    CreateTopic,
    DeleteTopic,
    FormCluster,
    NodeImage,
    PartitionImage,
    ProducerIdBlock,
    RegisterNode,
    Reply,
    TopicImage,
)
from logd.model.ids import ClusterId, DirectoryId, LeaderEpoch, NodeId, TopicId
from logd.rpc import peer_values as values
from logd.rpc.checks import INT32_MAX


def encode_command(command: Command) -> pb.Command:
    """Return the message of a command."""
    match command:
        case FormCluster():
            formed = pb.FormClusterCommand(cluster_id=command.cluster_id)
            return pb.Command(form_cluster=formed)
        case RegisterNode():
            return pb.Command(
                register_node=pb.RegisterNodeCommand(
                    node_id=command.node_id,
                    directory_id=command.directory_id,
                    incarnation_id=command.incarnation_id,
                    address=command.address,
                    rack=command.rack,
                )
            )
        case CreateTopic():
            return pb.Command(
                create_topic=pb.CreateTopicCommand(
                    topic_id=command.topic_id,
                    name=command.name,
                    partitions=command.partitions,
                    replication_factor=command.replication_factor,
                    config=command.config,
                    validate_only=command.validate_only,
                )
            )
        case DeleteTopic():
            return pb.Command(delete_topic=pb.DeleteTopicCommand(name=command.name))
        case AlterTopic():
            return pb.Command(
                alter_topic=pb.AlterTopicCommand(
                    name=command.name,
                    set_config=command.set_config,
                    delete_config=command.delete_config,
                    partitions=command.partitions,
                    validate_only=command.validate_only,
                )
            )
        case AllocateProducerIds():
            wanted = pb.AllocateProducerIdsCommand(node_id=command.node_id, count=command.count)
            return pb.Command(allocate_producer_ids=wanted)
        case _:
            assert_never(command)


def decode_command(message: pb.Command) -> Command:
    """Return the command; raises InvalidRequestError when it is none."""
    command: Command
    match message.WhichOneof("kind"):
        case "form_cluster":
            cluster_id = values.id_bytes("cluster_id", message.form_cluster.cluster_id)
            command = FormCluster(ClusterId(cluster_id))
        case "register_node":
            command = _register_node(message.register_node)
        case "create_topic":
            create = message.create_topic
            command = CreateTopic(
                TopicId(values.id_bytes("topic_id", create.topic_id)),
                create.name,
                create.partitions,
                create.replication_factor,
                dict(create.config),
                create.validate_only,
            )
        case "delete_topic":
            command = DeleteTopic(message.delete_topic.name)
        case "alter_topic":
            alter = message.alter_topic
            command = AlterTopic(
                alter.name,
                dict(alter.set_config),
                tuple(alter.delete_config),
                alter.partitions,
                alter.validate_only,
            )
        case "allocate_producer_ids":
            wanted = message.allocate_producer_ids
            count = values.number("count", wanted.count, minimum=1, maximum=INT32_MAX)
            command = AllocateProducerIds(values.node_id(wanted.node_id), count)
        case _:
            values.malformed("a command of no kind that this version knows")
    return command


def _register_node(message: pb.RegisterNodeCommand) -> RegisterNode:
    return RegisterNode(
        values.node_id(message.node_id),
        DirectoryId(values.id_bytes("directory_id", message.directory_id)),
        values.id_bytes("incarnation_id", message.incarnation_id),
        values.address(message.address),
        message.rack,
    )


# --- replies --------------------------------------------------------------------------------------


def encode_reply(reply: Reply) -> pb.Reply:
    """Return the message of a reply."""
    match reply:
        case bytes():
            return pb.Reply(cluster_id=reply)
        case NodeImage():
            return pb.Reply(node=_node_message(reply))
        case TopicImage():
            return pb.Reply(
                topic=pb.TopicReply(
                    topic_id=reply.topic_id,
                    name=reply.name,
                    partitions=map(_partition_message, reply.partitions),
                    config=reply.config,
                )
            )
        case ProducerIdBlock():
            block = pb.ProducerIdsReply(first_id=reply.first_id, count=reply.count)
            return pb.Reply(producer_ids=block)
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
    )


def _node(message: record_pb2.NodeRegistered) -> NodeImage:
    return NodeImage(
        values.node_id(message.node_id),
        DirectoryId(values.id_bytes("directory_id", message.directory_id)),
        values.id_bytes("incarnation_id", message.incarnation_id),
        values.address(message.address),
        message.rack,
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
    return record_pb2.PartitionState(
        partition=state.partition,
        leader_id=state.leader_id,
        leader_epoch=state.leader_epoch,
        replicas=state.replicas,
        isr=state.isr,
        partition_epoch=state.partition_epoch,
    )


def _partition(message: record_pb2.PartitionState) -> PartitionImage:
    return PartitionImage(
        values.number("partition", message.partition),
        values.node_id(message.leader_id, what="leader_id", or_none=True),
        LeaderEpoch(values.number("leader_epoch", message.leader_epoch)),
        _nodes(message.replicas),
        _nodes(message.isr),
        values.number("partition_epoch", message.partition_epoch),
    )


def _nodes(ids: Iterable[int]) -> tuple[NodeId, ...]:
    return tuple(map(values.node_id, ids))
