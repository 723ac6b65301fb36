"""What `logd cluster health` finds out: about a cluster over gRPC, about one node over its admin
port."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from logd_wire.errors import BootstrapError, NetworkError

from logd.cli.cluster_view import FENCED, NOT_REGISTERED, state_of
from logd.cli.connect import open_admin, start_time_limit
from logd.cli.exits import ExitCode, UsageProblem
from logd.cli.logs import printable
from logd.cli.no_quorum import no_quorum, which_answer
from logd.cli.options import Invocation
from logd.cli.output import emit
from logd.cli.partition_view import (
    is_under_min_isr,
    is_under_replicated,
    states_of,
    waits_for_repair,
    why_behind,
)

if TYPE_CHECKING:
    from logd_client.values import ClusterInfo, TopicInfo

#: How often a cluster is asked again by --watch and --exit-when-healthy.
INTERVAL_S = 1.0
#: How long one question may take, unless -X or --timeout says less.
_ASK_MS = 5_000
#: Partitions with the same problem that are named.
_NAMED_MAX = 20
_ANSWER_BYTES_MAX = 64 * 1024

ADMIN_DEFAULT = "127.0.0.1:7180"


class Problem(NamedTuple):
    """One thing that is wrong: a stable name for scripts, words for people."""

    name: str
    message: str


@dataclass(frozen=True)
class Health:
    """`summary` is what was looked at; healthy when there are no `problems`."""

    problems: Sequence[Problem]
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        return not self.problems


def ask_cluster(invocation: Invocation) -> Health:
    """Look at the cluster as its clients see it. Raises LogdError when nobody answers."""
    with open_admin(invocation, request_timeout_ms=_ASK_MS) as admin:
        cluster = admin.describe_cluster()
        topics = admin.list_topics(include_internal=True)
    answering = which_answer(node for node in cluster.nodes if node.id != cluster.node_id)
    problems = [
        *_of_nodes(cluster, answering),
        *_of_partitions(topics, states_of(cluster.members)),
    ]
    summary = {
        "cluster_id": cluster.cluster_id,
        "controller_id": cluster.controller_id,
        "answered_by": cluster.node_id,
        "nodes": len(cluster.nodes),
        "fenced": sum(member.fenced for member in cluster.members if member.incarnation_id),
        "voters": [member.id for member in cluster.members if member.voter],
        "partitions": sum(len(topic.partitions) for topic in topics),
    }
    return Health(problems, summary)


def _of_nodes(cluster: ClusterInfo, answering: Collection[int]) -> Iterator[Problem]:
    yield from _of_quorum(cluster, answering)
    fenced = {member.id for member in cluster.members if state_of(member) == FENCED}
    for node_id in sorted(fenced):
        words = f"node {node_id} is fenced: it has not caught up, or is not heard of"
        yield Problem("fenced", words)
    for node in cluster.nodes:
        if node.id not in (cluster.node_id, *fenced, *answering):
            yield Problem("node_down", f"node {node.id} does not answer at {node.address}")


def _of_quorum(cluster: ClusterInfo, answering: Collection[int]) -> Iterator[Problem]:
    """The quorum as the answering node knows it; who was heard of, only the controller says."""
    if cluster.controller_id is None:
        yield Problem("no_controller", "no leader of the metadata quorum is known")
    words = no_quorum(cluster, answering)
    if words:
        yield Problem("no_quorum", words)
    voters = [member for member in cluster.members if member.voter]
    for voter in voters:
        if state_of(voter) == NOT_REGISTERED:
            yield Problem("not_registered", f"node {voter.id} votes, and is not registered")
    silent = [voter.id for voter in voters if voter.heard is False]
    if silent:
        names = ", ".join(map(str, silent))
        words = "the quorum decides" if len(silent) * 2 < len(voters) else "nothing can be decided"
        yield Problem(
            "voter_silent",
            f"{len(silent)} of {len(voters)} voters not heard of lately ({names}); {words}",
        )


def _of_partitions(topics: Sequence[TopicInfo], states: Mapping[int, str]) -> Iterator[Problem]:
    leaderless, broken, refusing, behind, damaged = [], [], [], [], []
    why: dict[int, str] = {}
    for topic in topics:
        for partition in topic.partitions:
            name = f"{topic.name}-{partition.partition}"
            if waits_for_repair(partition):
                broken.append(name)
            elif partition.leader is None:
                leaderless.append(name)
            if is_under_min_isr(topic, partition):
                refusing.append(name)
            if is_under_replicated(partition):
                behind.append(name)
                why |= why_behind(partition, states)
            if partition.damage:
                damaged.append(name)
    reasons = ", ".join(why[node_id] for node_id in sorted(why))
    for kind, words, names in (
        ("leaderless", "without a leader", leaderless),
        (
            "leaderless_damaged",
            "without a leader, where only damaged logs may hold all that was acknowledged "
            "(logd cluster partitions says on which nodes, and what to do)",
            broken,
        ),
        (
            "under_min_isr",
            "with fewer replicas in sync than min.insync.replicas, where acks=all is refused",
            refusing,
        ),
        ("under_replicated", f"with a replica that is not in sync ({reasons})", behind),
        ("damaged", "with damaged ranges (logd topic describe lists them)", damaged),
    ):
        if names:
            more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
            count = f"{len(names)} partition{'s' if len(names) > 1 else ''}"
            yield Problem(kind, f"{count} {words}: {', '.join(names[:_NAMED_MAX])}{more}")


def ask_node(invocation: Invocation, address: str) -> Health:
    """Ask the admin port of one node whether it is ready. Raises NetworkError when it is silent."""
    start_time_limit(invocation)
    host, port = _reachable(address)
    connection = http.client.HTTPConnection(host, port, timeout=_ASK_MS / 1000)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read(_ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        raise NetworkError(
            f"no answer from the admin port at {address}: {error or type(error).__name__}",
            hint="is the node running, and is this its listeners.admin? --admin names another",
        ) from None
    finally:
        connection.close()
    return Health(_problems_of(answer.status, body, address), {"admin": address})


def _problems_of(status: int, body: bytes, address: str) -> list[Problem]:
    try:
        document = json.loads(body)
        ready = document["ready"]
        problems = [
            Problem(str(reason["name"]), printable(str(reason["message"])))
            for reason in document["reasons"]
        ]
    except (ValueError, LookupError, TypeError):
        raise NetworkError(f"what answers at {address} (status {status}) is no logd node") from None
    if ready is True and status == http.client.OK and not problems:
        return []
    return problems or [Problem("not_ready", "the node says that it is not ready")]


def _reachable(address: str) -> tuple[str, int]:
    """Host and port to connect to for an address that may be one to listen on."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UsageProblem(f"--admin: {address!a} is no host:port to connect to")
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(port)


