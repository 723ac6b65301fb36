"""`logd topic …`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer
from logd_wire.errors import LogdError, TopicExistsError, UnknownTopicError

from logd.cli.complete import topic_names
from logd.cli.exits import UsageProblem
from logd.cli.options import Command, group, invocation_of

if TYPE_CHECKING:
    from logd.cli.options import Invocation

app = group("Create, list, describe, alter, delete, trim and compact topics.", name="topic")

Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=topic_names)]
Names = Annotated[list[str], typer.Argument(metavar="NAME", autocompletion=topic_names)]
ConfigOption = Annotated[
    list[str] | None,
    typer.Option("--config", "-c", metavar="K=V", help="Setting, such as retention.ms=3600000."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")]


def parse_pairs(option: str, items: list[str] | None) -> dict[str, str]:
    """`k=v` items as a mapping. Raises UsageProblem."""
    pairs = {}
    for item in items or ():
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise UsageProblem(f"{option} {item!r}: write KEY=VALUE, as in retention.ms=3600000")
        pairs[key] = value
    return pairs


CREATE_HELP = """Create one or more topics.

\b
Examples:
  logd topic create orders
  logd topic create orders payments -p 6 -c retention.ms=86400000
  logd topic create orders --if-not-exists
"""


@app.command("create", cls=Command, help=CREATE_HELP)
def create(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME")],
    partitions: Annotated[
        int, typer.Option("--partitions", "-p", min=1, metavar="N", help="How many partitions.")
    ] = 1,
    replication_factor: Annotated[
        int,
        typer.Option(
            "--replication-factor",
            "--rf",
            "-r",
            min=-1,
            metavar="N",
            help="Replicas; -1: as many as the cluster's default says.",
        ),
    ] = -1,
    config: ConfigOption = None,
    if_not_exists: Annotated[
        bool, typer.Option("--if-not-exists", help="An existing topic is no error.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    from logd.cli import topic_view
    from logd.cli.connect import open_admin

    invocation = invocation_of(ctx)
    settings = parse_pairs("-c", config)
    made = []
    with open_admin(invocation) as admin:
        for name in names:
            try:
                info = admin.create_topic(
                    name,
                    partitions=partitions,
                    replication_factor=replication_factor,
                    config=settings,
                    validate_only=dry_run,
                )
            except TopicExistsError:
                if not if_not_exists:
                    raise
                invocation.say(f"{name} exists already, left as it is")
                continue
            verb = "could be created" if dry_run else "created"
            invocation.say(f"{name} {verb} with {_count(len(info.partitions), 'partition')}")
            made.append(info)
    if invocation.format is not None:
        topic_view.emit_list(invocation, made, wide=True)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


LIST_HELP = """List topics.

\b
Examples:
  logd topic list
  logd topic list -r '^orders' -F name
  logd topic list -d -F json
"""


def list_topics(
    ctx: typer.Context,
    detailed: Annotated[
        bool, typer.Option("--detailed", "-d", help="With ids, offsets and sizes.")
    ] = False,
    internal: Annotated[
        bool, typer.Option("--internal", "-i", help="With topics of the system itself.")
    ] = False,
    regex: Annotated[
        str | None,
        typer.Option("--regex", "-r", metavar="REGEX", help="Only names it is found in."),
    ] = None,
) -> None:
    """List topics."""
    from logd.cli import topic_view
    from logd.cli.connect import open_admin
    from logd.cli.options import Format

    invocation = invocation_of(ctx)
    try:
        pattern = re.compile(regex or "")
    except re.error as error:
        raise UsageProblem(f"-r: {regex!r} is not a regular expression: {error}") from None
    with open_admin(invocation) as admin:
        topics = admin.list_topics(include_internal=internal)
    shown = [info for info in topics if pattern.search(info.name)]
    wide = detailed or invocation.format is Format.WIDE
    topic_view.emit_list(invocation, shown, wide=wide)


app.command("list", cls=Command, help=LIST_HELP)(list_topics)
app.command("ls", cls=Command, help="The same as list.", hidden=True)(list_topics)


DESCRIBE_HELP = """Describe topics: partitions, offsets, configuration, and what a record survives.

