"""Kafka by aiokafka: `send`, its futures awaited in slices; `getmany`."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.drivers.worker import Measure, Stall, task_of_arguments, until, value_of
from bench.task import Task

_UNANSWERED_MAX = 50_000
_READ_MAX = 10_000


async def produce(task: Task, measure: Measure) -> None:
    """Send for as long as was asked; the topic is created by the broker, as it is set up."""
    options: dict[str, Any] = {"acks": task.acks if task.acks == "all" else int(task.acks)}
    if task.tuned:
        options |= {"linger_ms": task.linger_ms, "max_batch_size": task.batch_bytes}
    async with AIOKafkaProducer(bootstrap_servers=task.address, **options) as producer:
        measure.warm_records = await _fill(producer, task, task.warm_seconds)
        measure.begin()
        measure.finish(await _fill(producer, task, task.seconds))


async def _fill(producer: Any, task: Task, seconds: float) -> int:
    value, done = value_of(task), 0
    unanswered: list[Any] = []
    for _ in until(seconds):
        unanswered += [await producer.send(task.topic, value) for _ in range(task.slice_records)]
        done += task.slice_records
        if len(unanswered) > _UNANSWERED_MAX:
            await asyncio.gather(*unanswered)
            unanswered.clear()
    await asyncio.gather(*unanswered)
    return done


async def consume(task: Task, measure: Measure) -> None:
    """Read everything."""
    place = TopicPartition(task.topic, 0)
    async with AIOKafkaConsumer(
        bootstrap_servers=task.address, auto_offset_reset="earliest"
    ) as consumer:
        done, size, stall = 0, 0, Stall()
        measure.begin()
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        while done < task.records:
            found = (await consumer.getmany(timeout_ms=1000, max_records=_READ_MAX)).get(place, [])
            for record in found:
                size += len(record.value)
            done += len(found)
            stall.got(len(found), done, task.records)
        measure.finish(done)


def main() -> None:
    task = task_of_arguments()
    assert not task.rate and task.partitions == 1 and not task.key_bytes, "no such lane"
    measure = Measure(task, "aiokafka")
    work = produce(task, measure) if task.role == "produce" else consume(task, measure)
    import_module("uvloop").run(work)


if __name__ == "__main__":
    main()
