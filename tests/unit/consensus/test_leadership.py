"""How leadership ends: handed over, or lost with the quorum, also by standing still."""

from __future__ import annotations

import pytest
from logd_wire.errors import InvalidRequestError, NotLeaderError

from logd.consensus import (
    AppendResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    Role,
    TimeoutNow,
    VoteRequest,
)
from logd.model.ids import NodeId, Term
from tests.unit.consensus.rig import TIMING, Cluster, Node, message, voters


def led(*node_ids: int) -> tuple[Cluster, Node]:
    cluster = Cluster(*(node_ids or (1, 2, 3)))
    first = cluster.elect(1)
    first.now_ms = cluster.now_ms
    return cluster, first


# --- handed over --------------------------------------------------------------------------------


def test_leadership_is_handed_to_a_voter_that_has_everything() -> None:
    cluster, first = led()
    term = first.core.term
    first.core.transfer(NodeId(3))
    sent = first.settle()
    assert [(item.to, item.body) for item in sent] == [(3, TimeoutNow(term))]
    cluster.post(sent)
    cluster.deliver()
    assert cluster.leaders() == [3]
    assert (first.core.term, first.core.leader_id) == (term + 1, 3)


def test_the_asked_one_campaigns_at_once_against_the_live_leader() -> None:
    cluster, first = led()
    third = cluster[3]
    sent = third.receive(1, TimeoutNow(first.core.term))
    assert third.role() is Role.CANDIDATE
    last = third.core.snapshot_point._replace(term=Term(2), index=third.core.end_index)
    assert sent == 2 * [VoteRequest(Term(3), last, False, True)]


def test_only_the_leader_of_this_term_may_ask() -> None:
    cluster, first = led()
    third = cluster[3]
    assert third.receive(2, TimeoutNow(first.core.term)) == []
    assert third.receive(1, TimeoutNow(Term(first.core.term - 1))) == []
    assert third.role() is Role.FOLLOWER
    third.receive(1, TimeoutNow(Term(first.core.term + 1)))
    assert (third.role(), third.core.leader_id) == (Role.FOLLOWER, None)


def test_who_lacks_entries_gets_them_first() -> None:
    cluster, first = led()
    first.core.propose([b"a"])
    first.core.transfer(NodeId(3))
    sent = first.settle()
    assert TimeoutNow(first.core.term) not in [item.body for item in sent]
    cluster.post(sent)
    cluster.deliver()
    assert cluster.leaders() == [3]
    assert cluster[3].payloads() == [b"a"]


def test_no_proposals_while_leadership_is_handed_over() -> None:
    cluster, first = led()
    cluster.isolate(3)
    first.core.transfer(NodeId(3))
    with pytest.raises(NotLeaderError, match="handing") as caught:
        first.core.propose([b"a"])
    assert caught.value.leader_id == -1
    with pytest.raises(NotLeaderError, match="handing"):
        first.core.propose_voters(voters(1, 2), b"v")
    first.core.read_index(1)
    cluster.run(TIMING.heartbeat_ms)
    assert len(first.reads) == 1, "reads are confirmed by rounds as ever"


def test_a_transfer_is_given_up_after_an_election_timeout() -> None:
    cluster, first = led()
    cluster.isolate(3)
    first.core.transfer(NodeId(3))
    cluster.run(TIMING.election_timeout_ms_max - TIMING.heartbeat_ms)
    with pytest.raises(NotLeaderError):
        first.core.propose([b"a"])
    cluster.run(2 * TIMING.heartbeat_ms)
    first.core.propose([b"a"])
    cluster.deliver()
    assert first.payloads() == [b"a"]


def test_a_lost_request_is_repeated_with_the_heartbeats() -> None:
    cluster, first = led()
    first.core.transfer(NodeId(3))
    first.settle()
    cluster.run(2 * TIMING.heartbeat_ms)
    assert cluster.leaders() == [3]


def test_to_whom_leadership_cannot_be_handed() -> None:
    cluster, first = led()
    first.core.set_observers([NodeId(4)])
    first.settle()
    with pytest.raises(InvalidRequestError, match="node 4 is no voter"):
        first.core.transfer(NodeId(4))
    first.core.transfer(NodeId(1))
    first.core.propose([b"a"])
    assert first.role() is Role.LEADER
    with pytest.raises(NotLeaderError) as caught:
        cluster[2].core.transfer(NodeId(3))
    assert caught.value.leader_id == 1


# --- lost with the quorum -----------------------------------------------------------------------


def test_a_leader_that_hears_of_no_majority_steps_down() -> None:
    cluster, first = led()
    cluster.isolate(1)
    cluster.run(TIMING.election_timeout_ms_max)
    assert first.role() is Role.LEADER
    cluster.run(TIMING.heartbeat_ms + 50)
    assert (first.role(), first.core.leader_id) == (Role.FOLLOWER, None)


def test_one_follower_of_two_is_enough() -> None:
    cluster, first = led()
    cluster.isolate(3)
    cluster.run(5 * TIMING.election_timeout_ms_max)
    assert first.role() is Role.LEADER
    active = {peer.node_id: peer.active for peer in first.core.progress()}
    assert active == {2: True, 3: False}


