"""The measured loops. Each takes an address and a workload and returns a Result."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from logd_client import Admin, Consumer, Producer, ProducerRecord, TopicPartition
from logd_wire.errors import LogdError, TimeoutError

from logd.cli.benchmark.workload import Api, Result, Workload, percentiles

OnProgress = Callable[[int, int], None]

_WARMUP_RECORDS = 2_000
_SLICE = 1_000
_STALLED_SECONDS = 30.0
_TIME_BYTES = 8


@contextmanager
def _topic(address: str, workload: Workload) -> Iterator[str]:
    """A topic for this run, deleted afterwards."""
    name = f"bench-{workload.kind}-{time.time_ns():x}"
    with Admin(address) as admin:
        admin.create_topic(name, partitions=workload.partitions)
        try:
            yield name
        finally:
            with suppress(LogdError):
                admin.delete_topic(name)


def _producer(address: str, workload: Workload) -> Producer[bytes, bytes]:
    options: dict[str, Any] = {
        "acks": workload.acks.value_for_client,
        "batch_size": workload.batch_bytes,
        "compression_type": workload.compression,
    }
    if workload.acks.value != "all":
        options["enable_idempotence"] = False
    return Producer(address, **options)


def produce(address: str, workload: Workload, on_progress: OnProgress) -> Result:
    """Send everything and wait for the last acknowledgement."""
    with _topic(address, workload) as topic, _producer(address, workload) as producer:
        producer.send_many(topic, [workload.value()] * _WARMUP_RECORDS)
        producer.flush()
        samples_ms: list[float] = []
        fill = _fill_many if workload.api is Api.SEND_MANY else _fill_each
        cpu = time.process_time()
        started = time.perf_counter()
        fill(producer, topic, workload, samples_ms, on_progress)
        producer.flush()
        elapsed = time.perf_counter() - started
        cpu = time.process_time() - cpu
    what = "send to acknowledgement, one record in 1000" if samples_ms else ""
    return Result(workload, elapsed, cpu, percentiles(samples_ms), what)


def _sampler(samples_ms: list[float]) -> Callable[..., None]:
    """A delivery callback that notes how long ago it was made."""
    started = time.perf_counter()

    def answered(*_result: object) -> None:
        samples_ms.append((time.perf_counter() - started) * 1000)

    return answered


def _fill_each(
    producer: Producer[bytes, bytes],
    topic: str,
    workload: Workload,
    samples_ms: list[float],
    on_progress: OnProgress,
) -> None:
    """One `send` a record; without a key the partitions take turns."""
    send = producer.send
    value = workload.value()
    keys = itertools.cycle(workload.keys())
    spread = workload.partitions > 1 and not workload.key_bytes
    numbers = itertools.cycle(range(workload.partitions))
    for done in _slices(workload):
        count = min(_SLICE, workload.records - done)
        callback = _sampler(samples_ms) if workload.acks.value != "0" else None
        send(topic, value, key=next(keys), on_delivery=callback)
        if spread:
            for number in itertools.islice(numbers, count - 1):
                send(topic, value, partition=number)
        elif workload.key_bytes:
            for key in itertools.islice(keys, count - 1):
                send(topic, value, key=key)
        else:
            for _ in range(count - 1):
                send(topic, value)
        on_progress(done + count, (done + count) * workload.record_bytes)


def _fill_many(
    producer: Producer[bytes, bytes],
    topic: str,
    workload: Workload,
    _samples_ms: list[float],
    on_progress: OnProgress,
) -> None:
    """`send_many` of a thousand values a call; with keys, of a thousand ProducerRecords."""
    value = workload.value()
    keys = workload.keys()
    values: list[Any] = [value] * _SLICE
    if workload.key_bytes:
        values = [ProducerRecord(value, key) for key in keys]
    for done in _slices(workload):
        count = min(_SLICE, workload.records - done)
        producer.send_many(topic, values if count == _SLICE else values[:count])
        on_progress(done + count, (done + count) * workload.record_bytes)


def _slices(workload: Workload) -> Iterator[int]:
    """Numbers of records done before each slice, paced by the workload's rate."""
    started = time.perf_counter()
    for done in range(0, workload.records, _SLICE):
        if workload.rate_per_second:
            due = started + done / workload.rate_per_second
            time.sleep(max(0.0, due - time.perf_counter()))
        yield done


