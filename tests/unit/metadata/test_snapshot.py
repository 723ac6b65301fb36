from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire.limits import MIB

from logd.metadata import (
    AllocateProducerIds,
    ClusterImage,
    InconsistentLogError,
    RemoveNode,
    image_records,
    replay,
)
from logd.metadata.records import (
    MetadataRecord,
    PartitionImage,
    PartitionsAdded,
    ProducerIdsAllocated,
    TopicCreated,
)
from logd.model.ids import NODE_ID_MAX, LeaderEpoch, NodeId
from logd.model.units import INT64_MAX
from logd.runtime.record_codec import decode_metadata_record, encode_metadata_record
from tests.unit.metadata.samples import (
    create,
    fence,
    image_with_topic,
    machine_with_nodes,
    records,
    registration,
    run,
    topic_id,
)


def test_nothing_is_a_snapshot_of_nothing() -> None:
    assert image_records(ClusterImage()) == ()


def test_everything_comes_back() -> None:
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t", partitions=4, config={"retention.ms": "1d"}, replication_factor=2)
    create(machine, "u", replication_factor=1)
    run(machine, AllocateProducerIds(NodeId(2)))
    machine.replay(ProducerIdsAllocated(NodeId(1), INT64_MAX - 5, 5))
    fence(machine, 2, 1)
    machine_of_four = machine_with_nodes(1, 2, 3, 4)
    for _ in range(2):
        run(machine_of_four, RemoveNode(NodeId(4)))
    run(machine_of_four, registration(4, directory="new"))
    for image in (machine.image, machine_of_four.image):
        rebuilt = replay(ClusterImage(), image_records(image))
        assert rebuilt == image
        assert rebuilt.last_node_epoch == image.last_node_epoch
        assert list(rebuilt.topics) == list(image.topics), "also the order, that placement goes by"
        assert list(rebuilt.nodes) == list(image.nodes)


def test_a_snapshot_remembers_what_must_not_come_back() -> None:
    machine = machine_with_nodes(1, 2, 3)
    for _ in range(2):
        run(machine, RemoveNode(NodeId(3)))
    image = replay(ClusterImage(), image_records(machine.image))
    assert set(image.removed) == {registration(3).directory_id}
    assert image.last_node_epoch == 3


@given(st.lists(records, max_size=12))
def test_a_snapshot_rebuilds_any_image(several: list[MetadataRecord]) -> None:
    """Whatever the log holds, sensible or not, as long as it can be replayed."""
    image = image_with_topic()
    for record in several:
        with contextlib.suppress(InconsistentLogError):
            image = replay(image, [record])
    encoded = [encode_metadata_record(record) for record in image_records(image)]
    assert replay(ClusterImage(), map(decode_metadata_record, encoded)) == image


def test_producer_ids_that_do_not_exist_are_not_handed_out() -> None:
    last = replay(image_with_topic(), [ProducerIdsAllocated(NodeId(1), INT64_MAX - 1, 2)])
    assert replay(ClusterImage(), image_records(last)) == last
    with pytest.raises(InconsistentLogError, match=f"up to {INT64_MAX + 1} were handed out"):
        replay(image_with_topic(), [ProducerIdsAllocated(NodeId(1), INT64_MAX, 2)])


def test_no_record_is_too_large_for_an_entry() -> None:
    largest = NODE_ID_MAX - 100
    replicas = tuple(NodeId(largest + number) for number in range(100))
    state = PartitionImage(
        0,
        replicas[-1],
        LeaderEpoch(2**31 - 1),
        replicas,
        replicas[50:],
        2**31 - 1,
        replicas[:50],
        replicas[0],
    )
    partitions = tuple(replace(state, partition=number) for number in range(10_000))
    machine = machine_with_nodes(1)
    machine.replay(TopicCreated(topic_id("t"), "t" * 249, partitions, (("a", "b" * 1_000),)))
    made = image_records(machine.image)
    assert [type(record) for record in made[-10:]] == [TopicCreated, *[PartitionsAdded] * 9]
    assert max(len(encode_metadata_record(record)) for record in made) <= MIB
    assert replay(ClusterImage(), made) == machine.image
