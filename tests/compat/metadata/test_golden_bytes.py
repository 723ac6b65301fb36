"""Bytes that earlier versions wrote: they stay what they are, and they stay readable.

`golden_v1.txt` to `golden_v5.txt` hold one record of each kind of that version, every field with
a value of its own. Versions 1 to 4 are only read by now. A new kind gets a new line; a line is
never changed. With LOGD_REWRITE=1 missing lines are added to the newest.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from logd.metadata import MetadataRecord, PartitionImage
from logd.metadata.records import (
    ClusterFormed,
    NodeFenced,
    NodeRegistered,
    NodeRemoved,
    NodeUnfenced,
    PartitionChanged,
    PartitionsAdded,
    ProducerIdsAllocated,
    RequestDone,
    TopicConfigured,
    TopicCreated,
    TopicDeleted,
    VoterImage,
    VotersChanged,
)
from logd.model.ids import ClusterId, DirectoryId, LeaderEpoch, NodeId, TopicId
from logd.runtime.record_codec import decode_metadata_record, encode_metadata_record

HERE = Path(__file__).parent


def numbered(first: int) -> bytes:
    return bytes(range(first, first + 16))


def state(number: int) -> PartitionImage:
    nodes = tuple(NodeId(number * 10 + step) for step in (1, 300, 70_000))
    return PartitionImage(
        number, nodes[1], LeaderEpoch(number + 20), nodes, nodes[1:], number + 2**20
    )


def state_of_v2(number: int) -> PartitionImage:
    """With eligible replicas, and node 0 as the leader of before: 0 is not the same as none."""
    return replace(state(number), eligible=(NodeId(number * 10 + 1),), last_known_leader=NodeId(0))


def state_of_v3(number: int) -> PartitionImage:
    """On the move, with a damaged replica."""
    nodes = state(number).replicas
    return replace(
        state(number),
        replicas=(*nodes, NodeId(number * 10 + 2), NodeId(0)),
        isr=nodes[1:],
        adding=(NodeId(number * 10 + 2), NodeId(0)),
        target=(NodeId(0), nodes[1]),
        damaged=nodes[:1],
    )


TOPIC = TopicId(numbered(0x40))
OVERRIDES = (("flush", "interval:10ms"), ("retention.ms", "604800000"))
NODE = NodeRegistered(
    NodeId(7),
    DirectoryId(numbered(0x20)),
    numbered(0x30),
    "node7.example:7171",
    "zone-b",
    peer_address="",
    node_epoch=0,
    fenced=False,
)
V1: list[MetadataRecord] = [
    ClusterFormed(ClusterId(numbered(0x10))),
    NODE,
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
V2: list[MetadataRecord] = [
    ClusterFormed(ClusterId(numbered(0x10))),
    replace(NODE, peer_address="node7.example:7172", node_epoch=2**33, fenced=True),
    TopicCreated(TOPIC, "orders.v1", (state_of_v2(0), state(1)), OVERRIDES),
    TopicConfigured(TOPIC, OVERRIDES[1:]),
    PartitionsAdded(TOPIC, (state_of_v2(2),)),
    TopicDeleted(TOPIC),
    ProducerIdsAllocated(NodeId(7), 2**40 + 5, 1_000),
    PartitionChanged(
        TOPIC,
        PartitionImage(
            3,
            NodeId(-1),
            LeaderEpoch(9),
            (NodeId(1), NodeId(2), NodeId(3)),
            (),
            4,
            (NodeId(2), NodeId(3)),
            NodeId(3),
        ),
    ),
    NodeFenced(NodeId(7), numbered(0x30)),
    NodeUnfenced(NodeId(8), numbered(0x31)),
    NodeRemoved(NodeId(9), DirectoryId(numbered(0x21)), 2**33 + 1),
    VotersChanged(
        (
            VoterImage(NodeId(0), DirectoryId(numbered(0x22)), "node0.example:7172"),
            VoterImage(NodeId(7), DirectoryId(numbered(0x20)), ""),
        )
    ),
]
V3: list[MetadataRecord] = [
    *V2[:2],
    TopicCreated(TOPIC, "orders.v1", (state_of_v2(0), state_of_v3(1)), OVERRIDES),
    V2[3],
    PartitionsAdded(TOPIC, (state_of_v3(2),)),
    *V2[5:7],
    PartitionChanged(TOPIC, state_of_v3(3)),
    *V2[8:],
]
V4: list[MetadataRecord] = [
    V3[0],
    replace(NODE, node_epoch=2**33, fenced=True, vote_withdrawn=True),
    *V3[2:5],
    TopicDeleted(TOPIC, numbered(0x50)),
    *V3[6:],
]
V5: list[MetadataRecord] = [*V4, RequestDone(numbered(0x60), TOPIC)]


def named(record: MetadataRecord) -> str:
    return type(record).__name__


def read_golden(version: int) -> dict[str, str]:
    path = HERE / f"golden_v{version}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))


def test_there_is_a_line_for_each_kind() -> None:
    kinds = [kind.__name__ for kind in get_args(MetadataRecord)]
    assert [named(record) for record in V5] == kinds
    golden = read_golden(5)
    if os.environ.get("LOGD_REWRITE") == "1":
        for record in V5:
            golden.setdefault(named(record), encode_metadata_record(record).hex())
        path = HERE / "golden_v5.txt"
        path.write_text("".join(f"{kind} {text}\n" for kind, text in golden.items()))
    assert list(golden) == kinds
    assert list(read_golden(4)) == kinds[: len(V4)]
    assert list(read_golden(3)) == kinds[: len(V3)]
    assert list(read_golden(2)) == kinds[: len(V2)]
    assert list(read_golden(1)) == kinds[: len(V1)]


@pytest.mark.parametrize("record", V1, ids=named)
def test_version_1_is_read(record: MetadataRecord) -> None:
    assert decode_metadata_record(bytes.fromhex(read_golden(1)[named(record)])) == record


@pytest.mark.parametrize("record", V2, ids=named)
def test_version_2_is_read(record: MetadataRecord) -> None:
    assert decode_metadata_record(bytes.fromhex(read_golden(2)[named(record)])) == record


@pytest.mark.parametrize("record", V3, ids=named)
def test_version_3_is_read(record: MetadataRecord) -> None:
    assert decode_metadata_record(bytes.fromhex(read_golden(3)[named(record)])) == record


@pytest.mark.parametrize("record", V4, ids=named)
def test_version_4_is_read(record: MetadataRecord) -> None:
    assert decode_metadata_record(bytes.fromhex(read_golden(4)[named(record)])) == record


@pytest.mark.parametrize("record", V5, ids=named)
def test_golden_bytes(record: MetadataRecord) -> None:
    golden = bytes.fromhex(read_golden(5)[named(record)])
    assert decode_metadata_record(golden) == record
    assert encode_metadata_record(record) == golden
