"""The synchronous classes: what an application sees."""

from __future__ import annotations

import builtins
import gc
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from logd_client import (
    BufferFullError,
    ClosedError,
    ConfigError,
    InvalidRecordError,
    LogdError,
    NoOffsetError,
    Offset,
    ProducerRecord,
    ReadError,
    RecordMetadata,
    RecordTooLargeError,
    SerializationError,
    TimeoutError,
    TopicExistsError,
    TopicPartition,
    UnknownTopicError,
    json_deserializer,
    json_serializer,
)
from logd_wire.errors import ErrorCode

from tests.unit.client.facades import Facades
from tests.unit.client.memory_cluster import refusals

N1 = "n1:7171"
TP = TopicPartition("t", 0)


def test_send_returns_where_the_record_is(logd: Facades) -> None:
    logd.cluster.create("t")
    with logd.Producer(N1) as producer:
        delivery = producer.send("t", "text", key="k", headers={"a": "b", "c": None}, timestamp=42)
        metadata = delivery.result(10)
        assert metadata == RecordMetadata("t", 0, 0, 42, True, 1)
        assert metadata.timestamp == datetime.fromtimestamp(0.042, UTC)
        assert delivery.done()
        assert producer.send_and_wait("t", b"two", timeout=10).offset == 1
        assert producer.partitions_for("t") == {0}
    (first, _) = logd.cluster.topics["t"][0].records()
    assert (first.key, first.value, first.headers) == (b"k", b"text", (("a", b"b"), ("c", None)))


def test_threads_that_send_at_once_lose_and_double_nothing(logd: Facades) -> None:
    """The most frequent `send` takes no lock, while batches are closed under its hands."""
    logs = logd.cluster.create("t", 3)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with logd.Producer(N1, batch_size=300, linger_ms=0) as producer:

            def send(thread: int) -> list[tuple[bytes, Any]]:
                values = [b"%d of %d" % (number, thread) for number in range(2_000)]
                return [(value, producer.send("t", value)) for value in values]

            with ThreadPoolExecutor(4) as threads:
                sent = [pair for found in threads.map(send, range(4)) for pair in found]
            producer.flush(30)
            assert producer._front.use().accumulator.used_bytes == 0
    finally:
        sys.setswitchinterval(interval)
    stored = [log.values() for log in logs]
    assert sum(map(len, stored)) == len(sent)
    for value, delivery in sent:
        where = delivery.result(0)
        assert stored[where.partition][where.offset] == value


def test_what_is_sent_without_the_lock_counts_as_used(logd: Facades) -> None:
    logd.cluster.create("t")
    logd.cluster.swallow = lambda _: True
    producer = logd.Producer(N1, batch_size=1_000, buffer_memory=20_000, max_block_ms=50)
    with pytest.raises(BufferFullError):
        for _ in range(1_000):
            producer.send("t", bytes(100))
    assert 20_000 <= producer._front.use().accumulator.used_bytes < 22_000
    with pytest.raises(TimeoutError):
        producer.close(0.05)


def test_send_many_has_one_handle(logd: Facades) -> None:
    logs = logd.cluster.create("t", 3)
    with logd.Producer(N1, batch_size=2_000) as producer:
        values = [b"%050d" % number for number in range(1_000)]
        delivery = producer.send_many("t", values)
        metadata = delivery.result(10)
        assert delivery.done()
        assert len(delivery) == len(metadata) == 1_000
        for value, where in zip(values, metadata, strict=True):
            stored = logs[where.partition].values()
            assert stored[where.offset] == value
        mixed = [
            ProducerRecord(b"p", partition=2),
            b"plain",
            ProducerRecord(b"k", key=b"key", headers={"h": b"1"}, timestamp=9),
            ProducerRecord(None, key=b"key"),
        ]
        found = producer.send_many("t", iter(mixed)).result(10)
        assert [each.timestamp_ms == 9 for each in found] == [False, False, True, False]
        assert found[0].partition == 2
        assert found[2].partition == found[3].partition
        record = logs[found[2].partition].records()[found[2].offset]
        assert (record.key, record.headers, record.timestamp) == (b"key", (("h", b"1"),), 9)
        with pytest.raises(ConfigError, match="several values"):
            producer.send_many("t", b"one value")
        assert producer.send_many("t", []).result() == []


