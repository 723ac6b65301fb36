"""`logd consume`."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from logd_wire.errors import UnknownTopicError

from logd.cli.complete import topic_names
from logd.cli.exits import UsageProblem
from logd.cli.options import Format, Invocation, invocation_of
from logd.cli.topic import parse_partitions

if TYPE_CHECKING:
    from logd_client import Consumer, TopicPartition

    from logd.cli.consuming import Range
    from logd.cli.records import Render

HELP = """Read records and print them.

Without -f and -J the value's bytes are printed unchanged, each followed by a newline. Reading
begins at the start of every partition and goes on until Ctrl-C, unless -e, -n or the end of a
range says otherwise.

\b
-o, for each partition:
  start | end          the first record kept | only what comes from now on
  42 | +5 | -10        from offset 42 | from 5 after the start | the last 10
  @1700000000000       from a time: ms or s since 1970, -1h, now, 2026-11-01T10:00:00Z
  10:20  :end  @-1h:end    a range of what is there: the first included, the second excluded

\b
-f, byte for byte (nothing is added, so end it with \\n):
  %t topic  %p partition  %o offset  %k key  %v or %s value  %h headers
  %T time in ms  %K %S sizes of key and value  %% percent  \\n \\t \\xHH

\b
-g: as a member of a group, with other members; what was printed is committed, and -o start or end
says where the group begins in partitions of which it has committed nothing.

\b
Examples:
  logd consume orders                        everything, and what comes
  logd consume orders -o -10 -e              the last 10 of each partition
  logd consume orders -o @-1h:end -J         the last hour, as JSON
  logd consume orders -g mailers             as a member of the group mailers
  logd consume orders -p 0 -o 100:200 -f '%t[%p]@%o %k=%v\\n'
