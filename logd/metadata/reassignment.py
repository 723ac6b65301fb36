"""Moving replicas of a partition to other nodes.

    asked for       replicas: those of before, then those that are added; target: those to be
    added replicas  copy what the leader has, and come in sync like any other follower
    done            once every added replica is in sync: the target are the replicas, the others
                    leave all sets, and one of the target leads where one of the others did
    another target  takes the place of the one before; called off: the target are the replicas of
                    before

Until then nobody leaves. Where a replica that goes holds what was acknowledged, as many of the
target as min.insync.replicas have to be in sync, so that no reassignment makes a record rarer than
its acknowledgement promised.
"""

from __future__ import annotations

from dataclasses import replace

from logd_wire.errors import ErrorCode, InvalidConfigError, InvalidRequestError

from logd.metadata.commands import Outcome, ReassignPartition
from logd.metadata.elections import Situation, partition_changed, with_isr
from logd.metadata.image import ClusterImage, TopicImage
from logd.metadata.records import PartitionImage
from logd.metadata.requests import done_before, noted
from logd.metadata.settings import MetadataSettings
from logd.model.ids import NO_NODE, NodeId
from logd.model.topic_config import parse_topic_config


def reassign(
    image: ClusterImage, settings: MetadataSettings, command: ReassignPartition
) -> Outcome[PartitionImage]:
    """Begin to move replicas, to others than before, or back to where they were."""
    topic = image.topic(command.topic_id)
    state = topic.partition(command.partition)
    if done_before(image, command.request_id):
        return Outcome((), state)
    if command.replicas is None:
        if not state.target:
            return Outcome((), state)
        target = state.original
    else:
        target = command.replicas
        _check_target(image, settings, topic, state, target)
    situation = Situation(image.nodes_in_service, settings.min_insync_replicas(topic))
    after = completed(_retargeted(state, target), situation)
    if after == state:
        return Outcome((), state)
    changed = partition_changed(settings, topic, after)
    return Outcome(noted(changed.records, command.request_id, topic.topic_id), changed.reply)


def _retargeted(state: PartitionImage, target: tuple[NodeId, ...]) -> PartitionImage:
    """An added replica of an earlier target stays while it holds everything: until the end."""
    holders = {*state.isr, *state.eligible, *state.damaged}
    waiting = (node for node in state.adding if node in target or node in holders)
    fresh = (node for node in target if node not in state.replicas)
    adding = (*waiting, *fresh)
    return _with_replicas(state, (*state.original, *adding), adding=adding, target=target)


def _with_replicas(
    state: PartitionImage,
    replicas: tuple[NodeId, ...],
    *,
    adding: tuple[NodeId, ...] = (),
    target: tuple[NodeId, ...] = (),
) -> PartitionImage:
    known = state.last_known_leader
    return replace(
        state,
        replicas=replicas,
        adding=adding,
        target=target,
        damaged=tuple(node for node in state.damaged if node in replicas),
        last_known_leader=known if known in replicas else NO_NODE,
    )


def completed(state: PartitionImage, situation: Situation) -> PartitionImage:
    """Return the state with the target alone, if nothing is in the way of that any more."""
    target = state.target
    added = {node for node in state.adding if node in target}
    if not target or not added <= {*state.isr}:
        return state
    isr = tuple(node for node in target if node in state.isr)
    holders = {*state.isr, *state.eligible}
    if holders.isdisjoint(target) and not {*state.replicas} <= {*target}:
        return state
    leaving = holders.difference(target)
    if leaving and len(isr) < max(1, min(situation.min_isr, len(target))):
        return state
    leader_id = state.leader_id
    if isr and leader_id not in isr:
        in_service = situation.in_service
        leader_id = next((node for node in isr if node in in_service), NO_NODE)
        if leader_id == NO_NODE:
            return state
    return with_isr(_with_replicas(state, target), isr, leader_id, situation)


def _check_target(
    image: ClusterImage,
    settings: MetadataSettings,
    topic: TopicImage,
    state: PartitionImage,
    target: tuple[NodeId, ...],
) -> None:
    what = f"partition {topic.name}-{state.partition}"
    if not target:
        raise InvalidRequestError(f"{what} needs a replica", hint="name the nodes to be")
    if len(set(target)) < len(target):
        raise InvalidRequestError(f"a node is named twice for {what}: {_names(target)}")
    most = min(len(image.nodes), settings.replication_factor_max)
    if len(target) > most:
        raise InvalidRequestError(
            f"{what}: replication factor {len(target)} with {len(image.nodes)} nodes",
            hint=f"name from 1 to {most} nodes",
            code=ErrorCode.INVALID_REPLICATION_FACTOR,
        )
    _check_nodes(image, state, target, what)
    try:
        parse_topic_config(
            topic.config, defaults=settings.topic_defaults, replication_factor=len(target)
        )
    except InvalidConfigError as error:
        error.message = f"{what} on {len(target)} nodes: {error.message}"
        raise


def _check_nodes(
    image: ClusterImage, state: PartitionImage, target: tuple[NodeId, ...], what: str
) -> None:
    unknown = tuple(node for node in target if node not in image.nodes)
    if unknown:
        raise InvalidRequestError(
            f"{what} cannot move to node {_names(unknown)}: the cluster has no such node",
            hint=f"its nodes are {_names(tuple(sorted(image.nodes)))}",
        )
    fenced = tuple(node for node in target if image.nodes[node].fenced)
    added = tuple(node for node in fenced if node not in state.replicas)
    if added:
        raise InvalidRequestError(
            f"{what} cannot move to node {_names(added)}: fenced, it could copy nothing",
            hint="bring the node back first, see `logd cluster nodes`, or choose another",
        )


def _names(nodes: tuple[NodeId, ...]) -> str:
    return ", ".join(map(str, nodes))
