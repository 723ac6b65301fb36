"""Whom a leader proposes to be in sync, and when."""

from __future__ import annotations

import pytest

from logd.model.ids import NodeId
from logd.replication import (
    Assigned,
    FollowerAt,
    FollowerGone,
    HighWatermarkMoved,
    OwnEnd,
    PartitionLeader,
    ProposalAnswered,
    Tick,
)
from logd.replication.leader import PROPOSAL_RETRY_MS
from tests.unit.replication.rig import (
    LAG_MS,
    NODE_EPOCHS,
    assigned,
    assignment,
    at,
    leading,
    nodes,
    proposal,
    proposals,
)


def without_node_3() -> PartitionLeader:
    """Nodes 1 and 2 are in sync; everything up to 10 is committed."""
    leader = leading((1, 2))
    leader.handle(at(2, 10))
    return leader


def in_sync() -> PartitionLeader:
    """All are in sync; everything up to 10 is committed."""
    leader = leading()
    leader.handle(at(2, 10))
    leader.handle(at(3, 10))
    return leader


# --- growth --------------------------------------------------------------------------------------


def test_who_has_everything_joins() -> None:
    leader = without_node_3()
    assert leader.handle(at(3, 9)) == []
    assert leader.handle(at(3, 10, 1)) == [proposal(1, 2, 3)]


def test_who_lacks_something_committed_does_not_join() -> None:
    leader = leading((1, 2), high_watermark=6, end_offset=6)
    leader.handle(at(2, 6))
    leader.handle(at(3, 5, 1))
    leader.handle(OwnEnd(7, 1))
    leader.handle(at(2, 7, 2))
    # It had caught up by the rule of time; the high watermark is at 7 now.
    assert leader.handle(at(3, 6, 3)) == []


def test_who_lacks_something_of_earlier_epochs_does_not_join() -> None:
    # The log is written up to 9, where the epoch begins, and durable up to 7.
    leader = leading((1, 2), start_offset=9, end_offset=7)
    assert leader.handle(at(3, 7)) == []
    assert leader.handle(at(3, 8, 1)) == []
    assert leader.handle(at(3, 9, 2)) == [proposal(1, 2, 3)]


def test_who_has_all_that_there_was_a_moment_ago_joins() -> None:
    leader = leading((1, 2), start_offset=0)
    leader.handle(at(2, 5))
    leader.handle(at(3, 4, 100))
    for now_ms, own_end in ((200, 20), (300, 30)):
        leader.handle(OwnEnd(own_end, now_ms))
        assert leader.handle(at(3, own_end - 15, now_ms)) == []
    # At 300 the end was 30, and now it has that.
    leader.handle(OwnEnd(40, 310))
    assert leader.handle(at(3, 30, 320)) == [proposal(1, 2, 3)]


def test_catching_up_too_slowly_is_not_catching_up() -> None:
    leader = leading((1, 2), min_isr=3)
    leader.handle(at(2, 1_000))
    assert leader.handle(at(3, 4, 100)) == []
    leader.handle(OwnEnd(40, 110))
    assert leader.handle(at(3, 10, 100 + LAG_MS)) == []
    leader.handle(OwnEnd(80, 101 + LAG_MS))
    assert proposals(leader.handle(at(3, 39, 102 + LAG_MS))) == []


def test_who_lost_something_before_it_joined_has_to_catch_up_again() -> None:
    leader = without_node_3()
    fenced = {node: epoch for node, epoch in NODE_EPOCHS.items() if node != 3}
    leader.handle(Assigned(assignment((1, 2), node_epochs=fenced), 1))
    leader.handle(at(3, 12, 2))
    leader.handle(at(3, 10, 3))
    leader.handle(OwnEnd(12, 4))
    leader.handle(at(3, 10, 5))
    leader.handle(at(3, 9, 6))
    assert proposals(leader.handle(Assigned(assignment((1, 2)), 7))) == []


@pytest.mark.parametrize("node_epoch", [12, 14])
def test_another_process_than_the_registered_one_does_not_join(node_epoch: int) -> None:
    leader = without_node_3()
    assert leader.handle(at(3, 10, 1, node_epoch)) == []


