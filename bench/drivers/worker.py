"""What every driver has in common: the start signal, the clock, the payloads, the pacing."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from importlib import metadata

from bench.histogram import Histogram
from bench.task import Outcome, Task

STAMP_BYTES = 8
#: A consumer to which nothing comes for so long has lost something.
STALLED_SECONDS = 20.0
_KEYS = 1_000
#: Waits shorter than this are not slept: the sleep would be late by as much.
_SHORTEST_SLEEP = 0.0001


class Measure:
    """Start signal, wall clock and processor time of one worker."""

    def __init__(self, task: Task, *packages: str) -> None:
        self.task = task
        self.versions = {name: metadata.version(name) for name in packages}
        self.latency = Histogram()
        self.warm_records = 0
        self._start_ns = 0
        self._cpu = 0.0

    def begin(self) -> None:
        """Say that all is ready, wait until the others are, and start the clocks."""
        print("ready", flush=True)
        if not sys.stdin.readline():
            raise SystemExit("the bench went away")
        self._cpu = _cpu_seconds()
        self._start_ns = time.monotonic_ns()

    def finish(self, records: int) -> None:
        """Stop the clocks and answer."""
        end_ns = time.monotonic_ns()
        outcome = Outcome(
            records=records,
            size=records * (self.task.size + self.task.key_bytes),
            start_ns=self._start_ns,
            end_ns=end_ns,
            cpu_seconds=_cpu_seconds() - self._cpu,
            all_records=records + self.warm_records,
            latency=self.latency,
            versions=self.versions,
        )
        print(outcome.to_json(), flush=True)


def _cpu_seconds() -> float:
    """Of this process, all threads, and of children that have ended."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, both))


def task_of_arguments() -> Task:
    """The task that the command line has."""
    return Task.from_json(sys.argv[1])


def value_of(task: Task) -> bytes:
    """A value of the right size that does not compress, or half of it where that is measured."""
    if task.compression == "none":
        return os.urandom(task.size)
    return (os.urandom(task.size // 2 + 1) + bytes(task.size))[: task.size]


def keys_of(task: Task) -> list[bytes] | list[None]:
    """A thousand different keys, or as many nulls."""
    if not task.key_bytes:
        return [None] * _KEYS
    return [os.urandom(task.key_bytes) for _ in range(_KEYS)]


def stamped(due_ns: int, filler: bytes) -> bytes:
    """A value that begins with the time at which it was due."""
    return due_ns.to_bytes(STAMP_BYTES, "big") + filler


def record_latency(latency: Histogram, value: bytes, now_ns: int) -> None:
    """Count how long ago a stamped value was due."""
    latency.record(now_ns - int.from_bytes(value[:STAMP_BYTES], "big"))


def until(seconds: float) -> Iterator[None]:
    """Again and again until the time is over, once at least."""
    end = time.monotonic() + seconds
    while True:
        yield
        if time.monotonic() >= end:
            return


def due_times(
    task: Task,
    now_ns: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[int]:
    """The times, in nanoseconds, at which a paced producer sends; sleeps until each is there.

    One that is late is not skipped and keeps its time.
    """
    started = now_ns()
    for number in range(round(task.rate * task.seconds)):
        due_ns = started + round(number / task.rate * 1e9)
        wait = (due_ns - now_ns()) / 1e9
        if wait > _SHORTEST_SLEEP:
            sleep(wait)
        yield due_ns


async def send_when_due(task: Task, send: Callable[[int], Awaitable[object]]) -> int:
    """The same for a client on an event loop; returns how many were sent."""
    started = time.monotonic_ns()
    count = round(task.rate * task.seconds)
    for number in range(count):
        due_ns = started + round(number / task.rate * 1e9)
        wait = (due_ns - time.monotonic_ns()) / 1e9
        if wait > _SHORTEST_SLEEP or number % 100 == 0:
            await asyncio.sleep(max(wait, 0))
        await send(due_ns)
    return count


class Stall:
    """Notices that nothing comes any more."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def got(self, count: int, done: int, wanted: int) -> None:
        """Note what came; raises SystemExit after too long without anything."""
        now = time.monotonic()
        if count:
            self._last = now
        elif now - self._last > STALLED_SECONDS:
            raise SystemExit(f"only {done} of {wanted} records came")
