"""One follower's stream at the leader: positions in, chunks out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from logd_wire import iter_headers
from logd_wire.errors import ErrorCode, NotLeaderError, StorageFailedError

from logd.model.ids import LeaderEpoch, NodeId, TopicId, TopicPartitionId
from logd.runtime.partition import Partition
from logd.runtime.replica_frames import EpochEnd, ReplicaChunk, ReplicaPosition
from logd.runtime.replica_server import CHUNK_BYTES, NEWS_DELAY_MS, ReplicaService, ReplicaSession
from tests.support.loops import settle
from tests.support.partitions import ReplicatedBench, led_by

T = TypeVar("T")
KEY = TopicPartitionId(TopicId(b"t" * 16), 0)


class HeldDisk:
    """Reads run at once, or when the test lets them."""

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] | None = None

    def read(self, work: Callable[[], T]) -> Awaitable[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self.held is None:
            future.set_result(work())
        else:
            self.held.append(lambda: future.set_result(work()))
        return future


class Rig:
    """Node 1 leads one partition; node 2 copies it."""

    def __init__(self) -> None:
        self.bench = ReplicatedBench({"max.message.bytes": "2MiB"})
        self.partition = self.bench.partition
        self.disk = HeldDisk()
        self.found: dict[TopicPartitionId, Partition] = {KEY: self.partition}
        self.session = self.another(2)

    def another(self, follower: int) -> ReplicaSession:
        disk: Any = self.disk
        return ReplicaSession(NodeId(follower), self.found.get, disk, self.clock)

    @property
    def clock(self) -> Any:
        return SimpleNamespace(monotonic_ms=lambda: self.bench.now_ms)

    async def wrote(self, *batches: int, size: int = 10) -> None:
        """Batches of so many records each, durable here."""
        for records in batches:
            self.bench.produce(records, acks=1, size=size)
        await self.bench.synced()

    def at(self, end_offset: int, last_epoch: int = 4, **other: Any) -> None:
        given = {"leader_epoch": LeaderEpoch(4), "node_epoch": 12, **other}
        partition = given.pop("partition", KEY)
        self.session.take(
            ReplicaPosition(partition, end_offset=end_offset, last_epoch=last_epoch, **given)
        )

    def asking(self) -> asyncio.Future[Sequence[ReplicaChunk]]:
        return asyncio.ensure_future(self.session.next_chunks())

    async def chunk(self) -> ReplicaChunk:
        """The only chunk that is there now."""
        async with asyncio.timeout(5):
            [found] = await self.session.next_chunks()
        return found

    async def quiet(self) -> asyncio.Future[Sequence[ReplicaChunk]]:
        """There is nothing to send now; returns who waits for it."""
        waiting = self.asking()
        await settle()
        assert not waiting.done(), waiting.result()
        return waiting


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.bench.lead()
    yield made
    made.session.close()
    await made.bench.spawn.cancel_all()
    assert made.bench.fatal == []


def offsets(chunk: ReplicaChunk) -> list[int]:
    return [header.base_offset for _, header in iter_headers(chunk.records)]


# --- positions -----------------------------------------------------------------------------------


async def test_a_position_is_an_acknowledgement_at_once(rig: Rig) -> None:
    answer = rig.bench.produce()
    await rig.bench.synced()
    rig.bench.followers_at(1, 3)
    rig.at(1)
    assert answer.done(), "before anything is sent to the follower"
    assert rig.partition.high_watermark == 1


async def test_a_position_that_does_not_fit_acknowledges_nothing(rig: Rig) -> None:
    answer = rig.bench.produce()
    await rig.bench.synced()
    rig.bench.followers_at(1, 3)
    rig.at(1, last_epoch=3)
    assert (await rig.chunk()).diverging == EpochEnd(-1, 0)
    rig.at(9)
    assert (await rig.chunk()).diverging == EpochEnd(4, 1)
    rig.at(1, leader_epoch=LeaderEpoch(3))
    assert isinstance((await rig.chunk()).error, NotLeaderError)
    rig.at(1, node_epoch=11)
    assert not answer.done() and rig.partition.high_watermark == 0
    rig.at(1)
    assert answer.done()


async def test_whoever_has_no_replica_or_asks_elsewhere_is_refused(rig: Rig) -> None:
    rig.at(0, -1, leader_epoch=LeaderEpoch(3))
    found = await rig.chunk()
    assert found.error is not None and found.error.code is ErrorCode.FENCED_LEADER_EPOCH
    assert (found.partition, found.leader_epoch) == (KEY, 3)
    unknown = TopicPartitionId(KEY.topic_id, 7)
    rig.at(0, -1, partition=unknown)
    found = await rig.chunk()
    assert found.partition == unknown and isinstance(found.error, NotLeaderError)
    rig.session = rig.another(9)
    rig.at(0, -1)
    found = await rig.chunk()
    assert found.error is not None and "node 9 has no replica of orders-0" in found.error.message


async def test_who_comes_before_a_leadership_has_begun_is_heard_as_soon_as_it_has(
    rig: Rig,
) -> None:
    """Whether this node has only not begun, or has not even heard that it leads."""
    await rig.wrote(1)
    waiting = await rig.quiet()
    rig.at(1, leader_epoch=LeaderEpoch(5))
    rig.bench.followers_at(1, 3)
    assert rig.partition.high_watermark == 0, "nothing is acknowledged to another leadership"
    rig.bench.follow(led_by(1, epoch=5, partition_epoch=1))
    rig.session.take(ReplicaPosition(KEY, LeaderEpoch(5), 12, 1, 4))
    await rig.bench.synced()
    assert not waiting.done()
    rig.bench.followers_at(1, 3)
    assert rig.partition.high_watermark == 1
    await rig.wrote(1)
    [chunk] = await waiting
    assert (chunk.leader_epoch, offsets(chunk), chunk.error) == (5, [1], None)


async def test_who_comes_early_is_refused_once_another_node_leads(rig: Rig) -> None:
    rig.at(0, -1, leader_epoch=LeaderEpoch(5))
    waiting = await rig.quiet()
    rig.bench.follow(led_by(3, epoch=5, partition_epoch=1))
    [chunk] = await waiting
    assert isinstance(chunk.error, NotLeaderError)
    assert chunk.leader_epoch == 5
    await rig.quiet()


async def test_who_comes_early_and_goes_is_forgotten(rig: Rig) -> None:
    rig.at(0, -1, leader_epoch=LeaderEpoch(5))
    waiting = await rig.quiet()
    rig.at(0, -1, leader_epoch=LeaderEpoch(5), stop=True)
    await rig.bench.lead(led_by(1, epoch=5, partition_epoch=1))
    await rig.wrote(1)
    await settle()
    assert not waiting.done()
    assert rig.partition._listeners == {}


async def test_the_newest_of_early_positions_counts(rig: Rig) -> None:
    await rig.wrote(1, 1)
    rig.at(0, -1, leader_epoch=LeaderEpoch(5))
    rig.at(1, leader_epoch=LeaderEpoch(5))
    waiting = await rig.quiet()
    await rig.bench.lead(led_by(1, epoch=5, partition_epoch=1))
    assert offsets((await waiting)[0]) == [1]


# --- records -------------------------------------------------------------------------------------


async def test_a_chunk_comes_for_a_position_and_for_nothing_else(rig: Rig) -> None:
    await rig.wrote(2, 1)
    waiting = await rig.quiet()
    rig.at(0, -1)
    [chunk] = await waiting
    assert offsets(chunk) == [0, 2]
    assert (chunk.partition, chunk.leader_epoch, chunk.append_time_ms) == (KEY, 4, 1_000)
    await rig.wrote(1)
    waiting = await rig.quiet()
    rig.at(3)
    assert offsets((await waiting)[0]) == [3]


async def test_records_are_sent_before_they_are_durable_here(rig: Rig) -> None:
    rig.at(0, -1)
    waiting = await rig.quiet()
    rig.bench.produce()
    await settle()
    assert len(rig.bench.disk.syncs) == 1 and rig.partition.view.durable_end_offset == 0
    assert waiting.done(), "the follower syncs at the same time"
    assert offsets(waiting.result()[0]) == [0]


async def test_who_waits_is_woken_by_what_is_written(rig: Rig) -> None:
    rig.at(0, -1)
    waiting = await rig.quiet()
    await rig.wrote(1)
    [chunk] = await waiting
    assert offsets(chunk) == [0]


async def test_the_newest_position_counts(rig: Rig) -> None:
    await rig.wrote(1, 1, 1)
    rig.disk.held = []
    rig.at(0, -1)
    waiting = await rig.quiet()
    rig.at(2)
    [read] = rig.disk.held
    rig.disk.held = None
    read()
    [chunk] = await waiting
    assert offsets(chunk) == [2], "what was read for the position before is thrown away"


async def test_a_chunk_is_bounded_but_a_batch_may_exceed_it(rig: Rig) -> None:
    rig.bench.free_bytes = 1 << 30
    await rig.wrote(1, 1, 1, size=CHUNK_BYTES * 2 // 5)
    await rig.wrote(3, size=CHUNK_BYTES * 2 // 5)
    rig.at(0, -1)
    assert offsets(await rig.chunk()) == [0, 1]
    rig.at(2)
    assert offsets(await rig.chunk()) == [2]
    rig.at(3)
    assert offsets(await rig.chunk()) == [3]


async def test_what_cannot_be_read_is_told(rig: Rig) -> None:
    await rig.wrote(1)
    broken: Any = SimpleNamespace(
        view=SimpleNamespace(
            start_offset=0,
            written_end_offset=1,
            end_offset_for_epoch=rig.partition.view.end_offset_for_epoch,
            read=_raise,
        ),
        state=rig.partition.state,
        high_watermark=0,
        leader_epoch=4,
        leads=rig.partition.leads,
        may_begin_to_lead=rig.partition.may_begin_to_lead,
        listen=lambda _: None,
        unlisten=lambda _: None,
        follower_at=lambda *_: None,
        follower_gone=lambda _: None,
    )
    rig.found[KEY] = broken
    rig.at(0, -1)
    assert isinstance((await rig.chunk()).error, StorageFailedError)
    await rig.quiet()


def _raise(*_: Any, **__: Any) -> None:
    raise StorageFailedError("segment 0 is damaged")


# --- news ----------------------------------------------------------------------------------------


async def test_news_wait_a_moment_for_records_and_are_told_once(rig: Rig) -> None:
    await rig.wrote(1)
    rig.at(0, -1)
    assert (await rig.chunk()).high_watermark == 0
    rig.at(1)
    waiting = await rig.quiet()
    rig.bench.followers_at(1, 3)
    await settle()
    assert not waiting.done()
    rig.bench.now_ms += NEWS_DELAY_MS
    rig.session._wake.set()
    [chunk] = await waiting
    assert (chunk.records, chunk.high_watermark, chunk.append_time_ms) == (b"", 1, -1)
    rig.at(1)
    rig.bench.now_ms += NEWS_DELAY_MS
    rig.session._wake.set()
    await rig.quiet()


async def test_news_travel_with_records_that_come_in_time(rig: Rig) -> None:
    await rig.wrote(1)
    rig.at(0, -1)
    await rig.chunk()
    rig.at(1)
    rig.bench.followers_at(1, 3)
    waiting = await rig.quiet()
    await rig.wrote(1)
    [chunk] = await waiting
    assert (offsets(chunk), chunk.high_watermark) == ([1], 1)
    rig.bench.now_ms += NEWS_DELAY_MS
    rig.at(2)
    rig.session._wake.set()
    await rig.quiet()


async def test_news_come_by_themselves(rig: Rig) -> None:
    """By the clock, with nobody to wake the session."""
    await rig.wrote(1)
    rig.at(0, -1)
    await rig.chunk()
    loop = asyncio.get_running_loop()
    clock: Any = rig.session._clock
    clock.monotonic_ms = lambda: int(loop.time() * 1000)
    rig.at(1)
    rig.bench.followers_at(1, 3)
    assert (await rig.chunk()).high_watermark == 1


async def test_a_new_leadership_of_the_same_node_tells_its_news_again(rig: Rig) -> None:
    """A follower forgets with the leadership what its leader had told it."""
    await rig.wrote(1)
    rig.bench.followers_at(1, 3)
    rig.at(1)
    waiting = await rig.quiet()
    rig.bench.now_ms += NEWS_DELAY_MS
    rig.session._wake.set()
    assert (await waiting)[0].high_watermark == 1
    await rig.bench.lead(led_by(1, epoch=5, partition_epoch=1))
    rig.at(1, leader_epoch=LeaderEpoch(5))
    waiting = await rig.quiet()
    rig.bench.now_ms += NEWS_DELAY_MS
    rig.session._wake.set()
    async with asyncio.timeout(5):
        assert (await waiting)[0].high_watermark == 1


async def test_what_was_read_in_one_leadership_tells_nothing_of_the_next(rig: Rig) -> None:
    await rig.wrote(1)
    rig.disk.held = []
    rig.at(0, -1)
    waiting = await rig.quiet()
    await rig.bench.lead(led_by(1, epoch=5, partition_epoch=1))
    [read] = rig.disk.held
    rig.disk.held = None
    read()
    assert (await waiting)[0].leader_epoch == 4
    rig.at(1, leader_epoch=LeaderEpoch(5))
    waiting = await rig.quiet()
    rig.bench.now_ms += NEWS_DELAY_MS
    rig.session._wake.set()
    async with asyncio.timeout(5):
        assert (await waiting)[0].leader_epoch == 5


# --- positions that do not fit -------------------------------------------------------------------


async def test_logs_that_part_are_told_where(rig: Rig) -> None:
    await rig.wrote(2)
    await rig.bench.lead(led_by(1, epoch=6, partition_epoch=1))
    await rig.wrote(1)
    rig.at(5, 5, leader_epoch=LeaderEpoch(6))
    chunk = await rig.chunk()
    assert (chunk.diverging, chunk.records, chunk.too_low) == (EpochEnd(4, 2), b"", False)
    rig.at(2, 4, leader_epoch=LeaderEpoch(6))
    assert offsets(await rig.chunk()) == [2]


async def test_who_is_below_the_start_is_told_so(rig: Rig) -> None:
    await rig.wrote(2, 2)
    rig.bench.followers_at(4, 2, 3)
    rig.partition.log.trim(2)
    rig.at(1)
    chunk = await rig.chunk()
    assert chunk.too_low and chunk.diverging is None
    assert (chunk.log_start_offset, chunk.high_watermark) == (2, 4)
    rig.at(2, -1)
    assert offsets(await rig.chunk()) == [2]


# --- ends ----------------------------------------------------------------------------------------


async def test_who_waits_is_told_that_another_node_leads(rig: Rig) -> None:
    rig.at(0, -1)
    waiting = await rig.quiet()
    rig.bench.follow(led_by(3, epoch=5, partition_epoch=1))
    [chunk] = await waiting
    assert isinstance(chunk.error, NotLeaderError)
    assert (chunk.leader_epoch, chunk.records) == (4, b"")
    await rig.quiet()


async def test_a_partition_that_is_not_followed_any_more_is_left_alone(rig: Rig) -> None:
    rig.at(0, -1)
    waiting = await rig.quiet()
    rig.at(0, -1, stop=True)
    await rig.wrote(1)
    await settle()
    assert not waiting.done()
    assert rig.partition._listeners == {}
    rig.at(0, -1)
    assert offsets((await waiting)[0]) == [0]


async def test_a_session_that_is_closed_ends_and_listens_to_nothing(rig: Rig) -> None:
    rig.at(0, -1)
    waiting = await rig.quiet()
    rig.session.close()
    assert await waiting == []
    assert rig.partition._listeners == {}
    rig.at(0, -1)
    assert await rig.session.next_chunks() == []
    assert rig.partition._listeners == {}


class Source:
    """A stream of positions; an exception in it is raised to who reads."""

    def __init__(self, *reads: Sequence[ReplicaPosition] | Exception | None) -> None:
        self.reads = list(reads)
        self.written: list[ReplicaChunk] = []
        self.fail: Exception | None = None
        self.more = asyncio.Event()

    async def read(self) -> Sequence[ReplicaPosition] | None:
        while not self.reads:
            self.more.clear()
            await self.more.wait()
        found = self.reads.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def write(self, chunks: Sequence[ReplicaChunk]) -> None:
        if self.fail is not None:
            raise self.fail
        self.written += chunks


async def test_a_stream_is_served_to_its_end(rig: Rig) -> None:
    disk: Any = rig.disk
    service = ReplicaService(rig.found.get, disk, rig.clock)
    await rig.wrote(1)
    source = Source([ReplicaPosition(KEY, LeaderEpoch(4), 12, 0, -1)])
    serving = asyncio.ensure_future(service.serve(NodeId(2), source))
    await settle()
    assert [offsets(chunk) for chunk in source.written] == [[0]]
    source.reads.append(None)
    source.more.set()
    await serving
    assert rig.partition._listeners == {}


async def test_a_stream_that_breaks_leaves_nothing_behind(rig: Rig) -> None:
    disk: Any = rig.disk
    service = ReplicaService(rig.found.get, disk, rig.clock)
    first = [ReplicaPosition(KEY, LeaderEpoch(4), 12, 0, -1)]
    with pytest.raises(ConnectionError):
        await service.serve(NodeId(2), Source(first, ConnectionError("reset")))
    assert rig.partition._listeners == {}
