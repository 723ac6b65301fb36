"""Elections: Raft 5.2 and 5.4.1, pre-vote (thesis 9.6), a live leader's protection (4.2.3)."""

from __future__ import annotations

import pytest

from logd.consensus import (
    AppendRejected,
    AppendRequest,
    Body,
    HardState,
    HeartbeatRequest,
    HeartbeatResponse,
    LogPoint,
    Role,
    TimeoutNow,
    VoteRequest,
    VoteResponse,
)
from logd.model.ids import NO_NODE, LogIndex, NodeId, Term
from tests.unit.consensus.rig import (
    TIMING,
    Disk,
    Node,
    entry,
    identity,
    message,
    point,
    seated,
    voter,
    voters,
)

LOG = seated(voters(1, 2, 3))
LAST = point(1, 2)


def member(node_id: int = 1, *, term: int = 1, vote: int = NO_NODE, voting: int = 3) -> Node:
    log = seated(voters(*range(1, voting + 1)))
    return Node(Disk.of(node_id, log, term=term, vote=vote))


def vote_request(term: int, last: LogPoint = LAST, **flags: bool) -> VoteRequest:
    return VoteRequest(Term(term), last, flags.get("pre_vote", False), flags.get("transfer", False))


def yes(term: int, *, pre_vote: bool = False) -> VoteResponse:
    return VoteResponse(Term(term), True, pre_vote)


def no(term: int, *, pre_vote: bool = False) -> VoteResponse:
    return VoteResponse(Term(term), False, pre_vote)


def heartbeat(term: int, commit: int = 0) -> HeartbeatRequest:
    return HeartbeatRequest(Term(term), LogIndex(commit), 1)


def candidate(node: Node) -> Node:
    """Bring a member of term 1 to its first real election."""
    node.tick(TIMING.election_timeout_ms_min)
    node.receive(2, yes(2, pre_vote=True))
    node.receive(3, yes(2, pre_vote=True))
    return node


# --- asking -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chance", "deadline_ms"), [(0.0, 600), (0.5, 900), (0.999, 1199)])
def test_the_timeout_is_drawn_between_the_two(chance: float, deadline_ms: int) -> None:
    node = Node(Disk.of(1, LOG), random=lambda: chance, now_ms=5_000)
    assert node.core.next_deadline_ms() == 5_000 + deadline_ms
    assert node.tick(deadline_ms - 1) == []
    assert node.role() is Role.FOLLOWER
    node.tick(1)
    assert node.role() is Role.PRE_CANDIDATE


def test_a_pre_vote_changes_nothing_and_asks_every_other_voter() -> None:
    node = member()
    sent = node.tick(TIMING.election_timeout_ms_min)
    assert [(item.to, item.body) for item in sent] == [
        (2, vote_request(2, pre_vote=True)),
        (3, vote_request(2, pre_vote=True)),
    ]
    assert (node.role(), node.core.term) == (Role.PRE_CANDIDATE, 1)
    assert node.disk.hard_state == HardState(Term(1), NO_NODE, identity(1), False)


def test_a_candidate_asks_only_when_its_own_vote_is_durable() -> None:
    node = member()
    node.tick(TIMING.election_timeout_ms_min)
    node.core.step(message(2, 1, yes(2, pre_vote=True)), node.now_ms)
    assert (node.role(), node.core.term) == (Role.CANDIDATE, 2)
    assert node.core.take_messages_now() == ()
    ready = node.core.ready()
    assert ready.hard_state == HardState(Term(2), NodeId(1), identity(1), False)
    assert ready.messages_now == ()
    assert [(item.to, item.body) for item in ready.messages] == [
        (2, vote_request(2)),
        (3, vote_request(2)),
    ]


def test_a_majority_makes_the_leader_and_it_appends_a_no_op() -> None:
    node = candidate(member())
    sent = node.receive(3, yes(2))
    assert (node.role(), node.core.leader_id) == (Role.LEADER, 1)
    assert node.disk.entries[-1] == entry(2, 2, b"")
    append = AppendRequest(Term(2), LAST, (entry(2, 2, b""),), LogIndex(0))
    assert sent == [append, append]
    assert not node.core.has_caught_up


def test_the_own_vote_counts_only_when_it_is_durable() -> None:
    """The answer of another voter may overtake the end of the own save."""
    node = member()
    node.tick(TIMING.election_timeout_ms_min)
    node.core.step(message(2, 1, yes(2, pre_vote=True)), node.now_ms)
    ready = node.core.ready()
    node.core.step(message(2, 1, yes(2)), node.now_ms)
    assert node.role() is Role.CANDIDATE
    node.finish(ready)
    assert node.role() is Role.LEADER


