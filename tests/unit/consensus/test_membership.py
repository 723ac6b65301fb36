"""Voters as entries: one change at a time, in force from the append on (Raft thesis 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from logd_wire.errors import InvalidRequestError, NotLeaderError

from logd.consensus import (
    AppendRequest,
    AppendResponse,
    HeartbeatRequest,
    Message,
    Role,
    TimeoutNow,
    VoteRequest,
    VoteResponse,
    Voters,
)
from logd.model.ids import LogIndex, NodeId, Term
from tests.unit.consensus.rig import (
    TIMING,
    Cluster,
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

THREE = voters(1, 2, 3)


def led(*node_ids: int) -> tuple[Cluster, Node]:
    """A cluster of these voters led by node 1; nodes 4 and 5 are there, empty."""
    cluster = Cluster(*node_ids)
    for extra in {4, 5} - set(node_ids):
        cluster.add(Disk(identity(extra)))
    return cluster, cluster.elect(1)


def change(node: Node, to: Voters) -> None:
    node.core.propose_voters(to, b"to %d" % len(to))


def ids(members: Voters) -> list[int]:
    return [member.node_id for member in members]


def no_appends(item: Message) -> bool:
    return not isinstance(item.body, AppendRequest)


def test_a_founder_grows_to_three() -> None:
    cluster = Cluster()
    first = cluster.add(Disk(identity(1)), founder=True)
    for extra in (2, 3):
        cluster.add(Disk(identity(extra)))
    cluster.deliver()
    assert (first.core.role, first.core.term, ids(first.core.voters)) == (Role.LEADER, 1, [1])
    first.core.set_observers([NodeId(2), NodeId(3)])
    first.core.propose([b"a"])
    cluster.run(TIMING.heartbeat_ms)
    assert [ids(node.core.voters) for node in cluster.nodes.values()] == [[1], [], []]
    for members in (voters(1, 2), voters(1, 2, 3)):
        change(first, members)
        cluster.run(TIMING.heartbeat_ms)
        assert {node.core.voters for node in cluster.nodes.values()} == {members}
    first.core.propose([b"b"])
    cluster.run(TIMING.heartbeat_ms)
    assert [node.payloads() for node in cluster.nodes.values()] == [[b"a", b"b"]] * 3
    assert first.core.voters == voters(1, 2, 3)


def test_a_new_set_is_in_force_from_the_append_on() -> None:
    cluster, first = led(1, 2, 3)
    change(first, voters(1, 2, 3, 4))
    assert ids(first.core.voters) == [1, 2, 3, 4]
    assert [peer.node_id for peer in first.core.progress()] == [2, 3, 4]
    first.settle()
    end = first.core.end_index
    first.receive(2, AppendResponse(first.core.term, end))
    assert first.core.commit_index < end, "two of four"
    first.receive(4, AppendResponse(first.core.term, end))
    assert first.core.commit_index == end
    assert cluster.leaders() == [1]


def test_a_voter_that_is_not_caught_up_yet_is_sent_everything() -> None:
    cluster, first = led(1, 2, 3)
    for number in range(20):
        first.core.propose([b"%d" % number])
    cluster.deliver()
    change(first, voters(1, 2, 3, 4))
    cluster.run(2 * TIMING.heartbeat_ms)
    assert cluster[4].payloads() == first.payloads()
    assert ids(cluster.core(4).voters) == [1, 2, 3, 4]
    assert all(peer.match_index == first.core.end_index for peer in first.core.progress())


@pytest.mark.parametrize(
    ("to", "words"),
    [
        (voters(1, 2, 3, 4, 5), "2 voters would change"),
        (voters(1), "2 voters would change"),
        (voters(1, 2, 4), "2 voters would change"),
        ((voter(1), voter(2), voter(3, "b")), "2 voters would change"),
        ((voter(1), replace(voter(2), address="x:1"), voter(3), voter(4)), "2 voters would"),
        ((), "at least one"),
        (voters(2, 1, 3, 4), "sorted by node id"),
        ((*THREE, voter(3, "b")), "sorted by node id"),
    ],
)
def test_changes_of_more_than_one_voter_are_refused(to: Voters, words: str) -> None:
    _, first = led(1, 2, 3)
    end = first.core.end_index
    with pytest.raises(InvalidRequestError, match=words) as caught:
        first.core.propose_voters(to, b"v")
    assert not caught.value.retriable
    assert (first.core.end_index, first.core.voters) == (end, THREE)


def test_the_voters_may_be_written_down_as_they_are() -> None:
    cluster, first = led(1, 2, 3)
    change(first, THREE)
    cluster.run(2 * TIMING.heartbeat_ms)
    assert first.core.voters == cluster.core(2).voters == THREE


@pytest.mark.parametrize("payload", [b"", b"x" * (1 << 21)])
def test_the_payload_of_a_change_is_that_of_an_entry(payload: bytes) -> None:
    _, first = led(1, 2, 3)
    with pytest.raises(InvalidRequestError):
        first.core.propose_voters(voters(1, 2), payload)


def test_an_address_can_change() -> None:
    cluster, first = led(1, 2, 3)
    moved = (voter(1), replace(voter(2), address="elsewhere:1"), voter(3))
    change(first, moved)
    cluster.deliver()
    assert all(cluster.core(node_id).voters == moved for node_id in (1, 2, 3))
    assert first.core.commit_index == first.core.end_index


def test_a_second_change_waits_for_the_first() -> None:
    cluster, first = led(1, 2, 3)
    change(first, voters(1, 2, 3, 4))
    with pytest.raises(InvalidRequestError, match="before is committed") as caught:
        change(first, voters(1, 2, 3))
    assert caught.value.retriable
    assert ids(first.core.voters) == [1, 2, 3, 4]
    cluster.deliver()
    change(first, voters(1, 2, 3))
    assert ids(first.core.voters) == [1, 2, 3]


def test_no_change_before_an_entry_of_the_own_term_is_committed() -> None:
    """Otherwise two leaders in turn might each change a set that the other never knew."""
    cluster = Cluster(1, 2, 3)
    cluster[1].disk.commit_index = LogIndex(2)
    cluster[1].start()
    first = cluster.elect(1, no_appends)
    assert first.core.commit_index == 2, "the voters are committed"
    with pytest.raises(InvalidRequestError, match="before is committed") as caught:
        change(first, voters(1, 2, 3, 4))
    assert caught.value.retriable
    first.receive(2, AppendResponse(first.core.term, first.core.end_index))
    change(first, voters(1, 2, 3, 4))
    assert ids(first.core.voters) == [1, 2, 3, 4]


def test_a_change_of_the_leader_before_counts_until_it_is_committed() -> None:
    log = [*seated(THREE), entry(2, 1, b"v", voters=voters(1, 2, 3, 4))]
    cluster = Cluster(1, 2, 3, log=log)
    cluster.add(Disk(identity(4)))
    first = cluster.elect(1, no_appends)
    assert ids(first.core.voters) == [1, 2, 3, 4]
    with pytest.raises(InvalidRequestError, match="before is committed"):
        change(first, THREE)


def test_only_a_leader_changes_voters() -> None:
    cluster, _ = led(1, 2, 3)
    with pytest.raises(NotLeaderError) as caught:
        change(cluster[2], voters(1, 2))
    assert caught.value.leader_id == 1


def test_a_change_that_is_cut_off_is_undone() -> None:
    cluster, first = led(1, 2, 3)
    cluster.isolate(1)
    change(first, voters(1, 2, 3, 4))
    first.settle()
    assert ids(first.core.voters) == [1, 2, 3, 4]
    cluster.elect(2)
    cluster.heal()
    cluster.run(3 * TIMING.election_timeout_ms_max)
    assert ids(first.core.voters) == [1, 2, 3]
    assert first.disk.entries == cluster[2].disk.entries


# --- removed ------------------------------------------------------------------------------------


def test_a_removed_voter_counts_no_more() -> None:
    cluster, first = led(1, 2, 3)
    change(first, voters(1, 2))
    first.settle()
    assert [peer.node_id for peer in first.core.progress()] == [2]
    end = first.core.end_index
    first.receive(3, AppendResponse(first.core.term, end))
    assert first.core.commit_index < end
    first.receive(2, AppendResponse(first.core.term, end))
    assert first.core.commit_index == end
    assert cluster.leaders() == [1]


def test_a_removed_voter_does_not_disturb() -> None:
    """It never hears that it was removed, campaigns, and is ignored."""
    cluster, first = led(1, 2, 3)
    change(first, voters(1, 2))
    cluster.run(5 * TIMING.election_timeout_ms_max)
    assert (cluster.core(3).role, cluster.core(3).term) == (Role.PRE_CANDIDATE, first.core.term)
    assert cluster.leaders() == [1]
    for request in (
        VoteRequest(Term(50), point(50, 50), False),
        VoteRequest(Term(50), point(50, 50), True),
    ):
        for node_id in (1, 2):
            assert cluster[node_id].receive(3, request) == []
    assert cluster.core(1).term == first.core.term


def test_the_vote_of_a_removed_voter_does_not_count() -> None:
    log = [*seated(THREE), entry(2, 1, b"v", voters=voters(1, 2))]
    node = Node(Disk.of(1, log))
    node.tick(TIMING.election_timeout_ms_min)
    node.receive(3, VoteResponse(Term(2), True, True))
    assert node.role() is Role.PRE_CANDIDATE
    node.receive(2, VoteResponse(Term(2), True, True))
    node.receive(3, VoteResponse(Term(2), True, False))
    assert node.role() is Role.CANDIDATE


def test_a_leader_that_is_removed_leads_until_that_is_committed() -> None:
    cluster, first = led(1, 2, 3)
    change(first, voters(2, 3))
    first.core.propose([b"still"])
    sent = first.settle()
    assert (first.role(), ids(first.core.voters)) == (Role.LEADER, [2, 3])
    assert {item.to for item in sent} == {2, 3}
    end = first.core.end_index
    sent_bodies = first.receive(3, AppendResponse(first.core.term, end))
    assert first.role() is Role.LEADER, "its own log does not count any more"
    sent_bodies = first.receive(2, AppendResponse(first.core.term, end))
    assert (first.role(), first.core.commit_index) == (Role.FOLLOWER, end)
    assert sent_bodies[-1] == TimeoutNow(first.core.term)
    assert first.payloads()[-1] == b"still", "what was proposed is applied here too"
    assert first.core.next_deadline_ms() is None
    cluster.run(2 * TIMING.election_timeout_ms_max)
    assert cluster.leaders() in ([2], [3])


def test_the_freshest_voter_takes_over_from_a_removed_leader() -> None:
    _, first = led(1, 2, 3, 4)
    first.core.propose([b"a"])
    first.settle()
    change(first, voters(2, 3, 4))
    first.settle()
    term, end = first.core.term, first.core.end_index
    first.core.propose([b"b"])
    first.settle()
    first.receive(3, AppendResponse(term, LogIndex(end + 1)))
    first.core.step(message(4, 1, AppendResponse(term, end)), first.now_ms)
    sent = first.settle()
    assert [(item.to, item.body) for item in sent if isinstance(item.body, TimeoutNow)] == [
        (3, TimeoutNow(term))
    ]


def test_a_leader_whose_removal_only_it_knows_is_needed() -> None:
    """Its log is the longest: nobody else can be elected, so it has to try [thesis 4.2.2]."""
    cluster = Cluster(1, 2)
    first = cluster.elect(1)
    cluster.isolate(1)
    change(first, voters(2))
    first.settle()
    first.start()
    cluster.heal()
    cluster.run(10 * TIMING.election_timeout_ms_max)
    assert cluster.leaders() == [2]
    assert ids(cluster.core(2).voters) == [2]


def test_the_last_voter_but_one_is_removed() -> None:
    cluster, first = led(1, 2)
    cluster.isolate(2)
    change(first, voters(1))
    first.core.propose([b"alone"])
    first.settle()
    assert first.payloads() == [b"alone"], "one of one"


# --- replaced -----------------------------------------------------------------------------------


def test_a_voter_is_replaced_under_a_new_directory() -> None:
    cluster, first = led(1, 2, 3)
    del cluster.nodes[3]
    change(first, voters(1, 2))
    cluster.run(TIMING.heartbeat_ms)
    cluster.add(Disk(identity(3, "b")))
    change(first, (voter(1), voter(2), voter(3, "b")))
    cluster.run(2 * TIMING.heartbeat_ms)
    assert cluster.core(3).end_index == first.core.end_index
    assert cluster.core(3).voters[2] == voter(3, "b")
    progress = {peer.node_id: peer for peer in first.core.progress()}
    assert progress[NodeId(3)].match_index == first.core.end_index
    assert progress[NodeId(3)].active


def test_an_emptied_voter_neither_acknowledges_nor_votes() -> None:
    cluster, first = led(1, 2, 3)
    cluster.add(Disk(identity(3, "b")))
    first.core.propose([b"a"])
    cluster.isolate(2)
    cluster.run(2 * TIMING.heartbeat_ms)
    assert first.payloads() == []
    cluster.run(2 * TIMING.election_timeout_ms_max)
    assert cluster.leaders() == [], "one of three is no quorum"


def test_a_follower_that_lags_behind_follows_a_voter_that_was_replaced() -> None:
    """It still knows the directory of before; a majority elected the leader all the same."""
    node = Node(Disk.of(3, seated(THREE)))
    beat = HeartbeatRequest(Term(4), LogIndex(0), 1)
    assert len(node.receive(2, beat, letter="b")) == 1
    append = AppendRequest(
        Term(4), point(1, 2), (entry(2, 4, b"v", voters=(voter(1), voter(3))),), LogIndex(0)
    )
    assert node.receive(2, append, letter="b") == [AppendResponse(Term(4), LogIndex(3))]
    assert node.receive(2, VoteRequest(Term(9), point(9, 9), True, True), letter="b") != []


# --- observers ----------------------------------------------------------------------------------


def observing() -> tuple[Cluster, Node]:
    cluster, first = led(1, 2, 3)
    first.core.set_observers([NodeId(4), NodeId(2), NodeId(1)])
    cluster.run(2 * TIMING.heartbeat_ms)
    return cluster, first


def test_an_observer_is_sent_the_log_and_counts_for_nothing() -> None:
    cluster, first = observing()
    assert [(peer.node_id, peer.is_voter) for peer in first.core.progress()] == [
        (2, True),
        (3, True),
        (4, False),
    ]
    first.core.propose([b"a"])
    cluster.isolate(2, 3)
    cluster.run(2 * TIMING.heartbeat_ms)
    assert (cluster[4].core.end_index, cluster[4].payloads()) == (first.core.end_index, [])
    assert first.core.commit_index < first.core.end_index
    cluster.heal()
    cluster.run(2 * TIMING.heartbeat_ms)
    assert cluster[4].payloads() == [b"a"]
    assert cluster[4].core.has_caught_up


def test_no_number_of_observers_is_a_majority() -> None:
    cluster, first = led(1, 2)
    first.core.set_observers([NodeId(4), NodeId(5)])
    cluster.run(2 * TIMING.heartbeat_ms)
    cluster.isolate(2)
    first.core.propose([b"a"])
    first.core.read_index(1)
    cluster.run(TIMING.election_timeout_ms_min)
    assert [cluster.core(node_id).end_index for node_id in (4, 5)] == [first.core.end_index] * 2
    assert (first.payloads(), first.reads) == ([], [])


def test_an_observer_does_not_make_a_quorum_live() -> None:
    cluster, _ = observing()
    cluster.isolate(1, 4)
    cluster.run(2 * TIMING.election_timeout_ms_max)
    assert 1 not in cluster.leaders()


def test_an_observer_with_an_empty_folder_begins_anew() -> None:
    cluster, first = observing()
    first.core.propose([b"a"])
    cluster.deliver()
    cluster.add(Disk(identity(4, "b")))
    cluster.run(3 * TIMING.heartbeat_ms)
    assert cluster[4].payloads() == [b"a"]


def test_an_observer_becomes_a_voter_with_what_it_has() -> None:
    cluster, first = observing()
    change(first, voters(1, 2, 3, 4))
    assert first.core.progress()[2].match_index == first.core.end_index - 1
    assert first.core.progress()[2].is_voter
    cluster.deliver()
    first.core.set_observers([])
    assert [peer.node_id for peer in first.core.progress()] == [2, 3, 4]


def test_what_an_observer_acknowledged_under_another_directory_is_nothing() -> None:
    _, first = observing()
    change(first, (*THREE, voter(4, "b")))
    assert first.core.progress()[2].match_index == 0


def test_nobody_observes_a_follower() -> None:
    cluster, _ = observing()
    cluster.core(2).set_observers([NodeId(4)])
    assert cluster.core(2).progress() == ()
    second = cluster.elect(2)
    assert [peer.node_id for peer in second.core.progress()] == [1, 3, 4]


def test_observers_come_in_the_order_of_their_ids() -> None:
    orders: list[Callable[[list[int]], list[int]]] = [sorted, lambda some: sorted(some)[::-1]]
    seen = []
    for order in orders:
        _, first = led(1, 2, 3)
        first.core.set_observers([NodeId(number) for number in order([9, 4, 7, 5])])
        seen.append([item.to for item in first.settle()])
    assert seen[0] == seen[1] == [4, 5, 7, 9]
