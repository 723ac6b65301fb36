"""What must hold in every state of every history. It sees what nodes save, send, apply and answer.

The truth is what was applied first anywhere: `committed`. Everything else is held against it, and
against the disks: what a node promises must be durable, what a leader commits must lie on the disks
of a majority. Checks are incremental; each costs about the same however long the history is.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from logd.consensus import Entry, HardState, Ready
from logd.consensus.log_types import SnapshotMeta, Voter, Voters
from logd.consensus.messages import (
    AppendRequest,
    AppendResponse,
    HeartbeatRequest,
    Message,
    VoteRequest,
    VoteResponse,
)
from logd.model.ids import NO_NODE, DirectoryId, LogIndex, NodeId, Term
from tests.sim.raft.coverage import Sometimes
from tests.sim.raft.disk import Disk


class Violation(AssertionError):
    """A promise of the protocol was broken."""


@dataclass(frozen=True, slots=True)
class State:
    """A state machine: the log up to `index`, as a running hash, and the voters it holds."""

    index: LogIndex
    term: Term
    digest: int
    voters: Voters


_POINT = struct.Struct("<QQI")


def after(state: State, entry: Entry) -> State:
    """Return the state behind one more entry."""
    digest = zlib.crc32(_POINT.pack(entry.index, entry.term, state.digest))
    digest = zlib.crc32(b"\0".join(entry.payloads), digest)
    voters = state.voters if entry.voters is None else entry.voters
    return State(entry.next_index, entry.term, digest, voters)


def changed(before: Voters, now: Voters) -> int:
    """How many voters were added or removed, a voter with another directory being another one."""
    keys = {(voter.node_id, voter.directory_id) for voter in before}
    return len(keys ^ {(voter.node_id, voter.directory_id) for voter in now})


def is_among(voter: Voter, voters: Voters) -> bool:
    """Whether it votes under this directory, wherever its address is."""
    return changed((voter,), voters) == len(voters) - 1


class Oracle:
    """One for a run; `disks` holds every directory that ever was, by its id."""

    def __init__(
        self,
        sometimes: Sometimes,
        disks: dict[DirectoryId, Disk],
        founders: Voters,
        *,
        repeats: bool = False,
    ) -> None:
        """`repeats`: the same payload may be proposed more than once."""
        self._repeats = repeats
        self._sometimes = sometimes
        self._disks = disks
        self.start = State(LogIndex(0), Term(0), 0, founders)
        #: What is committed, by index.
        self.committed: dict[int, Entry] = {}
        #: The states behind committed entries, by index.
        self.states: dict[int, State] = {0: self.start}
        self.end = self.start
        #: The highest commit index of any leader.
        self.commit_index = 0
        self.leaders: dict[int, NodeId] = {}
        #: What was committed when a term got its leader.
        self._inherited: dict[int, State] = {}
        self._seen: dict[tuple[int, int], tuple[Entry, int]] = {}
        self._payloads: set[bytes] = set()
        self._votes: dict[tuple[DirectoryId, Term], NodeId] = {}
        #: The committed changes of voters: the sets before and after.
        self.changes: list[tuple[Voters, Voters]] = []

    # --- leaders

    def on_leader(self, node_id: NodeId, term: Term) -> None:
        """One leader a term."""
        other = self.leaders.setdefault(term, node_id)
        if other != node_id:
            raise Violation(f"two leaders in term {term}: {other} and {node_id}")
        if self.end.term < term:
            self._inherited[term] = self.end

    def on_first_save_of_leader(self, disk: Disk, node_id: NodeId, term: Term) -> None:
        """Leader completeness; logs match, so the last committed entry answers for all."""
        end = self._inherited.get(term, self.start)
        if not disk.holds(end.term, end.index):
            raise Violation(f"leader {node_id} of term {term} lacks what is committed: {end}")

    def on_commit_of_leader(
        self, node_id: NodeId, term: Term, commit: LogIndex, *voter_sets: Voters
    ) -> None:
        """What a leader commits is of its term, and durable on a majority of the voters in force.

        `voter_sets`: those in force before and after the call that moved the commit index.
        """
        if not any(self._on_majority(voters, term, commit) for voters in voter_sets):
            raise Violation(f"leader {node_id} of {term} commits {commit} without a majority")
        self.commit_index = max(self.commit_index, commit)

    def _on_majority(self, voters: Voters, term: Term, index: LogIndex) -> bool:
        durable = 0
        for voter in voters:
            disk = self._disks.get(voter.directory_id)
            durable += disk is not None and disk.holds(term, index)
        return 2 * durable > len(voters)

    def on_commit_of_follower(self, node_id: NodeId, commit: LogIndex) -> None:
        """Nobody but a leader commits anything first."""
        if commit > self.commit_index:
            raise Violation(f"node {node_id} commits {commit}, leaders only {self.commit_index}")

    # --- saves

    def on_save(self, node_id: NodeId, disk: Disk, ready: Ready, applied: LogIndex) -> None:
        """What is about to be written over what is on the disk."""
        if ready.hard_state is not None:
            self._check_promises(node_id, disk, ready.hard_state)
        if ready.snapshot is not None:
            self._check_snapshot(node_id, disk, ready.snapshot, applied)
        if ready.entries:
            self._check_entries(node_id, disk, ready)

    def _check_promises(self, node_id: NodeId, disk: Disk, new: HardState) -> None:
        old = disk.hard_state
        if new.identity.directory_id != disk.directory_id or new.identity.node_id != node_id:
            raise Violation(f"node {node_id} saves a foreign identity: {new}")
        if old is None:
            return
        if new.term < old.term or new.identity != old.identity or new.founder != old.founder:
            raise Violation(f"node {node_id}: its promises went back from {old} to {new}")
        if new.term == old.term and old.vote not in (NO_NODE, new.vote):
            raise Violation(f"node {node_id}: its vote in term {old.term} went from {old} to {new}")

    def _check_snapshot(
        self, node_id: NodeId, disk: Disk, meta: SnapshotMeta, applied: LogIndex
    ) -> None:
        state = self.states.get(meta.point.index)
        if (
            state is None
            or state.term != meta.point.term
            or state.voters != (meta.voters or self.start.voters)
        ):
            raise Violation(f"node {node_id} installs {meta}, the truth is {state}")
        if meta.point.index <= applied:
            raise Violation(f"node {node_id} goes back from {applied} to {meta.point}")
        if disk.snapshot is not None and disk.snapshot.meta.voters != meta.voters:
            self._sometimes("snapshot with other voters installed")
        self._sometimes("snapshot installed")
        for entry in disk.entries:
            truth = self.committed.get(entry.index)
            if entry.next_index > self.end.index or (truth is not None and truth != entry):
                self._sometimes("snapshot installed over a divergent tail")
                break

    def _check_entries(self, node_id: NodeId, disk: Disk, ready: Ready) -> None:
        first = ready.entries[0].index
        base = ready.snapshot.point if ready.snapshot else None
        end = base.index if base else disk.end_index
        if first > end:
            raise Violation(f"node {node_id} leaves a hole from {end} to {first}")
        if base is None:
            self._check_truncation(node_id, disk, first)
        previous_term = base.term if base and base.index == first else self._term_at(disk, first)
        voters = ready.snapshot.voters if ready.snapshot else self._voters_below(disk, first)
        term = ready.hard_state.term if ready.hard_state else disk.term
        expected = first
        for entry in ready.entries:
            if entry.index != expected or not previous_term <= entry.term <= term:
                raise Violation(f"node {node_id} of term {term} saves {entry} at {expected}")
            self._check_matching(entry, previous_term)
            if entry.voters is not None:
                voters = self._check_change(node_id, voters, entry)
            expected, previous_term = entry.next_index, entry.term

    def _term_at(self, disk: Disk, index: LogIndex) -> int:
        if index == 0:
            return 0
        entry = disk.by_end.get(index)
        if entry is not None:
            return entry.term
        if disk.snapshot is None or disk.snapshot.meta.point.index != index:
            raise Violation(f"a cut at {index} is not between two entries")
        return disk.snapshot.meta.point.term

    def _voters_below(self, disk: Disk, index: LogIndex) -> Voters | None:
        for entry in reversed(disk.changes):
            if entry.index < index and entry.next_index > disk.snapshot_index:
                return entry.voters
        return disk.snapshot.meta.voters if disk.snapshot else None

    def _check_truncation(self, node_id: NodeId, disk: Disk, first: LogIndex) -> None:
        """Nothing that is committed is ever cut where it has come to."""
        if first >= disk.end_index:
            return
        self._sometimes("uncommitted entry overwritten")
        if disk.changes and disk.changes[-1].index >= first:
            self._sometimes("voter change rolled back")
        lost = self.committed.get(first)
        if first < disk.snapshot_index or (
            lost is not None and disk.by_end.get(lost.next_index) == lost
        ):
            raise Violation(f"node {node_id} cuts committed entries from {first} on")

    def _check_matching(self, entry: Entry, previous_term: int) -> None:
        """Log matching: equal points have equal histories, by induction."""
        seen = self._seen.setdefault((entry.term, entry.index), (entry, previous_term))
        if (seen[0] is not entry and seen[0] != entry) or seen[1] != previous_term:
            raise Violation(f"logs do not match: {entry} after {previous_term}, and {seen}")

    def _check_change(self, node_id: NodeId, before: Voters | None, entry: Entry) -> Voters:
        now = entry.voters or ()
        # The founder is no record in the log: a log without a voter set begins with it.
        before = before or self.start.voters
        if not now or changed(before, now) > 1:
            raise Violation(f"node {node_id}: from {before} to {now} at {entry.index}")
        return now

    def check_one_change(self, node_id: NodeId, disk: Disk) -> None:
        """No log has two voter changes that are not committed."""
        changes = disk.changes
        if len(changes) > 1 and changes[-2].index >= self.commit_index:
            raise Violation(f"node {node_id}: two voter changes at once: {changes[-2:]}")

    def check_voters(self, node_id: NodeId, disk: Disk, voters: Voters) -> None:
        """In force is what the last voter set in the log says, nothing else."""
        expected = disk.voters()
        if not expected and disk.hard_state is not None and disk.hard_state.founder:
            expected = self.start.voters
        if voters != expected:
            raise Violation(f"node {node_id} counts {voters}, its log says {expected}")

    # --- state machines

    def on_apply(self, node_id: NodeId, disk: Disk, state: State, entry: Entry) -> State:
        """State machine safety: every node applies the same, in the same order."""
        if entry.index != state.index:
            raise Violation(f"node {node_id} applies {entry.index} at {state.index}")
        stored = disk.by_end.get(entry.next_index)
        if stored != entry and entry.next_index > disk.snapshot_index:
            raise Violation(f"node {node_id} applies {entry} and holds {stored}")
        truth = self.committed.get(entry.index)
        now = after(state, entry)
        if truth is None:
            self._commit(node_id, entry, now)
        elif truth is not entry and truth != entry:
            raise Violation(f"node {node_id} applies {entry}, another one {truth}")
        if now.digest != self.states[now.index].digest:
            raise Violation(f"node {node_id} has another history below {now.index}")
        return now

    def _commit(self, node_id: NodeId, entry: Entry, now: State) -> None:
        if entry.index != self.end.index or entry.next_index > self.commit_index:
            raise Violation(f"node {node_id} applies {entry} that no leader committed")
        for payload in entry.payloads:
            if payload in self._payloads and not self._repeats:
                raise Violation(f"{payload!r} is committed twice")
            if payload:
                self._payloads.add(payload)
        self.committed[entry.index] = entry
        if entry.voters is not None:
            self.changes.append((self.end.voters, entry.voters))
        self.states[now.index] = now
        self.end = now

    # --- messages

    def check_message(self, disk: Disk, message: Message) -> None:
        """A message that promises something leaves after the promise is durable."""
        body = message.body
        if isinstance(body, VoteRequest) and not body.pre_vote:
            self._check_vote(message, body.term, message.sender)
        elif isinstance(body, VoteResponse) and body.granted and not body.pre_vote:
            self._check_vote(message, body.term, message.to)
        check = _PROMISES.get(type(body))
        if check is not None and not check(disk, message):
            raise Violation(f"a promise before it is durable: {message}")

    def _check_vote(self, message: Message, term: Term, candidate: NodeId) -> None:
        """One vote a term, a candidate's for itself included."""
        before = self._votes.setdefault((message.sender_directory, term), candidate)
        if before != candidate:
            raise Violation(f"two votes in a term, for {before} and now: {message}")


