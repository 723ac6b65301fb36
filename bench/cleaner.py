"""What retention and compaction cost: `python -m bench.cleaner [--only NAME] [--directory DIR]`.

    retention    one check of 1 000 partitions that have nothing to delete
    speed        one pass over 100-byte records: MB/s of what is read in, both readings included
    keys         one pass over 10 million keys: seconds and the memory of the process that does it
    beside       produce and consume with and without a cleaner that is always busy

`speed` and `keys` run the pass as the node does, in a child process, without a bound on its I/O.
`beside` runs a node, a producer, a consumer and the cleaner on this machine, all in one run; the
bound on the cleaner's I/O is the default. Rounds with and without a cleaner follow each other in
pairs, each pair the other way round than the one before, so that what drifts meanwhile meets both.
Of the losses within each pair the median is what counts; the least and the greatest are printed
behind it. Where those are further apart than the goal is wide, other work on the machine decides,
and the figure says nothing: run it again when it is quiet.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from logd_wire import CODEC, BatchBuilder, WireRecord, encode_batch, verify_batch
from logd_wire.errors import OffsetOutOfRangeError
from logd_wire.limits import MIB

from logd.model.ids import TopicId, TopicPartitionId
from logd.model.node_config import load_node_config
from logd.runtime.adapters import ChildCleaning, SystemClock, SystemRng, TaskSpawn, ThreadDisk
from logd.runtime.node import Node
from logd.runtime.world import Ports
from logd.storage import LogConfig, Moment, PartitionLog, RealFiles
from logd.storage.cleaner.state import CleanState

PARTITIONS = 1000
RUNS = 9
NOW_MS = 1_700_000_000_000
KEY_MAP_MIB = 300
#: For a million keys; without the compiled codec they take more.
SPEED_MAP_MIB = 128 if CODEC == "compiled" else 512
PAIRS = 5
ROUND_S = 6.0


@asynccontextmanager
async def node_in(directory: Path, *, cleaning: bool = False) -> AsyncIterator[Node]:
    """A node without its edge; its cleaner works only where that is measured."""
    config, entries = load_node_config(
        flags={"node.data_dir": str(directory), "retention.check.interval.ms": "2s"}
    )
    disks = [ThreadDisk("disk"), ThreadDisk("metadata")]
    ports = Ports(
        files=RealFiles(directory),
        disk=disks[0],
        metadata_disk=disks[1],
        clock=SystemClock(),
        rng=SystemRng(),
        spawn=TaskSpawn,
        cleaning=ChildCleaning(directory, config.cleaner.io_bytes_per_second) if cleaning else None,
    )
    node = Node(config, entries, ports, version="bench")
    try:
        await node.start()
        yield node
        await node.stop()
    finally:
        for disk in disks:
            await disk.close()


async def retention_check_ms(directory: Path) -> float:
    """Milliseconds of one check of `PARTITIONS` partitions that have nothing to delete."""
    async with node_in(directory) as node:
        topic = await node.broker.create_topic("t", partitions=PARTITIONS)
        now_ms = time.time_ns() // 1_000_000
        batch = encode_batch([WireRecord(0, now_ms, b"key", b"value" * 100, ())])
        for partition in range(PARTITIONS):
            await node.broker.produce(topic.topic_id, partition, batch, leader_epoch=-1, acks=-1)
        times = []
        for _ in range(RUNS):
            begin = time.perf_counter()
            await node._partitions.enforce_retention()
            times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def retention(directory: Path) -> None:
    """Print the cost of a check."""
    took_ms = asyncio.run(retention_check_ms(directory))
    print(f"retention: a check of {PARTITIONS} partitions with nothing to do: {took_ms:.1f} ms")


def keyed_batches(keys: int, records: int, seed: int) -> Iterator[bytes]:
    """Batches of about 16 KiB with records of 100 bytes; keys are drawn, or each once in turn."""
    rng = random.Random(seed)
    value = b"v" * 80
    done = 0
    while done < records:
        builder = BatchBuilder(bytes_max=16_384)
        while done < records:
            number = rng.randrange(keys) if keys < records else done
            if builder.append(NOW_MS, b"key-%016d" % number, value) < 0:
                break
            done += 1
        yield builder.build()


def filled(files: RealFiles, keys: int, records: int) -> tuple[PartitionLog, int]:
    """A compacted log of 64 MiB segments, all closed; and its bytes."""
    log = PartitionLog.create(files, "log", LogConfig(compacts=True))
    for batch in keyed_batches(keys, records, 1):
        header = verify_batch(batch)
        log.append(batch, header, leader_epoch=0, now_ms=NOW_MS)
    log.roll()
    point = log.prepare_sync()
    assert point is not None, "something was written"
    point.run()
    log.complete_sync(point)
    return log, log.view.size_bytes


class Pass(NamedTuple):
    """One pass in a child process; what the kernel says of it when it has ended.

    `cpu_seconds` is what it would take on a processor of its own, with its data in the page cache.
    """

    seconds: float
    cpu_seconds: float
    bytes_in: int
    keys: int
    peak_mib: float


def one_pass(directory: Path, *, keys: int, records: int, map_bytes: int) -> Pass:
    """Fill a log and clean it once; CleaningError when not all keys fit."""
    files = RealFiles(directory)
    log, size = filled(files, keys, records)
    end = log.view.durable_end_offset
    plan = log.cleaning.plan(Moment(NOW_MS), end, tag="bench", map_bytes=map_bytes, asked=True)
    assert plan is not None, "all of it is new"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    result = asyncio.run(ChildCleaning(directory, -1).clean(plan))
    seconds = time.perf_counter() - begin
    assert result.mapped_end == end, "one pass"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Pass(seconds, cpu_seconds, size, result.keys, after.ru_maxrss / 1024)


def speed(directory: Path) -> None:
    """Print how fast a pass is."""
    made = one_pass(directory, keys=1_000_000, records=4_000_000, map_bytes=SPEED_MAP_MIB * MIB)
    rates = [made.bytes_in / seconds / 1e6 for seconds in (made.seconds, made.cpu_seconds)]
    print(
        f"speed: {made.bytes_in / 1e6:.0f} MB in, {made.keys:,} keys: {rates[0]:.0f} MB/s of input"
        f" by the clock, {rates[1]:.0f} MB/s of processor time ({CODEC} codec, goal 50)"
    )


def many_keys(directory: Path) -> None:
    """Print what ten million keys take."""
    made = one_pass(directory, keys=10_000_000, records=10_000_000, map_bytes=KEY_MAP_MIB * MIB)
    print(
        f"keys: {made.keys:,} keys in one pass, {made.bytes_in / 1e6:.0f} MB in"
        f" {made.seconds:.1f} s ({made.cpu_seconds:.1f} s of processor), {made.peak_mib:.0f} MiB"
        f" at the most (map {KEY_MAP_MIB} MiB, {CODEC} codec, goal 512)"
    )


async def traffic(node: Node, topic_id: bytes, seconds: float) -> tuple[float, float]:
    """MB/s produced to and MB/s read from a topic at the same time, through the node's own door."""
    value = encode_batch([WireRecord(n, NOW_MS, b"key", b"v" * 1000, ()) for n in range(16)])
    broker, end = node.broker, time.perf_counter() + seconds
    totals = [0, 0]

    async def produce() -> None:
        while time.perf_counter() < end:
            await broker.produce(topic_id, 0, value, leader_epoch=-1, acks=-1)
            totals[0] += len(value)

    async def consume() -> None:
        offset = 0
        while time.perf_counter() < end:
            try:
                chunk = await broker.read(topic_id, 0, offset, bytes_max=1 << 20, wait_ms=50)
            except OffsetOutOfRangeError as error:
                offset = error.next_offset
                continue
            totals[1] += len(chunk.records)
            offset = chunk.next_offset if chunk.records else chunk.log_start_offset

    await asyncio.gather(*(produce() for _ in range(8)), consume(), consume())
    return totals[0] / seconds / 1e6, totals[1] / seconds / 1e6


