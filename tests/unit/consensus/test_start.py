"""Starts: what fits, the founder, the only voter, and what is known to be committed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from logd_wire.errors import ConfigError, StorageFailedError

from logd.consensus import (
    NO_OP,
    AppendRequest,
    Body,
    Entry,
    HardState,
    HeartbeatRequest,
    Identity,
    RaftCore,
    ReadState,
    Role,
    SnapshotMeta,
)
from logd.model.ids import NO_NODE, ClusterId, DirectoryId, LogIndex, NodeId, Term
from tests.unit.consensus.rig import (
    TIMING,
    Cluster,
    Disk,
    Node,
    entry,
    identity,
    point,
    seated,
    voter,
    voters,
)

ONE = identity(1)


def founder() -> Node:
    return Node(Disk(ONE), founder=True)


# --- the only voter -----------------------------------------------------------------------------


def test_the_first_start_of_a_founder_is_an_election() -> None:
    node = founder()
    core = node.core
    assert (node.role(), core.term, core.leader_id) == (Role.CANDIDATE, 1, None)
    assert core.next_deadline_ms() is None
    first = core.ready()
    assert first.hard_state == HardState(Term(1), NodeId(1), ONE, True)
    assert (first.entries, first.committed, first.messages) == ((), (), ())
    node.finish(first)
    assert (node.role(), core.leader_id) == (Role.LEADER, 1)
    assert (core.has_caught_up, core.commit_index) == (False, 0)

    second = core.ready()
    assert (second.hard_state, second.committed) == (None, ())
    assert second.entries == (entry(0, 1, NO_OP),)
    node.finish(second)
    assert (core.commit_index, core.applied_index) == (1, 0)

    third = core.ready()
    assert (third.entries, third.committed) == ((), second.entries)
    node.finish(third)
    assert core.applied_index == core.end_index == 1
    assert (core.has_caught_up, core.has_ready()) == (True, False)
    assert core.next_deadline_ms() is None, "time changes nothing for the only voter"


def test_a_proposal_is_saved_then_applied() -> None:
    node = founder()
    node.settle()
    proposal = node.core.propose([b"a", b"b"])
    assert (proposal.index, proposal.term) == (1, 1)
    saved = node.core.ready()
    assert saved.entries == (entry(1, 1, b"a", b"b"),)
    assert saved.committed == (), "nothing is committed before it is saved"
    node.finish(saved)
    applied = node.core.ready()
    assert applied.committed == saved.entries
    node.finish(applied)
    assert node.core.applied_index == 3


def test_proposals_made_meanwhile_go_with_the_next_ready() -> None:
    node = founder()
    node.settle()
    node.core.propose([b"a"])
    first = node.core.ready()
    node.core.propose([b"b"])
    node.core.propose([b"c"])
    assert not node.core.has_ready(), "one ready at a time"
    node.finish(first)
    second = node.core.ready()
    assert second.committed == first.entries
    assert [item.payloads for item in second.entries] == [(b"b",), (b"c",)]


def test_what_is_on_disk_commits_only_with_an_entry_of_the_new_term() -> None:
    node = founder()
    node.settle()
    node.core.propose([b"a"])
    node.disk.save(node.core.ready())
    node.start()
    assert node.core.term == 2
    vote = node.core.ready()
    assert vote.committed == ()
    node.finish(vote)
    no_op = node.core.ready()
    assert (no_op.committed, node.core.commit_index) == ((), 0)
    node.finish(no_op)
    node.settle()
    assert [(item.term, item.payloads) for item in node.applied] == [
        (1, (NO_OP,)),
        (1, (b"a",)),
        (2, (NO_OP,)),
    ]


def test_a_crash_before_the_save_forgets_a_proposal_and_uses_its_index_again() -> None:
    node = founder()
    node.settle()
    assert node.core.propose([b"lost"]).index == 1
    node.start()
    node.settle()
    assert node.core.end_index == 2, "the no-op of the new term"
    assert node.core.propose([b"kept"]).index == 2


def test_a_read_waits_for_what_was_committed_before() -> None:
    node = founder()
    node.finish(node.core.ready())
    node.core.read_index(7)
    no_op = node.core.ready()
    assert no_op.reads == (), "the leader does not know yet what is committed"
    node.finish(no_op)
    node.core.read_index(8)
    ready = node.core.ready()
    assert ready.reads == (ReadState(7, LogIndex(1)), ReadState(8, LogIndex(1)))
    assert ready.committed[-1].next_index == 1
    node.finish(ready)
    assert not node.core.has_ready()


def test_a_vote_for_somebody_else_is_outlived() -> None:
    """A folder of a larger group: the next term is free, whoever got the vote of the last."""
    disk = Disk.of(1, [entry(0, 4, b"v", voters=voters(1))], term=5, vote=2)
    node = Node(disk)
    node.settle()
    assert (node.role(), node.core.term) == (Role.LEADER, 6)
    assert disk.hard_state == HardState(Term(6), NodeId(1), ONE, False)


def test_a_sole_voter_that_lost_a_term_takes_the_next_at_once() -> None:
    node = founder()
    node.settle()
    node.receive(2, HeartbeatRequest(Term(7), LogIndex(0), 1))
    assert (node.role(), node.core.leader_id) == (Role.FOLLOWER, 2)
    assert node.core.next_deadline_ms() == TIMING.election_timeout_ms_min, "it hears one"
    node.start()
    node.settle()
    assert (node.role(), node.core.term) == (Role.LEADER, 8)


# --- the founder --------------------------------------------------------------------------------


def test_the_founder_is_the_voter_until_the_log_says_otherwise() -> None:
    node = founder()
    assert node.core.voters == (voter(1),)
    node.settle()
    node.founder = False
    node.start()
    assert node.core.voters == (voter(1),), "the hard state knows it"
    node.settle()
    node.core.propose_voters(voters(1, 2), b"v")
    node.settle()
    node.start()
    assert node.core.voters == voters(1, 2)
    assert node.role() is Role.FOLLOWER


def test_a_founder_without_hard_state_only() -> None:
    disk = Disk.of(1, [], term=1)
    node = Node(disk, founder=True)
    assert (node.core.voters, node.role()) == ((), Role.FOLLOWER)


def test_the_snapshot_of_a_founder_names_it() -> None:
    node = founder()
    node.settle()
    snapshot = node.core.applied_snapshot
    assert snapshot == SnapshotMeta(point(1, 1), (voter(1),))
    node.core.compact(snapshot)
    node.disk.snapshot, node.disk.entries = snapshot, []
    node.start()
    assert node.core.voters == (voter(1),)


# --- what fits ----------------------------------------------------------------------------------


def start(
    hard_state: HardState | None,
    entries: list[Entry],
    snapshot: SnapshotMeta | None = None,
    name: Identity = ONE,
) -> RaftCore:
    return RaftCore(
        name,
        hard_state=hard_state,
        snapshot=snapshot,
        entries=entries,
        founder=True,
        address="",
        timing=TIMING,
        random=lambda: 0.5,
        now_ms=0,
    )


@pytest.mark.parametrize(
    "other",
    [
        replace(ONE, cluster_id=ClusterId(b"x" * 16)),
        replace(ONE, node_id=NodeId(2)),
        replace(ONE, directory_id=DirectoryId(b"x" * 16)),
    ],
)
def test_nobody_votes_under_another_s_name(other: Identity) -> None:
    with pytest.raises(ConfigError, match="this node is"):
        start(HardState(Term(1), NodeId(1), ONE, True), [], name=other)


@pytest.mark.parametrize(
    ("hard_term", "entries", "words"),
    [
        (None, [entry(0, 1)], "no hard state"),
        (3, [entry(1, 1)], "entry 1 stands where entry 0 should"),
        (3, [entry(0, 1, b"a", b"b"), entry(1, 1)], "entry 1 stands where entry 2 should"),
        (3, [entry(0, 1), entry(2, 1)], "entry 2 stands where entry 1 should"),
        (3, [entry(0, 2), entry(1, 1)], "goes back to 1"),
        (3, [entry(0, 0)], "goes back to 0"),
        (3, [entry(0, 4)], "the hard state knows 3"),
        (3, [Entry(LogIndex(0), Term(1), ())], "entry 0 stands where"),
    ],
)
def test_a_log_that_does_not_fit_is_refused(
    hard_term: int | None, entries: list[Entry], words: str
) -> None:
    hard_state = None if hard_term is None else HardState(Term(hard_term), NodeId(1), ONE, True)
    with pytest.raises(StorageFailedError, match=words) as caught:
        start(hard_state, entries)
    assert not caught.value.retriable


@pytest.mark.parametrize(
    ("at", "entries", "words"),
    [
        (point(2, 5), [entry(4, 2)], "entry 4 stands where entry 5 should"),
        (point(2, 5), [entry(5, 1)], "goes back to 1"),
        (point(4, 5), [], "the hard state knows 3"),
    ],
)
def test_a_snapshot_that_does_not_fit_is_refused(
    at: tuple[int, int], entries: list[Entry], words: str
) -> None:
    snapshot = SnapshotMeta(point(*at), voters(1, 2))
    with pytest.raises(StorageFailedError, match=words):
        start(HardState(Term(3), NO_NODE, ONE, False), entries, snapshot)
    with pytest.raises(StorageFailedError, match="no hard state"):
        start(None, [], snapshot)


def test_the_driver_is_held_to_its_order() -> None:
    node = founder()
    ready = node.core.ready()
    with pytest.raises(RuntimeError):
        node.core.ready()
    with pytest.raises(RuntimeError):
        node.core.advance(replace(ready))
    node.finish(ready)
    with pytest.raises(RuntimeError):
        node.core.advance(ready)


# --- what is known to be committed --------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "applied"),
    [(0, []), (3, [b"a", b"b"]), (5, [b"a", b"b", b"c", b"c"]), (4, []), (9, [])],
    ids=["nothing", "a part", "all", "within an entry", "more than there is"],
)
def test_a_member_applies_what_it_is_told_is_committed(told: int, applied: list[bytes]) -> None:
    log = [entry(0, 1, NO_OP), entry(1, 1, b"a", b"b"), entry(3, 1, b"c", b"c")]
    disk = Disk.of(1, log)
    disk.commit_index = LogIndex(told)
    node = Node(disk)
    node.settle()
    assert node.payloads() == applied
    assert node.core.commit_index == node.core.applied_index
    assert not node.core.has_caught_up


def test_a_follower_has_caught_up_with_the_first_append() -> None:
    node = Node(Disk.of(1, seated(voters(1, 2, 3))))
    new = (entry(2, 2, NO_OP), entry(3, 2, b"a"))
    words: list[Body] = [
        AppendRequest(Term(2), point(1, 2), (new[0],), LogIndex(4)),
        AppendRequest(Term(2), point(2, 3), (new[1],), LogIndex(4)),
        HeartbeatRequest(Term(3), LogIndex(0), 1),
    ]
    caught_up = []
    for word in words:
        node.receive(2, word)
        caught_up.append(node.core.has_caught_up)
    assert caught_up == [False, True, True], "once is enough"


def test_a_new_leader_may_know_less_than_was_committed() -> None:
    node = Node(Disk.of(1, seated(voters(1, 2, 3))))
    append = AppendRequest(Term(2), point(1, 2), (entry(2, 2, NO_OP),), LogIndex(0))
    caught_up = []
    for word in (append, replace(append, commit_index=LogIndex(3))):
        node.receive(2, word)
        caught_up.append(node.core.has_caught_up)
    assert caught_up == [False, True]


def test_a_restart_in_a_quiet_cluster_takes_two_heartbeats() -> None:
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    cluster[3].now_ms = cluster.now_ms
    cluster[3].start()
    caught_up = []
    for _ in range(3):
        caught_up.append(cluster.core(3).has_caught_up)
        cluster.run(TIMING.heartbeat_ms)
    assert caught_up == [False, False, True]
    assert cluster.core(3).applied_index == cluster.core(1).applied_index
