"""Linearizable reads by rounds of heartbeats (Raft thesis 6.4)."""

from __future__ import annotations

from logd.consensus import (
    AppendRequest,
    AppendResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    Message,
    ReadState,
    Role,
)
from logd.model.ids import LogIndex, NodeId, Term
from tests.unit.consensus.rig import TIMING, Cluster, Disk, Node, identity, voters


def led(*node_ids: int) -> tuple[Cluster, Node]:
    cluster = Cluster(*(node_ids or (1, 2, 3)))
    return cluster, cluster.elect(1)


def rounds(sent: list[Message]) -> list[int]:
    return [item.body.round for item in sent if isinstance(item.body, HeartbeatRequest)]


def answer(node: Node, sender: int, round_: int, letter: str = "a") -> None:
    node.receive(sender, HeartbeatResponse(node.core.term, round_), letter=letter)


def test_a_read_waits_for_a_round_that_began_after_it() -> None:
    _, first = led()
    end = first.core.end_index
    first.core.read_index(7)
    (round_, same) = rounds(first.settle())
    assert round_ == same
    assert first.reads == []
    answer(first, 2, round_ - 1)
    assert first.reads == []
    answer(first, 2, round_)
    assert first.reads == [ReadState(7, end)]


def test_a_round_is_not_answered_by_others_than_voters_in_their_directories() -> None:
    cluster, first = led()
    cluster.add(Disk(identity(4)))
    first.core.set_observers([NodeId(4)])
    cluster.run(TIMING.heartbeat_ms)
    first.core.read_index(7)
    round_ = rounds(first.settle())[0]
    answer(first, 4, round_)
    answer(first, 9, round_)
    answer(first, 2, round_, letter="b")
    answer(first, 2, round_ + 1)
    first.receive(2, HeartbeatResponse(Term(first.core.term - 1), round_))
    assert first.reads == []
    answer(first, 3, round_)
    assert [read.context for read in first.reads] == [7]


def test_one_voter_s_answer_is_one_answer() -> None:
    _, first = led(1, 2, 3, 4, 5)
    first.core.read_index(7)
    round_ = rounds(first.settle())[0]
    for _ in range(3):
        answer(first, 2, round_)
    assert first.reads == []
    answer(first, 3, round_)
    assert len(first.reads) == 1


def test_before_an_own_entry_is_committed_reads_wait() -> None:
    """The leader before may have committed more than this one knows of."""
    cluster = Cluster(1, 2, 3)
    first = cluster.elect(1, lambda item: not isinstance(item.body, AppendRequest))
    cluster.mail.clear()
    assert (first.role(), first.core.commit_index) == (Role.LEADER, 0)
    first.core.read_index(7)
    assert rounds(first.settle()) == []
    first.now_ms = cluster.now_ms
    round_ = rounds(first.tick(TIMING.heartbeat_ms))[0]
    for peer in (2, 3):
        answer(first, peer, round_)
    assert first.reads == []
    sent = first.receive(2, AppendResponse(first.core.term, first.core.end_index))
    beats = [body.round for body in sent if isinstance(body, HeartbeatRequest)]
    assert beats == [round_ + 1] * 2
    answer(first, 3, round_ + 1)
    assert first.reads == [ReadState(7, LogIndex(3))]


def test_a_read_sees_what_was_committed_when_it_came() -> None:
    cluster, first = led()
    first.core.propose([b"a"])
    cluster.deliver()
    first.core.read_index(7)
    cluster.deliver()
    assert first.reads == [ReadState(7, first.core.end_index)]
    assert first.core.applied_index == first.core.end_index


def test_a_read_is_handed_out_when_its_index_is_applied() -> None:
    cluster, first = led()
    first.core.propose([b"a"])
    saving = first.core.ready()
    cluster.post(saving.messages_now)
    for peer in (2, 3):
        first.core.step(
            Message(
                NodeId(peer),
                identity(peer).directory_id,
                NodeId(1),
                AppendResponse(first.core.term, first.core.end_index),
            ),
            first.now_ms,
        )
    assert first.core.commit_index == first.core.end_index
    first.core.read_index(7)
    round_ = rounds(list(first.core.take_messages_now()))[0]
    first.core.step(
        Message(NodeId(2), identity(2).directory_id, NodeId(1), HeartbeatResponse(Term(2), round_)),
        first.now_ms,
    )
    assert not first.core.has_ready()
    first.finish(saving)
    assert first.reads == []
    ready = first.core.ready()
    assert [item.payloads for item in ready.committed] == [(b"a",)]
    assert ready.reads == (ReadState(7, LogIndex(4)),)


