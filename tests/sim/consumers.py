"""Consumers of the workload: the real engine; every record that it hands out is in the history."""

from __future__ import annotations

import asyncio

from logd_client._core.fetch_state import FetchConfig
from logd_client._core.partition_reader import Reset
from logd_client._engine.cluster import ClusterConfig
from logd_client._engine.consumer import ConsumerConfig, ConsumerEngine
from logd_client._engine.offsets import Spec
from logd_client.values import Record, TopicPartition
from logd_wire.errors import LogdError

from logd.testing.network import SimNetwork
from tests.sim.history import Seen
from tests.sim.values import digest_of, name_of
from tests.sim.world import World

#: How long a reader without news waits before it looks again.
WAIT_S = 0.5


def open_consumer(world: World, name: str, window_bytes: int) -> ConsumerEngine:
    """A consumer over all partitions that are known, from their beginnings."""
    config = ConsumerConfig(
        cluster=ClusterConfig(bootstrap_servers=world.bootstrap, request_timeout_ms=3_000.0),
        fetch=FetchConfig(reset=Reset.EARLIEST, window_bytes=window_bytes),
    )
    network: SimNetwork = world.network
    engine = ConsumerEngine(
        network.transport(name), world.client_clock, world.rng.child(f"consumer/{name}"), config
    )
    assign_all(world, engine)
    return engine


def assign_all(world: World, engine: ConsumerEngine) -> None:
    """Read every partition there is by now."""
    engine.fetcher.assign(
        TopicPartition(topic.name, partition)
        for topic in world.topics
        for partition in range(topic.partitions)
    )


async def take(engine: ConsumerEngine, max_records: int) -> dict[TopicPartition, list[Seen]]:
    """What is there, or what comes within `WAIT_S`; raises what stopped a partition."""
    found = engine.fetcher.take(max_records)
    if not found:
        news = asyncio.Event()
        if engine.fetcher.wait_nowait(news.set):
            try:
                async with asyncio.timeout(WAIT_S):
                    await news.wait()
            except TimeoutError:
                engine.fetcher.forget_waiter(news.set)
        found = engine.fetcher.take(max_records)
    return {tp: [seen_of(record) for record in records] for tp, records in found.items()}


def seen_of(record: Record[bytes, bytes]) -> Seen:
    """A record as the history keeps it."""
    return Seen(record.offset, name_of(record.value), digest_of(record.value))


class ConsumerWorker:
    """One application that reads, seeks now and then, and may die and start anew."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._rng = world.rng.child(f"worker/{name}")
        self._name = name
        self._life = 0
        self._sessions: dict[TopicPartition, int] = {}
        self._session = 0

    async def run(self) -> None:
        """Read until the world stops consuming."""
        world = self._world
        engine = self._begin()
        while world.consuming:
            await self._poll(engine)
            step = self._rng.random()
            if step < 0.01:
                await engine.close()
                engine = self._begin()
            elif step < 0.03:
                self._seek(engine)
            elif step < 0.05:
                assign_all(world, engine)
            await world.client_clock.sleep_ms(self._rng.exponential(30.0, 500.0))
        await engine.close()

    def _begin(self) -> ConsumerEngine:
        self._life += 1
        self._sessions.clear()
        window = self._rng.choice((1_000, 20_000, 1 << 20))
        return open_consumer(self._world, f"{self._name}.{self._life}", window)

    def _seek(self, engine: ConsumerEngine) -> None:
        tp = self._rng.choice(engine.fetcher.assignment())
        position = engine.fetcher.position(tp)
        if position:
            target = self._rng.randrange(position + 1)
            engine.fetcher.seek(tp, target)
            self._sessions.pop(tp, None)
            self._world.trace(f"{self._name} seeks {tp.topic}/{tp.partition} {target}")

    async def _poll(self, engine: ConsumerEngine) -> None:
        world = self._world
        try:
            found = await take(engine, self._rng.choice((1, 10, 500)))
        except LogdError as error:
            world.trace(f"{self._name} read error {error.code.name}")
            if not error.retriable:
                assign_all(world, engine)
            return
        for tp, records in found.items():
            if tp not in self._sessions:
                self._session += 1
                self._sessions[tp] = self._session
            key = f"{tp.topic}/{tp.partition}"
            world.history.add_poll(self._name, self._sessions[tp], key, records)
            world.trace(f"{self._name} {key} {records[0].offset}..{records[-1].offset}")


async def drain(world: World) -> None:
    """Read every partition from its first to its end offset with a fresh consumer."""
    engine = open_consumer(world, "drain", 1 << 20)
    ends = await end_offsets(world, engine)
    drained: dict[str, list[Seen]] = {key: [] for key in ends}
    while not all(reached(engine, key, end) for key, end in ends.items()):
        try:
            found = await take(engine, 10_000)
        except LogdError as error:
            world.trace(f"drain: {error.code.name}")
            if not error.retriable:
                raise
            await world.client_clock.sleep_ms(50)
            continue
        for tp, records in found.items():
            drained[f"{tp.topic}/{tp.partition}"] += records
    world.history.drain = drained
    await engine.close()


async def end_offsets(world: World, engine: ConsumerEngine) -> dict[str, int]:
    """The end offset of every partition; asks until the node answers."""
    questions = dict.fromkeys(engine.fetcher.assignment(), Spec.latest())
    while True:
        try:
            found = await engine.offsets(questions)
        except LogdError as error:
            world.trace(f"end offsets: {error.code.name}")
            await world.client_clock.sleep_ms(100)
            continue
        return {f"{tp.topic}/{tp.partition}": answer.offset for tp, answer in found.items()}


def reached(engine: ConsumerEngine, key: str, end: int) -> bool:
    """Whether the drain stands at the end offset of a partition."""
    topic, _, partition = key.partition("/")
    position = engine.fetcher.position(TopicPartition(topic, int(partition)))
    return position is not None and position >= end
