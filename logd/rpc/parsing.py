"""Bytes from the network to request messages, with bounded memory.

A few bytes of protobuf can stand for a large object: two for an empty submessage that takes a
hundred in memory. A message at the transport's limit could so be made to occupy a gigabyte. What a
request may contain is therefore counted on its bytes, before the parser sees them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from logd_proto.v1 import group_pb2, log_pb2, peer_pb2
from logd_wire.errors import InvalidRequestError
from logd_wire.limits import KIB, MESSAGE_BYTES_MAX, MIB

M = TypeVar("M", bound=Message)


class RequestLimits(NamedTuple):
    """Size of one request and the number of values in it, each occurrence of a field one."""

    bytes_max: int
    values_max: int


_DEFAULT: Final = RequestLimits(MIB, 50_000)
_LIMITS: Final[dict[type[Message], RequestLimits]] = {
    log_pb2.ProduceRequest: RequestLimits(MESSAGE_BYTES_MAX, 20_000),
    log_pb2.AppendRequest: RequestLimits(MESSAGE_BYTES_MAX, 100_000),
    log_pb2.FetchRequest: RequestLimits(MIB, 100_000),
    log_pb2.HelloRequest: RequestLimits(16 * KIB, 1_000),
    # What 10 000 offsets are, and what the coordinator can keep in one batch of its log.
    group_pb2.CommitOffsetsRequest: RequestLimits(MIB, 60_010),
    # One entry of the raft log may have 100 000 payloads; others of a frame are split before.
    peer_pb2.RaftRequest: RequestLimits(MESSAGE_BYTES_MAX, 150_000),
    peer_pb2.IdentifyRequest: RequestLimits(16 * KIB, 1_000),
    peer_pb2.HeartbeatRequest: RequestLimits(16 * KIB, 1_000),
    # A chunk, and room for what is said about it.
    peer_pb2.SnapshotChunkRequest: RequestLimits(4 * MIB + 64 * KIB, 1_000),
}


class _Packed:
    """Marks a repeated number: each byte of the field may be one value."""


_Plan = dict[int, Any]
_PACKED: Final = _Packed()


def parse_request(request_type: type[M], data: bytes) -> M:
    """Return the message in `data`; raises InvalidRequestError when it is none, or too much."""
    name = request_type.DESCRIPTOR.full_name
    limits = _LIMITS.get(request_type, _DEFAULT)
    if len(data) > limits.bytes_max:
        raise InvalidRequestError(
            f"{name} of {len(data)} bytes, at most {limits.bytes_max} are taken",
            hint="send several smaller requests",
        )
    # A value has one byte at least: small requests need not be counted.
    values_max = limits.values_max
    if len(data) > values_max and count_values(request_type, data, values_max) > values_max:
        raise InvalidRequestError(
            f"{name} with more than {limits.values_max} values",
            hint="send several smaller requests",
        )
    try:
        return request_type.FromString(data)
    except DecodeError:
        raise InvalidRequestError(
            f"{len(data)} bytes that are not a message of type {name}",
            hint="check that client and node speak the same protocol version",
        ) from None


_plans: dict[str, _Plan] = {}


def _plan_of(descriptor: Any) -> _Plan:
    """Field number -> plan of the submessages worth walking into, or `_PACKED`.

    A submessage of single plain values counts as one value whatever it contains, so the hot
    path, a request with a few batches, costs a step for each batch.
    """
    plan = _plans.get(descriptor.full_name)
    if plan is None:
        plan = _plans[descriptor.full_name] = {}
        fields: Iterable[FieldDescriptor] = descriptor.fields
        for field in fields:
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                inside: Any = field.message_type
                if any(_grows(inner) for inner in inside.fields):
                    plan[field.number] = _plan_of(inside)
            elif field.is_repeated and field.is_packed:
                plan[field.number] = _PACKED
    return plan


def _grows(field: FieldDescriptor) -> bool:
    return field.is_repeated or field.type == FieldDescriptor.TYPE_MESSAGE


def count_values(request_type: type[Message], data: bytes, values_max: int) -> int:
    """Count the values of a request on its bytes; stops soon after `values_max`.

    Malformed bytes end the count of their own range only: the parser reads what lies before them.
    """
    count = 0
    ranges: list[tuple[_Plan, int, int]] = [(_plan_of(request_type.DESCRIPTOR), 0, len(data))]
    while ranges and count <= values_max:
        count += _count_range(data, ranges, values_max - count)
    return count


def _count_range(data: bytes, ranges: list[tuple[_Plan, int, int]], values_max: int) -> int:
    """Count the fields of the last of `ranges`, taking it off and adding those inside of it."""
    plan, position, end = ranges.pop()
    count = 0
    try:
        while position < end and count <= values_max:
            tag, position = _varint(data, position)
            count += 1
            kind = tag & 7
            if kind != 2:
                position = _skip(data, position, kind)
                continue
            length, position = _varint(data, position)
            inner = plan.get(tag >> 3)
            if inner is _PACKED:
                count += length
            elif inner is not None:
                ranges.append((inner, position, min(position + length, end)))
            position += length
    except IndexError:
        return count
    return count


def _skip(data: bytes, position: int, kind: int) -> int:
    """Return the position behind a value of wire type `kind` that is not length-delimited."""
    if kind == 0:
        return _varint(data, position)[1]
    if kind == 5:
        return position + 4
    if kind == 1:
        return position + 8
    # Groups (3 and 4) have no bytes of their own: what is inside is counted like the rest.
    return position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    byte = data[position]
    if byte < 0x80:
        return byte, position + 1
    value = byte & 0x7F
    for shift in range(7, 70, 7):
        position += 1
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
    raise IndexError("varint of more than ten bytes")