def test_a_process_joins_once_its_registration_is_known() -> None:
    leader = without_node_3()
    assert leader.handle(at(3, 10, 1, 14)) == []
    again = assignment((1, 2), node_epochs={**NODE_EPOCHS, NodeId(3): 14})
    (proposed,) = proposals(leader.handle(Assigned(again, 2)))
    assert proposed.isr == ((NodeId(1), 11), (NodeId(2), 12), (NodeId(3), 14))


def test_the_process_before_is_not_listened_to() -> None:
    leader = without_node_3()
    again = assignment((1, 2), node_epochs={**NODE_EPOCHS, NodeId(3): 14})
    leader.handle(Assigned(again, 1))
    assert leader.handle(at(3, 10, 2, 13)) == []
    assert leader.handle(at(3, 8, 3, 14)) == []
    assert leader.handle(at(3, 10, 4, 13)) == []


def test_a_replica_out_of_service_does_not_join() -> None:
    leader = without_node_3()
    fenced = {node: epoch for node, epoch in NODE_EPOCHS.items() if node != 3}
    leader.handle(Assigned(assignment((1, 2), node_epochs=fenced), 1))
    assert leader.handle(at(3, 10, 2)) == []


def test_who_is_gone_does_not_join_before_it_is_back() -> None:
    leader = without_node_3()
    leader.handle(at(3, 10, 1))
    leader.handle(FollowerGone(NodeId(3), 2))
    assert leader.handle(ProposalAnswered(0, refused=True, now_ms=3)) == []
    assert leader.handle(Tick(3 + PROPOSAL_RETRY_MS)) == []
    assert leader.handle(at(3, 10, 4 + PROPOSAL_RETRY_MS)) == [proposal(1, 2, 3)]


def test_strangers_are_not_listened_to() -> None:
    leader = without_node_3()
    assert leader.handle(FollowerAt(NodeId(9), 19, 10, 1)) == []
    assert leader.handle(FollowerGone(NodeId(9), 2)) == []


# --- shrink --------------------------------------------------------------------------------------


def test_who_does_not_speak_in_time_goes() -> None:
    leader = leading()
    assert leader.next_deadline_ms() == LAG_MS
    leader.handle(at(2, 10))
    assert leader.handle(Tick(LAG_MS - 1)) == []
    assert leader.handle(Tick(LAG_MS)) == [proposal(1, 2)]
    assert leader.next_deadline_ms() is None


def test_who_does_not_answer_in_time_goes() -> None:
    leader = in_sync()
    assert leader.next_deadline_ms() is None
    assert leader.handle(Tick(100_000)) == [], "an idle partition keeps everyone"
    leader.handle(OwnEnd(11, 100_000))
    assert leader.next_deadline_ms() == 100_000 + LAG_MS
    leader.handle(at(2, 11, 100_001))
    assert leader.handle(Tick(99_999 + LAG_MS)) == []
    assert leader.handle(Tick(100_000 + LAG_MS)) == [proposal(1, 2)]


def test_who_runs_behind_without_falling_back_stays() -> None:
    leader = leading((1, 2))
    leader.handle(at(2, 10))
    for now_ms in range(1_000, 20_000, 1_000):
        leader.handle(OwnEnd(now_ms, now_ms))
        # It always has what there was a second ago.
        assert proposals(leader.handle(at(2, max(10, now_ms - 1_000), now_ms))) == []


