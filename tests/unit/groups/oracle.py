"""What must be true of a group's log, read by rules of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from logd.groups import (
    CurrentKey,
    CurrentMember,
    Forgotten,
    GroupEpoch,
    GroupRecord,
    OffsetCommitted,
    OffsetKey,
)
from logd.model.ids import TopicPartitionId

#: (partition, member, offset) -> whether that member has said that it goes on there, further back.
MayGoBack = Callable[[TopicPartitionId, str, int], bool]


def _never(*_: object) -> bool:
    return False


class Oracle:
    """Reads a log record by record, and fails where it says what it must not."""

    def __init__(self, log: Iterable[GroupRecord] = (), *, may_go_back: MayGoBack = _never) -> None:
        self._may_go_back = may_go_back
        self.holders: dict[TopicPartitionId, str] = {}
        self.epochs: dict[str, int] = {}
        self.given: set[int] = set()
        self.offsets: dict[TopicPartitionId, int] = {}
        for record in log:
            self.read(record)

    def read(self, record: GroupRecord) -> None:
        if isinstance(record, CurrentMember):
            self._read_member(record)
        elif isinstance(record, GroupEpoch):
            assert record.epoch > max(self.given, default=0) or record.empty_since_ms >= 0
        elif isinstance(record, OffsetCommitted):
            self._read_offset(record)
        elif isinstance(record, Forgotten) and isinstance(record.key, CurrentKey):
            self._release(record.key.member_id)
        elif isinstance(record, Forgotten) and isinstance(record.key, OffsetKey):
            del self.offsets[TopicPartitionId(record.key.topic_id, record.key.partition)]

    def _read_member(self, record: CurrentMember) -> None:
        if record.epoch > 0:
            assert record.epoch not in self.given, f"epoch {record.epoch} is given twice"
            self.given.add(record.epoch)
        assert not record.assigned & record.revoking
        self._release(record.member_id)
        for partition in record.assigned | record.revoking:
            assert partition not in self.holders, f"{partition} has two owners"
            self.holders[partition] = record.member_id
        self.epochs[record.member_id] = record.epoch

    def _read_offset(self, record: OffsetCommitted) -> None:
        partition = TopicPartitionId(record.topic_id, record.partition)
        committers = [each for each, epoch in self.epochs.items() if epoch == record.member_epoch]
        assert len(committers) == 1, f"a commit in epoch {record.member_epoch}, which nobody has"
        assert self.holders.get(partition, committers[0]) == committers[0]
        before = self.offsets.get(partition, 0)
        assert record.offset >= before or self._may_go_back(
            partition, committers[0], record.offset
        ), f"{partition} goes back from {before} to {record.offset}"
        self.offsets[partition] = record.offset

    def _release(self, member_id: str) -> None:
        self.epochs.pop(member_id, None)
        for partition in [each for each, holder in self.holders.items() if holder == member_id]:
            del self.holders[partition]
