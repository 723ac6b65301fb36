"""How one node stands at one moment, as plain values: what metrics and readiness are made of.

Taken on the event loop, so it is quick: one pass over the partitions, at most
`metrics.partitions_max` of them in detail, and no file is touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from logd_wire.errors import LogdError

from logd.consensus import Role
from logd.metadata import ClusterImage, MetadataSettings
from logd.model.ids import NO_NODE, NodeId
from logd.observe import QuorumStatus
from logd.runtime.broker import Broker
from logd.runtime.consensus_driver import ConsensusStatus
from logd.runtime.disk_driver import DiskDriver
from logd.runtime.group_watch import GroupGauges
from logd.runtime.partition import Partition
from logd.runtime.partitions import Partitions


@dataclass(frozen=True, slots=True)
class PartitionGauges:
    """One partition with a replica here. Leader and replicas are what the metadata says."""

    topic: str
    partition: int
    leader_id: NodeId
    replicas: int
    in_sync: int
    start_offset: int
    high_watermark: int
    end_offset: int
    size_bytes: int
    segments: int
    damaged_ranges: int


@dataclass(frozen=True, slots=True)
class RecoveryGauges:
    """What opening the partition logs took, all together."""

    clean_logs: int
    scanned_bytes: int
    kept_bytes: int
    cut_bytes: int


@dataclass(frozen=True, slots=True)
class Gauges:
    """See the module's text. `partitions` is a part of `partition_count`."""

    status: QuorumStatus
    #: Whether the committed metadata lists this node, and whether it says that it is fenced.
    registered: bool
    fenced: bool
    #: Whether the node's session with the controller lasts.
    in_session: bool
    #: Nodes that the committed metadata lists, and those of them that are fenced.
    node_count: int
    fenced_nodes: int
    stopping: bool
    #: Bytes held and the most that may be, by what the budget is for.
    budgets: dict[str, tuple[int, int]]
    writer_queue: int
    writer_busy_ms: int
    topic_count: int
    partition_count: int
    leaderless: int
    under_replicated: int
    under_min_isr: int
    damaged_partitions: int
    recovery: RecoveryGauges
    groups: GroupGauges
    partitions: tuple[PartitionGauges, ...]


def measure(broker: Broker, partitions: Partitions, driver: DiskDriver) -> Gauges:
    """Return how things stand now."""
    image, here = broker.image, partitions.all()
    states = [state for topic in image.topics.values() for state in topic.partitions]
    metrics = broker.config.metrics
    detailed = metrics.partitions_max if metrics.per_partition else 0
    defaults = broker.config.topic_defaults
    own = image.nodes.get(broker.identity.node_id)
    return Gauges(
        status=_of_quorum(broker.quorum, broker.identity.node_id),
        registered=own is not None,
        fenced=own is not None and own.fenced,
        in_session=broker.serving,
        node_count=len(image.nodes),
        fenced_nodes=sum(node.fenced for node in image.nodes.values()),
        stopping=broker.stopping,
        budgets={name: (held.held, held.bytes_max) for name, held in broker.budgets.items()},
        writer_queue=driver.waiting,
        writer_busy_ms=driver.busy_ms,
        topic_count=len(image.topics),
        partition_count=len(here),
        leaderless=sum(state.leader_id == NO_NODE for state in states),
        under_replicated=sum(len(state.isr) < state.factor for state in states),
        under_min_isr=_under_min_isr(image, MetadataSettings(topic_defaults=defaults)),
        damaged_partitions=sum(bool(found.view.damage) for found in here),
        recovery=_recovery(here),
        groups=broker.groups.watch.gauges(),
        partitions=tuple(_of_partition(found, image) for found in islice(here, detailed)),
    )


def _under_min_isr(image: ClusterImage, settings: MetadataSettings) -> int:
    return sum(
        state.leader_id != NO_NODE and len(state.isr) < settings.min_insync_replicas(topic)
        for topic in image.topics.values()
        for state in topic.partitions
        if len(state.isr) < state.factor
    )


def _of_quorum(status: ConsensusStatus, own_id: NodeId) -> QuorumStatus:
    lags = {each.node_id: max(0, status.end_index - each.match_index) for each in status.progress}
    if status.role is Role.LEADER:
        lags[own_id] = 0
    return QuorumStatus(
        role=status.role.value,
        term=status.term,
        leader_id=None if status.leader_id == NO_NODE else status.leader_id,
        commit_index=status.commit_index,
        applied_index=status.applied_index,
        end_index=status.end_index,
        caught_up=status.caught_up,
        voters=tuple(voter.node_id for voter in status.voters),
        lags=tuple(sorted(lags.items())),
    )


def _of_partition(found: Partition, image: ClusterImage) -> PartitionGauges:
    view = found.view
    leader_id, replicas, in_sync = NO_NODE, 0, 0
    try:
        state = image.topic(found.id.topic_id).partition(found.id.partition)
    except LogdError:
        # Deleted a moment ago; its log is still being taken down.
        pass
    else:
        leader_id, replicas, in_sync = state.leader_id, state.factor, len(state.isr)
    return PartitionGauges(
        topic=found.topic,
        partition=found.id.partition,
        leader_id=leader_id,
        replicas=replicas,
        in_sync=in_sync,
        start_offset=view.start_offset,
        high_watermark=found.high_watermark,
        end_offset=view.written_end_offset,
        size_bytes=view.size_bytes,
        segments=view.segment_count,
        damaged_ranges=len(view.damage),
    )


def _recovery(partitions: Iterable[Partition]) -> RecoveryGauges:
    reports = [found.log.recovery for found in partitions]
    return RecoveryGauges(
        clean_logs=sum(report.clean for report in reports),
        scanned_bytes=sum(report.scanned_bytes for report in reports),
        kept_bytes=sum(report.copied_bytes for report in reports),
        cut_bytes=sum(report.cut_bytes for report in reports),
    )
