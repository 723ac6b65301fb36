"""The leader's end of replication: what followers are sent.

    position --checked against the log--> waiting --there is more--> chunk --> (next position)
    position of a leadership not begun here --> early --begun, or another leads--> position

A position is an acknowledgement, which the partition's leadership hears at once, and a request.
News without records, a high watermark mostly, waits a moment for records to travel with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from logd_wire.errors import ErrorCode, LogdError, NotLeaderError
from logd_wire.limits import MIB

from logd.model.ids import NodeId, TopicPartitionId
from logd.replication import Diverges, TooLow, check_position
from logd.runtime.partition import Partition
from logd.runtime.ports import Clock, Disk
from logd.runtime.replica_frames import (
    EpochEnd,
    ReplicaChunk,
    ReplicaPosition,
    ReplicaSource,
)
from logd.runtime.signal import take_wake
from logd.storage import LogView

#: Records of one partition in one frame, and of one frame; a batch may exceed them.
CHUNK_BYTES: Final = MIB
FRAME_BYTES: Final = 4 * MIB
#: How long news without records waits for records.
NEWS_DELAY_MS: Final = 50

#: The partition of a key; None: it is not on this node.
FindPartition = Callable[[TopicPartitionId], Partition | None]


class _News(NamedTuple):
    """Of one leadership: a follower forgets with it what it was told."""

    leader_epoch: int
    high_watermark: int
    start_offset: int
    replicated_end: int


_NOTHING_TOLD: Final = _News(-1, -1, -1, -1)


@dataclass(slots=True)
class _Asked:
    """A position that waits for its chunk."""

    position: ReplicaPosition
    partition: Partition
    #: What the follower was told last.
    told: _News


@dataclass(frozen=True, slots=True)
class _Read:
    asked: _Asked
    view: LogView
    end_offset: int


class ReplicaService:
    """Implements `ReplicaServer` over the partitions of this node."""

    def __init__(self, find: FindPartition, disk: Disk, clock: Clock) -> None:
        self._find = find
        self._disk = disk
        self._clock = clock

    async def serve(self, follower: NodeId, source: ReplicaSource) -> None:
        session = ReplicaSession(follower, self._find, self._disk, self._clock)
        writer = asyncio.ensure_future(_write(session, source))
        # A broken stream ends both ways; an error of the writer ends the reader.
        writer.add_done_callback(lambda _: session.close())
        try:
            await _read(session, source, writer)
        finally:
            session.close()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)


async def _read(
    session: ReplicaSession, source: ReplicaSource, writer: asyncio.Future[None]
) -> None:
    while not writer.done():
        positions = await source.read()
        if positions is None:
            return
        for position in positions:
            session.take(position)


async def _write(session: ReplicaSession, source: ReplicaSource) -> None:
    while chunks := await session.next_chunks():
        await source.write(chunks)


class ReplicaSession:
    """One follower's stream. All methods are called on the event loop."""

    def __init__(self, follower: NodeId, find: FindPartition, disk: Disk, clock: Clock) -> None:
        self._follower = follower
        self._find = find
        self._disk = disk
        self._clock = clock
        #: What waits for its chunk; those served last are last.
        self._asked: dict[TopicPartitionId, _Asked] = {}
        #: What came before the leadership that it names has begun here.
        self._early: dict[TopicPartitionId, ReplicaPosition] = {}
        self._told: dict[TopicPartitionId, _News] = {}
        self._listening: dict[TopicPartitionId, tuple[Partition, Callable[[], None]]] = {}
        #: Partitions where something happened since they were looked at. Dicts keep the order.
        self._touched: dict[TopicPartitionId, None] = {}
        self._news: dict[TopicPartitionId, None] = {}
        self._news_due_ms = -1
        self._ready: list[ReplicaChunk] = []
        self._wake = asyncio.Event()
        self._closed = False

    def close(self) -> None:
        """Forget everything; `next_chunks` then returns an empty list."""
        if self._closed:
            return
        self._closed = True
        for key, (found, _) in list(self._listening.items()):
            found.follower_gone(self._follower)
            self._unlisten(key)
        self._asked.clear()
        self._early.clear()
        self._wake.set()

    # --- positions ---------------------------------------------------------------------------

    def take(self, position: ReplicaPosition) -> None:
        """Take a position in: an acknowledgement, and a request for what comes next."""
        if self._closed:
            return
        key = position.partition
        self._early.pop(key, None)
        if position.stop:
            self._asked.pop(key, None)
            self._told.pop(key, None)
            self._unlisten(key)
            return
        expected = self._find(key)
        if expected is not None and expected.may_begin_to_lead(position.leader_epoch):
            self._asked.pop(key, None)
            self._early[key] = position
            self._listen(key, expected)
            return
        try:
            found = self._led(position)
        except LogdError as error:
            self._asked.pop(key, None)
            self._answer(ReplicaChunk(key, position.leader_epoch, error=error))
            return
        refusal = _check(position, found)
        if refusal is not None:
            self._asked.pop(key, None)
            self._answer(refusal)
            return
        self._listen(key, found)
        self._asked[key] = _Asked(position, found, self._told.get(key, _NOTHING_TOLD))
        self._touch(key)
        found.follower_at(self._follower, position.node_epoch, position.end_offset)

    def _led(self, position: ReplicaPosition) -> Partition:
        found = self._find(position.partition)
        if found is None or not found.leads(position.leader_epoch):
            raise NotLeaderError(
                f"partition {position.partition} is not led here in epoch {position.leader_epoch}",
                code=ErrorCode.FENCED_LEADER_EPOCH,
            )
        if self._follower not in found.state.replicas:
            raise NotLeaderError(f"node {self._follower} has no replica of {found.name}")
        return found

    def _answer(self, chunk: ReplicaChunk) -> None:
        self._ready.append(chunk)
        self._wake.set()

    def _listen(self, key: TopicPartitionId, found: Partition) -> None:
        listening = self._listening.get(key)
        if listening is not None and listening[0] is found:
            return
        self._unlisten(key)
        listener = partial(self._touch, key)
        self._listening[key] = (found, listener)
        found.listen(listener)

    def _unlisten(self, key: TopicPartitionId) -> None:
        listening = self._listening.pop(key, None)
        if listening is not None:
            listening[0].unlisten(listening[1])

    def _touch(self, key: TopicPartitionId) -> None:
        self._touched[key] = None
        self._wake.set()

    # --- chunks ------------------------------------------------------------------------------

    async def next_chunks(self) -> Sequence[ReplicaChunk]:
        """Wait for records, news or refusals; an empty list means that the session is closed."""
        while not self._closed:
            self._wake.clear()
            chunks, self._ready = self._ready, []
            reads = self._look()
            if reads:
                results = await self._disk.read(partial(_read_all, reads))
                chunks += [
                    chunk
                    for read, result in zip(reads, results, strict=True)
                    if (chunk := self._chunk(read, result)) is not None
                ]
            chunks += self._due_news()
            if chunks and not self._closed:
                return chunks
            if not self._touched:
                await self._wait()
        return []

    async def _wait(self) -> None:
        await take_wake(self._wake, self._news_due_ms if self._news else None, self._clock)

    def _look(self) -> list[_Read]:
        """Go through what was touched: what is to be read now, as much as a frame holds."""
        reads: list[_Read] = []
        room = FRAME_BYTES
        while self._touched and room > 0:
            key = next(iter(self._touched))
            del self._touched[key]
            early = self._early.get(key)
            if early is not None:
                self.take(early)
            asked = self._asked.get(key)
            if asked is None:
                continue
            if not asked.partition.leads(asked.position.leader_epoch):
                del self._asked[key]
                self._ready.append(_not_led(asked))
                continue
            view = asked.partition.view
            if asked.position.end_offset < view.written_end_offset:
                reads.append(_Read(asked, view, view.written_end_offset))
                room -= CHUNK_BYTES
            elif asked.told != _news_of(asked):
                if not self._news:
                    self._news_due_ms = self._clock.monotonic_ms() + NEWS_DELAY_MS
                self._news[key] = None
        if self._ready:
            self._wake.set()
        return reads

    def _due_news(self) -> list[ReplicaChunk]:
        if not self._news or self._clock.monotonic_ms() < self._news_due_ms:
            return []
        chunks = []
        for key in self._news:
            asked = self._asked.get(key)
            if asked is not None and asked.told != _news_of(asked):
                chunks.append(self._told_chunk(asked, b"", -1))
        self._news.clear()
        return chunks

    def _chunk(self, read: _Read, result: tuple[bytes, int] | LogdError) -> ReplicaChunk | None:
        asked = read.asked
        if self._asked.get(asked.position.partition) is not asked:
            # Another position came while the disk was read.
            return None
        if isinstance(result, LogdError):
            del self._asked[asked.position.partition]
            return ReplicaChunk(asked.position.partition, asked.position.leader_epoch, error=result)
        return self._told_chunk(asked, *result)

    def _told_chunk(self, asked: _Asked, records: bytes, append_time_ms: int) -> ReplicaChunk:
        key = asked.position.partition
        del self._asked[key]
        if records:
            self._news.pop(key, None)
        told = self._told[key] = _news_of(asked)
        return ReplicaChunk(
            key,
            asked.position.leader_epoch,
            records=records,
            append_time_ms=append_time_ms,
            high_watermark=told.high_watermark,
            log_start_offset=told.start_offset,
            replicated_end=told.replicated_end,
            forgotten_end=asked.partition.forgotten_end,
        )


