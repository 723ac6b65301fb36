"""RabbitMQ quorum queues by aio-pika: confirms awaited in slices; records taken by a callback."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

import aio_pika

from bench.drivers.worker import STALLED_SECONDS, Measure, task_of_arguments, until, value_of
from bench.task import Task

_SLICE = 500
_PREFETCH = 2_000


async def _open(task: Task) -> tuple[Any, Any, Any]:
    host, _, port = task.address.split(":")
    connection = await aio_pika.connect(host=host, port=int(port))
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=_PREFETCH)
    queue = await channel.declare_queue(
        task.topic, durable=True, arguments={"x-queue-type": "quorum"}
    )
    return connection, channel, queue


async def produce(task: Task, measure: Measure) -> None:
    """Send for as long as was asked and wait for the last confirm."""
    connection, channel, _ = await _open(task)
    exchange = channel.default_exchange
    measure.warm_records = await _fill(exchange, task, task.warm_seconds)
    measure.begin()
    measure.finish(await _fill(exchange, task, task.seconds))
    await connection.close()


async def _fill(exchange: Any, task: Task, seconds: float) -> int:
    value, done, count = value_of(task), 0, min(_SLICE, task.slice_records)
    durable = aio_pika.DeliveryMode.PERSISTENT
    for _ in until(seconds):
        messages = [aio_pika.Message(value, delivery_mode=durable) for _ in range(count)]
        await asyncio.gather(*(exchange.publish(m, routing_key=task.topic) for m in messages))
        done += count
    return done


async def consume(task: Task, measure: Measure) -> None:
    """Take everything, each record acknowledged: once taken, it is gone."""
    connection, _, queue = await _open(task)
    done = size = 0
    finished = asyncio.Event()

    async def take(message: Any) -> None:
        nonlocal done, size
        size += len(message.body)
        await message.ack()
        done += 1
        if done >= task.records:
            finished.set()

    measure.begin()
    await queue.consume(take)
    await asyncio.wait_for(finished.wait(), STALLED_SECONDS + 60)
    measure.finish(done)
    await queue.delete(if_unused=False, if_empty=False)
    await connection.close()


def main() -> None:
    task = task_of_arguments()
    assert not task.rate and task.partitions == 1 and not task.key_bytes, "no such lane"
    measure = Measure(task, "aio-pika")
    work = produce(task, measure) if task.role == "produce" else consume(task, measure)
    import_module("uvloop").run(work)


if __name__ == "__main__":
    main()
