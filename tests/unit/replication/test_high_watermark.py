"""What a leader says is committed."""

from __future__ import annotations

import pytest

from logd.model.ids import NodeId
from logd.replication import (
    Assigned,
    HighWatermarkMoved,
    OwnEnd,
    PartitionLeader,
    ProposalAnswered,
    Tick,
)
from tests.unit.replication.rig import (
    LAG_MS,
    LEADER,
    NODE_EPOCHS,
    assigned,
    assignment,
    at,
    leading,
    proposal,
)


def test_it_is_the_least_durable_end_of_all_in_sync() -> None:
    leader = leading()
    assert leader.handle(at(2, 10)) == []
    assert leader.handle(at(3, 7)) == [HighWatermarkMoved(7)]
    assert leader.handle(OwnEnd(20, 1)) == []
    assert leader.handle(at(3, 10, 2)) == [HighWatermarkMoved(10)]
    assert leader.handle(at(3, 20, 3)) == []
    assert leader.handle(at(2, 15, 3)) == [HighWatermarkMoved(15)]


def test_it_is_bound_by_the_own_durable_end() -> None:
    leader = leading()
    leader.handle(at(2, 12))
    assert leader.handle(at(3, 12)) == [HighWatermarkMoved(10)]
    assert leader.handle(OwnEnd(11, 1)) == [HighWatermarkMoved(11)]
    assert leader.handle(OwnEnd(9, 2)) == []
    assert leader.high_watermark == 11


def test_a_sole_replica_commits_with_its_own_end() -> None:
    leader = PartitionLeader(
        LEADER,
        assignment((1,), min_isr=1),
        start_offset=10,
        end_offset=10,
        high_watermark=4,
        lag_ms_max=LAG_MS,
        now_ms=0,
    )
    assert leader.handle(Tick(0)) == [HighWatermarkMoved(10)]
    assert leader.handle(OwnEnd(12, 1)) == [HighWatermarkMoved(12)]


def test_it_stands_still_while_the_end_of_one_in_sync_is_not_known() -> None:
    leader = leading(high_watermark=3)
    assert leader.handle(at(2, 10)) == []
    assert leader.handle(OwnEnd(12, 1)) == []
    assert leader.high_watermark == 3


def test_it_stands_still_while_too_few_are_in_sync() -> None:
    leader = leading((1,))
    assert not leader.may_acknowledge
    assert leader.handle(Tick(1)) == []
    assert leader.handle(at(2, 10, 1)) == [proposal(1, 2)]
    leader.handle(OwnEnd(12, 2))
    assert leader.handle(at(2, 12, 2)) == [], "growth counts, and not towards the least number"
    assert leader.handle(assigned((1, 2), 2, 3)) == [HighWatermarkMoved(12)]


@pytest.mark.parametrize(("isr", "enough"), [((1,), False), ((1, 3), True), ((1, 2, 3), True)])
def test_acknowledging_needs_the_least_number_in_sync(isr: tuple[int, ...], enough: bool) -> None:
    assert leading(isr).may_acknowledge is enough


def test_another_least_number_lets_it_move() -> None:
    leader = leading((1,), min_isr=2)
    assert leader.handle(Tick(1)) == []
    assert leader.handle(assigned((1,), 0, 1, min_isr=1)) == [HighWatermarkMoved(10)]


def test_it_never_goes_back() -> None:
    leader = leading((1, 2))
    leader.handle(at(2, 10))
    leader.handle(OwnEnd(12, 1))
    assert leader.handle(at(2, 6, 2)) == [proposal(1)]
    assert leader.high_watermark == 10


def test_growth_counts_at_once() -> None:
    leader = leading((1, 2))
    leader.handle(at(2, 10))
    assert leader.handle(at(3, 10, 1)) == [proposal(1, 2, 3)]
    leader.handle(OwnEnd(12, 2))
    assert leader.handle(at(2, 12, 3)) == []
    assert leader.high_watermark == 10
    assert leader.handle(at(3, 12, 4)) == [HighWatermarkMoved(12)]


def test_growth_counts_until_it_is_refused() -> None:
    leader = growing()
    assert leader.handle(ProposalAnswered(0, refused=False, now_ms=4)) == []
    assert leader.handle(ProposalAnswered(7, refused=True, now_ms=5)) == []
    assert leader.handle(ProposalAnswered(0, refused=True, now_ms=6)) == [HighWatermarkMoved(12)]


def test_growth_counts_until_the_partition_is_at_another_epoch() -> None:
    leader = growing()
    came_and_went = {**NODE_EPOCHS, NodeId(4): 14}
    same = assignment((1, 2), node_epochs=came_and_went)
    assert leader.handle(Assigned(same, 4)) == []
    assert leader.handle(assigned((1, 2), 1, LAG_MS + 5)) == [HighWatermarkMoved(12)]


def growing() -> PartitionLeader:
    """A leader that has proposed node 3, which then stands still at 10."""
    leader = leading((1, 2))
    leader.handle(at(2, 10))
    leader.handle(at(3, 10, 1))
    leader.handle(OwnEnd(12, 2))
    assert leader.handle(at(2, 12, 3)) == []
    return leader


def test_shrink_counts_when_it_is_committed() -> None:
    leader = leading()
    leader.handle(at(2, 10))
    leader.handle(at(3, 10))
    leader.handle(OwnEnd(12, 1))
    leader.handle(at(2, 12, 2))
    assert leader.handle(Tick(1 + LAG_MS)) == [proposal(1, 2)]
    assert leader.handle(at(2, 12, 2 + LAG_MS)) == []
    assert leader.high_watermark == 10
    assert leader.handle(assigned((1, 2), 1, 3 + LAG_MS)) == [HighWatermarkMoved(12)]


def test_latest_is_served_once_the_own_epoch_is_committed() -> None:
    leader = leading((1, 2), start_offset=8)
    served = []
    for end_offset in (7, 8, 9):
        leader.handle(at(2, end_offset))
        served.append(leader.serves_latest)
    assert served == [False, True, True]


# --- what every replica has ----------------------------------------------------------------------


def test_every_replica_counts_also_out_of_sync() -> None:
    machine = leading((1, 2))
    machine.handle(at(2, 10))
    assert machine.replicated_end == -1, "one has said nothing yet"
    machine.handle(at(3, 4))
    assert (machine.replicated_end, machine.high_watermark) == (4, 10)
    machine.handle(at(3, 12))
    assert machine.replicated_end == 10
    machine.handle(at(3, 2))
    assert machine.replicated_end == 2


def test_what_a_process_had_promises_nothing_of_the_next_one() -> None:
    machine = leading()
    machine.handle(at(2, 10))
    machine.handle(at(3, 10))
    assert machine.replicated_end == 10
    node_epochs = {**NODE_EPOCHS, NodeId(3): 23}
    machine.handle(Assigned(assignment(partition_epoch=1, node_epochs=node_epochs), 0))
    assert machine.replicated_end == -1
    machine.handle(at(3, 8, node_epoch=23))
    assert machine.replicated_end == 8
