"""`logd group …`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logd.cli.complete import group_ids, topic_names
from logd.cli.exits import UsageProblem
from logd.cli.options import Command, group, invocation_of
from logd.cli.topic import confirm

if TYPE_CHECKING:
    from logd_client import Admin

app = group("List, describe, move, delete consumer groups; see how far they are.", name="group")

GroupId = Annotated[str, typer.Argument(metavar="GROUP", autocompletion=group_ids)]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Again every two seconds.")]
#: How often --watch looks.
INTERVAL_S = 2.0


def _again(watch: bool, show: Callable[[], None]) -> None:
    show()
    while watch:
        sys.stdout.flush()
        time.sleep(INTERVAL_S)
        print()
        show()


LIST_HELP = """List consumer groups.

\b
Examples:
  logd group list
  logd group list -F name
"""


def list_groups(ctx: typer.Context) -> None:
    """List consumer groups."""
    from logd.cli import group_view
    from logd.cli.connect import open_admin

    invocation = invocation_of(ctx)
    with open_admin(invocation) as admin:
        group_view.emit_list(invocation, admin.list_groups())


app.command("list", cls=Command, help=LIST_HELP)(list_groups)
app.command("ls", cls=Command, help="The same as list.", hidden=True)(list_groups)


DESCRIBE_HELP = """Describe a consumer group: members, what each has, commits and lag.

\b
Examples:
  logd group describe mailers
  logd group describe mailers -m         only the members
  logd group describe mailers -c         committed offsets and lag of each partition
  logd group describe mailers -t -w      lag by topic, again and again
  logd group describe mailers -F json
"""


@app.command("describe", cls=Command, help=DESCRIBE_HELP)
def describe(
    ctx: typer.Context,
    group_id: GroupId,
    summary: Annotated[bool, typer.Option("--summary", "-s", help="Only the summary.")] = False,
    members: Annotated[bool, typer.Option("--members", "-m", help="Only the members.")] = False,
    commits: Annotated[
        bool, typer.Option("--commits", "-c", help="Only offsets and lag of each partition.")
    ] = False,
    topics: Annotated[bool, typer.Option("--topics", "-t", help="Only the lag by topic.")] = False,
    watch: Watch = False,
) -> None:
    from logd.cli import group_view
    from logd.cli.connect import open_admin

    invocation = invocation_of(ctx)
    chosen = {"summary": summary, "members": members, "commits": commits, "topics": topics}
    parts = [part for part, wanted in chosen.items() if wanted] or ["summary", "members", "commits"]

    with open_admin(invocation) as admin:

        def show() -> None:
            found = admin.describe_group(group_id)
            group_view.emit_description(invocation, found, admin.group_lag(group_id), parts)

        _again(watch, show)


LAG_HELP = """Show how far groups are behind, in records and in time; all groups when none is named.

The time is how long ago the first record was appended that the group has not finished.

\b
Examples:
  logd group lag
  logd group lag mailers -w
  logd group lag mailers --fail-over 1000    exit 10 when the lag is above
"""


@app.command("lag", cls=Command, help=LAG_HELP)
def lag(
    ctx: typer.Context,
    group_id: Annotated[
        str | None, typer.Argument(metavar="[GROUP]", autocompletion=group_ids)
    ] = None,
    watch: Watch = False,
    fail_over: Annotated[
        int | None,
        typer.Option(
            "--fail-over",
            min=0,
            metavar="N",
            help="Exit 10 when a group is more records behind, or nobody knows how many.",
        ),
    ] = None,
) -> None:
    from logd.cli import group_view
    from logd.cli.connect import open_admin
    from logd.cli.exits import ExitCode

    invocation = invocation_of(ctx)
    totals: dict[str, int | None] = {}
    with open_admin(invocation) as admin:

        def show() -> None:
            totals.clear()
            found = []
            for each in [group_id] if group_id is not None else _group_ids(admin):
                lags = admin.group_lag(each)
                totals[each] = group_view.total(lags)
                found += [(each, one) for one in lags]
            group_view.emit_lags(invocation, found)

        _again(watch, show)
    if fail_over is not None and any(
        total is None or total > fail_over for total in totals.values()
    ):
        raise typer.Exit(ExitCode.UNHEALTHY)


def _group_ids(admin: Admin) -> list[str]:
    return [each.group_id for each in admin.list_groups()]


SEEK_HELP = """Move a group that has no members; shows what would change, and changes it with -y.

+N and -N count from what is committed. Offsets outside of the log become its first or its end,
those of --to-file are refused. Topics: those where the group has committed something, or --topic.

\b
Examples:
  logd group seek mailers --to start                  shows what would change
  logd group seek mailers --to @-1h --topic orders -y
  logd group seek mailers --to -100 -y
  logd group seek mailers --to-group mailers-2 -y
  logd group seek mailers --to-file offsets.txt -y     lines of TOPIC PARTITION OFFSET
"""


@app.command("seek", cls=Command, help=SEEK_HELP)
def seek(
    ctx: typer.Context,
    group_id: GroupId,
    to: Annotated[
        str | None, typer.Option("--to", metavar="PLACE", help="start, end, @TIME, +N or -N.")
    ] = None,
    to_group: Annotated[
        str | None,
        typer.Option(
            "--to-group", metavar="GROUP", help="Where this group is.", autocompletion=group_ids
        ),
    ] = None,
    to_file: Annotated[
        str | None, typer.Option("--to-file", metavar="FILE", help="Offsets of a file.")
    ] = None,
    topics: Annotated[
        list[str] | None,
        typer.Option(
            "--topic",
            "-t",
            metavar="TOPIC",
            help="Only this; repeatable.",
            autocompletion=topic_names,
        ),
    ] = None,
) -> None:
    from logd.cli import group_view
    from logd.cli.connect import open_admin
    from logd.cli.seeking import parse_place, read_offsets

    invocation = invocation_of(ctx)
    dry_run = not invocation.yes
    if sum(each is not None for each in (to, to_group, to_file)) != 1:
        raise UsageProblem("say where to go, with one of --to, --to-group and --to-file, not more")
    place: dict[str, Any] = {}
    if to is not None:
        place = parse_place(to)
    elif to_file is not None:
        place = {"to": read_offsets(to_file)}
    with open_admin(invocation) as admin:
        if to_group is not None:
            place = {"to": admin.group_offsets(to_group)}
            if not place["to"]:
                raise UsageProblem(f"--to-group: {to_group} has committed nothing")
        changes = admin.alter_group_offsets(group_id, **place, topics=topics or (), dry_run=dry_run)
    group_view.emit_changes(invocation, changes, dry_run=dry_run)
    if not changes:
        invocation.say(f"nothing to move: {group_id} has committed nothing there")
    elif dry_run:
        invocation.say("nothing was changed: -y does it")


DELETE_HELP = """Forget groups that have no members, with their committed offsets.

It asks first when it runs at a terminal; elsewhere, and with -y, it does not.

\b
Examples:
  logd group delete mailers
  logd group delete old-1 old-2 -y
"""


@app.command("delete", cls=Command, help=DELETE_HELP)
def delete(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="GROUP", autocompletion=group_ids)],
) -> None:
    from logd.cli.connect import open_admin

    invocation = invocation_of(ctx)
    confirm(invocation, f"Forget {', '.join(names)} and where they are?")
    with open_admin(invocation) as admin:
        for group_id in names:
            admin.delete_group(group_id)
            invocation.say(f"{group_id} deleted")
