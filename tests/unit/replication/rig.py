"""Three replicas of a partition, nodes 1 to 3, registered as the processes 11 to 13."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from logd.model.ids import LeaderEpoch, NodeId
from logd.replication import (
    Assigned,
    Assignment,
    Chunk,
    Diverges,
    EndOffsetFor,
    FollowerAt,
    LeaderEffect,
    PartitionLeader,
    ProposeIsr,
)

LEADER: Final = NodeId(1)
LAG_MS: Final = 3_000
NODE_EPOCHS: Final = {NodeId(node): 10 + node for node in (1, 2, 3)}


def nodes(*node_ids: int) -> tuple[NodeId, ...]:
    return tuple(NodeId(node_id) for node_id in node_ids)


def assignment(
    isr: tuple[int, ...] = (1, 2, 3),
    *,
    partition_epoch: int = 0,
    leader_epoch: int = 4,
    min_isr: int = 2,
    node_epochs: Mapping[NodeId, int] = NODE_EPOCHS,
) -> Assignment:
    return Assignment(
        leader_epoch=LeaderEpoch(leader_epoch),
        partition_epoch=partition_epoch,
        replicas=nodes(1, 2, 3),
        isr=nodes(*isr),
        node_epochs=node_epochs,
        min_isr=min_isr,
    )


def leading(
    isr: tuple[int, ...] = (1, 2, 3),
    *,
    start_offset: int = 0,
    end_offset: int = 10,
    high_watermark: int = 0,
    min_isr: int = 2,
) -> PartitionLeader:
    return PartitionLeader(
        LEADER,
        assignment(isr, min_isr=min_isr),
        start_offset=start_offset,
        end_offset=end_offset,
        high_watermark=high_watermark,
        lag_ms_max=LAG_MS,
        now_ms=0,
    )


def at(node_id: int, end_offset: int, now_ms: int = 0, node_epoch: int = 0) -> FollowerAt:
    return FollowerAt(NodeId(node_id), node_epoch or 10 + node_id, end_offset, now_ms)


def assigned(
    isr: tuple[int, ...], partition_epoch: int, now_ms: int = 0, *, min_isr: int = 2
) -> Assigned:
    return Assigned(assignment(isr, partition_epoch=partition_epoch, min_isr=min_isr), now_ms)


def proposal(*members: int, partition_epoch: int = 0) -> ProposeIsr:
    return ProposeIsr(
        partition_epoch, tuple((NodeId(node_id), 10 + node_id) for node_id in members)
    )


def proposals(effects: list[LeaderEffect]) -> list[ProposeIsr]:
    return [effect for effect in effects if isinstance(effect, ProposeIsr)]


def epochs(starts: dict[int, int], end: int) -> EndOffsetFor:
    """A log up to `end` whose epochs begin where `starts` says."""

    def end_offset_for(epoch: int) -> tuple[int, int]:
        known = max((each for each in starts if each <= epoch), default=-1)
        if known == -1:
            return -1, -1
        return known, min((starts[each] for each in starts if each > known), default=end)

    return end_offset_for


def chunk(
    *,
    high_watermark: int = 0,
    size_bytes: int = 0,
    start: int = 0,
    forgotten: int = 0,
    diverging: Diverges | None = None,
    too_low: bool = False,
    refused: bool = False,
    leader_epoch: int = 4,
    now_ms: int = 0,
) -> Chunk:
    return Chunk(
        leader_epoch=LeaderEpoch(leader_epoch),
        size_bytes=size_bytes,
        high_watermark=high_watermark,
        log_start_offset=start,
        append_time_ms=0,
        forgotten_end=forgotten,
        diverging=diverging,
        too_low=too_low,
        refused=refused,
        now_ms=now_ms,
    )
