"""What the metadata log amounts to: an immutable snapshot that anyone may keep and read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from logd_wire.errors import ErrorCode, UnknownTopicError

from logd.metadata.records import NodeRegistered, Overrides, PartitionImage
from logd.model.ids import ClusterId, NodeId, TopicId, TopicPartitionId, format_id
from logd.model.names import is_internal

#: A node as the cluster knows it: its latest registration.
NodeImage = NodeRegistered


@dataclass(frozen=True, slots=True)
class TopicImage:
    """One topic. A plan of a topic (`validate_only`) looks the same and is in no image."""

    topic_id: TopicId
    name: str
    partitions: tuple[PartitionImage, ...]
    overrides: Overrides

    @property
    def internal(self) -> bool:
        """Whether this is a topic of the system itself."""
        return is_internal(self.name)

    @property
    def config(self) -> dict[str, str]:
        """The topic's own configuration, a fresh dict for `parse_topic_config`."""
        return dict(self.overrides)

    @property
    def replication_factor(self) -> int:
        """Replicas of the first partition; all partitions are created alike."""
        return len(self.partitions[0].replicas) if self.partitions else 0

    def partition(self, number: int) -> PartitionImage:
        """Return one partition; raises UnknownTopicError (UNKNOWN_PARTITION)."""
        if 0 <= number < len(self.partitions):
            return self.partitions[number]
        raise UnknownTopicError(
            f"topic {self.name} has no partition {number}",
            hint=f"its partitions are 0 to {len(self.partitions) - 1}",
            code=ErrorCode.UNKNOWN_PARTITION,
        )


@dataclass(frozen=True, slots=True)
class ClusterImage:
    """The cluster at one point of the metadata log. The mappings cannot be written to."""

    #: None before the first record.
    cluster_id: ClusterId | None = None
    nodes: Mapping[NodeId, NodeImage] = field(default_factory=lambda: MappingProxyType({}))
    topics: Mapping[TopicId, TopicImage] = field(default_factory=lambda: MappingProxyType({}))
    topic_ids: Mapping[str, TopicId] = field(default_factory=lambda: MappingProxyType({}))
    #: No block handed out so far contains this id or a larger one.
    next_producer_id: int = 0

    def topic(self, topic_id: TopicId) -> TopicImage:
        """Return a topic by id; raises UnknownTopicError."""
        topic = self.topics.get(topic_id)
        if topic is None:
            shown = format_id(topic_id) if len(topic_id) == 16 else f"of {len(topic_id)} bytes"
            raise UnknownTopicError(
                f"no topic has the id {shown}",
                hint="it may have been deleted; ask for the metadata again",
            )
        return topic

    def topic_named(self, name: str) -> TopicImage:
        """Return a topic by name; raises UnknownTopicError."""
        topic_id = self.topic_ids.get(name)
        if topic_id is None:
            raise UnknownTopicError(
                f"topic {name[:249]!a} does not exist", hint="create it, or check the spelling"
            )
        return self.topics[topic_id]

    def topics_by_name(self) -> list[TopicImage]:
        """Return all topics, sorted by name."""
        return [self.topics[topic_id] for _, topic_id in sorted(self.topic_ids.items())]

    def partitions_of(self, node_id: NodeId) -> Iterator[tuple[TopicPartitionId, PartitionImage]]:
        """Every partition with a replica on the node, by topic name and number."""
        for topic in self.topics_by_name():
            for state in topic.partitions:
                if node_id in state.replicas:
                    yield TopicPartitionId(topic.topic_id, state.partition), state


def find_problems(image: ClusterImage) -> list[str]:
    """Return, in words, everything in an image that no sequence of good records can lead to."""
    problems = []
    if {topic.name: topic_id for topic_id, topic in image.topics.items()} != dict(image.topic_ids):
        problems.append("topics by id and topics by name differ")
    if image.cluster_id is None and (image.nodes or image.topics or image.next_producer_id):
        problems.append("there is something in a cluster that was never formed")
    for topic_id, topic in image.topics.items():
        if topic_id != topic.topic_id:
            problems.append(f"topic {topic.name} is kept under another id")
        if not topic.partitions:
            problems.append(f"topic {topic.name} has no partitions")
        if list(topic.overrides) != sorted(set(topic.overrides)):
            problems.append(f"topic {topic.name}: configuration is not sorted")
        for number, state in enumerate(topic.partitions):
            problems.extend(
                f"{topic.name}-{number}: {problem}" for problem in _of_partition(number, state)
            )
    return problems


def _of_partition(number: int, state: PartitionImage) -> Iterator[str]:
    if state.partition != number:
        yield f"is numbered {state.partition}"
    if not state.replicas or len(set(state.replicas)) != len(state.replicas):
        yield f"replicas {state.replicas} are empty or repeat"
    if len(set(state.isr)) != len(state.isr) or not set(state.isr) <= set(state.replicas):
        yield f"in-sync set {state.isr} is not a set of replicas {state.replicas}"
    if state.leader_id >= 0 and state.leader_id not in state.isr:
        yield f"leader {state.leader_id} is not in sync {state.isr}"
    if state.leader_epoch < 0 or state.partition_epoch < 0:
        yield "has a negative epoch"
