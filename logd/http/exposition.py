"""A snapshot in the text formats of Prometheus.

prometheus-client writes the formats, and brings the metrics of process and interpreter; names,
texts and labels are those of the catalogue. All label values are escaped by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from logd.http.messages import Response
from logd.http.snapshot import ApiNumbers, Snapshot, TrafficNumbers
from logd.model.ids import NO_NODE
from logd.observe import METRICS, Histogram, MetricKind, QuorumStatus
from logd.observe.meters import OK
from logd.runtime.gauges import Gauges, PartitionGauges, RecoveryGauges
from logd.runtime.group_watch import GroupGauges

_NS: Final = 1_000_000_000
_OPENMETRICS: Final = "application/openmetrics-text"

#: (path, status) -> requests to the admin port.
AdminRequests = Mapping[tuple[str, int], int]

_OF_TRAFFIC: Final[dict[str, Callable[[TrafficNumbers], int]]] = {
    "logd_produced_bytes_total": lambda traffic: traffic.produced_bytes,
    "logd_produced_records_total": lambda traffic: traffic.produced_records,
    "logd_produced_batches_total": lambda traffic: traffic.produced_batches,
    "logd_produced_duplicates_total": lambda traffic: traffic.duplicates,
    "logd_fetched_bytes_total": lambda traffic: traffic.fetched_bytes,
    "logd_fetched_records_total": lambda traffic: traffic.fetched_records,
}

_OF_PARTITION: Final[dict[str, Callable[[PartitionGauges], int]]] = {
    "logd_partition_high_watermark": lambda found: found.high_watermark,
    "logd_partition_start_offset": lambda found: found.start_offset,
    "logd_partition_end_offset": lambda found: found.end_offset,
    "logd_partition_size_bytes": lambda found: found.size_bytes,
    "logd_partition_segments": lambda found: found.segments,
    "logd_partition_leader": lambda found: found.leader_id,
    "logd_partition_replicas": lambda found: found.replicas,
    "logd_partition_isr": lambda found: found.in_sync,
    "logd_partition_under_replicated": lambda found: found.in_sync < found.replicas,
    "logd_partition_damaged_ranges": lambda found: found.damaged_ranges,
}

_OF_GAUGES: Final[dict[str, Callable[[Gauges], int]]] = {
    "logd_writer_queue": lambda gauges: gauges.writer_queue,
    "logd_topics": lambda gauges: gauges.topic_count,
    "logd_partitions": lambda gauges: gauges.partition_count,
    "logd_partitions_without_series": lambda gauges: (
        gauges.partition_count - len(gauges.partitions)
    ),
    "logd_node_fenced": lambda gauges: gauges.fenced or not gauges.in_session,
    "logd_cluster_nodes": lambda gauges: gauges.node_count,
    "logd_cluster_fenced_nodes": lambda gauges: gauges.fenced_nodes,
    "logd_cluster_leaderless_partitions": lambda gauges: gauges.leaderless,
    "logd_cluster_under_replicated_partitions": lambda gauges: gauges.under_replicated,
    "logd_cluster_under_min_isr_partitions": lambda gauges: gauges.under_min_isr,
    "logd_groups": lambda gauges: gauges.groups.count,
    "logd_groups_loading_partitions": lambda gauges: gauges.groups.loading,
    "logd_damaged_partitions": lambda gauges: gauges.damaged_partitions,
}

_OF_RECOVERY: Final[dict[str, Callable[[RecoveryGauges], int]]] = {
    "logd_recovery_clean_logs": lambda recovery: recovery.clean_logs,
    "logd_recovery_scanned_bytes": lambda recovery: recovery.scanned_bytes,
    "logd_recovery_kept_bytes": lambda recovery: recovery.kept_bytes,
    "logd_recovery_cut_bytes": lambda recovery: recovery.cut_bytes,
}

_OF_STATUS: Final[dict[str, Callable[[QuorumStatus], int]]] = {
    "logd_raft_term": lambda status: status.term,
    "logd_raft_leader": lambda status: NO_NODE if status.leader_id is None else status.leader_id,
    "logd_raft_voters": lambda status: len(status.voters),
    "logd_raft_commit_index": lambda status: status.commit_index,
    "logd_raft_applied_index": lambda status: status.applied_index,
    "logd_raft_applied_lag_entries": lambda status: max(
        0, status.commit_index - status.applied_index
    ),
    "logd_raft_end_index": lambda status: status.end_index,
    "logd_raft_caught_up": lambda status: status.caught_up,
}

_ROLES: Final = ("follower", "pre-candidate", "candidate", "leader")


def render(snapshot: Snapshot, admin_requests: AdminRequests, accept: str) -> Response:
    """Return the answer to a scrape; `accept` is the request's header, whatever it holds.

    Takes milliseconds where there are many partitions, so it is called on a thread.
    """
    everything = _Everything(snapshot, admin_requests)
    if _OPENMETRICS in accept:
        body = openmetrics.generate_latest(everything)
        return Response(200, openmetrics.CONTENT_TYPE_LATEST, body)
    return Response(200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(everything))


class _Everything(Collector):
    """Our metrics, then those of the process and the interpreter."""

    def __init__(self, snapshot: Snapshot, admin_requests: AdminRequests) -> None:
        self._snapshot = snapshot
        self._admin_requests = admin_requests

    def collect(self) -> Iterable[Metric]:
        families = _Families()
        _add_node(families, self._snapshot)
        _add_traffic(families, self._snapshot)
        for (path, status), count in sorted(self._admin_requests.items()):
            families.add("logd_admin_requests_total", count, path, str(status))
        if self._snapshot.gauges is not None:
            _add_gauges(families, self._snapshot.gauges)
        yield from families.all()
        yield from ProcessCollector(registry=None).collect()
        interpreter = CollectorRegistry()
        GCCollector(interpreter)
        yield from interpreter.collect()


class _Families:
    """Every family of the catalogue, and the samples of this scrape."""

    def __init__(self) -> None:
        self._plain: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        self._histograms: dict[str, HistogramMetricFamily] = {}
        for metric in METRICS.values():
            name, doc, labels = metric.name, metric.doc, metric.labels
            match metric.kind:
                case MetricKind.COUNTER:
                    self._plain[name] = CounterMetricFamily(name, doc, labels=labels)
                case MetricKind.GAUGE:
                    self._plain[name] = GaugeMetricFamily(name, doc, labels=labels)
                case MetricKind.HISTOGRAM:
                    self._histograms[name] = HistogramMetricFamily(name, doc, labels=labels)

    def all(self) -> list[Metric]:
        return [*self._plain.values(), *self._histograms.values()]

    def add(self, name: str, value: float, *labels: str) -> None:
        self._plain[name].add_metric(labels, value)

    def add_histogram(self, name: str, histogram: Histogram, *labels: str) -> None:
        bounds = [*(str(bound / _NS) for bound in histogram.bounds_ns), "+Inf"]
        buckets = list(zip(bounds, histogram.cumulative(), strict=True))
        self._histograms[name].add_metric(labels, buckets, histogram.sum_ns / _NS)


def _add_node(families: _Families, snapshot: Snapshot) -> None:
    families.add("logd_build_info", 1, snapshot.version)
    families.add("logd_node_info", 1, str(snapshot.node_id), snapshot.cluster_id)
    families.add("logd_node_up", snapshot.ready)
    families.add("logd_uptime_seconds", snapshot.uptime_ns / _NS)
    if snapshot.start_duration_ns is not None:
        families.add("logd_start_duration_seconds", snapshot.start_duration_ns / _NS)
    if snapshot.free_bytes is not None:
        families.add("logd_disk_free_bytes", snapshot.free_bytes)
    families.add("logd_disk_free_min_bytes", snapshot.free_bytes_min)
    families.add("logd_open_connections", snapshot.connections)
    families.add("logd_calls_under_way", snapshot.calls)
    for log, histogram in snapshot.syncs:
        families.add_histogram("logd_fsync_duration_seconds", histogram, log)


def _add_traffic(families: _Families, snapshot: Snapshot) -> None:
    for traffic in snapshot.traffic:
        for name, number in _OF_TRAFFIC.items():
            families.add(name, number(traffic), traffic.topic)
    for requests in snapshot.requests:
        _add_requests(families, requests)


def _add_requests(families: _Families, requests: ApiNumbers) -> None:
    families.add("logd_requests_total", requests.ok, requests.api, OK)
    for code, count in sorted(requests.failures.items()):
        families.add("logd_requests_total", count, requests.api, code)
    name = "logd_request_duration_seconds"
    families.add_histogram(name, requests.ok_durations, requests.api, "ok")
    if any(requests.failed_durations.counts):
        families.add_histogram(name, requests.failed_durations, requests.api, "error")


def _add_gauges(families: _Families, gauges: Gauges) -> None:
    for name, of_gauges in _OF_GAUGES.items():
        families.add(name, of_gauges(gauges))
    for budget, (held, limit) in gauges.budgets.items():
        families.add("logd_budget_held_bytes", held, budget)
        families.add("logd_budget_limit_bytes", limit, budget)
    for found in gauges.partitions:
        for name, of_partition in _OF_PARTITION.items():
            families.add(name, of_partition(found), found.topic, str(found.partition))
    for name, of_recovery in _OF_RECOVERY.items():
        families.add(name, of_recovery(gauges.recovery))
    _add_groups(families, gauges.groups)
    for name, of_status in _OF_STATUS.items():
        families.add(name, of_status(gauges.status))
    for node_id, lag in gauges.status.lags:
        families.add("logd_raft_replication_lag_entries", lag, str(node_id))
    for role in _ROLES:
        families.add("logd_raft_role", role == gauges.status.role, role)


def _add_groups(families: _Families, groups: GroupGauges) -> None:
    for group_id, members in groups.members:
        families.add("logd_group_members", members, group_id)
    for lag in groups.lags:
        labels = (lag.group_id, lag.topic, str(lag.partition))
        families.add("logd_group_lag_records", lag.records, *labels)
        seconds = -1 if lag.lag_ms < 0 else lag.lag_ms / 1000
        families.add("logd_group_lag_seconds", seconds, *labels)
