"""Which nodes get the replicas of new partitions.

Leaders go round the nodes. The followers of each go, one after the other, to a rack that the
partition is not in yet, where there is one; among those to the node that has the fewest replicas
of the topic; among those to the next one round from the leader, a step further each time round, so
that the partitions of a lost node spread over all that remain.

Nodes that are fenced come last: they get what the others are too few for, lead nothing, and begin
out of sync.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, zip_longest

from logd.metadata.image import NodeImage
from logd.metadata.records import PartitionImage
from logd.model.ids import LeaderEpoch, NodeId


def place_partitions(
    nodes: Sequence[NodeImage],
    replication_factor: int,
    count: int,
    *,
    start: int = 0,
    existing: Sequence[PartitionImage] = (),
) -> tuple[PartitionImage, ...]:
    """Return `count` partitions, numbered on from the existing ones, led by their first replicas.

    `start` says where the leaders of a new topic begin; those of an existing one go on where they
    are. Needs 1 <= replication_factor <= len(nodes), a node in service, and ids that differ.
    """
    order = _by_turns(nodes)
    in_service = [node for node in order if not node.fenced]
    if existing:
        start = _position(in_service, existing[0].replicas[0])
    replicas_of = Counter(chain.from_iterable(state.replicas for state in existing))
    placed = []
    for number in range(len(existing), len(existing) + count):
        turn = start + number
        leader = order.index(in_service[turn % len(in_service)])
        further = turn // len(in_service)
        chosen = _replicas(order, replication_factor, leader, further, replicas_of)
        replicas = tuple(node.node_id for node in chosen)
        isr = tuple(node.node_id for node in chosen if not node.fenced)
        replicas_of.update(replicas)
        placed.append(PartitionImage(number, replicas[0], LeaderEpoch(0), replicas, isr, 0))
    return tuple(placed)


def _by_turns(nodes: Sequence[NodeImage]) -> list[NodeImage]:
    """Take the nodes from one rack after the other, so that neighbours are in other racks."""
    racks: dict[str, list[NodeImage]] = {}
    for node in sorted(nodes, key=lambda node: node.node_id):
        racks.setdefault(node.rack, []).append(node)
    turns = zip_longest(*racks.values())
    return [node for turn in turns for node in turn if node is not None]


def _position(order: Sequence[NodeImage], node_id: NodeId) -> int:
    ids = [node.node_id for node in order]
    return ids.index(node_id) if node_id in ids else 0


def _replicas(
    order: Sequence[NodeImage],
    replication_factor: int,
    first: int,
    further: int,
    replicas_of: Counter[NodeId],
) -> list[NodeImage]:
    count = len(order)
    others = [order[(first + step) % count] for step in range(1, count)]
    further %= max(1, len(others))
    waiting = others[further:] + others[:further]
    chosen = [order[first]]
    in_rack = Counter([order[first].rack])
    while len(chosen) < replication_factor:
        # The first of the smallest: `min` keeps the order of those that are alike.
        node = min(
            waiting,
            key=lambda node: (node.fenced, in_rack[node.rack], replicas_of[node.node_id]),
        )
        waiting.remove(node)
        chosen.append(node)
        in_rack[node.rack] += 1
    return chosen
