"""What is counted and what is asked about a node: plain numbers, judged and named here.

Counting costs next to nothing: integers that grow, and nothing else. Names, texts and labels come
into it when somebody asks, in `logd.http`.
"""

from __future__ import annotations

from logd.observe.catalogue import METRICS, Metric, MetricKind
from logd.observe.histogram import Histogram
from logd.observe.meters import ApiMeter, Meters, RequestMeters, Traffic, TrafficTable
from logd.observe.readiness import NodeFacts, Phase, Reason, find_reasons
from logd.observe.status import QuorumStatus

__all__ = [
    "METRICS",
    "ApiMeter",
    "Histogram",
    "Meters",
    "Metric",
    "MetricKind",
    "NodeFacts",
    "Phase",
    "QuorumStatus",
    "Reason",
    "RequestMeters",
    "Traffic",
    "TrafficTable",
    "find_reasons",
]
