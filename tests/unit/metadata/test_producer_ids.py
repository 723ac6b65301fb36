from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logd.metadata import AllocateProducerIds, MetadataMachine, ProducerIdBlock, ProducerIdPool
from logd.model.ids import NodeId
from tests.unit.metadata.samples import machine_with_nodes, run


def test_an_empty_pool_asks_for_a_block() -> None:
    pool = ProducerIdPool()
    assert pool.take() is None
    pool.add(ProducerIdBlock(5, 2))
    assert [pool.take() for _ in range(3)] == [5, 6, None]


def test_the_rest_of_a_block_is_dropped_and_no_block_comes_twice() -> None:
    pool = ProducerIdPool()
    pool.add(ProducerIdBlock(0, 10))
    pool.take()
    pool.add(ProducerIdBlock(10, 10))
    assert pool.take() == 10
    for first in (0, 10, 19):
        with pytest.raises(ValueError, match="given before"):
            pool.add(ProducerIdBlock(first, 10))


def take(machine: MetadataMachine, pool: ProducerIdPool, node_id: int) -> int:
    producer_id = pool.take()
    if producer_id is None:
        block = run(machine, AllocateProducerIds(NodeId(node_id), 3))
        assert isinstance(block, ProducerIdBlock)
        pool.add(block)
        producer_id = pool.take()
    assert producer_id is not None
    return producer_id


@given(st.lists(st.sampled_from(["take 1", "take 2", "restart 1", "restart 2"]), max_size=60))
def test_no_id_is_handed_out_twice_over_any_restarts(steps: list[str]) -> None:
    machine = machine_with_nodes(1, 2)
    pools = {1: ProducerIdPool(), 2: ProducerIdPool()}
    taken: list[int] = []
    for step in steps:
        what, _, node = step.partition(" ")
        if what == "restart":
            pools[int(node)] = ProducerIdPool()
        else:
            taken.append(take(machine, pools[int(node)], int(node)))
    assert len(set(taken)) == len(taken)
