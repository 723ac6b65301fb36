"""How far a group is behind, in records and in time: what is committed against what there is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from logd_wire.errors import LogdError

from logd.groups import FetchOffsets, Groups
from logd.model.ids import TopicPartitionId
from logd.runtime.peers import Bounds, BoundsAnswer, BoundsQuery


@dataclass(frozen=True, slots=True)
class Position:
    """Where a group is in one partition. `member_id` empty: it is assigned to nobody; `offset`
    -1: nothing is committed."""

    partition: TopicPartitionId
    member_id: str
    offset: int


@dataclass(frozen=True, slots=True)
class Lag:
    """How far it is behind. -1: unknown. `lag_ms` is now minus the append time of the first
    unfinished record, 0 when there is none. `error`: why the leader does not say."""

    position: Position
    bounds: Bounds | None
    records: int
    lag_ms: int
    error: LogdError | None


def positions(groups: Groups, group_id: str) -> list[Position]:
    """Every partition that has a committed offset or is assigned, by topic and number."""
    stored = groups.fetch_offsets(FetchOffsets(group_id))
    offsets = {TopicPartitionId(each.topic_id, each.partition): each.offset for each in stored}
    owners = groups.assigned(group_id)
    return [
        Position(each, owners.get(each, ""), offsets.get(each, -1))
        for each in sorted({*offsets, *owners})
    ]


def queries(found: Iterable[Position]) -> list[BoundsQuery]:
    """What is to be asked of the leaders."""
    return [BoundsQuery(each.partition, each.offset) for each in found]


def lags(found: Iterable[Position], answers: Iterable[BoundsAnswer], wall_ms: int) -> list[Lag]:
    """Put together what the coordinator and what the leaders know, one answer each."""
    pairs = zip(found, answers, strict=True)
    return [_lag(position, answer, wall_ms) for position, answer in pairs]


def _lag(position: Position, answer: BoundsAnswer, wall_ms: int) -> Lag:
    if isinstance(answer, LogdError):
        return Lag(position, None, -1, -1, answer)
    if position.offset < 0:
        return Lag(position, answer, -1, -1, None)
    # What retention took is not to be finished any more; what is not committed yet is not there.
    records = max(answer.high_watermark - max(position.offset, answer.start_offset), 0)
    if records == 0:
        return Lag(position, answer, 0, 0, None)
    appended_ms = answer.append_time_ms
    return Lag(
        position, answer, records, -1 if appended_ms < 0 else max(wall_ms - appended_ms, 0), None
    )
