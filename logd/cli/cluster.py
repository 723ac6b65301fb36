"""`logd cluster …` and `logd config …`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logd.cli.complete import node_ids, topic_names
from logd.cli.exits import UsageProblem
from logd.cli.options import Command, Format, group, invocation_of
from logd.cli.output import emit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logd.cli.health import Health

app = group("Look at the cluster.", name="cluster")
config_app = group("Look at configuration.", name="config")

INFO_HELP = """Show the cluster's identity, its controller, its voters and its nodes.

\b
Examples:
  logd cluster info
  logd cluster info -b node1:7171 --timeout 2s
"""


@app.command("info", cls=Command, help=INFO_HELP)
def info(ctx: typer.Context) -> None:
    from logd.cli.cluster_view import emit_cluster
    from logd.cli.connect import open_admin

    invocation = invocation_of(ctx)
    with open_admin(invocation) as admin:
        found = admin.describe_cluster()
    emit_cluster(invocation, found)


NODES_HELP = """List the nodes: where they are, who votes, who is counted on, how far they are.

LAG is how many entries of the metadata log a node lacks, as the controller knows it.

\b
Examples:
  logd cluster nodes
  logd cluster nodes -F wide             with the ids of data directories and of starts
  logd cluster nodes -F json
"""


@app.command("nodes", cls=Command, help=NODES_HELP)
def nodes(ctx: typer.Context) -> None:
    from logd.cli.cluster_view import emit_nodes
    from logd.cli.connect import open_admin
    from logd.cli.no_quorum import tell_no_quorum

    invocation = invocation_of(ctx)
    with open_admin(invocation) as admin:
        found = admin.describe_cluster()
    emit_nodes(invocation, found)
    tell_no_quorum(invocation, found)


PARTITIONS_HELP = """List partitions: who leads, who is in sync, and what is wrong with replicas.

ISR are the replicas in sync. ELIGIBLE are those that left it when it was too small to acknowledge
anything: they still hold all that was acknowledged, and may lead.

\b
Examples:
  logd cluster partitions
  logd cluster partitions orders payments
  logd cluster partitions --under-replicated          only those of which a replica is not in sync
  logd cluster partitions --under-replicated -F name  one TOPIC:PARTITION a line, for scripts
  logd cluster partitions --moving                    what is being reassigned, and how far it is
"""


@app.command("partitions", cls=Command, help=PARTITIONS_HELP)
def partitions(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TOPIC]...", help="Only these topics.", autocompletion=topic_names),
    ] = None,
    under_replicated: Annotated[
        bool, typer.Option("--under-replicated", help="Only those that lack a replica in sync.")
    ] = False,
    moving: Annotated[
        bool, typer.Option("--moving", help="Only those whose replicas move to other nodes.")
    ] = False,
) -> None:
    from logd_wire.errors import UnknownTopicError

    from logd.cli.connect import open_admin, suggest_topic
    from logd.cli.no_quorum import tell_no_quorum
    from logd.cli.partition_view import emit_partitions

    invocation = invocation_of(ctx)
    with open_admin(invocation) as admin:
        topics = [] if names else admin.list_topics(include_internal=True)
        for name in names or ():
            try:
                topics.append(admin.describe_topic(name))
            except UnknownTopicError as error:
                raise suggest_topic(error, name, invocation) from None
        cluster = admin.describe_cluster()
    emit_partitions(
        invocation, topics, cluster.members, under_replicated=under_replicated, moving=moving
    )
    tell_no_quorum(invocation, cluster)


TRANSFER_HELP = """Let another in-sync replica lead a partition; nothing acknowledged is lost.

Leaderships go back to the preferred leader, the first of the replicas, after some minutes.

\b
Examples:
  logd cluster transfer-leader orders:0 2
  logd cluster partitions orders          who leads, and who is in sync
