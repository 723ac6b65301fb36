"""A data folder written by an earlier release opens in this one, with everything in it."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from logd_wire import WireRecord, decode_batch, iter_headers

from logd.app import running_node
from logd.runtime.broker import Broker
from tests.compat.folder.make import (
    CODECS,
    PARTITIONS,
    RECORDS,
    TIME_MS,
    TOPIC,
    TRIMMED_TO,
    batch,
    config_for,
)

HERE = Path(__file__).parent
RELEASES = sorted(path.name.removesuffix(".tar.gz") for path in HERE.glob("*.tar.gz"))


def test_there_is_a_folder_of_every_release() -> None:
    assert RELEASES == ["0.1.0"]


async def _read(broker: Broker, topic_id: bytes, partition: int, offset: int) -> list[WireRecord]:
    records: list[WireRecord] = []
    while True:
        chunk = await broker.read(topic_id, partition, offset, bytes_max=1 << 20, wait_ms=0)
        if not chunk.records:
            return [record for record in records if record.offset >= chunk.log_start_offset]
        for position, _ in iter_headers(chunk.records):
            records += decode_batch(chunk.records, position)
        offset = chunk.next_offset


@pytest.mark.parametrize("state", ["clean", "crashed"])
@pytest.mark.parametrize("release", RELEASES)
async def test_a_folder_opens_with_everything_in_it(
    release: str, state: str, tmp_path: Path
) -> None:
    with tarfile.open(HERE / f"{release}.tar.gz") as archive:
        # The first releases of 3.11 know no filters yet; the archive is ours.
        if hasattr(tarfile, "data_filter"):
            archive.extractall(tmp_path, filter="data")
        else:
            archive.extractall(tmp_path)
    async with running_node(config_for(tmp_path / state)) as node:
        broker = node.broker
        assert list(broker.image.topic_ids) == [TOPIC]
        topic = broker.image.topic_named(TOPIC)
        assert len(topic.partitions) == PARTITIONS
        assert topic.config == {
            "max.message.bytes": "100000",
            "retention.ms": "-1",
            "segment.bytes": "4096",
        }
        for partition in range(PARTITIONS):
            start = TRIMMED_TO if partition == 0 else 0
            found = await _read(broker, topic.topic_id, partition, start)
            assert [record.offset for record in found] == list(range(start, RECORDS))
            assert all(
                record.timestamp == TIME_MS + record.offset
                and record.key == b"key-%d" % record.offset
                and record.value
                == (None if record.offset % 10 == 9 else b"%d-%d" % (partition, record.offset))
                for record in found
            )
            at = await broker.list_offset(topic.topic_id, partition, TIME_MS + 33)
            assert at[:2] == (33, TIME_MS + 33)
            # The producer is still known: a batch sent again is not appended again.
            again = await broker.produce(
                topic.topic_id,
                partition,
                batch(partition, RECORDS - 10, 10, compression=CODECS[partition]),
                leader_epoch=-1,
                acks=-1,
            )
            assert (again.duplicate, again.base_offset) == (True, RECORDS - 10)
        producer_id, _ = await broker.init_producer_id()
        assert producer_id >= 1_000, "blocks given out before are not given out again"
