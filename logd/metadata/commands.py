"""What the metadata machine can be asked to do, and what it answers.

Commands are never stored. Ids are drawn by the caller, so that deciding is a pure function, and so
that a command whose outcome is unknown can be sent again: what it asked for is done once.

Commands of operators and nodes come first; those that the leader of the metadata log gives itself
(from `NodeSessions`, and now and then) come last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from logd.metadata.image import NodeImage, TopicImage
from logd.metadata.records import MetadataRecord, PartitionImage, VoterImage
from logd.model.ids import ClusterId, DirectoryId, LeaderEpoch, NodeId, TopicId, TopicPartitionId

#: Ids in one block: a node asks the metadata log once for so many producers.
PRODUCER_IDS_PER_BLOCK: Final = 1_000
#: Whichever directory a node is registered with.
ANY_DIRECTORY: Final = DirectoryId(b"")


@dataclass(frozen=True, slots=True)
class FormCluster:
    """Begin the metadata log. The same id again changes nothing. Answer: the cluster's id."""

    cluster_id: ClusterId


@dataclass(frozen=True, slots=True)
class RegisterNode:
    """Take part as this node, fenced at first. Answer: the node.

    The same registration again changes nothing. Another incarnation takes the place of the one
    before, which is fenced by that, and gets a node epoch of its own.
    """

    node_id: NodeId
    directory_id: DirectoryId
    incarnation_id: bytes
    address: str
    rack: str = ""
    #: `host:port` of its peer listener; empty: it has none.
    peer_address: str = ""


@dataclass(frozen=True, slots=True)
class CreateTopic:
    """Create a topic. Answer: the topic; with `validate_only` the plan of it, without an id.

    The same id and name again answer the topic as it is; once it was deleted, without partitions.
    """

    topic_id: TopicId
    name: str
    #: 0: the default.
    partitions: int = 0
    #: 0 or -1: the default.
    replication_factor: int = -1
    config: Mapping[str, str] = field(default_factory=dict)
    validate_only: bool = False
    #: A topic of the system itself, whose name begins with `__`; no user asks for one.
    internal: bool = False


@dataclass(frozen=True, slots=True)
class DeleteTopic:
    """Delete a topic. Answer: the topic as it was.

    The same request id again changes nothing, whatever has that name since: its answer is the
    topic's id and name, for as long as the deletion is remembered.
    """

    name: str
    #: Empty: the command is not to be sent twice.
    request_id: bytes = b""


@dataclass(frozen=True, slots=True)
class AlterTopic:
    """Change configuration, add partitions; all or nothing. Answer: the topic afterwards.

    The same request id again answers the topic as it is; once it was deleted, without partitions.
    """

    name: str
    set_config: Mapping[str, str] = field(default_factory=dict)
    #: Keys to give back to their defaults.
    delete_config: tuple[str, ...] = ()
    #: The new number of partitions; 0: unchanged.
    partitions: int = 0
    validate_only: bool = False
    #: Empty: the command is not to be sent twice.
    request_id: bytes = b""


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


@dataclass(frozen=True, slots=True)
class Member:
    """A node as one process of it: proposed for an in-sync set, it is refused once it is gone."""

    node_id: NodeId
    node_epoch: int


@dataclass(frozen=True, slots=True)
class ChangePartition:
    """A leader proposes another in-sync set for its partition. Answer: the partition afterwards.

    Raises UnknownTopicError; NotLeaderError (FENCED_LEADER_EPOCH) for a leader of another epoch;
    StaleEpochError for another partition epoch or a process of before; IneligibleReplicaError.
    A set that is already in force changes nothing, whatever the partition epoch.

    Who is proposed has to have every record that the leader acknowledges from then on, until the
    partition is committed at another partition epoch, or every copy of the proposal that was ever
    sent is refused: a node that was fenced for a moment may be taken up by the next copy.
    """

    topic_id: TopicId
    partition: int
    #: Who proposes.
    leader: Member
    leader_epoch: LeaderEpoch
    #: Of the state that the proposal goes out from.
    partition_epoch: int
    #: The whole set, the leader included.
    isr: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class TransferLeader:
    """Let another replica lead a partition. Answer: the partition afterwards.

    It has to be in the in-sync set and in service, so it holds everything that was acknowledged;
    else InvalidRequestError, or UnknownTopicError. A node that leads already changes nothing, nor
    does the same request id again, whoever leads since.
    """

    topic_id: TopicId
    partition: int
    node_id: NodeId
    #: Empty: the command is not to be sent twice.
    request_id: bytes = b""


