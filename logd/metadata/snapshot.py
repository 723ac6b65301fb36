"""An image as records: replayed from nothing they give an equal image.

That is what a snapshot of the metadata holds. No record is larger than an entry may be, however
many partitions a topic has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from logd.metadata.image import ClusterImage, TopicImage
from logd.metadata.records import (
    ClusterFormed,
    MetadataRecord,
    PartitionsAdded,
    ProducerIdsAllocated,
    TopicCreated,
    VotersChanged,
)
from logd.model.ids import NO_NODE

#: A partition takes about 40 bytes and, at worst, 10 for each replica: 1 MiB is far away.
PARTITIONS_PER_RECORD: Final = 1_000


def image_records(image: ClusterImage) -> tuple[MetadataRecord, ...]:
    """Return records that rebuild `image`; none for the image before the first record."""
    return tuple(_records(image))


def _records(image: ClusterImage) -> Iterator[MetadataRecord]:
    if image.cluster_id is None:
        return
    yield ClusterFormed(image.cluster_id)
    # Before the nodes: the id of a removed node may be in use again.
    yield from image.removed.values()
    yield from image.nodes.values()
    if image.voters:
        yield VotersChanged(image.voters)
    if image.next_producer_id:
        # Only the end of what was handed out counts, not to whom.
        yield ProducerIdsAllocated(NO_NODE, image.next_producer_id - 1, 1)
    yield from image.deleted.values()
    yield from image.requests.values()
    for topic in image.topics.values():
        yield from _of_topic(topic)


def _of_topic(topic: TopicImage) -> Iterator[MetadataRecord]:
    first, *others = (
        topic.partitions[start : start + PARTITIONS_PER_RECORD]
        for start in range(0, max(1, len(topic.partitions)), PARTITIONS_PER_RECORD)
    )
    yield TopicCreated(topic.topic_id, topic.name, first, topic.overrides)
    for partitions in others:
        yield PartitionsAdded(topic.topic_id, partitions)
