"""Results as a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.alone_rows import Row

Result = Mapping[str, Any]


def verdict(row: Row, result: Result) -> str:
    """`met`, `not met`, or nothing where nothing is asked."""
    if row.limit is None:
        return ""
    figure, relation, limit = row.limit
    value = result[figure]
    met = value <= limit if relation == "<=" else value >= limit
    return "met" if met else "not met"


def page(results: Sequence[tuple[Row, Result]], startup_seconds: float, date: str) -> str:
    """The whole page."""
    first = results[0][1]
    machine, versions = first["machine"], first["versions"]
    lines = [
        "# Throughput and latency",
        "",
        f"Measured {date} by `python -m bench.alone` on {machine['cores']} cores of "
        f"{machine['processor']}, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, Linux {machine['kernel']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ". Node, client and bare stream share the cores; the load was "
        f"{machine['load_1m']} before the end of the first run.",
        "",
        "MB/s counts keys and values. CPU is that of the client's process, all its threads. "
        "*Bare* is the same payloads, in the same protobuf messages, over a gRPC stream that does "
        "nothing with them; *raw* the same as raw bytes, without protobuf.",
        "",
        "| Run | `logd bench …` | records/s | MB/s | client CPU, us/record | of bare | of raw "
        "| p50 / p99 ms | asked | |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    lines += [_line(row, result) for row, result in results]
    lines += ["", f"`logd --help` takes {startup_seconds * 1000:.0f} ms (best of five).", ""]
    return "\n".join(lines)


def _line(row: Row, result: Result) -> str:
    latency = "-"
    if "latency_ms_p50" in result:
        latency = f"{result['latency_ms_p50']:.2f} / {result['latency_ms_p99']:.2f}"
    cells = [
        row.name,
        f"`{row.arguments}`",
        f"{result['records_per_second']:,}",
        f"{result['megabytes_per_second']:,.1f}",
        f"{result['client_cpu_us_per_record']:.2f}",
        *(
            "-" if result[ratio] is None else f"{result[ratio]:.0%}"
            for ratio in ("ratio_to_bare", "ratio_to_raw")
        ),
        latency,
        row.target or "-",
        verdict(row, result) or "-",
    ]
    return "| " + " | ".join(cells) + " |"
