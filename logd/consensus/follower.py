"""What a member does with the words of the leader of its term.

Every function takes one message in, and answers it through the member's outbox.
"""

from __future__ import annotations

from logd.consensus.checks import are_entries_behind, is_voter_set
from logd.consensus.log_types import Entry, LogPoint
from logd.consensus.member import Member
from logd.consensus.messages import (
    AppendRejected,
    AppendRequest,
    AppendResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    InstallSnapshot,
)
from logd.model.ids import LogIndex, NodeId


def take_append(member: Member, leader_id: NodeId, body: AppendRequest) -> None:
    """Append what is new, cut off what contradicts it, commit what the leader has committed."""
    previous = body.previous
    if not are_entries_behind(previous, body.entries, body.term):
        return
    if previous.index < member.commit_index:
        # What is committed here is in the log of every later leader.
        member.send(leader_id, AppendResponse(member.term, member.commit_index))
    elif member.log.has(previous):
        _append(member, leader_id, body)
    elif previous.index > member.commit_index:
        hint = _last_agreement(member, previous)
        member.send(leader_id, AppendRejected(member.term, previous.index, hint))


def _append(member: Member, leader_id: NodeId, body: AppendRequest) -> None:
    new = _not_in_log(member, body.entries)
    if new:
        if new[0].index < member.log.end_index:
            member.log.truncate(new[0].index)
        member.log.append(new)
    # Not the end of this log: behind the leader's entries there may be those of an older leader.
    end = body.entries[-1].next_index if body.entries else body.previous.index
    member.agreed_index = max(member.agreed_index, end)
    member.commit_to(min(body.commit_index, end))
    member.send(leader_id, AppendResponse(member.term, end))


def _not_in_log(member: Member, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Return the entries from the first one on that the log does not hold.

    `entries` follow a point of the log, so an entry of the same term that ends at the same index
    is the same entry.
    """
    for number, entry in enumerate(entries):
        if not member.log.has(LogPoint(entry.term, entry.next_index)):
            return entries[number:]
    return ()


def _last_agreement(member: Member, previous: LogPoint) -> LogPoint:
    """Return the last point below `previous` at which the leader's log may equal this one.

    It has no higher term there than `previous`, so whole terms are skipped.
    """
    bound = LogPoint(previous.term, LogIndex(previous.index - 1))
    found = member.log.last_point_within(bound)
    if found is None or found.index < member.commit_index:
        return member.commit_point
    return found


def take_heartbeat(member: Member, leader_id: NodeId, body: HeartbeatRequest) -> None:
    """Commit as far as the log is known to be the leader's.

    That is so where the leader's appends of this term have confirmed it, and below an entry of the
    leader's own term, which only the leader can have made.
    """
    index = body.commit_index
    if index <= member.agreed_index or member.log.term_at(index) == body.term:
        member.commit_to(index)
    member.send(leader_id, HeartbeatResponse(member.term, body.round))


def take_snapshot(member: Member, leader_id: NodeId, body: InstallSnapshot) -> None:
    """Start over from a snapshot, unless the log reaches as far."""
    snapshot = body.snapshot
    point = snapshot.point
    if point.index < 0 or point.term > body.term or not is_voter_set(snapshot.voters):
        return
    if point.index > member.commit_index:
        if not member.log.has(point):
            member.log.restore(snapshot)
            member.snapshot_due = snapshot
        member.commit_index = point.index
        member.agreed_index = max(member.agreed_index, point.index)
    member.send(leader_id, AppendResponse(member.term, member.commit_index))
