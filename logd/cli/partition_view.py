"""What is wrong with a partition's replicas, in words, and how `logd cluster partitions` prints it.

under-replicated   a replica is not in the in-sync set
under min ISR      fewer are in sync than min.insync.replicas: acks=all is refused
leaderless         nobody leads: it waits for a replica that holds everything acknowledged
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from logd.cli.cluster_view import FENCED, IN_SERVICE, NOT_REGISTERED, SILENT, state_of
from logd.cli.options import Invocation
from logd.cli.output import emit
from logd.model.units import rough_size

if TYPE_CHECKING:
    from logd_client.values import MemberInfo, PartitionInfo, TopicInfo

#: What is said of a replica that is not in sync, by the state of its node.
_WHY = {
    NOT_REGISTERED: "is not registered",
    FENCED: "is fenced",
    SILENT: "is not heard of",
    IN_SERVICE: "is behind",
}


def states_of(members: Iterable[MemberInfo]) -> dict[int, str]:
    """The state of each node that the cluster knows, as `logd cluster nodes` shows it."""
    return {member.id: state_of(member) for member in members}


def min_isr(info: TopicInfo) -> int:
    """min.insync.replicas of a topic."""
    return int(info.config.get("min.insync.replicas", 1))


def is_under_replicated(part: PartitionInfo) -> bool:
    return len(part.isr) < part.factor


def is_under_min_isr(info: TopicInfo, part: PartitionInfo) -> bool:
    """Whether acks=all is refused although somebody leads."""
    return part.leader is not None and len(part.isr) < min_isr(info)


def why_behind(part: PartitionInfo, states: Mapping[int, str]) -> dict[int, str]:
    """Node id -> words, for each replica that should be in sync and is not: `node 3 is fenced`."""
    return {
        node_id: f"node {node_id} {_why(part, node_id, states)}"
        for node_id in part.replicas
        if node_id not in part.isr and node_id not in part.adding
    }


def moving_in_words(part: PartitionInfo) -> str:
    """Where the replicas of a partition are going, and what is still to copy; empty: nowhere."""
    if not part.target:
        return ""
    known = {each.node_id: each for each in part.progress}
    said = []
    for node_id in part.target:
        at = known.get(node_id)
        if node_id in part.isr or node_id not in part.adding:
            continue
        if at is None or at.end_offset < 0:
            said.append(f"node {node_id} has not begun to copy")
        else:
            size = rough_size(at.bytes_left)
            said.append(f"node {node_id} has {at.records_left:,} records ({size}) still to copy")
    nodes = ",".join(map(str, part.target))
    return "; ".join([f"moving to nodes {nodes}", *said])


def _why(part: PartitionInfo, node_id: int, states: Mapping[int, str]) -> str:
    state = states.get(node_id, NOT_REGISTERED)
    if state == IN_SERVICE and node_id in part.damaged:
        return "has a damaged log and copies it anew"
    return _WHY[state]


def waits_for_repair(part: PartitionInfo) -> bool:
    """Whether nobody leads because only damaged logs may hold what was acknowledged."""
    return part.leader is None and not part.eligible and bool(part.damaged)


def _waits_for(part: PartitionInfo) -> str:
    if waits_for_repair(part):
        nodes = " and ".join(map(str, part.damaged))
        return (
            f"the log on node {nodes} is damaged, and no other replica has all that was "
            "acknowledged; restore that node's data directory from a copy, or give up what is "
            f"missing: stop the node, then logd node replace {part.damaged[0]} --accept-data-loss"
        )
    holders = " or ".join(map(str, part.eligible))
    return f"it waits for node {holders}, with all that was acknowledged" if holders else ""


def problems_of(info: TopicInfo, part: PartitionInfo, states: Mapping[int, str]) -> list[str]:
    """Everything that is wrong with the replicas of one partition; the worst comes first."""
    problems = []
    if part.leader is None:
        problems.append(": ".join(filter(None, ["no leader", _waits_for(part)])))
    if part.damage and part.isr == (part.leader,) and len(part.replicas) > 1:
        problems.append(
            f"the log of its leader, node {part.leader}, is damaged, and no other replica is in "
            "sync: the damaged range cannot be read, the rest is served; another replica leads as "
            "soon as one is in sync"
        )
    if is_under_min_isr(info, part):
        problems.append(
            f"acks=all is refused: {len(part.isr)} in sync, min.insync.replicas is {min_isr(info)}"
        )
    if is_under_replicated(part):
        problems.append(f"under-replicated: {', '.join(why_behind(part, states).values())}")
    return problems


def emit_partitions(
    invocation: Invocation,
    topics: Sequence[TopicInfo],
    members: Iterable[MemberInfo],
    *,
    under_replicated: bool,
    moving: bool,
) -> None:
    """`logd cluster partitions`; `under_replicated`: only those of which a replica is missing,
    `moving`: only those whose replicas move."""
    states = states_of(members)
    chosen = [
        (info, part)
        for info in topics
        for part in sorted(info.partitions, key=lambda part: part.partition)
        if (is_under_replicated(part) or not under_replicated) and (part.target or not moving)
    ]
    documents = [_document(info, part, states) for info, part in chosen]
    header = ["TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "ELIGIBLE", "PROBLEM"]
    rows = [
        [
            info.name,
            part.partition,
            part.leader,
            part.leader_epoch,
            part.replicas,
            part.isr,
            part.eligible,
            "; ".join([*document["problems"], *filter(None, [document["moving"]])]) or None,
        ]
        for (info, part), document in zip(chosen, documents, strict=True)
    ]
    emit(
        invocation,
        document=documents,
        tables=[("partitions", header, rows)],
        names=[f"{info.name}:{part.partition}" for info, part in chosen],
    )


def emit_transferred(invocation: Invocation, name: str, part: PartitionInfo) -> None:
    """`logd cluster transfer-leader`, for scripts: only when a format is asked for."""
    if invocation.format is None:
        return
    document: dict[str, Any] = {
        "topic": name,
        "partition": part.partition,
        "leader": part.leader,
        "leader_epoch": part.leader_epoch,
        "partition_epoch": part.partition_epoch,
        "isr": list(part.isr),
    }
    emit(
        invocation,
        document=document,
        tables=[("partition", ["FIELD", "VALUE"], [[key, document[key]] for key in document])],
        names=[f"{name}:{part.partition}"],
    )


def _document(info: TopicInfo, part: PartitionInfo, states: Mapping[int, str]) -> dict[str, Any]:
    """One partition as JSON shows it; keys are only added."""
    return {
        "topic": info.name,
        "partition": part.partition,
        "leader": part.leader,
        "leader_epoch": part.leader_epoch,
        "partition_epoch": part.partition_epoch,
        "replicas": list(part.replicas),
        "isr": list(part.isr),
        "eligible": list(part.eligible),
        "min_insync_replicas": min_isr(info),
        "under_replicated": is_under_replicated(part),
        "under_min_isr": is_under_min_isr(info, part),
        "damaged": list(part.damaged),
        "adding": list(part.adding),
        "target": list(part.target),
        "moving": moving_in_words(part),
        "problems": problems_of(info, part, states),
    }
