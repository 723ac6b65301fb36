"""The report, from results that are made up."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from bench.goals import GOALS, Goal
from bench.grid import LANES, QUICK
from bench.histogram import Histogram
from bench.plots import bars, curves
from bench.report import page
from bench.session import medians_of

GROUPS = {group.name: group for group in QUICK}
SESSION: dict[str, Any] = {
    "date": "2026-01-01 00:00 UTC",
    "minutes": 1.5,
    "command": "python -m bench",
    "machine": {
        "cores": 2,
        "processor": "a <processor>",
        "memory_bytes": 2**34,
        "kernel": "6.1",
        "load_1m": 0.1,
    },
    "versions": {"python": "3.11"},
    "limits": {"page cache, MB/s": 1100},
    "skipped": ["nats: SKIPPED, there is no go here"],
}


def result(group: str, lane: str, rate: int, *, latency_ns: int = 0) -> dict[str, Any]:
    latency = Histogram()
    if latency_ns:
        latency.record(latency_ns, 100)
    phase = {
        "records": rate,
        "seconds": 1.0,
        "records_per_second": rate,
        "megabytes_per_second": rate / 1e4,
        "client_cpu_seconds": 0.5,
        "server_cpu_seconds": 0.25,
        "latency_ms": latency.summary_ms() or None,
        "histogram": latency.document() if latency.total else None,
        "client": {"client": "1.0"},
    }
    return {
        "group": asdict(GROUPS[group]),
        "lane": asdict(LANES[lane]),
        "task": {"rate": 1_000.0 if latency_ns else 0.0},
        "send": phase,
        "read": phase,
    }


def goal(text: str) -> Goal:
    (found,) = (goal for goal in GOALS if goal.text == text)
    return found


def test_a_goal_is_the_ratio_of_medians() -> None:
    ours = [result("unsynced", "logd-bulk", rate) for rate in (100, 900, 600)]
    theirs = [result("unsynced", "confluent", rate) for rate in (200, 300, 1_000)]
    found = goal("send_many / confluent-kafka")
    assert found.measure([*ours, *theirs]) == 2.0
    assert found.met(2.0)
    assert not found.met(1.99)
    assert found.measure(ours) is None


def test_a_latency_is_met_from_below() -> None:
    ours = result("end-to-end", "logd-each", 1_000, latency_ns=4_000_000)
    theirs = result("end-to-end", "confluent", 1_000, latency_ns=3_000_000)
    ratio = goal("end to end, p99 / Kafka's").measure([ours, theirs])
    assert ratio is not None
    assert not goal("end to end, p99 / Kafka's").met(ratio)
    alone = goal("end to end at 1 000 records a second, p99, ms")
    assert alone.measure([ours]) == 4.0
    assert alone.met(4.0)


def test_medians_are_by_lane() -> None:
    documents = [result("unsynced", "redis", rate) for rate in (1, 5, 3)]
    assert medians_of(documents, "unsynced", "send") == {"redis": 3}
    assert medians_of(documents, "synced", "send") == {}


def test_the_page_says_what_was_measured_how_and_what_was_not() -> None:
    documents = [
        result("unsynced", "logd-bulk", 2_000_000),
        result("unsynced", "confluent", 500_000),
        result("end-to-end", "logd-each", 1_000, latency_ns=2_500_000),
    ]
    text = page(documents, SESSION)
    for expected in (
        "2,000,000 (2,000,000 to 2,000,000)",
        "python -m bench",
        "a &lt;processor&gt;",
        "like for like: nobody syncs before an acknowledgement",
        "page cache, MB/s",
        "there is no go here",
        ">not met<",
        ">met<",
        "not measured",
    ):
        assert expected in text, expected
    assert "<script" not in text
    assert not re.search(r"(src|href)=", text), "the page needs nothing else"


def test_plots_are_well_formed() -> None:
    drawn = bars("a & b", [("logd <x>", 10.0, 8.0, 12.0), ("other", 5.0, 5.0, 5.0)])
    ElementTree.fromstring(drawn)
    assert drawn.count("<rect") == 2
    drawn = curves("latency", [("one", [(0.5, 1.0), (0.99, 10.0), (1.0, 30.0)])])
    ElementTree.fromstring(drawn)
    assert drawn.count("<polyline") == 1
    assert curves("nothing", []) == ""
