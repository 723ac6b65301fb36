"""Every record of the metadata log in words."""

from __future__ import annotations

from typing import get_args

import pytest

from logd.consensus.log_types import NO_OP
from logd.metadata import MetadataRecord, PartitionImage, VoterImage
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
    VotersChanged,
)
from logd.model.ids import ClusterId, DirectoryId, LeaderEpoch, NodeId, TopicId
from logd.runtime.raft_words import RecordInWords, describe_payload
from logd.runtime.record_codec import encode_metadata_record

ID = bytes(range(16))
SHOWN = "00010203-0405-0607-0809-0a0b0c0d0e0f"
ONE, TWO = NodeId(1), NodeId(2)


def partition(number: int, leader: int = 1, eligible: tuple[NodeId, ...] = ()) -> PartitionImage:
    isr = (ONE,) if leader == 1 else ()
    return PartitionImage(number, NodeId(leader), LeaderEpoch(5), (ONE, TWO), isr, 3, eligible)


WORDS: list[tuple[MetadataRecord, str, str]] = [
    (ClusterFormed(ClusterId(ID)), "cluster-formed", f"cluster {SHOWN} begins"),
    (
        NodeRegistered(ONE, DirectoryId(ID), ID, "n1:7171", "a", "n1:7172", 4, fenced=True),
        "node-registered",
        f"node 1 started: clients at n1:7171, peers at n1:7172, rack a, directory {SHOWN}, fenced",
    ),
    (NodeFenced(TWO, ID), "node-fenced", "node 2 is not counted on any more"),
    (NodeUnfenced(TWO, ID), "node-unfenced", "node 2 is in service"),
    (
        NodeRemoved(TWO, DirectoryId(ID), 7),
        "node-removed",
        f"node 2 with directory {SHOWN} is gone for good",
    ),
    (
        VotersChanged(
            (
                VoterImage(ONE, DirectoryId(ID), "n1:7172"),
                VoterImage(TWO, DirectoryId(ID[::-1]), ""),
            )
        ),
        "voters-changed",
        "the voters are 1@n1:7172, 2",
    ),
    (
        RequestDone(ID, TopicId(ID)),
        "request-done",
        f"request {SHOWN} about topic {SHOWN} is carried out",
    ),
    (
        TopicCreated(TopicId(ID), "orders", (partition(0),), (("retention.ms", "5"),)),
        "topic-created",
        f"topic orders ({SHOWN}) with 1 partition: 0 led by 1 in epoch 5, replicas [1,2], "
        "in sync [1], retention.ms=5",
    ),
    (
        TopicConfigured(TopicId(ID), ()),
        "topic-configured",
        f"topic {SHOWN}, all settings at their defaults",
    ),
    (
        PartitionsAdded(TopicId(ID), tuple(partition(number) for number in range(3, 9))),
        "partitions-added",
        f"topic {SHOWN} gets 6 partitions: "
        + "; ".join(
            f"{number} led by 1 in epoch 5, replicas [1,2], in sync [1]" for number in (3, 4, 5, 6)
        )
        + "; …",
    ),
    (TopicDeleted(TopicId(ID)), "topic-deleted", f"topic {SHOWN} is deleted"),
    (
        ProducerIdsAllocated(ONE, 1000, 500),
        "producer-ids-allocated",
        "node 1 hands out the producer ids 1000 to 1499",
    ),
    (
        PartitionChanged(TopicId(ID), partition(2, leader=-1, eligible=(TWO,))),
        "partition-changed",
        f"topic {SHOWN} partition 2 without leader in epoch 5, replicas [1,2], in sync [], "
        "eligible [2]",
    ),
]


@pytest.mark.parametrize(("record", "kind", "text"), WORDS, ids=[kind for _, kind, _ in WORDS])
def test_a_record_in_words(record: MetadataRecord, kind: str, text: str) -> None:
    assert describe_payload(encode_metadata_record(record)) == RecordInWords(kind, text)


def test_every_kind_of_record_is_here() -> None:
    assert {type(record) for record, _, _ in WORDS} == set(get_args(MetadataRecord))


def test_what_cannot_be_read_is_shown_as_that() -> None:
    assert describe_payload(NO_OP).kind == "no-op"
    newer = describe_payload(b"\x08\x63")
    assert newer.kind == "unreadable" and "version 99" in newer.text
    broken = describe_payload(b"\xff\xff\xff")
    assert broken.kind == "unreadable" and "3 bytes" in broken.text
