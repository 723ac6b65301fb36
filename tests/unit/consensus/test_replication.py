"""The log on its way: Raft 5.3 (matching, repair), 5.4.2 (own term), and what is sent when."""

from __future__ import annotations

from dataclasses import replace

import pytest
from logd_wire.limits import RECORD_BYTES_MAX

from logd.consensus import (
    NO_OP,
    AppendRejected,
    AppendRequest,
    AppendResponse,
    Body,
    Entry,
    HeartbeatRequest,
    HeartbeatResponse,
    LogPoint,
    PeerState,
    Role,
    VoteResponse,
)
from logd.consensus.progress import (
    IN_FLIGHT_MESSAGES_MAX,
    MESSAGE_BYTES_MAX,
    PIPELINED_BYTES_MIN,
)
from logd.model.ids import LogIndex, Term
from tests.unit.consensus.rig import (
    TIMING,
    Cluster,
    Disk,
    Node,
    entry,
    message,
    point,
    seated,
    voters,
)

LOG = seated(voters(1, 2, 3))


def follower(*more: Entry, term: int = 5) -> Node:
    """Node 1 in a term, with entries behind those that make the cluster."""
    return Node(Disk.of(1, [*LOG, *more], term=term))


def append(
    term: int, previous: LogPoint, *entries: Entry, commit: int = 0, leader: int = 2
) -> AppendRequest:
    return AppendRequest(Term(term), previous, entries, LogIndex(commit))


def taken(term: int, index: int) -> AppendResponse:
    return AppendResponse(Term(term), LogIndex(index))


def rejected(term: int, index: int, hint: LogPoint) -> AppendRejected:
    return AppendRejected(Term(term), LogIndex(index), hint)


def leader(*more: Entry, term: int = 5) -> Node:
    """Node 1 leading the term behind `term`, its no-op saved and sent, nothing answered."""
    node = follower(*more, term=term)
    node.tick(TIMING.election_timeout_ms_min)
    node.receive(2, VoteResponse(Term(term + 1), True, True))
    node.receive(2, VoteResponse(Term(term + 1), True, False))
    assert node.role() is Role.LEADER
    return node


def led(node: Node) -> Node:
    """Let both others acknowledge everything."""
    for peer in (2, 3):
        node.receive(peer, taken(node.core.term, node.core.end_index))
    return node


def appends(bodies: list[Body]) -> list[AppendRequest]:
    return [body for body in bodies if isinstance(body, AppendRequest)]


# --- a follower ---------------------------------------------------------------------------------


def test_an_append_is_durable_before_it_is_acknowledged() -> None:
    node = follower()
    node.core.step(message(2, 1, append(5, point(1, 2), entry(2, 5, b"a", b"b"))), 0)
    assert node.core.take_messages_now() == ()
    ready = node.core.ready()
    assert ready.entries == (entry(2, 5, b"a", b"b"),)
    assert ready.has_work
    assert ready.messages_now == ()
    assert [item.body for item in ready.messages] == [taken(5, 4)]


def test_what_the_leader_committed_is_applied_when_it_is_durable() -> None:
    node = follower()
    new = (entry(2, 5, b"a"), entry(3, 5, b"b"))
    node.core.step(message(2, 1, append(5, point(1, 2), *new, commit=3)), 0)
    first = node.core.ready()
    assert (first.committed, node.core.commit_index) == ((LOG[0], LOG[1]), 3)
    node.finish(first)
    second = node.core.ready()
    assert second.committed == (entry(2, 5, b"a"),)
    node.finish(second)
    assert (node.core.applied_index, node.core.has_ready()) == (3, False)


def test_commit_goes_no_further_than_this_leader_confirmed() -> None:
    """The tail behind what the leader sent may be another leader's."""
    node = follower(entry(2, 3), entry(3, 3), entry(4, 3))
    node.receive(2, append(5, point(3, 3), commit=5))
    assert node.core.commit_index == 3
    node.receive(2, HeartbeatRequest(Term(5), LogIndex(5), 1))
    assert node.core.commit_index == 3
    node.receive(2, append(5, point(3, 3), entry(3, 5), commit=9))
    assert (node.core.commit_index, node.core.end_index) == (4, 4)


