"""Which nodes get the replicas of a new partition."""

from __future__ import annotations

from collections.abc import Sequence

from logd.metadata.records import PartitionImage
from logd.model.ids import LeaderEpoch, NodeId


def place_partitions(
    nodes: Sequence[NodeId], replication_factor: int, *, first: int, end: int, start: int
) -> tuple[PartitionImage, ...]:
    """Return the partitions [first, end), all led by their first replica at epoch 0.

    Leaders go round the nodes, from `nodes[start]` for partition 0 on. The followers of a leader
    go round the other nodes, so that the partitions of a lost node spread over all that remain.
    Needs 1 <= replication_factor <= len(nodes).
    """
    return tuple(
        _placed(number, _replicas(nodes, replication_factor, number, start))
        for number in range(first, end)
    )


def _replicas(
    nodes: Sequence[NodeId], replication_factor: int, number: int, start: int
) -> tuple[NodeId, ...]:
    count = len(nodes)
    leader = (start + number) % count
    others = [nodes[(leader + step) % count] for step in range(1, count)]
    turn = number // count
    followers = [others[(turn + k) % len(others)] for k in range(replication_factor - 1)]
    return (nodes[leader], *followers)


def _placed(number: int, replicas: tuple[NodeId, ...]) -> PartitionImage:
    return PartitionImage(number, replicas[0], LeaderEpoch(0), replicas, replicas, 0)
