"""The follower's end of replication: copies what other nodes lead.

    image: led by node 2   -> LeaderLink(2): one stream for all partitions that node 2 leads
    chunk                  -> PartitionFollower decides -> the writer appends, cuts or starts over
    durable                -> the next position

A link connects when it has something to copy, and again when its stream broke. Nothing that
arrives from a leadership that is over reaches the log: its `_Copying` is stopped, and what it had
queued at the writer was queued before anything of the next leadership.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from logd_wire.errors import LogdError, NetworkError

from logd.model.ids import LeaderEpoch, NodeId, TopicPartitionId
from logd.replication import (
    Alarm,
    AppendChunk,
    Appended,
    AppendFailed,
    Begin,
    Chunk,
    Connected,
    Disconnected,
    Diverges,
    FollowerEffect,
    FollowerEvent,
    HighWatermarkMoved,
    PartitionFollower,
    RestartAt,
    Restarted,
    RetryAt,
    SendPosition,
    Tick,
    TrimTo,
    Truncated,
    TruncateTo,
)
from logd.runtime.disk_driver import DiskDriver
from logd.runtime.partition import Partition, ReportsDamage
from logd.runtime.peers import PeerTransport
from logd.runtime.ports import Clock, Spawn, Task
from logd.runtime.replica_frames import ReplicaChunk, ReplicaPosition, ReplicaStream

_logger = logging.getLogger("logd.replication")

#: Between a stream that broke and the next one; doubles up to the most.
BACKOFF_MS: Final = 50
BACKOFF_MS_MAX: Final = 1_000
#: Before a copy that could not begin is tried again: a full disk, mostly.
RETRY_MS: Final = 250


#: Makes a partition's log anew, empty, at an offset.
Restart = Callable[[Partition, int], asyncio.Future[None]]


@dataclass(frozen=True, slots=True)
class FollowerSurroundings:
    """What all copied partitions of a node share."""

    driver: DiskDriver
    clock: Clock
    #: Of this process's registration.
    node_epoch: Callable[[], int]
    restart: Restart
    report_damage: ReportsDamage


class ReplicaFetcher:
    """Copies every partition of this node that another node leads."""

    def __init__(
        self,
        *,
        transport: PeerTransport,
        address_of: Callable[[NodeId], str],
        around: FollowerSurroundings,
        spawn: Spawn,
    ) -> None:
        self._transport = transport
        self._address_of = address_of
        self._around = around
        self._spawn = spawn
        self._links: dict[NodeId, _LeaderLink] = {}
        self._copying: dict[TopicPartitionId, _Copying] = {}

    def follow(self, partition: Partition, leader: NodeId, leader_epoch: LeaderEpoch) -> None:
        """Copy a partition from `leader` from now on; the same leadership again is no change."""
        copying = self._copying.get(partition.id)
        if (
            copying is not None
            and copying.partition is partition
            and copying.leader_epoch == leader_epoch
        ):
            return
        self.stop(partition.id)
        link = self._links.get(leader)
        if link is None:
            link = self._links[leader] = _LeaderLink(
                leader, self._transport, self._address_of, self._around.clock, self._spawn
            )
        copying = _Copying(partition, leader_epoch, link, self._around)
        self._copying[partition.id] = copying
        link.add(copying)

    def stop(self, key: TopicPartitionId) -> None:
        """Copy a partition no more."""
        copying = self._copying.pop(key, None)
        if copying is not None:
            copying.stop()
            copying.link.remove(copying)

    async def close(self) -> None:
        """Copy nothing any more, and wait until all streams are closed."""
        for key in list(self._copying):
            self.stop(key)
        for link in self._links.values():
            await link.close()
        self._links.clear()


class _LeaderLink:
    """The stream to one leader."""

    def __init__(
        self,
        leader: NodeId,
        transport: PeerTransport,
        address_of: Callable[[NodeId], str],
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        self._leader = leader
        self._transport = transport
        self._address_of = address_of
        self._clock = clock
        self._copying: dict[TopicPartitionId, _Copying] = {}
        #: The newest position of each partition that is not sent yet.
        self._positions: dict[TopicPartitionId, ReplicaPosition] = {}
        self._wake = asyncio.Event()
        self._connected = False
        self._task: Task = spawn(self._run(), f"copy from {leader}")

    def add(self, copying: _Copying) -> None:
        self._copying[copying.partition.id] = copying
        self._wake.set()
        copying.begin(connected=self._connected)

    def remove(self, copying: _Copying) -> None:
        key = copying.partition.id
        if self._copying.get(key) is copying:
            del self._copying[key]
            self._positions.pop(key, None)
            if self._connected:
                self.send(copying.position(0, -1, stop=True))

    def send(self, position: ReplicaPosition) -> None:
        """Send a position, the newest of its partition, some time."""
        self._positions[position.partition] = position
        self._wake.set()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(_ended(self._task), return_exceptions=True)

    async def _run(self) -> None:
        delay_ms = BACKOFF_MS
        while True:
            while not self._copying:
                self._wake.clear()
                await self._wake.wait()
            began_ms = self._clock.monotonic_ms()
            try:
                await self._one_stream()
            except LogdError as error:
                _logger.info("copying from node %d: %s", self._leader, error)
            if self._clock.monotonic_ms() - began_ms > BACKOFF_MS_MAX:
                delay_ms = BACKOFF_MS
            await self._clock.sleep_ms(delay_ms)
            delay_ms = min(2 * delay_ms, BACKOFF_MS_MAX)

    async def _one_stream(self) -> None:
        address = self._address_of(self._leader)
        if not address:
            raise NetworkError(f"the address of node {self._leader} is not known")
        stream = self._transport.replicate(self._leader, address)
        reading: asyncio.Future[None] | None = None
        try:
            self._positions.clear()
            self._connected = True
            for copying in list(self._copying.values()):
                copying.handle(Connected())
            reading = asyncio.ensure_future(self._read(stream))
            reading.add_done_callback(lambda _: self._wake.set())
            await self._write(stream, reading)
            await reading
        finally:
            self._connected = False
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            await stream.close()
            for copying in list(self._copying.values()):
                copying.handle(Disconnected())

    async def _write(self, stream: ReplicaStream, reading: asyncio.Future[None]) -> None:
        while not reading.done():
            self._wake.clear()
            positions, self._positions = self._positions, {}
            if positions:
                await stream.write(list(positions.values()))
            else:
                await self._wake.wait()

    async def _read(self, stream: ReplicaStream) -> None:
        while True:
            chunks = await stream.read()
            if chunks is None:
                raise NetworkError(f"node {self._leader} ended the stream")
            for chunk in chunks:
                copying = self._copying.get(chunk.partition)
                if copying is not None:
                    copying.take(chunk)


async def _ended(task: Task) -> None:
    await task


class _Copying:
    """One partition under one leadership of another node: the machine and its hands."""

    def __init__(
        self,
        partition: Partition,
        leader_epoch: LeaderEpoch,
        link: _LeaderLink,
        around: FollowerSurroundings,
    ) -> None:
        self.partition = partition
        self.leader_epoch = leader_epoch
        self.link = link
        self._around = around
        self._driver = around.driver
        self._clock = around.clock
        self._machine: PartitionFollower | None = None
        self._connected = False
        self._chunk: ReplicaChunk | None = None
        self._stopped = False
        self._timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def begin(self, *, connected: bool) -> None:
        """Begin behind everything that is queued for the log: an earlier leadership's appends."""
        self._connected = connected
        self._look()

    def _look(self) -> None:
        done = self._driver.call(lambda: None, self.partition, sync=True)
        self._later(done, self._begin_behind)

    def _begin_behind(self, _: object) -> None:
        """A log with damage does not hold what its ends say: it is copied anew, as a whole."""
        view = self.partition.view
        if not view.damage:
            self._begin_at(None)
            return
        # Its leader has not heard of this log yet: reported now, it comes in sync only anew.
        self._later(self._around.report_damage(self.partition), self._copy_anew)

    def _copy_anew(self, _: object) -> None:
        view = self.partition.view
        _logger.warning("%s is damaged here, and is copied anew", self.partition.name)
        self.partition.learn_high_watermark(view.start_offset)
        self._later(self._around.restart(self.partition, view.start_offset), self._begin_at)

    def _begin_at(self, _: object) -> None:
        view = self.partition.view
        self._machine = PartitionFollower(
            self.leader_epoch,
            end_offset=view.written_end_offset,
            last_epoch=self._last_epoch(),
            high_watermark=self.partition.high_watermark,
            start_offset=view.start_offset,
            end_offset_for=self._own_end_offset_for,
        )
        self.handle(Begin(self._clock.monotonic_ms()))
        if self._connected:
            self.handle(Connected())

    def _own_end_offset_for(self, epoch: int) -> tuple[int, int]:
        return self.partition.view.end_offset_for_epoch(epoch)

    def _last_epoch(self) -> int:
        view = self.partition.view
        end = view.written_end_offset
        return view.epoch_at(end - 1) if end > view.start_offset else -1

    def position(self, end_offset: int, last_epoch: int, *, stop: bool = False) -> ReplicaPosition:
        return ReplicaPosition(
            self.partition.id,
            self.leader_epoch,
            self._around.node_epoch(),
            end_offset,
            last_epoch,
            stop,
        )

    def take(self, chunk: ReplicaChunk) -> None:
        """What the leader sent."""
        if chunk.error is not None:
            _logger.debug("%s cannot be copied now: %s", self.partition.name, chunk.error)
        self._chunk = chunk
        if chunk.leader_epoch == self.leader_epoch and chunk.error is None:
            self.partition.learn_replicated_end(chunk.replicated_end)
        diverging = chunk.diverging
        self.handle(
            Chunk(
                leader_epoch=chunk.leader_epoch,
                size_bytes=len(chunk.records),
                high_watermark=chunk.high_watermark,
                log_start_offset=chunk.log_start_offset,
                append_time_ms=chunk.append_time_ms,
                forgotten_end=chunk.forgotten_end,
                diverging=(Diverges(diverging.epoch, diverging.end_offset) if diverging else None),
                too_low=chunk.too_low,
                refused=chunk.error is not None,
                now_ms=self._clock.monotonic_ms(),
            )
        )

    def handle(self, event: FollowerEvent) -> None:
        """Have the machine decide, and do what it says."""
        if isinstance(event, Connected | Disconnected):
            self._connected = isinstance(event, Connected)
        if self._machine is None or self._stopped:
            return
        for effect in self._machine.handle(event):
            self._perform(effect)

    def _perform(self, effect: FollowerEffect) -> None:
        partition = self.partition
        match effect:
            case SendPosition():
                self.link.send(self.position(effect.end_offset, effect.last_epoch))
            case AppendChunk():
                assert self._chunk is not None, "only a chunk that arrived is appended"
                self._append(self._chunk, effect.forgotten_end)
            case TruncateTo():
                cut = self._driver.truncate(partition, effect.offset)
                self._later(cut, lambda end: self.handle(Truncated(end, self._last_epoch())))
            case RestartAt():
                offset = effect.offset
                made = self._around.restart(partition, offset)
                self._later(made, lambda _: self.handle(Restarted(offset)))
            case TrimTo():
                offset = effect.offset
                trimmed = self._driver.call(lambda: partition.log.trim(offset))
                # What cannot be trimmed now is trimmed with the next chunk or the next start.
                trimmed.add_done_callback(_looked_at)
            case HighWatermarkMoved():
                partition.learn_high_watermark(effect.offset)
            case RetryAt():
                self._wake_at(effect.at_ms)
            case Alarm():
                _logger.critical("%s is not copied any more: %s", partition.name, effect.text)

    def _append(self, chunk: ReplicaChunk, forgotten_end: int) -> None:
        append_ms = chunk.append_time_ms
        if append_ms < 0:
            append_ms = self._clock.wall_ms()
        done = self._driver.append_copied(
            self.partition, chunk.records, append_ms, forgotten_end=forgotten_end
        )
        self._later(done, lambda end: self.handle(Appended(end, self._last_epoch())))

    def _later(self, done: asyncio.Future[Any], then: Callable[[Any], None]) -> None:
        """Go on once the writer is done; what it refuses is tried again by the machine."""

        def ended(future: asyncio.Future[Any]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if self._stopped:
                return
            if error is None:
                then(future.result())
                return
            _logger.warning("%s cannot be written to: %s", self.partition.name, error)
            if self._machine is None:
                self._call_later(RETRY_MS, self._look)
            else:
                self.handle(AppendFailed(self._clock.monotonic_ms()))

        done.add_done_callback(ended)

    def _wake_at(self, at_ms: int) -> None:
        self._call_later(max(at_ms - self._clock.monotonic_ms(), 0), self._tick)

    def _call_later(self, delay_ms: int, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_ms / 1000, then)

    def _tick(self) -> None:
        self.handle(Tick(self._clock.monotonic_ms()))


def _looked_at(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
