from __future__ import annotations

import re

import pytest

from logd.http.exposition import render
from logd.http.snapshot import Snapshot
from logd.observe import METRICS, Metric, MetricKind
from logd.observe.readiness import NodeFacts, Phase, find_reasons
from tests.architecture.sources import ROOT, product_files
from tools import gen_metrics

_NAME = re.compile(r"logd_[a-z]+(?:_[a-z]+)*")


def faults(metric: Metric) -> list[str]:
    """What is wrong with a metric's name and text."""
    name, kind = metric.name, metric.kind
    found = []
    if not _NAME.fullmatch(name):
        found.append("the name is not lower case words")
    if name.endswith("_total") is not (kind is MetricKind.COUNTER):
        found.append("_total is for counters, and for all of them")
    if kind is MetricKind.HISTOGRAM and not name.endswith("_seconds"):
        found.append("a histogram without a unit")
    if any(word in name for word in ("_ms", "_kib", "_mb", "percent")):
        found.append("not in base units")
    if len(metric.doc.split()) < 2 or not metric.doc.endswith("."):
        found.append("no sentence says what it is")
    if {"client", "client_id", "peer", "offset", "le"} & set(metric.labels):
        found.append("a label without bounds")
    return found


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_names_and_texts_keep_to_the_rules(metric: Metric) -> None:
    assert faults(metric) == []


def test_a_metric_against_the_rules_is_seen() -> None:
    good = Metric("logd_x_bytes_total", MetricKind.COUNTER, "Bytes of x.", ("topic",))
    assert faults(good) == []
    for name, kind, doc, label in (
        ("logd_X_total", MetricKind.COUNTER, "Bytes of x.", "topic"),
        ("logd_x_bytes", MetricKind.COUNTER, "Bytes of x.", "topic"),
        ("logd_x_total", MetricKind.GAUGE, "Bytes of x.", "topic"),
        ("logd_x", MetricKind.HISTOGRAM, "Time of x.", "topic"),
        ("logd_x_ms", MetricKind.GAUGE, "Time of x.", "topic"),
        ("logd_x", MetricKind.GAUGE, "x", "topic"),
        ("logd_x", MetricKind.GAUGE, "How many x.", "client_id"),
    ):
        assert faults(Metric(name, kind, doc, (label,))), name


def test_the_page_of_metrics_is_up_to_date() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    assert page == gen_metrics.render(), "run 'python -m tools.gen_metrics'"
    assert set(re.findall(r"^\| `(logd_\w+)` \|", page, re.MULTILINE)) == set(METRICS)


def test_expressions_on_the_page_name_metrics_that_there_are() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    for found in re.findall(r"\blogd_[a-z_]+", page):
        assert found.removesuffix("_bucket") in METRICS, found


def test_every_metric_is_given_a_value_somewhere() -> None:
    """The names in the code and those of the catalogue are the same."""
    [code] = [source.text for source in product_files() if source.path == "logd/http/exposition.py"]
    assert set(re.findall(r'"(logd_\w+)"', code)) == set(METRICS)


def test_every_reason_is_on_the_page() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    told = {reason.name for phase in Phase for reason in find_reasons(NodeFacts(phase))}
    told |= {
        reason.name
        for facts in (
            NodeFacts(Phase.JOINING, waits_for="node 2", is_overdue=True),
            NodeFacts(Phase.SERVING, free_bytes=0, free_bytes_min=1),
            NodeFacts(Phase.SERVING, registered=True, fenced=True),
            NodeFacts(Phase.SERVING, registered=True),
            NodeFacts(Phase.SERVING, free_bytes=0, write_waiting_ms=10**6),
        )
        for reason in find_reasons(facts)
    }
    listed = set(re.findall(r"^\| `([a-z_]+)` \| [A-Z]", page, re.MULTILINE)) - set(METRICS)
    assert listed == told


def test_before_the_node_there_are_headings_at_least() -> None:
    snapshot = Snapshot(
        version="1",
        node_id=1,
        ready=False,
        uptime_ns=1,
        free_bytes=None,
        free_bytes_min=0,
        syncs=[],
    )
    text = render(snapshot, {}, "").body.decode()
    for metric in METRICS.values():
        assert f"# TYPE {metric.name} {metric.kind.value}\n" in text
