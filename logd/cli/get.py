"""`logd get`: the newest value of a key."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from logd_wire.errors import UnknownTopicError

from logd.cli.complete import topic_names
from logd.cli.exits import NotFound
from logd.cli.options import Format, invocation_of

if TYPE_CHECKING:
    from logd_client import TopicPartition

    from logd.cli.options import Invocation

HELP = """Print the newest value of a key.

It is a scan: every record of the key's partition is read, from the first to the last one there is
now, and how many those were is said on stderr. A compacted topic makes it shorter; for many keys,
read the topic once with consume.

The partition is the one that a producer chooses for the key; -p names another one. Exit code 4:
there is no record of the key, or the newest one has no value (the key was deleted).

\b
Examples:
  logd get users alice
  logd get users alice -J           with offset, time and headers
  logd get users alice -p 3         looked for in partition 3
"""


def get(
    ctx: typer.Context,
    topic: Annotated[
        str,
        typer.Argument(metavar="TOPIC", help="Where to look.", autocompletion=topic_names),
    ],
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its bytes, as UTF-8.")],
    partition: Annotated[
        int | None,
        typer.Option(
            "--partition", "-p", min=0, metavar="N", help="Look here and not where the key belongs."
        ),
    ] = None,
    json_line: Annotated[
        bool, typer.Option("--json", "-J", help="A JSON document with kcat's keys.")
    ] = False,
) -> None:
    """Print the newest value of a key."""
    from logd.cli.connect import open_admin, open_consumer, suggest_topic
    from logd.cli.records import as_json, raw

    invocation = invocation_of(ctx)
    wanted = key.encode("utf-8", "surrogateescape")
    with open_admin(invocation) as admin:
        try:
            info = admin.describe_topic(topic)
        except UnknownTopicError as error:
            raise suggest_topic(error, topic, invocation) from None
    where = _place(topic, len(info.partitions), wanted, partition)
    with open_consumer(invocation) as consumer:
        found = _newest(invocation, consumer, where, wanted)
    shown = f"{topic}[{where.partition}]"
    if found is None:
        raise NotFound(f"no record of key {key!r} in {shown}")
    if found.value is None:
        raise NotFound(f"key {key!r} was deleted at offset {found.offset} of {shown}")
    as_document = json_line or invocation.format is Format.JSON
    render = as_json(indent=None, with_value=True) if as_document else raw
    sys.stdout.buffer.write(render(found))


def _place(topic: str, partitions: int, key: bytes, partition: int | None) -> TopicPartition:
    from logd_client import TopicPartition
    from logd_wire import partition_for_key

    if partition is None:
        return TopicPartition(topic, partition_for_key(key, partitions))
    if partition >= partitions:
        raise UnknownTopicError(
            f"topic {topic!r} has no partition {partition}", hint=f"it has 0 to {partitions - 1}"
        )
    return TopicPartition(topic, partition)


def _newest(invocation: Invocation, consumer: Any, where: TopicPartition, key: bytes) -> Any:
    """Read the partition to its end of this moment; the last record of the key, or None."""
    from logd.cli.consuming import plan_ranges, read_ranges
    from logd.cli.offsets import parse_selection
    from logd.model.units import rough_size

    ranges = plan_ranges(consumer, [where], parse_selection("start", 0), stop_at_end=True)
    newest = None
    count = size = 0
    for records in read_ranges(consumer, ranges, None):
        for record in records:
            count += 1
            size += len(record.key or b"") + len(record.value or b"")
            if record.key == key:
                newest = record
    invocation.say(
        f"looked at {count:,} records ({rough_size(size)}) of {where.topic}[{where.partition}]"
    )
    return newest