"""


def consume(
    ctx: typer.Context,
    topics: Annotated[
        list[str],
        typer.Argument(metavar="TOPIC", help="What to read.", autocompletion=topic_names),
    ],
    offset: Annotated[
        str, typer.Option("--offset", "-o", metavar="WHERE", help="Where to start and stop.")
    ] = "start",
    partitions: Annotated[
        str | None,
        typer.Option("--partitions", "-p", metavar="N[,N…]", help="Only these partitions."),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option("--number", "-n", min=0, metavar="N", help="Stop after so many in all."),
    ] = None,
    exit_at_end: Annotated[
        bool,
        typer.Option("--exit-at-end", "-e", help="Stop at the end offset seen at the beginning."),
    ] = False,
    template: Annotated[
        str | None, typer.Option("--template", "-f", metavar="FORMAT", help="How to print.")
    ] = None,
    json_lines: Annotated[
        bool, typer.Option("--json", "-J", help="One JSON document a line, with kcat's keys.")
    ] = False,
    pretty: Annotated[bool, typer.Option("--pretty", help="JSON over several lines.")] = False,
    grep: Annotated[
        str | None,
        typer.Option("--grep", metavar="REGEX", help="Only records whose value matches."),
    ] = None,
    meta_only: Annotated[
        bool, typer.Option("--meta-only", help="JSON without the value, but with its size.")
    ] = False,
    group: Annotated[
        str | None,
        typer.Option("--group", "-g", metavar="GROUP", help="Read as a member of this group."),
    ] = None,
) -> None:
    """Read records and print them."""
    from logd.cli.offsets import parse_selection

    invocation = invocation_of(ctx)
    render = _renderer(invocation, template, json_lines=json_lines, pretty=pretty, meta=meta_only)
    wanted = _filter(grep)
    numbers = parse_partitions(partitions)
    if group is not None:
        if numbers is not None:
            raise UsageProblem("-p with -g: the group says which partitions are read")
        _consume_as_member(
            invocation, topics, render, wanted, group, number, offset, exit_at_end=exit_at_end
        )
        return
    try:
        selection = parse_selection(offset, int(time.time() * 1000))
    except ValueError as error:
        raise UsageProblem(f"-o: {error}") from None
    if number == 0:
        return
    from logd.cli.connect import open_admin, open_consumer
    from logd.cli.consuming import plan_ranges

    with open_admin(invocation) as admin, open_consumer(invocation) as consumer:
        chosen = _partitions_of(invocation, admin, topics, numbers)
        ranges = plan_ranges(consumer, chosen, selection, stop_at_end=exit_at_end)
        _warn_about_gone(invocation, ranges)
        _print_records(invocation, consumer, ranges, render, wanted, number)


def _consume_as_member(
    invocation: Invocation,
    topics: list[str],
    render: Render,
    wanted: Callable[[Any], bool] | None,
    group: str,
    number: int | None,
    offset: str,
    *,
    exit_at_end: bool,
) -> None:
    from logd.cli.connect import open_admin, open_consumer
    from logd.cli.group_consuming import read_as_member, reset_of

    options = {"group_id": group, "auto_offset_reset": reset_of(offset)}
    if number == 0:
        return
    with open_admin(invocation) as admin, open_consumer(invocation, **options) as consumer:
        chosen = _partitions_of(invocation, admin, topics, None)
        ends = consumer.end_offsets(chosen) if exit_at_end else None
        consumer.subscribe(topics)
        _print_all(invocation, read_as_member(consumer, ends, wanted, number), render, number)


def _renderer(
    invocation: Invocation, template: str | None, *, json_lines: bool, pretty: bool, meta: bool
) -> Render:
    from logd.cli.records import as_json, by_template, raw

    if invocation.format in (Format.YAML, Format.NAME):
        raise UsageProblem(
            f"-F {invocation.format.value} is for lists; consume prints values, -J or -f FORMAT"
        )
    as_documents = json_lines or pretty or meta or invocation.format is Format.JSON
    if template is not None and as_documents:
        raise UsageProblem("-f and JSON (-J, --pretty, --meta-only, -F json) exclude each other")
    if template is not None:
        return by_template(template)
    if as_documents:
        return as_json(indent=2 if pretty else None, with_value=not meta)
    return raw


def _filter(grep: str | None) -> Callable[[Any], bool] | None:
    if grep is None:
        return None
    try:
        search = re.compile(grep.encode("utf-8", "surrogateescape")).search
    except re.error as error:
        raise UsageProblem(f"--grep: {grep!r} is not a regular expression: {error}") from None
    return lambda record: search(record.value or b"") is not None


def _partitions_of(
    invocation: Invocation, admin: Any, topics: list[str], numbers: list[int] | None
) -> list[TopicPartition]:
    from logd_client import TopicPartition

    from logd.cli.connect import suggest_topic

    chosen = []
    for topic in topics:
        try:
            found = [item.partition for item in admin.describe_topic(topic).partitions]
        except UnknownTopicError as error:
            raise suggest_topic(error, topic, invocation) from None
        for missing in sorted(set(numbers or ()) - set(found)):
            raise UnknownTopicError(
                f"topic {topic!r} has no partition {missing}", hint=f"it has 0 to {len(found) - 1}"
            )
        chosen += [TopicPartition(topic, n) for n in (found if numbers is None else numbers)]
    return chosen


def _warn_about_gone(invocation: Invocation, ranges: dict[TopicPartition, Range]) -> None:
    for partition, limits in sorted(ranges.items()):
        if 0 <= limits.since < limits.start_offset and limits.position == limits.start_offset:
            invocation.say(
                f"{partition.topic}[{partition.partition}]: offsets below {limits.start_offset} "
                "are gone (trimmed or past retention); reading from there"
            )


def _print_records(
    invocation: Invocation,
    consumer: Consumer[bytes, bytes],
    ranges: dict[TopicPartition, Range],
    render: Render,
    wanted: Callable[[Any], bool] | None,
    number: int | None,
) -> None:
    from logd.cli.consuming import read_ranges

    _print_all(invocation, read_ranges(consumer, ranges, wanted), render, number)


def _print_all(
    invocation: Invocation, found: Iterator[list[Any]], render: Render, number: int | None
) -> None:
    out = sys.stdout.buffer
    left = number
    count = 0
    for records in found:
        shown = records if left is None else records[:left]
        if shown:
            out.write(b"".join([render(record) for record in shown]))
            out.flush()
            count += len(shown)
        if left is not None:
            left -= len(shown)
            if left == 0:
                # Whoever reads as a member is told that the last ones are shown.
                next(found, None)
                break
    if invocation.verbose:
        invocation.say(f"{count} records")
