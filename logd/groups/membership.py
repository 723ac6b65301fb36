"""Decisions that change who is in a group or what it reads: each makes new targets, once.

A draft is a copy of the group that the records of the decision are applied to as they are made, so
that each is judged by those before it; the group itself changes when they are replayed.

A new group epoch is above all epochs before and comes before the tombstones of members: however
much of a decision is in the log, and whatever compaction takes of it, no epoch is given again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from logd.groups.assignors import ASSIGNORS, Subscriber, Targets, preferred_assignor
from logd.groups.group import Group, MembershipRecord
from logd.groups.reconcile import NOTHING, advanced, gone_for_now, joined, renewed
from logd.groups.records import (
    CurrentKey,
    Forgotten,
    GroupEpoch,
    MemberKept,
    MemberKey,
    Partitions,
    TargetEpoch,
    TargetKey,
    TargetMember,
)
from logd.groups.requests import LEAVING_STATIC
from logd.groups.subscriptions import Subscriptions


class Draft:
    """A group as it will be, and the records that make it so."""

    def __init__(self, group: Group) -> None:
        self.group = group.copy()
        self.records: list[MembershipRecord] = []

    def add(self, record: MembershipRecord) -> None:
        self.group.apply(record)
        self.records.append(record)


def join(draft: Draft, member: MemberKept, subscriptions: Subscriptions) -> None:
    """Take in a new member, or take back a static one under the same member id."""
    before = draft.group.current.get(member.member_id)
    draft.add(member)
    retarget(draft, subscriptions)
    assigned = NOTHING if before is None else before.assigned
    _enter(draft, member.member_id, assigned, draft.group.epoch)


def take_place(draft: Draft, member: MemberKept, old_id: str, subscriptions: Subscriptions) -> None:
    """Let a member go on where the static member of the same instance id stopped."""
    group = draft.group
    before = group.kept[old_id]
    old = group.current.get(old_id, joined(group.group_id, old_id))
    target = group.targets.get(old_id, NOTHING)
    epoch = group.highest_epoch + 1
    draft.add(GroupEpoch(group.group_id, epoch, group.assignor))
    _forget(draft, old_id)
    draft.add(member)
    draft.add(TargetMember(group.group_id, member.member_id, target))
    if _reads_otherwise(before, member):
        retarget(draft, subscriptions)
    else:
        draft.add(TargetEpoch(group.group_id, epoch))
    _enter(draft, member.member_id, old.assigned, group.highest_epoch + 1)


def describe_anew(
    draft: Draft, member: MemberKept, owned: Partitions | None, subscriptions: Subscriptions
) -> None:
    """A member says who it is, or reads other topics than before. Its epoch changes in any case, so
    that a late copy of what it said before does not count."""
    group = draft.group
    before = group.kept[member.member_id]
    if member != before:
        draft.add(member)
    if _reads_otherwise(before, member):
        retarget(draft, subscriptions)
    current = group.current[member.member_id]
    target = group.targets.get(member.member_id, NOTHING)
    epoch = group.highest_epoch + 1
    step = advanced(current, target, group.owners, owned=owned, epoch=epoch)
    draft.add(renewed(current, epoch) if step is None else step)


def remove(draft: Draft, member_ids: Iterable[str], subscriptions: Subscriptions) -> None:
    """Members are gone; whatever they held is free."""
    retarget(draft, subscriptions, removed=frozenset(member_ids))


def retarget(
    draft: Draft, subscriptions: Subscriptions, removed: frozenset[str] = frozenset()
) -> None:
    """Begin a group epoch, with targets for it."""
    group = draft.group
    epoch = group.highest_epoch + 1
    staying = [each for each in group.kept.values() if each.member_id not in removed]
    assignor = preferred_assignor(each.assignor for each in staying)
    draft.add(GroupEpoch(group.group_id, epoch, assignor))
    for member_id in sorted(removed):
        _forget(draft, member_id)
    targets = targets_of(group, subscriptions)
    for member_id in sorted(targets):
        if targets[member_id] != group.targets.get(member_id):
            draft.add(TargetMember(group.group_id, member_id, targets[member_id]))
    draft.add(TargetEpoch(group.group_id, epoch))
    for member_id in sorted(group.current):
        current, target = group.current[member_id], group.targets.get(member_id, NOTHING)
        if current.epoch == LEAVING_STATIC and not current.assigned <= target:
            draft.add(gone_for_now(current, target))


def targets_of(group: Group, subscriptions: Subscriptions) -> Targets:
    """Return what the members shall hold, by the group's assignor, which goes out from the targets
    before and from what they hold now."""
    members = {
        member.member_id: Subscriber(subscriptions.of(member), member.instance_id, member.rack)
        for member in group.kept.values()
    }
    held = dict(group.owners)
    for member_id, partitions in group.targets.items():
        held.update(dict.fromkeys(partitions, member_id))
    return ASSIGNORS[group.assignor](members, subscriptions.topics, held)


def _forget(draft: Draft, member_id: str) -> None:
    for forgotten in (CurrentKey, TargetKey, MemberKey):
        draft.add(Forgotten(forgotten(draft.group.group_id, member_id)))


def _enter(draft: Draft, member_id: str, kept_for_it: Partitions, epoch: int) -> None:
    """A member's first epoch. It has heard nothing yet, so it may hold what it is told now alone:
    what was kept for it and is not in its target is free."""
    group = draft.group
    target = group.targets.get(member_id, NOTHING)
    entering = joined(group.group_id, member_id, kept_for_it & target)
    step = advanced(entering, target, group.owners, owned=None, epoch=epoch)
    draft.add(renewed(entering, epoch) if step is None else step)


def _reads_otherwise(before: MemberKept, after: MemberKept) -> bool:
    """Whether targets depend on the difference."""
    return (
        replace(
            after,
            member_id=before.member_id,
            client_id=before.client_id,
            client_host=before.client_host,
            rebalance_timeout_ms=before.rebalance_timeout_ms,
            session_timeout_ms=before.session_timeout_ms,
        )
        != before
    )
