"""How applications use the client, for mypy --strict and pyright: it is checked, never run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from logd_client import (
    Admin,
    Batch,
    BulkDelivery,
    ClusterInfo,
    CompactedPartition,
    Consumer,
    ConsumerStatus,
    Delivery,
    LogdError,
    NotLeaderError,
    Offset,
    OffsetAndTimestamp,
    PartitionInfo,
    Producer,
    ProducerRecord,
    QuorumInfo,
    ReadError,
    RebalanceListener,
    Record,
    RecordMetadata,
    ReplicaProgress,
    TopicInfo,
    TopicPartition,
    aio,
    json_deserializer,
    json_serializer,
    on_error,
    string_deserializer,
)


@dataclass
class Order:
    number: int


def order_to_bytes(order: Order) -> bytes:
    return b"%d" % order.number


def order_from_bytes(data: bytes) -> Order:
    return Order(int(data))


def number_to_bytes(number: int) -> bytes:
    return number.to_bytes(8, "big")


def plain_producer() -> None:
    with Producer("localhost:7171", acks="all", linger_ms=5, compression_type="zstd") as producer:
        assert_type(producer, Producer[bytes | str, bytes | str])
        delivery = producer.send("t", b"value", key="text", headers={"a": b"b", "c": None})
        assert_type(delivery, Delivery)
        metadata = delivery.result(timeout=5.0)
        assert_type(metadata, RecordMetadata)
        assert_type(metadata.offset, int)
        assert_type(metadata.timestamp, datetime)
        producer.send("t", None, key=b"k", partition=3, timestamp=datetime.now(UTC))
        producer.send("t", "v", headers=[("a", b"1"), ("a", None)], timestamp=12)
        many = producer.send_many("t", [b"1", "2", ProducerRecord(b"3", key="k")])
        assert_type(many, BulkDelivery)
        assert_type(many.result(), list[RecordMetadata])
        assert_type(producer.send_and_wait("t", b"v", timeout=1), RecordMetadata)
        producer.flush(timeout=3)
        assert_type(producer.partitions_for("t"), set[int])


def callbacks(producer: Producer[bytes, bytes]) -> None:
    def done(error: LogdError | None, metadata: RecordMetadata | None) -> None:
        print(error, metadata)

    producer.send("t", b"v", on_delivery=done)


def accepts_bytes_only(producer: Producer[bytes, bytes]) -> None:
    producer.send("t", b"v", key=b"k")


def a_producer_of_more_is_one_of_less() -> None:
    accepts_bytes_only(Producer("localhost:7171"))


def typed_producer() -> None:
    producer = Producer(
        ["a:7171", "b:7171"], key_serializer=number_to_bytes, value_serializer=order_to_bytes
    )
    assert_type(producer, Producer[int, Order])
    producer.send("orders", Order(1), key=7)
    producer.send_many("orders", [Order(1), ProducerRecord(Order(2), key=5)])
    producer.send("orders", b"bytes")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    producer.send("orders", Order(1), key="x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    json_producer = Producer(value_serializer=json_serializer)
    assert_type(json_producer, Producer[bytes | str, Any])
    json_producer.send("t", {"a": [1, 2]}, key="order_123")
    Producer(acks=2)  # type: ignore[call-overload] # pyright: ignore
    Producer(lingerms=2)  # type: ignore[call-overload] # pyright: ignore
    Producer.from_config({"bootstrap.servers": "localhost:7171", "linger.ms": "5"}).close()


def partitioner(topic: str, key: bytes | None, partitions: int) -> int | None:
    return None if key is None else len(key) % partitions


def plain_consumer() -> None:
    Producer(partitioner=partitioner)
    tp = TopicPartition("t", 0)
    with Consumer(
        "t", bootstrap_servers="localhost:7171", auto_offset_reset="earliest"
    ) as consumer:
        assert_type(consumer, Consumer[bytes, bytes])
        for record in consumer:
            assert_type(record, Record[bytes, bytes])
            assert_type(record.key, bytes | None)
            assert_type(record.value, bytes | None)
            assert_type(record.timestamp, datetime)
            assert_type(record.headers, tuple[tuple[str, bytes | None], ...])
        assert_type(consumer.getone(timeout=1), Record[bytes, bytes] | None)
        batches = consumer.getmany(tp, timeout=1, max_records=10)
        assert_type(batches, dict[TopicPartition, list[Record[bytes, bytes]]])
        consumer.seek(tp, 5)
        consumer.seek(tp, Offset.END)
        consumer.seek_to_beginning()
        consumer.seek_to_end(tp)
        consumer.seek_to_time(datetime.now(UTC) - timedelta(hours=1), tp)
        consumer.pause(tp)
        consumer.resume(tp)
        assert_type(consumer.paused(), set[TopicPartition])
        assert_type(consumer.position(tp), int)
        assert_type(consumer.end_offsets([tp]), dict[TopicPartition, int])
        times = consumer.offsets_for_times({tp: 0})
        assert_type(times, dict[TopicPartition, OffsetAndTimestamp | None])
        assert_type(consumer.lag(), dict[TopicPartition, int])
        consumer.wakeup()
    with Consumer(bootstrap_servers="localhost:7171") as assigned:
        assigned.assign([tp])


def typed_consumer() -> None:
    orders = Consumer(
        "orders", key_deserializer=string_deserializer, value_deserializer=order_from_bytes
    )
    assert_type(orders, Consumer[str, Order])
    record = orders.getone()
    if record is not None and record.value is not None:
        assert_type(record.value.number, int)
        assert_type(record.key, str | None)
    assert_type(Consumer("t", value_deserializer=json_deserializer), Consumer[bytes, Any])


def handle_order(record: Record[bytes, Order]) -> None:
    if record.value is not None:
        assert_type(record.value.number, int)


def handle_orders(batch: Batch[bytes, Order]) -> None:
    assert_type(batch.high_watermark, int)
    for record in batch:
        assert_type(record, Record[bytes, Order])
        if not batch.is_running() or batch.is_stale():
            return
        batch.resolve(record)
        batch.commit_if_necessary()


class Listener(RebalanceListener):
    def on_assign(self, partitions: list[TopicPartition]) -> None:
        assert_type(partitions, list[TopicPartition])


def member_of_a_group(record: Record[bytes, bytes]) -> None:
    tp = TopicPartition("orders", 0)
    with Consumer(
        "orders",
        group_id="mailers",
        group_instance_id="mailer-1",
        enable_auto_commit=False,
        session_timeout_ms=6_000,
        partition_assignment_strategy="range",
        client_rack="a",
        value_deserializer=order_from_bytes,
    ) as consumer:
        consumer.subscribe(["orders"], listener=Listener())
        consumer.subscribe(pattern="orders.*", on_assign=print, on_revoke=print, on_lost=print)
        consumer.commit()
        consumer.commit(record)
        consumer.commit([record])
        consumer.commit({tp: 12})
        consumer.commit_async(callback=lambda error, offsets: print(error, offsets[tp]))
        assert_type(consumer.committed(tp), int | None)
        assert_type(consumer.subscription(), set[str])
        assert_type(consumer.status(), ConsumerStatus)
        assert_type(consumer.status().partitions[tp].lag, int | None)
        consumer.run(handle_order, on_error=on_error.retry(3, 0.5, then=on_error.skip()))
        consumer.run(each_batch=handle_orders, on_error=on_error.dead_letter("dead"))
        consumer.run(lambda record: print(record.value))
        consumer.unsubscribe()
    Consumer("t", group_id="g", partition_assignment_strategy="sticky")  # type: ignore[call-overload] # pyright: ignore


async def handle_order_later(record: Record[bytes, Order]) -> None:
    handle_order(record)


async def handle_orders_later(batch: aio.Batch[bytes, Order]) -> None:
    for record in batch:
        assert_type(record, Record[bytes, Order])
        batch.resolve(record)
    await batch.commit_if_necessary()


async def asynchronous_member() -> None:
    async with aio.Consumer(
        "orders", group_id="g", value_deserializer=order_from_bytes
    ) as consumer:
        consumer.subscribe(["orders"], on_assign=print)
        await consumer.commit()
        consumer.commit_async(callback=print)
        assert_type(await consumer.committed(TopicPartition("t", 0)), int | None)
        await consumer.run(handle_order_later, on_error=on_error.stop())
        await consumer.run(each_batch=handle_orders_later)
        await consumer.unsubscribe()


def errors(consumer: Consumer[bytes, bytes]) -> None:
    try:
        consumer.getone()
    except ReadError as error:
        consumer.seek(TopicPartition(error.topic, error.partition), error.next_offset)
    except NotLeaderError as error:
        print(error.leader_address, error.code, error.retriable, error.broker, error.hint)


def admin() -> None:
    with Admin("localhost:7171") as client:
        info = client.create_topic(
            "t", partitions=6, config={"retention.ms": "1000"}, exist_ok=True
        )
        assert_type(info, TopicInfo)
        assert_type(info.partitions[0].leader, int | None)
        assert_type(client.list_topics(), list[TopicInfo])
        client.alter_topic_config("t", {"retention.ms": None})
        client.add_partitions("t", 12)
        assert_type(client.delete_records("t", {0: 10}), dict[int, int])
        assert_type(client.compact_topic("t", now=True), dict[int, CompactedPartition])
        assert_type(client.describe_cluster(), ClusterInfo)
        assert_type(client.describe_quorum(), QuorumInfo)
        assert_type(client.read_raft_log(10).entries[0].committed, bool | None)
        assert_type(client.transfer_leader("t", 0, 2).leader, int | None)
        moved = client.reassign_partitions({("t", 0): [1, 2], ("t", 1): None})
        assert_type(moved, dict[tuple[str, int], PartitionInfo])
        assert_type(moved["t", 0].progress, tuple[ReplicaProgress, ...])
        assert_type(client.list_reassignments(), dict[tuple[str, int], PartitionInfo])
        assert_type(client.add_node(4), list[int])
        client.remove_node(4, directory_id=client.describe_cluster().members[0].directory_id)
        client.delete_topic("t")


async def asynchronous() -> None:
    tp = TopicPartition("t", 0)
    async with aio.Producer("localhost:7171", value_serializer=order_to_bytes) as producer:
        assert_type(producer, aio.Producer[bytes | str, Order])
        delivery = await producer.send("t", Order(1), key="k")
        assert_type(delivery, aio.AsyncDelivery)
        assert_type(await delivery, RecordMetadata)
        assert_type(await producer.send_and_wait("t", Order(1)), RecordMetadata)
        assert_type(await (await producer.send_many("t", [Order(1)])), list[RecordMetadata])
    async with aio.Consumer("t", value_deserializer=order_from_bytes) as consumer:
        async for record in consumer:
            assert_type(record, Record[bytes, Order])
        assert_type(await consumer.getone(), Record[bytes, Order] | None)
        await consumer.seek(tp, 1)
        assert_type(await consumer.position(tp), int)
    async with aio.Admin() as client:
        assert_type(await client.describe_topic("t"), TopicInfo)
