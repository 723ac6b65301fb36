"""Who leads a partition, who is in sync, who is eligible: the states that follow from a state.

    in-sync set (ISR)   holds everything that was acknowledged, and acknowledges
    eligible set (ELR)  left the in-sync set when that was, or became, smaller than
                        min.insync.replicas; nothing is acknowledged in that time, so each member
                        still holds everything that was
    last known leader   led when the in-sync set became empty; it is in the eligible set

    a member goes out of service   it leaves the ISR; if that is too small then, into the ELR
    the leader is not in the ISR   the first replica in the ISR leads, those that stay before those
                                   that a reassignment takes away
    the ISR is empty               a member of the ELR in service leads and is the ISR, the last
                                   known leader before others; else nobody leads
    the ISR is large enough        the ELR and the last known leader are forgotten
    a log is found damaged         its replica leaves both sets until it is in sync again

Nobody else ever leads: there is no unclean election. Every new leader, and every time without one,
has a leader epoch of its own.

The functions return a state with the partition epoch that it had; `changes` raises it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, replace
from itertools import islice

from logd.metadata.commands import Outcome
from logd.metadata.image import ClusterImage, TopicImage
from logd.metadata.records import PartitionChanged, PartitionImage
from logd.metadata.settings import MetadataSettings
from logd.model.ids import NO_NODE, LeaderEpoch, NodeId


@dataclass(frozen=True, slots=True)
class Situation:
    """What a partition's state is judged against."""

    in_service: Set[NodeId]
    min_isr: int


#: Returns the state that should follow; the same one when nothing should.
Change = Callable[[PartitionImage, Situation], PartitionImage]


def settled(state: PartitionImage, situation: Situation) -> PartitionImage:
    """Take members out of service out of the in-sync set, and elect a leader where none is left."""
    in_service = situation.in_service
    isr = tuple(node for node in state.isr if node in in_service)
    if isr == state.isr and state.leader_id in isr:
        return state
    leader_id = state.leader_id
    if not isr:
        leader_id = _eligible_leader(state, in_service)
        isr = () if leader_id == NO_NODE else (leader_id,)
    elif leader_id not in isr:
        leader_id = next(node for node in state.preference if node in isr)
    return with_isr(state, isr, leader_id, situation)


def _eligible_leader(state: PartitionImage, in_service: Set[NodeId]) -> NodeId:
    holders = {*state.eligible} & in_service
    if state.last_known_leader in holders:
        return state.last_known_leader
    return next((node for node in state.preference if node in holders), NO_NODE)


def preferred(state: PartitionImage, situation: Situation) -> PartitionImage:
    """Let the first replica lead, if it is in sync and another one leads."""
    first = state.preference[0]
    if state.leader_id in {NO_NODE, first}:
        return state
    if first not in state.isr or first not in situation.in_service:
        return state
    return with_isr(state, state.isr, first, situation)


def without(node_id: NodeId) -> Change:
    """Return the change that forgets what a node held: its disk is lost.

    Where nobody else holds everything, the other replicas are taken as they are, and where there
    are none, the node itself is, empty as it will be: whoever asks for that accepts the loss.
    """

    def change(state: PartitionImage, situation: Situation) -> PartitionImage:
        if node_id not in state.replicas:
            return state
        isr = _others(state.isr, node_id)
        eligible = _others(state.eligible, node_id)
        damaged = _others(state.damaged, node_id)
        if is_last(state, node_id):
            damaged = ()
            # Who is only being added has the least.
            eligible = (
                _others(state.original, node_id) or _others(state.replicas, node_id) or (node_id,)
            )
        left = replace(state, isr=isr, eligible=eligible, damaged=damaged)
        after = settled(left, situation)
        if after.last_known_leader == node_id:
            after = replace(after, last_known_leader=NO_NODE)
        return after

    return change


def is_last(state: PartitionImage, node_id: NodeId) -> bool:
    """Whether no other replica holds everything: this one does, or did before its damage."""
    others = {*state.isr, *state.eligible}.difference([node_id])
    return not others and node_id in (*state.isr, *state.eligible, *state.damaged)


