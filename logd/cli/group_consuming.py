"""Reading as a member of a group, independent of how records are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from logd.cli.exits import UsageProblem

if TYPE_CHECKING:
    from logd_client import Consumer, TopicPartition

_POLL_SECONDS = 0.5
_RECORDS_PER_POLL = 5_000

#: What -o may be with a group -> where partitions begin of which it has committed nothing.
RESETS = {"start": "earliest", "beginning": "earliest", "end": "latest"}


def reset_of(offset: str) -> str:
    """Raises UsageProblem for a place that is not for groups."""
    found = RESETS.get(offset)
    if found is None:
        raise UsageProblem(
            f"-o {offset} with -g: a group goes on where it has committed, and -o start or end "
            "says where it begins without that; move it with `logd group seek`"
        )
    return found


def read_as_member(
    consumer: Consumer[bytes, bytes],
    ends: Mapping[TopicPartition, int] | None,
    wanted: Callable[[Any], bool] | None,
    number: int | None,
) -> Iterator[list[Any]]:
    """Yield lists of records of what the group assigns, until the group has come to `ends` (None:
    on and on) or `number` of them came. What was yielded is finished when the next is asked for.
    """
    left = number
    while left is None or left > 0:
        count = _RECORDS_PER_POLL if left is None else min(left, _RECORDS_PER_POLL)
        batches = consumer.getmany(timeout=_POLL_SECONDS, max_records=count)
        records = [
            record
            for found in batches.values()
            for record in found
            if wanted is None or wanted(record)
        ]
        yield records
        if left is not None:
            left -= len(records)
        if ends is not None and not batches and _has_reached(consumer, ends):
            return
    # The last of them are shown: coming back for more finishes them, and nothing more is shown.
    consumer.getmany(timeout=0, max_records=1)


def _has_reached(consumer: Consumer[bytes, bytes], ends: Mapping[TopicPartition, int]) -> bool:
    """Whether the members are past the ends: this one by its positions, others by their commits."""
    ours = consumer.assignment()
    for partition, end in ends.items():
        if partition in ours:
            reached: int | None = consumer.position(partition)
        else:
            reached = consumer.committed(partition)
        if end > 0 and (reached is None or reached < end):
            return False
    return True