def test_a_heartbeat_commits_below_an_entry_of_the_leader_s_own_term() -> None:
    """After a restart in a quiet cluster nothing else tells what is committed."""
    node = follower(entry(2, 5, b"a"))
    assert node.receive(2, HeartbeatRequest(Term(5), LogIndex(3), 1)) == [
        HeartbeatResponse(Term(5), 1)
    ]
    assert node.payloads() == [b"a"]
    later = follower(entry(2, 5, b"a"))
    later.receive(2, HeartbeatRequest(Term(6), LogIndex(3), 1))
    assert later.core.commit_index == 0


def test_an_acknowledgement_tells_of_the_leader_s_entries_not_of_the_own_tail() -> None:
    node = follower(entry(2, 3), entry(3, 3), entry(4, 3))
    assert node.receive(2, append(5, point(1, 2))) == [taken(5, 2)]
    assert node.receive(2, append(5, point(1, 2), entry(2, 3))) == [taken(5, 3)]
    assert node.core.end_index == 5


def test_only_a_conflict_cuts() -> None:
    """A late append with fewer entries takes nothing away [Raft 5.3]."""
    node = follower()
    new = [entry(index, 5) for index in range(2, 7)]
    assert node.receive(2, append(5, point(1, 2), *new)) == [taken(5, 7)]
    assert node.receive(2, append(5, point(1, 2), *new[:2])) == [taken(5, 4)]
    assert node.receive(2, append(5, point(1, 2))) == [taken(5, 2)]
    assert node.disk.entries == [*LOG, *new]


def test_a_conflict_cuts_from_there_on() -> None:
    node = follower(entry(2, 3), entry(3, 3, b"old", b"old"), entry(5, 3))
    node.core.step(message(2, 1, append(5, point(1, 2), entry(2, 3), entry(3, 5))), 0)
    ready = node.core.ready()
    assert ready.entries == (entry(3, 5),), "below the end of what is stored: cut there first"
    node.finish(ready)
    assert node.disk.entries == [*LOG, entry(2, 3), entry(3, 5)]
    assert node.core.end_index == 4


@pytest.mark.parametrize(
    ("previous", "hint"),
    [
        # The leader has entries this log lacks.
        (point(5, 20), point(4, 8)),
        # An entry of another term: back to the last one of no later term.
        (point(3, 7), point(2, 3)),
        # Not between two entries of this log.
        (point(4, 6), point(4, 5)),
        # Nothing of so early a term but what made the cluster.
        (point(1, 8), point(1, 2)),
    ],
)
def test_hints_skip_whole_terms(previous: LogPoint, hint: LogPoint) -> None:
    mine = [entry(2, 2), entry(3, 4), entry(4, 4), entry(5, 4, b"a", b"b", b"c")]
    node = follower(*mine)
    assert node.receive(2, append(5, previous)) == [rejected(5, previous.index, hint)]
    assert node.disk.entries == [*LOG, *mine]


def test_a_hint_never_lies_below_what_is_committed() -> None:
    node = follower(entry(2, 5), entry(3, 5))
    node.receive(2, append(5, point(5, 4), commit=3))
    assert node.receive(2, append(6, point(1, 9))) == [rejected(6, 9, point(5, 3))]


def test_an_append_below_the_commit_is_answered_with_it() -> None:
    node = follower(entry(2, 5), entry(3, 5))
    node.receive(2, append(5, point(5, 4), commit=4))
    assert node.receive(2, append(6, point(1, 2), entry(2, 5))) == [taken(6, 4)]


@pytest.mark.parametrize(
    "nonsense",
    [
        append(5, point(1, 2), entry(3, 5)),
        append(5, point(1, 2), entry(2, 6)),
        append(5, point(1, 2), entry(2, 5), entry(3, 4)),
        append(5, point(1, 2), entry(2, 0)),
        append(5, point(1, 2), replace(entry(2, 5), payloads=())),
        append(5, point(1, -1)),
        append(5, point(6, 3)),
        append(5, point(1, 2), entry(2, 5, b"v", voters=voters(2, 1))),
        append(5, point(1, 2), entry(2, 5, b"v", voters=voters(1, 1))),
    ],
)
def test_an_append_that_makes_no_sense_is_dropped(nonsense: AppendRequest) -> None:
    node = follower()
    assert node.receive(2, nonsense) == []
    assert node.disk.entries == LOG