class Rates(NamedTuple):
    """MB/s, produced and read at the same time."""

    produced: float
    read: float


class Pair(NamedTuple):
    """Two rounds, one behind the other."""

    alone: Rates
    beside: Rates


async def beside_a_cleaner(directory: Path) -> tuple[list[Pair], int]:
    """Pairs of rounds without and with a cleaner that is always busy; and its passes."""
    async with node_in(directory, cleaning=True) as node:
        broker = node.broker
        plain = await broker.create_topic("plain", config={"retention.bytes": "64MiB"})
        keyed = await broker.create_topic("keyed", config={"cleanup.policy": "compact"})
        for batch in keyed_batches(200_000, 4_000_000, 2):
            await broker.produce(keyed.topic_id, 0, batch, leader_epoch=-1, acks=-1)
        # The keyed topic is compacted once, and the traffic is warm.
        await one_round(node, plain.topic_id, keyed.topic_id)
        pairs = []
        for number in range(PAIRS):
            if number % 2:
                beside = await one_round(node, plain.topic_id, keyed.topic_id)
                alone = await one_round(node, plain.topic_id)
            else:
                alone = await one_round(node, plain.topic_id)
                beside = await one_round(node, plain.topic_id, keyed.topic_id)
            pairs.append(Pair(alone, beside))
        return pairs, node._cleaner.passes


