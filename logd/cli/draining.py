"""Where the replicas of a node go when it is drained: a plan, made from what the cluster says.

Each partition keeps its replicas but the one on the node. Its place is taken by a node in service
that has none yet: one in a rack where the partition is not, then the one with the fewest replicas,
then the one with the fewest preferred leaderships. Partitions that are on their way already are
planned from where they go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from logd_wire.errors import ErrorCode, InvalidRequestError

from logd.cli.cluster_view import IN_SERVICE, SILENT, state_of

if TYPE_CHECKING:
    from logd_client.values import MemberInfo, PartitionInfo, TopicInfo

#: By topic and partition: the nodes to be, preferred leader first.
Plan = dict[tuple[str, int], tuple[int, ...]]


def goes_to(part: PartitionInfo) -> tuple[int, ...]:
    """Where the replicas of a partition are, or will be."""
    return part.target or part.replicas


def plan_drain(topics: Sequence[TopicInfo], members: Iterable[MemberInfo], number: int) -> Plan:
    """Return what has to move so that node `number` keeps nothing.

    Raises InvalidRequestError where the other nodes are too few.
    """
    others = {
        member.id: member
        for member in members
        if member.id != number and state_of(member) in {IN_SERVICE, SILENT}
    }
    replicas: Counter[int] = Counter()
    leaders: Counter[int] = Counter()
    for topic in topics:
        for part in topic.partitions:
            replicas.update(goes_to(part))
            leaders[goes_to(part)[0]] += 1
    plan: Plan = {}
    for topic in topics:
        for part in topic.partitions:
            if number not in goes_to(part):
                continue
            _check_enough(topic, part, others, number)
            target = _without(part, others, number, replicas, leaders)
            plan[topic.name, part.partition] = target
            replicas.update(set(target).difference(goes_to(part)))
            leaders[target[0]] += 1
    return plan


def _without(
    part: PartitionInfo,
    others: dict[int, MemberInfo],
    number: int,
    replicas: Counter[int],
    leaders: Counter[int],
) -> tuple[int, ...]:
    before = goes_to(part)
    kept = [node for node in before if node != number]
    racks = Counter(others[node].rack for node in kept if node in others)
    leads = before[0] == number
    chosen = min(
        (node for node in sorted(others) if node not in before),
        key=lambda node: (racks[others[node].rack], replicas[node], leads * leaders[node]),
    )
    return tuple(chosen if node == number else node for node in before)


def _check_enough(
    topic: TopicInfo, part: PartitionInfo, others: dict[int, MemberInfo], number: int
) -> None:
    if not others:
        raise InvalidRequestError(
            f"node {number} is the last one in service: its replicas can go nowhere",
            hint="add another node first, or bring others back: `logd cluster nodes`",
        )
    if any(node not in goes_to(part) for node in others):
        return
    count = f"{len(others)} node{'' if len(others) == 1 else 's'}"
    fewer = ",".join(str(node) for node in goes_to(part) if node != number)
    raise InvalidRequestError(
        f"{topic.name}-{part.partition} has {len(goes_to(part))} replicas, and without node "
        f"{number} there are {count} in service",
        hint="add another node first, or have fewer replicas: "
        f"`logd cluster reassign {topic.name}:{part.partition} --to {fewer}`",
        code=ErrorCode.INVALID_REPLICATION_FACTOR,
    )