"""


@app.command("transfer-leader", cls=Command, help=TRANSFER_HELP)
def transfer_leader(
    ctx: typer.Context,
    partition: Annotated[str, typer.Argument(metavar="TOPIC:PARTITION", help="What to lead.")],
    node: Annotated[int, typer.Argument(metavar="NODE", min=0, help="Id of the node.")],
) -> None:
    from logd_wire.errors import ErrorCode, UnknownTopicError

    from logd.cli.connect import open_admin, suggest_topic
    from logd.cli.partition_view import emit_transferred

    invocation = invocation_of(ctx)
    name, number = _named(partition)
    if number is None:
        raise UsageProblem(f"{partition!a} is no TOPIC:PARTITION, such as orders:0")
    with open_admin(invocation) as admin:
        try:
            found = admin.transfer_leader(name, number, node)
        except UnknownTopicError as error:
            if error.code is ErrorCode.UNKNOWN_PARTITION:
                raise
            raise suggest_topic(error, name, invocation) from None
    invocation.say(f"node {found.leader} leads {partition}, in leader epoch {found.leader_epoch}")
    emit_transferred(invocation, name, found)


def _named(text: str) -> tuple[str, int | None]:
    """Topic and partition of TOPIC:PARTITION; None: only a topic is named."""
    name, separator, number = text.rpartition(":")
    if not separator:
        return text, None
    if not name or not (number.isascii() and number.isdigit()) or int(number) >= 2**31:
        raise UsageProblem(f"{text!a} is no TOPIC:PARTITION, such as orders:0")
    return name, int(number)


REASSIGN_HELP = """Move replicas to other nodes, while records are written and read.

--to names the nodes to be, preferred leader first. Of a whole topic every partition gets replicas
on all of them, and who is preferred takes turns. Replicas leave once the new ones are in sync, so
nothing acknowledged is lost. The command returns when that is decided; --wait stays until it is
done, and Ctrl-C then ends only the waiting.

\b
Examples:
  logd cluster reassign orders:0 --to 4,2,3
  logd cluster reassign orders --to 1,2 --wait      every partition; fewer replicas than before
  logd cluster partitions --moving                  how far it is
  logd cluster reassign orders:0 --cancel           back to where the replicas were
"""


@app.command("reassign", cls=Command, help=REASSIGN_HELP)
def reassign(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="TOPIC[:PARTITION]", help="What to move.")],
    to: Annotated[
        str | None, typer.Option("--to", metavar="N,N,...", help="Ids of the nodes to be.")
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Back to where the replicas were.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until it is done, and show how far it is.")
    ] = False,
) -> None:
    from logd_wire.errors import ErrorCode, UnknownTopicError

    from logd.cli import moving
    from logd.cli.connect import open_admin, suggest_topic

    invocation = invocation_of(ctx)
    name, number = _named(what)
    if (to is not None) == cancel:
        raise UsageProblem("write either --to with the nodes to be, or --cancel")
    nodes = None if to is None else _node_ids(to)
    with open_admin(invocation) as admin:
        try:
            moving.reassign(invocation, admin, name, number, nodes, wait=wait)
        except UnknownTopicError as error:
            if error.code is ErrorCode.UNKNOWN_PARTITION:
                raise
            raise suggest_topic(error, name, invocation) from None


def _node_ids(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) < 2**31 for part in parts):
        raise UsageProblem(f"--to {text!a}: node ids are numbers with commas, such as 1,2,3")
    return [int(part) for part in parts]


DRAIN_HELP = """Move every replica, and with it every leadership, from a node to the others.

Other nodes in service take over by rack, then by how much they have. It waits until the node holds
nothing; Ctrl-C ends the waiting, not the moving, and the same command goes on where it was. It is
refused where the other nodes are too few for the replicas. The node still votes: remove it next,
or give it replicas again.

\b
Examples:
  logd cluster drain 3
  logd cluster drain 3 --dry-run          what would move where
  logd node remove 3 --drain              drain and remove