def test_acknowledgements_of_a_voter_that_does_not_answer_heartbeats_do_not_count() -> None:
    """What proves that a leader is heard is an answer to a question of known age."""
    cluster, first = led()
    for _ in range(20):
        cluster.now_ms += TIMING.heartbeat_ms
        first.core.tick(cluster.now_ms)
        first.core.step(
            message(2, 1, AppendResponse(first.core.term, first.core.end_index)), cluster.now_ms
        )
    assert first.role() is not Role.LEADER


def test_answers_are_as_old_as_their_questions() -> None:
    """The answer to a question of a second ago proves nothing about that second."""
    _, first = led()
    beats = first.tick(TIMING.heartbeat_ms)
    asked_ms = first.now_ms
    round_ = next(item.body.round for item in beats if isinstance(item.body, HeartbeatRequest))
    while first.now_ms < asked_ms + TIMING.election_timeout_ms_max:
        first.tick(TIMING.heartbeat_ms)
        if first.now_ms == asked_ms + 1000:
            answer = HeartbeatResponse(first.core.term, round_)
            first.core.step(message(2, 1, answer), first.now_ms)
    assert first.role() is Role.LEADER
    first.tick(TIMING.heartbeat_ms)
    assert first.role() is Role.FOLLOWER


@pytest.mark.parametrize("ticks_first", [True, False])
def test_a_leader_that_stood_still_does_not_believe_old_answers(ticks_first: bool) -> None:
    """The answers had arrived before it stood still, and were read only after it."""
    cluster, first = led()
    first.core.propose([b"a"])
    beats = first.tick(TIMING.heartbeat_ms)
    round_ = next(item.body.round for item in beats if isinstance(item.body, HeartbeatRequest))
    first.now_ms += 60_000
    if ticks_first:
        first.core.tick(first.now_ms)
        assert first.role() is Role.FOLLOWER
    for peer in (2, 3):
        answer = HeartbeatResponse(first.core.term, round_)
        first.core.step(message(peer, 1, answer), first.now_ms)
    first.core.tick(first.now_ms)
    assert first.role() is Role.FOLLOWER
    assert cluster.leaders() == []


def test_a_leader_that_stood_still_says_no_word_as_a_leader() -> None:
    _, first = led()
    first.tick(TIMING.heartbeat_ms)
    first.now_ms += 60_000
    first.core.step(message(2, 1, HeartbeatResponse(Term(1), 1)), first.now_ms)
    assert [item for item in first.settle() if isinstance(item.body, HeartbeatRequest)] == []
    assert first.role() is Role.FOLLOWER


def test_a_short_pause_costs_nothing() -> None:
    cluster, first = led()
    cluster.run(3 * TIMING.heartbeat_ms)
    cluster.now_ms += TIMING.election_timeout_ms_min // 2
    cluster.run(3 * TIMING.heartbeat_ms)
    assert cluster.leaders() == [1]
    assert first.core.term == 2


def test_a_quiet_cluster_stays_as_it_is() -> None:
    cluster, first = led()
    cluster.run(20 * TIMING.election_timeout_ms_max)
    assert {node.core.term for node in cluster.nodes.values()} == {2}
    assert first.role() is Role.LEADER
    assert all(node.core.has_caught_up for node in cluster.nodes.values())


def test_a_node_that_was_cut_off_comes_back_without_an_election() -> None:
    """It asked for pre-votes all the time, and its term never moved."""
    cluster, first = led()
    cluster.isolate(3)
    cluster.run(10 * TIMING.election_timeout_ms_max)
    assert cluster[3].role() is Role.PRE_CANDIDATE
    cluster.heal()
    cluster.run(2 * TIMING.election_timeout_ms_max)
    assert (cluster.leaders(), first.core.term) == ([1], 2)
    assert cluster[3].role() is Role.FOLLOWER


def test_a_member_whose_term_ran_ahead_is_brought_back() -> None:
    """An old candidate refuses the leader by its own term; an election settles it."""
    cluster, _ = led()
    third = cluster[3]
    assert third.disk.hard_state is not None
    third.disk = type(third.disk).of(3, third.disk.entries, term=9)
    third.start()
    cluster.run(4 * TIMING.election_timeout_ms_max)
    (leader,) = cluster.leaders()
    assert cluster.core(leader).term >= 10
    assert {node.core.leader_id for node in cluster.nodes.values()} == {leader}


def test_a_slow_disk_of_the_leader_does_not_end_its_leadership() -> None:
    """Its save takes many election timeouts; heartbeats go out beside it."""
    cluster, first = led()
    first.core.propose([b"a"])
    saving = first.core.ready()
    cluster.post(saving.messages_now)
    for _ in range(0, 5 * TIMING.election_timeout_ms_max, 50):
        cluster.now_ms += 50
        for node in cluster.nodes.values():
            node.core.tick(cluster.now_ms)
        cluster.post(first.core.take_messages_now())
        cluster.deliver(lambda item: item.to != 1)
        for item in cluster.mail:
            first.core.step(item, cluster.now_ms)
        cluster.mail.clear()
    assert cluster.leaders() == [1]
    assert cluster[2].payloads() == [b"a"], "committed by the two others"
    assert first.payloads() == []
    first.finish(saving)
    cluster.deliver()
    assert first.payloads() == [b"a"]
