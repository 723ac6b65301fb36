"""The report: one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from statistics import median
from typing import Any

from bench.goals import GOALS, Goal
from bench.histogram import Histogram
from bench.plots import bars, curves

Document = Mapping[str, Any]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #1d2430; }
table { border-collapse: collapse; margin: .8rem 0; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #d8dde5; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.label { color: #5b6675; } .met { color: #176b3a; } .missed { color: #a32020; }
svg { display: block; margin: .5rem 0; max-width: 100%; }
code { background: #f1f3f6; padding: 0 .25rem; }
"""

_SETTINGS = (
    "nodes",
    "durability",
    "size",
    "key_bytes",
    "partitions",
    "workers",
    "acks",
    "compression",
    "rounds",
    "seconds",
)


def page(documents: Sequence[Document], session: Document) -> str:
    """The whole page."""
    groups: dict[str, list[Document]] = {}
    for document in documents:
        groups.setdefault(document["group"]["name"], []).append(document)
    parts = [_head(session)]
    if groups:
        parts.append(_goals(documents))
    parts += [_group(found) for found in groups.values()]
    parts += [_limits(session), _skipped(session), "</body></html>\n"]
    return "\n".join(parts)


def _head(session: Document) -> str:
    machine = session["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in session["versions"].items())
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Benchmarks</title>"
        f"<style>{_STYLE}</style></head><body><h1>Throughput and latency beside peers</h1>"
        f"<p>{escape(session['date'])}, {session['minutes']} minutes, by <code>"
        f"{escape(session['command'])}</code> on {machine['cores']} cores of "
        f"{escape(machine['processor'])}, {machine['memory_bytes'] / 2**30:.0f} GiB, kernel "
        f"{escape(machine['kernel'])}, load {machine['load_1m']} at the start; {escape(versions)}."
        "</p><p>Servers and clients share the cores. The lanes of a group take turns, round by "
        "round, after one round that is not counted; figures are medians, with the least and the "
        "most in brackets. CPU is microseconds a record, of all client or all server processes. "
        "Latency counts from when a record was due, so a stall is not left out.</p>"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML already."""
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _goals(documents: Sequence[Document]) -> str:
    rows = []
    for goal in GOALS:
        ratio = goal.measure(documents)
        if ratio is None:
            rows.append([escape(goal.text), _limit(goal), "not measured", ""])
            continue
        kind, word = ("met", "met") if goal.met(ratio) else ("missed", "not met")
        rows.append(
            [escape(goal.text), _limit(goal), f"{ratio:.2f}", f"<span class='{kind}'>{word}</span>"]
        )
    return "<h2>What is asked</h2>" + _table(["", "asked", "measured", ""], rows)


def _limit(goal: Goal) -> str:
    return f"{'at least' if goal.at_least else 'at most'} {goal.limit:g}"


def _by_lane(found: Sequence[Document]) -> dict[str, list[Document]]:
    lanes: dict[str, list[Document]] = {}
    for document in found:
        lanes.setdefault(document["lane"]["label"], []).append(document)
    return lanes


def _group(found: Sequence[Document]) -> str:
    group, lanes = found[0]["group"], _by_lane(found)
    settings = ", ".join(f"{name} {group[name]}" for name in _SETTINGS)
    clients = sorted({f"{n} {v}" for d in found for n, v in d["send"]["client"].items()})
    tuning = (
        f"batches {group['batch_bytes']} B, linger {group['linger_ms']:g} ms"
        if group["tuned"]
        else "nothing is set at the clients"
    )
    text = (
        f"<h2 id='{escape(group['name'])}'>{escape(group['title'])}</h2><p class='label'>"
        f"{escape(group['comparison'])}. {escape(settings)}; {escape(tuning)}; "
        f"{escape(', '.join(clients))}.</p>"
    )
    if found[0]["task"]["rate"]:
        return text + _latencies(lanes)
    return text + _rates(lanes, "send") + _rates(lanes, "read")


def _rates(lanes: Mapping[str, Sequence[Document]], phase: str) -> str:
    rows, drawn = [], []
    for label, found in lanes.items():
        rates = [document[phase]["records_per_second"] for document in found]
        costs = [
            median(1e6 * d[phase][f"{side}_cpu_seconds"] / d[phase]["records"] for d in found)
            for side in ("client", "server")
        ]
        middle = median(rates)
        drawn.append((label, middle, min(rates), max(rates)))
        rows.append(
            [
                escape(label),
                f"{middle:,.0f} ({min(rates):,} to {max(rates):,})",
                f"{median(d[phase]['megabytes_per_second'] for d in found):,.1f}",
                *(f"{cost:.2f}" for cost in costs),
                str(len(found)),
            ]
        )
    word = {"send": "Sent", "read": "Read"}[phase]
    heads = [word, "records/s", "MB/s", "client CPU", "server CPU", "rounds"]
    return bars(f"{word}, records/s", drawn) + _table(heads, rows)


def _latencies(lanes: Mapping[str, Sequence[Document]]) -> str:
    text = ""
    for phase, word in (("read", "Until the consumer has it"), ("send", "Until acknowledged")):
        rows, drawn = [], []
        for label, found in lanes.items():
            latency = Histogram()
            for document in found:
                if document[phase]["histogram"]:
                    latency.merge(Histogram.from_document(document[phase]["histogram"]))
            if not latency.total:
                continue
            drawn.append((label, latency.curve_ms()))
            figures = [f"{value:.2f}" for value in latency.summary_ms().values()]
            rate = f"{found[0]['task']['rate']:,.0f}"
            rows.append([escape(label), *figures, rate, f"{latency.total:,}"])
        heads = [f"{word}, ms", "p50", "p90", "p99", "p99.9", "max", "records/s", "records"]
        text += curves(f"{word}, ms by percentile", drawn) + _table(heads, rows)
    return text


def _limits(session: Document) -> str:
    rows = [[escape(name), f"{value:,}"] for name, value in session["limits"].items()]
    return "<h2>Bare limits of the machine</h2>" + _table(["", ""], rows)


def _skipped(session: Document) -> str:
    if not session["skipped"]:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in session["skipped"])
    return f"<h2>Skipped or failed</h2><ul class='missed'>{items}</ul>"
