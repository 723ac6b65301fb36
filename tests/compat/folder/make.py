"""Make the data folder of this release that later releases must open.

    python -m tests.compat.folder.make tests/compat/folder/0.1.0.tar.gz

Run once for each release, with the release's own code; what is kept is never made anew.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from logd_wire import Compression, WireRecord, encode_batch

from logd.app import running_node
from logd.model.node_config import NodeConfig, load_node_config
from logd.runtime.node import Node

TIME_MS = 1_700_000_000_000
TOPIC = "orders"
PARTITIONS = 3
TRIMMED_TO = 20
RECORDS = 60
PRODUCER_ID = 0


def config_for(folder: Path) -> NodeConfig:
    config, _ = load_node_config(
        flags={"node.data_dir": str(folder), "listeners.grpc": "127.0.0.1:0"}
    )
    return config


def batch(partition: int, first: int, count: int, *, compression: Compression) -> bytes:
    """Records that say where they should be."""
    records = [
        WireRecord(
            number,
            TIME_MS + first + number,
            b"key-%d" % (first + number),
            None if (first + number) % 10 == 9 else b"%d-%d" % (partition, first + number),
            (("n", b"%d" % (first + number)),),
        )
        for number in range(count)
    ]
    return encode_batch(
        records,
        compression=compression,
        producer_id=PRODUCER_ID,
        producer_epoch=0,
        base_sequence=first,
    )


CODECS = (Compression.NONE, Compression.GZIP, Compression.ZSTD)


async def fill(node: Node) -> None:
    """Topics, configuration, records of three codecs, a trimmed prefix, a deleted topic."""
    broker = node.broker
    config = {"retention.ms": "-1", "segment.bytes": "4096"}
    topic = await broker.create_topic(TOPIC, partitions=2, config=config)
    await broker.create_topic("gone")
    await broker.delete_topic("gone")
    await broker.alter_topic(
        TOPIC, set_config={"max.message.bytes": "100000"}, delete_config=[], partitions=PARTITIONS
    )
    assert await broker.init_producer_id() == (PRODUCER_ID, 0)
    for partition in range(PARTITIONS):
        for first in range(0, RECORDS, 10):
            outcome = await broker.produce(
                topic.topic_id,
                partition,
                batch(partition, first, 10, compression=CODECS[partition]),
                leader_epoch=-1,
                acks=-1,
            )
            assert outcome.base_offset == first
    assert await broker.trim(TOPIC, {0: TRIMMED_TO}) == {0: TRIMMED_TO}


async def make(target: Path) -> None:
    """Write an archive: `clean/` was stopped in good order, `crashed/` copied while it ran."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        async with running_node(config_for(root / "clean")) as node:
            await fill(node)
            shutil.copytree(root / "clean", root / "crashed")
        with tarfile.open(target, "w:gz", compresslevel=9) as archive:
            for name in ("clean", "crashed"):
                archive.add(root / name, arcname=name)


if __name__ == "__main__":
    asyncio.run(make(Path(sys.argv[1])))
