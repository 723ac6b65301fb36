"""Records of the metadata log: what happened, in the past tense.

Each mirrors one message of `proto/logd/v1/record.proto`; `logd.runtime.record_codec` converts.
Records carry everything `replay` needs, so that replaying never depends on configuration.
"""

from __future__ import annotations

from dataclasses import dataclass

from logd.model.ids import ClusterId, DirectoryId, LeaderEpoch, NodeId, TopicId


@dataclass(frozen=True, slots=True)
class ClusterFormed:
    """The first record of every metadata log."""

    cluster_id: ClusterId


@dataclass(frozen=True, slots=True)
class NodeRegistered:
    """A node took part under this identity; it replaces the node's earlier registration."""

    node_id: NodeId
    directory_id: DirectoryId
    #: 16 bytes, drawn anew at every start of the node.
    incarnation_id: bytes
    #: `host:port` that clients are told to connect to.
    address: str
    rack: str


@dataclass(frozen=True, slots=True)
class PartitionImage:
    """Where one partition lives and who leads it. `leader_id` is NO_NODE when nobody does."""

    partition: int
    leader_id: NodeId
    leader_epoch: LeaderEpoch
    #: Preferred leader first.
    replicas: tuple[NodeId, ...]
    isr: tuple[NodeId, ...]
    #: Counts the changes of this state, from 0.
    partition_epoch: int


#: Configuration that differs from the defaults, sorted by name.
Overrides = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TopicCreated:
    """A topic came into being, with all its partitions, numbered from 0."""

    topic_id: TopicId
    name: str
    partitions: tuple[PartitionImage, ...]
    overrides: Overrides


@dataclass(frozen=True, slots=True)
class TopicConfigured:
    """The whole configuration of a topic was replaced."""

    topic_id: TopicId
    overrides: Overrides


@dataclass(frozen=True, slots=True)
class PartitionsAdded:
    """Partitions were added; `partitions` are the new ones, numbered on from the last."""

    topic_id: TopicId
    partitions: tuple[PartitionImage, ...]


@dataclass(frozen=True, slots=True)
class TopicDeleted:
    """A topic ended."""

    topic_id: TopicId


@dataclass(frozen=True, slots=True)
class ProducerIdsAllocated:
    """The ids [first_id, first_id + count) were handed to a node, for ever."""

    node_id: NodeId
    first_id: int
    count: int


@dataclass(frozen=True, slots=True)
class PartitionChanged:
    """Leadership, in-sync set or replicas of a partition changed; `state` is the new one."""

    topic_id: TopicId
    state: PartitionImage


MetadataRecord = (
    ClusterFormed
    | NodeRegistered
    | TopicCreated
    | TopicConfigured
    | PartitionsAdded
    | TopicDeleted
    | ProducerIdsAllocated
    | PartitionChanged
)
