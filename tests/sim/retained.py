"""A topic with `retention.ms` under every fault: what is young stays, what is old goes.

One application writes, one record at a time, and asks for the first offset now and then. Times are
the clients': the node's wall clock jumps by up to a year, and that must not make anything old.

* retention-early: a record is gone that was acknowledged and is younger than `retention.ms`.
* retention-lost: an acknowledged record above the first offset is not there.
* retention-regress: the first offset went back.
* retention-stuck: once all is well again, what is older than `retention.ms` does not go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from logd_client._core.accumulator import BatchingConfig
from logd_client._engine.cluster import ClusterConfig
from logd_client._engine.consumer import ConsumerEngine
from logd_client._engine.offsets import Spec
from logd_client._engine.producer import ProducerConfig, ProducerEngine
from logd_client.values import TopicPartition
from logd_wire.errors import LogdError

from tests.sim.consumers import end_offsets, open_consumer, reached
from tests.sim.keyed import make_topic
from tests.sim.world import World

NAME = "visits"
RETENTION_MS = 2_000
CONFIG = {
    "segment.bytes": "1024",
    "retention.ms": str(RETENTION_MS),
    "file.delete.delay.ms": "300",
}
#: After this the last record is old, was looked at by a check, and the answer is on its way.
SETTLED_MS = 3 * RETENTION_MS
TP = TopicPartition(NAME, 0)


@dataclass(frozen=True, slots=True)
class Kept:
    """An acknowledged record; it was appended at `sent_ms` or later."""

    offset: int
    value: bytes
    sent_ms: int


class RetainedWorker:
    """Writes until the world stops producing; then `check` judges."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng.child("worker/retained")
        self._kept: list[Kept] = []
        self._start = 0

    async def run(self) -> None:
        """Make the topic, then write and ask."""
        world = self._world
        if not await make_topic(world, NAME, CONFIG):
            return
        producer, asking = self._producer(), open_consumer(world, "retained", 1 << 20)
        number = 0
        while world.producing:
            number += 1
            await self._write(producer, b"%d " % number * self._rng.randint(5, 30))
            if self._rng.chance(0.2):
                await self._ask_start(asking)
            await world.client_clock.sleep_ms(self._rng.exponential(40.0, 500.0))
        await producer.close()
        await asking.close()

    def _producer(self) -> ProducerEngine:
        world = self._world
        config = ProducerConfig(
            cluster=ClusterConfig(bootstrap_servers=world.bootstrap, request_timeout_ms=3_000.0),
            batching=BatchingConfig(delivery_timeout_ms=3_000.0),
            max_block_ms=5_000.0,
        )
        rng = self._rng.child("producer")
        return ProducerEngine(world.network.transport("retained"), world.client_clock, rng, config)

    async def _write(self, producer: ProducerEngine, value: bytes) -> None:
        sent_ms = self._world.client_clock.monotonic_ms()
        try:
            batch, index = await producer.send(NAME, value, partition=0)
            await producer.wait(batch)
        except LogdError as error:
            self._world.trace(f"{NAME}: {error.code.name}")
            return
        self._kept.append(Kept(batch.base_offset + index, value, sent_ms))
        self._world.trace(f"{NAME} @{self._kept[-1].offset}")

    async def _ask_start(self, engine: ConsumerEngine) -> None:
        """Hold the first offset against what was acknowledged before the question."""
        known = len(self._kept)
        try:
            answer = (await engine.offsets({TP: Spec.earliest()}))[TP]
        except LogdError as error:
            self._world.trace(f"{NAME} start: {error.code.name}")
            return
        self._world.trace(f"{NAME} starts at {answer.offset}")
        self._world.problems += list(self._judge_start(answer.offset, self._kept[:known]))[:3]

    def _judge_start(self, start: int, kept: list[Kept]) -> Iterator[str]:
        now_ms = self._world.client_clock.monotonic_ms()
        if start < self._start:
            yield f"retention-regress: the start was {self._start}, is {start}"
        self._start = max(self._start, start)
        for one in kept:
            age_ms = now_ms - one.sent_ms
            if one.offset < start and age_ms <= RETENTION_MS:
                yield f"retention-early: offset {one.offset} is gone, {age_ms} ms old at the most"
        if start > 0:
            self._world.sometimes("retention")

    # -- the verdict -------------------------------------------------------------------------

    async def check(self) -> None:
        """Read what is there, then wait until it has gone."""
        if not self._kept:
            return
        engine = open_consumer(self._world, "retained check", 1 << 20)
        engine.fetcher.assign([TP])
        await self._ask_start(engine)
        await self._judge_records(engine)
        await self._world.client_clock.sleep_ms(SETTLED_MS)
        await self._ask_start(engine)
        await engine.close()
        if self._start <= self._kept[-1].offset:
            last = self._kept[-1].offset
            self._world.problems.append(
                f"retention-stuck: the start is {self._start}, all up to {last} is old"
            )

    async def _judge_records(self, engine: ConsumerEngine) -> None:
        """Every acknowledged record from the first one that is read must be there, unchanged."""
        world = self._world
        (end,) = (await end_offsets(world, engine)).values()
        found: dict[int, bytes | None] = {}
        while not reached(engine, f"{NAME}/0", end):
            records = engine.fetcher.take(10_000)
            found |= {record.offset: record.value for record in records.get(TP, ())}
            if not records:
                await world.client_clock.sleep_ms(20)
        first = min(found, default=end)
        for one in self._kept:
            if one.offset >= first and found.get(one.offset) != one.value:
                world.problems.append(f"retention-lost: offset {one.offset} is not there")
