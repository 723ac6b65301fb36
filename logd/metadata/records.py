"""Records of the metadata log: what happened, in the past tense.

Each mirrors one message of `proto/logd/v1/record.proto`; `logd.runtime.record_codec` converts.
Records carry everything `replay` needs, so that replaying never depends on configuration.
"""

from __future__ import annotations

from dataclasses import dataclass

from logd.model.ids import NO_NODE, ClusterId, DirectoryId, LeaderEpoch, NodeId, TopicId


@dataclass(frozen=True, slots=True)
class ClusterFormed:
    """The first record of every metadata log."""

    cluster_id: ClusterId


@dataclass(frozen=True, slots=True)
class NodeRegistered:
    """A node took part under this identity; it replaces the node's earlier registration.

    In an image this is the node as it is now: `fenced` follows NodeFenced and NodeUnfenced,
    `vote_withdrawn` VotersChanged.
    """

    node_id: NodeId
    directory_id: DirectoryId
    #: 16 bytes, drawn anew at every start of the node.
    incarnation_id: bytes
    #: `host:port` that clients are told to connect to.
    address: str
    rack: str
    #: `host:port` of its peer listener; empty: it has none.
    peer_address: str
    #: Grows with every registration in the cluster: a process of the node is told by it from those
    #: before. 0: registered before epochs were counted.
    node_epoch: int
    #: Fenced: it leads nothing and is in no in-sync set.
    fenced: bool
    #: It had a vote from this directory, and that was taken away: whoever did so meant it.
    vote_withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class NodeFenced:
    """The node is not counted on any more; the incarnation is that of its registration."""

    node_id: NodeId
    incarnation_id: bytes


@dataclass(frozen=True, slots=True)
class NodeUnfenced:
    """The node has caught up and answers: it may lead and be in sync."""

    node_id: NodeId
    incarnation_id: bytes


@dataclass(frozen=True, slots=True)
class NodeRemoved:
    """A registration ended, and its data directory is struck out for ever.

    The node id may be registered again, with another directory.
    """

    node_id: NodeId
    directory_id: DirectoryId
    #: Of the registration that ended: later ones go on from it.
    node_epoch: int


@dataclass(frozen=True, slots=True)
class VoterImage:
    """A node that votes on the metadata log; its vote counts only from this data directory."""

    node_id: NodeId
    directory_id: DirectoryId
    #: `host:port` of its peer listener; empty: it has none.
    address: str


@dataclass(frozen=True, slots=True)
class VotersChanged:
    """The voter set is this one, sorted by node id. Always alone in its entry."""

    voters: tuple[VoterImage, ...]


@dataclass(frozen=True, slots=True)
class PartitionImage:
    """Where one partition lives and who leads it. `leader_id` is NO_NODE when nobody does.

    `isr`, `eligible` and `damaged` have no member in common, and one of them always has a member.

    While replicas move, `replicas` are those of before, then those that are added; `target` are
    those that will be left, preferred leader first. See `logd.metadata.reassignment`.
    """

    partition: int
    leader_id: NodeId
    leader_epoch: LeaderEpoch
    #: Preferred leader first.
    replicas: tuple[NodeId, ...]
    isr: tuple[NodeId, ...]
    #: Counts the changes of this state, from 0.
    partition_epoch: int
    #: Replicas that left the in-sync set when it was too small to acknowledge anything (ELR): each
    #: still holds every acknowledged record.
    eligible: tuple[NodeId, ...] = ()
    #: Who led when the in-sync set became empty; NO_NODE: it did not.
    last_known_leader: NodeId = NO_NODE
    #: Replicas that the partition did not have before its reassignment.
    adding: tuple[NodeId, ...] = ()
    #: Empty: no reassignment is going on.
    target: tuple[NodeId, ...] = ()
    #: Replicas whose log was found damaged: they may lack acknowledged records until they are in
    #: sync again.
    damaged: tuple[NodeId, ...] = ()

    @property
    def original(self) -> tuple[NodeId, ...]:
        """The replicas of before the reassignment; all of them when there is none."""
        return tuple(node for node in self.replicas if node not in self.adding)

    @property
    def removing(self) -> tuple[NodeId, ...]:
        """Replicas that go when the reassignment is done."""
        if not self.target:
            return ()
        return tuple(node for node in self.replicas if node not in self.target)

    @property
    def preference(self) -> tuple[NodeId, ...]:
        """All replicas, preferred leader first: those that stay before those that go."""
        return (*self.target, *self.removing) if self.target else self.replicas

    @property
    def factor(self) -> int:
        """How many replicas it has to have in sync. Replicas on the move count once: the smaller
        number of before and after."""
        return min(len(self.original), len(self.target)) if self.target else len(self.replicas)


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
    """A topic ended. With a request id the deletion is remembered; a snapshot lists those."""

    topic_id: TopicId
    #: Of the request that ended it, 16 bytes; empty: it had none.
    request_id: bytes = b""


@dataclass(frozen=True, slots=True)
class RequestDone:
    """A request was carried out, by the records before it in its entry. A snapshot lists those that
    are remembered."""

    #: Drawn by the client, 16 bytes.
    request_id: bytes
    #: What it was about.
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
    | NodeFenced
    | NodeUnfenced
    | NodeRemoved
    | VotersChanged
    | RequestDone
)