\b
Examples:
  logd topic describe orders
  logd topic describe orders -p          only the partitions
  logd topic describe orders --cleanup   what is deletable and cleanable, when next, and why not
  logd topic describe orders -F json     one object; an array when there are several names
"""


def describe(
    ctx: typer.Context,
    names: Names,
    summary: Annotated[bool, typer.Option("--summary", "-s", help="Only the summary.")] = False,
    partitions: Annotated[
        bool, typer.Option("--partitions", "-p", help="Only the partitions.")
    ] = False,
    config: Annotated[bool, typer.Option("--config", "-c", help="Only the configuration.")] = False,
    cleanup: Annotated[
        bool, typer.Option("--cleanup", help="Only what goes next, when, and why not now.")
    ] = False,
) -> None:
    """Describe topics."""
    from logd.cli import topic_view
    from logd.cli.connect import open_admin, suggest_topic

    invocation = invocation_of(ctx)
    everything = not (summary or partitions or config or cleanup)
    found = []
    with open_admin(invocation) as admin:
        for name in names:
            try:
                found.append(admin.describe_topic(name, copies=cleanup or everything))
            except UnknownTopicError as error:
                raise suggest_topic(error, name, invocation) from None
        members = admin.describe_cluster().members
    topic_view.emit_description(
        invocation,
        found,
        members,
        summary=summary or everything,
        partitions=partitions or everything,
        config=config or everything,
        cleanup=cleanup or everything,
    )


app.command("describe", cls=Command, help=DESCRIBE_HELP)(describe)
app.command("info", cls=Command, help="The same as describe.", hidden=True)(describe)


ALTER_HELP = """Change a topic's configuration, or add partitions.

Adding partitions changes which partition a key goes to.

\b
Examples:
  logd topic alter orders -c retention.ms=3600000
  logd topic alter orders --delete-config retention.ms
  logd topic alter orders -p 12
"""


@app.command("alter", cls=Command, help=ALTER_HELP)
def alter(
    ctx: typer.Context,
    name: Name,
    config: ConfigOption = None,
    delete_config: Annotated[
        list[str] | None,
        typer.Option("--delete-config", metavar="KEY", help="Back to the default; repeatable."),
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option("--partitions", "-p", min=1, metavar="N", help="New number of partitions."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    from logd.cli.connect import open_admin, suggest_topic

    invocation = invocation_of(ctx)
    settings = parse_pairs("-c", config)
    if not settings and not delete_config and partitions is None:
        raise UsageProblem("nothing to change: give -c KEY=VALUE, --delete-config KEY or -p N")
    with open_admin(invocation) as admin:
        try:
            admin.alter_topic(
                name,
                set_config=settings,
                delete_config=delete_config or (),
                partitions=partitions,
                validate_only=dry_run,
            )
        except UnknownTopicError as error:
            raise suggest_topic(error, name, invocation) from None
    invocation.say(f"{name} {'could be changed' if dry_run else 'changed'}")


DELETE_HELP = """Delete topics with everything in them.

It asks first when it runs at a terminal; elsewhere, and with -y, it does not.

\b
Examples:
  logd topic delete orders
  logd topic delete tmp-1 tmp-2 -y
"""


@app.command("delete", cls=Command, help=DELETE_HELP)
def delete(
    ctx: typer.Context,
    names: Names,
    if_exists: Annotated[
        bool, typer.Option("--if-exists", help="A missing topic is no error.")
    ] = False,
) -> None:
    from logd.cli.connect import open_admin, suggest_topic

    invocation = invocation_of(ctx)
    confirm(invocation, f"Delete {', '.join(names)} with all records?")
    with open_admin(invocation) as admin:
        for name in names:
            try:
                admin.delete_topic(name)
            except UnknownTopicError as error:
                if if_exists:
                    continue
                raise suggest_topic(error, name, invocation) from None
            invocation.say(f"{name} deleted")


def confirm(invocation: Invocation, question: str) -> None:
    """Ask at a terminal, unless -y was given; raises KeyboardInterrupt for a no."""
    import sys

    if invocation.yes or not sys.stdin.isatty():
        return
    if not typer.confirm(question, err=True):
        raise KeyboardInterrupt


TRIM_HELP = """Remove the oldest records of a topic for good.

