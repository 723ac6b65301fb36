"""Commands for the controller ⇄ protobuf.

Here only the shape is checked; whether a command makes sense the metadata machine decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from logd_proto.v1 import peer_pb2 as pb

from logd.metadata import (
    ANY_DIRECTORY,
    AddVoter,
    AllocateProducerIds,
    AlterTopic,
    BalanceLeaders,
    ChangePartition,
    Command,
    CreateTopic,
    DeleteTopic,
    ElectLeaders,
    FenceNode,
    FormCluster,
    Member,
    ReassignPartition,
    RegisterNode,
    RemoveNode,
    ReplaceNode,
    ReportDamage,
    TransferLeader,
    UnfenceNode,
    UpdateVoter,
)
from logd.model.ids import (
    ClusterId,
    DirectoryId,
    LeaderEpoch,
    NodeId,
    TopicId,
    TopicPartitionId,
)
from logd.rpc import peer_values as values
from logd.rpc.checks import INT32_MAX


def encode_command(command: Command) -> pb.Command:  # noqa: C901, PLR0912 - dispatch
    """Return the message of a command."""
    message = pb.Command()
    match command:
        case FormCluster():
            message.form_cluster.cluster_id = command.cluster_id
        case RegisterNode():
            message.register_node.CopyFrom(_register_message(command))
        case CreateTopic():
            message.create_topic.CopyFrom(_create_message(command))
        case DeleteTopic():
            message.delete_topic.name = command.name
            message.delete_topic.request_id = command.request_id
        case AlterTopic():
            message.alter_topic.CopyFrom(_alter_message(command))
        case AllocateProducerIds():
            wanted = pb.AllocateProducerIdsCommand(node_id=command.node_id, count=command.count)
            message.allocate_producer_ids.CopyFrom(wanted)
        case ChangePartition():
            message.change_partition.CopyFrom(_change_message(command))
        case TransferLeader():
            message.transfer_leader.CopyFrom(_transfer_message(command))
        case ReassignPartition():
            message.reassign_partition.CopyFrom(_reassign_message(command))
        case AddVoter():
            message.add_voter.CopyFrom(pb.AddVoterCommand(node_id=command.node_id))
        case UpdateVoter():
            message.update_voter.CopyFrom(pb.UpdateVoterCommand(node_id=command.node_id))
        case RemoveNode():
            removed = pb.RemoveNodeCommand(
                node_id=command.node_id, directory_id=command.directory_id
            )
            message.remove_node.CopyFrom(removed)
        case ReplaceNode():
            message.replace_node.CopyFrom(_replace_message(command))
        case FenceNode():
            message.fence_node.node_id = command.node_id
            message.fence_node.incarnation_id = command.incarnation_id
        case UnfenceNode():
            message.unfence_node.node_id = command.node_id
            message.unfence_node.incarnation_id = command.incarnation_id
        case ReportDamage():
            message.report_damage.CopyFrom(_damage_message(command))
        case ElectLeaders():
            message.elect_leaders.SetInParent()
        case BalanceLeaders():
            message.balance_leaders.SetInParent()
        case _:
            assert_never(command)
    return message


def decode_command(message: pb.Command) -> Command:  # noqa: C901, PLR0912 - dispatch
    """Return the command; raises InvalidRequestError when it is none."""
    command: Command
    match message.WhichOneof("kind"):
        case "form_cluster":
            cluster_id = values.id_bytes("cluster_id", message.form_cluster.cluster_id)
            command = FormCluster(ClusterId(cluster_id))
        case "register_node":
            command = _register(message.register_node)
        case "create_topic":
            command = _create(message.create_topic)
        case "delete_topic":
            command = _delete(message.delete_topic)
        case "alter_topic":
            command = _alter(message.alter_topic)
        case "allocate_producer_ids":
            command = _allocate(message.allocate_producer_ids)
        case "change_partition":
            command = _change(message.change_partition)
        case "transfer_leader":
            command = _transfer(message.transfer_leader)
        case "reassign_partition":
            command = _reassign(message.reassign_partition)
        case "add_voter":
            command = AddVoter(values.node_id(message.add_voter.node_id))
        case "update_voter":
            command = UpdateVoter(values.node_id(message.update_voter.node_id))
        case "remove_node":
            removed = message.remove_node
            command = RemoveNode(values.node_id(removed.node_id), _directory(removed.directory_id))
        case "replace_node":
            command = _replace(message.replace_node)
        case "fence_node":
            command = FenceNode(*_process(message.fence_node))
        case "unfence_node":
            command = UnfenceNode(*_process(message.unfence_node))
        case "report_damage":
            command = _damage(message.report_damage)
        case "elect_leaders":
            command = ElectLeaders()
        case "balance_leaders":
            command = BalanceLeaders()
        case _:
            values.malformed("a command of no kind that this version knows")
    return command


# --- nodes ----------------------------------------------------------------------------------------


def _register_message(command: RegisterNode) -> pb.RegisterNodeCommand:
    return pb.RegisterNodeCommand(
        node_id=command.node_id,
        directory_id=command.directory_id,
        incarnation_id=command.incarnation_id,
        address=command.address,
        rack=command.rack,
        peer_address=command.peer_address,
    )


def _register(message: pb.RegisterNodeCommand) -> RegisterNode:
    return RegisterNode(
        values.node_id(message.node_id),
        DirectoryId(values.id_bytes("directory_id", message.directory_id)),
        values.id_bytes("incarnation_id", message.incarnation_id),
        values.address(message.address),
        message.rack,
        values.address(message.peer_address, what="peer_address"),
    )


def _replace_message(command: ReplaceNode) -> pb.ReplaceNodeCommand:
    return pb.ReplaceNodeCommand(
        node_id=command.node_id,
        directory_id=command.directory_id,
        accept_data_loss=command.accept_data_loss,
    )


def _replace(message: pb.ReplaceNodeCommand) -> ReplaceNode:
    directory_id = _directory(message.directory_id)
    return ReplaceNode(values.node_id(message.node_id), directory_id, message.accept_data_loss)


def _directory(value: bytes) -> DirectoryId:
    """A directory that is meant; empty: whichever is registered."""
    return DirectoryId(values.id_bytes("directory_id", value)) if value else ANY_DIRECTORY


def _process(message: pb.FenceNodeCommand | pb.UnfenceNodeCommand) -> tuple[NodeId, bytes]:
    node_id = values.node_id(message.node_id)
    return node_id, values.id_bytes("incarnation_id", message.incarnation_id)


def _allocate(message: pb.AllocateProducerIdsCommand) -> AllocateProducerIds:
    count = values.number("count", message.count, minimum=1, maximum=INT32_MAX)
    return AllocateProducerIds(values.node_id(message.node_id), count)


# --- topics and partitions ------------------------------------------------------------------------


def _create_message(command: CreateTopic) -> pb.CreateTopicCommand:
    return pb.CreateTopicCommand(
        topic_id=command.topic_id,
        name=command.name,
        partitions=command.partitions,
        replication_factor=command.replication_factor,
        config=command.config,
        validate_only=command.validate_only,
        internal=command.internal,
    )


def _create(message: pb.CreateTopicCommand) -> CreateTopic:
    return CreateTopic(
        TopicId(values.id_bytes("topic_id", message.topic_id)),
        message.name,
        message.partitions,
        message.replication_factor,
        dict(message.config),
        message.validate_only,
        message.internal,
    )


def _delete(message: pb.DeleteTopicCommand) -> DeleteTopic:
    return DeleteTopic(message.name, _request_id(message.request_id))


def _request_id(value: bytes) -> bytes:
    """Of whoever may ask again; empty: nobody does."""
    return values.id_bytes("request_id", value) if value else b""


def _alter_message(command: AlterTopic) -> pb.AlterTopicCommand:
    return pb.AlterTopicCommand(
        name=command.name,
        set_config=command.set_config,
        delete_config=command.delete_config,
        partitions=command.partitions,
        validate_only=command.validate_only,
        request_id=command.request_id,
    )


def _alter(message: pb.AlterTopicCommand) -> AlterTopic:
    return AlterTopic(
        message.name,
        dict(message.set_config),
        tuple(message.delete_config),
        message.partitions,
        message.validate_only,
        _request_id(message.request_id),
    )


def _change_message(command: ChangePartition) -> pb.ChangePartitionCommand:
    return pb.ChangePartitionCommand(
        topic_id=command.topic_id,
        partition=command.partition,
        leader=_member_message(command.leader),
        leader_epoch=command.leader_epoch,
        partition_epoch=command.partition_epoch,
        isr=map(_member_message, command.isr),
    )


def _change(message: pb.ChangePartitionCommand) -> ChangePartition:
    return ChangePartition(
        TopicId(values.id_bytes("topic_id", message.topic_id)),
        values.number("partition", message.partition),
        _member(message.leader),
        LeaderEpoch(values.number("leader_epoch", message.leader_epoch)),
        values.number("partition_epoch", message.partition_epoch),
        _members(message.isr),
    )


def _member_message(member: Member) -> pb.MemberState:
    return pb.MemberState(node_id=member.node_id, node_epoch=member.node_epoch)


def _member(message: pb.MemberState) -> Member:
    return Member(values.node_id(message.node_id), values.number("node_epoch", message.node_epoch))


def _members(messages: Iterable[pb.MemberState]) -> tuple[Member, ...]:
    return tuple(map(_member, messages))


def _transfer_message(command: TransferLeader) -> pb.TransferLeaderCommand:
    return pb.TransferLeaderCommand(
        topic_id=command.topic_id,
        partition=command.partition,
        node_id=command.node_id,
        request_id=command.request_id,
    )


def _transfer(message: pb.TransferLeaderCommand) -> TransferLeader:
    topic_id = TopicId(values.id_bytes("topic_id", message.topic_id))
    partition = values.number("partition", message.partition)
    node_id = values.node_id(message.node_id)
    return TransferLeader(topic_id, partition, node_id, _request_id(message.request_id))


def _reassign_message(command: ReassignPartition) -> pb.ReassignPartitionCommand:
    return pb.ReassignPartitionCommand(
        topic_id=command.topic_id,
        partition=command.partition,
        replicas=command.replicas or (),
        request_id=command.request_id,
    )


def _reassign(message: pb.ReassignPartitionCommand) -> ReassignPartition:
    topic_id = TopicId(values.id_bytes("topic_id", message.topic_id))
    replicas = tuple(map(values.node_id, message.replicas))
    partition = values.number("partition", message.partition)
    request_id = _request_id(message.request_id)
    return ReassignPartition(topic_id, partition, replicas or None, request_id)


def _damage_message(command: ReportDamage) -> pb.ReportDamageCommand:
    return pb.ReportDamageCommand(
        node_id=command.node_id,
        incarnation_id=command.incarnation_id,
        partitions=(
            pb.PartitionName(topic_id=key.topic_id, partition=key.partition)
            for key in command.partitions
        ),
        leads_on=command.leads_on,
    )


def _damage(message: pb.ReportDamageCommand) -> ReportDamage:
    partitions = (
        TopicPartitionId(
            TopicId(values.id_bytes("topic_id", each.topic_id)),
            values.number("partition", each.partition),
        )
        for each in message.partitions
    )
    incarnation_id = values.id_bytes("incarnation_id", message.incarnation_id)
    node_id = values.node_id(message.node_id)
    return ReportDamage(node_id, incarnation_id, tuple(partitions), message.leads_on)
