"""Topics as documents and tables. The documents are a stable interface: keys are only added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from logd.cli.options import Format, Invocation
from logd.cli.output import emit
from logd.cli.partition_view import problems_of, states_of

if TYPE_CHECKING:
    from logd_client import CompactedPartition, MemberInfo, PartitionInfo, TopicInfo

Table = tuple[str, Sequence[str], Sequence[Sequence[Any]]]


def topic_document(info: TopicInfo, states: Mapping[int, str]) -> dict[str, Any]:
    """What `topic describe NAME -F json` prints. `states`: of the nodes, by id."""
    return {
        "name": info.name,
        "id": info.id,
        "internal": info.internal,
        "durability": info.durability,
        "partitions": [
            {
                "partition": item.partition,
                "leader": item.leader,
                "leader_epoch": item.leader_epoch,
                "replicas": list(item.replicas),
                "isr": list(item.isr),
                "start_offset": _measured(item, item.start_offset),
                "end_offset": _measured(item, item.end_offset),
                "size_bytes": _measured(item, item.size_bytes),
                "segments": _measured(item, item.segments),
                "damage": list(item.damage),
                "retention": item.retention,
                "compaction": item.compaction,
                "eligible": list(item.eligible),
                "partition_epoch": item.partition_epoch,
                "copies": [asdict(copy) for copy in item.copies],
                "problems": problems_of(info, item, states),
            }
            for item in sorted(info.partitions, key=lambda item: item.partition)
        ],
        "config": dict(sorted(info.config.items())),
    }


def _measured(item: PartitionInfo, figure: int) -> int | None:
    """What the leader said of a partition, or nothing where it did not answer."""
    return None if item.end_offset < 0 else figure


def _list_row(info: TopicInfo) -> list[Any]:
    records = sum(item.end_offset - item.start_offset for item in info.partitions)
    size_bytes = sum(item.size_bytes for item in info.partitions)
    replicas = max((len(item.replicas) for item in info.partitions), default=0)
    return [info.name, len(info.partitions), replicas, records, size_bytes, info.id]


def emit_list(invocation: Invocation, topics: Sequence[TopicInfo], *, wide: bool) -> None:
    """One line a topic; `wide` adds sizes and ids."""
    rows = [_list_row(info) for info in topics]
    document = [
        {
            "name": row[0],
            "id": row[5],
            "internal": info.internal,
            "partitions": row[1],
            "replication_factor": row[2],
            "records": row[3],
            "size_bytes": row[4],
        }
        for info, row in zip(topics, rows, strict=True)
    ]
    header = ["NAME", "PARTITIONS", "REPLICAS", "RECORDS", "BYTES", "ID"]
    columns = len(header) if wide else 3
    emit(
        invocation,
        document=document,
        tables=[("topics", header[:columns], [row[:columns] for row in rows])],
        names=[info.name for info in topics],
    )


def emit_description(
    invocation: Invocation,
    topics: Sequence[TopicInfo],
    members: Iterable[MemberInfo],
    *,
    summary: bool,
    partitions: bool,
    config: bool,
    cleanup: bool,
) -> None:
    """Everything about each topic, or the chosen sections."""
    states = states_of(members)
    documents = [topic_document(info, states) for info in topics]
    tables: list[Table] = []
    wide = invocation.format is Format.WIDE
    for info in topics:
        if summary:
            tables.append(_summary_table(info))
        if partitions:
            tables.append(_partitions_table(info, wide=wide))
            tables.extend(_problems_table(info, states))
        if cleanup:
            tables.append(_cleanup_table(info))
        if config:
            tables.append(_config_table(info, wide=wide))
    emit(
        invocation,
        document=documents[0] if len(documents) == 1 else documents,
        tables=tables,
        names=[info.name for info in topics],
    )


def _summary_table(info: TopicInfo) -> Table:
    _name, count, replicas, records, size_bytes, _id = _list_row(info)
    rows = [
        ["name", info.name],
        ["id", info.id],
        ["partitions", count],
        ["replicas", replicas],
        ["records", records],
        ["bytes", size_bytes],
        ["durability", info.durability],
    ]
    return f"{info.name}: summary", ["FIELD", "VALUE"], rows


def _partitions_table(info: TopicInfo, *, wide: bool) -> Table:
    header = ["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "END", "RECORDS", "BYTES"]
    rows = [
        [
            item.partition,
            item.leader,
            item.leader_epoch,
            item.replicas,
            item.isr,
            _measured(item, item.start_offset),
            _measured(item, item.end_offset),
            _measured(item, item.end_offset - item.start_offset),
            _measured(item, item.size_bytes),
            _measured(item, item.segments),
            "; ".join(item.damage) or None,
        ]
        for item in info.partitions
    ]
    damaged = any(item.damage for item in info.partitions)
    if wide or damaged:
        return f"{info.name}: partitions", [*header, "SEGMENTS", "DAMAGE"], rows
    return f"{info.name}: partitions", header, [row[: len(header)] for row in rows]


def _problems_table(info: TopicInfo, states: Mapping[int, str]) -> list[Table]:
    """What is wrong with the replicas, and why; none where nothing is."""
    rows = [
        [item.partition, problem]
        for item in info.partitions
        for problem in problems_of(info, item, states)
    ]
    return [(f"{info.name}: problems", ["PARTITION", "PROBLEM"], rows)] if rows else []


def _cleanup_table(info: TopicInfo) -> Table:
    """The leader's words, and of a compacted topic with replicas a line for each other copy: those
    compact for themselves, and their oldest segments go when the leader's do."""
    rows = []
    for item in info.partitions:
        rows.append([item.partition, item.leader, item.retention, item.compaction])
        if len(item.replicas) > 1 and "compact" in info.config.get("cleanup.policy", ""):
            told = {copy.node_id: copy.compaction for copy in item.copies}
            rows += [
                [item.partition, node_id, "as the leader's", told.get(node_id, "did not answer")]
                for node_id in item.replicas
                if node_id != item.leader
            ]
    return f"{info.name}: cleanup", ["PARTITION", "NODE", "RETENTION", "COMPACTION"], rows


