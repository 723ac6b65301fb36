"""Reading partitions from one place to another, independent of how records are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from logd.cli.offsets import Bound, BoundKind, Selection, place

if TYPE_CHECKING:
    from logd_client import Consumer, TopicPartition

_POLL_SECONDS = 0.5
_RECORDS_PER_POLL = 5_000


@dataclass(frozen=True, slots=True)
class Range:
    """What is read of one partition: offsets at or above `since`, below `until` (None: on)."""

    position: int
    since: int
    until: int | None
    start_offset: int

    @property
    def empty(self) -> bool:
        return self.until is not None and self.position >= self.until


def plan_ranges(
    consumer: Consumer[bytes, bytes],
    partitions: Iterable[TopicPartition],
    selection: Selection,
    *,
    stop_at_end: bool,
) -> dict[TopicPartition, Range]:
    """Turn the selection into offsets, by the partitions' offsets of this moment.

    A range does not wait for records to come: it ends at this moment's end offset at the latest.
    """
    wanted = list(partitions)
    starts = consumer.beginning_offsets(wanted)
    ends = consumer.end_offsets(wanted)
    times = {
        bound: _offsets_at(consumer, wanted, bound)
        for bound in selection.bounds()
        if bound.kind is BoundKind.TIME
    }

    def offset(partition: TopicPartition, bound: Bound) -> int:
        found = times[bound].get(partition) if bound.kind is BoundKind.TIME else None
        return place(
            bound,
            start_offset=starts[partition],
            end_offset=ends[partition],
            time_offset=found,
        )

    ranges = {}
    for partition in wanted:
        since = offset(partition, selection.since)
        until = None if selection.until is None else offset(partition, selection.until)
        if stop_at_end or until is not None:
            until = ends[partition] if until is None else min(until, ends[partition])
        position = min(max(since, starts[partition]), ends[partition])
        ranges[partition] = Range(position, since, until, starts[partition])
    return ranges


def _offsets_at(
    consumer: Consumer[bytes, bytes], partitions: list[TopicPartition], bound: Bound
) -> Mapping[TopicPartition, int | None]:
    answers: Mapping[TopicPartition, Any] = consumer.offsets_for_times(
        dict.fromkeys(partitions, bound.value)
    )
    return {
        partition: None if found is None else int(getattr(found, "offset", found))
        for partition, found in answers.items()
    }


def read_ranges(
    consumer: Consumer[bytes, bytes],
    ranges: Mapping[TopicPartition, Range],
    wanted: Callable[[Any], bool] | None,
) -> Iterator[list[Any]]:
    """Yield lists of records as they arrive, until every range has been read.

    Records of one partition are in offset order. An empty list means: nothing for now.
    """
    active = {partition for partition, found in ranges.items() if not found.empty}
    if not active:
        return
    consumer.assign(sorted(active))
    for partition in sorted(active):
        consumer.seek(partition, ranges[partition].position)
    while active:
        batches = consumer.getmany(timeout=_POLL_SECONDS, max_records=_RECORDS_PER_POLL)
        yield [
            record
            for partition, records in batches.items()
            if partition in active
            for record in _inside(records, ranges[partition])
            if wanted is None or wanted(record)
        ]
        done = {
            partition
            for partition in active
            if (until := ranges[partition].until) is not None
            and consumer.position(partition) >= until
        }
        if done:
            active -= done
            consumer.pause(*done)


def _inside(records: list[Any], limits: Range) -> list[Any]:
    if not records:
        return records
    first, last = records[0].offset, records[-1].offset
    if first >= limits.since and (limits.until is None or last < limits.until):
        return records
    until = last + 1 if limits.until is None else limits.until
    return [record for record in records if limits.since <= record.offset < until]
