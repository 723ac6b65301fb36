"""Bytes that earlier versions wrote: they stay what they are, and they stay readable.

`golden_v1.txt` holds one record of each kind, every field with a value of its own. A new kind gets
a new line; a line is never changed. With LOGD_REWRITE=1 missing lines are added.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest

from logd.metadata import MetadataRecord, PartitionImage
from logd.metadata.records import (
    ClusterFormed,
    NodeRegistered,
    PartitionChanged,
    PartitionsAdded,
    ProducerIdsAllocated,
    TopicConfigured,
    TopicCreated,
    TopicDeleted,
)
from logd.model.ids import ClusterId, DirectoryId, LeaderEpoch, NodeId, TopicId
from logd.runtime.record_codec import decode_metadata_record, encode_metadata_record

GOLDEN = Path(__file__).parent / "golden_v1.txt"


def numbered(first: int) -> bytes:
    return bytes(range(first, first + 16))


def state(number: int) -> PartitionImage:
    nodes = tuple(NodeId(number * 10 + step) for step in (1, 300, 70_000))
    return PartitionImage(
        number, nodes[1], LeaderEpoch(number + 20), nodes, nodes[1:], number + 2**20
    )


TOPIC = TopicId(numbered(0x40))
OVERRIDES = (("flush", "interval:10ms"), ("retention.ms", "604800000"))
RECORDS: list[MetadataRecord] = [
    ClusterFormed(ClusterId(numbered(0x10))),
    NodeRegistered(
        NodeId(7), DirectoryId(numbered(0x20)), numbered(0x30), "node7.example:7171", "zone-b"
    ),
    TopicCreated(TOPIC, "orders.v1", (state(0), state(1)), OVERRIDES),
    TopicConfigured(TOPIC, OVERRIDES[1:]),
    PartitionsAdded(TOPIC, (state(2),)),
    TopicDeleted(TOPIC),
    ProducerIdsAllocated(NodeId(7), 2**40 + 5, 1_000),
    PartitionChanged(
        TOPIC,
        PartitionImage(3, NodeId(-1), LeaderEpoch(9), (NodeId(1), NodeId(2)), (NodeId(2),), 4),
    ),
]


def read_golden() -> dict[str, str]:
    lines = GOLDEN.read_text().splitlines() if GOLDEN.exists() else []
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))


def test_there_is_a_line_for_each_kind() -> None:
    kinds = [type(record).__name__ for record in RECORDS]
    assert kinds == [kind.__name__ for kind in get_args(MetadataRecord)]
    golden = read_golden()
    if os.environ.get("LOGD_REWRITE") == "1":
        for record in RECORDS:
            golden.setdefault(type(record).__name__, encode_metadata_record(record).hex())
        GOLDEN.write_text("".join(f"{kind} {text}\n" for kind, text in golden.items()))
    assert list(golden) == kinds


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_golden_bytes(record: MetadataRecord) -> None:
    golden = bytes.fromhex(read_golden()[type(record).__name__])
    assert decode_metadata_record(golden) == record
    assert encode_metadata_record(record) == golden