def test_no_leader_contradicts_what_is_committed() -> None:
    node = follower(entry(2, 5))
    node.receive(2, append(5, point(5, 3), commit=3))
    assert node.receive(2, append(6, point(6, 3), entry(3, 6))) == []
    assert node.disk.entries == [*LOG, entry(2, 5)]


def test_a_save_under_way_when_its_end_is_cut_off() -> None:
    """What was saved and is still in the log is not saved again: that would mean to cut it."""
    node = follower()
    new = [entry(index, 5) for index in range(2, 6)]
    node.core.step(message(2, 1, append(5, point(1, 2), *new)), 0)
    saving = node.core.ready()
    node.core.step(message(3, 1, append(6, point(5, 4), entry(4, 6))), 0)
    node.finish(saving)
    assert [item.body for item in saving.messages] == [taken(5, 6)], "durable when it was sent"
    ready = node.core.ready()
    assert ready.entries == (entry(4, 6),)
    assert [item.body for item in ready.messages] == [taken(6, 5)]
    node.finish(ready)
    assert node.disk.entries == [*LOG, *new[:2], entry(4, 6)]


def test_what_was_cut_before_its_save_is_not_acknowledged() -> None:
    node = follower()
    node.core.step(message(2, 1, append(5, point(1, 2))), 0)
    saving = node.core.ready()
    node.core.step(message(2, 1, append(5, point(1, 2), entry(2, 5), entry(3, 5))), 0)
    node.core.step(message(3, 1, append(6, point(1, 2), entry(2, 6))), 0)
    node.finish(saving)
    assert [item.body for item in node.core.ready().messages] == [taken(6, 3)]


# --- a leader -----------------------------------------------------------------------------------


def test_proposals_go_out_beside_the_own_save() -> None:
    node = led(leader())
    node.settle()
    proposal = node.core.propose([b"a", b"b"])
    assert (proposal.index, proposal.term) == (3, 6)
    ready = node.core.ready()
    assert ready.entries == (entry(3, 6, b"a", b"b"),)
    assert ready.committed == ()
    sent = append(6, point(6, 3), entry(3, 6, b"a", b"b"), commit=3)
    assert [(item.to, item.body) for item in ready.messages_now] == [(2, sent), (3, sent)]
    assert ready.messages == ()


def test_during_a_save_more_goes_out() -> None:
    node = led(leader())
    node.settle()
    node.core.propose([b"a"])
    saving = node.core.ready()
    large = bytes(PIPELINED_BYTES_MIN)
    node.core.propose([large])
    assert not node.core.has_ready()
    sent = node.core.take_messages_now()
    assert [item.body for item in sent] == 2 * [
        append(6, point(6, 4), entry(4, 6, large), commit=3)
    ]
    node.now_ms += TIMING.heartbeat_ms
    node.core.tick(node.now_ms)
    beats = node.core.take_messages_now()
    assert [item.body for item in beats] == 2 * [HeartbeatRequest(Term(6), LogIndex(3), 1)]
    node.finish(saving)
    assert node.core.ready().entries == (entry(4, 6, large),)


def test_the_own_log_counts_where_it_is_durable() -> None:
    node = led(leader())
    node.settle()
    node.core.propose([b"a"])
    ready = node.core.ready()
    assert node.core.commit_index == 3
    node.core.step(message(2, 1, taken(6, 4)), node.now_ms)
    assert node.core.commit_index == 3, "one of three has it on its disk"
    node.finish(ready)
    assert node.core.commit_index == 4
    assert node.core.ready().committed == (entry(3, 6, b"a"),)


def test_a_majority_of_others_commits_what_the_leader_has_not_saved_yet() -> None:
    node = led(leader())
    node.settle()
    node.core.propose([b"a"])
    ready = node.core.ready()
    for peer in (2, 3):
        node.core.step(message(peer, 1, taken(6, 4)), node.now_ms)
    assert node.core.commit_index == 4
    assert not node.core.has_ready()
    node.finish(ready)
    assert node.core.ready().committed == (entry(3, 6, b"a"),), "applied when it is durable here"