def _others(nodes: tuple[NodeId, ...], node_id: NodeId) -> tuple[NodeId, ...]:
    return tuple(node for node in nodes if node != node_id)


def not_eligible(state: PartitionImage) -> PartitionImage:
    """Forget the eligible replicas beside a leader: what is acknowledged with another
    min.insync.replicas from here on need not reach them. Without a leader nothing is acknowledged,
    and they stay."""
    return replace(state, eligible=()) if state.isr else state


def with_isr(
    state: PartitionImage, isr: tuple[NodeId, ...], leader_id: NodeId, situation: Situation
) -> PartitionImage:
    """Return the state with another in-sync set or leader, and what follows from it."""
    eligible: tuple[NodeId, ...] = ()
    last_known = NO_NODE
    if len(isr) < situation.min_isr:
        holders = {*state.isr, *state.eligible}.difference(isr)
        eligible = tuple(node for node in state.replicas if node in holders)
        ended = not isr and state.leader_id != NO_NODE
        last_known = state.leader_id if ended else state.last_known_leader
    led_on = leader_id == state.leader_id
    return replace(
        state,
        leader_id=leader_id,
        leader_epoch=state.leader_epoch if led_on else LeaderEpoch(state.leader_epoch + 1),
        isr=isr,
        eligible=eligible,
        last_known_leader=last_known,
        # In sync again, it holds everything.
        damaged=tuple(node for node in state.damaged if node not in isr),
    )


def partition_changed(
    settings: MetadataSettings, topic: TopicImage, changed: PartitionImage
) -> Outcome[PartitionImage]:
    """Return the outcome that makes `changed` the state of its partition, at its next partition
    epoch. Where min.insync.replicas follows the number of replicas, others may change with it."""
    before = topic.partition(changed.partition)
    after = replace(changed, partition_epoch=before.partition_epoch + 1)
    if after.factor == before.factor:
        return Outcome((PartitionChanged(topic.topic_id, after),), after)
    partitions = (*topic.partitions[: after.partition], after)
    now = replace(topic, partitions=(*partitions, *topic.partitions[after.partition + 1 :]))
    others = {record.state.partition: record for record in without_eligible(settings, topic, now)}
    own = others.pop(after.partition, None)
    if own is not None:
        after = replace(own.state, partition_epoch=after.partition_epoch)
    return Outcome((PartitionChanged(topic.topic_id, after), *others.values()), after)


def without_eligible(
    settings: MetadataSettings, before: TopicImage, after: TopicImage
) -> Iterator[PartitionChanged]:
    """Another min.insync.replicas: acknowledged from now on is what eligible replicas may lack."""
    min_isr = settings.min_insync_replicas(after)
    if min_isr == settings.min_insync_replicas(before):
        return
    for state in after.partitions:
        changed = not_eligible(state)
        if changed != state:
            raised = replace(changed, partition_epoch=state.partition_epoch + 1)
            yield PartitionChanged(after.topic_id, raised)


def changes(
    image: ClusterImage, settings: MetadataSettings, change: Change
) -> Iterator[PartitionChanged]:
    """Yield what becomes of the partitions of all topics, each at its next partition epoch."""
    in_service = image.nodes_in_service
    for topic in image.topics_by_name():
        situation = Situation(in_service, settings.min_insync_replicas(topic))
        for before in topic.partitions:
            after = change(before, situation)
            if after != before:
                raised = replace(after, partition_epoch=before.partition_epoch + 1)
                yield PartitionChanged(topic.topic_id, raised)


def some_changes(
    image: ClusterImage, settings: MetadataSettings, change: Change
) -> tuple[tuple[PartitionChanged, ...], bool]:
    """Return as many changes as an entry may hold, and whether there are more."""
    found = changes(image, settings, change)
    first = tuple(islice(found, settings.changes_per_entry_max))
    return first, next(found, None) is not None
