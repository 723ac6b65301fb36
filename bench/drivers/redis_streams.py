"""Redis Streams by redis-py: XADD in pipelines; XREAD of thousands."""

from __future__ import annotations

import time
from typing import Any

import redis

from bench.drivers.worker import (
    STAMP_BYTES,
    Measure,
    Stall,
    due_times,
    record_latency,
    stamped,
    task_of_arguments,
    until,
    value_of,
)
from bench.task import Task

_FIELD = b"v"
_READ_MAX = 5_000
_PIPELINE_MAX = 500


def client_of(task: Task) -> Any:
    host, _, port = task.address.partition(":")
    return redis.Redis(host=host, port=int(port))


def produce(task: Task, measure: Measure) -> None:
    """Send for as long as was asked; a pipeline is answered before the next one."""
    client = client_of(task)
    measure.warm_records = _fill(client, task, task.warm_seconds)
    measure.begin()
    if task.rate:
        filler = value_of(task)[STAMP_BYTES:]
        records = round(task.rate * task.seconds)
        for due_ns in due_times(task):
            client.xadd(task.topic, {_FIELD: stamped(due_ns, filler)})
            measure.latency.record(time.monotonic_ns() - due_ns)
    else:
        records = _fill(client, task, task.seconds)
    measure.finish(records)


def _fill(client: Any, task: Task, seconds: float) -> int:
    fields, done, count = {_FIELD: value_of(task)}, 0, min(task.slice_records, _PIPELINE_MAX)
    for _ in until(seconds):
        pipeline = client.pipeline(transaction=False)
        for _ in range(count):
            pipeline.xadd(task.topic, fields)
        pipeline.execute()
        done += count
    return done


def consume(task: Task, measure: Measure) -> None:
    """Read everything; a paced run reads what comes while it is sent."""
    client = client_of(task)
    last: bytes = b"0"
    if task.rate:
        last = client.xinfo_stream(task.topic)["last-generated-id"]
    done, size, stall = 0, 0, Stall()
    measure.begin()
    while done < task.records:
        found = client.xread({task.topic: last}, count=_READ_MAX, block=1000)
        now_ns = time.monotonic_ns()
        entries = found[0][1] if found and isinstance(found, list) else _entries_of(found)
        for _, fields in entries:
            value = fields[_FIELD]
            size += len(value)
            if task.rate:
                record_latency(measure.latency, value, now_ns)
        if entries:
            last = entries[-1][0]
        done += len(entries)
        stall.got(len(entries), done, task.records)
    measure.finish(done)
    client.delete(task.topic)


def _entries_of(found: Any) -> Any:
    """Newer protocol versions answer with a mapping of lists."""
    return next(iter(found.values()))[0] if found else []


def main() -> None:
    task = task_of_arguments()
    measure = Measure(task, "redis", "hiredis")
    if task.role == "produce":
        produce(task, measure)
    else:
        consume(task, measure)


if __name__ == "__main__":
    main()