def test_an_entry_of_an_older_term_is_not_committed_by_counting() -> None:
    """Raft figure 8: what lies on a majority may still be overwritten."""
    node = leader(entry(2, 2, b"old"), term=3)
    node.receive(2, taken(4, 3))
    node.receive(3, taken(4, 3))
    assert node.core.commit_index == 0
    node.receive(2, taken(4, 4))
    assert node.core.commit_index == 4
    assert [item.term for item in node.applied] == [1, 1, 2, 4]


def test_figure_8() -> None:
    """The entry of term 2 lies on three of five, and the leader of term 5 overwrites it."""
    log = seated(voters(1, 2, 3, 4, 5))
    cluster = Cluster(1, 2, 3, 4, 5, log=log)
    old, rival = entry(2, 2, b"old"), entry(2, 3, b"rival")
    for node_id in (1, 2):
        cluster[node_id].disk.entries = [*log, old]
    cluster[5].disk.entries = [*log, rival]
    for node in cluster.nodes.values():
        assert node.disk.hard_state is not None
        node.disk.hard_state = replace(node.disk.hard_state, term=Term(3))
        node.start()
    cluster.isolate(4, 5)
    first = cluster.elect(1, lambda item: not isinstance(item.body, AppendRequest))
    # The no-op of term 4 is lost: node 3 only gets what was there before.
    cluster.mail.clear()
    cluster[3].receive(1, append(4, point(1, 2), old))
    holders = [key for key, node in cluster.nodes.items() if old in node.disk.entries]
    assert holders == [1, 2, 3], "a majority"
    first.receive(2, taken(4, 3))
    first.receive(3, taken(4, 3))
    assert first.payloads() == []
    cluster.heal()
    cluster.isolate(1)
    cluster.elect(5)
    cluster.heal()
    cluster.run(TIMING.election_timeout_ms_max)
    assert {tuple(node.payloads()) for node in cluster.nodes.values()} == {(b"rival",)}


def test_an_acknowledgement_of_an_older_term_is_not_counted() -> None:
    """It may tell of entries that were cut off since."""
    node = leader(entry(2, 2, b"old"), term=3)
    for peer in (2, 3):
        node.receive(peer, taken(3, 4))
    assert node.core.commit_index == 0
    assert {peer.match_index for peer in node.core.progress()} == {0}


def test_an_acknowledgement_from_another_directory_is_not_counted() -> None:
    node = leader()
    for peer in (2, 3):
        node.receive(peer, taken(6, 3), letter="b")
    assert node.core.commit_index == 0
    assert not any(peer.active for peer in node.core.progress())


@pytest.mark.parametrize("nonsense", [taken(6, 99), taken(6, -3), taken(6, 4)])
def test_an_acknowledgement_that_makes_no_sense_is_not_counted(nonsense: AppendResponse) -> None:
    node = leader()
    node.core.propose([b"a", b"b", b"c"])
    node.settle()
    for peer in (2, 3):
        node.receive(peer, nonsense)
    assert node.core.commit_index == 0
    assert {peer.match_index for peer in node.core.progress()} == {0}


def test_followers_learn_at_once_what_was_committed() -> None:
    node = leader()
    sent = node.receive(2, taken(6, 3))
    assert appends(sent) == [append(6, point(6, 3), commit=3)]
    assert appends(node.receive(3, taken(6, 3))) == [append(6, point(6, 3), commit=3)]
    assert node.settle() == []


def test_a_heartbeat_tells_of_no_more_than_the_follower_has() -> None:
    node = leader()
    node.receive(2, taken(6, 3))
    assert node.core.commit_index == 3
    beats = node.tick(TIMING.heartbeat_ms)
    assert [(item.to, item.body) for item in beats] == [
        (2, HeartbeatRequest(Term(6), LogIndex(3), 1)),
        (3, HeartbeatRequest(Term(6), LogIndex(0), 1)),
    ]


