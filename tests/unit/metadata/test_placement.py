from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from logd.metadata import NodeImage, PartitionImage
from logd.metadata.placement import place_partitions
from logd.model.ids import DirectoryId, NodeId
from tests.unit.metadata.samples import id_of


def node(node_id: int, rack: str = "") -> NodeImage:
    directory_id = DirectoryId(id_of(f"dir-{node_id}"))
    return NodeImage(
        NodeId(node_id), directory_id, id_of("inc"), "a:1", rack, "a:2", node_id, False
    )


def in_racks(*sizes: int) -> list[NodeImage]:
    """Return nodes in racks of these sizes, ids handed out rack by rack."""
    racks = [f"rack-{number}" for number, size in enumerate(sizes) for _ in range(size)]
    return [node(node_id, rack) for node_id, rack in enumerate(racks)]


def replica_counts(
    nodes: Sequence[NodeImage], placed: Sequence[PartitionImage]
) -> dict[NodeId, int]:
    counted = Counter(node_id for state in placed for node_id in state.replicas)
    return {node.node_id: counted[node.node_id] for node in nodes}


def spread(counts: dict[NodeId, int]) -> int:
    return max(counts.values()) - min(counts.values())


clusters = st.lists(st.integers(1, 4), min_size=1, max_size=5)


@given(st.data(), clusters, st.integers(0, 40), st.integers(0, 60))
def test_replicas_are_distinct_and_leaders_balanced(
    data: st.DataObject, sizes: list[int], first: int, more: int
) -> None:
    nodes = in_racks(*sizes)
    factor = data.draw(st.integers(1, len(nodes)))
    start = data.draw(st.integers(0, 100))
    existing = place_partitions(nodes, factor, first, start=start)
    placed = place_partitions(nodes, factor, more, existing=existing)
    assert [state.partition for state in placed] == list(range(first, first + more))
    for state in placed:
        assert len(set(state.replicas)) == len(state.replicas) == factor
        assert set(state.replicas) <= {node.node_id for node in nodes}
        assert state.leader_id == state.replicas[0]
        assert state.isr == state.replicas
        assert state.leader_epoch == state.partition_epoch == 0
        assert (state.eligible, state.last_known_leader) == ((), -1)
    leaders = Counter(state.leader_id for state in placed)
    assert spread({node.node_id: leaders[node.node_id] for node in nodes}) <= 1


@given(st.data(), clusters, st.integers(1, 60))
def test_replicas_are_in_as_many_racks_as_there_are(
    data: st.DataObject, sizes: list[int], count: int
) -> None:
    nodes = in_racks(*sizes)
    rack_of = {node.node_id: node.rack for node in nodes}
    factor = data.draw(st.integers(1, len(nodes)))
    for state in place_partitions(nodes, factor, count):
        in_rack = Counter(rack_of[node_id] for node_id in state.replicas)
        assert len(in_rack) == min(factor, len(sizes))


@given(st.data(), st.integers(1, 4), st.integers(1, 4), st.integers(1, 100))
def test_replicas_are_balanced_over_equal_racks(
    data: st.DataObject, racks: int, size: int, count: int
) -> None:
    nodes = in_racks(*[size] * racks)
    factor = data.draw(st.integers(1, len(nodes)))
    start = data.draw(st.integers(0, 20))
    counts = replica_counts(nodes, place_partitions(nodes, factor, count, start=start))
    assert sum(counts.values()) == count * factor
    assert spread(counts) <= 2


@given(clusters, st.integers(1, 30), st.integers(0, 30), st.integers(0, 2))
def test_adding_later_is_the_same_as_making_more_at_once(
    sizes: list[int], now: int, later: int, start: int
) -> None:
    nodes = in_racks(*sizes)
    factor = min(2, len(nodes))
    once = place_partitions(nodes, factor, now + later, start=start)
    first = place_partitions(nodes, factor, now, start=start)
    assert first + place_partitions(nodes, factor, later, existing=first) == once


def test_the_followers_of_one_leader_spread_over_all_other_nodes() -> None:
    placed = place_partitions(in_racks(5), 2, 20)
    follow_zero = Counter(state.replicas[1] for state in placed if state.leader_id == 0)
    assert follow_zero == {NodeId(number): 1 for number in range(1, 5)}


def test_partitions_can_be_added_when_the_first_leader_is_gone() -> None:
    nodes = in_racks(1, 1, 1)
    existing = place_partitions(nodes, 2, 3)
    added = place_partitions(nodes[1:], 2, 3, existing=existing)
    assert {node_id for state in added for node_id in state.replicas} == {1, 2}


def test_neighbours_are_in_other_racks() -> None:
    nodes = in_racks(2, 2, 1)
    placed = place_partitions(nodes, 1, 5)
    assert [state.leader_id for state in placed] == [0, 2, 4, 1, 3]
