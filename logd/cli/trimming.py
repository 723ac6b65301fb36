"""Offsets by time, and removing what lies before them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from logd_wire.errors import LogdError, NotLeaderError, UnknownTopicError

from logd.cli.connect import open_admin, open_consumer, suggest_topic
from logd.cli.exits import UsageProblem
from logd.cli.offsets import Bound, BoundKind, parse_selection, place
from logd.cli.options import Invocation
from logd.cli.output import emit
from logd.cli.times import parse_time_ms

if TYPE_CHECKING:
    from logd_client import Consumer, PartitionInfo, TopicInfo


def parse_before(text: str) -> Bound:
    """The place behind `--before`. Raises UsageProblem."""
    try:
        selection = parse_selection(text, _now_ms())
    except ValueError as error:
        raise UsageProblem(f"--before: {error}") from None
    if selection.until is not None:
        raise UsageProblem(f"--before: {text!r} is a range; give the first record to keep")
    return selection.since


def parse_at(text: str) -> int:
    """Milliseconds of `--at @TIME`. Raises UsageProblem."""
    try:
        return parse_time_ms(text.removeprefix("@"), _now_ms())
    except ValueError as error:
        raise UsageProblem(f"--at: {error}") from None


def _now_ms() -> int:
    return int(time.time() * 1000)


def offsets_at(
    consumer: Consumer[bytes, bytes], info: TopicInfo, timestamp_ms: int
) -> dict[int, int | None]:
    """By partition the first offset at or after the time; None when no record is that late."""
    from logd_client import TopicPartition

    wanted = {TopicPartition(info.name, item.partition): timestamp_ms for item in info.partitions}
    found = consumer.offsets_for_times(wanted)
    return {
        partition.partition: None if answer is None else answer.offset
        for partition, answer in found.items()
    }


def trim_topic(
    invocation: Invocation,
    name: str,
    before: Bound,
    numbers: list[int] | None,
    *,
    dry_run: bool,
) -> None:
    """Trim the chosen partitions and print where each begins now."""
    with open_admin(invocation) as admin:
        try:
            info = admin.describe_topic(name)
        except LogdError as error:
            raise suggest_topic(error, name, invocation) from None
        chosen = chosen_partitions(info, numbers)
        times: dict[int, int | None] = {}
        if before.kind is BoundKind.TIME:
            with open_consumer(invocation) as consumer:
                times = offsets_at(consumer, info, before.value)
        targets = {
            item.partition: place(
                before,
                start_offset=item.start_offset,
                end_offset=item.end_offset,
                time_offset=times.get(item.partition),
            )
            for item in chosen
        }
        started = {item.partition: item.start_offset for item in info.partitions}
        if not dry_run:
            after = dict(admin.delete_records(name, targets))
        else:
            after = {number: max(targets[number], started[number]) for number in targets}
    rows = [[number, started[number], after[number]] for number in sorted(after)]
    emit(
        invocation,
        document=[
            {"partition": number, "start_offset_before": old, "start_offset": new}
            for number, old, new in rows
        ],
        tables=[("trimmed", ["PARTITION", "START_BEFORE", "START"], rows)],
        names=[f"{name}:{number}" for number, _old, _new in rows],
    )


def chosen_partitions(info: TopicInfo, numbers: list[int] | None) -> list[PartitionInfo]:
    """The partitions of these numbers (None: all), each with known offsets: a place counted from an
    unknown start or end would cut anywhere. Raises UnknownTopicError, NotLeaderError."""
    known = {item.partition: item for item in info.partitions}
    for missing in sorted(set(numbers or ()) - known.keys()):
        raise UnknownTopicError(
            f"topic {info.name!r} has no partition {missing}",
            hint=f"it has 0 to {len(known) - 1}",
        )
    chosen = [item for item in info.partitions if numbers is None or item.partition in numbers]
    for item in chosen:
        if item.end_offset < 0:
            raise NotLeaderError(
                f"{info.name}[{item.partition}]: nobody says where it begins and ends; nothing is "
                "trimmed",
                hint="see `logd cluster partitions`, or choose other partitions with -p",
            )
    return chosen
