"""What goes in and comes out of the client: plain values, no behaviour."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, NamedTuple, Protocol, TypeVar

from logd_wire import Headers

K = TypeVar("K")
V = TypeVar("V")
T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)

#: What `headers=` accepts: pairs (names may repeat) or a mapping; text is encoded as UTF-8.
HeadersLike = Mapping[str, bytes | str | None] | Sequence[tuple[str, bytes | str | None]]

#: Turns a key or value into bytes; None stays null without being passed to it.
Serializer = Callable[[T_contra], bytes]
#: Turns bytes into a key or value; a null stays None without being passed to it.
Deserializer = Callable[[bytes], T_co]

#: A point in time: an aware datetime, a naive one (read as local time), or milliseconds since the
#: Unix epoch.
Time = datetime | int


class Partitioner(Protocol):
    """Chooses a partition; None leaves the choice to the default (murmur2 of the key, sticky)."""

    def __call__(self, topic: str, key: bytes | None, partitions: int) -> int | None: ...


class Offset(enum.Enum):
    """Places that have no number yet; `Consumer.seek` accepts them."""

    BEGINNING = "beginning"
    END = "end"


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class RecordMetadata(NamedTuple):
    """Where an acknowledged record is.

    `offset` is -1 with acks=0 (nobody answered). `timestamp_ms` is the record's own time in
    milliseconds since the Unix epoch. `durable`: it was synced to disk before the answer;
    `replicas` had it by then, the leader included.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    durable: bool
    replicas: int = 1

    @property
    def timestamp(self) -> datetime:
        """The record's own time, aware, in UTC."""
        return datetime.fromtimestamp(self.timestamp_ms / 1000, UTC)


