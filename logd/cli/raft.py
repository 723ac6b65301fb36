"""`logd raft …`: the metadata quorum and its log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from logd.cli.complete import node_ids
from logd.cli.exits import UsageProblem
from logd.cli.options import Command, Format, group, invocation_of

app = group("Look at the metadata quorum and its log.", name="raft")

NodeOption = Annotated[
    int | None,
    typer.Option(
        "--node", min=0, metavar="N", autocompletion=node_ids, help="Only as this node knows it."
    ),
]

STATUS_HELP = """Show each node's part in the metadata quorum, and how far the others are.

Every node is asked for itself. One that does not answer is shown with the reason.

\b
Examples:
  logd raft status
  logd raft status --node 2              one node
  logd raft status -F json
"""


@app.command("status", cls=Command, help=STATUS_HELP)
def status(ctx: typer.Context, node: NodeOption = None) -> None:
    from logd.cli import raft_view
    from logd.cli.connect import open_admin

    invocation = invocation_of(ctx)
    with open_admin(invocation) as admin:
        if node is not None:
            found = raft_view.Quorum([admin.describe_quorum(node)], {})
        else:
            found = raft_view.ask_all(admin)
    raft_view.emit_status(invocation, found)


LOG_HELP = """Show the metadata log in words, one line a record.

The newest records are shown, or those from --from on. A log is read from a node that answers, from
the one that is named, or offline from the data directory of a node that is stopped.

\b
Examples:
  logd raft log
  logd raft log --from 0 -n 50
  logd raft log -f                       and go on with what comes
  logd raft log --node 2 -F json
  logd raft log --data-dir /var/lib/logd
"""


@app.command("log", cls=Command, help=LOG_HELP)
def log(
    ctx: typer.Context,
    start: Annotated[
        int | None, typer.Option("--from", min=0, metavar="N", help="First index to show.")
    ] = None,
    count: Annotated[
        int, typer.Option("--number", "-n", min=1, metavar="N", help="How many entries.")
    ] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")
    ] = False,
    node: NodeOption = None,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="Read this folder, without a node."),
    ] = None,
) -> None:
    from logd.cli import raft_view
    from logd.cli.connect import open_admin

    invocation = invocation_of(ctx)
    if data_dir is not None and (follow or node is not None):
        other = "--follow" if follow else "--node"
        raise UsageProblem(f"--data-dir reads a folder at rest: it excludes {other}")
    if follow and invocation.format not in (None, Format.TABLE, Format.WIDE, Format.JSON):
        raise UsageProblem(f"-F {invocation.format} ends: with --follow use table or json")
    if data_dir is not None:
        raft_view.show_folder(invocation, data_dir, start, count)
        return
    with open_admin(invocation) as admin:
        pages = raft_view.Pages(admin, node)
        if follow:
            raft_view.follow(invocation, pages, start, count)
        else:
            raft_view.emit_log(invocation, pages.read(start, count))