def _of_vote(disk: Disk, message: Message) -> bool:
    body = message.body
    if not isinstance(body, VoteResponse) or body.pre_vote or not body.granted:
        return True
    hard_state = disk.hard_state
    return hard_state is not None and (
        hard_state.term > body.term
        or (hard_state.term == body.term and hard_state.vote == message.to)
    )


def _of_candidate(disk: Disk, message: Message) -> bool:
    body = message.body
    if not isinstance(body, VoteRequest) or body.pre_vote:
        return True
    hard_state = disk.hard_state
    return hard_state is not None and (
        hard_state.term > body.term
        or (hard_state.term == body.term and hard_state.vote == message.sender)
    )


def _of_leader(disk: Disk, message: Message) -> bool:
    body = message.body
    return not isinstance(body, AppendRequest | HeartbeatRequest) or disk.term >= body.term


def _of_follower(disk: Disk, message: Message) -> bool:
    body = message.body
    return not isinstance(body, AppendResponse) or (
        disk.term >= body.term
        and (body.match_index <= disk.snapshot_index or body.match_index in disk.by_end)
    )


_PROMISES: dict[type, Callable[[Disk, Message], bool]] = {
    VoteResponse: _of_vote,
    VoteRequest: _of_candidate,
    AppendRequest: _of_leader,
    HeartbeatRequest: _of_leader,
    AppendResponse: _of_follower,
}
