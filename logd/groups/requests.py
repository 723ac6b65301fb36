"""What is asked of the groups' machine, and what it answers.

Text and numbers are as in `proto/logd/v1/group.proto`; what is absent there is None here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from logd.groups.records import GroupRecord, Partitions
from logd.model.ids import TopicId, TopicPartitionId

#: Member epochs with a meaning of their own.
JOINING: Final = 0
LEAVING: Final = -1
LEAVING_STATIC: Final = -2

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Decision(Generic[R_co]):
    """`records` go to the log in this order and are replayed at once; `reply` may be given when
    they and all records before them are committed.

    Without records the reply describes what is already so, or on its way.
    """

    records: tuple[GroupRecord, ...]
    reply: R_co


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A member joins, stays, says what it gave up, or leaves."""

    group_id: str
    member_id: str
    #: JOINING, what it was told last, LEAVING or LEAVING_STATIC.
    member_epoch: int
    instance_id: str | None = None
    rack: str | None = None
    #: Used at the join.
    rebalance_timeout_ms: int = 60_000
    #: Used at the join; 0: the node's default.
    session_timeout_ms: int = 0
    topics: tuple[str, ...] | None = None
    pattern: str | None = None
    assignor: str | None = None
    #: What it has not given up yet. Counts together with the epoch that it was told last.
    owned: Partitions | None = None
    client_id: str = ""
    client_host: str = ""


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """What the member says and holds from now on."""

    member_id: str
    member_epoch: int
    heartbeat_interval_ms: int
    session_timeout_ms: int
    #: None: what goes with the epoch that the member said.
    assignment: Partitions | None = None


@dataclass(frozen=True, slots=True)
class OffsetToCommit:
    """Where to go on with one partition."""

    topic_id: TopicId
    partition: int
    offset: int
    leader_epoch: int = -1
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """Store offsets."""

    group_id: str
    #: Empty: nobody of the group, with epoch -1.
    member_id: str
    member_epoch: int
    offsets: tuple[OffsetToCommit, ...]
    #: Counts the commits of this member, upwards; 0: not counted. A commit that comes after one
    #: with a higher number does not take a partition back.
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class FetchOffsets:
    """Read committed offsets."""

    group_id: str
    #: As in Commit; empty: anybody.
    member_id: str = ""
    member_epoch: int = -1
    #: None: all.
    partitions: tuple[TopicPartitionId, ...] | None = None


@dataclass(frozen=True, slots=True)
class GroupListing:
    """One group in brief."""

    group_id: str
    #: `empty`, `assigning`, `reconciling` or `stable`.
    state: str
    members: int
    group_epoch: int


@dataclass(frozen=True, slots=True)
class MemberDescription:
    """One member."""

    member_id: str
    #: None: a dynamic member.
    instance_id: str | None
    rack: str
    client_id: str
    client_host: str
    member_epoch: int
    #: `stable`, `unrevoked` or `unreleased`.
    state: str
    topics: tuple[str, ...]
    pattern: str
    assigned: Partitions
    revoking: Partitions
    target: Partitions
    session_timeout_ms: int
    rebalance_timeout_ms: int
    #: Since it was last heard; -1: not since this coordinator took over.
    silent_ms: int


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """One group, whole."""

    group_id: str
    #: As in GroupListing.
    state: str
    group_epoch: int
    assignment_epoch: int
    assignor: str
    #: By id.
    members: tuple[MemberDescription, ...]
