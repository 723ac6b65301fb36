"""The groups' machine: members of consumer groups, what each may hold, and committed offsets.

States, events and effects. The truth about a group is its log (`records`); `Groups` (in `machine`)
holds the state that comes of it. `replay` alone changes that state. Handlers judge a request or the
time against it and return a `Decision`: records for the log and a reply for later; besides that
they touch volatile timers only (`watches`). The caller appends the records, replays them at once,
and gives the reply when the log has committed them and all before them. When an append fails or
the leadership ends, the object is thrown away and another one is made from the log.

    Heartbeat       join, stay, say what was given up, leave      `heartbeat`
    Commit          store offsets                                 `commit`
    topics changed  new targets where they matter                 `topics_changed`
    time            sessions, rebalance timeouts, expiry          `tick`, `next_deadline_ms`
    operators       delete a group or offsets                     `delete_group`, `delete_offsets`

Epochs. Group, members and their steps draw their epochs from one counter of the group, so no epoch
is ever given twice. The *group epoch* changes with members, subscriptions and topics; the *target
assignment* is made for it in the same decision. A *member epoch* changes with every change of what
that member may hold or reads, and not with those of others: whoever keeps what it has notices
nothing. `reconcile` says how a member goes from what it holds to its target, and why a heartbeat
that is lost, late or doubled does no harm.

Commits. A member's commit counts in its newest epoch alone, which ends with what it holds. A member
that has given a partition up cannot commit it once another one has it. Within an epoch commits may
be counted (`Commit.sequence`), so that a late one takes nothing back. While a group has no members
anybody may commit.
"""

from __future__ import annotations

from logd.groups.assignors import ASSIGNORS, RANGE, UNIFORM
from logd.groups.group import InconsistentLogError
from logd.groups.machine import Groups
from logd.groups.offsets import Ends, Outcomes
from logd.groups.records import (
    CurrentKey,
    CurrentMember,
    Forgotten,
    GroupEpoch,
    GroupKey,
    GroupRecord,
    MemberKept,
    MemberKey,
    MemberState,
    OffsetCommitted,
    OffsetKey,
    Partitions,
    RecordKey,
    TargetEpoch,
    TargetEpochKey,
    TargetKey,
    TargetMember,
    key_of,
)
from logd.groups.requests import (
    JOINING,
    LEAVING,
    LEAVING_STATIC,
    Commit,
    Decision,
    FetchOffsets,
    GroupDescription,
    GroupListing,
    Heartbeat,
    HeartbeatReply,
    MemberDescription,
    OffsetToCommit,
)
from logd.groups.settings import GroupSettings
from logd.groups.subscriptions import NewPattern, Pattern, Topics, TopicView

__all__ = [
    "ASSIGNORS",
    "JOINING",
    "LEAVING",
    "LEAVING_STATIC",
    "RANGE",
    "UNIFORM",
    "Commit",
    "CurrentKey",
    "CurrentMember",
    "Decision",
    "Ends",
    "FetchOffsets",
    "Forgotten",
    "GroupDescription",
    "GroupEpoch",
    "GroupKey",
    "GroupListing",
    "GroupRecord",
    "GroupSettings",
    "Groups",
    "Heartbeat",
    "HeartbeatReply",
    "InconsistentLogError",
    "MemberDescription",
    "MemberKept",
    "MemberKey",
    "MemberState",
    "NewPattern",
    "OffsetCommitted",
    "OffsetKey",
    "OffsetToCommit",
    "Outcomes",
    "Partitions",
    "Pattern",
    "RecordKey",
    "TargetEpoch",
    "TargetEpochKey",
    "TargetKey",
    "TargetMember",
    "TopicView",
    "Topics",
    "key_of",
]
