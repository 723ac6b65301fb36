"""Same calls, same results: two clusters that live through the same say the same."""

from __future__ import annotations

from random import Random

import pytest
from logd_wire.errors import LogdError

from logd.consensus import Role
from logd.model.ids import NodeId
from tests.unit.consensus.rig import Cluster, Node, voters

STEPS = 200


def history(seed: int) -> list[str]:
    """Drive five nodes by chance; returns everything they said, saved and applied."""
    chance = Random(seed)
    cluster = Cluster(1, 2, 3, 4, 5)
    told: list[str] = []
    for number in range(STEPS):
        cluster.now_ms += chance.choice([0, 10, 50, 100])
        for node_id, node in cluster.nodes.items():
            node.now_ms = cluster.now_ms
            if chance.random() < 0.9:
                node.core.tick(cluster.now_ms)
            if chance.random() < 0.3:
                told.append(demand(chance, number, node))
            told.append(f"{node_id} {node.core.role} {node.core.term} {node.core.progress()}")
        if chance.random() < 0.02:
            cluster.isolate(*chance.sample([1, 2, 3, 4, 5], 2))
        if chance.random() < 0.05:
            cluster.heal()
        drop = chance.random() < 0.1
        told += map(str, cluster.mail)
        if drop:
            cluster.mail = cluster.mail[::2]
        cluster.deliver()
    told += [f"{node.disk} {node.applied} {node.reads}" for node in cluster.nodes.values()]
    return told


def demand(chance: Random, number: int, node: Node) -> str:
    try:
        match chance.randrange(5):
            case 0:
                node.core.read_index(number)
            case 1:
                node.core.transfer(NodeId(chance.randrange(1, 6)))
            case 2:
                node.core.propose_voters(voters(*chance.sample([1, 2, 3, 4, 5], 4)), b"v")
            case 3:
                node.core.set_observers({NodeId(chance.randrange(1, 9)) for _ in range(3)})
            case _:
                return str(node.core.propose([b"%d" % number]))
    except LogdError as error:
        return f"{error}"
    return "asked"


@pytest.mark.parametrize("seed", range(5))
def test_the_same_calls_give_the_same_results(seed: int) -> None:
    first = history(seed)
    assert first == history(seed)
    assert any(Role.LEADER.name in line for line in first)


def test_observers_given_as_a_set_have_an_order() -> None:
    cluster = Cluster(1, 2, 3)
    first = cluster.elect(1)
    nodes = [NodeId(number) for number in range(40, 4, -1)]
    first.core.set_observers(set(nodes))
    assert [peer.node_id for peer in first.core.progress()] == [2, 3, *sorted(nodes)]
