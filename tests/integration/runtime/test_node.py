"""A whole node without its edge: starts, stops, deletions, disks that are full or were touched."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from logd_wire import WireRecord, decode_batch, encode_batch, iter_headers
from logd_wire.errors import (
    ConfigError,
    DataLossError,
    LogdError,
    NotLeaderError,
    ShuttingDownError,
    UnknownTopicError,
)

from logd.model.ids import TopicPartitionId
from logd.model.node_config import load_node_config
from logd.runtime.adapters import SystemClock, SystemRng, TaskSpawn, ThreadDisk
from logd.runtime.broker import Broker
from logd.runtime.node import Node
from logd.runtime.world import Ports
from logd.storage import Files, MemoryFiles, RealFiles


@asynccontextmanager
async def node_on(files: Files, **flags: str) -> AsyncIterator[Node]:
    config, entries = load_node_config(flags={"node.data_dir": "unused", **flags})
    ports = Ports(
        files=files,
        disk=ThreadDisk("disk"),
        metadata_disk=ThreadDisk("metadata"),
        clock=SystemClock(),
        rng=SystemRng(),
        spawn=TaskSpawn,
    )
    node = Node(config, entries, ports, version="test")
    try:
        await node.start()
        yield node
        await node.stop()
    finally:
        await ports.disk.close()
        await ports.metadata_disk.close()


def batch(*values: bytes) -> bytes:
    return encode_batch(
        [WireRecord(number, 1, None, value, ()) for number, value in enumerate(values)]
    )


async def put(broker: Broker, topic: str, *values: bytes, partition: int = 0) -> int:
    topic_id = broker.image.topic_named(topic).topic_id
    outcome = await broker.produce(topic_id, partition, batch(*values), leader_epoch=-1, acks=-1)
    return outcome.base_offset


async def read(broker: Broker, topic: str, partition: int = 0, offset: int = 0) -> list[bytes]:
    topic_id = broker.image.topic_named(topic).topic_id
    chunk = await broker.read(topic_id, partition, offset, bytes_max=1 << 20, wait_ms=0)
    return [
        record.value or b""
        for position, _ in iter_headers(chunk.records)
        for record in decode_batch(chunk.records, position)
    ]


def partition_folder(root: Path, node: Node, topic: str, partition: int = 0) -> Path:
    topic_id = node.broker.image.topic_named(topic).topic_id
    return root / "partitions" / f"{topic_id.hex()}-{partition}"


async def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    async with node_on(RealFiles(tmp_path)) as node:
        await node.broker.create_topic("orders", partitions=2)
        assert await put(node.broker, "orders", b"a", b"b") == 0
        identity = node.broker.identity.cluster_id
    async with node_on(RealFiles(tmp_path)) as node:
        assert node.broker.identity.cluster_id == identity
        assert await read(node.broker, "orders") == [b"a", b"b"]
        assert await put(node.broker, "orders", b"c") == 2


async def test_two_nodes_cannot_share_a_folder(tmp_path: Path) -> None:
    async with node_on(RealFiles(tmp_path)):
        with pytest.raises(ConfigError, match="in use"):
            async with node_on(RealFiles(tmp_path)):
                pass


async def test_a_partition_whose_folder_is_gone_says_so_and_goes_on(tmp_path: Path) -> None:
    async with node_on(RealFiles(tmp_path)) as node:
        await node.broker.create_topic("orders", partitions=2)
        await put(node.broker, "orders", b"lost", b"lost too")
        await put(node.broker, "orders", b"kept", partition=1)
        folder = partition_folder(tmp_path, node, "orders")
    shutil.rmtree(folder)
    async with node_on(RealFiles(tmp_path)) as node:
        topic_id = node.broker.image.topic_named("orders").topic_id
        stats = await node.broker.describe_partition(topic_id, 0)
        assert stats.damage, "what was durable and is gone is damage"
        with pytest.raises(DataLossError) as caught:
            await read(node.broker, "orders")
        assert caught.value.next_offset == 2
        assert await put(node.broker, "orders", b"new") == 2, "no offset is given out twice"
        assert await read(node.broker, "orders", offset=2) == [b"new"]
        assert await read(node.broker, "orders", partition=1) == [b"kept"]


async def test_what_the_metadata_does_not_know_is_set_aside(tmp_path: Path) -> None:
    async with node_on(RealFiles(tmp_path)):
        pass
    stranger = tmp_path / "partitions" / ("ab" * 16 + "-0")
    stranger.mkdir()
    (stranger / "precious").write_bytes(b"data")
    async with node_on(RealFiles(tmp_path)):
        pass
    assert not stranger.exists()
    kept = list((tmp_path / "quarantine").rglob("precious"))
    assert [path.read_bytes() for path in kept] == [b"data"]


async def test_a_deleted_topic_goes_at_once_and_its_files_after_the_delay(tmp_path: Path) -> None:
    async with node_on(RealFiles(tmp_path)) as node:
        broker = node.broker
        await broker.create_topic("orders", config={"file.delete.delay.ms": "200"})
        await put(broker, "orders", b"a")
        topic_id = broker.image.topic_named("orders").topic_id
        folder = partition_folder(tmp_path, node, "orders")
        await broker.delete_topic("orders")
        with pytest.raises(UnknownTopicError):
            await broker.produce(topic_id, 0, batch(b"b"), leader_epoch=-1, acks=-1)
        assert folder.exists()
        async with asyncio.timeout(10):
            while folder.exists():
                await asyncio.sleep(0.02)
        await broker.create_topic("orders")
        assert await put(broker, "orders", b"fresh") == 0
    assert not list((tmp_path / "quarantine").iterdir())


@pytest.mark.parametrize("flush", ["none", "interval:20ms"])
async def test_relaxed_topics_are_read_before_they_are_synced(tmp_path: Path, flush: str) -> None:
    async with node_on(RealFiles(tmp_path)) as node:
        await node.broker.create_topic("fast", config={"flush": flush})
        for number in range(20):
            assert await put(node.broker, "fast", b"%d" % number) == number
            assert (await read(node.broker, "fast", offset=number))[-1] == b"%d" % number
    async with node_on(RealFiles(tmp_path)) as node:
        assert len(await read(node.broker, "fast")) == 20


async def test_a_change_of_flush_takes_effect(tmp_path: Path) -> None:
    async with node_on(RealFiles(tmp_path)) as node:
        broker = node.broker
        topic = await broker.create_topic("orders", config={"flush": "none"})
        outcome = await broker.produce(topic.topic_id, 0, batch(b"a"), leader_epoch=-1, acks=-1)
        assert not outcome.synced
        await broker.alter_topic("orders", set_config={"flush": "batch"}, delete_config=[])
        assert await read(broker, "orders") == [b"a"]
        outcome = await broker.produce(topic.topic_id, 0, batch(b"b"), leader_epoch=-1, acks=-1)
        assert outcome.synced


@pytest.mark.parametrize("before", ["batch", "none", "interval:1h"])
async def test_a_topic_changed_to_an_interval_is_synced_by_it(tmp_path: Path, before: str) -> None:
    async with node_on(RealFiles(tmp_path)) as node:
        broker = node.broker
        topic = await broker.create_topic("orders", config={"flush": before})
        await broker.alter_topic("orders", set_config={"flush": "interval:10ms"}, delete_config=[])
        await put(broker, "orders", b"a")
        partition = node._partitions.get(TopicPartitionId(topic.topic_id, 0))
        assert partition is not None
        async with asyncio.timeout(5):
            while partition.view.durable_end_offset == 0:
                await asyncio.sleep(0.01)


async def test_retention_runs_by_itself(tmp_path: Path) -> None:
    flags = {"retention.check.interval.ms": "20"}
    async with node_on(RealFiles(tmp_path), **flags) as node:
        broker = node.broker
        config = {"retention.bytes": "4096", "segment.bytes": "1024", "retention.ms": "-1"}
        topic = await broker.create_topic("orders", config=config)
        for number in range(40):
            await put(broker, "orders", b"%d" % number * 200)
        async with asyncio.timeout(10):
            while (await broker.describe_partition(topic.topic_id, 0)).start_offset == 0:
                await asyncio.sleep(0.02)
        stats = await broker.describe_partition(topic.topic_id, 0)
        assert stats.size_bytes >= 4096, "never below retention.bytes"


async def test_what_is_new_is_refused_while_stopping(tmp_path: Path) -> None:
    async with node_on(RealFiles(tmp_path)) as node:
        topic = await node.broker.create_topic("orders")
        accepted = node.broker.produce(topic.topic_id, 0, batch(b"a"), leader_epoch=-1, acks=-1)
        node.broker.begin_stop()
        with pytest.raises(ShuttingDownError):
            await node.broker.create_topic("more")
        with pytest.raises(ShuttingDownError):
            await put(node.broker, "orders", b"b")
        assert (await accepted).base_offset == 0, "what was accepted is finished"


async def test_a_full_disk_at_an_unclean_start_stops_no_node() -> None:
    files = MemoryFiles(capacity=16 << 20)
    flags = {"disk.free_bytes_min": "0"}
    async with node_on(files, **flags) as node:
        broker = node.broker
        await broker.create_topic("orders", partitions=2, config={"flush": "none"})
        for _ in range(40):
            await put(broker, "orders", b"x" * 100_000)
        # As kill -9 leaves it: written, not synced, no clean stop.
        files.kill()
        node.failure = OSError("killed")
    files.capacity = 8 << 20
    async with node_on(files, **flags) as node:
        broker = node.broker
        assert await put(broker, "orders", b"other", partition=1) >= 0
        with pytest.raises(NotLeaderError, match="orders-0 is not open on this node yet") as caught:
            await put(broker, "orders", b"y")
        assert caught.value.retriable
        files.capacity = 64 << 20
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await put(broker, "orders", b"y") == 40
                    break
                except LogdError:
                    await asyncio.sleep(0.05)
