from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from logd.metadata.placement import place_partitions
from logd.model.ids import NodeId


@given(st.data(), st.integers(1, 7), st.integers(0, 40), st.integers(0, 60))
def test_replicas_are_distinct_and_leaders_balanced(
    data: st.DataObject, count: int, first: int, more: int
) -> None:
    nodes = [NodeId(10 * number) for number in range(count)]
    factor = data.draw(st.integers(1, count))
    start = data.draw(st.integers(0, count - 1))
    placed = place_partitions(nodes, factor, first=first, end=first + more, start=start)
    assert [state.partition for state in placed] == list(range(first, first + more))
    for state in placed:
        assert len(set(state.replicas)) == len(state.replicas) == factor
        assert set(state.replicas) <= set(nodes)
        assert state.leader_id == state.replicas[0]
        assert state.isr == state.replicas
        assert state.leader_epoch == state.partition_epoch == 0
    leaders = Counter(state.leader_id for state in placed)
    assert max(leaders.values(), default=0) - min((leaders[n] for n in nodes), default=0) <= 1


@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 2))
def test_adding_later_is_the_same_as_making_more_at_once(now: int, later: int, start: int) -> None:
    nodes = [NodeId(number) for number in (1, 2, 3)]
    once = place_partitions(nodes, 2, first=0, end=now + later, start=start)
    first = place_partitions(nodes, 2, first=0, end=now, start=start)
    added = place_partitions(nodes, 2, first=now, end=now + later, start=start)
    assert first + added == once


def test_the_followers_of_one_leader_spread_over_all_other_nodes() -> None:
    nodes = [NodeId(number) for number in range(5)]
    placed = place_partitions(nodes, 2, first=0, end=20, start=0)
    follow_zero = Counter(state.replicas[1] for state in placed if state.leader_id == 0)
    assert follow_zero == {NodeId(number): 1 for number in range(1, 5)}