def test_on_delivery_is_called_with_error_or_metadata(logd: Facades) -> None:
    logd.cluster.create("t")
    seen: list[tuple[LogdError | None, RecordMetadata | None]] = []
    with logd.Producer(N1) as producer:
        producer.send("t", b"0", on_delivery=lambda error, where: seen.append((error, where)))
        producer.flush(10)
        logd.cluster.refuse = refusals(ErrorCode.INVALID_RECORD)
        delivery = producer.send(
            "t", b"1", on_delivery=lambda error, where: seen.append((error, where))
        )
        with pytest.raises(InvalidRecordError):
            delivery.result(10)
    assert seen[0][0] is None
    assert seen[0][1] is not None
    assert seen[0][1].offset == 0
    assert isinstance(seen[1][0], InvalidRecordError)
    assert seen[1][1] is None


def test_a_timeout_leaves_the_record_under_way(logd: Facades) -> None:
    (log,) = logd.cluster.create("t")
    logd.cluster.swallow = lambda _: True
    producer = logd.Producer(N1)
    with pytest.raises(TimeoutError, match="outcome unknown") as caught:
        producer.send_and_wait("t", b"0", timeout=0.05)
    assert isinstance(caught.value, builtins.TimeoutError)
    with pytest.raises(TimeoutError, match="flush"):
        producer.flush(0.05)
    with pytest.raises(TimeoutError):
        producer.close(0.05)
    assert log.values() == [b"0"]


def test_serializers_and_what_cannot_be_sent(logd: Facades) -> None:
    (log,) = logd.cluster.create("t")
    with logd.Producer(N1) as producer:
        with pytest.raises(SerializationError, match="json_serializer") as caught:
            producer.send("t", {"a": 1})
        assert caught.value.record == {"a": 1}
        with pytest.raises(SerializationError, match="key of type int"):
            producer.send("t", b"v", key=7)
        with pytest.raises(InvalidRecordError, match="headers"):
            producer.send("t", b"v", headers={"h": 7})
        with pytest.raises(RecordTooLargeError):
            producer.send("t", bytes(2**21))
        producer.send_and_wait("t", None, timeout=10)
    with logd.Producer(N1, value_serializer=json_serializer) as producer:
        producer.send_and_wait("t", {"ä": [1]}, key="order_123", timeout=10)
        with pytest.raises(SerializationError, match="value_serializer failed on a set"):
            producer.send("t", {1})
    assert log.values() == [None, '{"ä":[1]}'.encode()]


def test_the_buffer_blocks_then_raises(logd: Facades) -> None:
    logd.cluster.create("t")
    options = {"max_block_ms": 50, "buffer_memory": 5_000, "batch_size": 1_000}
    with logd.Producer(N1, **options) as producer:
        producer.send_and_wait("t", b"0", timeout=10)
        logd.cluster.swallow = lambda _: True
        with pytest.raises(BufferFullError) as caught:
            for _ in range(1_000):
                producer.send("t", bytes(100))
        assert isinstance(caught.value, BufferError)
        logd.cluster.swallow = lambda _: False
        io = producer._life.io
        assert io is not None
        io.call_soon(lambda: logd.cluster.break_streams(N1))
        producer.send("t", bytes(100)).result(10)


def test_after_close_everything_says_so(logd: Facades) -> None:
    logd.cluster.create("t")
    producer = logd.Producer(N1)
    producer.send("t", b"0")
    producer.close()
    producer.close()
    with pytest.raises(ClosedError):
        producer.send("t", b"1")
    with pytest.raises(ClosedError):
        producer.flush()
    consumer = logd.Consumer("t", bootstrap_servers=N1, auto_offset_reset="earliest")
    assert next(iter(consumer)).value == b"0"
    consumer.close()
    with pytest.raises(ClosedError):
        consumer.getone(timeout=1)
    with logd.Producer(N1):
        """Never used: nothing to flush, nothing to connect to."""


def test_an_unclosed_client_is_complained_of(logd: Facades) -> None:
    logd.cluster.create("t")
    for name, options in (("Producer", {}), ("Consumer", {"auto_offset_reset": "latest"})):
        client = getattr(logd, name)(bootstrap_servers=N1, **options)
        client.partitions_for("t")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del client
            gc.collect()
        assert [each.category for each in caught] == [ResourceWarning]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        logd.Producer(N1)
        gc.collect()
    assert caught == []


