"""Which nodes get the replicas of new partitions.

Leaders go round the nodes. The followers of each go, one after the other, to a rack that the
partition is not in yet, where there is one; among those to the node that has the fewest replicas
of the topic; among those to the next one round from the leader, a step further each time round, so
that the partitions of a lost node spread over all that remain.
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
    are. Needs 1 <= replication_factor <= len(nodes), and nodes with ids that differ.
    """
    order = _by_turns(nodes)
    if existing:
        start = _position(order, existing[0].replicas[0])
    replicas_of = Counter(chain.from_iterable(state.replicas for state in existing))
    placed = []
    for number in range(len(existing), len(existing) + count):
        replicas = _replicas(order, replication_factor, start + number, replicas_of)
        replicas_of.update(replicas)
        placed.append(PartitionImage(number, replicas[0], LeaderEpoch(0), replicas, replicas, 0))
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
    order: Sequence[NodeImage], replication_factor: int, turn: int, replicas_of: Counter[NodeId]
) -> tuple[NodeId, ...]:
    count = len(order)
    first = turn % count
    others = [order[(first + step) % count] for step in range(1, count)]
    further = turn // count % max(1, len(others))
    waiting = others[further:] + others[:further]
    chosen = [order[first]]
    in_rack = Counter([order[first].rack])
    while len(chosen) < replication_factor:
        # The first of the smallest: `min` keeps the order of those that are alike.
        node = min(waiting, key=lambda node: (in_rack[node.rack], replicas_of[node.node_id]))
        waiting.remove(node)
        chosen.append(node)
        in_rack[node.rack] += 1
    return tuple(node.node_id for node in chosen)
