"""Asking nodes for offsets: each partition's leader, all of a node's partitions in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from logd_proto.v1 import log_pb2
from logd_wire.errors import (
    ErrorCode,
    LogdError,
    UnknownTopicError,
    error_for,
)

from logd_client._core.metadata import Leader
from logd_client._core.sender import STALE_METADATA
from logd_client._engine.cluster import Cluster
from logd_client._transport.errors import from_proto
from logd_client._transport.methods import LIST_OFFSETS
from logd_client.values import OffsetAndTimestamp, TopicPartition

Answer = OffsetAndTimestamp | LogdError


class Spec(NamedTuple):
    """What is asked: the first offset, the end offset, or the first at or after a time."""

    kind: str
    timestamp_ms: int = -1

    @classmethod
    def earliest(cls) -> Spec:
        return cls("earliest")

    @classmethod
    def latest(cls) -> Spec:
        return cls("latest")

    @classmethod
    def at_time(cls, timestamp_ms: int) -> Spec:
        return cls("time", timestamp_ms)


async def list_offsets(
    cluster: Cluster, questions: Mapping[TopicPartition, Spec], *, timeout_ms: float
) -> dict[TopicPartition, Answer]:
    """Answer every question once; an offset of -1: no record is that late. Never raises an error
    of the cluster: what went wrong is the answer."""
    answers: dict[TopicPartition, Answer] = {}
    by_address: dict[str, list[tuple[TopicPartition, Leader]]] = {}
    asked = {tp.topic for tp in questions}
    missing = {tp.topic for tp in questions if cluster.metadata.leader(*tp) is None}
    missing.update(asked & cluster.stale_topics.keys())
    if missing:
        try:
            await cluster.refresh(sorted(missing))
        except LogdError as error:
            return dict.fromkeys(questions, error)
    for tp in questions:
        leader = cluster.metadata.leader(*tp)
        if leader is None:
            answers[tp] = _no_leader(cluster, tp)
        else:
            by_address.setdefault(leader.address, []).append((tp, leader))
    # All nodes at once: one that does not answer keeps nobody else waiting.
    found = await asyncio.gather(
        *(
            _ask_node(cluster, address, group, questions, timeout_ms)
            for address, group in by_address.items()
        )
    )
    for part in found:
        answers.update(part)
    _note_stale(cluster, answers)
    return answers


async def _ask_node(
    cluster: Cluster,
    address: str,
    group: list[tuple[TopicPartition, Leader]],
    questions: Mapping[TopicPartition, Spec],
    timeout_ms: float,
) -> dict[TopicPartition, Answer]:
    request = log_pb2.ListOffsetsRequest()
    for tp, leader in group:
        query = request.queries.add(topic_id=leader.topic_id, partition=tp.partition)
        spec = questions[tp]
        if spec.kind == "earliest":
            query.earliest = True
        elif spec.kind == "latest":
            query.latest = True
        else:
            query.timestamp_ms = spec.timestamp_ms
    try:
        response = await cluster.connection(address).call(
            LIST_OFFSETS, request, timeout_ms=timeout_ms
        )
    except LogdError as error:
        return {tp: error for tp, _ in group}
    found: dict[TopicPartition, Answer] = {}
    for (tp, leader), answer in zip(group, response.answers, strict=True):
        if answer.HasField("error"):
            refusal = from_proto(answer.error, broker=address)
            cluster.apply_hint(tp.topic, leader.topic_id, tp.partition, refusal)
            found[tp] = refusal
        else:
            found[tp] = OffsetAndTimestamp(answer.offset, answer.timestamp_ms, answer.leader_epoch)
    return found


def _note_stale(cluster: Cluster, answers: Mapping[TopicPartition, Answer]) -> None:
    """Topics whose leaders turned out to be others are asked for anew in the next round."""
    for tp, answer in answers.items():
        if isinstance(answer, LogdError) and answer.code in STALE_METADATA:
            cluster.stale_topics[tp.topic] = None


def _no_leader(cluster: Cluster, tp: TopicPartition) -> LogdError:
    state = cluster.metadata.topic(tp.topic)
    if state is not None and state.error is not None:
        if isinstance(state.error, UnknownTopicError):
            return UnknownTopicError(
                f"topic {tp.topic!r} does not exist", hint="see `logd topic list`"
            )
        return state.error
    if state is None or tp.partition not in state.partitions:
        count = 0 if state is None else len(state.partitions)
        return UnknownTopicError(
            f"topic {tp.topic!r} has no partition {tp.partition}",
            hint=f"it has 0 to {count - 1}",
            code=ErrorCode.UNKNOWN_PARTITION,
        )
    return error_for(
        ErrorCode.NOT_LEADER, f"{tp.topic}[{tp.partition}] has no leader now", hint="try again"
    )
