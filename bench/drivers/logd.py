"""This project's client: `send` and `send_many`; `iterate` and `getmany`."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from logd_client import Admin, Consumer, Producer, ProducerRecord, RecordMetadata, TopicPartition
from logd_wire.errors import LogdError

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

_PACKAGES = ("logd-client", "grpcio", "protobuf")


def produce(task: Task, measure: Measure) -> None:
    """Send for as long as was asked and wait for the last acknowledgement."""
    if task.number == 0:
        with Admin(task.address) as admin:
            admin.create_topic(
                task.topic, partitions=task.partitions, replication_factor=task.replicas
            )
    with Producer(task.address, **_producer_options(task)) as producer:
        fill = _fill_many if task.api == "send_many" else _fill_each
        measure.warm_records = fill(producer, task, task.warm_seconds)
        producer.flush()
        measure.begin()
        if task.rate:
            records = _fill_paced(producer, task, measure)
        else:
            records = fill(producer, task, task.seconds)
        producer.flush()
        measure.finish(records)


def _producer_options(task: Task) -> dict[str, Any]:
    options: dict[str, Any] = {"acks": task.acks if task.acks == "all" else int(task.acks)}
    if task.acks != "all":
        options["enable_idempotence"] = False
    if task.compression != "none":
        options["compression_type"] = task.compression
    if task.tuned:
        options |= {"batch_size": task.batch_bytes, "linger_ms": task.linger_ms}
    return options


def _fill_each(producer: Producer[bytes, bytes], task: Task, seconds: float) -> int:
    send, value, topic, done = producer.send, value_of(task), task.topic, 0
    keys = itertools.cycle(keys_of(task))
    numbers = itertools.cycle(range(task.partitions))
    keyed, spread = bool(task.key_bytes), task.partitions > 1
    for _ in until(seconds):
        if keyed:
            for key in itertools.islice(keys, task.slice_records):
                send(topic, value, key=key)
        elif spread:
            for number in itertools.islice(numbers, task.slice_records):
                send(topic, value, partition=number)
        else:
            for _ in range(task.slice_records):
                send(topic, value)
        done += task.slice_records
    return done


def _fill_many(producer: Producer[bytes, bytes], task: Task, seconds: float) -> int:
    value, count, done = value_of(task), task.slice_records, 0
    values: list[Any] = [value] * count
    if task.key_bytes:
        values = [ProducerRecord(value, key) for key in keys_of(task)[:count]]
    elif task.partitions > 1:
        places = itertools.islice(itertools.cycle(range(task.partitions)), count)
        values = [ProducerRecord(value, partition=number) for number in places]
    for _ in until(seconds):
        producer.send_many(task.topic, values)
        done += count
    return done


def _fill_paced(producer: Producer[bytes, bytes], task: Task, measure: Measure) -> int:
    """Latency here: from when a record was due to its acknowledgement."""
    filler, record, done = value_of(task)[STAMP_BYTES:], measure.latency.record, 0
    failures: list[object] = []

    def answered_to(due_ns: int) -> Callable[[LogdError | None, RecordMetadata | None], None]:
        def answered(error: LogdError | None, _metadata: RecordMetadata | None) -> None:
            record(time.monotonic_ns() - due_ns)
            if error is not None:
                failures.append(error)

        return answered

    for due_ns in due_times(task):
        producer.send(task.topic, stamped(due_ns, filler), on_delivery=answered_to(due_ns))
        done += 1
    producer.flush()
    if failures:
        raise SystemExit(f"{len(failures)} records failed: {failures[0]}")
    return done


def consume(task: Task, measure: Measure) -> None:
    """Read everything; a paced run reads what comes while it is sent."""
    with Consumer(bootstrap_servers=task.address) as consumer:
        partitions = [TopicPartition(task.topic, number) for number in task.own_partitions]
        if task.rate:
            consumer.assign(partitions)
            consumer.seek_to_end(*partitions)
            _read_many(consumer, 0, Measure(task))
            consumer.getmany(timeout=0.2)
            measure.begin()
            measure.finish(_read_many(consumer, task.records, measure))
        else:
            records = task.records
            if task.workers > 1:
                records = sum(consumer.end_offsets(partitions).values())
            measure.begin()
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            read = _read_each if task.api == "iterate" else _read_many
            measure.finish(read(consumer, records, measure))
    if task.number == 0:
        with suppress(LogdError), Admin(task.address) as admin:
            admin.delete_topic(task.topic)


def _read_many(consumer: Consumer[bytes, bytes], records: int, measure: Measure) -> int:
    done, size, stall, paced = 0, 0, Stall(), measure.task.rate > 0
    while done < records:
        batches = consumer.getmany(timeout=1.0, max_records=10_000)
        now_ns, before = time.monotonic_ns(), done
        for found in batches.values():
            for record in found:
                size += len(record.value or b"")
            done += len(found)
            if paced:
                for record in found:
                    record_latency(measure.latency, record.value or b"", now_ns)
        stall.got(done - before, done, records)
    return done


def _read_each(consumer: Consumer[bytes, bytes], records: int, _measure: Measure) -> int:
    size = 0
    for done, record in enumerate(consumer, 1):
        size += len(record.value or b"")
        if done == records:
            break
    return records


def main() -> None:
    task = task_of_arguments()
    measure = Measure(task, *_PACKAGES)
    if task.role == "produce":
        produce(task, measure)
    else:
        consume(task, measure)


if __name__ == "__main__":
    main()
