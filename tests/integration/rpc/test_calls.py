"""Unary calls over real gRPC: what good requests are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from logd_proto.v1 import admin_pb2, common_pb2, log_pb2
from logd_wire import Compression, WireRecord, encode_batch, limits, partition_for_key
from logd_wire.errors import CorruptBatchError, ErrorCode, LogdError, UnknownTopicError

from logd.model.ids import format_id
from logd.rpc.edge import ThreadOffload
from tests.support.rpc_broker import APPEND_TIME_MS, CLUSTER_ID
from tests.support.rpc_forge import forged
from tests.support.rpc_server import ADMIN, LOG, Serving, call, eventually, serving

T = TypeVar("T")


async def make_topic(edge: Serving, name: str = "orders", partitions: int = 1) -> bytes:
    topic = await edge.broker.create_topic(name, partitions=partitions)
    return topic.topic_id


async def append(edge: Serving, *values: bytes, topic: str = "orders") -> log_pb2.AppendResponse:
    request = log_pb2.AppendRequest(
        topic=topic, records=[common_pb2.Record(value=value) for value in values]
    )
    return await call(edge.channel, LOG + "Append", request, log_pb2.AppendResponse)


async def test_hello_tells_who_answers_and_the_limits(edge: Serving) -> None:
    request = log_pb2.HelloRequest(
        client_software="test/1",
        client_id="me",
        protocol_version=1,
        expected_cluster_id=format_id(CLUSTER_ID),
    )
    answer = await call(edge.channel, LOG + "Hello", request, log_pb2.HelloResponse)
    assert answer.cluster_id == format_id(CLUSTER_ID)
    assert (answer.node_id, answer.version) == (1, "0.0.0-test")
    assert answer.protocol_version_min <= 1 <= answer.protocol_version_max
    assert answer.limits.batch_bytes_max == limits.BATCH_BYTES_MAX
    assert answer.limits.message_bytes_max == limits.MESSAGE_BYTES_MAX


async def test_hello_refuses_a_client_of_another_cluster(edge: Serving) -> None:
    request = log_pb2.HelloRequest(expected_cluster_id=format_id(bytes(16)))
    with pytest.raises(LogdError) as caught:
        await call(edge.channel, LOG + "Hello", request, log_pb2.HelloResponse)
    assert caught.value.code is ErrorCode.CLUSTER_ID_MISMATCH
    assert format_id(CLUSTER_ID) in caught.value.message


async def test_metadata_answers_each_topic_on_its_own_in_the_order_asked(edge: Serving) -> None:
    topic_id = await make_topic(edge, partitions=3)
    request = log_pb2.GetMetadataRequest(
        topics=["../x", "orders", "absent", "orders"], topic_ids=[topic_id, b"short", bytes(16)]
    )
    answer = await call(edge.channel, LOG + "GetMetadata", request, log_pb2.GetMetadataResponse)
    codes = [topic.error.code for topic in answer.topics]
    assert codes == [
        ErrorCode.INVALID_TOPIC_NAME,
        0,
        ErrorCode.UNKNOWN_TOPIC,
        0,
        0,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.UNKNOWN_TOPIC,
    ]
    assert [part.leader_id for part in answer.topics[1].partitions] == [1, 1, 1]
    assert answer.topics[4].name == "orders"
    assert [(node.id, node.address) for node in answer.nodes] == [(1, "127.0.0.1:7171")]


async def test_all_topics_come_by_name(edge: Serving) -> None:
    await make_topic(edge, "b")
    await make_topic(edge, "a")
    request = log_pb2.GetMetadataRequest(all_topics=True)
    answer = await call(edge.channel, LOG + "GetMetadata", request, log_pb2.GetMetadataResponse)
    assert [topic.name for topic in answer.topics] == ["a", "b"]


async def test_append_and_read_carry_nulls_empties_headers_and_times(edge: Serving) -> None:
    await make_topic(edge)
    records = [
        common_pb2.Record(value=b"plain", timestamp_ms=5),
        common_pb2.Record(key=b"", value=b""),
        common_pb2.Record(
            headers=[common_pb2.Header(key="h", value=b"1"), common_pb2.Header(key="h")]
        ),
    ]
    request = log_pb2.AppendRequest(topic="orders", partition=0, records=records)
    answer = await call(edge.channel, LOG + "Append", request, log_pb2.AppendResponse)
    assert (answer.partition, answer.base_offset, answer.synced) == (0, 0, True)
    assert answer.append_time_ms == APPEND_TIME_MS
    read = await call(
        edge.channel, LOG + "Read", log_pb2.ReadRequest(topic="orders"), log_pb2.ReadResponse
    )
    assert [record.offset for record in read.records] == [0, 1, 2]
    first, second, third = read.records
    assert (first.value, first.timestamp_ms, first.HasField("key")) == (b"plain", 5, False)
    assert second.HasField("key") and second.HasField("value")
    assert second.timestamp_ms > 1_600_000_000_000
    assert not third.HasField("value")
    assert [(h.key, h.HasField("value")) for h in third.headers] == [("h", True), ("h", False)]
    assert (read.next_offset, read.high_watermark) == (3, 3)


async def test_append_without_partition_goes_by_key(edge: Serving) -> None:
    topic_id = await make_topic(edge, partitions=7)
    request = log_pb2.AppendRequest(
        topic="orders", records=[common_pb2.Record(key=b"customer-42", value=b"v")]
    )
    answer = await call(edge.channel, LOG + "Append", request, log_pb2.AppendResponse)
    assert answer.partition == partition_for_key(b"customer-42", 7)
    assert edge.broker.log(topic_id, answer.partition).end_offset == 1


async def test_append_refuses_keys_of_several_partitions(edge: Serving) -> None:
    await make_topic(edge, partitions=50)
    records = [common_pb2.Record(key=bytes([number])) for number in range(10)]
    request = log_pb2.AppendRequest(topic="orders", records=records)
    with pytest.raises(LogdError, match="keys lead to"):
        await call(edge.channel, LOG + "Append", request, log_pb2.AppendResponse)


async def test_read_begins_inside_a_batch_and_ends_at_the_count(edge: Serving) -> None:
    topic_id = await make_topic(edge)
    for base in (0, 5):
        wire = [WireRecord(i, 1, None, b"%d" % (base + i), ()) for i in range(5)]
        edge.broker.log(topic_id, 0).append(encode_batch(wire, compression=Compression.ZSTD))
    request = log_pb2.ReadRequest(topic="orders", offset=3, max_records=4)
    read = await call(edge.channel, LOG + "Read", request, log_pb2.ReadResponse)
    assert [record.value for record in read.records] == [b"3", b"4", b"5", b"6"]
    assert (read.next_offset, read.high_watermark) == (7, 10)


async def test_read_stops_before_the_answer_is_too_large(edge: Serving) -> None:
    topic_id = await make_topic(edge)
    wire = [WireRecord(i, 1, None, bytes(1_000_000), ()) for i in range(60)]
    edge.broker.log(topic_id, 0).append(encode_batch(wire, compression=Compression.ZSTD))
    read = await call(
        edge.channel, LOG + "Read", log_pb2.ReadRequest(topic="orders"), log_pb2.ReadResponse
    )
    assert 1 <= len(read.records) < 60
    assert read.next_offset == len(read.records)


async def test_read_waits_for_the_first_record(edge: Serving) -> None:
    await make_topic(edge)
    request = log_pb2.ReadRequest(topic="orders", max_wait_ms=20_000)
    waiting = call(edge.channel, LOG + "Read", request, log_pb2.ReadResponse)
    read, _ = await asyncio.gather(waiting, append(edge, b"at last"))
    assert [record.value for record in read.records] == [b"at last"]


class CountingOffload(ThreadOffload):
    count = 0

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]:
        self.count += 1
        return super().__call__(work)


async def test_what_takes_long_is_done_off_the_event_loop() -> None:
    offload = CountingOffload()
    async with serving(offload=offload) as edge:
        topic_id = await make_topic(edge)
        await append(edge, b"small")
        small = log_pb2.ReadRequest(topic="orders")
        await call(edge.channel, LOG + "Read", small, log_pb2.ReadResponse)
        assert offload.count == 0
        await append(edge, *[b"x"] * 2_000)
        await append(edge, bytes(900_000))
        assert offload.count == 2
        wire = [WireRecord(0, 1, None, bytes(1_000), ())]
        edge.broker.log(topic_id, 0).append(encode_batch(wire, compression=Compression.GZIP))
        packed = log_pb2.ReadRequest(topic="orders", offset=2_002)
        await call(edge.channel, LOG + "Read", packed, log_pb2.ReadResponse)
        many = log_pb2.ReadRequest(topic="orders", max_records=10_000)
        read = await call(edge.channel, LOG + "Read", many, log_pb2.ReadResponse)
        assert offload.count == 4 and len(read.records) == 2_003


async def test_a_caller_who_leaves_does_not_disturb_the_broker(edge: Serving) -> None:
    await make_topic(edge)
    edge.broker.hold = True
    appending = asyncio.ensure_future(append(edge, b"v"))
    await eventually(lambda: bool(edge.broker.held))
    appending.cancel()
    await eventually(lambda: edge.server.calls.under_way == 0)
    assert edge.broker.budget.held > 0
    edge.broker.answer_held()
    await eventually(lambda: edge.broker.budget.held == 0)


async def test_read_tells_of_a_faulty_batch_only_when_nothing_is_before_it(edge: Serving) -> None:
    topic_id = await make_topic(edge)
    log = edge.broker.log(topic_id, 0)
    log.append(encode_batch([WireRecord(0, 1, None, b"good", ())]))
    log.append(forged(b"\xff" * 50))
    log.append(encode_batch([WireRecord(0, 1, None, b"good too", ())]))
    first = log_pb2.ReadRequest(topic="orders")
    read = await call(edge.channel, LOG + "Read", first, log_pb2.ReadResponse)
    assert ([record.value for record in read.records], read.next_offset) == ([b"good"], 1)
    with pytest.raises(CorruptBatchError, match="offset 1") as caught:
        second = log_pb2.ReadRequest(topic="orders", offset=1)
        await call(edge.channel, LOG + "Read", second, log_pb2.ReadResponse)
    assert caught.value.next_offset == 2 and "offset 2" in caught.value.hint


async def test_offsets_by_position_and_by_time(edge: Serving) -> None:
    topic_id = await make_topic(edge)
    wire = [WireRecord(i, 100 + i, None, b"v", ()) for i in range(5)]
    edge.broker.log(topic_id, 0).append(encode_batch(wire))
    queries = [
        log_pb2.OffsetQuery(topic="orders", earliest=True),
        log_pb2.OffsetQuery(topic_id=topic_id, latest=True),
        log_pb2.OffsetQuery(topic="orders", timestamp_ms=103),
        log_pb2.OffsetQuery(topic="orders", timestamp_ms=999),
        log_pb2.OffsetQuery(topic="orders"),
        log_pb2.OffsetQuery(topic="orders", partition=9, latest=True),
        log_pb2.OffsetQuery(topic="absent", latest=True),
        log_pb2.OffsetQuery(topic="orders", timestamp_ms=-5),
    ]
    request = log_pb2.ListOffsetsRequest(queries=queries)
    answer = await call(edge.channel, LOG + "ListOffsets", request, log_pb2.ListOffsetsResponse)
    good = [(one.offset, one.timestamp_ms) for one in answer.answers[:4]]
    assert good == [(0, -1), (5, -1), (3, 103), (-1, -1)]
    assert [one.error.code for one in answer.answers[4:]] == [
        ErrorCode.INVALID_REQUEST,
        ErrorCode.UNKNOWN_PARTITION,
        ErrorCode.UNKNOWN_TOPIC,
        ErrorCode.INVALID_REQUEST,
    ]


async def test_producer_ids_differ(edge: Serving) -> None:
    request = log_pb2.InitProducerIdRequest()
    method = LOG + "InitProducerId"
    ids = {
        (await call(edge.channel, method, request, log_pb2.InitProducerIdResponse)).producer_id
        for _ in range(3)
    }
    assert len(ids) == 3


async def test_a_topic_is_created_altered_described_trimmed_and_deleted(edge: Serving) -> None:
    channel = edge.channel
    created = await call(
        channel,
        ADMIN + "CreateTopic",
        admin_pb2.CreateTopicRequest(name="t", partitions=2, config={"retention.ms": "1h"}),
        admin_pb2.CreateTopicResponse,
    )
    assert len(created.topic.topic_id) == 16 and len(created.topic.partitions) == 2
    settings = {entry.name: entry for entry in created.topic.config}
    assert (settings["retention.ms"].value, settings["retention.ms"].source) == ("3600000", "topic")
    assert settings["retention.bytes"].source == "default"
    altered = await call(
        channel,
        ADMIN + "AlterTopic",
        admin_pb2.AlterTopicRequest(name="t", partitions=3, delete_config=["retention.ms"]),
        admin_pb2.AlterTopicResponse,
    )
    assert len(altered.topic.partitions) == 3
    await append(edge, b"a", b"b", topic="t")
    described = await call(
        channel,
        ADMIN + "DescribeTopics",
        admin_pb2.DescribeTopicsRequest(names=["t", "absent"]),
        admin_pb2.DescribeTopicsResponse,
    )
    assert described.topics[0].partitions[0].end_offset == 2
    assert described.topics[0].partitions[0].size_bytes > 0
    assert "synced before" in described.topics[0].durability
    assert described.topics[1].error.code == ErrorCode.UNKNOWN_TOPIC
    trimmed = await call(
        channel,
        ADMIN + "TrimTopic",
        admin_pb2.TrimTopicRequest(
            name="t",
            partitions=[
                admin_pb2.TrimPartition(partition=0, before_offset=-1),
                admin_pb2.TrimPartition(partition=8, before_offset=1),
            ],
        ),
        admin_pb2.TrimTopicResponse,
    )
    assert [(p.start_offset, p.error.code) for p in trimmed.partitions] == [
        (2, 0),
        (-1, ErrorCode.UNKNOWN_PARTITION),
    ]
    compacted = await call(
        channel,
        ADMIN + "CompactTopic",
        admin_pb2.CompactTopicRequest(name="t", partitions=[0, 8], now=True, wait_ms=60_000),
        admin_pb2.CompactTopicResponse,
    )
    assert [(p.partition, p.done, p.error.code) for p in compacted.partitions] == [
        (0, True, 0),
        (8, True, ErrorCode.UNKNOWN_PARTITION),
    ]
    assert compacted.partitions[0].outcome == "now=True wait_ms=20000"
    request = admin_pb2.DeleteTopicRequest(name="t")
    deleted = await call(channel, ADMIN + "DeleteTopic", request, admin_pb2.DeleteTopicResponse)
    assert deleted.topic_id == created.topic.topic_id
    with pytest.raises(UnknownTopicError):
        await call(channel, ADMIN + "DeleteTopic", request, admin_pb2.DeleteTopicResponse)


async def test_a_topic_that_is_only_checked_does_not_come_into_being(edge: Serving) -> None:
    request = admin_pb2.CreateTopicRequest(name="t", partitions=4, validate_only=True)
    answer = await call(edge.channel, ADMIN + "CreateTopic", request, admin_pb2.CreateTopicResponse)
    assert (len(answer.topic.partitions), answer.topic.topic_id) == (4, b"")
    assert not edge.broker.image.topics


async def test_the_node_tells_its_cluster_and_configuration(edge: Serving) -> None:
    cluster = await call(
        edge.channel, ADMIN + "DescribeCluster", b"", admin_pb2.DescribeClusterResponse
    )
    assert (cluster.node_id, cluster.controller_id, len(cluster.nodes)) == (1, 1, 1)
    config = await call(
        edge.channel, ADMIN + "DescribeConfig", b"", admin_pb2.DescribeConfigResponse
    )
    names = [entry.name for entry in config.entries]
    assert names == sorted(names) and "listeners.grpc" in names
    assert all(entry.doc for entry in config.entries)
