"""What `logd dev` does: bring a local cluster up, take it down, end and start single nodes."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from logd_wire.errors import ConfigError, LogdError

from logd.cli.local import layout, processes
from logd.cli.local.layout import LocalCluster, LocalNode

#: How long nodes may take until they serve, and until they have stopped.
UP_SECONDS = 60.0
DOWN_SECONDS = 30.0
#: Between two looks at nodes that start.
_LOOK_SECONDS = 0.05
_ASK_MS = 2_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class NodeStatus:
    """A node as it is now. `pid` is None when stopped; `state`: running, starting or stopped."""

    node: LocalNode
    pid: int | None
    state: str


def status(cluster: LocalCluster) -> list[NodeStatus]:
    """Which nodes run, and which of these answer at their ports."""
    return [_status_of(node) for node in cluster.nodes]


def _status_of(node: LocalNode) -> NodeStatus:
    process = processes.find(node.config)
    if process is None:
        return NodeStatus(node, None, "stopped")
    with process:
        return NodeStatus(node, process.pid, "running" if _answers(node) else "starting")


def _answers(node: LocalNode) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((layout.HOST, node.port), 1):
        return True
    return False


def up(cluster: LocalCluster, environ: Mapping[str, str], say: Say) -> None:
    """Start the nodes that do not run and wait until every one serves; raises LogdError when one
    does not come up, ConfigError when a port is taken."""
    idle = [node for node in cluster.nodes if not _runs(node)]
    _check_ports(cluster, idle)
    layout.save(cluster)
    for node in idle:
        processes.start(node.config, node.log, environ)
    if idle:
        say(f"starting {_names(idle)} in {cluster.folder}")
    else:
        say(f"{_names(cluster.nodes)} run already")
    _wait_in_service(cluster.nodes, cluster.nodes)


def down(cluster: LocalCluster, say: Say) -> None:
    """Stop every node in good order."""
    with ExitStack() as held:
        found = {node.id: processes.find(node.config) for node in cluster.nodes}
        running = {number: held.enter_context(one) for number, one in found.items() if one}
        if not running:
            say("no node runs")
            return
        late = processes.end(list(running.values()), DOWN_SECONDS)
        for number, process in running.items():
            if process in late:
                say(f"node {number} did not stop within {DOWN_SECONDS:g} s and was killed")
        say(f"stopped {_names([node for node in cluster.nodes if node.id in running])}")


def kill(node: LocalNode, say: Say) -> None:
    """End a node as a crash would."""
    process = processes.find(node.config)
    if process is None:
        say(f"node {node.id} does not run")
        return
    with process:
        processes.kill([process])
        say(f"killed node {node.id} (process {process.pid})")


def start(cluster: LocalCluster, node: LocalNode, environ: Mapping[str, str], say: Say) -> None:
    """Start a node again; waits until it is in service, where enough of the others run for that."""
    if _runs(node):
        say(f"node {node.id} runs already")
    else:
        _check_ports(cluster, [node])
        layout.save(cluster)
        processes.start(node.config, node.log, environ)
        say(f"starting node {node.id}")
    running = [each for each in cluster.nodes if each.id == node.id or _runs(each)]
    needed = cluster.count // 2 + 1
    if len(running) < needed:
        say(
            f"{len(running)} of {cluster.count} nodes run; nothing can be decided before "
            f"{needed} do: logd dev up"
        )
        return
    _wait_in_service([node], running)
    say(f"node {node.id} is in service")


def _runs(node: LocalNode) -> bool:
    process = processes.find(node.config)
    if process is not None:
        process.close()
    return process is not None


def _check_ports(cluster: LocalCluster, idle: Sequence[LocalNode]) -> None:
    busy = [
        port for node in idle for port in (node.port, node.peer_port) if not _can_be_bound(port)
    ]
    if not busy:
        return
    listed = ", ".join(map(str, sorted(busy)))
    ports, are = ("port", "is") if len(busy) == 1 else ("ports", "are")
    raise ConfigError(
        f"{ports} {listed} of {layout.HOST} {are} in use by another program",
        hint=f"the nodes need {cluster.base_port} to {cluster.last_port}; "
        "other ones: logd dev up --base-port 17171",
    )


def _can_be_bound(port: int) -> bool:
    with socket.socket() as probe:
        # As a server would bind it: connections that have ended are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((layout.HOST, port))
        except OSError:
            return False
        return True


def _wait_in_service(asked: Sequence[LocalNode], wanted: Sequence[LocalNode]) -> None:
    """Wait until each of `asked` says that a controller leads and all of `wanted` are in service:
    from then on writes succeed."""
    deadline, ids = time.monotonic() + UP_SECONDS, {node.id for node in wanted}
    for node in asked:
        last = _in_service(node, ids)
        while last is not None:
            for each in asked:
                _check_alive(each)
            if time.monotonic() > deadline:
                raise LogdError(
                    f"node {node.id} is not in service after {UP_SECONDS:g} s: {last}",
                    hint=f"see {node.log}",
                )
            time.sleep(_LOOK_SECONDS)
            last = _in_service(node, ids)


def _in_service(node: LocalNode, ids: set[int]) -> str | None:
    """None when the node is, and knows all of these to be; otherwise what is missing."""
    from logd_client import Admin

    if not _answers(node):
        return f"{node.address} does not answer"
    try:
        with Admin(node.address, request_timeout_ms=_ASK_MS) as admin:
            found = admin.describe_cluster()
    except LogdError as error:
        return str(error)
    missing = ids - {each.id for each in found.nodes if not each.fenced}
    if found.controller_id is None:
        return "no controller is elected"
    if missing:
        return f"not in service yet: {', '.join(map(str, sorted(missing)))}"
    return None


def _check_alive(node: LocalNode) -> None:
    if not _runs(node):
        raise LogdError(
            f"node {node.id} ended at its start: {_last_line(node)}", hint=f"see {node.log}"
        )


def _last_line(node: LocalNode) -> str:
    with contextlib.suppress(OSError):
        lines = node.log.read_text(encoding="utf-8", errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else "it said nothing"
    return "what it said is lost"


def _names(nodes: Sequence[LocalNode]) -> str:
    numbers = [str(node.id) for node in nodes]
    if len(numbers) == 1:
        return f"node {numbers[0]}"
    return f"nodes {', '.join(numbers[:-1])} and {numbers[-1]}"