def test_while_its_vote_is_being_saved_a_candidate_does_not_try_again() -> None:
    node = member()
    node.tick(TIMING.election_timeout_ms_min)
    node.core.step(message(2, 1, yes(2, pre_vote=True)), node.now_ms)
    ready = node.core.ready()
    assert node.core.next_deadline_ms() is None
    for _ in range(5):
        node.now_ms += TIMING.election_timeout_ms_max
        node.core.tick(node.now_ms)
    assert (node.role(), node.core.term) == (Role.CANDIDATE, 2)
    node.finish(ready)
    node.settle()
    assert node.core.next_deadline_ms() == node.now_ms + TIMING.election_timeout_ms_min


def test_a_candidate_without_an_answer_begins_again_with_a_pre_vote() -> None:
    node = candidate(member())
    sent = node.tick(TIMING.election_timeout_ms_min)
    assert node.role() is Role.PRE_CANDIDATE
    assert sent[0].body == vote_request(3, pre_vote=True)


# --- counting -----------------------------------------------------------------------------------


def test_one_voter_one_vote() -> None:
    node = candidate(member(voting=5))
    for _ in range(3):
        node.receive(2, yes(2))
    assert node.role() is Role.CANDIDATE
    node.receive(3, yes(2))
    assert node.role() is Role.LEADER


def test_a_voter_is_believed_at_its_first_word() -> None:
    node = candidate(member(voting=5))
    node.receive(2, no(2), yes(2))
    node.receive(3, yes(2))
    assert node.role() is Role.CANDIDATE


def test_a_vote_from_another_directory_does_not_count() -> None:
    """The folder of node 2 was emptied: it does not know what it promised in this term."""
    node = candidate(member())
    node.receive(2, yes(2), letter="b")
    assert node.role() is Role.CANDIDATE
    node.receive(2, yes(2))
    assert node.role() is Role.LEADER


def test_a_pre_vote_from_another_directory_does_not_count() -> None:
    node = member()
    node.tick(TIMING.election_timeout_ms_min)
    node.receive(2, yes(2, pre_vote=True), letter="b")
    assert node.role() is Role.PRE_CANDIDATE


def test_a_vote_of_no_voter_does_not_count() -> None:
    node = candidate(member())
    node.receive(4, yes(2))
    node.receive(9, yes(2))
    assert node.role() is Role.CANDIDATE


def test_a_node_that_votes_under_another_directory_here_has_no_vote() -> None:
    """The own folder was emptied and the voter of this name is the one before."""
    log = [entry(0, 1, b""), entry(1, 1, b"v", voters=(voter(1, "z"), voter(2), voter(3)))]
    node = Node(Disk.of(1, log))
    assert node.core.next_deadline_ms() is None
    node.tick(10 * TIMING.election_timeout_ms_max)
    assert node.role() is Role.FOLLOWER


@pytest.mark.parametrize("late", [yes(1), yes(3), no(1)])
def test_answers_of_other_terms_do_not_count(late: VoteResponse) -> None:
    node = candidate(member(voting=5))
    assert (node.role(), node.core.term) == (Role.CANDIDATE, 2)
    node.receive(2, yes(2))
    node.receive(3, late)
    # A later term ends the attempt, an earlier one says nothing.
    expected = Role.FOLLOWER if late.term > 2 else Role.CANDIDATE
    assert node.role() is expected
    assert node.role() is not Role.LEADER


@pytest.mark.parametrize("late", [yes(1, pre_vote=True), yes(3, pre_vote=True), yes(2), no(2)])
def test_a_granted_pre_vote_of_an_older_round_does_not_count(late: VoteResponse) -> None:
    node = member(term=1, voting=3)
    node.tick(TIMING.election_timeout_ms_min)
    node.receive(2, late)
    assert node.role() in {Role.PRE_CANDIDATE, Role.FOLLOWER}
    assert node.core.term <= 2
    assert node.disk.hard_state is not None
    assert node.disk.hard_state.vote == NO_NODE


def test_a_vote_is_no_pre_vote_and_the_other_way_round() -> None:
    node = candidate(member())
    node.receive(2, yes(2, pre_vote=True))
    node.receive(3, yes(3, pre_vote=True))
    assert node.role() is Role.CANDIDATE


def test_an_attempt_is_over_when_a_majority_refuses() -> None:
    node = candidate(member())
    node.receive(2, no(2))
    assert node.role() is Role.CANDIDATE
    node.receive(3, no(2))
    assert (node.role(), node.core.leader_id) == (Role.FOLLOWER, None)
    node.tick(TIMING.election_timeout_ms_min)
    assert node.role() is Role.PRE_CANDIDATE
    node.receive(2, no(1, pre_vote=True))
    node.receive(3, no(2, pre_vote=True))
    assert node.role() is Role.FOLLOWER


