"""Positions and chunks of replicas ⇄ protobuf; strict about everything that comes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from logd_proto.v1 import peer_pb2 as pb
from logd_wire.limits import BATCH_BYTES_MAX

from logd.model.ids import LeaderEpoch, TopicId, TopicPartitionId
from logd.rpc import peer_values as values
from logd.rpc.checks import INT32_MAX
from logd.rpc.errors import from_proto, to_proto
from logd.rpc.peer_codec import Route
from logd.runtime.replica_frames import EpochEnd, ReplicaChunk, ReplicaPosition

#: Positions or chunks of one frame.
FRAME_PARTITIONS_MAX: Final = 1_000
#: Records of one frame; a single batch may be as large.
FRAME_BYTES_MAX: Final = BATCH_BYTES_MAX


def encode_positions(positions: Sequence[ReplicaPosition]) -> pb.ReplicateRequest:
    """Return a frame of a follower."""
    return pb.ReplicateRequest(positions=map(_position_message, positions))


def introduce(frame: pb.ReplicateRequest, route: Route) -> None:
    """Make `frame` the first of its stream."""
    frame.sender.CopyFrom(values.encode_sender(route.sender))
    frame.receiver_id = route.receiver


def _position_message(position: ReplicaPosition) -> pb.ReplicaPosition:
    return pb.ReplicaPosition(
        topic_id=position.partition.topic_id,
        partition=position.partition.partition,
        leader_epoch=position.leader_epoch,
        node_epoch=position.node_epoch,
        end_offset=position.end_offset,
        last_epoch=position.last_epoch,
        stop=position.stop,
    )


def decode_replica_introduction(frame: pb.ReplicateRequest) -> Route:
    """Return who speaks to whom; raises InvalidRequestError when the frame does not say."""
    if not frame.HasField("sender"):
        values.malformed("a stream that does not begin with its sender")
    sender = values.decode_sender(frame.sender)
    return Route(sender, values.node_id(frame.receiver_id, what="receiver_id"))


def decode_positions(frame: pb.ReplicateRequest) -> list[ReplicaPosition]:
    """Return the positions of a frame; raises InvalidRequestError when one makes no sense."""
    values.count_at_most("positions in one frame", len(frame.positions), FRAME_PARTITIONS_MAX)
    return [
        ReplicaPosition(
            _partition(each.topic_id, each.partition),
            _leader_epoch(each.leader_epoch),
            values.number("node_epoch", each.node_epoch),
            values.number("end_offset", each.end_offset),
            _epoch_or_none("last_epoch", each.last_epoch),
            each.stop,
        )
        for each in frame.positions
    ]


def _partition(topic_id: bytes, partition: int) -> TopicPartitionId:
    number = values.number("partition", partition, maximum=INT32_MAX)
    return TopicPartitionId(TopicId(values.id_bytes("topic_id", topic_id)), number)


def _leader_epoch(value: int) -> LeaderEpoch:
    return LeaderEpoch(values.number("leader_epoch", value, maximum=INT32_MAX))


def _epoch_or_none(what: str, value: int) -> int:
    return values.number(what, value, minimum=-1, maximum=INT32_MAX)


def encode_chunks(chunks: Sequence[ReplicaChunk]) -> pb.ReplicateResponse:
    """Return a frame of a leader."""
    return pb.ReplicateResponse(chunks=map(_chunk_message, chunks))


def _chunk_message(chunk: ReplicaChunk) -> pb.ReplicaChunk:
    message = pb.ReplicaChunk(
        topic_id=chunk.partition.topic_id,
        partition=chunk.partition.partition,
        leader_epoch=chunk.leader_epoch,
        records=chunk.records,
        append_time_ms=chunk.append_time_ms,
        high_watermark=chunk.high_watermark,
        log_start_offset=chunk.log_start_offset,
        replicated_end=chunk.replicated_end,
        forgotten_end=chunk.forgotten_end,
        too_low=chunk.too_low,
    )
    if chunk.diverging is not None:
        message.diverging.epoch = chunk.diverging.epoch
        message.diverging.end_offset = chunk.diverging.end_offset
    if chunk.error is not None:
        message.error.CopyFrom(to_proto(chunk.error))
    return message


def decode_chunks(frame: pb.ReplicateResponse, *, broker: str) -> list[ReplicaChunk]:
    """Return the chunks of a frame; raises InvalidRequestError when one makes no sense."""
    values.count_at_most("chunks in one frame", len(frame.chunks), FRAME_PARTITIONS_MAX)
    return [_chunk(each, broker) for each in frame.chunks]


def _chunk(message: pb.ReplicaChunk, broker: str) -> ReplicaChunk:
    diverging = None
    if message.HasField("diverging"):
        ends = message.diverging
        epoch = _epoch_or_none("epoch", ends.epoch)
        end_offset = values.number("end_offset", ends.end_offset, minimum=-1)
        diverging = EpochEnd(epoch, end_offset)
    return ReplicaChunk(
        _partition(message.topic_id, message.partition),
        _leader_epoch(message.leader_epoch),
        message.records,
        values.number("append_time_ms", message.append_time_ms, minimum=-1),
        values.number("high_watermark", message.high_watermark),
        values.number("log_start_offset", message.log_start_offset),
        values.number("replicated_end", message.replicated_end),
        values.number("forgotten_end", message.forgotten_end),
        diverging,
        message.too_low,
        from_proto(message.error, broker=broker) if message.HasField("error") else None,
    )
