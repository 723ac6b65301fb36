"""Asking for the quorum and its log, and printing both."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from logd_client import RaftEntryInfo, RaftRecordInfo
from logd_wire.errors import LogdError, NetworkError

from logd.cli.exits import ExitCode
from logd.cli.options import Format, Invocation
from logd.cli.output import emit
from logd.cli.times import format_time

if TYPE_CHECKING:
    from logd_client import Admin, QuorumInfo, RaftLogPage

#: Between two looks at the end of a log that is followed.
FOLLOW_SECONDS = 0.25
#: Most entries that a node shows in one answer.
PAGE_ENTRIES = 1_000
#: Entries behind what a folder's ledger knows to be durable, of which there are few.
UNSYNCED_ENTRIES = 10_000
#: Nodes that are asked at a time.
ASKED_AT_ONCE = 8


# ---- status ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quorum:
    """What the nodes said of themselves, and why others said nothing."""

    nodes: Sequence[QuorumInfo]
    silent: Mapping[int, str]

    @property
    def leader(self) -> QuorumInfo | None:
        """The leader of the newest term, if it answered."""
        leaders = [node for node in self.nodes if node.role == "leader"]
        return max(leaders, key=lambda node: node.term, default=None)


def ask_all(admin: Admin) -> Quorum:
    """Ask every node of the cluster for itself, several at a time."""
    numbers = [member.id for member in admin.describe_cluster().members if member.address]
    found: list[QuorumInfo] = []
    silent: dict[int, str] = {}
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        waiting = [(number, pool.submit(admin.describe_quorum, number)) for number in numbers]
        for number, answer in waiting:
            try:
                found.append(answer.result())
            except LogdError as error:
                silent[number] = error.message
    if not found:
        raise NetworkError("no node tells about the quorum", hint="see logd cluster nodes")
    return Quorum(found, silent)


def emit_status(invocation: Invocation, found: Quorum) -> None:
    """`logd raft status`."""
    leader = found.leader
    header = ["NODE", "ROLE", "TERM", "VOTE", "LEADER", "COMMIT", "APPLIED", "END", "SNAPSHOT"]
    rows: list[list[Any]] = [
        [
            node.node_id,
            node.role,
            node.term,
            node.vote,
            node.leader_id,
            node.commit_index,
            node.applied_index,
            node.end_index,
            node.snapshot_index or None,
        ]
        for node in found.nodes
    ]
    nothing = [None] * (len(header) - 2)
    rows += [[number, "no answer", *nothing] for number in found.silent]
    rows.sort(key=lambda row: int(row[0]))
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[Any]]]] = [("quorum", header, rows)]
    if leader is not None and leader.progress:
        tables.append(("progress", *_progress(leader)))
    emit(
        invocation,
        document=_document(found),
        tables=tables,
        names=[str(node.node_id) for node in found.nodes],
    )
    for number, reason in found.silent.items():
        invocation.say(f"node {number}: {reason}")


def _progress(leader: QuorumInfo) -> tuple[list[str], list[list[Any]]]:
    header = ["NODE", "VOTER", "MATCH", "LAG", "HEARD", "STATE"]
    rows: list[list[Any]] = [
        [
            each.id,
            each.voter,
            each.match_index,
            max(0, leader.end_index - each.match_index),
            each.active,
            each.state,
        ]
        for each in leader.progress
    ]
    return header, rows


def _document(found: Quorum) -> dict[str, Any]:
    leader = found.leader
    spokesman = leader or max(found.nodes, key=lambda node: (node.term, node.applied_index))
    return {
        "cluster_id": spokesman.cluster_id,
        "leader_id": None if leader is None else leader.node_id,
        "term": spokesman.term,
        "voters": [
            {"id": voter.id, "directory_id": voter.directory_id, "address": voter.address}
            for voter in spokesman.voters
        ],
        "nodes": [
            {
                "id": node.node_id,
                "role": node.role,
                "term": node.term,
                "vote": node.vote,
                "leader_id": node.leader_id,
                "commit_index": node.commit_index,
                "applied_index": node.applied_index,
                "end_index": node.end_index,
                "snapshot_index": node.snapshot_index,
                "snapshot_term": node.snapshot_term,
            }
            for node in found.nodes
        ],
        "silent": [{"id": number, "reason": why} for number, why in found.silent.items()],
        "progress": [
            {
                "id": each.id,
                "voter": each.voter,
                "match_index": each.match_index,
                "next_index": each.next_index,
                "active": each.active,
                "state": each.state,
            }
            for each in (leader.progress if leader is not None else ())
        ],
    }


# ---- log ---------------------------------------------------------------------------------------

HEADER = ["INDEX", "TERM", "TIME", "KIND", "WHAT"]


class Pages:
    """One node's log, page by page; the same node all the time."""

    def __init__(self, admin: Admin, node_id: int | None) -> None:
        self._admin = admin
        self._node_id = admin.describe_quorum().node_id if node_id is None else node_id

    def page(self, start: int, count: int) -> RaftLogPage:
        return self._admin.read_raft_log(
            start, max_entries=min(count, PAGE_ENTRIES), node_id=self._node_id
        )

    def read(self, start: int | None, count: int) -> list[RaftEntryInfo]:
        """`count` entries from `start` on; None: the last `count`."""
        if start is None:
            # An entry has at least one index, so the last ones do not begin before this.
            start = max(0, self.page(0, 1).end_index - count)
        found: list[RaftEntryInfo] = []
        while len(found) < count:
            page = self.page(start, count - len(found))
            if not page.entries:
                break
            found += page.entries
            start = page.next_index
        return found


