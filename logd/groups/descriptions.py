"""Groups in words that operators read."""

from __future__ import annotations

from logd.groups.group import Group
from logd.groups.reconcile import NOTHING
from logd.groups.records import CurrentMember, MemberKept, MemberState
from logd.groups.requests import (
    LEAVING_STATIC,
    GroupDescription,
    GroupListing,
    MemberDescription,
)
from logd.groups.watches import Watches


def state_of(group: Group) -> str:
    """`empty`, `assigning`, `reconciling` or `stable`."""
    if not group.kept:
        return "empty"
    if group.target_epoch != group.epoch:
        return "assigning"
    arrived = all(_arrived(group, current) for current in group.current.values())
    return "stable" if arrived else "reconciling"


def _arrived(group: Group, current: CurrentMember) -> bool:
    """Whether the member has all that it shall have; one that went for now waits for nothing."""
    if current.epoch == LEAVING_STATIC:
        return True
    target = group.targets.get(current.member_id, NOTHING)
    return current.state is MemberState.STABLE and current.assigned == target


def listed(group: Group) -> GroupListing:
    return GroupListing(group.group_id, state_of(group), len(group.kept), group.epoch)


def described(group: Group, watches: Watches, now_ms: int) -> GroupDescription:
    members = (group.kept[member_id] for member_id in sorted(group.kept))
    return GroupDescription(
        group_id=group.group_id,
        state=state_of(group),
        group_epoch=group.epoch,
        assignment_epoch=group.target_epoch,
        assignor=group.assignor,
        members=tuple(_member(group, member, watches, now_ms) for member in members),
    )


def _member(group: Group, member: MemberKept, watches: Watches, now_ms: int) -> MemberDescription:
    current = group.current.get(member.member_id)
    watch = watches.of(group.group_id, member.member_id)
    return MemberDescription(
        member_id=member.member_id,
        instance_id=member.instance_id or None,
        rack=member.rack,
        client_id=member.client_id,
        client_host=member.client_host,
        member_epoch=0 if current is None else current.epoch,
        state=MemberState.UNRELEASED.value if current is None else current.state.value,
        topics=member.topics,
        pattern=member.pattern,
        assigned=NOTHING if current is None else current.assigned,
        revoking=NOTHING if current is None else current.revoking,
        target=group.targets.get(member.member_id, NOTHING),
        session_timeout_ms=member.session_timeout_ms,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        silent_ms=-1 if watch is None or not watch.heard else now_ms - watch.heard_ms,
    )
