"""What the metadata log amounts to: an immutable snapshot that anyone may keep and read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from logd_wire.errors import ErrorCode, UnknownTopicError

from logd.metadata.records import (
    NodeRegistered,
    NodeRemoved,
    Overrides,
    PartitionImage,
    RequestDone,
    TopicDeleted,
    VoterImage,
)
from logd.model.ids import (
    NO_NODE,
    ClusterId,
    DirectoryId,
    NodeId,
    TopicId,
    TopicPartitionId,
    format_id,
)
from logd.model.names import is_internal

#: So many deletions are remembered, for requests whose answer was lost and that are sent again.
DELETIONS_KEPT: Final = 4_096
#: As many of other requests.
REQUESTS_KEPT: Final = 4_096
#: A node as the cluster knows it: its latest registration, fenced or not.
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
        """So many replicas every partition has. All are created alike; where reassignments have
        made a difference, it is the smallest number."""
        return min((state.factor for state in self.partitions), default=0)

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
    #: Sorted by node id; empty until the first change of the set: the cluster's founder votes.
    voters: tuple[VoterImage, ...] = ()
    #: Directories that may never come back, with the registration that each one had.
    removed: Mapping[DirectoryId, NodeRemoved] = field(default_factory=lambda: MappingProxyType({}))
    #: The last deletions of topics that had a request id, oldest first: `DELETIONS_KEPT` at most.
    deleted: Mapping[TopicId, TopicDeleted] = field(default_factory=lambda: MappingProxyType({}))
    #: The last requests that changed something, by id, oldest first: `REQUESTS_KEPT` at most.
    requests: Mapping[bytes, RequestDone] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def last_node_epoch(self) -> int:
        """The newest node epoch given out so far; 0: none."""
        registered = (node.node_epoch for node in self.nodes.values())
        removed = (node.node_epoch for node in self.removed.values())
        return max([0, *registered, *removed])

    @property
    def nodes_in_service(self) -> frozenset[NodeId]:
        """The nodes that are registered and not fenced."""
        return frozenset(node.node_id for node in self.nodes.values() if not node.fenced)

    def has_same_members(self, other: ClusterImage) -> bool:
        """Whether nothing has happened to cluster, nodes and voters between the two."""
        # Replay leaves a mapping alone in which nothing changes.
        return (
            self.nodes is other.nodes
            and self.voters == other.voters
            and self.cluster_id == other.cluster_id
        )

    def has_same_partitions(self, other: ClusterImage) -> bool:
        """Whether at most the configuration of topics differs between the two. False is said
        also of some equal ones that do not come of each other."""
        if self.topics is other.topics:
            return True
        # Replay leaves alone what does not change.
        return self.topic_ids is other.topic_ids and all(
            other.topics[topic_id].partitions is topic.partitions
            for topic_id, topic in self.topics.items()
        )

    def voter(self, node_id: NodeId) -> VoterImage | None:
        """The node as a voter; None when it does not vote."""
        return next((voter for voter in self.voters if voter.node_id == node_id), None)

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

    def deletion(self, request_id: bytes) -> TopicDeleted | None:
        """What a request to delete has done; None: nothing yet, or so long ago that it is
        forgotten."""
        found = (each for each in self.deleted.values() if each.request_id == request_id)
        return next(found, None)

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
    problems = list(_of_nodes(image))
    if {topic.name: topic_id for topic_id, topic in image.topics.items()} != dict(image.topic_ids):
        problems.append("topics by id and topics by name differ")
    if image.cluster_id is None and image != ClusterImage():
        problems.append("there is something in a cluster that was never formed")
    if len(image.deleted) > DELETIONS_KEPT or not image.deleted.keys().isdisjoint(image.topics):
        problems.append("too many deletions are remembered, or that of a topic that is there")
    if len(image.requests) > REQUESTS_KEPT:
        problems.append("too many requests are remembered")
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


def _of_nodes(image: ClusterImage) -> Iterator[str]:
    directories = [node.directory_id for node in image.nodes.values()]
    if len(set(directories)) != len(directories):
        yield "two nodes share a data directory"
    epochs = [node.node_epoch for node in image.nodes.values() if node.node_epoch]
    if len(set(epochs)) != len(epochs):
        yield "two nodes share a node epoch"
    for node_id, node in image.nodes.items():
        if node_id != node.node_id:
            yield f"node {node.node_id} is kept under another id"
        if node.directory_id in image.removed:
            yield f"node {node_id} has a directory that was removed"
    voters = [voter.node_id for voter in image.voters]
    if voters != sorted(set(voters)):
        yield f"voters {voters} are not sorted or repeat"
    for voter in image.voters:
        registered = image.nodes.get(voter.node_id)
        if registered is None or registered.directory_id != voter.directory_id:
            yield f"voter {voter.node_id} is not registered with its directory"


def _of_partition(number: int, state: PartitionImage) -> Iterator[str]:
    if state.partition != number:
        yield f"is numbered {state.partition}"
    if not state.replicas or len(set(state.replicas)) != len(state.replicas):
        yield f"replicas {state.replicas} are empty or repeat"
    holders = (*state.isr, *state.eligible, *state.damaged)
    if len(set(holders)) != len(holders) or not set(holders) <= set(state.replicas):
        yield (
            f"in-sync set {state.isr}, eligible set {state.eligible} and damaged set "
            f"{state.damaged} are not three sets of replicas {state.replicas}"
        )
    if not holders:
        yield "nobody holds what was acknowledged"
    if state.leader_id != NO_NODE and state.leader_id not in state.isr:
        yield f"leader {state.leader_id} is not in sync {state.isr}"
    yield from _of_reassignment(state)
    if state.last_known_leader not in {NO_NODE, *state.replicas}:
        yield f"last known leader {state.last_known_leader} is no replica"
    if state.leader_epoch < 0 or state.partition_epoch < 0:
        yield "has a negative epoch"


def _of_reassignment(state: PartitionImage) -> Iterator[str]:
    if not state.target:
        if state.adding:
            yield f"replicas {state.adding} are added without a reassignment"
        return
    if len(set(state.target)) != len(state.target) or not set(state.target) <= set(state.replicas):
        yield f"target {state.target} is no set of replicas {state.replicas}"
    if not set(state.adding) < set(state.replicas):
        yield f"replicas {state.adding} that are added are not some of {state.replicas}"
