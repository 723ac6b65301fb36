"""One session: starts servers, lets the runs of their clients take turns, keeps every result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from threading import Timer
from typing import Any

from bench import install
from bench.grid import LANES, Group, Lane
from bench.histogram import Histogram
from bench.servers.peers import ROOT, SYSTEMS, own_environment
from bench.servers.process import Processes, ServerError
from bench.task import Outcome, Task

Say = Callable[[str], None]
Document = dict[str, Any]

_WORKER_SECONDS = 120.0
#: Rounds that are thrown away: servers and page cache get warm.
WARM_ROUNDS = 1
_OWN = ("logd", "sketch")


class RunError(Exception):
    """A run failed; the text is what the worker said last."""


class Worker:
    """One client process."""

    def __init__(self, lane: Lane, task: Task) -> None:
        own = lane.system in _OWN
        python = sys.executable if own else str(install.clients())
        environment = own_environment() if own else {"PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [python, "-m", f"bench.drivers.{lane.driver}", task.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
        self._limit = Timer(_WORKER_SECONDS, self._process.kill)
        self._limit.daemon = True
        self._limit.start()

    def wait_ready(self) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            self._fail()

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def outcome(self) -> Outcome:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._fail()
        return Outcome.from_json(line)

    def _fail(self) -> None:
        self._process.kill()
        _, errors = self._process.communicate()
        raise RunError(errors.strip()[-400:] or "a worker ended without a word or took too long")

    def close(self) -> None:
        """Wait for the end; what is left is killed by the limit."""
        self._process.communicate()
        self._limit.cancel()

    def kill(self) -> None:
        self._process.kill()
        self.close()


@dataclass
class Running:
    """A server that runs, or why it does not."""

    processes: Processes
    address: str


@contextmanager
def started(group: Group, folder: Path, say: Say) -> Iterator[dict[str, Running]]:
    """The servers of a group by system; those that cannot be had are missing, and it is said."""
    with ExitStack() as stack:
        found: dict[str, Running] = {}
        for system in dict.fromkeys(LANES[name].system for name in group.lanes):
            start, parts = SYSTEMS[system]
            below = folder / f"{group.name}-{system}"
            below.mkdir()
            processes = Processes(below)
            stack.callback(processes.stop)
            try:
                for part in parts:
                    install.ensure(part)
                address = start(processes, group.durability, group.nodes)
            except (install.NotToBeHadError, ServerError, OSError) as error:
                say(f"  {system}: SKIPPED, {error}")
                continue
            found[system] = Running(processes, address)
        yield found


def run_lane(group: Group, lane: Lane, running: Running, rate: float, number: int) -> Document:
    """One run: send for so long, then read it all (or, paced, read while it is sent)."""
    task = Task(
        role="produce",
        address=running.address,
        topic=f"bench-{number}-{time.time_ns():x}",
        api=lane.send,
        size=group.size,
        key_bytes=group.key_bytes,
        compression=group.compression,
        acks=group.acks,
        partitions=group.partitions,
        replicas=group.nodes,
        workers=group.workers,
        seconds=group.seconds,
        rate=rate,
        tuned=group.tuned,
        batch_bytes=group.batch_bytes,
        linger_ms=group.linger_ms,
    )
    used = running.processes.cpu_seconds()
    phases: dict[str, Document] = {}
    if rate:
        produced, consumed = _run_paced(lane, task)
        phases = {"send": _phase(produced), "read": _phase(consumed)}
        phases["send"]["server_cpu_seconds"] = running.processes.cpu_seconds() - used
    else:
        produced = _run_workers(lane, task)
        middle = running.processes.cpu_seconds()
        total = sum(each.all_records for each in produced)
        reading = Task(**{**asdict(task), "role": "consume", "api": lane.read, "records": total})
        consumed = _run_workers(lane, reading)
        phases = {"send": _phase(produced), "read": _phase(consumed)}
        phases["send"]["server_cpu_seconds"] = middle - used
        phases["read"]["server_cpu_seconds"] = running.processes.cpu_seconds() - middle
    return {"task": asdict(task) | {"address": "", "topic": ""}, **phases}


def _run_workers(lane: Lane, task: Task) -> list[Outcome]:
    workers: list[Worker] = []
    try:
        for number in range(task.workers):
            workers.append(Worker(lane, Task(**{**asdict(task), "number": number})))
            if number == 0:
                workers[0].wait_ready()
        for worker in workers[1:]:
            worker.wait_ready()
        for worker in workers:
            worker.go()
        outcomes = [worker.outcome() for worker in workers]
        for worker in workers:
            worker.close()
        return outcomes
    except BaseException:
        for worker in workers:
            worker.kill()
        raise


def _run_paced(lane: Lane, task: Task) -> tuple[list[Outcome], list[Outcome]]:
    """A producer and a consumer at the same time."""
    sender = Worker(lane, task)
    try:
        sender.wait_ready()
        records = round(task.rate * task.seconds)
        reading = {**asdict(task), "role": "consume", "api": lane.read, "records": records}
        reader = Worker(lane, Task(**reading))
        try:
            reader.wait_ready()
            reader.go()
            sender.go()
            found = [sender.outcome()], [reader.outcome()]
            reader.close()
            sender.close()
        except BaseException:
            reader.kill()
            raise
    except BaseException:
        sender.kill()
        raise
    return found


def _phase(outcomes: Sequence[Outcome]) -> Document:
    """Workers together: from the first start to the last end."""
    seconds = (max(o.end_ns for o in outcomes) - min(o.start_ns for o in outcomes)) / 1e9
    records = sum(o.records for o in outcomes)
    latency = Histogram()
    for outcome in outcomes:
        latency.merge(outcome.latency)
    return {
        "records": records,
        "seconds": round(seconds, 6),
        "records_per_second": round(records / seconds),
        "megabytes_per_second": round(sum(o.size for o in outcomes) / seconds / 1e6, 3),
        "client_cpu_seconds": round(sum(o.cpu_seconds for o in outcomes), 4),
        "latency_ms": latency.summary_ms() or None,
        "histogram": latency.document() if latency.total else None,
        "client": outcomes[0].versions,
    }


class Session:
    """All runs of one call of the bench; each result goes to a file of its own at once."""

    def __init__(self, out: Path, data_dir: Path | None, facts: Document, say: Say) -> None:
        self.documents: list[Document] = []
        self.skipped: list[str] = []
        self._out, self._data_dir, self._facts, self._say = out, data_dir, facts, say

    def run(self, groups: Sequence[Group]) -> None:
        for group in groups:
            self._say(f"{group.name}: {group.title}")
            with tempfile.TemporaryDirectory(
                prefix="logd-bench-", dir=self._data_dir, ignore_cleanup_errors=True
            ) as folder:
                self._run_group(group, Path(folder))

    def _run_group(self, group: Group, folder: Path) -> None:
        rate = self._rate_of(group)
        if rate is None:
            self._skip(f"{group.name}: there is no rate to take a share of")
            return
        failed: set[str] = set()
        with started(group, folder, self._skip) as servers:
            for number in range(group.rounds + WARM_ROUNDS):
                for name in group.lanes:
                    lane = LANES[name]
                    if lane.system not in servers or name in failed:
                        continue
                    try:
                        document = run_lane(group, lane, servers[lane.system], rate, number)
                    except RunError as error:
                        failed.add(name)
                        self._skip(f"  {group.name}, {lane.label}: FAILED, {error}")
                        continue
                    if number >= WARM_ROUNDS:
                        self._keep(group, lane, number - WARM_ROUNDS + 1, document)

    def _skip(self, text: str) -> None:
        self.skipped.append(text.strip())
        self._say(text)

    def _rate_of(self, group: Group) -> float | None:
        """Records a second of a paced group, 0 when it is not; None when it cannot be known."""
        if group.rate >= 0:
            return group.rate
        medians = medians_of(self.documents, group.rate_of, "send").values()
        return -group.rate * min(medians) if medians else None

    def _keep(self, group: Group, lane: Lane, number: int, result: Document) -> None:
        document = {
            "group": asdict(group),
            "lane": asdict(lane),
            "round": number,
            **result,
            **self._facts,
        }
        self.documents.append(document)
        path = self._out / f"{group.name}.{lane.name}.{number}.json"
        path.write_text(json.dumps(document, indent=1) + "\n")
        rates = (
            f"{phase} {result[phase]['records_per_second']:>11,}/s" for phase in ("send", "read")
        )
        latency = result["read"]["latency_ms"]
        words = "".join(f", {q} {latency[q]:.2f} ms" for q in ("p50", "p99")) if latency else ""
        self._say(f"  {number} {lane.label:50} {'  '.join(rates)}{words}")


def medians_of(documents: Sequence[Document], group: str, phase: str) -> dict[str, float]:
    """Lane name -> median of records a second in one phase of a group."""
    found: dict[str, list[float]] = {}
    for document in documents:
        if document["group"]["name"] == group:
            rate = document[phase]["records_per_second"]
            found.setdefault(document["lane"]["name"], []).append(rate)
    return {name: median(rates) for name, rates in found.items()}
