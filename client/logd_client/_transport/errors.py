"""`logd.v1.Error` as it comes over the wire, turned into the exception that it stands for."""

from __future__ import annotations

from typing import Final

from logd_proto.v1 import common_pb2
from logd_wire.errors import LogdError, NotLeaderError, error_for

#: Trailer of a call that failed, with a serialized `logd.v1.Error`.
ERROR_TRAILER: Final = "logd-error-bin"


def from_proto(message: common_pb2.Error, *, broker: str | None) -> LogdError:
    """Return the exception; `broker` is the address that sent it."""
    error = error_for(
        message.code,
        message.message,
        hint=message.hint,
        broker=broker,
        retriable=message.retriable,
        next_offset=message.next_offset,
    )
    if isinstance(error, NotLeaderError) and message.HasField("leader"):
        error.leader_id = message.leader.leader_id
        error.leader_epoch = message.leader.leader_epoch
        error.leader_address = message.leader.address
    return error


def from_trailer(data: bytes, *, broker: str | None) -> LogdError:
    """Return the exception inside of the trailer of a failed call."""
    return from_proto(common_pb2.Error.FromString(data), broker=broker)