def test_a_new_leader_probes_with_one_message_at_a_time() -> None:
    node = leader()
    node.core.propose([b"a"])
    assert node.settle() == []
    assert [peer.state for peer in node.core.progress()] == [PeerState.PROBE] * 2
    # The probe was lost: after the next heartbeat that is answered it is sent again.
    node.tick(TIMING.heartbeat_ms)
    again = node.receive(2, HeartbeatResponse(Term(6), 1))
    assert again == [append(6, point(1, 2), entry(2, 6, NO_OP), entry(3, 6, b"a"))]
    assert node.receive(2, HeartbeatResponse(Term(6), 1)) == []


def test_repair_goes_back_by_terms() -> None:
    """The follower's tail is of terms that the leader never saw, and the other way round."""
    mine = [entry(2, 2), entry(3, 4), entry(4, 4), entry(5, 4)]
    node = leader(*mine, term=6)
    probe = node.receive(2, rejected(7, 6, point(3, 4)))
    assert probe == [append(7, point(2, 3), *mine[1:], entry(6, 7, NO_OP))]
    assert node.receive(2, rejected(7, 6, point(1, 1))) == [], "of before this probe"
    sent = node.receive(2, taken(7, 7))
    assert node.core.commit_index == 7
    assert appends(sent) == [append(7, point(7, 7), commit=7)]


def test_a_rejection_that_is_not_lower_goes_back_all_the_same() -> None:
    node = leader(entry(2, 4), entry(3, 4))
    for index in (4, 3, 2, 1):
        sent = node.receive(2, rejected(6, index, point(9, 99)))
        assert appends(sent)[0].previous.index == index - 1
    assert node.receive(2, rejected(6, 0, point(9, 99))) == []


def test_replication_is_pipelined_and_bounded() -> None:
    node = led(leader())
    node.settle()
    counts = []
    for _ in range(IN_FLIGHT_MESSAGES_MAX + 10):
        node.core.propose([bytes(PIPELINED_BYTES_MIN)])
        counts.append(sum(item.to == 2 for item in node.settle()))
    assert counts == [1] * IN_FLIGHT_MESSAGES_MAX + [0] * 10
    sent = appends(node.receive(2, taken(6, 4)))
    assert [len(body.entries) for body in sent] == [10], "together, when there is room"


def test_small_entries_gather_while_an_append_is_in_flight() -> None:
    node = led(leader())
    node.settle()
    counts = []
    for number in range(10):
        node.core.propose([b"%d" % number])
        counts.append(sum(item.to == 2 for item in node.settle()))
    assert counts == [1] + [0] * 9
    sent = appends(node.receive(2, taken(6, 4)))
    assert [len(body.entries) for body in sent] == [9], "a message and a sync for all of them"


def test_an_append_has_a_bound_in_bytes() -> None:
    node = led(leader())
    node.settle()
    for _ in range(5):
        node.core.propose([b"x" * (MESSAGE_BYTES_MAX // 3)])
    sent = [item.body for item in node.settle() if item.to == 2]
    assert [len(body.entries) for body in appends(sent)] == [2, 2]
    more = appends(node.receive(2, taken(6, node.core.end_index - 1)))
    assert [len(body.entries) for body in more] == [1]
    node.core.propose([b"x" * RECORD_BYTES_MAX] * 2)
    sent = [item.body for item in node.settle() if item.to == 2]
    assert [len(body.entries) for body in appends(sent)] == [1], "a larger one goes alone"


def test_what_was_lost_in_the_pipeline_is_asked_for_after_a_heartbeat() -> None:
    node = led(leader())
    node.settle()
    node.core.propose([b"a"])
    node.settle()
    node.tick(TIMING.heartbeat_ms)
    sent = node.receive(2, HeartbeatResponse(Term(6), 1))
    assert sent == [append(6, point(6, 4), commit=3)]
    again = node.receive(2, rejected(6, 4, point(6, 3)))
    assert again == [append(6, point(6, 3), entry(3, 6, b"a"), commit=3)]


def test_an_idle_leader_sends_heartbeats_only() -> None:
    node = led(leader())
    node.settle()
    for round_ in range(1, 20):
        sent = node.tick(TIMING.heartbeat_ms)
        assert [type(item.body) for item in sent] == [HeartbeatRequest] * 2
        for peer in (2, 3):
            assert node.receive(peer, HeartbeatResponse(Term(6), round_)) == []
    assert node.role() is Role.LEADER
