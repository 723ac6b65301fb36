"""Where partitions begin and end, between nodes ⇄ protobuf; strict about everything that comes."""

from __future__ import annotations

from logd_proto.v1 import peer_pb2 as pb
from logd_wire.errors import LogdError

from logd.model.ids import TopicId, TopicPartitionId
from logd.rpc import peer_values as values
from logd.rpc.checks import INT32_MAX
from logd.rpc.errors import from_proto, presentable, to_proto
from logd.runtime.peers import Bounds, BoundsAnswer, BoundsQuery


def encode_query(query: BoundsQuery) -> pb.BoundsQuery:
    """Return the message of a query."""
    return pb.BoundsQuery(
        topic_id=query.partition.topic_id,
        partition=query.partition.partition,
        offset=query.offset,
    )


def decode_query(message: pb.BoundsQuery) -> BoundsQuery:
    """Return the query; raises InvalidRequestError."""
    return BoundsQuery(
        TopicPartitionId(
            TopicId(values.id_bytes("topic_id", message.topic_id)),
            values.number("partition", message.partition, maximum=INT32_MAX),
        ),
        values.number("offset", message.offset, minimum=-1),
    )


def encode_bounds(answer: BoundsAnswer) -> pb.BoundsAnswer:
    """Return the message of an answer."""
    if isinstance(answer, LogdError):
        return pb.BoundsAnswer(error=to_proto(presentable(answer, "AskBounds")))
    return pb.BoundsAnswer(
        log_start_offset=answer.start_offset,
        high_watermark=answer.high_watermark,
        append_time_ms=answer.append_time_ms,
    )


def decode_bounds(message: pb.BoundsAnswer) -> BoundsAnswer:
    """Return the answer; raises InvalidRequestError."""
    if message.HasField("error"):
        return from_proto(message.error)
    start_offset = values.number("log_start_offset", message.log_start_offset)
    return Bounds(
        start_offset,
        values.number("high_watermark", message.high_watermark),
        values.number("append_time_ms", message.append_time_ms, minimum=-1),
    )
