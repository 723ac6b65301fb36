"""What `logd node …` does: say what will happen, do it, say what to do next."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from logd_wire.errors import InvalidRequestError, LogdError

from logd.cli.cluster_view import state_of
from logd.cli.moving import check_holds_nothing, drain
from logd.cli.options import Invocation
from logd.cli.output import emit
from logd.cli.status_line import StatusLine
from logd.cli.topic import confirm

if TYPE_CHECKING:
    from logd_client import Admin, ClusterInfo, MemberInfo

#: Between two tries while the cluster is not ready.
AGAIN_SECONDS = 0.5


def add(
    invocation: Invocation, admin: Admin, number: int, *, dry_run: bool, wait_seconds: float
) -> None:
    """`logd node add`."""
    cluster = admin.describe_cluster()
    member = member_of(cluster, number)
    before = _voters(cluster)
    if member.voter:
        invocation.say(f"node {number} votes already; the voters are {_names(before)}")
        _emit(invocation, "add", number, before, before, dry_run=dry_run)
        return
    after = sorted([*before, number])
    invocation.say(
        f"node {number} ({member.address}) {'would become' if dry_run else 'becomes'} a voter: "
        f"{_names(before)} -> {_names(after)}; {survives(len(after))}"
    )
    if not dry_run:
        after = _patiently(invocation, admin, number, wait_seconds, lambda: admin.add_node(number))
        invocation.say(f"node {number} votes; the voters are {_names(after)}")
        invocation.say("next: logd raft status shows the quorum")
    _emit(invocation, "add", number, before, after, dry_run=dry_run)


def remove(
    invocation: Invocation,
    admin: Admin,
    number: int,
    *,
    drains: bool,
    dry_run: bool,
    wait_seconds: float,
) -> None:
    """`logd node remove`; `drains`: move its replicas to other nodes first."""
    cluster = admin.describe_cluster()
    member = member_of(cluster, number)
    if not drains:
        check_holds_nothing(admin, number)
    before = _voters(cluster)
    after = [voter for voter in before if voter != number]
    leaves = "would leave" if dry_run else "leaves"
    invocation.say(f"node {number} ({_where(member)}) {leaves} the cluster for good")
    if member.voter:
        invocation.say(f"the voters: {_names(before)} -> {_names(after)}; {survives(len(after))}")
    if not dry_run:
        confirm(invocation, f"Remove node {number}? Its data directory can never come back.")
        if drains:
            drain(invocation, admin, number)
        after = _patiently(
            invocation,
            admin,
            number,
            wait_seconds,
            lambda: admin.remove_node(number, directory_id=member.directory_id),
        )
        invocation.say(f"node {number} is removed; the voters are {_names(after)}")
        invocation.say(
            f"next: stop node {number} if it runs, take it out of cluster.peers of the others, "
            "and delete its data directory"
        )
    _emit(invocation, "remove", number, before, after, dry_run=dry_run)


def replace(
    invocation: Invocation,
    admin: Admin,
    number: int,
    *,
    dry_run: bool,
    accept_data_loss: bool,
    wait_seconds: float,
) -> None:
    """`logd node replace`."""
    cluster = admin.describe_cluster()
    member = member_of(cluster, number)
    before = _voters(cluster)
    after = [voter for voter in before if voter != number]
    gives_up = "would be given up" if dry_run else "is given up"
    invocation.say(
        f"data directory {member.directory_id} of node {number} ({_where(member)}) {gives_up}: "
        "it can never come back"
    )
    if member.voter:
        invocation.say(
            f"the voters until the node is back: {_names(before)} -> {_names(after)}; "
            f"{survives(len(after))}"
        )
    if not dry_run:
        question = f"Give up the data directory of node {number}?"
        if accept_data_loss:
            question += " Records that only it has are lost."
        confirm(invocation, question)
        after = _patiently(
            invocation,
            admin,
            number,
            wait_seconds,
            lambda: admin.replace_node(
                number, directory_id=member.directory_id, accept_data_loss=accept_data_loss
            ),
        )
        invocation.say(f"the directory of node {number} is given up")
        invocation.say(
            f"next: start node {number} with an empty data directory; it becomes a voter by "
            f"itself if cluster.peers names it, else with: logd node add {number}"
        )
    _emit(invocation, "replace", number, before, after, dry_run=dry_run)


def member_of(cluster: ClusterInfo, number: int) -> MemberInfo:
    """The node of this number; raises InvalidRequestError in words."""
    for member in cluster.members:
        if member.id == number:
            return member
    known = _names([member.id for member in cluster.members])
    raise InvalidRequestError(
        f"the cluster has no node {number}",
        hint=f"its nodes are {known}; a node registers itself when it starts",
    )


def survives(voters: int) -> str:
    """What so many voters mean, in words."""
    if voters == 0:
        return "nobody could decide anything"
    losses = (voters - 1) // 2
    majority = voters // 2 + 1
    may = "none may fail" if losses == 0 else f"{losses} of them may fail"
    return f"{majority} of {voters} decide, {may}"


def _patiently(
    invocation: Invocation,
    admin: Admin,
    number: int,
    wait_seconds: float,
    change: Callable[[], list[int]],
) -> list[int]:
    """Try until it is done, or `wait_seconds` have passed; each new reason is told once."""
    deadline = time.monotonic() + wait_seconds
    told = ""
    shown = StatusLine(invocation)
    while True:
        try:
            voters = change()
            shown.clear()
            return voters
        except LogdError as error:
            if not error.retriable or time.monotonic() + AGAIN_SECONDS > deadline:
                shown.clear()
                raise
            if error.message != told:
                told = error.message
                shown.clear()
                invocation.say(f"waiting: {error.message}")
        shown.write(_progress(admin, number))
        time.sleep(AGAIN_SECONDS)


def _progress(admin: Admin, number: int) -> str:
    try:
        member = member_of(admin.describe_cluster(), number)
    except LogdError as error:
        return error.message
    lag = "unknown" if member.lag is None else f"{member.lag:,} entries behind"
    return f"node {number}: {state_of(member)}, {lag}"


def _emit(
    invocation: Invocation,
    action: str,
    number: int,
    before: Sequence[int],
    after: Sequence[int],
    *,
    dry_run: bool,
) -> None:
    """What was done, for scripts: only when a format is asked for."""
    if invocation.format is None:
        return
    document: dict[str, Any] = {
        "action": action,
        "node": number,
        "dry_run": dry_run,
        "voters_before": list(before),
        "voters": list(after),
    }
    rows = [[key, value] for key, value in document.items()]
    emit(
        invocation,
        document=document,
        tables=[("node", ["FIELD", "VALUE"], rows)],
        names=[str(number)],
    )


def _voters(cluster: ClusterInfo) -> list[int]:
    return [member.id for member in cluster.members if member.voter]


def _where(member: MemberInfo) -> str:
    return f"{member.address or 'not registered'}, {state_of(member)}"


def _names(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers)) or "none"
