"""Every metric there is: its name, what it counts, and what its labels mean.

The exposition takes names and texts from here, and so does docs/metrics.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class MetricKind(Enum):
    """How a metric moves: a counter only grows, until the node starts again."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of series. The name says the unit; times are in seconds, sizes in bytes."""

    name: str
    kind: MetricKind
    doc: str
    labels: tuple[str, ...] = ()


def _counter(name: str, doc: str, *labels: str) -> Metric:
    return Metric(name, MetricKind.COUNTER, doc, labels)


def _gauge(name: str, doc: str, *labels: str) -> Metric:
    return Metric(name, MetricKind.GAUGE, doc, labels)


def _histogram(name: str, doc: str, *labels: str) -> Metric:
    return Metric(name, MetricKind.HISTOGRAM, doc, labels)


_NODE: Final = (
    _gauge("logd_build_info", "Always 1; the labels say what runs.", "version"),
    _gauge(
        "logd_node_info", "Always 1; the labels say which node this is.", "node_id", "cluster_id"
    ),
    _gauge("logd_node_up", "1 while /readyz answers that the node is ready, else 0."),
    _gauge(
        "logd_node_fenced",
        "1 while the controller does not count on this node, or does not answer it, else 0.",
    ),
    _gauge("logd_uptime_seconds", "Time since the process took up its work."),
    _gauge("logd_start_duration_seconds", "How long the last start took, from nothing to serving."),
    _gauge("logd_disk_free_bytes", "Free space on the disk of the data directory."),
    _gauge(
        "logd_disk_free_min_bytes",
        "Below so much free space produce is refused (disk.free_bytes_min).",
    ),
    _gauge("logd_open_connections", "Client connections with at least one call under way."),
    _gauge("logd_calls_under_way", "Calls and streams of clients under way."),
    _gauge(
        "logd_budget_held_bytes",
        "Bytes of batches in memory: `produce` not answered yet, `fetch` not taken yet.",
        "budget",
    ),
    _gauge("logd_budget_limit_bytes", "The most that the budget may hold.", "budget"),
    _gauge("logd_writer_queue", "Batches and other work that wait for the one writer."),
)

_TRAFFIC: Final = (
    _counter(
        "logd_produced_bytes_total",
        "Bytes of batches appended, as they are stored.",
        "topic",
    ),
    _counter("logd_produced_records_total", "Records appended.", "topic"),
    _counter("logd_produced_batches_total", "Batches appended.", "topic"),
    _counter(
        "logd_produced_duplicates_total",
        "Batches that came again and were answered as the first time.",
        "topic",
    ),
    _counter("logd_fetched_bytes_total", "Bytes of batches read for consumers.", "topic"),
    _counter(
        "logd_fetched_records_total",
        "Offsets that consumers were taken on by: records, unless some were compacted away.",
        "topic",
    ),
    _counter(
        "logd_requests_total",
        "Requests answered, by method and by error code (`NONE`: without an error). A batch on a"
        " produce stream and a push on a fetch stream count as one request.",
        "api",
        "code",
    ),
    _histogram(
        "logd_request_duration_seconds",
        "Time to answer. `Produce`: from the batch being read off its stream until it is as"
        " durable as its topic promises. `Fetch`: from data being there until the transport has"
        " taken it. `Read` may wait for records, as the caller asked it to.",
        "api",
        "outcome",
    ),
    _histogram(
        "logd_fsync_duration_seconds",
        "Time of one fdatasync: of partition logs, of the metadata log, of anything else.",
        "log",
    ),
    _counter(
        "logd_admin_requests_total",
        "Requests to the admin port, by path and status.",
        "path",
        "code",
    ),
)

