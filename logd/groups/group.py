"""One group as its records say: who is in it, what they shall hold, what they may hold."""

from __future__ import annotations

from logd.groups.assignors import UNIFORM
from logd.groups.records import (
    CurrentKey,
    CurrentMember,
    Forgotten,
    GroupEpoch,
    GroupKey,
    MemberKept,
    MemberKey,
    OffsetKey,
    Partitions,
    TargetEpoch,
    TargetEpochKey,
    TargetKey,
    TargetMember,
)
from logd.model.ids import TopicPartitionId

#: Everything about a group but its offsets.
MembershipRecord = GroupEpoch | MemberKept | TargetEpoch | TargetMember | CurrentMember | Forgotten


class InconsistentLogError(Exception):
    """A record would give a partition to two members: the log is not what this version wrote."""


class Group:
    """Members of one group. `apply` alone changes it."""

    __slots__ = (
        "assignor",
        "current",
        "empty_since_ms",
        "epoch",
        "group_id",
        "highest_epoch",
        "instances",
        "kept",
        "owners",
        "target_epoch",
        "targets",
    )

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        #: 0: it never had a member.
        self.epoch = 0
        self.assignor = UNIFORM
        self.empty_since_ms = -1
        self.target_epoch = 0
        #: Of the group or any member of it, ever.
        self.highest_epoch = 0
        self.kept: dict[str, MemberKept] = {}
        self.targets: dict[str, Partitions] = {}
        self.current: dict[str, CurrentMember] = {}
        #: Who may hold a partition, or has not given it up.
        self.owners: dict[TopicPartitionId, str] = {}
        #: Instance id -> member id.
        self.instances: dict[str, str] = {}

    @property
    def members_in_words(self) -> str:
        """`1 member`, `3 members`."""
        return f"{len(self.kept)} member{'' if len(self.kept) == 1 else 's'}"

    @property
    def vacant(self) -> bool:
        """Whether no record is left."""
        return not (self.epoch or self.target_epoch or self.kept or self.targets or self.current)

    def copy(self) -> Group:
        """Another group object with the same state."""
        twin = Group(self.group_id)
        twin.epoch = self.epoch
        twin.assignor = self.assignor
        twin.empty_since_ms = self.empty_since_ms
        twin.target_epoch = self.target_epoch
        twin.highest_epoch = self.highest_epoch
        twin.kept = dict(self.kept)
        twin.targets = dict(self.targets)
        twin.current = dict(self.current)
        twin.owners = dict(self.owners)
        twin.instances = dict(self.instances)
        return twin

    def apply(self, record: MembershipRecord) -> None:
        """Take in a record; raises InconsistentLogError."""
        match record:
            case CurrentMember():
                self._hold(record)
            case MemberKept():
                self._keep(record)
            case TargetMember():
                self.targets[record.member_id] = record.partitions
            case TargetEpoch():
                self.target_epoch = record.epoch
            case GroupEpoch():
                self._begin_epoch(record)
            case Forgotten():
                self._forget(record)

    def _begin_epoch(self, record: GroupEpoch) -> None:
        self.epoch = record.epoch
        self.assignor = record.assignor
        self.empty_since_ms = record.empty_since_ms
        self.highest_epoch = max(self.highest_epoch, record.epoch)

    def _keep(self, record: MemberKept) -> None:
        self._forget_instance(record.member_id)
        self.kept[record.member_id] = record
        if record.instance_id:
            self.instances[record.instance_id] = record.member_id

    def _forget_instance(self, member_id: str) -> None:
        before = self.kept.get(member_id)
        if before is not None and self.instances.get(before.instance_id) == member_id:
            del self.instances[before.instance_id]

    def _hold(self, record: CurrentMember) -> None:
        member_id = record.member_id
        self._release(member_id)
        for partition in record.assigned | record.revoking:
            owner = self.owners.setdefault(partition, member_id)
            if owner != member_id:
                raise InconsistentLogError(
                    f"group {self.group_id!r}: partition {partition} is given to {member_id!r}"
                    f" while {owner!r} holds it"
                )
        self.current[member_id] = record
        self.highest_epoch = max(self.highest_epoch, record.epoch, record.previous_epoch)

    def _release(self, member_id: str) -> None:
        before = self.current.pop(member_id, None)
        if before is not None:
            for partition in before.assigned | before.revoking:
                del self.owners[partition]

    def _forget(self, record: Forgotten) -> None:
        match record.key:
            case GroupKey():
                self.epoch, self.highest_epoch, self.empty_since_ms = 0, 0, -1
            case TargetEpochKey():
                self.target_epoch = 0
            case MemberKey(member_id=member_id):
                self._forget_instance(member_id)
                self.kept.pop(member_id, None)
            case TargetKey(member_id=member_id):
                self.targets.pop(member_id, None)
            case CurrentKey(member_id=member_id):
                self._release(member_id)
            case OffsetKey():
                raise TypeError("an offset is not a group's own")