def test_a_refusal_of_a_later_term_raises_the_own() -> None:
    node = member()
    node.tick(TIMING.election_timeout_ms_min)
    node.receive(2, no(7, pre_vote=True))
    assert (node.role(), node.core.term) == (Role.FOLLOWER, 7)
    assert node.disk.hard_state == HardState(Term(7), NO_NODE, identity(1), False)


@pytest.mark.parametrize(
    "word", [heartbeat(2), AppendRequest(Term(2), LAST, (), LogIndex(0)), heartbeat(5)]
)
def test_a_candidate_gives_way_to_the_leader_of_its_term(word: Body) -> None:
    node = candidate(member())
    node.receive(3, word)
    assert (node.role(), node.core.leader_id) == (Role.FOLLOWER, 3)
    assert node.core.term == word.term
    node.receive(2, yes(2))
    assert node.role() is Role.FOLLOWER


# --- answering ----------------------------------------------------------------------------------


def test_one_vote_a_term_and_it_is_durable_before_it_is_given() -> None:
    node = member()
    node.core.step(message(2, 1, vote_request(2)), node.now_ms)
    assert node.core.take_messages_now() == ()
    ready = node.core.ready()
    assert ready.hard_state == HardState(Term(2), NodeId(2), identity(1), False)
    assert ready.messages_now == ()
    assert [item.body for item in ready.messages] == [yes(2)]
    node.finish(ready)
    node.sent.clear()
    assert node.receive(3, vote_request(2)) == [no(2)]
    assert node.receive(2, vote_request(2)) == [yes(2)], "asked again, told again"


def test_a_vote_survives_a_restart() -> None:
    node = member()
    node.receive(2, vote_request(2))
    node.start()
    assert node.receive(3, vote_request(2)) == [no(2)]
    assert node.receive(2, vote_request(2)) == [yes(2)]


def test_a_vote_is_not_taken_back_by_stepping_down_in_the_same_term() -> None:
    """A candidate that follows the leader of its term, or loses, has still voted for itself."""
    node = candidate(member())
    node.receive(2, no(2))
    node.receive(3, no(2))
    assert node.role() is Role.FOLLOWER
    assert node.receive(3, vote_request(2, point(9, 9))) == [no(2)]
    node.receive(2, heartbeat(2))
    assert node.receive(3, vote_request(2, point(9, 9))) == [no(2)]
    assert node.disk.hard_state == HardState(Term(2), NodeId(1), identity(1), False)


def test_a_later_term_gives_a_new_vote() -> None:
    node = member(vote=3)
    assert node.receive(2, vote_request(1)) == [no(1)]
    assert node.receive(2, vote_request(2)) == [yes(2)]


def test_nobody_is_voted_for_in_a_term_that_has_a_leader() -> None:
    node = member()
    node.receive(3, heartbeat(2))
    node.now_ms += TIMING.election_timeout_ms_max
    assert node.receive(2, vote_request(2)) == [no(2)]


@pytest.mark.parametrize("pre_vote", [True, False])
@pytest.mark.parametrize(
    ("last", "is_fresh"),
    [
        (point(1, 2), True),
        (point(1, 3), True),
        (point(2, 1), True),
        (point(1, 1), False),
        (point(0, 9), False),
    ],
)
def test_only_a_log_that_is_as_fresh_gets_a_vote(
    pre_vote: bool, last: LogPoint, is_fresh: bool
) -> None:
    node = member()
    request = vote_request(2, last, pre_vote=pre_vote)
    own_term = 1 if pre_vote else 2
    expected = yes(2, pre_vote=pre_vote) if is_fresh else no(own_term, pre_vote=pre_vote)
    assert node.receive(2, request) == [expected]


def test_a_pre_vote_binds_nobody() -> None:
    node = member()
    deadline = node.core.next_deadline_ms()
    node.now_ms += 100
    assert node.receive(2, vote_request(2, pre_vote=True)) == [yes(2, pre_vote=True)]
    assert node.receive(3, vote_request(2, pre_vote=True)) == [yes(2, pre_vote=True)]
    assert (node.core.term, node.core.next_deadline_ms()) == (1, deadline)
    assert node.disk.hard_state == HardState(Term(1), NO_NODE, identity(1), False)
    assert node.receive(3, vote_request(1, pre_vote=True)) == [no(1, pre_vote=True)]


def test_a_vote_restarts_the_timer() -> None:
    node = member()
    node.now_ms = 500
    node.receive(2, vote_request(2))
    assert node.core.next_deadline_ms() == 500 + TIMING.election_timeout_ms_min


