"""Records of a group's log: each is the newest word on its key.

Each mirrors one message of `proto/logd/v1/record.proto`; a codec of the runtime converts. The log
is compacted: of every key only the last record is sure to be there, and `Forgotten` takes a key
away. Replay therefore takes records of different keys in any order that compaction may leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from logd.model.ids import TopicId, TopicPartitionId

#: Partitions of any number of topics.
Partitions = frozenset[TopicPartitionId]


class MemberState(Enum):
    """Where a member is on its way to its target; the values are what descriptions show."""

    #: It may hold everything that it shall hold.
    STABLE = "stable"
    #: It has to say first that it gave up what is in `revoking`.
    UNREVOKED = "unrevoked"
    #: It waits for partitions that others hold still.
    UNRELEASED = "unreleased"


# --- keys ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GroupKey:
    """Of GroupEpoch."""

    group_id: str


@dataclass(frozen=True, slots=True)
class MemberKey:
    """Of MemberKept."""

    group_id: str
    member_id: str


@dataclass(frozen=True, slots=True)
class TargetEpochKey:
    """Of TargetEpoch."""

    group_id: str


@dataclass(frozen=True, slots=True)
class TargetKey:
    """Of TargetMember."""

    group_id: str
    member_id: str


@dataclass(frozen=True, slots=True)
class CurrentKey:
    """Of CurrentMember."""

    group_id: str
    member_id: str


@dataclass(frozen=True, slots=True)
class OffsetKey:
    """Of OffsetCommitted."""

    group_id: str
    topic_id: TopicId
    partition: int


RecordKey = GroupKey | MemberKey | TargetEpochKey | TargetKey | CurrentKey | OffsetKey


# --- records -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GroupEpoch:
    """The group has this epoch: its members, their subscriptions or their topics changed."""

    group_id: str
    #: Above every epoch that the group or a member of it ever had.
    epoch: int
    #: The assignor in force.
    assignor: str
    #: When the last member had gone, milliseconds since the Unix epoch by the coordinator's clock;
    #: -1: it has members, or nobody looked yet.
    empty_since_ms: int = -1


@dataclass(frozen=True, slots=True)
class MemberKept:
    """A member as it described itself."""

    group_id: str
    member_id: str
    #: Empty: a dynamic member.
    instance_id: str
    #: Empty: none.
    rack: str
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    #: Names, sorted, each once.
    topics: tuple[str, ...]
    #: Empty: none.
    pattern: str
    assignor: str


@dataclass(frozen=True, slots=True)
class TargetEpoch:
    """The targets of all members are those for this group epoch."""

    group_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class TargetMember:
    """What a member shall hold in the end."""

    group_id: str
    member_id: str
    partitions: Partitions


@dataclass(frozen=True, slots=True)
class CurrentMember:
    """What a member may hold now. Nobody else holds any of `assigned` and `revoking`."""

    group_id: str
    member_id: str
    #: Another one with each such record, above all before; -2: a static member that went and will
    #: come back, and holds nothing: `assigned` is kept for it.
    epoch: int
    #: The epoch before: what the member says when the last answer did not reach it. With -2: the
    #: epoch that it had.
    previous_epoch: int
    state: MemberState
    assigned: Partitions
    #: To be given up, not given up yet.
    revoking: Partitions


@dataclass(frozen=True, slots=True)
class OffsetCommitted:
    """Where a group goes on with a partition."""

    group_id: str
    topic_id: TopicId
    partition: int
    #: The next offset to read.
    offset: int
    #: Of the last finished record; -1: unknown.
    leader_epoch: int
    metadata: str
    #: Milliseconds since the Unix epoch, by the coordinator's clock.
    commit_ms: int
    #: Name of the topic when this was committed.
    topic: str
    #: Who committed: the member's epoch, which no other member ever has; -1: nobody of the group.
    member_epoch: int = -1
    #: Counts the commits under this epoch, so that a late one is known; 0: not counted.
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The key has no record any more: a tombstone."""

    key: RecordKey


GroupRecord = (
    GroupEpoch
    | MemberKept
    | TargetEpoch
    | TargetMember
    | CurrentMember
    | OffsetCommitted
    | Forgotten
)


def key_of(record: GroupRecord) -> RecordKey:
    """Return the key that the record is the newest word on."""
    match record:
        case GroupEpoch():
            return GroupKey(record.group_id)
        case MemberKept():
            return MemberKey(record.group_id, record.member_id)
        case TargetEpoch():
            return TargetEpochKey(record.group_id)
        case TargetMember():
            return TargetKey(record.group_id, record.member_id)
        case CurrentMember():
            return CurrentKey(record.group_id, record.member_id)
        case OffsetCommitted():
            return OffsetKey(record.group_id, record.topic_id, record.partition)
        case Forgotten():
            return record.key