def _news_of(asked: _Asked) -> _News:
    """What there is to tell in the leadership of the position, which may be over."""
    partition = asked.partition
    return _News(
        asked.position.leader_epoch,
        partition.high_watermark,
        partition.view.start_offset,
        # Only what compacts has a use for it.
        partition.replicated_end if partition.config.compacts else 0,
    )


def _not_led(asked: _Asked) -> ReplicaChunk:
    error = NotLeaderError(f"{asked.partition.name} is not led here any more")
    return ReplicaChunk(asked.position.partition, asked.position.leader_epoch, error=error)


def _check(position: ReplicaPosition, found: Partition) -> ReplicaChunk | None:
    """What a follower is told whose log does not lead up to what comes next here."""
    view = found.view
    verdict = check_position(
        view.end_offset_for_epoch,
        view.start_offset,
        view.written_end_offset,
        position.end_offset,
        position.last_epoch,
    )
    chunk = partial(
        ReplicaChunk,
        position.partition,
        position.leader_epoch,
        high_watermark=found.high_watermark,
        log_start_offset=view.start_offset,
    )
    match verdict:
        case Diverges():
            return chunk(diverging=EpochEnd(verdict.epoch, verdict.end_offset))
        case TooLow():
            return chunk(too_low=True)
        case _:
            return None


def _read_all(reads: list[_Read]) -> list[tuple[bytes, int] | LogdError]:
    """Read one chunk of each; on a reader thread."""
    results: list[tuple[bytes, int] | LogdError] = []
    for read in reads:
        offset = read.asked.position.end_offset
        try:
            found = read.view.read(offset, bytes_max=CHUNK_BYTES, limit_offset=read.end_offset)
            results.append((found.records, read.view.append_time_at(offset)))
        except LogdError as error:
            results.append(error)
    return results