def report(
    invocation: Invocation, ask: Callable[[], Health], *, watch: bool, exit_when_healthy: bool
) -> ExitCode:
    """Ask once; or again and again, telling what has changed. Returns the exit code.

    Asked once, an error of the network is raised; otherwise it is one more thing that is wrong.
    """
    if not watch and not exit_when_healthy:
        health = ask()
        _show(invocation, health)
        return ExitCode.OK if health.healthy else ExitCode.UNHEALTHY
    shown: Sequence[Problem] | None = None
    while True:
        health = _ask_patiently(ask)
        if health.problems != shown:
            shown = health.problems
            _show(invocation, health)
        if health.healthy and exit_when_healthy:
            return ExitCode.OK
        time.sleep(INTERVAL_S)


def _ask_patiently(ask: Callable[[], Health]) -> Health:
    try:
        return ask()
    except (BootstrapError, NetworkError) as error:
        return Health([Problem("unreachable", " ".join(error.message.split()))])


def _show(invocation: Invocation, health: Health) -> None:
    summary: list[list[Any]] = [["healthy", health.healthy]]
    summary += [[name.replace("_", " "), value] for name, value in health.summary.items()]
    tables: list[tuple[str, list[str], list[list[Any]]]] = [("health", ["FIELD", "VALUE"], summary)]
    if health.problems:
        rows: list[list[Any]] = [list(problem) for problem in health.problems]
        tables.append(("problems", ["NAME", "PROBLEM"], rows))
    emit(
        invocation,
        document={
            "healthy": health.healthy,
            **health.summary,
            "problems": [problem._asdict() for problem in health.problems],
        },
        tables=tables,
        names=[problem.name for problem in health.problems],
    )
