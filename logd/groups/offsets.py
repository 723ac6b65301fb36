"""Committed offsets: who may commit, what is stored, when it is forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from logd_wire.errors import (
    ErrorCode,
    GroupNotEmptyError,
    InvalidGroupError,
    InvalidRequestError,
    LogdError,
    OffsetOutOfRangeError,
    RebalanceError,
    UnknownTopicError,
)

from logd.groups.group import Group
from logd.groups.records import Forgotten, GroupRecord, OffsetCommitted, OffsetKey
from logd.groups.requests import Commit, Decision, FetchOffsets, OffsetToCommit
from logd.groups.settings import GroupSettings
from logd.groups.subscriptions import Subscriptions
from logd.model.ids import TopicPartitionId, format_id

#: End of what is committed in each partition's log, where known.
Ends = Mapping[TopicPartitionId, int]
Outcomes = tuple[LogdError | None, ...]
_NO_ENDS: Final[Ends] = {}
_NO_OFFSETS: Final[Mapping[TopicPartitionId, OffsetCommitted]] = {}


class Offsets:
    """The newest committed offset of each group and partition."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[TopicPartitionId, OffsetCommitted]] = {}

    def apply(self, record: OffsetCommitted) -> None:
        of_group = self._groups.setdefault(record.group_id, {})
        of_group[TopicPartitionId(record.topic_id, record.partition)] = record

    def forget(self, key: OffsetKey) -> None:
        of_group = self._groups.get(key.group_id)
        if of_group is not None:
            of_group.pop(TopicPartitionId(key.topic_id, key.partition), None)
            if not of_group:
                del self._groups[key.group_id]

    def of(self, group_id: str) -> Mapping[TopicPartitionId, OffsetCommitted]:
        return self._groups.get(group_id, _NO_OFFSETS)

    def group_ids(self) -> tuple[str, ...]:
        """Groups that have committed something."""
        return tuple(self._groups)


def check_member(group: Group | None, member_id: str, member_epoch: int) -> None:
    """Raise RebalanceError unless the member is in its newest epoch."""
    current = None if group is None else group.current.get(member_id)
    if current is None or current.epoch < 0:
        raise unknown_member(member_id)
    if member_epoch < current.epoch:
        raise RebalanceError(
            f"member {member_id!r} is in epoch {current.epoch}, not {member_epoch}",
            hint="the next heartbeat tells the epoch and what the member may hold; then ask again",
            code=ErrorCode.STALE_MEMBER_EPOCH,
        )
    if member_epoch > current.epoch:
        raise fenced(member_id, member_epoch)


def unknown_member(member_id: str) -> RebalanceError:
    return RebalanceError(
        f"the group has no member {member_id!r}",
        hint="it left, or was silent for longer than its session_timeout_ms, or took longer than"
        " its rebalance_timeout_ms to give partitions up: drop everything and join again",
        code=ErrorCode.UNKNOWN_MEMBER,
    )


def fenced(member_id: str, member_epoch: int) -> RebalanceError:
    return RebalanceError(
        f"member {member_id!r} is not in epoch {member_epoch}",
        hint="drop everything and join again",
        code=ErrorCode.FENCED_MEMBER_EPOCH,
    )


