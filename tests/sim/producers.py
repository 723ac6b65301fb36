"""Producers of the workload: the real engine, unique values, every outcome in the history."""

from __future__ import annotations

import asyncio

from logd_client._core.accumulator import BatchingConfig
from logd_client._core.batch import ProducerBatch
from logd_client._engine.cluster import ClusterConfig
from logd_client._engine.producer import ProducerConfig, ProducerEngine
from logd_client.values import TopicPartition
from logd_wire import Compression
from logd_wire.errors import ErrorCode, LogdError

from tests.sim.history import Send
from tests.sim.values import digest_of, make_value
from tests.sim.world import World

#: After these nobody can say whether the record is in the log.
UNKNOWN = frozenset({ErrorCode.OUTCOME_UNKNOWN, ErrorCode.NETWORK, ErrorCode.CLOSED})

#: Short ones make outcomes unknown, long ones make retries many.
DELIVERY_TIMEOUTS_MS = (1_000.0, 8_000.0)
COMPRESSIONS = (Compression.NONE, Compression.GZIP, Compression.ZSTD)


class ProducerWorker:
    """One application that produces; it may die and come back as another producer."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._rng = world.rng.child(f"producer/{name}")
        self._name = name
        self._life = 0
        self._number = 0
        self.engine: ProducerEngine | None = None
        self._open: dict[ProducerBatch, list[tuple[int, Send]]] = {}

    async def run(self) -> None:
        """Produce until the world stops producing; then wait for every outcome."""
        while self._world.producing:
            if self.engine is None:
                self._begin()
            await self._send_some()
            if self._rng.chance(0.02):
                await self._die()
        if self.engine is not None:
            await self.engine.flush()

    def _begin(self) -> None:
        self._life += 1
        world = self._world
        config = ProducerConfig(
            cluster=ClusterConfig(bootstrap_servers=world.bootstrap, request_timeout_ms=3_000.0),
            batching=BatchingConfig(
                batch_bytes=self._rng.choice((500, 4_000, 64_000)),
                linger_ms=self._rng.choice((0.0, 5.0, 50.0)),
                delivery_timeout_ms=self._rng.choice(DELIVERY_TIMEOUTS_MS),
                compression=self._rng.choice(
                    (Compression.NONE, Compression.GZIP, Compression.ZSTD)
                ),
            ),
            acks=self._rng.choice((-1, -1, 1)),
            max_block_ms=5_000.0,
        )
        who = f"{self._name}.{self._life}"
        self.engine = ProducerEngine(
            world.network.transport(who), world.client_clock, self._rng.child(who), config
        )

    async def _send_some(self) -> None:
        world = self._world
        topic = self._rng.choice(world.topics)
        partition = self._rng.randrange(topic.partitions)
        for _ in range(self._rng.randint(1, 8)):
            await self._send(topic.name, partition)
        await world.client_clock.sleep_ms(self._rng.exponential(60.0, 1000.0))
        if self._rng.chance(0.2) and self.engine is not None:
            await self.engine.flush()

    async def _send(self, topic: str, partition: int) -> None:
        assert self.engine is not None
        world = self._world
        self._number += 1
        name, value = make_value(self._name, self._number, self._rng.randrange(200))
        who, key = f"{self._name}.{self._life}", f"{topic}/{partition}"
        send = world.history.begin_send(who, key, name, digest_of(value))
        try:
            batch, index = await self.engine.send(topic, value, partition=partition)
        except LogdError as error:
            # Refused before it became part of a batch: it never leaves the client.
            world.history.end_send(send, "fail", error=str(error))
            world.trace(f"send {name} refused: {error.code.name}")
            if error.code is ErrorCode.UNKNOWN_PARTITION:
                await self._refresh(topic)
            return
        waiting = self._open.get(batch)
        if waiting is not None:
            waiting.append((index, send))
            return
        self._open[batch] = [(index, send)]
        batch.add_done_callback(self._on_done, self.engine.accumulator.lock)

    async def _refresh(self, topic: str) -> None:
        """The topic has grown: learn of it, as an application would."""
        assert self.engine is not None
        try:
            await self.engine.partitions_for(topic)
        except LogdError as error:
            self._world.trace(f"partitions of {topic}: {error.code.name}")

    def _on_done(self, batch: ProducerBatch) -> None:
        world = self._world
        for index, send in self._open.pop(batch, []):
            error = batch.error
            if error is None:
                world.history.end_send(send, "ok", batch.base_offset + index)
                world.trace(f"send {send.value} ok {send.key}@{send.offset}")
                continue
            unknown = error.code in UNKNOWN
            world.history.end_send(send, "info" if unknown else "fail", error=str(error))
            world.trace(f"send {send.value} {send.result}: {error.code.name}")
            world.sometimes("record unknown" if unknown else "record refused")
            if error.code in (ErrorCode.OUTCOME_UNKNOWN, ErrorCode.TIMEOUT):
                world.sometimes("producer gave a record up")

    async def _die(self) -> None:
        """The application ends without a word; what was in flight stays open in the history."""
        assert self.engine is not None
        self._world.sometimes("producer restarted")
        self._world.trace(f"producer {self._name} dies")
        engine, self.engine = self.engine, None
        self._open.clear()
        await engine.close()
        await asyncio.sleep(0)


async def send_one(world: World, tp: TopicPartition) -> int:
    """Send one record and wait for it; returns its offset. Raises LogdError."""
    config = ProducerConfig(cluster=ClusterConfig(bootstrap_servers=world.bootstrap))
    rng = world.rng.child("one more")
    engine = ProducerEngine(world.network.transport("one"), world.client_clock, rng, config)
    batch, index = await engine.send(tp.topic, b"one more", partition=tp.partition)
    await engine.wait(batch)
    await engine.close()
    return batch.base_offset + index
