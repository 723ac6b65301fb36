"""Requests about groups to the values of the groups' machine, and back; what cannot be one is
refused in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from logd_proto.v1 import group_pb2
from logd_wire.errors import ErrorCode, InvalidGroupError, InvalidRequestError

from logd.groups import (
    Commit,
    FetchOffsets,
    Heartbeat,
    HeartbeatReply,
    MemberDescription,
    OffsetCommitted,
    OffsetToCommit,
    Partitions,
)
from logd.metadata import ClusterImage
from logd.model.ids import TopicId, TopicPartitionId
from logd.rpc.checks import (
    INT32_MAX,
    INT64_MAX,
    check_count,
    check_leader_epoch,
    check_name,
    check_partition,
    check_range,
    check_text,
    check_topic_id,
)
from logd.rpc.errors import presentable, to_proto
from logd.runtime.group_lag import Lag

ID_CHARACTERS_MAX: Final = 249
TOPICS_MAX: Final = 1_000
PARTITIONS_MAX: Final = 10_000
#: The epoch of a static member that goes for now.
EPOCH_MIN: Final = -2


# --- checks --------------------------------------------------------------------------------------


def check_group_id(group_id: str) -> None:
    """Refuse what cannot name a group."""
    if not group_id.strip() or len(group_id) > ID_CHARACTERS_MAX or not group_id.isprintable():
        raise InvalidGroupError(
            f"{group_id[:64]!a} cannot name a group",
            code=ErrorCode.INVALID_GROUP_ID,
            hint=f"use 1 to {ID_CHARACTERS_MAX} characters that can be printed",
        )


def _check_id(what: str, text: str) -> None:
    if not text or len(text) > ID_CHARACTERS_MAX or not text.isprintable():
        raise InvalidRequestError(
            f"{what} {text[:64]!a} is none",
            hint=f"use 1 to {ID_CHARACTERS_MAX} characters that can be printed",
        )


def _check_committer(member_id: str, member_epoch: int) -> None:
    if member_id:
        _check_id("member_id", member_id)
        check_range("member_epoch", member_epoch, 0, INT32_MAX)
    elif member_epoch != -1:
        raise InvalidRequestError(
            f"member_epoch is {member_epoch} without a member", hint="it is -1 then"
        )


# --- requests ------------------------------------------------------------------------------------


def heartbeat(request: group_pb2.GroupHeartbeatRequest, client_host: str) -> Heartbeat:
    """Return what a member says; raises InvalidRequestError, InvalidTopicNameError."""
    _check_id("member_id", request.member_id)
    check_range("member_epoch", request.member_epoch, EPOCH_MIN, INT32_MAX)
    if request.HasField("instance_id"):
        _check_id("instance_id", request.instance_id)
    check_text("rack", request.rack)
    check_text("client_id", request.client_id)
    check_range("rebalance_timeout_ms", request.rebalance_timeout_ms, 0, INT32_MAX)
    check_range("session_timeout_ms", request.session_timeout_ms, 0, INT32_MAX)
    check_range("max_wait_ms", request.max_wait_ms, 0, INT32_MAX)
    names = request.subscription.topics
    check_count("topics", len(names), TOPICS_MAX)
    for name in names:
        check_name(name)
    return Heartbeat(
        group_id=request.group_id,
        member_id=request.member_id,
        member_epoch=request.member_epoch,
        instance_id=request.instance_id if request.HasField("instance_id") else None,
        rack=request.rack if request.HasField("rack") else None,
        rebalance_timeout_ms=request.rebalance_timeout_ms,
        session_timeout_ms=request.session_timeout_ms,
        topics=tuple(sorted(set(names))) if request.HasField("subscription") else None,
        pattern=(
            request.subscription_pattern if request.HasField("subscription_pattern") else None
        ),
        assignor=request.assignor if request.HasField("assignor") else None,
        owned=(frozenset(partitions(request.owned.topics)) if request.HasField("owned") else None),
        client_id=request.client_id,
        client_host=client_host,
    )


def commit(request: group_pb2.CommitOffsetsRequest) -> Commit:
    """Return what is to be stored; what is wrong with one offset is left to its own answer."""
    _check_committer(request.member_id, request.member_epoch)
    check_range("sequence", request.sequence, 0, INT64_MAX)
    check_count("offsets", len(request.offsets), PARTITIONS_MAX)
    offsets = []
    for each in request.offsets:
        check_topic_id(each.topic_id)
        check_partition(each.partition)
        check_range("offset", each.offset, 0, INT64_MAX)
        check_leader_epoch(each.leader_epoch)
        offsets.append(
            OffsetToCommit(
                TopicId(each.topic_id),
                each.partition,
                each.offset,
                each.leader_epoch,
                each.metadata,
            )
        )
    return Commit(
        request.group_id,
        request.member_id,
        request.member_epoch,
        tuple(offsets),
        request.sequence,
    )


def fetch_offsets(request: group_pb2.FetchOffsetsRequest) -> FetchOffsets:
    """Return which offsets to read."""
    _check_committer(request.member_id, request.member_epoch)
    wanted = partitions(request.topics)
    return FetchOffsets(
        request.group_id,
        request.member_id,
        request.member_epoch,
        tuple(wanted) if request.topics else None,
    )


def partitions(topics: Iterable[group_pb2.TopicPartitions]) -> list[TopicPartitionId]:
    """Return partitions in the order of the request; raises InvalidRequestError."""
    found = []
    for topic in topics:
        check_topic_id(topic.topic_id)
        for partition in topic.partitions:
            check_partition(partition)
            found.append(TopicPartitionId(TopicId(topic.topic_id), partition))
    check_count("partitions", len(found), PARTITIONS_MAX)
    return found


# --- answers -------------------------------------------------------------------------------------


def topic_names(image: ClusterImage) -> Callable[[TopicId], str]:
    """Return what says the name of a topic; empty: it is gone."""

    def name(topic_id: TopicId) -> str:
        topic = image.topics.get(topic_id)
        return "" if topic is None else topic.name

    return name


def topics_message(
    held: Partitions, name: Callable[[TopicId], str]
) -> list[group_pb2.TopicPartitions]:
    """Partitions by topic name and number."""
    numbers: dict[TopicId, list[int]] = {}
    for topic_id, partition in sorted(held):
        numbers.setdefault(topic_id, []).append(partition)
    messages = [
        group_pb2.TopicPartitions(topic_id=topic_id, partitions=each, topic=name(topic_id))
        for topic_id, each in numbers.items()
    ]
    return sorted(messages, key=lambda message: message.topic)


def heartbeat_message(
    reply: HeartbeatReply, name: Callable[[TopicId], str]
) -> group_pb2.GroupHeartbeatResponse:
    """What a member is told."""
    message = group_pb2.GroupHeartbeatResponse(
        member_id=reply.member_id,
        member_epoch=reply.member_epoch,
        heartbeat_interval_ms=reply.heartbeat_interval_ms,
        session_timeout_ms=reply.session_timeout_ms,
    )
    if reply.assignment is not None:
        message.assignment.SetInParent()
        message.assignment.topics.extend(topics_message(reply.assignment, name))
    return message


def offset_message(
    committed: OffsetCommitted, name: Callable[[TopicId], str]
) -> group_pb2.CommittedOffset:
    """One committed offset."""
    return group_pb2.CommittedOffset(
        topic_id=committed.topic_id,
        topic=name(committed.topic_id),
        partition=committed.partition,
        offset=committed.offset,
        leader_epoch=committed.leader_epoch,
        metadata=committed.metadata,
        commit_time_ms=committed.commit_ms,
    )


def lag_message(lag: Lag, name: Callable[[TopicId], str]) -> group_pb2.PartitionLag:
    """How far one partition is behind."""
    position, bounds = lag.position, lag.bounds
    return group_pb2.PartitionLag(
        topic_id=position.partition.topic_id,
        topic=name(position.partition.topic_id),
        partition=position.partition.partition,
        member_id=position.member_id,
        offset=position.offset,
        log_start_offset=-1 if bounds is None else bounds.start_offset,
        high_watermark=-1 if bounds is None else bounds.high_watermark,
        records=lag.records,
        lag_ms=lag.lag_ms,
        error=None if lag.error is None else to_proto(presentable(lag.error, "GroupLag")),
    )


def member_message(
    member: MemberDescription, name: Callable[[TopicId], str]
) -> group_pb2.GroupMember:
    """One member."""
    return group_pb2.GroupMember(
        member_id=member.member_id,
        instance_id=member.instance_id,
        rack=member.rack,
        client_id=member.client_id,
        client_host=member.client_host,
        member_epoch=member.member_epoch,
        state=member.state,
        subscription=member.topics,
        subscription_pattern=member.pattern,
        assignment=topics_message(member.assigned, name),
        revoking=topics_message(member.revoking, name),
        target=topics_message(member.target, name),
        session_timeout_ms=member.session_timeout_ms,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        silent_ms=member.silent_ms,
    )
