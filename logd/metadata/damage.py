"""Replicas whose log was found damaged: they stand for election no more.

Bytes that were durable are gone or cannot be believed, so the replica may lack what it
acknowledged. It leaves the in-sync and the eligible set, and is listed as damaged until it is in
sync again: its leader takes it in once it was copied anew. Where nobody else holds everything,
nobody leads: from the copy with holes others would cut off what they have. Only a leader that had
begun before its damage was found leads on then: nobody is cut off, and what is intact is served.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from logd.metadata.commands import Outcome, PartitionChanges, ReportDamage
from logd.metadata.elections import Situation, settled
from logd.metadata.image import ClusterImage
from logd.metadata.nodes import registered
from logd.metadata.records import PartitionChanged, PartitionImage
from logd.metadata.settings import MetadataSettings
from logd.model.ids import NO_NODE, NodeId, TopicId


def report_damage(
    image: ClusterImage, settings: MetadataSettings, command: ReportDamage
) -> Outcome[PartitionChanges]:
    """Count on damaged logs of a node no longer; those known to be damaged change nothing."""
    registered(image, command.node_id, command.incarnation_id)
    records = tuple(_changes(image, settings, command))
    return Outcome(records, PartitionChanges(len(records), more=False))


def _changes(
    image: ClusterImage, settings: MetadataSettings, command: ReportDamage
) -> Iterator[PartitionChanged]:
    in_service = image.nodes_in_service
    for key in dict.fromkeys(command.partitions):
        topic = image.topics.get(TopicId(key.topic_id))
        if topic is None or not 0 <= key.partition < len(topic.partitions):
            # Deleted meanwhile.
            continue
        before = topic.partitions[key.partition]
        situation = Situation(in_service, settings.min_insync_replicas(topic))
        after = _with_damage(before, command.node_id, situation)
        leads_on = command.leads_on and before.leader_id == command.node_id
        if leads_on and after.leader_id == NO_NODE:
            continue
        if after != before:
            raised = replace(after, partition_epoch=before.partition_epoch + 1)
            yield PartitionChanged(topic.topic_id, raised)


def _with_damage(state: PartitionImage, node_id: NodeId, situation: Situation) -> PartitionImage:
    if node_id not in state.replicas or len(state.replicas) == 1 or node_id in state.damaged:
        # The only replica is led on: what is intact stays readable, and nobody copies from it.
        return state
    left = replace(
        state,
        isr=tuple(node for node in state.isr if node != node_id),
        eligible=tuple(node for node in state.eligible if node != node_id),
        damaged=(*state.damaged, node_id),
    )
    after = settled(left, situation)
    if after.last_known_leader == node_id:
        after = replace(after, last_known_leader=NO_NODE)
    return after