class Committer:
    """Judges commits and reads offsets; one for all groups."""

    def __init__(
        self, settings: GroupSettings, subscriptions: Subscriptions, offsets: Offsets
    ) -> None:
        self._settings = settings
        self._subscriptions = subscriptions
        self._offsets = offsets

    def commit(
        self, group: Group | None, request: Commit, wall_ms: int, ends: Ends = _NO_ENDS
    ) -> Decision[Outcomes]:
        """Store what can be stored; raises a LogdError when the whole request is refused."""
        self._check(group, request)
        records: list[GroupRecord] = []
        outcomes: list[LogdError | None] = []
        for asked in request.offsets:
            refusal = self._refusal(group, request, asked, ends)
            outcomes.append(refusal)
            if refusal is None and not self._late(request, asked):
                records.append(self._record(request, asked, wall_ms))
        return Decision(tuple(records), tuple(outcomes))

    def fetch(self, group: Group | None, request: FetchOffsets) -> tuple[OffsetCommitted, ...]:
        """The offsets of these partitions that have one, by topic and partition."""
        if request.member_id:
            check_member(group, request.member_id, request.member_epoch)
        stored = self._offsets.of(request.group_id)
        if request.partitions is None:
            return tuple(stored[partition] for partition in sorted(stored))
        asked = sorted(set(request.partitions))
        return tuple(stored[partition] for partition in asked if partition in stored)

    def _check(self, group: Group | None, request: Commit) -> None:
        if len(request.offsets) > self._settings.commit_offsets_max:
            raise InvalidRequestError(
                f"a commit of {len(request.offsets)} offsets",
                hint=f"commit {self._settings.commit_offsets_max} at a time at most",
            )
        if len({(each.topic_id, each.partition) for each in request.offsets}) < len(
            request.offsets
        ):
            raise InvalidRequestError("a commit names a partition twice")
        if request.member_id:
            check_member(group, request.member_id, request.member_epoch)
        elif group is not None and group.kept:
            raise GroupNotEmptyError(
                f"group {request.group_id!r} has {group.members_in_words}",
                hint="only they commit: stop them first, or use another group",
                code=ErrorCode.GROUP_NOT_EMPTY,
            )
        elif request.member_epoch != -1:
            raise InvalidRequestError(
                f"member epoch {request.member_epoch} without a member", hint="say -1"
            )

    def _refusal(
        self, group: Group | None, request: Commit, asked: OffsetToCommit, ends: Ends
    ) -> LogdError | None:
        partition = TopicPartitionId(asked.topic_id, asked.partition)
        view = self._subscriptions.view_of(asked.topic_id)
        if view is None:
            return UnknownTopicError(
                f"there is no topic {format_id(asked.topic_id)}",
                hint="it was deleted, and what was committed in it went with it",
            )
        where = f"{self._subscriptions.name_of(asked.topic_id)}[{asked.partition}]"
        if not 0 <= asked.partition < view.partitions:
            return UnknownTopicError(
                f"there is no partition {where}",
                hint=f"the topic has {view.partitions}, from 0 on",
                code=ErrorCode.UNKNOWN_PARTITION,
            )
        end = ends.get(partition)
        if asked.offset < 0 or (end is not None and asked.offset > end):
            return OffsetOutOfRangeError(
                f"offset {asked.offset} of {where} cannot be committed",
                hint="the next offset to read lies between 0 and the end of the log"
                + ("" if end is None else f", {end}"),
            )
        if len(asked.metadata.encode()) > self._settings.metadata_bytes_max:
            return InvalidGroupError(
                "the metadata of an offset is too large",
                hint=f"it has {self._settings.metadata_bytes_max} bytes in UTF-8 at most",
                code=ErrorCode.OFFSET_METADATA_TOO_LARGE,
            )
        owner = None if group is None else group.owners.get(partition)
        if request.member_id and owner not in {None, request.member_id}:
            return RebalanceError(
                f"{partition} belongs to another member of the group by now",
                hint="whoever has it commits it; what was read is read again there",
                code=ErrorCode.STALE_MEMBER_EPOCH,
            )
        return None

    def _late(self, request: Commit, asked: OffsetToCommit) -> bool:
        """Whether this is an older commit than the one that is stored, or the same again."""
        partition = TopicPartitionId(asked.topic_id, asked.partition)
        stored = self._offsets.of(request.group_id).get(partition)
        return (
            stored is not None
            and request.member_id != ""
            and request.sequence > 0
            and stored.member_epoch == request.member_epoch
            and request.sequence <= stored.sequence
        )

    def _record(self, request: Commit, asked: OffsetToCommit, wall_ms: int) -> OffsetCommitted:
        return OffsetCommitted(
            group_id=request.group_id,
            topic_id=asked.topic_id,
            partition=asked.partition,
            offset=asked.offset,
            leader_epoch=asked.leader_epoch,
            metadata=asked.metadata,
            commit_ms=wall_ms,
            topic=self._subscriptions.name_of(asked.topic_id) or "",
            member_epoch=request.member_epoch,
            sequence=request.sequence,
        )

    def expired(self, group: Group | None, group_id: str, wall_ms: int) -> Iterator[Forgotten]:
        """The offsets of a group without members that nobody came back for in time."""
        if group is not None and (group.kept or (group.epoch and group.empty_since_ms < 0)):
            return
        empty_since_ms = -1 if group is None else group.empty_since_ms
        retention_ms = self._settings.offsets_retention_ms
        for stored in self._offsets.of(group_id).values():
            if max(stored.commit_ms, empty_since_ms) + retention_ms <= wall_ms:
                yield Forgotten(OffsetKey(group_id, stored.topic_id, stored.partition))

    def gone(self) -> Iterator[Forgotten]:
        """The offsets of topics that are no more."""
        for group_id in self._offsets.group_ids():
            for stored in self._offsets.of(group_id).values():
                if self._subscriptions.name_of(stored.topic_id) is None:
                    yield Forgotten(OffsetKey(group_id, stored.topic_id, stored.partition))
