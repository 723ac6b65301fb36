"""What the commands of `logd cluster` say when too few voters are left to decide anything."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from logd_wire.errors import LogdError

from logd.cli.options import Invocation

if TYPE_CHECKING:
    from logd_client.values import ClusterInfo, NodeInfo

#: How long one node may take to say that it is there.
_ASK_MS = 2_000
_ASKED_AT_ONCE = 8


def which_answer(nodes: Iterable[NodeInfo]) -> set[int]:
    """Ids of those that answer at their address; all are asked at once."""
    asked = list(nodes)
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        found = list(pool.map(_answers, asked))
    return {node.id for node, well in zip(asked, found, strict=True) if well}


def _answers(node: NodeInfo) -> bool:
    from logd_client import Admin

    try:
        with Admin(node.address, request_timeout_ms=_ASK_MS) as admin:
            admin.describe_cluster()
    except LogdError:
        return False
    return True


def no_quorum(cluster: ClusterInfo, answering: Collection[int]) -> str:
    """Say that too few voters answer to decide anything, what goes on, and what to do; empty:
    enough answer, a controller leads, or nobody is known to vote."""
    voters = sorted(member.id for member in cluster.members if member.voter)
    there = [voter for voter in voters if voter in answering or voter == cluster.node_id]
    needed = len(voters) // 2 + 1
    if not voters or cluster.controller_id is not None or len(there) >= needed:
        return ""
    addresses = {node.id: node.address for node in cluster.nodes}
    gone = [
        f"{voter} at {addresses[voter]}" if addresses.get(voter) else str(voter)
        for voter in voters
        if voter not in there
    ]
    missing = needed - len(there)
    return (
        f"no quorum: {len(there)} of {len(voters)} voters answer{'s' if len(there) == 1 else ''} "
        f"({_named(map(str, there))}), {needed} are needed; no answer from {_named(gone)}. "
        "Meanwhile nothing is written or read, and no topic, leader or member changes; topics and "
        f"nodes are shown as node {cluster.node_id} knew them last, and `logd log dump` reads the "
        f"data of a stopped node. To do: start {missing} more of the voters; the rest follows by "
        "itself"
    )


def _named(nodes: Iterable[str]) -> str:
    names = list(nodes)
    return f"{'node' if len(names) == 1 else 'nodes'} {', '.join(names)}"


def tell_no_quorum(invocation: Invocation, cluster: ClusterInfo) -> None:
    """Say on stderr that what is shown may be old, when nobody can decide anything."""
    if cluster.controller_id is None and not invocation.quiet:
        others = [node for node in cluster.nodes if node.id != cluster.node_id]
        words = no_quorum(cluster, which_answer(others))
        if words:
            invocation.say(f"logd: {words}")