def _config_table(info: TopicInfo, *, wide: bool) -> Table:
    entries = {entry.name: entry for entry in info.config_entries}
    rows = []
    for name, value in sorted(info.config.items()):
        entry = entries.get(name)
        rows.append([name, value, entry.source if entry else None, entry.doc if entry else None])
    header = ["KEY", "VALUE", "SOURCE", "MEANING"]
    columns = 4 if wide else 3
    return f"{info.name}: config", header[:columns], [row[:columns] for row in rows]


def emit_compacted(
    invocation: Invocation, name: str, found: Mapping[int, CompactedPartition]
) -> None:
    """What came of a compaction, copy by copy, the leader's first."""
    parts = [copy for number in sorted(found) for copy in (found[number], *found[number].others)]
    header = ["PARTITION", "NODE", "BYTES_BEFORE", "BYTES", "RECORDS_BEFORE", "RECORDS", "OUTCOME"]
    rows = [
        [
            part.partition,
            part.node_id,
            part.bytes_before,
            part.bytes_after,
            part.records_before,
            part.records_after,
            part.outcome,
        ]
        for part in parts
    ]
    keys = [column.lower() for column in header]
    document = [
        {**dict(zip(keys, row, strict=True)), "done": part.done}
        for part, row in zip(parts, rows, strict=True)
    ]
    emit(
        invocation,
        document=document,
        tables=[("compacted", header, rows)],
        names=[f"{name}:{number}" for number in sorted(found)],
    )


def emit_offsets(
    invocation: Invocation, info: TopicInfo, at: Mapping[int, int | None] | None
) -> None:
    """First and end offset of each partition; with `at` the first offset at or after a time."""
    document = []
    rows = []
    for item in info.partitions:
        entry: dict[str, Any] = {
            "partition": item.partition,
            "start_offset": _measured(item, item.start_offset),
            "end_offset": _measured(item, item.end_offset),
        }
        row = [item.partition, entry["start_offset"], entry["end_offset"]]
        if at is not None:
            entry["time_offset"] = at.get(item.partition)
            row.append(entry["time_offset"])
        document.append(entry)
        rows.append(row)
    header = ["PARTITION", "START", "END"] + ([] if at is None else ["AT"])
    emit(
        invocation,
        document=document,
        tables=[("offsets", header, rows)],
        names=[f"{info.name}:{item.partition}" for item in info.partitions],
    )