def consume(address: str, workload: Workload, on_progress: OnProgress) -> Result:
    """Fill a topic, then read it from the beginning."""
    with _topic(address, workload) as topic:
        with _producer(address, workload) as producer:
            _fill_each_partition(producer, topic, workload)
        partitions = [TopicPartition(topic, number) for number in range(workload.partitions)]
        with Consumer(bootstrap_servers=address) as consumer:
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            read = _read_each if workload.api is Api.ITERATE else _read_many
            cpu = time.process_time()
            started = time.perf_counter()
            read(consumer, workload.records, workload.record_bytes, on_progress)
            elapsed = time.perf_counter() - started
            cpu = time.process_time() - cpu
    return Result(workload, elapsed, cpu)


def _fill_each_partition(producer: Producer[bytes, bytes], topic: str, workload: Workload) -> None:
    value = workload.value()
    keys = itertools.cycle(workload.keys())
    for done in range(0, workload.records, _SLICE):
        count = min(_SLICE, workload.records - done)
        number = (done // _SLICE) % workload.partitions
        producer.send_many(
            topic,
            [ProducerRecord(value, next(keys), partition=number) for _ in range(count)],
        )
    producer.flush()


def _read_many(
    consumer: Consumer[bytes, bytes], records: int, record_bytes: int, on_progress: OnProgress
) -> None:
    done = 0
    deadline = time.monotonic() + _STALLED_SECONDS
    while done < records:
        batches = consumer.getmany(timeout=1.0, max_records=10_000)
        got = sum(map(len, batches.values()))
        done += got
        if got:
            deadline = time.monotonic() + _STALLED_SECONDS
            on_progress(done, done * record_bytes)
        elif time.monotonic() > deadline:
            raise TimeoutError(f"nothing arrived for {_STALLED_SECONDS:g} s after {done} records")


def _read_each(
    consumer: Consumer[bytes, bytes], records: int, record_bytes: int, on_progress: OnProgress
) -> None:
    for done, _record in enumerate(consumer, 1):
        if done % 10_000 == 0:
            on_progress(done, done * record_bytes)
        if done == records:
            return


def end_to_end(address: str, workload: Workload, on_progress: OnProgress) -> Result:
    """Produce at a steady rate and read at once: from before `send` to after `getmany`."""
    samples_ms: list[float] = []
    failures: list[BaseException] = []
    with (
        _topic(address, workload) as topic,
        _producer(address, workload) as producer,
        Consumer(bootstrap_servers=address) as consumer,
    ):
        partitions = [TopicPartition(topic, number) for number in range(workload.partitions)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)

        def read() -> None:
            try:
                _read_stamped(consumer, workload, samples_ms, on_progress)
            except BaseException as error:
                failures.append(error)

        reader = threading.Thread(target=read, name="bench-reader")
        cpu = time.process_time()
        started = time.perf_counter()
        reader.start()
        _send_stamped(producer, topic, workload)
        producer.flush()
        reader.join()
        elapsed = time.perf_counter() - started
        cpu = time.process_time() - cpu
    if failures:
        raise failures[0]
    what = "before send to after getmany, every record"
    return Result(workload, elapsed, cpu, percentiles(samples_ms), what)


def _send_stamped(producer: Producer[bytes, bytes], topic: str, workload: Workload) -> None:
    """Every value begins with the time at which it was due, so that a stall is not left out."""
    filler = workload.value()[_TIME_BYTES:]
    keys = itertools.cycle(workload.keys())
    started = time.perf_counter()
    for number in range(workload.records):
        due = started + number / workload.rate_per_second if workload.rate_per_second else 0.0
        wait = due - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        stamp = round((due or time.perf_counter()) * 1e9)
        producer.send(topic, stamp.to_bytes(_TIME_BYTES, "big") + filler, key=next(keys))


def _read_stamped(
    consumer: Consumer[bytes, bytes],
    workload: Workload,
    samples_ms: list[float],
    on_progress: OnProgress,
) -> None:
    deadline = time.monotonic() + _STALLED_SECONDS
    while len(samples_ms) < workload.records:
        batches = consumer.getmany(timeout=1.0, max_records=1_000)
        now = time.perf_counter()
        for record in itertools.chain.from_iterable(batches.values()):
            stamp = int.from_bytes((record.value or b"")[:_TIME_BYTES], "big")
            samples_ms.append((now - stamp / 1e9) * 1000)
        if batches:
            deadline = time.monotonic() + _STALLED_SECONDS
            on_progress(len(samples_ms), len(samples_ms) * workload.record_bytes)
        elif time.monotonic() > deadline:
            raise TimeoutError(f"only {len(samples_ms)} of {workload.records} records came back")
