"""A compacted topic against a dictionary, under every fault: puts and deletes of a few keys.

One application writes, one record at a time, and knows of each what became of it. In the end a
reader who begins at the start of the topic must find, for each key, the newest record that was
acknowledged, or a later one of which nobody could say whether it was kept:

* compaction-lost: the newest acknowledged value of a key is not there, and nothing newer is.
* compaction-resurrected: a key has a value although its newest record deleted it.
* compaction-early: a delete is gone before its `delete.retention.ms` has passed.
* compaction-moved: an acknowledged record stands at another offset, or out of order.
* compaction-invented: a record that nobody sent, or not in this form.

The same holds of every copy at any time, below what it knows to be committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from logd_client._core.accumulator import BatchingConfig
from logd_client._engine.admin import AdminEngine
from logd_client._engine.cluster import ClusterConfig
from logd_client._engine.producer import ProducerConfig, ProducerEngine
from logd_client.values import TopicPartition
from logd_wire import Compression
from logd_wire.errors import LogdError

from tests.sim.consumers import end_offsets, open_consumer, reached
from tests.sim.producers import UNKNOWN
from tests.sim.world import World

NAME = "accounts"
KEYS = tuple(b"key-%d" % number for number in range(16))
DELETE_RETENTION_MS = 700
CONFIG = {
    "cleanup.policy": "compact",
    "segment.bytes": "1024",
    "min.cleanable.dirty.ratio": "0.2",
    "delete.retention.ms": str(DELETE_RETENTION_MS),
    "file.delete.delay.ms": "300",
}


class Row(NamedTuple):
    """A record as somebody found it. `value` None: it deletes the key."""

    offset: int
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class Operation:
    """A put, or a delete where `value` is None, sent at `sent_ms` or later. `offset` -1: nobody can
    say whether it was kept."""

    key: bytes
    value: bytes | None
    sent_ms: int
    offset: int = -1


class KeyedWorker:
    """Writes until the world stops producing; then `check` judges."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng.child("worker/keyed")
        self._number = 0
        self._life = 0
        self._producer: ProducerEngine | None = None
        self.kept: list[Operation] = []
        self.doubtful: list[Operation] = []

    async def run(self) -> None:
        """Make the topic, then put and delete."""
        world = self._world
        if not await make_topic(world, NAME, CONFIG):
            return
        while world.producing:
            if self._producer is None:
                self._producer = self._begin()
            await self._put(self._producer)
            if self._rng.chance(0.01):
                await self._producer.close()
                self._producer = None
            await world.client_clock.sleep_ms(self._rng.exponential(30.0, 500.0))

    def _begin(self) -> ProducerEngine:
        self._life += 1
        world, who = self._world, f"keyed.{self._life}"
        config = ProducerConfig(
            cluster=ClusterConfig(bootstrap_servers=world.bootstrap, request_timeout_ms=3_000.0),
            batching=BatchingConfig(
                delivery_timeout_ms=self._rng.choice((1_000.0, 8_000.0)),
                compression=self._rng.choice((Compression.NONE, Compression.GZIP)),
            ),
            max_block_ms=5_000.0,
        )
        return ProducerEngine(
            world.network.transport(who), world.client_clock, self._rng.child(who), config
        )

    async def _put(self, producer: ProducerEngine) -> None:
        self._number += 1
        value = None
        if not self._rng.chance(0.25):
            value = b"%d " % self._number * self._rng.randint(1, 30)
        # The later keys are written seldom: their newest record is below the cleaned end.
        number = min(self._rng.randrange(len(KEYS)) for _ in range(3))
        operation = Operation(KEYS[number], value, self._world.client_clock.monotonic_ms())
        # As long as nobody has answered, it may be there or not.
        self.doubtful.append(operation)
        try:
            batch, index = await producer.send(NAME, value, key=operation.key, partition=0)
            await producer.wait(batch)
        except LogdError as error:
            self._world.trace(f"{NAME} {self._number}: {error.code.name}")
            if error.code not in UNKNOWN:
                self.doubtful.pop()
            return
        self.doubtful.pop()
        operation.offset = batch.base_offset + index
        self.kept.append(operation)
        self._world.trace(f"{NAME} {self._number} {operation.key!r}@{operation.offset}")

    # -- the verdict -------------------------------------------------------------------------

    async def check(self) -> None:
        """Read the topic from its start and hold it against what is known."""
        if not self.kept:
            return
        self._world.problems += list(self.judge(await self.read()))[:8]

    async def read(self, offset: int = 0) -> list[Row]:
        """What a consumer gets that begins at `offset`, up to the end of now."""
        world, tp = self._world, TopicPartition(NAME, 0)
        engine = open_consumer(world, f"keyed check from {offset}", 1 << 20)
        engine.fetcher.assign([tp])
        (end,) = (await end_offsets(world, engine)).values()
        if offset:
            engine.fetcher.seek(tp, offset)
        found: list[Row] = []
        while not reached(engine, f"{NAME}/0", end):
            records = engine.fetcher.take(10_000)
            found += [Row(each.offset, each.key, each.value) for each in records.get(tp, ())]
            if not records:
                await world.client_clock.sleep_ms(20)
        await engine.close()
        return found

    def judge(self, found: Sequence[Row]) -> Iterator[str]:
        """What is wrong with a log that was read just now, from its start to its end."""
        yield from self.judge_records(found)
        yield from self.judge_keys(found)

    def judge_records(self, found: Sequence[Row], committed_end: int = 1 << 62) -> Iterator[str]:
        """What is wrong with records one by one; at `committed_end` and above they may be any."""
        for before, after in pairwise(found):
            if before.offset >= after.offset:
                yield f"compaction-moved: {after.offset} follows {before.offset}"
        by_offset = {operation.offset: operation for operation in self.kept}
        sent = {(each.key, each.value) for each in self.doubtful}
        for row in found:
            if row.offset >= committed_end:
                return
            operation = by_offset.get(row.offset)
            seen = (row.key, row.value)
            if operation is None and seen not in sent:
                yield f"compaction-invented: {row.key!r} at {row.offset}"
            elif operation is not None and seen != (operation.key, operation.value):
                yield f"compaction-moved: {row.key!r} at {row.offset}, not its place"

    def judge_keys(self, found: Sequence[Row], committed_end: int = 1 << 62) -> Iterator[str]:
        """Which keys are not what they were below `committed_end`, or are something later."""
        now_ms = self._world.client_clock.monotonic_ms()
        newest = {each.key: each for each in self.kept if each.offset < committed_end}
        doubtful = {each.key for each in self.doubtful if each.value is None}
        there = {row.key: row for row in found}
        for key, operation in newest.items():
            row, age_ms = there.get(key), now_ms - operation.sent_ms
            if row is None:
                if operation.value is not None and key not in doubtful:
                    yield f"compaction-lost: {key!r} was kept at {operation.offset}"
                if operation.value is None and age_ms < DELETE_RETENTION_MS:
                    yield f"compaction-early: the delete of {key!r} is gone after {age_ms} ms"
            elif row.offset < operation.offset:
                name = "lost" if operation.value is not None else "resurrected"
                if row.value is not None or operation.value is not None:
                    yield f"compaction-{name}: {key!r} is at {row.offset}, was kept later"


async def make_topic(world: World, name: str, config: Mapping[str, str]) -> bool:
    """Try until a topic of one partition is there; False: the world has stopped producing."""
    admin = new_admin(world, f"{name} admin")
    while world.producing:
        try:
            await admin.create_topic(
                name,
                partitions=1,
                replication_factor=3 if world.replicated else -1,
                config=config,
                exist_ok=True,
                validate_only=False,
            )
            await admin.close()
            return True
        except LogdError as error:
            world.trace(f"create {name}: {error.code.name}")
            await world.client_clock.sleep_ms(200)
    await admin.close()
    return False


def new_admin(world: World, name: str) -> AdminEngine:
    config = ClusterConfig(bootstrap_servers=world.bootstrap, request_timeout_ms=3_000.0)
    rng = world.rng.child(name)
    return AdminEngine(world.network.transport(name), world.client_clock, rng, config)