\b
Examples:
  logd topic trim orders --before @2026-11-01    what is older than that
  logd topic trim orders --before @-7d
  logd topic trim orders --before 1000 -p 0      offsets below 1000 of partition 0
  logd topic trim orders --before end            everything
"""


@app.command("trim", cls=Command, help=TRIM_HELP)
def trim(
    ctx: typer.Context,
    name: Name,
    before: Annotated[
        str,
        typer.Option("--before", metavar="WHERE", help="First record to keep, as in consume -o."),
    ],
    partitions: Annotated[
        str | None,
        typer.Option("--partitions", "-p", metavar="N[,N…]", help="Only these partitions."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    from logd.cli import trimming

    invocation = invocation_of(ctx)
    numbers = parse_partitions(partitions)
    bound = trimming.parse_before(before)
    if not dry_run:
        confirm(invocation, f"Remove records of {name} before {before} for good?")
    trimming.trim_topic(invocation, name, bound, numbers, dry_run=dry_run)


def parse_partitions(text: str | None) -> list[int] | None:
    """Numbers of `0,1,3`, sorted; None: all. Raises UsageProblem."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageProblem(f"-p: {text!r} is not a list of partition numbers such as 0,1")
    return sorted({int(part) for part in parts})


COMPACT_HELP = """Compact a topic now, whatever share of it is new.

Only topics with compact in cleanup.policy are compacted. Every node that has a replica is asked for
its own, and without --now does it when its turn comes; `logd topic describe NAME --cleanup` tells
how each stands. With --now the segments that are written to are closed first, and it waits for the
end. Records younger than min.compaction.lag.ms stay in any case.

\b
Examples:
  logd topic compact users
  logd topic compact users --now
  logd topic compact users --now -p 0,3
"""


@app.command("compact", cls=Command, help=COMPACT_HELP)
def compact(
    ctx: typer.Context,
    name: Name,
    now: Annotated[
        bool, typer.Option("--now", help="With the newest records, and wait for the end.")
    ] = False,
    partitions: Annotated[
        str | None,
        typer.Option("--partitions", "-p", metavar="N[,N…]", help="Only these partitions."),
    ] = None,
) -> None:
    from logd.cli import topic_view
    from logd.cli.connect import open_admin, suggest_topic

    invocation = invocation_of(ctx)
    numbers = parse_partitions(partitions)
    with open_admin(invocation) as admin:
        try:
            found = admin.compact_topic(name, numbers or (), now=now, wait=now)
        except UnknownTopicError as error:
            raise suggest_topic(error, name, invocation) from None
    topic_view.emit_compacted(invocation, name, found)


OFFSETS_HELP = """Show the first and the end offset of each partition.

\b
Examples:
  logd topic offsets orders
  logd topic offsets orders --at @-1h     with the offset of the first record since then
"""


@app.command("offsets", cls=Command, help=OFFSETS_HELP)
def offsets(
    ctx: typer.Context,
    name: Name,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="@TIME", help="With the first offset at or after it."),
    ] = None,
) -> None:
    from logd.cli import topic_view
    from logd.cli.connect import open_admin, open_consumer, suggest_topic
    from logd.cli.trimming import offsets_at, parse_at

    invocation = invocation_of(ctx)
    moment = None if at is None else parse_at(at)
    with open_admin(invocation) as admin:
        try:
            info = admin.describe_topic(name)
        except LogdError as error:
            raise suggest_topic(error, name, invocation) from None
    found = None
    if moment is not None:
        with open_consumer(invocation) as consumer:
            found = offsets_at(consumer, info, moment)
    topic_view.emit_offsets(invocation, info, found)
