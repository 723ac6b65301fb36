"""`logd dev …`: a cluster of processes on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from logd.cli.exits import UsageProblem
from logd.cli.options import Command, Invocation, group, invocation_of

if TYPE_CHECKING:
    from pathlib import Path

    from logd.cli.local.layout import LocalCluster

app = group(
    "Run a cluster of three nodes on this machine, each in a process of its own.", name="dev"
)

UP_HELP = """Start the cluster, or those of its nodes that do not run; return once writes succeed.

The nodes go on in the background, with their data, their logs and their configuration in
$XDG_STATE_HOME/logd/dev (~/.local/state/logd/dev). What was written is there again after a
`down` and an `up`. Topics are created by producing to them. Clients find the nodes at ports from
--base-port on, the nodes find each other at the ports after these.

\b
Examples:
  logd dev up
  echo hello | logd produce greetings && logd consume greetings -e
  logd dev up --nodes 5 --base-port 17171
  logd dev kill 2 && logd cluster nodes
"""

Number = Annotated[int, typer.Argument(metavar="N", help="Number of the node.", show_default=False)]


@app.command("up", cls=Command, help=UP_HELP)
def up(
    ctx: typer.Context,
    nodes: Annotated[
        int | None,
        typer.Option("--nodes", min=1, max=9, metavar="N", help="How many; 3 unless it exists."),
    ] = None,
    base_port: Annotated[
        int | None,
        typer.Option(
            "--base-port",
            min=1,
            max=65535,
            metavar="PORT",
            help="First of the ports; 7171 unless the cluster exists.",
        ),
    ] = None,
) -> None:
    from logd.cli.connect import start_time_limit
    from logd.cli.local import cluster, layout

    invocation = invocation_of(ctx)
    start_time_limit(invocation)
    folder = layout.state_folder(invocation.environ)
    with layout.locked(folder):
        chosen = _chosen(layout.load(folder), nodes, base_port, invocation)
        cluster.up(chosen, invocation.environ, invocation.say)
    addresses = ",".join(node.address for node in chosen.nodes)
    if chosen.base_port != layout.BASE_PORT_DEFAULT:
        invocation.say(f"export LOGD_BOOTSTRAP={addresses}")
    _emit(invocation, chosen)


def _chosen(
    existing: LocalCluster | None, nodes: int | None, base_port: int | None, invocation: Invocation
) -> LocalCluster:
    """The cluster that exists, or a new one; raises UsageProblem when other things are asked of
    the one that exists."""
    from logd.cli.local import layout

    if existing is None:
        made = layout.LocalCluster(
            layout.state_folder(invocation.environ),
            layout.BASE_PORT_DEFAULT if base_port is None else base_port,
            layout.NODES_DEFAULT if nodes is None else nodes,
        )
        if made.last_port > layout.PORT_MAX:
            raise UsageProblem(
                f"--base-port {made.base_port}: {made.count} nodes need {2 * made.count} ports, "
                f"and {layout.PORT_MAX} is the last one"
            )
        return made
    for option, asked, has in (
        ("--nodes", nodes, existing.count),
        ("--base-port", base_port, existing.base_port),
    ):
        if asked is not None and asked != has:
            raise UsageProblem(
                f"{option} {asked}: the cluster in {existing.folder} was made with {has} "
                "(leave the option out, or delete the cluster: logd dev down --delete)"
            )
    return existing


DOWN_HELP = """Stop every node in good order. The data stays, unless --delete is given.

\b
Examples:
  logd dev down
  logd dev down --delete -y              with all data
"""


@app.command("down", cls=Command, help=DOWN_HELP)
def down(
    ctx: typer.Context,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the cluster with all its data.")
    ] = False,
) -> None:
    from logd.cli.connect import start_time_limit
    from logd.cli.local import cluster, layout
    from logd.cli.topic import confirm

    invocation = invocation_of(ctx)
    folder = layout.state_folder(invocation.environ)
    if delete and folder.exists():
        confirm(invocation, f"Delete the cluster in {folder} with all records?")
    start_time_limit(invocation)
    if not folder.exists():
        invocation.say("no node runs")
        return
    with layout.locked(folder):
        existing = _to_be_deleted(folder) if delete else layout.load(folder)
        if existing is None:
            invocation.say("no node runs")
        else:
            cluster.down(existing, invocation.say)
        if delete:
            layout.delete(folder)
            invocation.say(f"deleted what was in {folder}")


def _to_be_deleted(folder: Path) -> LocalCluster:
    """The cluster; where its file cannot be understood, every node that it could have."""
    from logd_wire.errors import ConfigError

    from logd.cli.local import layout

    try:
        found = layout.load(folder)
    except ConfigError:
        found = None
    return found or layout.LocalCluster(folder, layout.BASE_PORT_DEFAULT, layout.NODES_MAX)


STATUS_HELP = """Show which nodes run, where, and with which data.

A node is running, starting (its process is there and its port does not answer yet) or stopped.
What the nodes think of each other: logd cluster nodes.

\b
Examples:
  logd dev status
  logd dev status -F json
"""


@app.command("status", cls=Command, help=STATUS_HELP)
def status(ctx: typer.Context) -> None:
    from logd.cli.local import layout

    invocation = invocation_of(ctx)
    _emit(invocation, layout.load(layout.state_folder(invocation.environ)))


KILL_HELP = """End a node at once, as a crash would (SIGKILL). Nothing starts it again by itself.

\b
Examples:
  logd dev kill 2
"""


@app.command("kill", cls=Command, help=KILL_HELP)
def kill(ctx: typer.Context, number: Number) -> None:
    from logd.cli.local import cluster, layout

    invocation = invocation_of(ctx)
    existing = _existing(invocation)
    with layout.locked(existing.folder):
        cluster.kill(existing.node(number), invocation.say)


START_HELP = """Start a node that was killed or has stopped; return once it serves.

\b
Examples:
  logd dev start 2
"""


@app.command("start", cls=Command, help=START_HELP)
def start(ctx: typer.Context, number: Number) -> None:
    from logd.cli.connect import start_time_limit
    from logd.cli.local import cluster, layout

    invocation = invocation_of(ctx)
    start_time_limit(invocation)
    existing = _existing(invocation)
    with layout.locked(existing.folder):
        node = existing.node(number)
        cluster.start(existing, node, invocation.environ, invocation.say)


def _existing(invocation: Invocation) -> LocalCluster:
    """Raises ConfigError when there is none."""
    from logd_wire.errors import ConfigError

    from logd.cli.local import layout

    folder = layout.state_folder(invocation.environ)
    found = layout.load(folder)
    if found is None:
        raise ConfigError(f"there is no cluster in {folder}", hint="make one: logd dev up")
    return found


def _emit(invocation: Invocation, existing: LocalCluster | None) -> None:
    from logd.cli.local import cluster
    from logd.cli.output import emit

    found = cluster.status(existing) if existing is not None else []
    document = [
        {
            "id": each.node.id,
            "pid": each.pid,
            "address": each.node.address,
            "data_dir": str(each.node.data_dir),
            "state": each.state,
        }
        for each in found
    ]
    emit(
        invocation,
        document={"nodes": document},
        tables=[
            (
                "nodes",
                ["ID", "PID", "ADDRESS", "STATE", "DATA"],
                [
                    [each.node.id, each.pid, each.node.address, each.state, each.node.data_dir]
                    for each in found
                ],
            )
        ],
        names=[each.node.address for each in found],
    )
