"""What the metadata machine can be asked to do, and what it answers.

Commands are never stored. Ids are drawn by the caller, so that deciding is a pure function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from logd.metadata.image import NodeImage, TopicImage
from logd.metadata.records import MetadataRecord
from logd.model.ids import ClusterId, DirectoryId, NodeId, TopicId

#: Ids in one block: a node asks the metadata log once for so many producers.
PRODUCER_IDS_PER_BLOCK: Final = 1_000


@dataclass(frozen=True, slots=True)
class FormCluster:
    """Begin the metadata log. The same id again changes nothing. Answer: the cluster's id."""

    cluster_id: ClusterId


@dataclass(frozen=True, slots=True)
class RegisterNode:
    """Take part as this node. The same registration again changes nothing. Answer: the node."""

    node_id: NodeId
    directory_id: DirectoryId
    incarnation_id: bytes
    address: str
    rack: str = ""


@dataclass(frozen=True, slots=True)
class CreateTopic:
    """Create a topic. Answer: the topic; with `validate_only` the plan of it, without an id.

    A create that is tried again after its outcome was unknown is refused with
    TopicExistsError when the first one took effect.
    """

    topic_id: TopicId
    name: str
    #: 0: the default.
    partitions: int = 0
    #: 0 or -1: the default.
    replication_factor: int = -1
    config: Mapping[str, str] = field(default_factory=dict)
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class DeleteTopic:
    """Delete a topic. Answer: the topic as it was."""

    name: str


@dataclass(frozen=True, slots=True)
class AlterTopic:
    """Change configuration, add partitions; all or nothing. Answer: the topic afterwards."""

    name: str
    set_config: Mapping[str, str] = field(default_factory=dict)
    #: Keys to give back to their defaults.
    delete_config: tuple[str, ...] = ()
    #: The new number of partitions; 0: unchanged.
    partitions: int = 0
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class AllocateProducerIds:
    """Hand a fresh block of producer ids to a node. Answer: the block."""

    node_id: NodeId
    count: int = PRODUCER_IDS_PER_BLOCK


@dataclass(frozen=True, slots=True)
class ProducerIdBlock:
    """The ids [first_id, first_id + count)."""

    first_id: int
    count: int


Command = FormCluster | RegisterNode | CreateTopic | DeleteTopic | AlterTopic | AllocateProducerIds
Reply = ClusterId | NodeImage | TopicImage | ProducerIdBlock

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R_co]):
    """A decision: `reply` may be given once all of `records` are committed, in one entry.

    Without records there is nothing to commit: the reply describes what is already so.
    """

    records: tuple[MetadataRecord, ...]
    reply: R_co
