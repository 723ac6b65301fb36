"""The last act of a seed: one byte of what the ledger vouches for goes bad.

After the run everything is durable and in the ledger. The process is killed, one byte of a
segment is changed on the disk, the node starts again. It must say so: the end offset stands where
it stood, every record is delivered as it was or lies in a range that a DataLossError names, no
more than the damaged batch is lost, and the partition takes new records behind its old end.
"""

from __future__ import annotations

from dataclasses import dataclass

from logd_client._engine.consumer import ConsumerEngine
from logd_client._engine.offsets import Spec
from logd_client.values import TopicPartition
from logd_wire import iter_headers
from logd_wire.errors import DataLossError, LogdError

from logd.storage.memory_files import MemoryFiles
from logd.testing.process import SimProcess
from tests.sim.consumers import open_consumer, take
from tests.sim.history import Seen
from tests.sim.producers import send_one
from tests.sim.world import Topic, World

#: By then the last durable ends have reached the ledger.
SETTLE_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Damage:
    """A changed byte: the batch that holds it spans `start` to `end`."""

    path: str
    position: int
    start: int
    end: int


def corrupt(files: MemoryFiles, path: str, position: int) -> None:
    """Change one byte of a file, durably."""
    file = files.open(path)
    byte = file.pread(1, position)[0]
    file.pwrite([bytes([byte ^ 0x55])], position)
    file.sync()
    file.close()


def choose_damage(world: World, files: MemoryFiles, topic: Topic, partition: int) -> Damage | None:
    """A byte of a random batch; None when the partition is empty."""
    folder = f"partitions/{topic.topic_id.hex()}-{partition}"
    start = world.history.floor(f"{topic.name}/{partition}")
    batches: list[tuple[str, int, int, int, int]] = []
    for entry in files.list_dir(folder):
        if not entry.name.endswith(".log"):
            continue
        path = f"{folder}/{entry.name}"
        file = files.open(path)
        data = file.pread(file.size(), 0)
        file.close()
        for position, header in iter_headers(data):
            if header.base_offset >= start:
                place = (path, position, header.size, header.base_offset, header.next_offset)
                batches.append(place)
    if not batches:
        return None
    # The last batch is where a torn tail would be.
    rng = world.rng.child("rot")
    path, position, size, first, end = batches[-1] if rng.chance(0.5) else rng.choice(batches)
    return Damage(path, position + rng.randrange(size), first, end)


async def rot(world: World, process: SimProcess) -> list[str]:
    """Do it; returns what was wrong with the node's answer."""
    topic = world.rng.child("rot topic").choice(world.topics)
    tp = TopicPartition(topic.name, 0)
    before = [
        seen
        for seen in world.history.drain[f"{topic.name}/0"]
        if seen.offset >= world.history.floor(f"{topic.name}/0")
    ]
    await world.client_clock.sleep_ms(SETTLE_MS)
    process.crash(power_loss=False)
    hook, process.files.before = process.files.before, None
    damage = choose_damage(world, process.files, topic, 0)
    if damage is not None:
        corrupt(process.files, damage.path, damage.position)
        world.trace(f"rot {damage}")
    process.files.before = hook
    if damage is None:
        return []
    world.sometimes("rot below the ledger")
    return await _judge(world, tp, damage, before)


async def _judge(world: World, tp: TopicPartition, damage: Damage, before: list[Seen]) -> list[str]:
    engine = open_consumer(world, "rot", 1 << 20)
    engine.fetcher.assign([tp])
    end = await _end_offset(world, engine, tp)
    problems = []
    want_end = before[-1].offset + 1 if before else 0
    if end < want_end:
        problems.append(f"rot: {damage}: the end offset fell from {want_end} to {end}")
    seen, lost = await _read_all(world, engine, tp, end)
    kept = {record.offset: record for record in seen}
    for record in before:
        gone = any(first <= record.offset < behind for first, behind in lost)
        if not gone and kept.get(record.offset) != record:
            problems.append(f"rot: {damage}: {record} is missing or changed without a word")
        if gone and not damage.start <= record.offset < damage.end:
            problems.append(f"rot: {damage}: {record} was given up too")
    await engine.close()
    offset = await send_one(world, tp)
    if offset < want_end:
        problems.append(f"rot: {damage}: a new record got offset {offset}, old end {want_end}")
    return problems[:4]


async def _end_offset(world: World, engine: ConsumerEngine, tp: TopicPartition) -> int:
    while True:
        try:
            return (await engine.offsets({tp: Spec.latest()}))[tp].offset
        except LogdError as error:
            world.trace(f"rot end: {error.code.name}")
            await world.client_clock.sleep_ms(100)


async def _read_all(
    world: World, engine: ConsumerEngine, tp: TopicPartition, end: int
) -> tuple[list[Seen], list[tuple[int, int]]]:
    """Everything that can be read, and the ranges that DataLossError named."""
    seen: list[Seen] = []
    lost: list[tuple[int, int]] = []
    while (engine.fetcher.position(tp) or 0) < end:
        try:
            found = await take(engine, 10_000)
        except DataLossError as error:
            position = engine.fetcher.position(tp) or 0
            behind = error.next_offset if error.next_offset > position else end
            world.trace(f"rot lost {position}..{behind}")
            lost.append((position, behind))
            engine.fetcher.seek(tp, behind)
        except LogdError as error:
            world.trace(f"rot read: {error.code.name}")
            await world.client_clock.sleep_ms(50)
        else:
            seen += found.get(tp, [])
    return seen, lost