def test_many_threads_may_send(logd: Facades) -> None:
    (log,) = logd.cluster.create("t")
    with logd.Producer(N1, batch_size=1_000) as producer:

        def work(thread: int) -> list[RecordMetadata]:
            handles = [producer.send("t", b"%d:%d" % (thread, n)) for n in range(500)]
            return [handle.result(20) for handle in handles]

        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(work, range(4)))
    values = log.values()
    assert len(values) == 2_000
    for thread, metadata in enumerate(results):
        offsets = [each.offset for each in metadata]
        assert offsets == sorted(offsets)
        assert all(values[at] == b"%d:%d" % (thread, n) for n, at in enumerate(offsets))


# ---- reading -----------------------------------------------------------------------------------


def fill(logd: Facades, count: int, partitions: int = 1) -> None:
    logd.cluster.create("t", partitions)
    with logd.Producer(N1) as producer:
        for number in range(count):
            producer.send(
                "t", b"%d" % number, partition=number % partitions, timestamp=1000 + number
            )


def test_iteration_ends_after_the_timeout(logd: Facades) -> None:
    fill(logd, 300)
    options = {"auto_offset_reset": "earliest", "consumer_timeout_ms": 50}
    with logd.Consumer("t", bootstrap_servers=N1, **options) as consumer:
        records = list(consumer)
        assert [record.offset for record in records] == list(range(300))
        assert records[5].value == b"5"
        assert records[5].timestamp == datetime.fromtimestamp(1.005, UTC)
        assert records[5].delivery_count is None
        assert consumer.position(TP) == 300
        assert list(consumer) == []


def test_getmany_and_getone(logd: Facades) -> None:
    fill(logd, 100, partitions=2)
    with logd.Consumer("t", bootstrap_servers=N1, auto_offset_reset="earliest") as consumer:
        one = consumer.getone(timeout=5)
        assert one is not None
        only = consumer.getmany(TopicPartition("t", 1), timeout=5, max_records=7)
        assert list(only) == [TopicPartition("t", 1)]
        assert len(only[TopicPartition("t", 1)]) <= 7
        count = 1 + len(only[TopicPartition("t", 1)])
        while count < 100:
            count += sum(map(len, consumer.getmany(timeout=5).values()))
        assert consumer.getmany(timeout=0.02) == {}
        assert consumer.getone(timeout=0.02) is None
        assert consumer.lag() == {TP: 0, TopicPartition("t", 1): 0}


def test_seeking(logd: Facades) -> None:
    fill(logd, 100)
    with logd.Consumer(bootstrap_servers=N1) as consumer:
        consumer.assign([TP])
        assert consumer.assignment() == {TP}
        consumer.seek(TP, 40)
        assert consumer.getone(timeout=5).offset == 40
        consumer.seek(TP, Offset.BEGINNING)
        assert consumer.getone(timeout=5).offset == 0
        consumer.seek_to_end()
        assert consumer.position(TP) == 100
        consumer.seek_to_time(1_063, TP)
        assert consumer.getone(timeout=5).offset == 63
        consumer.seek_to_time(datetime.fromtimestamp(1.010, UTC))
        assert consumer.position(TP) == 10
        consumer.seek_to_beginning(TP)
        assert consumer.position(TP) == 0
        assert consumer.beginning_offsets([TP]) == {TP: 0}
        assert consumer.end_offsets([("t", 0)]) == {TP: 100}
        found = consumer.offsets_for_times({TP: 1_050})
        assert found[TP].offset == 50
        assert consumer.offsets_for_times({TP: 10**12}) == {TP: None}
        with pytest.raises(ConfigError, match="negative"):
            consumer.seek(TP, -1)
        with pytest.raises(ConfigError, match="not a partition"):
            consumer.seek("t", 0)
        with pytest.raises(ConfigError, match="not assigned"):
            consumer.seek(TopicPartition("t", 1), 0)


