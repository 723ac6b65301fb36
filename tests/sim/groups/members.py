"""Members of the group: applications over the real consumer engine, one life after the other.

A life is a process of its own: it can be frozen, thawed and killed. Everything that it is handed
out is noted when that happens, and again when it is done with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context

from logd_client._core.fetch_state import FetchConfig, News
from logd_client._core.group_member import Held, Subscription
from logd_client._core.partition_reader import PartitionReader, Reset
from logd_client._engine.cluster import ClusterConfig
from logd_client._engine.consumer import ConsumerConfig, ConsumerEngine
from logd_client._engine.group_config import GroupConfig
from logd_client.values import Record, TopicPartition
from logd_wire.errors import InstanceIdError, LogdError

from logd.model.ids import TopicId, TopicPartitionId
from logd.testing.loop import OWNER
from logd.testing.rng import SimRng
from tests.sim.groups.calls import MemberTransport
from tests.sim.groups.world import ALL_TOPICS, Delivery, GroupWorld, Seek

#: How long an application without news waits before it looks again.
WAIT_S = 0.4
#: How long it takes a life to begin after the one before it: at most.
PAUSE_S = 1.5

SUBSCRIPTIONS = (
    ALL_TOPICS,
    Subscription(("orders",)),
    Subscription(("events",)),
    Subscription((), "o.*"),
)
#: Every kind of news, or none: then nothing has to be told before it is read.
TOLD = (frozenset(News), frozenset[News]())


class Application:
    """One life. `run` is its main task; `gone` is set when that has ended, or was killed."""

    engine: ConsumerEngine

    def __init__(self, world: GroupWorld, rng: SimRng, name: str, instance_id: str | None) -> None:
        self.name = name
        self.instance_id = instance_id
        self.subscription = world.subscription
        self.leaving = False
        #: Leave the group, and join it again with the same consumer.
        self.rejoining = False
        #: Go on elsewhere in one of its partitions.
        self.seeking = False
        self.gone = asyncio.Event()
        #: How long the next record takes.
        self.busy_ms = 0.0
        self._world = world
        self._rng = rng
        self._told = rng.choice(TOLD)
        #: Commits itself, what it is done with.
        self._commits = rng.chance(0.3)
        self._owes_commit = False
        self._work_ms = rng.choice((0.2, 2.0, 10.0))
        self._joined = world.subscription
        #: Where each assignment has come to.
        self._next: dict[TopicPartition, tuple[PartitionReader, int]] = {}
        #: What the application was told that it has.
        self._has: dict[TopicPartition, None] = {}

    @property
    def member_id(self) -> str:
        assert self.engine.group is not None
        return self.engine.group.member.member_id

    def _open(self) -> ConsumerEngine:
        world = self._world
        config = ConsumerConfig(
            cluster=ClusterConfig(bootstrap_servers=world.bootstrap, request_timeout_ms=3_000.0),
            fetch=FetchConfig(
                reset=Reset.EARLIEST,
                committed_first=True,
                window_bytes=self._rng.choice((1_000, 1 << 20)),
            ),
            group=GroupConfig(
                world.group_id,
                instance_id=self.instance_id,
                session_timeout_ms=world.session_ms,
                rebalance_timeout_ms=world.rebalance_ms,
                auto_commit=not self._commits,
                auto_commit_interval_ms=world.commit_interval_ms,
            ),
        )
        transport = MemberTransport(
            world.network.transport(self.name), world, self._rng.child("calls")
        )
        return ConsumerEngine(transport, world.client_clock, self._rng.child("engine"), config)

    # --- its life ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Read until it shall leave, or the group will not have it."""
        self.engine = self._open()
        self._world.trace(f"{self.name} is member {self.member_id}")
        try:
            while not self.leaving:
                try:
                    if self.rejoining:
                        self.rejoining = False
                        await self._unsubscribe()
                    if self._joined != self.subscription or not self._is_member():
                        await self._join()
                    await self._read()
                except InstanceIdError as error:
                    self._world.sometimes("static member fenced")
                    self._world.trace(f"{self.name} {error.code.name}")
                    break
                except LogdError as error:
                    self._on_error(error)
                    await asyncio.sleep(0.1)
            await self._leave()
        finally:
            self.gone.set()

    def _is_member(self) -> bool:
        assert self.engine.group is not None
        return self.engine.group.subscribed

    def _on_error(self, error: LogdError) -> None:
        self._world.trace(f"{self.name} {error.code.name} {error.message}")
        if not error.retriable and type(error) is LogdError:
            self._world.problems.append(f"{self.name}: {error}")

    async def _join(self) -> None:
        subscription = self.subscription
        if subscription.pattern:
            self._world.sometimes("subscribed by a pattern")
        await self.engine.join(subscription, self._told)
        self._joined = subscription

    async def _leave(self) -> None:
        """As a consumer is closed."""
        if self._is_member():
            await self._stop_reading()
        await self.engine.close()

    async def _unsubscribe(self) -> None:
        group = self.engine.group
        if group is not None and group.subscribed:
            await self._stop_reading()
            await group.leave()

    async def _stop_reading(self) -> None:
        assert self.engine.group is not None
        going = await self.engine.group.stop_reading()
        await self._tell()
        if going and News.REVOKED in self._told:
            await self._on_revoked(going)

    async def _read(self) -> None:
        await self._tell()
        if self._owes_commit:
            await self._commit()
        if self.seeking:
            self.seeking = False
            self._seek_while_reading()
        fetcher = self.engine.fetcher
        found = fetcher.take(self._rng.choice((1, 5, 100)))
        if not found:
            news = asyncio.Event()
            if fetcher.wait_nowait(news.set):
                try:
                    async with asyncio.timeout(WAIT_S):
                        await news.wait()
                except TimeoutError:
                    fetcher.forget_waiter(news.set)
            return
        deliveries = [self._note_delivery(tp, records) for tp, records in found.items()]
        for delivery, records in zip(deliveries, found.values(), strict=True):
            await self._process(delivery.partition, records)
        self._owes_commit = self._commits

    async def _commit(self) -> None:
        """Everything that was handed out is done with."""
        await self.engine.commit(self.engine.reading.finish_all())
        self._owes_commit = False

    def _note_delivery(self, tp: TopicPartition, records: list[Record[bytes, bytes]]) -> Delivery:
        world = self._world
        now_ms, first, last = world.now_ms(), records[0].offset, records[-1].offset
        reader = self.engine.fetcher.reader(tp)
        partition = TopicPartitionId(TopicId(reader.topic_id), tp.partition)
        delivery = Delivery(now_ms, self.member_id, tp, partition, first, last)
        world.notes.delivered.append(delivery)
        world.trace(f"{self.name} {tp.topic}/{tp.partition} {first}..{last}")
        if now_ms >= world.notes.deadlines.get(self.member_id, 0):
            world.problems.append(f"delivered-past-session: {delivery}")
        if self._told and tp not in self._has:
            world.problems.append(f"delivered-untold: {delivery}")
        before, expected = self._next.get(tp, (None, first))
        if before is reader and first != expected:
            world.problems.append(f"delivered-out-of-order: {delivery}, expected {expected}")
        self._next[tp] = (reader, last + 1)
        return delivery

    async def _process(
        self, partition: TopicPartitionId, records: list[Record[bytes, bytes]]
    ) -> None:
        clock = self._world.client_clock
        busy_ms, self.busy_ms = self.busy_ms, 0.0
        await clock.sleep_ms(busy_ms + self._rng.exponential(self._work_ms * len(records), 500.0))
        offsets = [each.offset for each in records]
        self._world.notes.done_with(partition, offsets, self._world.now_ms())

    # --- it says itself where to go on -------------------------------------------------------

    def _seek_while_reading(self) -> None:
        """Everything that was handed out is done with."""
        partitions = {held.tp: held.topic_id for held in self._held()}
        assigned = [tp for tp in self.engine.fetcher.assignment() if tp in partitions]
        if not assigned:
            return
        tp = self._rng.choice(assigned)
        reader = self.engine.fetcher.reader(tp)
        partition = TopicPartitionId(TopicId(partitions[tp]), tp.partition)
        position, sometimes = reader.position, self._world.sometimes
        if position is None:
            return
        if self._rng.chance(0.7):
            sometimes("member sought back")
            self._seek(tp, partition, self._rng.randrange(position + 1))
            return
        sometimes("member sought ahead")
        target = max(position, min(position + self._rng.randint(0, 6), reader.high_watermark))
        self._world.notes.done_with(partition, range(position, target), self._world.now_ms())
        self._seek(tp, partition, target)

    def _seek_when_told(self, tp: TopicPartition) -> None:
        """Begin at something that somebody was done with, or behind it."""
        for held in self._held():
            if held.tp == tp:
                self._world.sometimes("member sought in on_assign")
                partition = TopicPartitionId(TopicId(held.topic_id), tp.partition)
                done_to = self._world.notes.done_to(partition)
                self._seek(tp, partition, self._rng.randrange(done_to + 1))

    def _held(self) -> list[Held]:
        assert self.engine.group is not None
        return list(self.engine.group.member.held)

    def _seek(self, tp: TopicPartition, partition: TopicPartitionId, offset: int) -> None:
        world = self._world
        self.engine.fetcher.seek(tp, offset)
        world.trace(f"{self.name} seeks {tp.topic}/{tp.partition} {offset}")
        world.notes.seeks.append(Seek(world.now_ms(), self.member_id, partition, offset))
        self._next[tp] = (self.engine.fetcher.reader(tp), offset)

    # --- what it is told ---------------------------------------------------------------------

    async def _tell(self) -> None:
        reading = self.engine.reading
        calls: dict[News, Callable[[tuple[TopicPartition, ...]], Awaitable[None]]] = {
            News.ASSIGNED: self._on_assigned,
            News.REVOKED: self._on_revoked,
            News.LOST: self._on_lost,
        }
        while (announcement := reading.next_announcement()) is not None:
            try:
                await calls[announcement.news](announcement.partitions)
            finally:
                reading.announced(announcement)

    async def _on_assigned(self, partitions: tuple[TopicPartition, ...]) -> None:
        twice = [tp for tp in partitions if tp in self._has]
        if twice:
            self._world.problems.append(f"told-twice: {self.name} has {twice}")
        self._has.update(dict.fromkeys(partitions))
        for tp in partitions:
            if self._world.seek_on_assign and self._rng.chance(self._world.seek_on_assign):
                self._seek_when_told(tp)
        await asyncio.sleep(self._rng.exponential(0.005, 0.1))

    async def _on_revoked(self, partitions: tuple[TopicPartition, ...]) -> None:
        self._world.sometimes("partitions given up")
        await asyncio.sleep(self._rng.exponential(0.005, 0.1))
        if self._commits:
            try:
                await self._commit()
            except LogdError as error:
                self._on_error(error)
        self._forget("revoked", partitions)

    async def _on_lost(self, partitions: tuple[TopicPartition, ...]) -> None:
        self._world.sometimes("partitions lost")
        self._forget("lost", partitions)

    def _forget(self, how: str, partitions: tuple[TopicPartition, ...]) -> None:
        unknown = [tp for tp in partitions if tp not in self._has]
        if unknown:
            self._world.problems.append(f"told-of-others: {self.name} {how} {unknown}")
        for tp in partitions:
            self._has.pop(tp, None)