class Record(NamedTuple, Generic[K, V]):
    """One record as a consumer sees it.

    `timestamp_ms` is in milliseconds since the Unix epoch; `leader_epoch` is that of the leader
    which appended the record; `delivery_count` is None outside of queues.
    """

    topic: str
    partition: int
    offset: int
    key: K | None
    value: V | None
    headers: Headers
    timestamp_ms: int
    leader_epoch: int = -1
    delivery_count: int | None = None

    @property
    def timestamp(self) -> datetime:
        """The record's time, aware, in UTC."""
        return datetime.fromtimestamp(self.timestamp_ms / 1000, UTC)

    @property
    def topic_partition(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class ProducerRecord(Generic[K, V]):
    """One record for `send_many` that is more than a value."""

    value: V | None = None
    key: K | None = None
    headers: HeadersLike = ()
    partition: int | None = None
    timestamp: Time | None = None


class OffsetAndTimestamp(NamedTuple):
    """The first record at or after a time."""

    offset: int
    timestamp_ms: int
    leader_epoch: int = -1


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One node. `address` is what clients are told to connect to; `fenced`: the controller does
    not count on it."""

    id: int
    address: str
    rack: str = ""
    fenced: bool = False


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """The cluster as the answering node knows it. `controller_id` is None while unknown."""

    cluster_id: str
    controller_id: int | None
    node_id: int
    version: str
    nodes: tuple[NodeInfo, ...]
    #: The nodes in full, and voters that are not registered. From a node of release 0.1: empty.
    members: tuple[MemberInfo, ...] = ()
    #: How far the answering node has followed the metadata log; an end index.
    metadata_index: int = 0
    #: Term of the controller's leadership.
    controller_epoch: int = 0


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """One node in full. Ids are hexadecimal; `lag` and `heard` are None where only the controller
    would know."""

    id: int
    address: str
    peer_address: str
    rack: str
    fenced: bool
    directory_id: str
    incarnation_id: str
    voter: bool
    controller: bool
    #: Entries of the metadata log that the node is known to lack.
    lag: int | None
    #: Whether the controller has heard from it lately.
    heard: bool | None


@dataclass(frozen=True, slots=True)
class VoterInfo:
    """A node that votes on the metadata log, with the data directory that its vote comes from."""

    id: int
    directory_id: str
    address: str


@dataclass(frozen=True, slots=True)
class ProgressInfo:
    """How far a leader knows another node to be; indexes are end indexes."""

    id: int
    match_index: int
    next_index: int
    voter: bool
    active: bool
    state: str


@dataclass(frozen=True, slots=True)
class QuorumInfo:
    """A node's part in the metadata quorum; indexes are end indexes."""

    cluster_id: str
    node_id: int
    role: str
    term: int
    vote: int | None
    leader_id: int | None
    commit_index: int
    applied_index: int
    end_index: int
    snapshot_index: int
    snapshot_term: int
    voters: tuple[VoterInfo, ...]
    #: Empty on nodes that do not lead.
    progress: tuple[ProgressInfo, ...]


@dataclass(frozen=True, slots=True)
class RaftRecordInfo:
    """One record of the metadata log, in words."""

    type: str
    text: str


@dataclass(frozen=True, slots=True)
class RaftEntryInfo:
    """One step of the metadata log: `records` from `index` to `next_index`. `committed` is None
    for a log at rest, which does not say."""

    index: int
    next_index: int
    term: int
    timestamp_ms: int
    committed: bool | None
    records: tuple[RaftRecordInfo, ...]


@dataclass(frozen=True, slots=True)
class RaftLogPage:
    """Entries of one node's metadata log; `next_index` is where to go on."""

    entries: tuple[RaftEntryInfo, ...]
    first_index: int
    commit_index: int
    end_index: int
    next_index: int


@dataclass(frozen=True, slots=True)
class ReplicaProgress:
    """How far a replica is that does not have everything, as its leader knows it.

    `end_offset` is -1 while the replica was not heard of; `bytes_left` is an estimate.
    """

    node_id: int
    end_offset: int
    records_left: int
    bytes_left: int


@dataclass(frozen=True, slots=True)
class PartitionCopy:
    """One replica of a partition on its node. Each compacts for itself; `compaction` says in words
    how far it is and what it waits for."""

    node_id: int
    size_bytes: int
    segments: int
    compaction: str


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """One partition. `leader` is None while there is none; ranges are half-open. Offsets are -1 and
    sizes 0 where the leader did not answer.

    `retention` and `compaction` say in words what goes next, when, and why not now. `eligible`
    replicas are not in sync and still hold every acknowledged record; `partition_epoch` counts the
    changes of leader, replicas and sets. While replicas move, `adding` are those that came with
    that and `target` those that will be left; `progress` says how far replicas are that do not have
    everything. `damaged` replicas may lack acknowledged records until they are in sync again.
    `copies` are there when they were asked for, one for each replica that answered.
    """

    partition: int
    leader: int | None
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    start_offset: int
    end_offset: int
    size_bytes: int
    segments: int
    damage: tuple[str, ...] = ()
    retention: str = ""
    compaction: str = ""
    eligible: tuple[int, ...] = ()
    partition_epoch: int = 0
    adding: tuple[int, ...] = ()
    target: tuple[int, ...] = ()
    damaged: tuple[int, ...] = ()
    progress: tuple[ReplicaProgress, ...] = ()
    copies: tuple[PartitionCopy, ...] = ()

    @property
    def removing(self) -> tuple[int, ...]:
        """Replicas that go when the reassignment is done."""
        return tuple(node for node in self.replicas if self.target and node not in self.target)

    @property
    def factor(self) -> int:
        """How many replicas are to be in sync: while they move, the smaller number of before and
        after."""
        if not self.target:
            return len(self.replicas)
        return min(len(self.replicas) - len(self.adding), len(self.target))


@dataclass(frozen=True, slots=True)
class CompactedPartition:
    """What came of compacting a copy of a partition. Sizes are those of the segments that were
    read.

    `outcome` says in words how it stands; not `done`: it goes on. `node_id` is the node of the
    copy, the leader's mostly; `others` are the same of the other replicas, by node.
    """

    partition: int
    done: bool
    bytes_before: int
    bytes_after: int
    records_before: int
    records_after: int
    outcome: str
    node_id: int = -1
    others: tuple[CompactedPartition, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One configuration value in force and where it comes from."""

    name: str
    value: str
    source: str
    dynamic: bool
    doc: str = ""


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """One topic in full. `id` is a UUID in text form, empty for a topic that was only checked."""

    name: str
    id: str
    internal: bool
    partitions: tuple[PartitionInfo, ...]
    config: Mapping[str, str] = field(default_factory=dict)
    config_entries: tuple[ConfigEntry, ...] = ()
    durability: str = ""


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition that is assigned. Offsets are those to go on from; None: not known.

    `lag`: records that can be read behind the position, as far as the leader has said.
    """

    position: int | None
    committed: int | None
    high_watermark: int | None
    lag: int | None
    paused: bool
    #: Why it cannot be read on; empty: it can.
    error: str = ""
    #: For how long no node has sent anything of it, seen every few seconds; None: one does.
    unserved_ms: float | None = None


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """How a consumer stands. Ages are in milliseconds; None: never, or no group.

    `state`: `assigned` (no group says what is read), `out`, `joining`, `stable`, `leaving`,
    `failed`.
    """

    state: str
    partitions: Mapping[TopicPartition, PartitionStatus]
    #: Since a node sent something, be it only that there is nothing new.
    fetch_age_ms: float | None
    group_id: str | None = None
    member_id: str | None = None
    member_epoch: int | None = None
    coordinator: str | None = None
    #: Since a heartbeat was answered.
    heartbeat_age_ms: float | None = None
    #: How long what is assigned may still be read without another answer.
    session_left_ms: float | None = None


def time_to_ms(when: Time) -> int:
    """Milliseconds since the Unix epoch; a naive datetime is read as local time."""
    if isinstance(when, datetime):
        return round(when.timestamp() * 1000)
    return when
