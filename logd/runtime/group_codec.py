"""Records of a group's log ⇄ key and value of the records in `__consumer_offsets`.

The bytes are part of the on-disk format: fields are only ever added, and with a new meaning goes
a new version. Equal keys have equal bytes, or compaction would keep both. A record that this
version cannot read in full ends the loading: to skip it would be to coordinate another group than
the one that was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar, assert_never

from google.protobuf.message import DecodeError, Message
from logd_proto.v1 import record_pb2 as pb
from logd_wire.errors import DataLossError, ErrorCode, LogdError

from logd.groups.records import (
    CurrentKey,
    CurrentMember,
    Forgotten,
    GroupEpoch,
    GroupKey,
    GroupRecord,
    MemberKept,
    MemberKey,
    MemberState,
    OffsetCommitted,
    OffsetKey,
    Partitions,
    RecordKey,
    TargetEpoch,
    TargetEpochKey,
    TargetKey,
    TargetMember,
    key_of,
)
from logd.model.ids import ID_BYTES, TopicId, TopicPartitionId

#: Version of the records this software writes, and the newest it reads.
GROUP_VERSION: Final = 1

M = TypeVar("M", bound=Message)

_EPOCH: Final = pb.GROUP_LOG_KIND_EPOCH
_MEMBER: Final = pb.GROUP_LOG_KIND_MEMBER
_TARGET_EPOCH: Final = pb.GROUP_LOG_KIND_TARGET_EPOCH
_TARGET: Final = pb.GROUP_LOG_KIND_TARGET
_CURRENT: Final = pb.GROUP_LOG_KIND_CURRENT
_OFFSET: Final = pb.GROUP_LOG_KIND_OFFSET
#: The field of a value that goes with a kind of key.
_FIELDS: Final[Mapping[int, str]] = MappingProxyType(
    {
        _EPOCH: "epoch",
        _MEMBER: "member",
        _TARGET_EPOCH: "target_epoch",
        _TARGET: "target",
        _CURRENT: "current",
        _OFFSET: "offset",
    }
)


class EncodedRecord(NamedTuple):
    """Key and value of one record of the log; without value the key is forgotten."""

    key: bytes
    value: bytes | None


# --- keys ----------------------------------------------------------------------------------------


def _encode_key(key: RecordKey) -> bytes:
    match key:
        case GroupKey():
            message = pb.GroupLogKey(kind=_EPOCH, group_id=key.group_id)
        case MemberKey():
            message = _member_key(_MEMBER, key)
        case TargetEpochKey():
            message = pb.GroupLogKey(kind=_TARGET_EPOCH, group_id=key.group_id)
        case TargetKey():
            message = _member_key(_TARGET, key)
        case CurrentKey():
            message = _member_key(_CURRENT, key)
        case OffsetKey():
            message = pb.GroupLogKey(
                kind=_OFFSET,
                group_id=key.group_id,
                topic_id=key.topic_id,
                partition=key.partition,
            )
        case _:
            assert_never(key)
    return message.SerializeToString(deterministic=True)


def _member_key(kind: pb.GroupLogKind, key: MemberKey | TargetKey | CurrentKey) -> pb.GroupLogKey:
    return pb.GroupLogKey(kind=kind, group_id=key.group_id, member_id=key.member_id)


def _key_from(message: pb.GroupLogKey) -> RecordKey:
    group_id = message.group_id
    if message.kind == _EPOCH:
        return GroupKey(group_id)
    if message.kind == _MEMBER:
        return MemberKey(group_id, message.member_id)
    if message.kind == _TARGET_EPOCH:
        return TargetEpochKey(group_id)
    if message.kind == _TARGET:
        return TargetKey(group_id, message.member_id)
    if message.kind == _CURRENT:
        return CurrentKey(group_id, message.member_id)
    return OffsetKey(group_id, _topic_id(message.topic_id), message.partition)


# --- records -------------------------------------------------------------------------------------


def encode_group_record(record: GroupRecord) -> EncodedRecord:
    """Return the bytes of a record; equal records have equal bytes."""
    key = _encode_key(key_of(record))
    if isinstance(record, Forgotten):
        return EncodedRecord(key, None)
    return EncodedRecord(key, _value_of(record).SerializeToString(deterministic=True))


def _value_of(
    record: GroupEpoch | MemberKept | TargetEpoch | TargetMember | CurrentMember | OffsetCommitted,
) -> pb.GroupLogRecord:
    message = pb.GroupLogRecord(version=GROUP_VERSION)
    match record:
        case GroupEpoch():
            message.epoch.epoch = record.epoch
            message.epoch.assignor = record.assignor
            message.epoch.empty_since_ms = record.empty_since_ms
        case MemberKept():
            message.member.CopyFrom(_member_message(record))
        case TargetEpoch():
            message.target_epoch.epoch = record.epoch
        case TargetMember():
            message.target.SetInParent()
            message.target.partitions.extend(_grouped(record.partitions))
        case CurrentMember():
            message.current.epoch = record.epoch
            message.current.previous_epoch = record.previous_epoch
            message.current.state = record.state.value
            message.current.assigned.extend(_grouped(record.assigned))
            message.current.revoking.extend(_grouped(record.revoking))
        case OffsetCommitted():
            message.offset.CopyFrom(_offset_message(record))
        case _:
            assert_never(record)
    return message


def decode_group_record(key: bytes | None, value: bytes | None) -> GroupRecord:
    """Return the record.

    Raises LogdError (UNSUPPORTED_VERSION) for a version or a kind that this software does not
    know, DataLossError for bytes that are no record.
    """
    parsed = _parse(pb.GroupLogKey(), key or b"")
    if parsed.kind not in _FIELDS:
        raise _unsupported(f"is of kind {parsed.kind}")
    if value is None:
        return Forgotten(_key_from(parsed))
    message = _parse(pb.GroupLogRecord(), value)
    if not 1 <= message.version <= GROUP_VERSION:
        raise _unsupported(f"has version {message.version}")
    if message.WhichOneof("kind") != _FIELDS[parsed.kind]:
        raise DataLossError(
            f"a record of a group's log has a key of kind {parsed.kind} and a value of kind "
            f"{message.WhichOneof('kind')}"
        )
    return _record_from(parsed, message)


def _record_from(key: pb.GroupLogKey, message: pb.GroupLogRecord) -> GroupRecord:
    group_id, member_id = key.group_id, key.member_id
    if key.kind == _EPOCH:
        epoch = message.epoch
        return GroupEpoch(group_id, epoch.epoch, epoch.assignor, epoch.empty_since_ms)
    if key.kind == _MEMBER:
        return _member(group_id, member_id, message.member)
    if key.kind == _TARGET_EPOCH:
        return TargetEpoch(group_id, message.target_epoch.epoch)
    if key.kind == _TARGET:
        return TargetMember(group_id, member_id, _partitions(message.target.partitions))
    if key.kind == _CURRENT:
        return _current(group_id, member_id, message.current)
    return _offset(key, message.offset)


def _parse(message: M, data: bytes) -> M:
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise DataLossError(
            f"{len(data)} bytes are not a part of a record of a group's log: {error}"
        ) from None
    return message


def _unsupported(what: str) -> LogdError:
    return LogdError(
        f"a record of a group's log {what}; this software reads versions up to {GROUP_VERSION}",
        hint="it was written by a newer version: run that version or a later one on every node",
        code=ErrorCode.UNSUPPORTED_VERSION,
        retriable=False,
    )


def _member_message(member: MemberKept) -> pb.GroupMemberKept:
    return pb.GroupMemberKept(
        instance_id=member.instance_id,
        rack=member.rack,
        client_id=member.client_id,
        client_host=member.client_host,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        session_timeout_ms=member.session_timeout_ms,
        topics=member.topics,
        pattern=member.pattern,
        assignor=member.assignor,
    )


def _member(group_id: str, member_id: str, message: pb.GroupMemberKept) -> MemberKept:
    return MemberKept(
        group_id,
        member_id,
        instance_id=message.instance_id,
        rack=message.rack,
        client_id=message.client_id,
        client_host=message.client_host,
        rebalance_timeout_ms=message.rebalance_timeout_ms,
        session_timeout_ms=message.session_timeout_ms,
        topics=tuple(message.topics),
        pattern=message.pattern,
        assignor=message.assignor,
    )


def _current(group_id: str, member_id: str, message: pb.GroupCurrentSet) -> CurrentMember:
    try:
        state = MemberState(message.state)
    except ValueError:
        raise _unsupported(f"knows a member state {message.state[:64]!a}") from None
    return CurrentMember(
        group_id,
        member_id,
        message.epoch,
        message.previous_epoch,
        state,
        _partitions(message.assigned),
        _partitions(message.revoking),
    )


def _offset_message(committed: OffsetCommitted) -> pb.GroupOffsetCommitted:
    return pb.GroupOffsetCommitted(
        offset=committed.offset,
        leader_epoch=committed.leader_epoch,
        metadata=committed.metadata,
        commit_ms=committed.commit_ms,
        topic=committed.topic,
        member_epoch=committed.member_epoch,
        sequence=committed.sequence,
    )


def _offset(key: pb.GroupLogKey, message: pb.GroupOffsetCommitted) -> OffsetCommitted:
    return OffsetCommitted(
        key.group_id,
        _topic_id(key.topic_id),
        key.partition,
        message.offset,
        message.leader_epoch,
        message.metadata,
        message.commit_ms,
        message.topic,
        message.member_epoch,
        message.sequence,
    )


def _grouped(partitions: Partitions) -> list[pb.GroupPartitions]:
    numbers: dict[TopicId, list[int]] = {}
    for topic_id, number in sorted(partitions):
        numbers.setdefault(topic_id, []).append(number)
    return [
        pb.GroupPartitions(topic_id=topic_id, partitions=each) for topic_id, each in numbers.items()
    ]


def _partitions(message: Iterable[pb.GroupPartitions]) -> Partitions:
    return frozenset(
        TopicPartitionId(_topic_id(each.topic_id), number)
        for each in message
        for number in each.partitions
    )


def _topic_id(value: bytes) -> TopicId:
    if len(value) != ID_BYTES:
        raise DataLossError(f"an id in a group's log has {len(value)} bytes, not {ID_BYTES}")
    return TopicId(value)