def emit_log(invocation: Invocation, entries: Sequence[RaftEntryInfo]) -> None:
    """A part of a log that has an end."""
    emit(
        invocation,
        document=[_entry_document(entry) for entry in entries],
        tables=[("log", HEADER, [row for entry in entries for row in _rows(entry)])],
        names=[str(entry.index) for entry in entries],
    )


def follow(invocation: Invocation, pages: Pages, start: int | None, count: int) -> None:
    """Print what is committed, line by line, and go on with what is committed next."""
    shown = [entry for entry in pages.read(start, count) if entry.committed]
    following = shown[-1].next_index if shown else (start or 0)
    if invocation.format is not Format.JSON:
        print("\t".join(HEADER), flush=True)
    while True:
        for entry in shown:
            _print(invocation, entry)
        if not shown:
            time.sleep(FOLLOW_SECONDS)
        page = pages.page(following, PAGE_ENTRIES)
        # What is not committed may still be replaced; it comes again when it is.
        shown = [entry for entry in page.entries if entry.committed]
        following = shown[-1].next_index if shown else following


def _print(invocation: Invocation, entry: RaftEntryInfo) -> None:
    if invocation.format is Format.JSON:
        print(json.dumps(_entry_document(entry), ensure_ascii=False), flush=True)
        return
    for row in _rows(entry):
        print("\t".join(map(str, row)), flush=True)


def _rows(entry: RaftEntryInfo) -> Iterable[list[Any]]:
    when = format_time(entry.timestamp_ms)
    for place, record in enumerate(entry.records):
        text = f"(not committed) {record.text}" if entry.committed is False else record.text
        yield [entry.index + place, entry.term, when, record.type, text]


def _entry_document(entry: RaftEntryInfo) -> dict[str, Any]:
    return {
        "index": entry.index,
        "next_index": entry.next_index,
        "term": entry.term,
        "timestamp_ms": entry.timestamp_ms,
        "committed": entry.committed,
        "records": [{"type": each.type, "text": each.text} for each in entry.records],
    }


def show_folder(invocation: Invocation, data_dir: Path, start: int | None, count: int) -> None:
    """`logd raft log --data-dir`: a log at rest does not say what of it was committed."""
    from logd.model.ids import LogIndex
    from logd.runtime.raft_reading import read_folder
    from logd.runtime.raft_words import describe_payload

    if start is None:
        begin = read_folder(data_dir, LogIndex(0), entries_max=1)
        # What was not known to be durable may follow: it is shown as well.
        start = max(begin.first_index, begin.durable_end - count)
        found = read_folder(data_dir, LogIndex(start), entries_max=count + UNSYNCED_ENTRIES)
        stored = found.entries[-count:]
    else:
        found = read_folder(data_dir, LogIndex(start), entries_max=count)
        stored = found.entries
    entries = [
        RaftEntryInfo(
            index=each.entry.index,
            next_index=each.entry.next_index,
            term=each.entry.term,
            timestamp_ms=each.time_ms,
            committed=None,
            records=tuple(
                RaftRecordInfo(word.kind, word.text)
                for word in map(describe_payload, each.entry.payloads)
            ),
        )
        for each in stored
    ]
    emit_log(invocation, entries)
    if found.problem:
        reached = stored[-1].entry.next_index if stored else start
        damaged = reached < found.durable_end
        invocation.say(f"{'damage' if damaged else 'note'}: {found.problem}")
        if damaged:
            raise typer.Exit(ExitCode.FAILED)