def test_a_consumer_of_topics_may_seek_before_its_first_read(logd: Facades) -> None:
    fill(logd, 50)
    with logd.Consumer("t", bootstrap_servers=N1) as consumer:
        consumer.seek(TP, 33)
        assert consumer.getone(timeout=5).offset == 33
        with pytest.raises(ConfigError, match="made for topics"):
            consumer.assign([TP])
    with logd.Consumer("t", bootstrap_servers=N1) as consumer:
        with pytest.raises(NoOffsetError):
            consumer.getmany(timeout=5)
        consumer.seek_to_beginning()
        assert len(consumer.getmany(timeout=5)[TP]) == 50


def test_wakeup_from_another_thread_ends_the_wait(logd: Facades) -> None:
    logd.cluster.create("t")
    with logd.Consumer("t", bootstrap_servers=N1, auto_offset_reset="latest") as consumer:
        consumer.getmany(timeout=0)
        waiting = threading.Event()

        def wake() -> None:
            waiting.wait(10)
            consumer.wakeup()

        thread = threading.Thread(target=wake)
        thread.start()
        waiting.set()
        assert consumer.getone() is None
        thread.join()
        consumer.wakeup()
        assert list(consumer) == []


def test_close_from_another_thread_ends_the_iteration(logd: Facades) -> None:
    fill(logd, 5)
    consumer = logd.Consumer("t", bootstrap_servers=N1, auto_offset_reset="earliest")
    found = []
    for record in consumer:
        found.append(record.offset)
        if record.offset == 4:
            closer = threading.Thread(target=consumer.close)
            closer.start()
    closer.join()
    assert found == [0, 1, 2, 3, 4]


def test_close_in_the_middle_of_a_batch_ends_the_iteration(logd: Facades) -> None:
    fill(logd, 50)
    consumer = logd.Consumer("t", bootstrap_servers=N1, auto_offset_reset="earliest")
    found = []
    for record in consumer:
        found.append(record.offset)
        if record.offset == 10:
            consumer.close()
    assert found == list(range(11))


def test_a_deserializer_that_fails_says_where_and_loses_nothing(logd: Facades) -> None:
    logd.cluster.create("t")
    with logd.Producer(N1) as producer:
        producer.send_many("t", [b"1", b"2", b"{", b"4"]).result(10)
    options = {"value_deserializer": json_deserializer, "auto_offset_reset": "earliest"}
    with logd.Consumer("t", bootstrap_servers=N1, **options) as consumer:
        assert [record.value for record in consumer.getmany(timeout=5)[TP]] == [1, 2]
        for _ in range(2):
            with pytest.raises(SerializationError, match="offset 2") as caught:
                consumer.getmany(timeout=5)
        assert isinstance(caught.value, ReadError)
        assert caught.value.record.value == b"{"  # type: ignore[attr-defined]
        consumer.seek(TP, caught.value.offset + 1)
        assert consumer.getone(timeout=5).value == 4


def test_pausing(logd: Facades) -> None:
    fill(logd, 20, partitions=2)
    other = TopicPartition("t", 1)
    with logd.Consumer("t", bootstrap_servers=N1, auto_offset_reset="earliest") as consumer:
        consumer.pause(TP)
        assert consumer.paused() == {TP}
        seen = consumer.getmany(timeout=5)
        assert set(seen) == {other}
        assert consumer.getmany(timeout=0.02) == {}
        consumer.resume(TP)
        assert set(consumer.getmany(timeout=5)) == {TP}


# ---- admin -------------------------------------------------------------------------------------


def test_admin(logd: Facades) -> None:
    with logd.Admin(N1) as admin:
        info = admin.create_topic("a", partitions=2)
        assert (info.name, len(info.partitions), info.config) == ("a", 2, {"retention.ms": "1"})
        assert len(info.id) == 36
        with pytest.raises(TopicExistsError):
            admin.create_topic("a")
        assert admin.create_topic("a", exist_ok=True).id == info.id
        assert [each.name for each in admin.list_topics()] == ["a"]
        assert admin.describe_topic("a").durability == "d"
        assert admin.describe_topics([]) == []
        with pytest.raises(UnknownTopicError):
            admin.describe_topic("b")
        admin.delete_topic("a")
        with pytest.raises(UnknownTopicError):
            admin.delete_topic("a")
        with pytest.raises(ConfigError):
            admin.delete_records("a", {0: -2})