def test_reads_share_rounds() -> None:
    _, first = led()
    first.core.read_index(1)
    round_ = rounds(first.settle())[0]
    for context in range(2, 100):
        first.core.read_index(context)
    assert rounds(first.settle()) == [], "the next round begins when this one is answered"
    answer(first, 2, round_)
    assert [read.context for read in first.reads] == [1]
    answer(first, 2, round_ + 1)
    assert [read.context for read in first.reads] == list(range(1, 100))


def test_a_read_with_patience_waits_for_the_heartbeat_that_is_due_anyway() -> None:
    cluster, first = led()
    first.now_ms = cluster.now_ms
    first.core.read_index(7, patience_ms=TIMING.heartbeat_ms)
    assert rounds(first.settle()) == []
    round_ = rounds(first.tick(TIMING.heartbeat_ms))[0]
    assert first.reads == []
    answer(first, 2, round_ - 1)
    assert first.reads == [], "that round began before the read"
    answer(first, 2, round_)
    assert [read.context for read in first.reads] == [7]


def test_a_read_with_patience_shares_the_round_of_one_without() -> None:
    cluster, first = led()
    first.now_ms = cluster.now_ms
    first.core.read_index(1)
    round_ = rounds(first.settle())[0]
    first.core.read_index(2, patience_ms=TIMING.heartbeat_ms)
    answer(first, 2, round_)
    assert rounds(first.settle()) == [], "nobody needs a round before the next heartbeat"
    first.core.read_index(3)
    round_ = rounds(first.settle())[0]
    answer(first, 2, round_)
    assert [read.context for read in first.reads] == [1, 2, 3]


def test_too_little_patience_for_the_heartbeat_is_none() -> None:
    cluster, first = led()
    first.now_ms = cluster.now_ms
    first.core.read_index(7, patience_ms=1)
    assert rounds(first.settle()) != []


def test_a_round_that_is_lost_is_followed_by_the_next_heartbeat() -> None:
    cluster, first = led()
    first.core.read_index(1)
    first.settle()
    first.core.read_index(2)
    first.now_ms = cluster.now_ms
    round_ = rounds(first.tick(TIMING.heartbeat_ms))[0]
    answer(first, 3, round_)
    assert [read.context for read in first.reads] == [1, 2]


def test_reads_fail_with_leadership() -> None:
    cluster, first = led()
    cluster.isolate(1)
    first.core.read_index(1)
    first.settle()
    first.core.read_index(2)
    cluster.run(2 * TIMING.election_timeout_ms_max)
    assert first.role() is not Role.LEADER
    assert (first.reads, first.reads_failed) == ([], [1, 2])


def test_a_read_that_was_confirmed_is_answered_by_the_follower_too() -> None:
    cluster, first = led()
    first.core.read_index(1)
    cluster.deliver(lambda item: item.to != 1)
    (round_,) = {
        item.body.round for item in cluster.mail if isinstance(item.body, HeartbeatResponse)
    }
    first.core.step(cluster.mail[0], cluster.now_ms)
    first.core.step(
        Message(NodeId(2), identity(2).directory_id, NodeId(1), HeartbeatResponse(Term(9), round_)),
        cluster.now_ms,
    )
    assert first.role() is Role.FOLLOWER
    first.settle()
    assert [read.context for read in first.reads] == [1]


def test_the_only_voter_needs_nobody() -> None:
    cluster = Cluster(1)
    cluster.deliver()
    first = cluster[1]
    first.core.read_index(1)
    first.settle()
    assert first.reads == [ReadState(1, LogIndex(3))]


def test_a_leader_that_was_removed_does_not_count_itself() -> None:
    _, first = led()
    first.core.propose_voters(voters(2, 3), b"v")
    first.settle()
    first.core.read_index(1)
    round_ = rounds(first.settle())[0]
    answer(first, 2, round_)
    assert first.reads == []
    answer(first, 3, round_)
    assert [read.context for read in first.reads] == [1]


def test_a_read_is_answered_when_its_round_needs_nobody_else_any_more() -> None:
    cluster, first = led(1, 2)
    cluster.deliver()
    first.core.read_index(7)
    first.settle()
    assert first.reads == []
    first.core.propose_voters(voters(1), b"alone")
    first.settle()
    assert [read.context for read in first.reads] == [7]
    first.core.read_index(8)
    first.settle()
    assert [read.context for read in first.reads] == [7, 8]