@dataclass(frozen=True, slots=True)
class ReassignPartition:
    """Move the replicas of a partition to other nodes. Answer: the partition, as it is now.

    The answer says that it has begun, or what is left to do is done already: replicas that are
    added have to come in sync first. The same target again changes nothing, nor does the same
    request id, wherever the replicas go since. Raises UnknownTopicError, InvalidRequestError,
    InvalidConfigError.
    """

    topic_id: TopicId
    partition: int
    #: Preferred leader first; None: those of before a reassignment that is going on.
    replicas: tuple[NodeId, ...] | None
    #: Empty: the command is not to be sent twice.
    request_id: bytes = b""


@dataclass(frozen=True, slots=True)
class AddVoter:
    """Let a registered, unfenced node vote. Answer: the voters.

    The leader that began the cluster adds itself before anyone else. One change at a time.
    """

    node_id: NodeId


@dataclass(frozen=True, slots=True)
class UpdateVoter:
    """Give a voter the peer address that it registered with. Answer: the voters."""

    node_id: NodeId


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """Let a node go for good. Answer: `NodeRemoval`; not done: send the same command again.

    A voter leaves the voter set first, in an entry of its own; the registration ends with the
    second step. Refused while partitions have replicas on the node.
    """

    node_id: NodeId
    #: The directory meant; empty: the one that is registered now. Name it where the command may be
    #: sent again, so that a node that has taken the id since is not removed as well.
    directory_id: DirectoryId = ANY_DIRECTORY


@dataclass(frozen=True, slots=True)
class ReplaceNode:
    """Strike out a directory that is lost, so that a new one may register under the node's id.

    Answer: `NodeRemoval`, in steps as with `RemoveNode`. The node keeps its replicas, to be filled
    again, and is in no in-sync or eligible set any more. Refused while the node is unfenced, and
    where it holds the only full copy of a partition, unless `accept_data_loss`: the partition then
    goes on with what its other replicas have, or empty when there are none.
    """

    node_id: NodeId
    #: As with `RemoveNode`.
    directory_id: DirectoryId = ANY_DIRECTORY
    accept_data_loss: bool = False


@dataclass(frozen=True, slots=True)
class FenceNode:
    """Count on this process of a node no longer. Answer: the node."""

    node_id: NodeId
    incarnation_id: bytes


@dataclass(frozen=True, slots=True)
class UnfenceNode:
    """Count on this process of a node. Answer: the node; still fenced: ask again."""

    node_id: NodeId
    incarnation_id: bytes


@dataclass(frozen=True, slots=True)
class ReportDamage:
    """A process of a node found logs damaged: they may lack what was acknowledged.

    Answer: `PartitionChanges`. Reported again before the replica is in sync, it changes nothing.
    """

    node_id: NodeId
    incarnation_id: bytes
    partitions: tuple[TopicPartitionId, ...]
    #: The node serves what is intact of those that it leads: they change hands only where another
    #: replica can lead, by what the controller knows; the in-sync set may have shrunk meanwhile.
    leads_on: bool = False


@dataclass(frozen=True, slots=True)
class ElectLeaders:
    """Bring the partitions in line with who is fenced: what commands before left over.

    Answer: `PartitionChanges`.
    """


@dataclass(frozen=True, slots=True)
class BalanceLeaders:
    """Give partitions back to their preferred leaders that are in sync.

    Answer: `PartitionChanges`.
    """


@dataclass(frozen=True, slots=True)
class VoterSet:
    """The voters of the metadata log, sorted by node id."""

    voters: tuple[VoterImage, ...]


@dataclass(frozen=True, slots=True)
class NodeRemoval:
    """`done`: the directory is struck out. Else the first step was taken: ask again."""

    node_id: NodeId
    done: bool


@dataclass(frozen=True, slots=True)
class PartitionChanges:
    """`count` partitions change; `more`: others wait, ask again."""

    count: int
    more: bool


Command = (
    FormCluster
    | RegisterNode
    | CreateTopic
    | DeleteTopic
    | AlterTopic
    | AllocateProducerIds
    | ChangePartition
    | TransferLeader
    | ReassignPartition
    | ReportDamage
    | AddVoter
    | UpdateVoter
    | RemoveNode
    | ReplaceNode
    | FenceNode
    | UnfenceNode
    | ElectLeaders
    | BalanceLeaders
)
Reply = (
    ClusterId
    | NodeImage
    | TopicImage
    | ProducerIdBlock
    | PartitionImage
    | VoterSet
    | NodeRemoval
    | PartitionChanges
)

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R_co]):
    """A decision: `reply` may be given once all of `records` are committed, in one entry.

    Without records there is nothing to commit: the reply describes what is already so.
    """

    records: tuple[MetadataRecord, ...]
    reply: R_co
