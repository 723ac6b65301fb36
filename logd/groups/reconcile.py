"""The way of one member from what it holds to what it shall hold.

    STABLE      it may hold its whole target
    UNREVOKED   it was told to give partitions up, and has not said yet that it did
    UNRELEASED  it waits for partitions that others hold still

A step is taken in a heartbeat only, and only when the member says the epoch that it was told last:
so it knows everything that it may hold. Every step has an epoch of its own, and what is to be given
up is given up when the member says so together with the epoch that told it. A late copy of an
earlier heartbeat says another epoch, and therefore neither releases what the member holds nor gives
it something. (KIP-848 gives partitions several times in one epoch, and takes any list of owned
partitions for the newest.)

A partition is given to nobody while anybody holds it. There is no barrier: members that keep what
they have take no step and have the same epoch as before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from logd.groups.records import CurrentMember, MemberState, Partitions
from logd.groups.requests import LEAVING_STATIC
from logd.model.ids import TopicPartitionId

NOTHING: Final[Partitions] = frozenset()


def advanced(
    current: CurrentMember,
    target: Partitions,
    owners: Mapping[TopicPartitionId, str],
    *,
    owned: Partitions | None,
    epoch: int,
) -> CurrentMember | None:
    """Return the member after its next step, which gets `epoch`; None: there is none to take.

    `owned`: what the member says it has not given up, with its newest epoch; None: nothing new.
    """
    revoking = current.revoking
    if revoking and (owned is None or not revoking.isdisjoint(owned)):
        return None
    assigned = current.assigned
    if not revoking and current.state is MemberState.STABLE and assigned == target:
        return None
    member_id = current.member_id
    leaving = assigned - target
    if leaving:
        state, assigned = MemberState.UNREVOKED, assigned & target
    else:
        missing = target - assigned
        free = {each for each in missing if owners.get(each, member_id) == member_id}
        state = MemberState.STABLE if len(free) == len(missing) else MemberState.UNRELEASED
        assigned = assigned | free
    if not revoking and not leaving and state is current.state and assigned == current.assigned:
        return None
    return CurrentMember(
        group_id=current.group_id,
        member_id=member_id,
        epoch=epoch,
        previous_epoch=current.epoch,
        state=state,
        assigned=assigned,
        revoking=leaving,
    )


def joined(group_id: str, member_id: str, assigned: Partitions = NOTHING) -> CurrentMember:
    """A member before its first step, in no epoch yet; `assigned` was kept for it."""
    return CurrentMember(group_id, member_id, 0, 0, MemberState.UNRELEASED, assigned, NOTHING)


def renewed(current: CurrentMember, epoch: int) -> CurrentMember:
    """The same member with a new epoch: what it says with the one before counts no longer."""
    return replace(current, epoch=epoch, previous_epoch=current.epoch)


def gone_for_now(current: CurrentMember, target: Partitions) -> CurrentMember:
    """A static member that went: it holds nothing; of what it held its target is kept for it.

    The epoch that it had is remembered: nobody else may get it.
    """
    return replace(
        current,
        epoch=LEAVING_STATIC,
        previous_epoch=max(current.epoch, current.previous_epoch),
        state=MemberState.UNRELEASED,
        assigned=current.assigned & target,
        revoking=NOTHING,
    )


def owes(current: CurrentMember, target: Partitions) -> bool:
    """Whether others may be waiting for this member to give something up."""
    return bool(current.revoking) or not current.assigned <= target
