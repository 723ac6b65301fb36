"""RabbitMQ streams by rstream: `send` one by one or `send_batch`; a callback for each record."""

from __future__ import annotations

import asyncio
import contextlib
import time
from importlib import import_module
from typing import Any

from rstream import Consumer, ConsumerOffsetSpecification, OffsetType, Producer

from bench.drivers.worker import (
    STALLED_SECONDS,
    STAMP_BYTES,
    Measure,
    record_latency,
    send_when_due,
    stamped,
    task_of_arguments,
    until,
    value_of,
)
from bench.task import Task

_USER = {"username": "guest", "password": "guest"}
#: Records that may be on their way without a confirm.
_UNCONFIRMED_MAX = 50_000


class Confirms:
    """Counts what is confirmed, and holds a producer back that is far ahead."""

    def __init__(self) -> None:
        self.sent = 0
        self.confirmed = 0
        self._changed = asyncio.Event()

    def on_confirm(self, status: Any) -> None:
        if not status.is_confirmed:
            raise SystemExit(f"a record failed: {status}")
        self.confirmed += 1
        self._changed.set()

    async def wait_until_at_most(self, unconfirmed: int) -> None:
        while self.sent - self.confirmed > unconfirmed:
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), STALLED_SECONDS)


async def produce(task: Task, measure: Measure) -> None:
    """Send for as long as was asked and wait for the last confirm."""
    host, port, _ = task.address.split(":")
    async with Producer(host, int(port), **_USER) as producer:
        await producer.create_stream(task.topic, exists_ok=True)
        confirms = Confirms()
        await _fill(producer, task, task.warm_seconds, confirms)
        measure.warm_records = confirms.sent
        measure.begin()
        if task.rate:
            await _fill_paced(producer, task, confirms, measure)
        else:
            await _fill(producer, task, task.seconds, confirms)
        measure.finish(confirms.sent - measure.warm_records)


async def _fill(producer: Producer, task: Task, seconds: float, confirms: Confirms) -> None:
    value, count, stream = value_of(task), task.slice_records, task.topic
    batch = [value] * count
    for _ in until(seconds):
        confirms.sent += count
        if task.api == "send":
            for _ in range(count):
                await producer.send(stream, value, on_publish_confirm=confirms.on_confirm)
        else:
            await producer.send_batch(stream, batch, on_publish_confirm=confirms.on_confirm)
        await confirms.wait_until_at_most(_UNCONFIRMED_MAX)
    await confirms.wait_until_at_most(0)


async def _fill_paced(producer: Producer, task: Task, confirms: Confirms, measure: Measure) -> None:
    """Confirms come in the order of sending, so the oldest time due is the one answered."""
    filler = value_of(task)[STAMP_BYTES:]
    waiting: list[int] = []
    answered = 0

    def on_confirm(status: Any) -> None:
        nonlocal answered
        confirms.on_confirm(status)
        measure.latency.record(time.monotonic_ns() - waiting[answered])
        answered += 1

    async def send(due_ns: int) -> None:
        waiting.append(due_ns)
        confirms.sent += 1
        await producer.send_batch(
            task.topic, [stamped(due_ns, filler)], on_publish_confirm=on_confirm
        )

    await send_when_due(task, send)
    await confirms.wait_until_at_most(0)


async def consume(task: Task, measure: Measure) -> None:
    """Read everything; a paced run reads what comes while it is sent."""
    host, port, _ = task.address.split(":")
    consumer = Consumer(host, int(port), **_USER)
    await consumer.start()
    done = size = 0
    finished = asyncio.Event()

    def on_message(message: bytes, _context: object) -> None:
        nonlocal done, size
        size += len(message)
        done += 1
        if task.rate:
            record_latency(measure.latency, message, time.monotonic_ns())
        if done >= task.records:
            finished.set()

    first = OffsetType.NEXT if task.rate else OffsetType.FIRST
    place = ConsumerOffsetSpecification(first, None)
    if not task.rate:
        measure.begin()
    await consumer.subscribe(
        task.topic, on_message, decoder=bytes, offset_specification=place, initial_credit=20
    )
    if task.rate:
        await asyncio.sleep(0.2)
        await asyncio.to_thread(measure.begin)
    await asyncio.wait_for(finished.wait(), STALLED_SECONDS + 3 * task.seconds + 60)
    measure.finish(done)
    with contextlib.suppress(Exception):
        await consumer.delete_stream(task.topic)
    with contextlib.suppress(Exception):
        await consumer.close()


def main() -> None:
    task = task_of_arguments()
    measure = Measure(task, "rstream")
    work = produce(task, measure) if task.role == "produce" else consume(task, measure)
    import_module("uvloop").run(work)


if __name__ == "__main__":
    main()
