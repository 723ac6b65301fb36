"""LogdError, `logd.v1.Error` and the gRPC status: three forms of one failure.

Inside a stream's response an error travels as `logd.v1.Error`. A call that ends with an error has
a gRPC status, so that generic tools understand it, and the same `logd.v1.Error` in the trailer
`logd-error-bin`, which is what clients of ours read. An exception that nobody foresaw is logged
in full under a number; the peer is told the number and nothing else.
"""

from __future__ import annotations

import itertools
import logging
from typing import Final

import grpc
from logd_proto.v1 import common_pb2
from logd_wire.errors import ErrorCode, LogdError, NotLeaderError, error_for

logger = logging.getLogger(__name__)

#: Trailer with the serialized `logd.v1.Error`.
ERROR_TRAILER: Final = "logd-error-bin"

#: Characters that one error may carry: trailers share the 8 KiB of a call's metadata, and one
#: response may carry thousands of errors.
MESSAGE_CHARACTERS_MAX: Final = 600
HINT_CHARACTERS_MAX: Final = 300
DETAILS_CHARACTERS_MAX: Final = 900

_STATUS: Final[dict[ErrorCode, grpc.StatusCode]] = {
    ErrorCode.UNKNOWN_SERVER_ERROR: grpc.StatusCode.INTERNAL,
    ErrorCode.CORRUPT_BATCH: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.UNKNOWN_TOPIC: grpc.StatusCode.NOT_FOUND,
    ErrorCode.UNKNOWN_PARTITION: grpc.StatusCode.NOT_FOUND,
    ErrorCode.NOT_LEADER: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.RECORD_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.BATCH_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.INVALID_TOPIC_NAME: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.TOPIC_ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    ErrorCode.INVALID_CONFIG: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.INVALID_PARTITIONS: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.INVALID_REPLICATION_FACTOR: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.OFFSET_OUT_OF_RANGE: grpc.StatusCode.OUT_OF_RANGE,
    ErrorCode.OUT_OF_ORDER_SEQUENCE: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.INVALID_PRODUCER_EPOCH: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.PRODUCER_ID_LIMIT: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.STORAGE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.STORAGE_FAILED: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.DATA_LOSS: grpc.StatusCode.DATA_LOSS,
    ErrorCode.INVALID_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.UNSUPPORTED_VERSION: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.UNSUPPORTED_COMPRESSION: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.INVALID_TIMESTAMP: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.INVALID_RECORD: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.REQUEST_TIMED_OUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorCode.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.SHUTTING_DOWN: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.NOT_CONTROLLER: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.CLUSTER_ID_MISMATCH: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.FENCED_LEADER_EPOCH: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.AUTHORIZATION_FAILED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorCode.OUTCOME_UNKNOWN: grpc.StatusCode.UNKNOWN,
    ErrorCode.NOT_ENOUGH_REPLICAS: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND: grpc.StatusCode.UNKNOWN,
    ErrorCode.OFFSET_NOT_AVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.DECOMPRESSED_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.STALE_EPOCH: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.INELIGIBLE_REPLICA: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.NOT_COORDINATOR: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.COORDINATOR_LOADING: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.UNKNOWN_MEMBER: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.FENCED_MEMBER_EPOCH: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.STALE_MEMBER_EPOCH: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.UNRELEASED_INSTANCE_ID: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.FENCED_INSTANCE_ID: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.GROUP_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorCode.GROUP_NOT_EMPTY: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.INVALID_GROUP_ID: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.GROUP_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.OFFSET_METADATA_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.UNSUPPORTED_ASSIGNOR: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.INVALID_PATTERN: grpc.StatusCode.INVALID_ARGUMENT,
}

_incidents = itertools.count(1)


def status_of(code: ErrorCode) -> grpc.StatusCode:
    """The gRPC status that stands for `code`; every code of the cluster has one."""
    return _STATUS[code]


def to_proto(error: LogdError) -> common_pb2.Error:
    """Return the message form; texts are cut to what one answer may carry."""
    message = common_pb2.Error(
        code=error.code,
        message=_cut(error.message, MESSAGE_CHARACTERS_MAX),
        hint=_cut(error.hint, HINT_CHARACTERS_MAX),
        retriable=error.retriable,
        next_offset=error.next_offset,
    )
    if isinstance(error, NotLeaderError):
        message.leader.leader_id = error.leader_id
        message.leader.leader_epoch = error.leader_epoch
        message.leader.address = error.leader_address
    return message


def from_proto(message: common_pb2.Error, *, broker: str | None = None) -> LogdError:
    """Return the exception form; `broker` is the address that it came from."""
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


def trailers(error: LogdError) -> tuple[tuple[str, bytes], ...]:
    """Trailing metadata of a call that ends with `error`."""
    return ((ERROR_TRAILER, to_proto(error).SerializeToString()),)


def details_of(error: LogdError) -> str:
    """Text of the gRPC status, for tools that show nothing else.

    ASCII only: gRPC sends other characters at up to twelve bytes each, and what exceeds the
    client's limit for metadata takes the trailer with it.
    """
    hint = f" ({error.hint})" if error.hint else ""
    text = (error.message + hint).encode("ascii", "backslashreplace").decode()
    return (
        text if len(text) <= DETAILS_CHARACTERS_MAX else text[: DETAILS_CHARACTERS_MAX - 3] + "..."
    )


def presentable(error: BaseException, where: str) -> LogdError:
    """Return what the peer may be told about `error`, which happened in `where`.

    Errors of the cluster pass. Everything else, errors of the client's half of the catalogue
    included, is a defect of the node: it is logged with its trace, and the peer learns only the
    number under which the log has it.
    """
    if isinstance(error, LogdError) and error.code in _STATUS:
        return error
    if isinstance(error, LogdError) and error.code is ErrorCode.TIMEOUT:
        return error_for(ErrorCode.REQUEST_TIMED_OUT, error.message, hint=error.hint)
    incident = next(_incidents)
    logger.error("incident %d in %s", incident, where, exc_info=error)
    return LogdError(
        f"internal error in {where}, incident {incident}",
        hint="the node's log has the details under this number",
    )


def code_of(error: BaseException) -> ErrorCode:
    """The code under which `error` is counted."""
    return error.code if isinstance(error, LogdError) else ErrorCode.UNKNOWN_SERVER_ERROR


def _cut(text: str, characters_max: int) -> str:
    if len(text) <= characters_max:
        return text
    return text[: characters_max - 1] + "…"
