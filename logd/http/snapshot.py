"""What one scrape shows, taken down at one moment so that it can be written out on a thread."""

from __future__ import annotations

from dataclasses import dataclass

from logd.observe import Histogram
from logd.runtime.gauges import Gauges


@dataclass(frozen=True, slots=True)
class TrafficNumbers:
    """The traffic of one topic; "" is that of all topics without series of their own."""

    topic: str
    produced_bytes: int
    produced_records: int
    produced_batches: int
    duplicates: int
    fetched_bytes: int
    fetched_records: int


@dataclass(frozen=True, slots=True)
class ApiNumbers:
    """The requests of one method."""

    api: str
    ok: int
    failures: dict[str, int]
    ok_durations: Histogram
    failed_durations: Histogram


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that metrics are made of, at one moment; nothing in it changes any more.

    What is only known once the node serves is None or empty before.
    """

    version: str
    node_id: int
    ready: bool
    uptime_ns: int
    free_bytes: int | None
    free_bytes_min: int
    syncs: list[tuple[str, Histogram]]
    start_duration_ns: int | None = None
    cluster_id: str = ""
    connections: int = 0
    calls: int = 0
    gauges: Gauges | None = None
    traffic: tuple[TrafficNumbers, ...] = ()
    requests: tuple[ApiNumbers, ...] = ()
