"""NATS JetStream by nats-py: publishes awaited in slices; a pull consumer without acks."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

import nats
from nats.js.api import AckPolicy, ConsumerConfig

from bench.drivers.worker import Measure, Stall, task_of_arguments, until, value_of
from bench.task import Task

_SLICE = 500
_READ_MAX = 1_000


async def produce(task: Task, measure: Measure) -> None:
    """Send for as long as was asked and wait for the last acknowledgement."""
    connection = await nats.connect(task.address)
    stream = connection.jetstream(publish_async_max_pending=2 * _SLICE)
    await stream.add_stream(name=task.topic, subjects=[task.topic])
    measure.warm_records = await _fill(stream, task, task.warm_seconds)
    measure.begin()
    measure.finish(await _fill(stream, task, task.seconds))
    await connection.close()


async def _fill(stream: Any, task: Task, seconds: float) -> int:
    value, done, count = value_of(task), 0, min(_SLICE, task.slice_records)
    for _ in until(seconds):
        answers = [await stream.publish_async(task.topic, value) for _ in range(count)]
        await asyncio.gather(*answers)
        done += count
    return done


async def consume(task: Task, measure: Measure) -> None:
    """Read everything."""
    connection = await nats.connect(task.address)
    stream = connection.jetstream()
    done, size, stall = 0, 0, Stall()
    measure.begin()
    config = ConsumerConfig(ack_policy=AckPolicy.NONE)
    reader = await stream.pull_subscribe(task.topic, durable="reader", config=config)
    while done < task.records:
        found = await reader.fetch(min(_READ_MAX, task.records - done), timeout=5)
        for message in found:
            size += len(message.data)
        done += len(found)
        stall.got(len(found), done, task.records)
    measure.finish(done)
    await stream.delete_stream(task.topic)
    await connection.close()


def main() -> None:
    task = task_of_arguments()
    assert not task.rate and task.partitions == 1 and not task.key_bytes, "no such lane"
    measure = Measure(task, "nats-py")
    work = produce(task, measure) if task.role == "produce" else consume(task, measure)
    import_module("uvloop").run(work)


if __name__ == "__main__":
    main()
