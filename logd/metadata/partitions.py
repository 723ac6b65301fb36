"""Decisions about partitions that exist: in-sync sets, leaders.

A leader knows who is in sync, and proposes; who may be counted on is known here. A proposal that
goes out from an earlier state, an earlier leadership or an earlier process is refused, so that no
delayed message brings back a replica that has gone since.
"""

from __future__ import annotations

from logd_wire.errors import (
    ErrorCode,
    IneligibleReplicaError,
    InvalidRequestError,
    NotLeaderError,
    StaleEpochError,
)

from logd.metadata.commands import (
    ChangePartition,
    Member,
    Outcome,
    PartitionChanges,
    TransferLeader,
)
from logd.metadata.elections import (
    Change,
    Situation,
    partition_changed,
    some_changes,
    with_isr,
)
from logd.metadata.image import ClusterImage
from logd.metadata.reassignment import completed
from logd.metadata.records import PartitionImage
from logd.metadata.requests import done_before, noted
from logd.metadata.settings import MetadataSettings
from logd.model.ids import NodeId


def change_partition(
    image: ClusterImage, settings: MetadataSettings, command: ChangePartition
) -> Outcome[PartitionImage]:
    """Take over the in-sync set that the leader of a partition proposes."""
    topic = image.topic(command.topic_id)
    state = topic.partition(command.partition)
    what = f"{topic.name}-{state.partition}"
    _check_proposer(image, command, state, what)
    _check_members(image, command, state, what)
    proposed = {member.node_id for member in command.isr}
    if proposed == {*state.isr}:
        return Outcome((), state)
    if command.partition_epoch != state.partition_epoch:
        raise StaleEpochError(
            f"partition {what} is at partition epoch {state.partition_epoch}, the proposal goes "
            f"out from {command.partition_epoch}"
        )
    isr = tuple(node_id for node_id in state.replicas if node_id in proposed)
    situation = Situation(image.nodes_in_service, settings.min_insync_replicas(topic))
    after = with_isr(state, isr, state.leader_id, situation)
    return partition_changed(settings, topic, completed(after, situation))


def _check_proposer(
    image: ClusterImage, command: ChangePartition, state: PartitionImage, what: str
) -> None:
    leader = command.leader
    if leader.node_id != state.leader_id or command.leader_epoch != state.leader_epoch:
        error = NotLeaderError(
            f"node {leader.node_id} does not lead partition {what} in epoch "
            f"{command.leader_epoch}: node {state.leader_id} does in epoch {state.leader_epoch}",
            code=ErrorCode.FENCED_LEADER_EPOCH,
        )
        error.leader_id = state.leader_id
        error.leader_epoch = state.leader_epoch
        raise error
    if not _is_current(image, leader):
        raise StaleEpochError(
            f"node {leader.node_id} has registered again since it was at node epoch "
            f"{leader.node_epoch}"
        )


def _check_members(
    image: ClusterImage, command: ChangePartition, state: PartitionImage, what: str
) -> None:
    proposed = [member.node_id for member in command.isr]
    if len(set(proposed)) != len(proposed) or not set(proposed) <= set(state.replicas):
        raise InvalidRequestError(
            f"{proposed} is no set of replicas of partition {what}: {list(state.replicas)}"
        )
    if state.leader_id not in proposed:
        raise InvalidRequestError(f"the in-sync set of partition {what} needs its leader")
    for member in command.isr:
        if not _is_current(image, member):
            raise IneligibleReplicaError(
                f"node {member.node_id} is not at node epoch {member.node_epoch} any more: it was "
                f"in sync with partition {what} as a process of before"
            )
        if image.nodes[member.node_id].fenced:
            raise IneligibleReplicaError(
                f"node {member.node_id} is fenced and cannot be in sync with partition {what}"
            )


def _is_current(image: ClusterImage, member: Member) -> bool:
    node = image.nodes.get(member.node_id)
    return node is not None and node.node_epoch == member.node_epoch


def transfer_leader(
    image: ClusterImage, settings: MetadataSettings, command: TransferLeader
) -> Outcome[PartitionImage]:
    """Let another in-sync replica lead, in a leader epoch of its own."""
    topic = image.topic(command.topic_id)
    state = topic.partition(command.partition)
    if done_before(image, command.request_id):
        return Outcome((), state)
    situation = Situation(image.nodes_in_service, settings.min_insync_replicas(topic))
    _check_successor(command.node_id, state, situation, f"{topic.name}-{state.partition}")
    if command.node_id == state.leader_id:
        return Outcome((), state)
    after = with_isr(state, state.isr, command.node_id, situation)
    changed = partition_changed(settings, topic, after)
    return Outcome(noted(changed.records, command.request_id, topic.topic_id), changed.reply)


def _check_successor(
    node_id: NodeId, state: PartitionImage, situation: Situation, what: str
) -> None:
    if node_id not in state.replicas:
        raise InvalidRequestError(
            f"node {node_id} has no replica of partition {what}",
            hint=f"its replicas are on nodes {_in_words(state.replicas)}",
        )
    if node_id not in state.isr:
        raise InvalidRequestError(
            f"node {node_id} is not in sync with partition {what}: it may lack acknowledged "
            "records",
            hint=f"in sync are nodes {_in_words(state.isr)}",
        )
    if node_id not in situation.in_service:
        raise InvalidRequestError(
            f"node {node_id} is fenced and cannot lead partition {what}",
            hint="see `logd cluster nodes`",
        )


def _in_words(nodes: tuple[NodeId, ...]) -> str:
    return ", ".join(map(str, nodes)) or "(none)"


def change_leaders(
    image: ClusterImage, settings: MetadataSettings, change: Change
) -> Outcome[PartitionChanges]:
    """Change as many partitions as an entry holds."""
    records, more = some_changes(image, settings, change)
    return Outcome(records, PartitionChanges(len(records), more))