_PARTITIONS: Final = (
    _gauge("logd_topics", "Topics of the cluster."),
    _gauge("logd_partitions", "Partitions with a replica on this node."),
    _gauge(
        "logd_partitions_without_series",
        "Partitions on this node that have no series of their own (metrics.partitions_max).",
    ),
    _gauge("logd_cluster_nodes", "Registered nodes of the cluster, fenced or not."),
    _gauge("logd_cluster_fenced_nodes", "Registered nodes that the controller does not count on."),
    _gauge("logd_cluster_leaderless_partitions", "Partitions of the cluster without a leader."),
    _gauge(
        "logd_cluster_under_replicated_partitions",
        "Partitions of the cluster of which a replica is not in sync.",
    ),
    _gauge(
        "logd_cluster_under_min_isr_partitions",
        "Partitions of the cluster that are led, with fewer replicas in sync than "
        "min.insync.replicas: acks=all is refused.",
    ),
    _gauge(
        "logd_partition_high_watermark",
        "End of what consumers may read.",
        "topic",
        "partition",
    ),
    _gauge("logd_partition_start_offset", "First offset there is.", "topic", "partition"),
    _gauge(
        "logd_partition_end_offset",
        "End of what is written here, durable or not.",
        "topic",
        "partition",
    ),
    _gauge("logd_partition_size_bytes", "Size of the log on this node.", "topic", "partition"),
    _gauge("logd_partition_segments", "Segments of the log.", "topic", "partition"),
    _gauge("logd_partition_leader", "Id of the leading node; -1: none.", "topic", "partition"),
    _gauge("logd_partition_replicas", "Replicas that there should be.", "topic", "partition"),
    _gauge("logd_partition_isr", "Replicas that are in sync.", "topic", "partition"),
    _gauge(
        "logd_partition_under_replicated",
        "1 when a replica is not in sync, else 0.",
        "topic",
        "partition",
    ),
    _gauge(
        "logd_partition_damaged_ranges",
        "Ranges of offsets on this node that are known to be damaged.",
        "topic",
        "partition",
    ),
)

_RECOVERY: Final = (
    _gauge("logd_damaged_partitions", "Partitions on this node with known damage."),
    _gauge(
        "logd_recovery_clean_logs",
        "Partition logs that were opened without looking through them, after a clean stop.",
    ),
    _gauge("logd_recovery_scanned_bytes", "Bytes looked through when the logs were opened."),
    _gauge(
        "logd_recovery_kept_bytes",
        "Bytes from beyond the ledger that were whole, copied and kept.",
    ),
    _gauge("logd_recovery_cut_bytes", "Bytes of torn tails that were cut off."),
)

_GROUPS: Final = (
    _gauge("logd_groups", "Consumer groups that this node coordinates."),
    _gauge(
        "logd_groups_loading_partitions",
        "Partitions of __consumer_offsets that this node leads and does not answer for yet.",
    ),
    _gauge("logd_group_members", "Members of a group, from its coordinator.", "group"),
    _gauge(
        "logd_group_lag_records",
        "Records that a group has not finished, from its coordinator, measured every ten seconds; "
        "-1: nothing is committed, or the partition's leader does not say.",
        "group",
        "topic",
        "partition",
    ),
    _gauge(
        "logd_group_lag_seconds",
        "How long ago the first record was appended that a group has not finished, 0 when there is "
        "none; as logd_group_lag_records.",
        "group",
        "topic",
        "partition",
    ),
)

_QUORUM: Final = (
    _gauge("logd_raft_role", "1 for the node's role in the metadata quorum, else 0.", "role"),
    _gauge("logd_raft_term", "Term of the metadata quorum, as this node knows it."),
    _gauge("logd_raft_leader", "Id of the quorum's leader; -1: none is known."),
    _gauge("logd_raft_voters", "Nodes that vote."),
    _gauge("logd_raft_commit_index", "End of what is committed, as this node knows it."),
    _gauge("logd_raft_applied_index", "End of what this node has applied."),
    _gauge(
        "logd_raft_applied_lag_entries",
        "Entries that are committed, as this node knows it, and not applied here yet.",
    ),
    _gauge(
        "logd_raft_replication_lag_entries",
        "Entries of the metadata log that a node is known to lack; only from the leader, which"
        " lacks none itself.",
        "node_id",
    ),
    _gauge("logd_raft_end_index", "End of this node's metadata log, committed or not."),
    _gauge(
        "logd_raft_caught_up",
        "1 once this node has applied what was committed when it came to know a leader.",
    ),
)

#: What there is, by name, in the order of the documentation.
METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (*_NODE, *_TRAFFIC, *_PARTITIONS, *_RECOVERY, *_GROUPS, *_QUORUM)
}
