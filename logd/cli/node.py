"""`logd node …`: who belongs to the cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from logd.cli.complete import node_ids
from logd.cli.exits import UsageProblem
from logd.cli.options import Command, group, invocation_of
from logd.cli.times import parse_timeout_seconds

app = group("Add, remove and replace the nodes of a cluster.", name="node")

Number = Annotated[int, typer.Argument(metavar="N", min=0, autocompletion=node_ids)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")
]
Wait = Annotated[
    str,
    typer.Option("--wait", metavar="TIME", help="How long to try while the cluster is not ready."),
]


def _seconds(text: str) -> float:
    try:
        return parse_timeout_seconds(text)
    except ValueError as error:
        raise UsageProblem(f"--wait: {error}") from None


ADD_HELP = """Make a node a voter of the metadata quorum.

The node must run, and have registered itself; until now it has observed. While it has still to
catch up, the command waits and shows how far it is. A node that votes already is no error. The
nodes that cluster.peers names become voters by themselves.

\b
Examples:
  logd node add 4
  logd node add 4 --dry-run
  logd node add 4 --wait 10m
"""


@app.command("add", cls=Command, help=ADD_HELP)
def add(ctx: typer.Context, number: Number, dry_run: DryRun = False, wait: Wait = "60s") -> None:
    from logd.cli import members
    from logd.cli.connect import open_admin

    invocation = invocation_of(ctx)
    seconds = _seconds(wait)
    with open_admin(invocation) as admin:
        members.add(invocation, admin, number, dry_run=dry_run, wait_seconds=seconds)


REMOVE_HELP = """Take a node out of the cluster for good.

It votes no more, its registration ends, and its data directory can never come back. The node may
be down. It is refused while partitions have replicas on the node, unless --drain moves them to
other nodes first, and where those that stay could decide nothing. It asks first when it runs at a
terminal; elsewhere, and with -y, it does not.

\b
Examples:
  logd node remove 4
  logd node remove 4 --dry-run
  logd node remove 4 --drain
"""


@app.command("remove", cls=Command, help=REMOVE_HELP)
def remove(
    ctx: typer.Context,
    number: Number,
    drain: Annotated[
        bool, typer.Option("--drain", help="Move its replicas to other nodes first.")
    ] = False,
    dry_run: DryRun = False,
    wait: Wait = "30s",
) -> None:
    from logd.cli import members
    from logd.cli.connect import open_admin

    invocation = invocation_of(ctx)
    seconds = _seconds(wait)
    with open_admin(invocation) as admin:
        members.remove(
            invocation, admin, number, drains=drain, dry_run=dry_run, wait_seconds=seconds
        )


REPLACE_HELP = """Give up the lost data directory of a node, so that it may come back with another.

The node keeps its id and its replicas, which are filled again. It must be down, and it is refused
where its directory holds the only full copy of a partition. It asks first when it runs at a
terminal; elsewhere, and with -y, it does not.

\b
Examples:
  logd node replace 2                    then start node 2 with an empty data directory
  logd node replace 2 --dry-run
  logd node replace 2 --accept-data-loss
"""


@app.command("replace", cls=Command, help=REPLACE_HELP)
def replace(
    ctx: typer.Context,
    number: Number,
    dry_run: DryRun = False,
    accept_data_loss: Annotated[
        bool,
        typer.Option(
            "--accept-data-loss",
            help="Also where records are lost that no other node has.",
        ),
    ] = False,
    wait: Wait = "30s",
) -> None:
    from logd.cli import members
    from logd.cli.connect import open_admin

    invocation = invocation_of(ctx)
    seconds = _seconds(wait)
    with open_admin(invocation) as admin:
        members.replace(
            invocation,
            admin,
            number,
            dry_run=dry_run,
            accept_data_loss=accept_data_loss,
            wait_seconds=seconds,
        )