async def one_round(node: Node, topic_id: TopicId, cleaned: TopicId | None = None) -> Rates:
    """Traffic for a round, while a topic is cleaned if one is named; no pass is left behind."""
    if cleaned is None:
        return Rates(*await traffic(node, topic_id, ROUND_S))
    cleaning = asyncio.ensure_future(keep_cleaning(node, cleaned))
    await asyncio.sleep(0.5)
    rates = Rates(*await traffic(node, topic_id, ROUND_S))
    cleaning.cancel()
    while node._cleaner.busy:
        await asyncio.sleep(0.05)
    return rates


async def keep_cleaning(node: Node, topic_id: TopicId) -> None:
    """Passes one behind the other: each log counts as new again after its pass."""
    found = node._partitions.get(TopicPartitionId(topic_id, 0))
    assert found is not None, "the partition is here"
    while True:
        found.log.cleaning.state = CleanState()
        await node._cleaner.compact(found, now=True, wait_ms=60_000)


def beside(directory: Path) -> None:
    """Print what traffic loses while the cleaner works."""
    pairs, passes = asyncio.run(beside_a_cleaner(directory))
    told = [
        loss_in_words(name, [(pair.alone[at], pair.beside[at]) for pair in pairs])
        for at, name in enumerate(("produce", "read"))
    ]
    print(f"beside: {'; '.join(told)}; {PAIRS} pairs, {passes} passes (goal: at most 20 % lost)")


def loss_in_words(name: str, pairs: Sequence[tuple[float, float]]) -> str:
    """The median of the losses within pairs (MB/s without and with a cleaner), and both ends."""
    losses = sorted(100 * (1 - beside / alone) for alone, beside in pairs)
    before, after = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    return (
        f"{name} {before:.0f} -> {after:.0f} MB/s, {statistics.median(losses):+.0f} % lost"
        f" ({losses[0]:+.0f} to {losses[-1]:+.0f})"
    )


FIGURES: dict[str, Callable[[Path], None]] = {
    "retention": retention,
    "speed": speed,
    "keys": many_keys,
    "beside": beside,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.cleaner", description=__doc__)
    parser.add_argument("--only", choices=sorted(FIGURES), help="one figure")
    parser.add_argument("--directory", type=Path, help="where to put data; default: temporary")
    arguments = parser.parse_args()
    for name, measure in FIGURES.items():
        if arguments.only in (None, name):
            with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
                measure(Path(directory))


if __name__ == "__main__":
    main()
