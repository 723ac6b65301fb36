"""What one fetch stream reads: subscriptions, credit, and a bounded number of bytes in memory.

    client --add/remove/grant--> FetchSession --frames--> edge --written--> sent()

Every session may hold a small reserve at any time; more comes from the node's shared budget, only
while it is free, and only for readers who have shown that they read: by granting credit again
after they got data. (That the transport took the bytes shows nothing: it buffers.) A reader that
stalls keeps what it holds until its frames are written, so stalled readers can exhaust the shared
part, but never the reserve of the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from logd_wire.errors import InvalidRequestError, LogdError
from logd_wire.limits import BATCH_BYTES_MAX, KIB, MIB

from logd.model.ids import TopicId, TopicPartitionId
from logd.observe import ApiMeter
from logd.runtime.budget import ByteBudget
from logd.runtime.partition import Partition
from logd.runtime.ports import Clock, Disk
from logd.storage import LogView

#: What a session may hold without asking the shared budget.
RESERVE_BYTES = 128 * KIB
FRAME_BYTES_DEFAULT = MIB
MAX_WAIT_MS_DEFAULT = 500
SUBSCRIPTIONS_MAX = 20_000
#: A write that took longer than this shows a slow reader: its next frames are small again.
SLOW_WRITE_MS = 1_000


@dataclass(frozen=True, slots=True)
class FetchFrame:
    """Whole batches of one partition, or the error that ended its subscription."""

    subscription_id: int
    error: LogdError | None
    records: bytes
    high_watermark: int
    log_start_offset: int
    next_offset: int
    leader_epoch: int


@dataclass(slots=True)
class _Subscription:
    id: int
    partition: Partition
    offset: int
    #: High watermark and start offset that the client was told last.
    told: tuple[int, int] = (-1, -1)
    #: `Partition.appended_bytes` when this reader had caught up last.
    seen_bytes: int = 0


class _Read(NamedTuple):
    """One read to do; taken on the loop, done on a reader thread."""

    subscription: _Subscription
    view: LogView
    offset: int
    limit_offset: int


#: Finds the partition that a client names, or raises LogdError.
FindPartition = Callable[[TopicPartitionId, int], Partition]
#: Raises LogdError when a partition may not be read here any more.
CheckPartition = Callable[[Partition], None]


class FetchSession:
    """One stream's reading state. All methods are called on the event loop."""

    def __init__(
        self,
        *,
        find: FindPartition,
        check: CheckPartition,
        disk: Disk,
        clock: Clock,
        budget: ByteBudget,
        meter: ApiMeter,
    ) -> None:
        self._find = find
        self._check = check
        self._disk = disk
        self._clock = clock
        self._budget = budget
        self._meter = meter
        self._subscriptions: dict[int, _Subscription] = {}
        self._failed: list[FetchFrame] = []
        self._credit = 0
        #: Credit granted after data was pushed: so much has been read for sure.
        self._proven_bytes = 0
        self._pushed = False
        self._chunk_bytes = RESERVE_BYTES
        self._borrowed = 0
        self._written_from_ms = 0
        #: When there was something to read for the frames on their way; None: they are only news.
        self._read_from_ns: int | None = None
        self._wake = asyncio.Event()
        self._closed = False
        self.configure(min_bytes=0, max_wait_ms=0, partition_max_bytes=0)

    def configure(self, *, min_bytes: int, max_wait_ms: int, partition_max_bytes: int) -> None:
        """Set how eagerly frames are pushed; zeros mean the defaults (1 B, 500 ms, 1 MiB)."""
        self._min_bytes = min(max(min_bytes, 1), BATCH_BYTES_MAX)
        self._max_wait_ms = max_wait_ms or MAX_WAIT_MS_DEFAULT
        self._frame_bytes_max = min(partition_max_bytes or FRAME_BYTES_DEFAULT, BATCH_BYTES_MAX)

    def add(
        self, subscription_id: int, topic_id: bytes, partition: int, offset: int, leader_epoch: int
    ) -> None:
        """Start reading. A refusal becomes an error frame of this subscription."""
        if subscription_id in self._subscriptions:
            raise InvalidRequestError(
                f"subscription id {subscription_id} is in use on this stream",
                hint="give every subscription of a stream its own id",
            )
        if len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
            raise InvalidRequestError(
                f"this stream has {SUBSCRIPTIONS_MAX} subscriptions, the most there may be",
                hint="open another fetch stream",
            )
        try:
            found = self._find(TopicPartitionId(TopicId(topic_id), partition), leader_epoch)
        except LogdError as error:
            self._failed.append(_error_frame(subscription_id, error, offset))
        else:
            self._subscriptions[subscription_id] = _Subscription(subscription_id, found, offset)
            found.listen(self._wake.set)
        self._wake.set()

    def remove(self, subscription_id: int) -> None:
        """Stop reading; unknown ids are ignored (the subscription may have just failed)."""
        subscription = self._subscriptions.pop(subscription_id, None)
        if subscription is not None:
            self._unlisten(subscription.partition)

    def _unlisten(self, partition: Partition) -> None:
        if all(other.partition is not partition for other in self._subscriptions.values()):
            partition.unlisten(self._wake.set)

    def grant(self, credit_bytes: int) -> None:
        """Allow so many more bytes of record data to be pushed."""
        self._credit += credit_bytes
        if self._pushed:
            self._proven_bytes += credit_bytes
        self._wake.set()

    def close(self) -> None:
        """Give everything back; `next_frames` then returns an empty list at once."""
        self._closed = True
        for subscription in self._subscriptions.values():
            subscription.partition.unlisten(self._wake.set)
        self._subscriptions.clear()
        self._give_back()
        self._wake.set()

    async def next_frames(self) -> list[FetchFrame]:
        """Wait for data, news or errors; an empty list means that the session is closed.

        The bytes returned stay on the node's account until `sent` is called.
        """
        while not self._closed:
            self._wake.clear()
            frames, self._failed = self._failed, []
            frames += self._moved()
            frames += await self._read_ready()
            frames += self._news()
            if frames and not self._closed:
                self._count_failures(frames)
                self._written_from_ms = self._clock.monotonic_ms()
                self._pushed = True
                return frames
            await self._wake.wait()
        # Closed while a read was under way: what it borrowed goes back too.
        self._give_back()
        return []

    def sent(self) -> None:
        """The frames returned last are written: their bytes are off the account."""
        self._give_back()
        if self._read_from_ns is not None:
            self._meter.succeeded(self._clock.monotonic_ns() - self._read_from_ns)
            self._read_from_ns = None
        if self._clock.monotonic_ms() - self._written_from_ms > SLOW_WRITE_MS:
            self._chunk_bytes = RESERVE_BYTES
        else:
            proven = RESERVE_BYTES + self._proven_bytes
            self._chunk_bytes = min(self._chunk_bytes * 2, self._frame_bytes_max, proven)

    def _moved(self) -> list[FetchFrame]:
        """End subscriptions of partitions that may not be read here any more."""
        frames = []
        for subscription in list(self._subscriptions.values()):
            try:
                self._check(subscription.partition)
            except LogdError as error:
                self.remove(subscription.id)
                frames.append(_error_frame(subscription.id, error, subscription.offset))
        return frames

    def _count_failures(self, frames: list[FetchFrame]) -> None:
        for frame in frames:
            if frame.error is not None:
                self._meter.failed(frame.error.code.name)

    def _give_back(self) -> None:
        if self._borrowed:
            self._budget.release(self._borrowed)
            self._borrowed = 0

    async def _read_ready(self) -> list[FetchFrame]:
        ready = self._ready()
        if not ready or self._credit <= 0:
            return []
        if self._min_bytes > 1:
            await self._wait_for_min_bytes()
            ready = self._ready()
        if not ready:
            return []
        self._read_from_ns = self._clock.monotonic_ns()
        room = self._borrow(min(self._chunk_bytes, max(self._credit, 1)))
        while not self._closed:
            reads, share = self._plan(ready, room)
            results = await self._disk.read(partial(_read_all, reads, share))
            size = sum(len(result[0]) for result in results if isinstance(result, tuple))
            if size <= room or self._budget.try_acquire(size - room):
                self._borrowed += max(size - room, 0)
                return self._frames(reads, results)
            # A batch larger than the room. It may not stay in memory unaccounted: let go of it,
            # wait for the bytes, read it again.
            del results
            self._give_back()
            await self._budget.acquire(size)
            self._borrowed = room = size
        return []

    def _plan(self, ready: list[_Subscription], room: int) -> tuple[list[_Read], int]:
        """Share `room` bytes among the partitions that have data; the rest waits its turn."""
        share = max(room // len(ready), min(room, 4 * KIB))
        reads = [
            _Read(item, item.partition.view, item.offset, item.partition.high_watermark)
            for item in ready[: max(room // share, 1)]
        ]
        return reads, share

    def _frames(
        self, reads: list[_Read], results: list[tuple[bytes, int] | LogdError]
    ) -> list[FetchFrame]:
        frames = []
        for read, result in zip(reads, results, strict=True):
            # The client may have removed it while the disk was read.
            if self._subscriptions.get(read.subscription.id) is read.subscription:
                frames.append(self._frame(read.subscription, read.offset, result))
        return frames

    def _ready(self) -> list[_Subscription]:
        return [
            subscription
            for subscription in self._subscriptions.values()
            if subscription.offset < subscription.partition.high_watermark
            or subscription.offset < subscription.partition.view.start_offset
            # What is here and not committed yet is waited for.
            or subscription.offset > subscription.partition.view.written_end_offset
        ]

    async def _wait_for_min_bytes(self) -> None:
        deadline_ms = self._clock.monotonic_ms() + self._max_wait_ms
        while not self._closed:
            waiting = sum(
                subscription.partition.appended_bytes - subscription.seen_bytes
                for subscription in self._subscriptions.values()
            )
            left_ms = deadline_ms - self._clock.monotonic_ms()
            if waiting >= self._min_bytes or left_ms <= 0:
                return
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), left_ms / 1000)
            except TimeoutError:
                return

    def _borrow(self, wanted: int) -> int:
        """Take what a chunk needs beyond the reserve from the shared budget, if it is free."""
        extra = wanted - RESERVE_BYTES
        if extra <= 0:
            return wanted
        if self._budget.try_acquire(extra):
            self._borrowed += extra
            return wanted
        return RESERVE_BYTES

    def _frame(
        self, subscription: _Subscription, offset: int, result: tuple[bytes, int] | LogdError
    ) -> FetchFrame:
        if isinstance(result, LogdError):
            self.remove(subscription.id)
            error = subscription.partition.read_failed(result)
            return _error_frame(subscription.id, error, offset)
        records, next_offset = result
        self._credit -= len(records)
        subscription.partition.traffic.fetched(next_offset - offset, len(records))
        subscription.offset = next_offset
        # Served last: moved behind the others.
        del self._subscriptions[subscription.id]
        self._subscriptions[subscription.id] = subscription
        return self._told(subscription, records)

    def _told(self, subscription: _Subscription, records: bytes) -> FetchFrame:
        partition = subscription.partition
        high_watermark, start = partition.high_watermark, partition.view.start_offset
        subscription.told = (high_watermark, start)
        if subscription.offset >= high_watermark:
            subscription.seen_bytes = partition.appended_bytes
        return FetchFrame(
            subscription_id=subscription.id,
            error=None,
            records=records,
            high_watermark=high_watermark,
            log_start_offset=start,
            next_offset=subscription.offset,
            leader_epoch=partition.leader_epoch,
        )

    def _news(self) -> list[FetchFrame]:
        """Frames without records, for readers at the end who do not know that they are."""
        return [
            self._told(subscription, b"")
            for subscription in self._subscriptions.values()
            if subscription.offset == subscription.partition.high_watermark
            and subscription.told != (subscription.offset, subscription.partition.view.start_offset)
        ]


def _error_frame(subscription_id: int, error: LogdError, offset: int) -> FetchFrame:
    return FetchFrame(subscription_id, error, b"", -1, -1, offset, -1)


def _read_all(reads: list[_Read], bytes_max: int) -> list[tuple[bytes, int] | LogdError]:
    """Read one frame of each; on a reader thread."""
    results: list[tuple[bytes, int] | LogdError] = []
    for read in reads:
        try:
            result = read.view.read(
                read.offset, bytes_max=bytes_max, limit_offset=read.limit_offset
            )
            results.append((result.records, result.next_offset))
        except LogdError as error:
            results.append(error)
    return results
