"""What one fetch stream is given: in order, within its credit and its bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from logd_wire import WireRecord, decode_batch, encode_batch, iter_headers, read_header
from logd_wire.errors import (
    InvalidRequestError,
    OffsetOutOfRangeError,
    UnknownTopicError,
)

from logd.metadata import PartitionImage
from logd.model.ids import LeaderEpoch, NodeId, TopicId, TopicPartitionId
from logd.model.topic_config import parse_topic_config
from logd.observe import ApiMeter, Traffic
from logd.runtime.budget import ByteBudget
from logd.runtime.fetch_session import RESERVE_BYTES, FetchFrame, FetchSession
from logd.runtime.partition import Partition
from logd.storage import LogConfig, MemoryFiles, PartitionLog
from tests.support.loops import settle
from tests.support.partitions import alone

T = TypeVar("T")
TOPIC = TopicId(b"t" * 16)
NODE = NodeId(1)


class InlineDisk:
    """Reads run at once, or when the test lets them."""

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] | None = None

    def read(self, work: Callable[[], T]) -> Awaitable[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def run() -> None:
            if not future.done():
                future.set_result(work())

        if self.held is None:
            run()
        else:
            self.held.append(run)
        return future


class Node:
    """Partitions on memory files, and sessions over them."""

    def __init__(self, budget_bytes: int = 1_000_000) -> None:
        self.files = MemoryFiles()
        self.disk = InlineDisk()
        self.budget = ByteBudget(budget_bytes)
        self.now_ms = 0
        self.traffic, self.meter = Traffic(), ApiMeter()
        self.partitions: dict[TopicPartitionId, Partition] = {}

    def partition(self, number: int) -> Partition:
        key = TopicPartitionId(TOPIC, number)
        found = self.partitions[key] = Partition(
            key=key,
            topic="orders",
            log=PartitionLog.create(self.files, f"log-{number}", LogConfig()),
            config=parse_topic_config({}),
            high_watermark=0,
            around=alone(NODE),
            traffic=self.traffic,
        )
        found.follow(PartitionImage(number, NODE, LeaderEpoch(0), (NODE,), (NODE,), 0), {NODE: 1})
        return found

    def session(self) -> FetchSession:
        disk: Any = self.disk
        clock: Any = SimpleNamespace(
            monotonic_ms=lambda: self.now_ms, monotonic_ns=lambda: self.now_ms * 1_000_000
        )
        return FetchSession(
            find=self._find,
            check=Partition.check_readable,
            disk=disk,
            clock=clock,
            budget=self.budget,
            meter=self.meter,
        )

    def _find(self, key: TopicPartitionId, _leader_epoch: int) -> Partition:
        if key not in self.partitions:
            raise UnknownTopicError("no such partition")
        return self.partitions[key]


def put(partition: Partition, *, records: int = 1, size: int = 10) -> None:
    """Append one batch and make it durable, as the disk driver does."""
    batch = encode_batch(
        [WireRecord(number, 1_000, None, b"v" * size, ()) for number in range(records)]
    )
    partition.log.append(batch, read_header(batch), leader_epoch=0, now_ms=1_000)
    partition.appended_bytes += len(batch)
    point = partition.log.prepare_sync()
    assert point is not None
    point.run()
    partition.log.complete_sync(point)
    partition.published()


def offsets(frames: list[FetchFrame]) -> list[int]:
    return [
        record.offset
        for frame in frames
        for position, _ in iter_headers(frame.records)
        for record in decode_batch(frame.records, position)
    ]


async def read(session: FetchSession) -> list[FetchFrame]:
    frames = await session.next_frames()
    session.sent()
    return frames


async def test_everything_is_pushed_in_order_and_then_what_comes() -> None:
    node = Node()
    partition = node.partition(0)
    put(partition, records=3)
    session = node.session()
    session.add(7, TOPIC, 0, 0, -1)
    session.grant(1_000_000)
    frames = await read(session)
    assert offsets(frames) == [0, 1, 2]
    assert [(frame.subscription_id, frame.high_watermark) for frame in frames] == [(7, 3)]
    waiting = asyncio.ensure_future(session.next_frames())
    await settle()
    assert not waiting.done()
    put(partition)
    assert offsets(await waiting) == [3]


async def test_a_reader_at_the_end_is_told_so_once() -> None:
    node = Node()
    put(node.partition(0))
    session = node.session()
    session.add(1, TOPIC, 0, 1, -1)
    frames = await read(session)
    assert [(frame.records, frame.high_watermark) for frame in frames] == [(b"", 1)]
    waiting = asyncio.ensure_future(session.next_frames())
    await settle()
    assert not waiting.done()
    session.close()
    assert await waiting == []


async def test_pushes_are_counted_and_news_are_not() -> None:
    node = Node()
    partition = node.partition(0)
    put(partition, records=3, size=20)
    session = node.session()
    session.add(1, TOPIC, 0, 0, -1)
    session.grant(1_000_000)
    frames = await session.next_frames()
    node.now_ms += 4
    assert node.meter.ok == 0
    session.sent()
    assert (node.meter.ok, node.meter.ok_durations.sum_ns) == (1, 4_000_000)
    session.add(2, TOPIC, 0, 3, -1)
    [news] = await read(session)
    assert (news.subscription_id, news.records) == (2, b"")
    assert node.meter.ok == 1
    session.add(3, TOPIC, 9, 0, -1)
    await read(session)
    assert node.meter.failures == {"UNKNOWN_TOPIC": 1}
    traffic = node.traffic
    assert (traffic.fetched_records, traffic.fetched_bytes) == (3, len(frames[0].records))


async def test_without_credit_nothing_is_pushed() -> None:
    node = Node()
    put(node.partition(0))
    session = node.session()
    session.add(1, TOPIC, 0, 0, -1)
    waiting = asyncio.ensure_future(session.next_frames())
    await settle()
    assert not waiting.done()
    session.grant(1)
    assert offsets(await waiting) == [0], "one byte of credit buys one whole batch"
    session.sent()
    put(node.partitions[TopicPartitionId(TOPIC, 0)])
    waiting = asyncio.ensure_future(session.next_frames())
    await settle()
    assert not waiting.done(), "the batch was charged in full"
    session.close()
    await waiting


async def test_errors_end_the_subscription_and_nothing_else() -> None:
    node = Node()
    put(node.partition(0))
    session = node.session()
    session.grant(1_000_000)
    session.add(1, TOPIC, 0, 99, -1)
    session.add(2, TOPIC, 5, 0, -1)
    session.add(3, TOPIC, 0, 0, -1)
    frames = await read(session)
    by_id = {frame.subscription_id: frame for frame in frames}
    assert isinstance(by_id[1].error, OffsetOutOfRangeError)
    assert isinstance(by_id[2].error, UnknownTopicError)
    assert by_id[3].error is None
    assert offsets([by_id[3]]) == [0]
    session.add(1, TOPIC, 0, 0, -1)
    assert offsets(await read(session)) == [0]


async def test_a_subscription_id_in_use_is_refused() -> None:
    node = Node()
    node.partition(0)
    session = node.session()
    session.add(1, TOPIC, 0, 0, -1)
    with pytest.raises(InvalidRequestError):
        session.add(1, TOPIC, 0, 0, -1)


async def test_what_was_removed_while_the_disk_was_read_is_not_sent() -> None:
    node = Node()
    put(node.partition(0))
    node.disk.held = []
    session = node.session()
    session.grant(1_000_000)
    session.add(1, TOPIC, 0, 0, -1)
    waiting = asyncio.ensure_future(session.next_frames())
    await settle()
    session.remove(1)
    node.disk.held.pop()()
    await settle()
    assert not waiting.done()
    session.close()
    await waiting
    assert node.budget.held == 0


async def test_many_partitions_are_served_in_turn() -> None:
    node = Node()
    session = node.session()
    session.grant(100_000_000)
    for number in range(50):
        partition = node.partition(number)
        for _ in range(4):
            put(partition, size=20_000)
        session.add(number, TOPIC, number, 0, -1)
    seen: dict[int, list[int]] = {}
    while sum(map(len, seen.values())) < 200:
        for frame in await read(session):
            seen.setdefault(frame.subscription_id, []).extend(offsets([frame]))
        counts = [len(seen.get(number, [])) for number in range(50)]
        assert max(counts) - min(counts) <= 2, "nobody is served twice before all were once"
    assert all(found == [0, 1, 2, 3] for found in seen.values())


async def test_a_stalled_reader_keeps_its_bytes_and_others_go_on_with_their_reserve() -> None:
    node = Node(budget_bytes=16 * RESERVE_BYTES)
    partition = node.partition(0)
    for _ in range(40):
        put(partition, size=60_000)
    stalled = [node.session() for _ in range(20)]
    for session in stalled:
        session.add(1, TOPIC, 0, 0, -1)
        for _ in range(3):
            session.grant(100_000_000)
            await session.next_frames()
            session.sent()
        await session.next_frames()
    assert RESERVE_BYTES < node.budget.held <= node.budget.bytes_max
    fresh = node.session()
    fresh.grant(100_000_000)
    fresh.add(1, TOPIC, 0, 0, -1)
    found: list[int] = []
    while len(found) < 40:
        found += offsets(await read(fresh))
    assert found == list(range(40))
    for session in stalled:
        session.close()
    assert node.budget.held == 0


async def test_a_reader_that_never_grants_again_holds_no_more_than_its_reserve() -> None:
    node = Node()
    partition = node.partition(0)
    for _ in range(40):
        put(partition, size=60_000)
    session = node.session()
    session.grant(1 << 40)
    session.add(1, TOPIC, 0, 0, -1)
    for _ in range(5):
        await session.next_frames()
        assert node.budget.held == 0
        session.sent()
    session.grant(1 << 40)
    for _ in range(3):
        await session.next_frames()
        session.sent()
    await session.next_frames()
    assert node.budget.held > 0, "having shown that it reads, it gets larger frames"


async def test_a_batch_larger_than_the_room_waits_for_it_and_holds_nothing_meanwhile() -> None:
    node = Node(budget_bytes=1_500_000)
    put(node.partition(0), records=10, size=100_000)
    node.budget.try_acquire(1_000_000)
    session = node.session()
    session.grant(10_000_000)
    session.add(1, TOPIC, 0, 0, -1)
    waiting = asyncio.ensure_future(session.next_frames())
    await settle()
    assert not waiting.done()
    assert node.budget.held == 1_000_000
    node.budget.release(1_000_000)
    assert offsets(await waiting) == list(range(10))
    assert 1_000_000 <= node.budget.held <= node.budget.bytes_max
    session.sent()
    assert node.budget.held == 0


async def test_min_bytes_waits_for_more_but_not_for_ever() -> None:
    node = Node()
    partition = node.partition(0)
    session = node.session()
    session.configure(min_bytes=1_000, max_wait_ms=60_000, partition_max_bytes=0)
    session.grant(1_000_000)
    session.add(1, TOPIC, 0, 0, -1)
    await read(session)
    waiting = asyncio.ensure_future(session.next_frames())
    put(partition)
    await settle()
    assert not waiting.done()
    put(partition, size=1_000)
    assert offsets(await waiting) == [0, 1]
    session.sent()
    waiting = asyncio.ensure_future(session.next_frames())
    put(partition)
    await settle()
    assert not waiting.done()
    node.now_ms += 60_000
    session.grant(0)
    assert offsets(await waiting) == [2]
