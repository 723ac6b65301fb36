"""What retention costs: `python -m bench.cleaner [--only NAME] [--directory DIR]`."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from logd_wire import WireRecord, encode_batch

from logd.model.node_config import load_node_config
from logd.runtime.adapters import SystemClock, SystemRng, TaskSpawn, ThreadDisk
from logd.runtime.node import Node, Ports
from logd.storage import RealFiles

PARTITIONS = 1000
RUNS = 9


@asynccontextmanager
async def node_in(directory: Path) -> AsyncIterator[Node]:
    """A node without its edge."""
    config, entries = load_node_config(
        flags={"node.data_dir": str(directory), "retention.check.interval.ms": "1d"}
    )
    disks = [ThreadDisk("disk"), ThreadDisk("metadata")]
    ports = Ports(
        files=RealFiles(directory),
        disk=disks[0],
        metadata_disk=disks[1],
        clock=SystemClock(),
        rng=SystemRng(),
        spawn=TaskSpawn,
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


FIGURES: dict[str, Callable[[Path], None]] = {"retention": retention}


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
