from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire.errors import UnknownTopicError

from logd.metadata import (
    ClusterImage,
    InconsistentLogError,
    MetadataRecord,
    TopicImage,
    find_problems,
    replay,
)
from logd.metadata.records import (
    ClusterFormed,
    NodeFenced,
    NodeRemoved,
    NodeUnfenced,
    PartitionChanged,
    PartitionsAdded,
    ProducerIdsAllocated,
    TopicConfigured,
    TopicCreated,
    TopicDeleted,
)
from logd.model.ids import NO_NODE, DirectoryId, LeaderEpoch, NodeId, TopicPartitionId
from tests.unit.metadata.samples import (
    CLUSTER,
    id_of,
    image_with_topic,
    records,
    state,
    topic_id,
)

T = topic_id("t")
IMAGE = image_with_topic()
NODE = IMAGE.nodes[NodeId(1)]
REMOVED = NodeRemoved(NODE.node_id, NODE.directory_id, NODE.node_epoch)
OTHER = DirectoryId(id_of("other"))
GONE = NodeRemoved(NodeId(3), DirectoryId(id_of("gone")), 8)


@pytest.mark.parametrize(
    "record",
    [
        ClusterFormed(CLUSTER),
        TopicCreated(topic_id("other"), "t", (state(),), ()),
        TopicCreated(T, "other", (state(),), ()),
        TopicCreated(topic_id("other"), "other", (state(1),), ()),
        TopicConfigured(topic_id("other"), ()),
        TopicDeleted(topic_id("other")),
        PartitionsAdded(topic_id("other"), (state(),)),
        PartitionsAdded(T, (state(1),)),
        PartitionsAdded(T, (state(3),)),
        PartitionsAdded(T, (state(2), state(2))),
        PartitionChanged(topic_id("other"), state(0, partition_epoch=1)),
        PartitionChanged(T, state(2, partition_epoch=1)),
        PartitionChanged(T, state(-1, partition_epoch=1)),
        PartitionChanged(T, state(0, partition_epoch=0)),
        PartitionChanged(T, state(0, partition_epoch=1, leader_epoch=LeaderEpoch(-1))),
        ProducerIdsAllocated(NodeId(1), 999, 1),
        ProducerIdsAllocated(NodeId(1), 1_000, 0),
        NODE,
        replace(NODE, directory_id=GONE.directory_id, node_epoch=9),
        NodeFenced(NodeId(2), NODE.incarnation_id),
        NodeFenced(NodeId(1), id_of("other")),
        NodeUnfenced(NodeId(2), NODE.incarnation_id),
        NodeUnfenced(NodeId(1), id_of("other")),
        replace(REMOVED, directory_id=OTHER),
        GONE,
    ],
)
def test_what_contradicts_the_log_is_refused(record: MetadataRecord) -> None:
    image = replay(IMAGE, [ProducerIdsAllocated(NodeId(1), 0, 1_000), GONE])
    with pytest.raises(InconsistentLogError) as caught:
        replay(image, [record])
    assert not caught.value.retriable
    assert str(caught.value).startswith("metadata log: ")


@given(records)
def test_the_first_record_forms_the_cluster(record: MetadataRecord) -> None:
    if isinstance(record, ClusterFormed):
        assert replay(ClusterImage(), [record]).cluster_id == record.cluster_id
    else:
        with pytest.raises(InconsistentLogError, match="out of place"):
            replay(ClusterImage(), [record])


@given(st.lists(records, max_size=6))
def test_any_records_are_taken_in_or_refused(several: list[MetadataRecord]) -> None:
    image = image_with_topic()
    kept = replace(image)
    with contextlib.suppress(InconsistentLogError):
        replay(image, several)
    assert image == kept, "an image never changes"


def test_an_image_cannot_be_written_to() -> None:
    image = image_with_topic()
    for mapping in (image.nodes, image.topics, image.topic_ids, ClusterImage().topics):
        with pytest.raises(TypeError):
            mapping["x"] = 1  # type: ignore[index]


def test_a_partition_changes_its_leader() -> None:
    change = PartitionChanged(
        T,
        state(
            1,
            leader_id=NodeId(2),
            leader_epoch=LeaderEpoch(1),
            replicas=(NodeId(1), NodeId(2)),
            isr=(NodeId(2),),
            partition_epoch=1,
        ),
    )
    before = image_with_topic()
    after = replay(before, [change])
    assert after.topic(T).partitions == (before.topic(T).partitions[0], change.state)
    assert dict(after.partitions_of(NodeId(2))) == {TopicPartitionId(T, 1): change.state}
    assert list(dict(after.partitions_of(NodeId(1)))) == [(T, 0), (T, 1)]
    assert find_problems(after) == []


def test_looking_up() -> None:
    image = replay(image_with_topic(), [TopicCreated(topic_id("a"), "a", (state(),), ())])
    assert [topic.name for topic in image.topics_by_name()] == ["a", "t"]
    with pytest.raises(UnknownTopicError, match="'nope' does not exist"):
        image.topic_named("nope")
    with pytest.raises(UnknownTopicError, match=r"of 3 bytes"):
        image.topic(topic_id("x")[:3])  # type: ignore[arg-type]
    for number in (-1, 2):
        with pytest.raises(UnknownTopicError, match=f"no partition {number}"):
            image.topic(T).partition(number)


def test_problems_are_found() -> None:
    good = image_with_topic()
    topic = good.topic(T)
    bad_topics = [
        replace(topic, name="u"),
        replace(topic, topic_id=topic_id("u")),
        replace(topic, partitions=()),
        replace(topic, overrides=(("b", ""), ("a", ""))),
        *(
            replace(topic, partitions=(bad,))
            for bad in (
                state(1),
                state(0, replicas=()),
                state(0, replicas=(NodeId(1), NodeId(1))),
                state(0, isr=(NodeId(1), NodeId(1))),
                state(0, isr=(NodeId(2),), leader_id=NodeId(2)),
                state(0, isr=()),
                state(0, leader_id=NO_NODE, isr=()),
                state(0, isr=(NodeId(1),), eligible=(NodeId(1),)),
                state(0, eligible=(NodeId(2),)),
                state(0, last_known_leader=NodeId(2)),
                state(0, leader_epoch=LeaderEpoch(-1)),
                state(0, partition_epoch=-1),
            )
        ),
    ]
    bad_images = [
        *(replace(good, topics={T: bad}) for bad in bad_topics),
        replace(good, topic_ids={}),
        replace(good, cluster_id=None),
        replace(ClusterImage(), next_producer_id=1),
        replace(good, nodes={NodeId(2): NODE}),
        replace(
            good, nodes={NodeId(1): NODE, NodeId(2): replace(NODE, node_id=NodeId(2), node_epoch=9)}
        ),
        replace(
            good,
            nodes={
                NodeId(1): NODE,
                NodeId(2): replace(NODE, node_id=NodeId(2), directory_id=OTHER),
            },
        ),
        replace(good, removed={NODE.directory_id: REMOVED}),
        replace(good, nodes={}),
        replace(good, voters=good.voters * 2),
        replace(good, voters=(replace(good.voters[0], directory_id=OTHER),)),
    ]
    assert find_problems(good) == find_problems(ClusterImage()) == []
    assert [find_problems(bad) for bad in bad_images if not find_problems(bad)] == []
    offline = state(0, leader_id=NO_NODE, isr=(), eligible=(NodeId(1),))
    leaderless = TopicImage(T, "t", (offline,), ())
    assert find_problems(replace(good, topics={T: leaderless})) == []