"""


@app.command("drain", cls=Command, help=DRAIN_HELP)
def drain(
    ctx: typer.Context,
    number: Annotated[
        int, typer.Argument(metavar="NODE", min=0, help="Its id.", autocompletion=node_ids)
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")
    ] = False,
) -> None:
    from logd.cli import moving
    from logd.cli.connect import open_admin
    from logd.cli.members import member_of

    invocation = invocation_of(ctx)
    with open_admin(invocation) as admin:
        member_of(admin.describe_cluster(), number)
        if dry_run:
            plan = moving.plan_now(admin, number)
            moving.tell_plan(invocation, plan)
        else:
            plan = moving.drain(invocation, admin, number)
            invocation.say(f"next: logd node remove {number}, or give it replicas again")
    moving.emit_plan(invocation, number, plan, dry_run=dry_run)


HEALTH_HELP = """Tell whether all is well, in words and with an exit code: 0 healthy, 10 not.

Asks the cluster as its clients see it: the controller, every node, every partition. With --local
it asks one node, on its admin port, whether it is ready; that needs no cluster, and suits the
health check of a container.

\b
Examples:
  logd cluster health
  logd cluster health --exit-when-healthy --timeout 60s    wait for a cluster to come up
  logd cluster health -w                                   tell every change until Ctrl-C
  logd cluster health --local --timeout 2s                 is the node on this machine ready?
"""


@app.command("health", cls=Command, help=HEALTH_HELP)
def health(
    ctx: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, and tell changes.")] = False,
    exit_when_healthy: Annotated[
        bool, typer.Option("--exit-when-healthy", help="Wait until all is well.")
    ] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Ask one node on its admin port (--admin).")
    ] = False,
    admin: Annotated[
        str | None,
        typer.Option(
            "--admin",
            metavar="HOST:PORT",
            envvar="LOGD__LISTENERS__ADMIN",
            help="The admin port of --local; else 127.0.0.1:7180.",
        ),
    ] = None,
) -> None:
    from logd.cli.health import ADMIN_DEFAULT, ask_cluster, ask_node, report

    invocation = invocation_of(ctx)

    def ask() -> Health:
        if local:
            return ask_node(invocation, admin or ADMIN_DEFAULT)
        return ask_cluster(invocation)

    code = report(invocation, ask, watch=watch, exit_when_healthy=exit_when_healthy)
    raise typer.Exit(code)


class Kind(StrEnum):
    """Whose configuration."""

    BROKER = "broker"
    TOPIC = "topic"


DESCRIBE_HELP = """Show every configuration value in force, and where it comes from.

\b
Examples:
  logd config describe                    the node that answers
  logd config describe topic orders
  logd config describe -F wide            with the meaning of each
"""


@config_app.command("describe", cls=Command, help=DESCRIBE_HELP)
def describe(
    ctx: typer.Context,
    kind: Annotated[Kind, typer.Argument(help="broker or topic.")] = Kind.BROKER,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[TOPIC]", help="Which topic.", autocompletion=topic_names),
    ] = None,
) -> None:
    from logd_wire.errors import UnknownTopicError

    from logd.cli.connect import open_admin, suggest_topic

    invocation = invocation_of(ctx)
    if (kind is Kind.TOPIC) != (name is not None):
        raise UsageProblem("write `config describe broker` or `config describe topic NAME`")
    with open_admin(invocation) as admin:
        entries: Sequence[Any]
        if name is None:
            entries = admin.describe_configs()
        else:
            try:
                entries = admin.describe_topic(name).config_entries
            except UnknownTopicError as error:
                raise suggest_topic(error, name, invocation) from None
    entries = sorted(entries, key=lambda entry: str(entry.name))
    wide = invocation.format is Format.WIDE
    header = ["KEY", "VALUE", "SOURCE", "DYNAMIC", "MEANING"][: 5 if wide else 3]
    rows = [
        [entry.name, entry.value, entry.source, entry.dynamic, entry.doc][: len(header)]
        for entry in entries
    ]
    document = {
        entry.name: {"value": entry.value, "source": entry.source, "dynamic": entry.dynamic}
        for entry in entries
    }
    emit(
        invocation,
        document=document,
        tables=[("config", header, rows)],
        names=list(document),
    )
