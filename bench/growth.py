"""What grows with partitions and with what is stored: `python -m bench.growth [--only PART ...]`.

Three parts, each with a node of its own on this machine and our client beside it:

* `active`: cost of a record and latency with 1 to 1 000 partitions that are all written to; their
  runs take turns, and figures are medians.
* `stored`: the same topic with 1 and with 10 GiB in one partition: appending, reading anywhere,
  finding a time, starting again after a clean stop and after SIGKILL.
* `many`: 10 000 partitions on the node: creating them, memory, idling, starting, reading one.

Prints tables, and writes growth.json to bench/results.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from logd_client import Admin, Consumer, Producer, TopicPartition

from bench.grid import LANES, UNSYNCED, Group
from bench.servers.peers import start_logd
from bench.servers.process import Processes
from bench.session import Running, run_lane
from logd.cli.machine import machine, versions

RESULTS = Path(__file__).resolve().parent / "results"

ACTIVE = (1, 10, 100, 1_000)
ROUNDS = 3
#: Records a second of the runs that measure latency.
PACE = 1_000.0
GIB = 1 << 30
STORED_GIB = (1, 10)
FILLER_BYTES = 256 * 1024
SAMPLES = 50
TOPICS, PARTITIONS_EACH = 10, 1_000
IDLE_SECONDS = 5.0
#: A node rests when it takes less than this of a core.
RESTING = 0.3
SETTLE_SECONDS = 120.0
STOP_SECONDS = 120.0

Row = dict[str, Any]


class Node:
    """One node whose data outlives its process."""

    def __init__(self, folder: Path, durability: str) -> None:
        self._folder, self._durability = folder, durability
        self.start()

    def start(self) -> float:
        """Start it; returns how many seconds it took until it was in service."""
        begin = time.monotonic()
        self.processes = Processes(self._folder)
        self.address = start_logd(self.processes, self._durability, 1)
        return time.monotonic() - begin

    def stop(self) -> float:
        """Stop it cleanly; returns how many seconds that took."""
        begin = time.monotonic()
        self.processes.stop(STOP_SECONDS)
        return time.monotonic() - begin

    def settle(self) -> float:
        """Wait until it rests; returns the seconds."""
        begin = time.monotonic()
        while self.cpu_share(1.0) > RESTING and time.monotonic() - begin < SETTLE_SECONDS:
            continue
        return time.monotonic() - begin

    @property
    def resident_mib(self) -> int:
        return self.processes.resident_bytes() >> 20

    def cpu_share(self, seconds: float) -> float:
        """Of a core, while nothing is asked of it."""
        before = self.processes.cpu_seconds()
        time.sleep(seconds)
        return (self.processes.cpu_seconds() - before) / seconds


@contextmanager
def node_in(directory: Path | None, durability: str) -> Iterator[Node]:
    with tempfile.TemporaryDirectory(
        prefix="logd-growth-", dir=directory, ignore_cleanup_errors=True
    ) as folder:
        node = Node(Path(folder), durability)
        try:
            yield node
        finally:
            node.processes.stop()


# ---- active partitions -------------------------------------------------------------------------


def _group(partitions: int, rate: float) -> Group:
    return Group(
        f"active-{partitions}",
        f"{partitions} partitions",
        UNSYNCED,
        ("logd-bulk",),
        partitions=partitions,
        rate=rate,
        seconds=3.0 if rate else 1.0,
        linger_ms=0.0 if rate else 5.0,
    )


def _once(node: Node, partitions: int, number: int) -> Row:
    """As fast as it goes, then at a pace."""
    running = Running(node.processes, node.address)
    fast = run_lane(_group(partitions, 0.0), LANES["logd-bulk"], running, 0.0, number)
    paced = run_lane(_group(partitions, PACE), LANES["logd-each"], running, PACE, number)
    row: Row = {"partitions": partitions}
    for phase in ("send", "read"):
        done = fast[phase]
        row[f"{phase} k/s"] = done["records_per_second"] / 1e3
        for who in ("client", "server"):
            row[f"{phase} {who} us"] = done[f"{who}_cpu_seconds"] / done["records"] * 1e6
    for percentile in ("p50", "p99"):
        row[f"acked {percentile} ms"] = paced["send"]["latency_ms"][percentile]
        row[f"read {percentile} ms"] = paced["read"]["latency_ms"][percentile]
    return row


def active(directory: Path | None) -> list[Row]:
    """A row for each durability and number of partitions."""
    rows: list[Row] = []
    for durability in ("none", "sync"):
        with node_in(directory, durability) as node:
            _once(node, 1, 0)
            found: dict[int, list[Row]] = {count: [] for count in ACTIVE}
            for number in range(1, ROUNDS + 1):
                for count in ACTIVE:
                    found[count].append(_once(node, count, number))
        for runs in found.values():
            middle = {name: round(median(run[name] for run in runs), 2) for name in runs[0]}
            rows.append({"durability": durability, **middle})
    return rows


# ---- what is stored ----------------------------------------------------------------------------


def _fill(address: str, topic: str, size: int, end: int) -> int:
    """Append values of FILLER_BYTES until `end` of them are there; returns the seconds."""
    values = [random.randbytes(size)] * 16
    with Producer(address, batch_size=1 << 20) as producer:
        begin = time.monotonic()
        with Consumer(bootstrap_servers=address) as consumer:
            at = TopicPartition(topic, 0)
            have = consumer.end_offsets([at])[at]
        for _ in range((end - have) // len(values)):
            producer.send_many(topic, values)
        producer.flush()
        return round(time.monotonic() - begin)


def _milliseconds(work: Callable[[], object], samples: int = SAMPLES) -> tuple[float, float]:
    """Median and 98th percentile of one call after the other."""
    times = []
    for _ in range(samples):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1e3)
    return round(median(times), 2), round(quantiles(times, n=50)[-1], 2)


def _record_at(consumer: Consumer[bytes, bytes], at: TopicPartition, offset: int) -> int:
    """Read the record at `offset`; returns its time in milliseconds."""
    consumer.seek(at, offset)
    record = consumer.getone(timeout=60)
    if record is None:
        raise TimeoutError(f"nothing came from offset {offset} of {at}")
    return record.timestamp_ms


def _reads(address: str, at: TopicPartition) -> Row:
    with Consumer(bootstrap_servers=address, fetch_max_bytes=1 << 20) as consumer:
        consumer.assign([at])
        end = consumer.end_offsets([at])[at]
        first_ms, last_ms = (_record_at(consumer, at, offset) for offset in (0, end - 1))
        places: dict[str, Callable[[], object]] = {
            "first": lambda: _record_at(consumer, at, 0),
            "anywhere": lambda: _record_at(consumer, at, random.randrange(end)),
            "last": lambda: _record_at(consumer, at, end - 1),
            "time": lambda: consumer.offsets_for_times({at: random.randint(first_ms, last_ms)}),
        }
        row: Row = {}
        for name, work in places.items():
            row[f"{name} p50 ms"], row[f"{name} p98 ms"] = _milliseconds(work)
        return row


def stored(directory: Path | None) -> list[Row]:
    """A row for each size."""
    rows: list[Row] = []
    at = TopicPartition("stored", 0)
    with node_in(directory, "none") as node:
        with Admin(node.address) as admin:
            admin.create_topic("stored", partitions=1)
        for gib in STORED_GIB:
            row: Row = {"GiB": gib}
            row["filled s"] = _fill(node.address, "stored", FILLER_BYTES, gib * GIB // FILLER_BYTES)
            with Producer(node.address) as producer:
                row["acked p50 ms"], row["acked p98 ms"] = _milliseconds(
                    lambda producer=producer: producer.send_and_wait("stored", b"v" * 100)  # type: ignore[misc]
                )
            row |= _reads(node.address, at)
            row["MiB"] = node.resident_mib
            row["stop s"] = round(node.stop(), 2)
            row["clean start s"] = round(node.start(), 2)
            node.processes.kill()
            row["start after SIGKILL s"] = round(node.start(), 2)
            rows.append(row)
    return rows


# ---- many partitions ---------------------------------------------------------------------------


def _first_read(address: str, at: TopicPartition) -> float:
    """Milliseconds of a new consumer until it has the first record of one partition."""
    begin = time.perf_counter()
    with Consumer(bootstrap_servers=address) as consumer:
        consumer.assign([at])
        _record_at(consumer, at, 0)
        return round((time.perf_counter() - begin) * 1e3, 1)


def _node_now(node: Node, at: TopicPartition) -> Row:
    return {
        "read at once ms": _first_read(node.address, at),
        "at rest after s": round(node.settle(), 1),
        "read at rest ms": _first_read(node.address, at),
        "MiB": node.resident_mib,
        "idle, of a core": round(node.cpu_share(IDLE_SECONDS), 3),
    }


def many(directory: Path | None) -> list[Row]:
    """A row before there are partitions, after they were made, and after each stop and start."""
    rows: list[Row] = []
    at = TopicPartition("one", 0)
    with node_in(directory, "default") as node:
        with Admin(node.address) as admin, Producer(node.address) as producer:
            admin.create_topic("one", partitions=1)
            producer.send_and_wait("one", b"the one that is read")
            rows.append({"state": "1 partition", "seconds": 0.0, **_node_now(node, at)})
            begin = time.monotonic()
            for number in range(TOPICS):
                admin.create_topic(f"many-{number}", partitions=PARTITIONS_EACH)
            took = round(time.monotonic() - begin, 2)
        rows.append({"state": "10 000 created", "seconds": took, **_node_now(node, at)})
        rows.append({"state": "clean stop", "seconds": round(node.stop(), 2)})
        rows.append(
            {"state": "clean start", "seconds": round(node.start(), 2), **_node_now(node, at)}
        )
        node.processes.kill()
        took = round(node.start(), 2)
        rows.append({"state": "start after SIGKILL", "seconds": took, **_node_now(node, at)})
    return rows


PARTS: dict[str, Callable[[Path | None], list[Row]]] = {
    "active": active,
    "stored": stored,
    "many": many,
}


def table(rows: Sequence[Row]) -> str:
    """Columns of words and figures; one row is a line."""
    names = list(rows[0])
    cells = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for growth.json")
    parser.add_argument("--data-dir", type=Path, help="where the node puts its data: 11 GiB")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    document: Row = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", "-m", "bench.growth", *sys.argv[1:]]),
        "machine": machine(),
        "versions": versions(),
    }
    for name in arguments.only:
        document[name] = PARTS[name](arguments.data_dir)
        print(f"{name}\n{table(document[name])}\n", flush=True)
        (arguments.out / "growth.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
