"""How `logd group …` prints what it found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from logd.cli.options import Invocation
from logd.cli.output import emit

if TYPE_CHECKING:
    from logd_client import (
        GroupDescription,
        GroupInfo,
        GroupLag,
        GroupMemberInfo,
        OffsetChange,
        TopicPartition,
    )

Table = tuple[str, Sequence[str], Sequence[Sequence[Any]]]


def emit_list(invocation: Invocation, groups: Sequence[GroupInfo]) -> None:
    """`logd group list`."""
    emit(
        invocation,
        document=[
            {
                "group": each.group_id,
                "state": each.state,
                "members": each.members,
                "epoch": each.group_epoch,
            }
            for each in groups
        ],
        tables=[
            (
                "groups",
                ["GROUP", "STATE", "MEMBERS", "EPOCH"],
                [[each.group_id, each.state, each.members, each.group_epoch] for each in groups],
            )
        ],
        names=[each.group_id for each in groups],
    )


def emit_description(
    invocation: Invocation,
    group: GroupDescription,
    lags: Sequence[GroupLag],
    parts: Sequence[str],
) -> None:
    """`logd group describe`; `parts` of summary, members, commits and topics."""
    document: dict[str, Any] = {
        "group": group.group_id,
        "state": group.state,
        "epoch": group.group_epoch,
        "assignment_epoch": group.assignment_epoch,
        "assignor": group.assignor,
        "coordinator": group.coordinator,
        "lag": total(lags),
        "lag_ms": _most(each.lag_ms for each in lags),
        "members": [_member(each) for each in group.members],
        "partitions": [_lag(each) for each in lags],
        "topics": _by_topic(lags),
    }
    tables: dict[str, Table] = {
        "summary": ("summary", ["FIELD", "VALUE"], _summary(group, document)),
        "members": ("members", _MEMBER_HEADER, [_member_row(each) for each in group.members]),
        "commits": ("commits", _LAG_HEADER, [_lag_row(each) for each in lags]),
        "topics": (
            "topics",
            ["TOPIC", "PARTITIONS", "LAG", "LAG_SECONDS"],
            [
                [each["topic"], each["partitions"], each["lag"], _seconds(each["lag_ms"])]
                for each in document["topics"]
            ],
        ),
    }
    emit(
        invocation,
        document=document,
        tables=[tables[part] for part in parts],
        names=[each.member_id for each in group.members],
    )


def emit_lags(invocation: Invocation, lags: Sequence[tuple[str, GroupLag]]) -> None:
    """`logd group lag`."""
    emit(
        invocation,
        document=[{"group": group_id, **_lag(each)} for group_id, each in lags],
        tables=[
            (
                "lag",
                ["GROUP", *_LAG_HEADER],
                [[group_id, *_lag_row(each)] for group_id, each in lags],
            )
        ],
        names=[f"{group_id}:{_name(each.partition)}" for group_id, each in lags],
    )


def emit_changes(invocation: Invocation, changes: Sequence[OffsetChange], *, dry_run: bool) -> None:
    """`logd group seek`."""
    rows = [
        [each.partition.topic, each.partition.partition, each.before, each.after]
        for each in changes
    ]
    emit(
        invocation,
        document=[
            {
                "topic": topic,
                "partition": number,
                "committed_before": before,
                "committed": after,
                "dry_run": dry_run,
            }
            for topic, number, before, after in rows
        ],
        tables=[("offsets", ["TOPIC", "PARTITION", "BEFORE", "AFTER"], rows)],
        names=[_name(each.partition) for each in changes],
    )


_MEMBER_HEADER = [
    "MEMBER",
    "INSTANCE",
    "CLIENT",
    "HOST",
    "EPOCH",
    "STATE",
    "SILENT_MS",
    "ASSIGNED",
    "REVOKING",
]
_LAG_HEADER = [
    "TOPIC",
    "PARTITION",
    "COMMITTED",
    "START",
    "END",
    "LAG",
    "LAG_SECONDS",
    "MEMBER",
    "PROBLEM",
]


def _summary(group: GroupDescription, document: dict[str, Any]) -> list[list[Any]]:
    return [
        ["group", group.group_id],
        ["state", group.state],
        ["members", len(group.members)],
        ["epoch", group.group_epoch],
        ["assignment epoch", group.assignment_epoch],
        ["assignor", group.assignor],
        ["coordinator", group.coordinator],
        ["lag", document["lag"]],
        ["lag seconds", _seconds(document["lag_ms"])],
    ]


def _member(each: GroupMemberInfo) -> dict[str, Any]:
    return {
        "member": each.member_id,
        "instance": each.instance_id,
        "client": each.client_id,
        "host": each.client_host,
        "rack": each.rack,
        "epoch": each.epoch,
        "state": each.state,
        "silent_ms": each.silent_ms,
        "session_timeout_ms": each.session_timeout_ms,
        "rebalance_timeout_ms": each.rebalance_timeout_ms,
        "topics": list(each.topics),
        "pattern": each.pattern,
        "assigned": _names(each.assigned),
        "revoking": _names(each.revoking),
        "target": _names(each.target),
    }


def _member_row(each: GroupMemberInfo) -> list[Any]:
    return [
        each.member_id,
        each.instance_id,
        each.client_id or None,
        each.client_host,
        each.epoch,
        each.state,
        each.silent_ms,
        _names(each.assigned),
        _names(each.revoking),
    ]


def _lag(each: GroupLag) -> dict[str, Any]:
    return {
        "topic": each.partition.topic,
        "partition": each.partition.partition,
        "committed": each.committed,
        "start_offset": each.start_offset,
        "end_offset": each.end_offset,
        "lag": each.records,
        "lag_ms": each.lag_ms,
        "member": each.member_id or None,
        "problem": each.error or None,
    }


def _lag_row(each: GroupLag) -> list[Any]:
    return [
        each.partition.topic or None,
        each.partition.partition,
        each.committed,
        each.start_offset,
        each.end_offset,
        each.records,
        _seconds(each.lag_ms),
        each.member_id or None,
        each.error or None,
    ]


def total(lags: Iterable[GroupLag]) -> int | None:
    """Records of all partitions; None: of some nobody knows."""
    return _sum(each.records for each in lags)


def _by_topic(lags: Sequence[GroupLag]) -> list[dict[str, Any]]:
    topics: dict[str, list[GroupLag]] = {}
    for each in lags:
        topics.setdefault(each.partition.topic, []).append(each)
    return [
        {
            "topic": topic,
            "partitions": len(found),
            "lag": _sum(each.records for each in found),
            "lag_ms": _most(each.lag_ms for each in found),
        }
        for topic, found in topics.items()
    ]


def _sum(values: Iterable[int | None]) -> int | None:
    """None where one of them is not known: a sum that leaves it out would be too small."""
    found = list(values)
    return None if None in found else sum(value for value in found if value is not None)


def _most(values: Iterable[int | None]) -> int | None:
    found = list(values)
    if None in found:
        return None
    return max((value for value in found if value is not None), default=0)


def _seconds(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else f"{milliseconds / 1000:.1f}"


def _names(partitions: Iterable[TopicPartition]) -> list[str]:
    return [_name(each) for each in partitions]


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}:{partition.partition}"