class Slot:
    """A place in the group: when one life of a member has ended the next one begins."""

    def __init__(self, world: GroupWorld, name: str, *, static: bool) -> None:
        self.name = name
        self.static = static
        self.current: Application | None = None
        self._world = world
        self._rng = world.rng.child(f"slot/{name}")
        self._lives = 0
        self._replaced = asyncio.Event()

    async def run(self) -> None:
        """Never returns."""
        while True:
            app = self.current = self._start()
            self._replaced.clear()
            waits = [asyncio.ensure_future(each.wait()) for each in (app.gone, self._replaced)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
            await asyncio.sleep(self._rng.random() * PAUSE_S)

    def _start(self) -> Application:
        self._lives += 1
        name = f"{self.name}.{self._lives}"
        instance_id = self.name if self.static else None
        if self.static and self._lives > 1:
            self._world.sometimes("static member came back")
        app = Application(self._world, self._rng.child(name), name, instance_id)
        context = copy_context()
        context.run(OWNER.set, app)
        self._world.loop.create_task(app.run(), name=f"member {name}", context=context)
        return app

    def kill(self) -> None:
        """The process ends without a word."""
        app = self.current
        if app is not None and not app.gone.is_set():
            self._world.freezer.freeze(app)
            self._world.network.hang_up(app.name)
            app.gone.set()

    def replace(self) -> None:
        """Begin the next life while the one there is goes on, or is frozen."""
        self._replaced.set()
