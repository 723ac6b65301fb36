"""Kafka by confluent-kafka: `produce`; `consume` in batches of 10 000 or `poll` one by one."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench.drivers.worker import (
    STAMP_BYTES,
    Measure,
    Stall,
    due_times,
    keys_of,
    record_latency,
    stamped,
    task_of_arguments,
    until,
    value_of,
)
from bench.task import Task

_READ_MAX = 10_000


def produce(task: Task, measure: Measure) -> None:
    """Send for as long as was asked and wait for the last acknowledgement."""
    if task.number == 0:
        topic = NewTopic(task.topic, task.partitions, task.replicas)
        admin = AdminClient({"bootstrap.servers": task.address})
        admin.create_topics([topic])[task.topic].result()
    failures: list[object] = []
    producer = Producer(_producer_settings(task, failures))
    measure.warm_records = _fill(producer, task, task.warm_seconds)
    producer.flush()
    measure.begin()
    if task.rate:
        records = _fill_paced(producer, task, measure)
    else:
        records = _fill(producer, task, task.seconds)
    left = producer.flush(60)
    if failures or left:
        raise SystemExit(f"{len(failures)} records failed, {left} are left: {failures[:1]}")
    measure.finish(records)


def _producer_settings(task: Task, failures: list[object]) -> dict[str, Any]:
    """What fails is reported; the callback for each record would cost as much as the record."""

    def failed(error: KafkaError | None, _message: object) -> None:
        if error is not None:
            failures.append(error)

    settings: dict[str, Any] = {"bootstrap.servers": task.address, "acks": task.acks}
    if not task.rate:
        settings |= {"delivery.report.only.error": True, "on_delivery": failed}
    if task.compression != "none":
        settings["compression.type"] = task.compression
    if task.tuned:
        settings |= {
            "batch.size": task.batch_bytes,
            "batch.num.messages": 100_000,
            "linger.ms": task.linger_ms,
            "queue.buffering.max.messages": 1_000_000,
        }
    return settings


def _fill(producer: Producer, task: Task, seconds: float) -> int:
    value, topic, done = value_of(task), task.topic, 0
    keys = itertools.cycle(keys_of(task))
    numbers = itertools.cycle(range(task.partitions))
    spread = task.partitions > 1 and not task.key_bytes
    for _ in until(seconds):
        for key in itertools.islice(keys, task.slice_records):
            options = {"partition": next(numbers)} if spread else {}
            while True:
                try:
                    producer.produce(topic, value, key, **options)
                    break
                except BufferError:
                    producer.poll(0.005)
        producer.poll(0)
        done += task.slice_records
    return done


def _fill_paced(producer: Producer, task: Task, measure: Measure) -> int:
    """Latency here: from when a record was due to its acknowledgement."""
    filler, record, done = value_of(task)[STAMP_BYTES:], measure.latency.record, 0

    def answered_to(due_ns: int) -> Callable[[KafkaError | None, object], None]:
        def answered(error: KafkaError | None, _message: object) -> None:
            if error is not None:
                raise SystemExit(f"a record failed: {error}")
            record(time.monotonic_ns() - due_ns)

        return answered

    for due_ns in _polling_due_times(producer, task):
        producer.produce(task.topic, stamped(due_ns, filler), callback=answered_to(due_ns))
        producer.poll(0)
        done += 1
    producer.flush()
    return done


def _polling_due_times(producer: Producer, task: Task) -> Any:
    """As `due_times`, but waits in `poll`, so that acknowledgements are seen when they come."""
    if task.rate > 20_000:
        yield from due_times(task)
        return
    started = time.monotonic_ns()
    for number in range(round(task.rate * task.seconds)):
        due_ns = started + round(number / task.rate * 1e9)
        while (wait := (due_ns - time.monotonic_ns()) / 1e9) > 0:
            producer.poll(wait)
        yield due_ns


def consume(task: Task, measure: Measure) -> None:
    """Read everything; a paced run reads what comes while it is sent."""
    settings: dict[str, Any] = {
        "bootstrap.servers": task.address,
        "group.id": task.topic,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
    }
    if task.tuned:
        settings |= {"fetch.wait.max.ms": 500, "fetch.min.bytes": 1}
    consumer = Consumer(settings)
    ends = {
        number: consumer.get_watermark_offsets(TopicPartition(task.topic, number), timeout=10)[1]
        for number in task.own_partitions
    }
    first = {number: end if task.rate else 0 for number, end in ends.items()}
    places = [TopicPartition(task.topic, number, offset) for number, offset in first.items()]
    records = task.records if task.workers == 1 or task.rate else sum(ends.values())
    if task.rate:
        consumer.assign(places)
        consumer.consume(1, timeout=1.0)
    measure.begin()
    if not task.rate:
        consumer.assign(places)
    read = _read_each if task.api == "poll" else _read_many
    measure.finish(read(consumer, records, measure))
    consumer.close()
    if task.number == 0:
        admin = AdminClient({"bootstrap.servers": task.address})
        admin.delete_topics([task.topic])[task.topic].result()


def _read_many(consumer: Consumer, records: int, measure: Measure) -> int:
    done, size, stall, paced = 0, 0, Stall(), measure.task.rate > 0
    # `consume` waits until it has as many as were asked for: one by one is quickest when paced.
    count, wait = (1, 1.0) if paced else (_READ_MAX, 0.05)
    while done < records:
        found = consumer.consume(min(count, records - done), timeout=wait)
        now_ns = time.monotonic_ns()
        for message in found:
            if message.error() is not None:
                raise SystemExit(f"cannot read: {message.error()}")
            value = message.value()
            size += len(value)
            if paced:
                record_latency(measure.latency, value, now_ns)
        done += len(found)
        stall.got(len(found), done, records)
    return done


def _read_each(consumer: Consumer, records: int, _measure: Measure) -> int:
    done, size, stall = 0, 0, Stall()
    while done < records:
        message = consumer.poll(1.0)
        if message is None:
            stall.got(0, done, records)
            continue
        size += len(message.value())
        done += 1
    return done


def main() -> None:
    task = task_of_arguments()
    measure = Measure(task, "confluent-kafka")
    if task.role == "produce":
        produce(task, measure)
    else:
        consume(task, measure)


if __name__ == "__main__":
    main()
