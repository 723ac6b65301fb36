"""How far the replicas of a partition are that are not in sync, as its leader knows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from logd.model.ids import NodeId
from logd.runtime.partition import Partition


@dataclass(frozen=True, slots=True)
class ReplicaProgress:
    """How far a replica is that is not in sync; `end_offset` -1: it was not heard of."""

    node_id: NodeId
    end_offset: int
    records_left: int
    #: About.
    bytes_left: int


def replica_progress(found: Partition) -> Iterator[ReplicaProgress]:
    """Nothing where another node leads."""
    view = found.view
    for node_id, end_offset in found.followers_behind():
        begin = max(end_offset, view.start_offset)
        left = max(view.written_end_offset - begin, 0)
        yield ReplicaProgress(node_id, end_offset, left, view.size_from(begin))
