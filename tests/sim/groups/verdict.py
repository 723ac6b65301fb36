"""Holds what members did and heard against the group's log.

The log is read by the rules that the tests of the machine read it by (`tests.unit.groups.oracle`):
one owner of each partition at any instant, epochs given once, commits by owners, none goes back.
Each of its batches says when it was appended, by the one clock of this world.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from logd.groups import CurrentMember, Forgotten, GroupRecord, OffsetCommitted
from logd.model.ids import TopicPartitionId
from tests.sim.groups.world import GroupNotes, Seek
from tests.unit.groups.oracle import Oracle

#: Times of the log are cut to whole milliseconds.
TICK_MS = 1
#: So many findings of a kind are reported.
REPORTED = 4


@dataclass(slots=True)
class GroupLog:
    """The log of one group. `owners`: by partition, (from when, who), nobody is ''."""

    batches: int = 0
    owners: dict[TopicPartitionId, list[tuple[int, str]]] = field(default_factory=dict)
    #: (member, epoch) -> (when, assigned).
    epochs: dict[tuple[str, int], tuple[int, frozenset[TopicPartitionId]]] = field(
        default_factory=dict
    )
    commits: list[tuple[int, OffsetCommitted]] = field(default_factory=list)
    contradiction: str = ""
    went_back: int = 0

    def owners_about(self, partition: TopicPartitionId, at_ms: int) -> set[str]:
        """Who had it at that moment, give or take a tick."""
        changes = self.owners.get(partition, [])
        first = bisect_right(changes, at_ms - TICK_MS, key=lambda change: change[0]) - 1
        last = bisect_right(changes, at_ms + TICK_MS, key=lambda change: change[0])
        return {who for _, who in changes[max(first, 0) : last]}


@dataclass(slots=True)
class _Seeks:
    """Each seek allows its member one commit that goes back, from then on."""

    left: list[Seek]
    now_ms: int = 0
    used: int = 0

    def allow(self, partition: TopicPartitionId, member_id: str, offset: int) -> bool:
        """Those before the one that is used up allow nothing more."""
        mine = [
            seek
            for seek in self.left
            if seek.partition == partition
            and seek.member_id == member_id
            and seek.at_ms <= self.now_ms + TICK_MS
        ]
        allowing = [index for index, seek in enumerate(mine) if seek.offset <= offset]
        if not allowing:
            return False
        for seek in mine[: allowing[0] + 1]:
            self.left.remove(seek)
        self.used += 1
        return True


def read_group_log(
    group_id: str, decisions: Iterable[tuple[int, list[GroupRecord]]], seeks: Iterable[Seek] = ()
) -> GroupLog:
    """Read all of it: when each decision was appended, and its records. A contradiction ends it."""
    allowed = _Seeks(list(seeks))
    log, oracle = GroupLog(), Oracle(may_go_back=allowed.allow)
    for at_ms, batch in decisions:
        allowed.now_ms = at_ms
        records = [each for each in batch if _group_of(each) == group_id]
        log.batches += bool(records)
        try:
            for record in records:
                oracle.read(record)
                if isinstance(record, CurrentMember):
                    key = (record.member_id, record.epoch)
                    log.epochs[key] = (at_ms, record.assigned)
                elif isinstance(record, OffsetCommitted):
                    log.commits.append((at_ms, record))
        except AssertionError as error:
            log.contradiction = f"at {at_ms} ms: {error}"
            break
        for partition in {*log.owners, *oracle.holders}:
            owner = oracle.holders.get(partition, "")
            changes = log.owners.setdefault(partition, [])
            if not changes or changes[-1][1] != owner:
                changes.append((at_ms, owner))
    log.went_back = allowed.used
    return log


def _group_of(record: GroupRecord) -> str:
    return record.key.group_id if isinstance(record, Forgotten) else record.group_id


def findings(log: GroupLog, notes: GroupNotes) -> list[str]:
    """Everything that is wrong."""
    found = [f"contradiction: {log.contradiction}"] if log.contradiction else []
    for kind in (
        _not_owned(log, notes),
        _heard_of_nothing(log, notes),
        _kept_nowhere(log, notes),
        _gaps(log, notes),
    ):
        found += [finding for finding, _ in zip(kind, range(REPORTED), strict=False)]
    return found


def _not_owned(log: GroupLog, notes: GroupNotes) -> Iterator[str]:
    """Nothing is delivered but by the owner."""
    for delivery in notes.delivered:
        owners = log.owners_about(delivery.partition, delivery.at_ms)
        if delivery.member_id not in owners:
            yield f"delivered-not-owned: {delivery}, the owner is {owners or 'nobody'}"


def _heard_of_nothing(log: GroupLog, notes: GroupNotes) -> Iterator[str]:
    """What a member was told had been committed by then."""
    for heard in notes.heard:
        if heard.epoch <= 0:
            continue
        at_ms, assigned = log.epochs.get((heard.member_id, heard.epoch), (-1, frozenset()))
        if at_ms < 0 or at_ms > heard.at_ms + TICK_MS:
            yield f"told-what-is-not-in-the-log: {heard}"
        elif heard.assignment is not None and heard.assignment != {
            (each.topic_id, each.partition) for each in assigned
        }:
            yield f"told-other-than-the-log: {heard}, assigned is {assigned}"


def _kept_nowhere(log: GroupLog, notes: GroupNotes) -> Iterator[str]:
    """An offset that a member was told is stored is, and was by then."""
    stored: dict[tuple[bytes, int], list[tuple[int, int]]] = {}
    for at_ms, record in log.commits:
        stored.setdefault((record.topic_id, record.partition), []).append((at_ms, record.offset))
    for kept in notes.kept:
        offsets = stored.get((kept.topic_id, kept.partition), [])
        if not any(
            at_ms <= kept.at_ms + TICK_MS and offset >= kept.offset for at_ms, offset in offsets
        ):
            yield f"commit-lost: {kept}"


def _gaps(log: GroupLog, notes: GroupNotes) -> Iterator[str]:
    """Below a committed offset somebody was done with every record, before it was committed."""
    done_by: dict[TopicPartitionId, list[float]] = {}
    for at_ms, record in log.commits:
        partition = TopicPartitionId(record.topic_id, record.partition)
        #: At index n: when everything up to offset n had been done with.
        times = done_by.setdefault(partition, [])
        while len(times) < record.offset:
            offset = len(times)
            done_ms = notes.processed.get((partition, offset), float("inf"))
            times.append(max(done_ms, times[-1] if times else 0))
        if record.offset and times[record.offset - 1] > at_ms + TICK_MS:
            missing = next(n for n, done_ms in enumerate(times) if done_ms > at_ms + TICK_MS)
            yield f"gap-below-commit: {record.offset} of {partition} at {at_ms}, open: {missing}"
