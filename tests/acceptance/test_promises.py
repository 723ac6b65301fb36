"""What the documents of the field show of a log, one test for each row that one node can show."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from logd_client import (
    Admin,
    Consumer,
    NoOffsetError,
    Producer,
    ProducerRecord,
    Record,
    TopicPartition,
    aio,
    json_deserializer,
    json_serializer,
)
from logd_wire import partition_for_key

from tests.support.nodes import RealNode
from tests.support.proxy import BreakingProxy

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    with RealNode(tmp_path_factory.mktemp("promises") / "data") as running:
        yield running


def _create(node: RealNode, topic: str, partitions: int = 1, **config: str) -> None:
    with Admin(node.address) as admin:
        admin.create_topic(topic, partitions=partitions, config=config)


def _consume(
    node: RealNode, topic: str, count: int, wait_s: float = 60
) -> list[Record[bytes, bytes]]:
    """Read from the start until there are `count` records or the time is over."""
    found: list[Record[bytes, bytes]] = []
    with Consumer(topic, bootstrap_servers=node.address, auto_offset_reset="earliest") as consumer:
        deadline = time.monotonic() + wait_s
        while len(found) < count and time.monotonic() < deadline:
            for records in consumer.getmany(timeout=1).values():
                found += records
    return found


def test_s01_a_producer_needs_no_consumer(node: RealNode) -> None:
    _create(node, "decoupled")
    with Producer(node.address) as producer:
        producer.send_many("decoupled", [b"%d" % number for number in range(1_000)]).result(30)
    values = [record.value for record in _consume(node, "decoupled", 1_000)]
    assert values == [b"%d" % number for number in range(1_000)]


def test_s05_without_acknowledgement_a_record_may_be_lost_but_is_never_doubled(
    tmp_path: Path,
) -> None:
    pieces = {"up": 0}

    def break_when(direction: str, _total: int) -> bool:
        pieces[direction] = pieces.get(direction, 0) + 1
        return direction == "up" and pieces["up"] > 20 and pieces["up"] % 25 == 0

    node = RealNode(tmp_path / "data")
    with BreakingProxy(node.port, break_when) as proxy:
        node.set("LOGD__LISTENERS__ADVERTISED", proxy.address)
        with node:
            _create(node, "at-most-once")
            with Producer(proxy.address, acks=0) as producer:
                for number in range(300):
                    producer.send("at-most-once", b"%06d" % number)
                    time.sleep(0.001)
                producer.flush(30)
            assert proxy.broken > 0, "the fault has to have happened"
            values = [record.value for record in _consume(node, "at-most-once", 300, wait_s=3)]
    assert 0 < len(values) <= 300
    assert len(values) == len(set(values))


def test_s06_what_was_not_committed_is_read_again(node: RealNode) -> None:
    _create(node, "again")
    with Producer(node.address) as producer:
        producer.send_many("again", [b"a", b"b", b"c"]).result(30)
    first = _consume(node, "again", 1)[0]
    assert _consume(node, "again", 1)[0] == first, "reading takes nothing away"


def test_s47_a_topic_is_described_with_its_replicas(node: RealNode) -> None:
    _create(node, "order-events", 3)
    with Admin(node.address) as admin:
        topic = admin.describe_topic("order-events")
    assert [part.partition for part in topic.partitions] == [0, 1, 2]
    assert all(
        (part.leader, part.replicas, part.isr) == (1, (1,), (1,)) for part in topic.partitions
    )
    assert "power loss" in topic.durability


def test_s48_the_order_of_each_key_is_kept(node: RealNode) -> None:
    _create(node, "keyed", 4)
    keys, each, producers = 50, 500, 4

    def produce(number: int) -> None:
        with Producer(node.address) as producer:
            for count in range(each):
                for key in range(keys // producers):
                    name = b"key-%d-%d" % (number, key)
                    producer.send("keyed", b"%d" % count, key=name)
            producer.flush(60)

    threads = [threading.Thread(target=produce, args=(number,)) for number in range(producers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = producers * (keys // producers) * each
    by_key: dict[bytes, list[int]] = {}
    for record in _consume(node, "keyed", total):
        assert record.key is not None and record.value is not None
        assert record.partition == partition_for_key(record.key, 4)
        by_key.setdefault(record.key, []).append(int(record.value))
    assert len(by_key) == producers * (keys // producers)
    assert all(counts == list(range(each)) for counts in by_key.values())


def test_s50_offsets_are_dense_and_seeking_replays_the_same_bytes(node: RealNode) -> None:
    _create(node, "replay")
    place = TopicPartition("replay", 0)
    with Producer(node.address, compression_type="zstd") as producer:
        for number in range(500):
            producer.send(
                "replay", b"v%d" % number, key=b"k%d" % (number % 7), headers={"n": b"%d" % number}
            )
        producer.flush(30)
    with Consumer(bootstrap_servers=node.address) as consumer:
        consumer.assign([place])
        runs = []
        for start in (0, 0, 123):
            consumer.seek(place, start)
            records: list[Record[bytes, bytes]] = []
            while len(records) < 500 - start:
                records += consumer.getmany(timeout=5).get(place, [])
            runs.append(records)
        assert consumer.position(place) == 500
    assert [record.offset for record in runs[0]] == list(range(500))
    assert runs[0] == runs[1]
    assert runs[2] == runs[0][123:]


def test_s50_seeking_by_time_finds_the_first_record_that_late(node: RealNode) -> None:
    _create(node, "by-time")
    place = TopicPartition("by-time", 0)
    start_ms = int(time.time() * 1_000) - 100_000
    with Producer(node.address) as producer:
        for number in range(100):
            producer.send("by-time", b"%d" % number, timestamp=start_ms + number * 1_000)
        producer.flush(30)
    with Consumer(bootstrap_servers=node.address) as consumer:
        consumer.assign([place])
        consumer.seek_to_time(start_ms + 41_500, place)
        record = consumer.getone(timeout=5)
        assert record is not None and record.value == b"42"
        found = consumer.offsets_for_times({place: start_ms + 41_000})[place]
        assert found is not None and found.offset == 41


def test_s53_records_are_kept_for_seven_days_unless_told_otherwise(node: RealNode) -> None:
    _create(node, "kept")
    with Admin(node.address) as admin:
        assert admin.describe_topic("kept").config["retention.ms"] == "604800000"


def test_s56_lost_answers_double_nothing(tmp_path: Path) -> None:
    rng = random.Random(7)
    seen = {"down": 0}

    def break_when(direction: str, _total: int) -> bool:
        if direction != "down":
            return False
        seen["down"] += 1
        return seen["down"] > 6 and rng.random() < 0.05

    through = RealNode(tmp_path / "data")
    with BreakingProxy(through.port, break_when) as proxy:
        # The node tells its clients to connect to the proxy.
        through.set("LOGD__LISTENERS__ADVERTISED", proxy.address)
        with through:
            _create(through, "once")
            with Producer(proxy.address, linger_ms=0, delivery_timeout_ms=60_000) as producer:
                deliveries = []
                for number in range(2_000):
                    deliveries.append(producer.send("once", b"%d" % number))
                    if number % 20 == 19:
                        deliveries[-1].result(60)
                offsets = [delivery.result(60).offset for delivery in deliveries]
            assert proxy.broken >= 3, "the fault has to have happened"
            assert offsets == list(range(2_000))
            values = [record.value for record in _consume(through, "once", 2_000)]
            assert values == [b"%d" % number for number in range(2_000)]


async def test_s57_the_snippet_of_the_field_runs(node: RealNode) -> None:
    _create(node, "order-events-2", 3)
    async with aio.Producer(
        node.address,
        compression_type="gzip",
        value_serializer=json_serializer,
    ) as producer:
        delivery = await producer.send(
            "order-events-2",
            {"status": "created"},
            key="order_123",
            headers={"event-type": "OrderCreated"},
        )
        metadata = await delivery
    assert metadata.partition == partition_for_key(b"order_123", 3)
    assert metadata.offset == 0
    async with aio.Consumer(
        "order-events-2",
        bootstrap_servers=node.address,
        auto_offset_reset="earliest",
        value_deserializer=json_deserializer,
    ) as consumer:
        record = await consumer.getone(timeout=10)
    assert record is not None
    assert (record.key, record.value) == (b"order_123", {"status": "created"})
    assert record.headers == (("event-type", b"OrderCreated"),)


def test_s59_a_reader_begins_where_it_says_and_nowhere_by_accident(node: RealNode) -> None:
    _create(node, "begin")
    with Producer(node.address) as producer:
        producer.send_many("begin", [ProducerRecord(b"old")]).result(30)
        with (
            Consumer("begin", bootstrap_servers=node.address) as undecided,
            pytest.raises(NoOffsetError, match="auto_offset_reset"),
        ):
            undecided.getone(timeout=10)
        with Consumer(
            "begin", bootstrap_servers=node.address, auto_offset_reset="latest"
        ) as consumer:
            assert consumer.getone(timeout=0.5) is None
            producer.send_and_wait("begin", b"new")
            record = consumer.getone(timeout=10)
            assert record is not None and record.value == b"new"