def test_requests_of_earlier_terms_are_refused_with_the_own_term() -> None:
    node = member(term=5)
    assert node.receive(2, vote_request(4)) == [no(5)]
    assert node.receive(2, vote_request(4, pre_vote=True)) == [no(5, pre_vote=True)]
    assert node.receive(2, heartbeat(4)) == [AppendRejected(Term(5), LogIndex(0), LAST)]
    append = AppendRequest(Term(4), point(1, 7), (), LogIndex(0))
    assert node.receive(2, append) == [AppendRejected(Term(5), LogIndex(7), LAST)]
    assert node.core.leader_id is None


def test_an_old_leader_learns_that_its_term_is_over() -> None:
    node = candidate(member())
    node.receive(2, yes(2))
    node.receive(3, AppendRejected(Term(4), LogIndex(0), LAST))
    assert (node.role(), node.core.term) == (Role.FOLLOWER, 4)


# --- a live leader ------------------------------------------------------------------------------


@pytest.mark.parametrize("pre_vote", [True, False])
def test_a_live_leader_is_not_voted_out(pre_vote: bool) -> None:
    node = member()
    node.receive(3, heartbeat(2))
    node.now_ms += TIMING.election_timeout_ms_min - 1
    assert node.receive(2, vote_request(3, pre_vote=pre_vote)) == []
    assert node.core.term == 2
    node.now_ms += 1
    assert node.receive(2, vote_request(3, pre_vote=pre_vote)) == [yes(3, pre_vote=pre_vote)]


def test_unless_the_leader_asked_for_it() -> None:
    node = member()
    node.receive(3, heartbeat(2))
    assert node.receive(2, vote_request(3, transfer=True)) == [yes(3)]


def test_a_leader_is_its_own_live_leader() -> None:
    node = candidate(member())
    node.receive(2, yes(2))
    assert node.receive(3, vote_request(9)) == []
    assert node.role() is Role.LEADER
    assert node.receive(3, vote_request(9, point(9, 9), transfer=True)) == [yes(9)]
    assert node.role() is Role.FOLLOWER


def test_a_term_has_one_leader() -> None:
    node = member()
    node.receive(3, heartbeat(2))
    assert node.receive(2, heartbeat(2)) == []
    assert node.core.leader_id == 3


# --- who does not campaign ----------------------------------------------------------------------


def test_an_observer_never_campaigns_and_votes_like_everybody() -> None:
    node = member(4)
    assert node.core.next_deadline_ms() is None
    node.tick(10 * TIMING.election_timeout_ms_max)
    node.tick(10 * TIMING.election_timeout_ms_max)
    assert node.role() is Role.FOLLOWER
    node.receive(3, heartbeat(2))
    assert node.receive(3, TimeoutNow(Term(2))) == []
    node.now_ms += TIMING.election_timeout_ms_max
    assert node.receive(2, vote_request(3)) == [yes(3)]


def test_an_empty_node_has_no_voters_and_campaigns_for_nothing() -> None:
    node = Node(Disk(identity(4)))
    assert (node.core.voters, node.core.next_deadline_ms()) == ((), None)
    node.settle()
    assert node.disk.hard_state == HardState(Term(0), NO_NODE, identity(4), False)
    node.tick(10 * TIMING.election_timeout_ms_max)
    assert node.role() is Role.FOLLOWER
    assert node.receive(1, heartbeat(3)) == [HeartbeatResponse(Term(3), 1)]
    assert node.core.leader_id == 1


# --- a clock that jumps -------------------------------------------------------------------------


def test_after_a_pause_what_had_arrived_is_read_before_an_election() -> None:
    node = member()
    node.receive(3, heartbeat(2))
    assert node.tick(60_000) == []
    assert node.role() is Role.FOLLOWER
    assert node.core.next_deadline_ms() == node.now_ms + TIMING.heartbeat_ms
    # The leader's words of the meantime are read now: it is alive.
    node.receive(3, heartbeat(2))
    assert node.tick(TIMING.heartbeat_ms) == []
    assert node.role() is Role.FOLLOWER


def test_a_node_that_is_always_late_campaigns_in_the_end() -> None:
    node = member()
    assert node.tick(60_000) == []
    assert len(node.tick(60_000)) == 2
    assert node.role() is Role.PRE_CANDIDATE


def test_a_tick_into_the_past_is_no_tick() -> None:
    node = member()
    node.receive(3, heartbeat(2))
    deadline = node.core.next_deadline_ms()
    node.core.tick(-5)
    assert node.core.next_deadline_ms() == deadline
