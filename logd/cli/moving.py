"""What `logd cluster reassign` and `logd cluster drain` do: decide, and show how far it is.

Once decided, replicas move whether a command watches or not: Ctrl-C ends the watching only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from logd_wire.errors import InvalidRequestError

from logd.cli.draining import Plan, plan_drain
from logd.cli.options import Invocation
from logd.cli.output import emit
from logd.cli.partition_view import moving_in_words
from logd.cli.status_line import StatusLine
from logd.model.units import rough_size

if TYPE_CHECKING:
    from logd_client import Admin
    from logd_client.values import PartitionInfo

#: Between two looks.
LOOK_SECONDS = 0.5
#: Partitions that are named one by one.
_NAMED_MAX = 20

Parts = Mapping[tuple[str, int], "PartitionInfo"]


def reassign(
    invocation: Invocation,
    admin: Admin,
    name: str,
    number: int | None,
    to: Sequence[int] | None,
    *,
    wait: bool,
) -> None:
    """`logd cluster reassign`; `to` None: back to where the replicas were."""
    topic = admin.describe_topic(name)
    numbers = [part.partition for part in topic.partitions] if number is None else [number]
    targets: dict[tuple[str, int], Sequence[int] | None] = {}
    for turn, each in enumerate(numbers):
        # Of a whole topic everybody gets a share of the leaderships.
        first = turn % len(to) if to and number is None else 0
        targets[name, each] = None if to is None else [*to[first:], *to[:first]]
    moved = admin.reassign_partitions(targets)
    _tell(invocation, moved)
    if wait:
        _wait(invocation, lambda: _still(admin, targets))
        moved = {key: part for key, part in _look(admin, name).items() if key in targets}
        invocation.say(f"done: {_counted(len(moved))} where they were to be")
    _emit(invocation, moved)


def drain(invocation: Invocation, admin: Admin, number: int) -> Plan:
    """Move everything off a node and wait for that; returns what was moved. What is placed on it
    meanwhile moves too."""
    moved: Plan = {}
    while _on(admin, number):
        plan = plan_now(admin, number)
        if plan:
            invocation.say(f"node {number}: {_counted(len(plan))} to move to other nodes")
            admin.reassign_partitions(plan)
            moved |= plan
        _wait(invocation, lambda: _on(admin, number))
    invocation.say(f"node {number} has no replicas any more")
    return moved


def plan_now(admin: Admin, number: int) -> Plan:
    """What has to move from a node, as things are."""
    topics = admin.list_topics(include_internal=True)
    return plan_drain(topics, admin.describe_cluster().members, number)


def check_holds_nothing(admin: Admin, number: int) -> None:
    """Refuse early, and in a dry run too, what the controller refuses; raises in its words."""
    held = [f"{name}-{partition}" for name, partition in _on(admin, number)]
    if held:
        more = f" and {len(held) - _NAMED_MAX} more" if len(held) > _NAMED_MAX else ""
        raise InvalidRequestError(
            f"node {number} has replicas of {', '.join(held[:_NAMED_MAX])}{more}",
            hint=f"move them to other nodes first: `logd cluster drain {number}`, or add --drain; "
            "a node whose disk is lost is not removed but replaced: "
            f"`logd node replace {number}`",
        )


def _on(admin: Admin, number: int) -> dict[tuple[str, int], PartitionInfo]:
    return {
        (topic.name, part.partition): part
        for topic in admin.list_topics(include_internal=True)
        for part in topic.partitions
        if number in part.replicas
    }


def _still(admin: Admin, targets: Mapping[tuple[str, int], object]) -> Parts:
    return {key: part for key, part in admin.list_reassignments().items() if key in targets}


def _look(admin: Admin, name: str) -> dict[tuple[str, int], PartitionInfo]:
    return {(name, part.partition): part for part in admin.describe_topic(name).partitions}


def _wait(invocation: Invocation, look: Callable[[], Parts]) -> None:
    """Until `look` finds nothing that moves."""
    line = StatusLine(invocation, tells=True)
    try:
        while True:
            left = look()
            if not any(part.target for part in left.values()):
                line.clear()
                return
            line.write(_progress(left))
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        line.clear()
        invocation.say(
            "not waited for any longer: the replicas go on moving, and the same command goes on "
            "watching; see logd cluster partitions --moving"
        )
        raise


def _progress(left: Parts) -> str:
    records = size = 0
    silent: dict[int, None] = {}
    for part in left.values():
        for each in part.progress:
            if each.node_id in part.target:
                records += each.records_left
                size += each.bytes_left
                if each.end_offset < 0:
                    silent[each.node_id] = None
    unheard = f"; not heard of yet: node {', '.join(map(str, silent))}" if silent else ""
    return (
        f"{_counted(len(left))} moving, about {records:,} records ({rough_size(size)}) still to "
        f"copy{unheard}"
    )


def _tell(invocation: Invocation, moved: Parts) -> None:
    for (name, partition), part in list(moved.items())[:_NAMED_MAX]:
        said = moving_in_words(part) or f"on nodes {_names(part.replicas)}"
        invocation.say(f"{name}:{partition}: {said}")
    if len(moved) > _NAMED_MAX:
        invocation.say(f"and {len(moved) - _NAMED_MAX} more")
    if any(part.target for part in moved.values()):
        invocation.say("next: logd cluster partitions --moving shows how far it is")


def tell_plan(invocation: Invocation, plan: Plan) -> None:
    for (name, partition), target in plan.items():
        invocation.say(f"{name}:{partition} would move to nodes {_names(target)}")
    if not plan:
        invocation.say("nothing would move")


def _emit(invocation: Invocation, moved: Parts) -> None:
    """What was decided, for scripts: only when a format is asked for."""
    if invocation.format is None:
        return
    documents: list[dict[str, Any]] = [
        {
            "topic": name,
            "partition": partition,
            "replicas": list(part.replicas),
            "adding": list(part.adding),
            "target": list(part.target),
            "isr": list(part.isr),
            "leader": part.leader,
        }
        for (name, partition), part in moved.items()
    ]
    header = ["TOPIC", "PARTITION", "REPLICAS", "ADDING", "TARGET", "ISR", "LEADER"]
    rows = [[document[key.lower()] for key in header] for document in documents]
    emit(
        invocation,
        document=documents,
        tables=[("partitions", header, rows)],
        names=[f"{name}:{partition}" for name, partition in moved],
    )


def emit_plan(invocation: Invocation, number: int, plan: Plan, *, dry_run: bool) -> None:
    if invocation.format is None:
        return
    moves = [
        {"topic": name, "partition": partition, "replicas": list(target)}
        for (name, partition), target in plan.items()
    ]
    rows: list[list[Any]] = [[move["topic"], move["partition"], move["replicas"]] for move in moves]
    emit(
        invocation,
        document={"node": number, "dry_run": dry_run, "moves": moves},
        tables=[("moves", ["TOPIC", "PARTITION", "REPLICAS"], rows)],
        names=[f"{name}:{partition}" for name, partition in plan],
    )


def _counted(count: int) -> str:
    return f"{count:,} partition{'' if count == 1 else 's'}"


def _names(nodes: Sequence[int]) -> str:
    return ",".join(map(str, nodes))