def test_who_falls_further_back_goes() -> None:
    leader = leading((1, 2))
    leader.handle(at(2, 10))
    found = []
    for now_ms in range(1_000, 6_000, 1_000):
        leader.handle(OwnEnd(now_ms, now_ms))
        found += proposals(leader.handle(at(2, now_ms // 2, now_ms)))
    assert found == [proposal(1)]


def test_who_lost_something_goes_and_comes_back() -> None:
    leader = in_sync()
    assert leader.handle(at(3, 9, 1)) == [proposal(1, 2)]
    assert leader.handle(at(3, 10, 2)) == []
    assert leader.handle(ProposalAnswered(0, refused=True, now_ms=3)) == []
    assert leader.handle(Tick(3 + PROPOSAL_RETRY_MS)) == [proposal(1, 2)], "what it lost counts"
    back = leader.handle(assigned((1, 2), 1, 5 + PROPOSAL_RETRY_MS))
    assert back == [proposal(1, 2, 3, partition_epoch=1)]


def test_another_process_of_a_member_sends_it_out() -> None:
    leader = in_sync()
    assert leader.handle(at(3, 10, 1, 14)) == [proposal(1, 2)]


def test_a_message_of_the_process_before_counts_for_nothing() -> None:
    leader = leading((1, 2))
    assert leader.handle(at(2, 10, 1, 11)) == []
    assert leader.high_watermark == 0
    assert leader.handle(at(2, 8, 2)) == [HighWatermarkMoved(8)]


def test_a_member_out_of_service_goes() -> None:
    leader = leading()
    leader.handle(at(2, 10))
    fenced = {node: epoch for node, epoch in NODE_EPOCHS.items() if node != 3}
    effects = leader.handle(Assigned(assignment(node_epochs=fenced), 1))
    assert effects == [proposal(1, 2)]


def test_who_is_gone_and_has_everything_stays() -> None:
    leader = in_sync()
    assert leader.handle(FollowerGone(NodeId(3), 1)) == []
    assert leader.handle(Tick(100_000)) == []


def test_one_leaves_and_another_one_joins_in_one_proposal() -> None:
    leader = leading((1, 2))
    assert leader.handle(at(3, 10, LAG_MS)) == [proposal(1, 3)]


# --- proposals -----------------------------------------------------------------------------------


def test_one_proposal_at_a_time() -> None:
    leader = leading((1,))
    assert leader.handle(at(2, 10)) == [proposal(1, 2)]
    assert leader.handle(at(3, 10)) == []
    assert leader.handle(assigned((1, 2), 1, 1)) == [
        HighWatermarkMoved(10),
        proposal(1, 2, 3, partition_epoch=1),
    ]


def test_after_an_unknown_outcome_the_same_is_proposed_again() -> None:
    leader = without_node_3()
    leader.handle(at(3, 10, 1))
    leader.handle(at(3, 9, 2))
    assert leader.handle(ProposalAnswered(0, refused=False, now_ms=3)) == []
    assert leader.next_deadline_ms() == 3 + PROPOSAL_RETRY_MS
    assert leader.handle(Tick(2 + PROPOSAL_RETRY_MS)) == []
    assert leader.handle(Tick(3 + PROPOSAL_RETRY_MS)) == [proposal(1, 2, 3)]
    assert leader.next_deadline_ms() is None


def test_a_refused_proposal_is_not_made_again_at_once() -> None:
    leader = without_node_3()
    leader.handle(at(3, 10, 1))
    assert leader.handle(ProposalAnswered(0, refused=True, now_ms=2)) == []
    assert leader.next_deadline_ms() == 2 + PROPOSAL_RETRY_MS
    assert leader.handle(at(3, 10, 3)) == []
    assert leader.handle(Tick(2 + PROPOSAL_RETRY_MS)) == [proposal(1, 2, 3)]


def test_a_change_of_the_partition_ends_the_pause() -> None:
    leader = without_node_3()
    leader.handle(at(3, 10, 1))
    leader.handle(ProposalAnswered(0, refused=True, now_ms=2))
    assert leader.handle(assigned((1, 2), 1, 3)) == [proposal(1, 2, 3, partition_epoch=1)]


def test_what_is_told_late_changes_nothing() -> None:
    leader = in_sync()
    leader.handle(assigned((1, 2), 5, 1))
    before = leader.assignment
    leader.handle(assigned((1, 2, 3), 4, 2))
    leader.handle(Assigned(assignment((1, 2, 3), partition_epoch=9, leader_epoch=3), 3))
    assert leader.assignment is before
    assert leader.isr == nodes(1, 2)


def test_a_leader_out_of_service_proposes_nothing() -> None:
    leader = leading()
    fenced = {node: epoch for node, epoch in NODE_EPOCHS.items() if node != 1}
    leader.handle(Assigned(assignment(node_epochs=fenced), 1))
    assert leader.handle(Tick(LAG_MS)) == []
    assert leader.next_deadline_ms() is None


def test_a_new_leadership_gives_members_their_time() -> None:
    leader = leading((1, 2))
    assert leader.handle(at(2, 3, LAG_MS - 1)) == [HighWatermarkMoved(3)]
    assert leader.handle(Tick(LAG_MS)) == [proposal(1)]


def test_an_own_end_that_is_told_late_changes_nothing() -> None:
    leader = leading((1, 2))
    leader.handle(OwnEnd(12, 1))
    leader.handle(OwnEnd(9, 2))
    assert leader.handle(at(3, 9, 3)) == [], "it is not level with the end"
