"""The checker of the consensus simulation is checked: it accepts what is right, and sees each
broken promise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from logd.consensus import Entry, HardState, Identity, Ready
from logd.consensus.log_types import LogPoint, SnapshotMeta, Voter, Voters
from logd.consensus.messages import (
    AppendRequest,
    AppendResponse,
    Body,
    Message,
    VoteRequest,
    VoteResponse,
)
from logd.model.ids import NO_NODE, ClusterId, DirectoryId, LogIndex, NodeId, Term
from tests.sim.raft.coverage import Sometimes
from tests.sim.raft.disk import Contents, Disk
from tests.sim.raft.oracle import Oracle, Violation, after

CLUSTER = ClusterId(b"c" * 16)
A, B, C = (Voter(NodeId(n), DirectoryId(b"%016d" % n), f"n{n}:1") for n in (1, 2, 3))
ALL: Voters = (A, B, C)


def entry(index: int, term: int, payload: bytes = b"x", voters: Voters | None = None) -> Entry:
    return Entry(LogIndex(index), Term(term), (payload,), voters)


def hard_state(term: int, vote: int = NO_NODE, voter: Voter = A, founder: bool = True) -> HardState:
    identity = Identity(CLUSTER, voter.node_id, voter.directory_id)
    return HardState(Term(term), NodeId(vote), identity, founder)


def ready(
    state: HardState | None = None,
    entries: tuple[Entry, ...] = (),
    snapshot: SnapshotMeta | None = None,
) -> Ready:
    return Ready(state, snapshot, entries, (), (), (), (), ())


class Table:
    """Three disks and the oracle over them."""

    def __init__(self) -> None:
        self.disks = {voter.directory_id: Disk(voter.directory_id) for voter in ALL}
        self.oracle = Oracle(Sometimes(), self.disks, (A,))
        for disk, voter in zip(self.disks.values(), ALL, strict=True):
            disk.hard_state = hard_state(1, voter=voter, founder=voter is A)

    def disk(self, voter: Voter = A) -> Disk:
        return self.disks[voter.directory_id]

    def save(self, what: Ready, voter: Voter = A, applied: int = 0) -> None:
        disk = self.disk(voter)
        self.oracle.on_save(voter.node_id, disk, what, LogIndex(applied))
        for step in disk.save_steps(what):
            step()

    def write(self, *entries: Entry, voters: Voters = ALL) -> None:
        for voter in voters:
            self.save(ready(entries=entries), voter)

    def commit(self, *entries: Entry) -> None:
        """On every disk, committed by the leader, applied."""
        self.write(*entries)
        last = entries[-1]
        self.oracle.on_commit_of_leader(A.node_id, last.term, last.next_index, ALL)
        state = self.oracle.end
        for one in entries:
            state = self.oracle.on_apply(A.node_id, self.disk(), state, one)


def send(table: Table, voter: Voter, to: Voter, body: Body) -> None:
    message = Message(voter.node_id, voter.directory_id, to.node_id, body)
    table.oracle.check_message(table.disk(voter), message)


def test_a_right_history_is_accepted() -> None:
    table = Table()
    table.oracle.on_leader(A.node_id, Term(1))
    table.save(ready(hard_state(1, 1)))
    table.commit(entry(0, 1, b""), entry(1, 1, b"a"), entry(2, 1, b"v", (A, B)))
    table.oracle.on_leader(B.node_id, Term(2))
    table.oracle.on_first_save_of_leader(table.disk(B), B.node_id, Term(2))
    table.write(entry(3, 1, b"lost"), voters=(A,))
    for voter in ALL:
        table.save(ready(hard_state(2, voter=voter, founder=voter is A)), voter)
    table.write(entry(3, 2, b"b"), entry(4, 2, b"w", ALL))
    table.oracle.check_one_change(A.node_id, table.disk())
    table.oracle.check_voters(A.node_id, table.disk(), ALL)
    send(table, A, B, AppendResponse(Term(2), LogIndex(5)))


def second_leader(table: Table) -> None:
    table.oracle.on_leader(A.node_id, Term(3))
    table.oracle.on_leader(B.node_id, Term(3))


def incomplete_leader(table: Table) -> None:
    table.commit(entry(0, 1, b"a"))
    table.disk(C).cut(LogIndex(0))
    table.oracle.on_leader(C.node_id, Term(2))
    table.oracle.on_first_save_of_leader(table.disk(C), C.node_id, Term(2))


def commit_by_a_minority(table: Table) -> None:
    table.write(entry(0, 1, b"a"), voters=(A,))
    table.oracle.on_commit_of_leader(A.node_id, Term(1), LogIndex(1), ALL)


def commit_of_an_earlier_term(table: Table) -> None:
    table.write(entry(0, 1, b"a"))
    table.oracle.on_commit_of_leader(A.node_id, Term(2), LogIndex(1), ALL)


def commit_counts_another_directory(table: Table) -> None:
    table.write(entry(0, 1, b"a"), voters=(A, B))
    other = Voter(B.node_id, DirectoryId(b"another one     "), B.address)
    table.oracle.on_commit_of_leader(A.node_id, Term(1), LogIndex(1), (A, other, C))


def follower_commits_first(table: Table) -> None:
    table.oracle.on_commit_of_follower(B.node_id, LogIndex(1))


def term_goes_back(table: Table) -> None:
    table.save(ready(hard_state(3)))
    table.save(ready(hard_state(2)))


def vote_changes(table: Table) -> None:
    table.save(ready(hard_state(3, 2)))
    table.save(ready(hard_state(3, 3)))


def foreign_identity(table: Table) -> None:
    table.save(ready(hard_state(3, voter=B)))


def hole_in_the_log(table: Table) -> None:
    table.write(entry(1, 1))


def committed_entry_cut(table: Table) -> None:
    table.commit(entry(0, 1, b"a"))
    table.save(ready(hard_state(2), (entry(0, 2, b"b"),)))


def entry_beyond_the_term(table: Table) -> None:
    table.write(entry(0, 2))


def logs_differ(table: Table) -> None:
    table.write(entry(0, 1, b"a"), voters=(A,))
    table.write(entry(0, 1, b"b"), voters=(B,))


def histories_differ(table: Table) -> None:
    for voter, first in ((A, 1), (B, 2)):
        table.save(ready(hard_state(3, voter=voter, founder=voter is A)), voter)
        table.write(entry(0, first, b"%d" % first), entry(1, 3), voters=(voter,))


def two_voters_at_once(table: Table) -> None:
    table.write(entry(0, 1, b"v", ALL), voters=(A,))


def no_voters(table: Table) -> None:
    table.write(entry(0, 1, b"v", ()), voters=(A,))


def two_open_changes(table: Table) -> None:
    table.write(entry(0, 1, b"v", (A, B)), entry(1, 1, b"w", ALL))
    table.oracle.check_one_change(A.node_id, table.disk())


def voters_of_a_cut_entry(table: Table) -> None:
    table.write(entry(0, 1, b"v", (A, B)))
    table.save(ready(hard_state(2), (entry(0, 2, b"n"),)))
    table.oracle.check_voters(A.node_id, table.disk(), (A, B))


def applied_out_of_order(table: Table) -> None:
    table.write(entry(0, 1, b"a"), entry(1, 1, b"b"))
    table.oracle.commit_index = 2
    table.oracle.on_apply(A.node_id, table.disk(), table.oracle.start, entry(1, 1, b"b"))


def applied_without_commit(table: Table) -> None:
    table.write(entry(0, 1, b"a"))
    table.oracle.on_apply(A.node_id, table.disk(), table.oracle.start, entry(0, 1, b"a"))


def applied_something_else(table: Table) -> None:
    table.commit(entry(0, 1, b"a"))
    table.disk(B).cut(LogIndex(0))
    table.disk(B).append([entry(0, 1, b"b")])
    table.oracle.on_apply(B.node_id, table.disk(B), table.oracle.start, entry(0, 1, b"b"))


def applied_before_it_is_durable(table: Table) -> None:
    table.commit(entry(0, 1, b"a"))
    table.disk(B).cut(LogIndex(0))
    table.oracle.on_apply(B.node_id, table.disk(B), table.oracle.start, entry(0, 1, b"a"))


def applied_twice(table: Table) -> None:
    table.commit(entry(0, 1, b"a"), entry(1, 1, b"a"))


def snapshot_of_another_history(table: Table) -> None:
    table.commit(entry(0, 1, b"a"))
    table.save(ready(snapshot=SnapshotMeta(LogPoint(Term(2), LogIndex(1)), (A,))), B)


def snapshot_with_other_voters(table: Table) -> None:
    table.commit(entry(0, 1, b"a"))
    table.save(ready(snapshot=SnapshotMeta(LogPoint(Term(1), LogIndex(1)), ALL)), B)


def snapshot_over_what_is_applied(table: Table) -> None:
    table.commit(entry(0, 1, b"a"), entry(1, 1, b"b"))
    meta = SnapshotMeta(LogPoint(Term(1), LogIndex(1)), (A,))
    table.save(ready(snapshot=meta), B, applied=2)


def vote_before_it_is_durable(table: Table) -> None:
    send(table, B, A, VoteResponse(Term(2), granted=True, pre_vote=False))


def vote_for_somebody_else(table: Table) -> None:
    table.save(ready(hard_state(2, 3, B, founder=False)), B)
    send(table, B, A, VoteResponse(Term(2), granted=True, pre_vote=False))


def second_vote(table: Table) -> None:
    table.save(ready(hard_state(2, 1, B, founder=False)), B)
    send(table, B, A, VoteResponse(Term(2), granted=True, pre_vote=False))
    table.save(ready(hard_state(3, 3, B, founder=False)), B)
    send(table, B, C, VoteResponse(Term(2), granted=True, pre_vote=False))


def candidate_without_a_term(table: Table) -> None:
    last = LogPoint(Term(0), LogIndex(0))
    send(table, A, B, VoteRequest(Term(2), last, pre_vote=False))


def leader_without_a_term(table: Table) -> None:
    start = LogPoint(Term(0), LogIndex(0))
    send(table, A, B, AppendRequest(Term(2), start, (), LogIndex(0)))


def acknowledged_before_it_is_durable(table: Table) -> None:
    send(table, B, A, AppendResponse(Term(1), LogIndex(1)))


BROKEN: tuple[tuple[Callable[[Table], None], str], ...] = (
    (second_leader, "two leaders"),
    (incomplete_leader, "lacks what is committed"),
    (commit_by_a_minority, "without a majority"),
    (commit_of_an_earlier_term, "without a majority"),
    (commit_counts_another_directory, "without a majority"),
    (follower_commits_first, "leaders only"),
    (term_goes_back, "went back"),
    (vote_changes, "its vote"),
    (foreign_identity, "foreign identity"),
    (hole_in_the_log, "a hole"),
    (committed_entry_cut, "cuts committed"),
    (entry_beyond_the_term, "of term 1 saves"),
    (logs_differ, "do not match"),
    (histories_differ, "do not match"),
    (two_voters_at_once, "from"),
    (no_voters, "from"),
    (two_open_changes, "two voter changes"),
    (voters_of_a_cut_entry, "its log says"),
    (applied_out_of_order, "applies 1 at 0"),
    (applied_without_commit, "no leader committed"),
    (applied_something_else, "another one"),
    (applied_before_it_is_durable, "and holds"),
    (applied_twice, "committed twice"),
    (snapshot_of_another_history, "the truth is"),
    (snapshot_with_other_voters, "the truth is"),
    (snapshot_over_what_is_applied, "goes back"),
    (vote_before_it_is_durable, "before it is durable"),
    (vote_for_somebody_else, "before it is durable"),
    (second_vote, "two votes"),
    (candidate_without_a_term, "before it is durable"),
    (leader_without_a_term, "before it is durable"),
    (acknowledged_before_it_is_durable, "before it is durable"),
)


@pytest.mark.parametrize(
    ("history", "said"), BROKEN, ids=lambda case: getattr(case, "__name__", "")
)
def test_a_broken_promise_is_seen(history: Callable[[Table], None], said: str) -> None:
    with pytest.raises(Violation, match=said):
        history(Table())


class TestDisk:
    def test_a_log_beside_a_newer_snapshot_is_dropped(self) -> None:
        table = Table()
        table.write(entry(0, 1), entry(1, 1, b"y"), voters=(B,))
        disk = table.disk(B)
        state = after(after(table.oracle.start, entry(0, 1)), entry(1, 2, b"z"))
        meta = SnapshotMeta(LogPoint(Term(2), LogIndex(2)), (A,))
        disk.snapshot = Contents(meta, state.digest)
        assert disk.recover()
        assert (disk.entries, disk.end_index) == ([], 2)

    def test_a_log_that_holds_the_snapshot_is_kept(self) -> None:
        table = Table()
        table.write(entry(0, 1), entry(1, 1, b"y"), voters=(B,))
        disk = table.disk(B)
        meta = SnapshotMeta(LogPoint(Term(1), LogIndex(1)), (A,))
        disk.compact(Contents(meta, 0), trim=False)
        assert not disk.recover()
        disk.trim()
        assert not disk.recover()
        assert [one.index for one in disk.entries] == [1]
        assert disk.holds(Term(1), LogIndex(2))
        assert not disk.holds(Term(2), LogIndex(2))
