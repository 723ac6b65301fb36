"""The one catalogue of errors: stable numbers, retriability, and an exception class for each.

    LogdError
    ├── of the cluster (code > 0)
    │   ├── CorruptBatchError, UnsupportedCompressionError, RecordTooLargeError, InvalidRecordError
    │   ├── UnknownTopicError, NotLeaderError, OffsetOutOfRangeError, DataLossError
    │   ├── FencedError, OutOfOrderSequenceError
    │   ├── InvalidRequestError ─ InvalidConfigError, InvalidTopicNameError, TopicExistsError
    │   ├── StorageFullError, StorageFailedError, OverloadedError, ShuttingDownError
    │   ├── NotCoordinatorError, CoordinatorLoadingError, GroupNotFoundError
    │   ├── RebalanceError ─ InstanceIdError
    │   ├── InvalidRequestError ─ GroupNotEmptyError, InvalidGroupError
    │   └── OutcomeUnknownError, AuthError
    └── of the client alone (code < 0)
        ├── ConfigError, BootstrapError, NetworkError, TimeoutError, BufferFullError
        └── ForkError, ClosedError, SerializationError, NoOffsetError

Names may change; numbers never do. `str(error)` says what failed, where, and what to do.
"""

from __future__ import annotations

import builtins
from enum import IntEnum


class ErrorCode(IntEnum):
    """Stable numbers; they travel in `logd.v1.Error.code`."""

    NONE = 0
    UNKNOWN_SERVER_ERROR = 1
    CORRUPT_BATCH = 2
    UNKNOWN_TOPIC = 3
    UNKNOWN_PARTITION = 4
    NOT_LEADER = 5
    RECORD_TOO_LARGE = 6
    BATCH_TOO_LARGE = 7
    INVALID_TOPIC_NAME = 8
    TOPIC_ALREADY_EXISTS = 9
    INVALID_CONFIG = 10
    INVALID_PARTITIONS = 11
    INVALID_REPLICATION_FACTOR = 12
    OFFSET_OUT_OF_RANGE = 13
    OUT_OF_ORDER_SEQUENCE = 14
    INVALID_PRODUCER_EPOCH = 15
    PRODUCER_ID_LIMIT = 16
    STORAGE_FULL = 17
    STORAGE_FAILED = 18
    DATA_LOSS = 19
    INVALID_REQUEST = 20
    UNSUPPORTED_VERSION = 21
    UNSUPPORTED_COMPRESSION = 22
    INVALID_TIMESTAMP = 23
    INVALID_RECORD = 24
    REQUEST_TIMED_OUT = 25
    OVERLOADED = 26
    SHUTTING_DOWN = 27
    NOT_CONTROLLER = 28
    CLUSTER_ID_MISMATCH = 29
    FENCED_LEADER_EPOCH = 30
    AUTHORIZATION_FAILED = 31
    OUTCOME_UNKNOWN = 32
    DECOMPRESSED_TOO_LARGE = 33
    STALE_EPOCH = 34
    INELIGIBLE_REPLICA = 35
    NOT_ENOUGH_REPLICAS = 36
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 37
    OFFSET_NOT_AVAILABLE = 38
    NOT_COORDINATOR = 39
    COORDINATOR_LOADING = 40
    UNKNOWN_MEMBER = 41
    FENCED_MEMBER_EPOCH = 42
    STALE_MEMBER_EPOCH = 43
    UNRELEASED_INSTANCE_ID = 44
    FENCED_INSTANCE_ID = 45
    GROUP_NOT_FOUND = 46
    GROUP_NOT_EMPTY = 47
    INVALID_GROUP_ID = 48
    GROUP_FULL = 49
    OFFSET_METADATA_TOO_LARGE = 50
    UNSUPPORTED_ASSIGNOR = 51
    INVALID_PATTERN = 52

    CONFIG = -1
    BOOTSTRAP = -2
    NETWORK = -3
    TIMEOUT = -4
    BUFFER_FULL = -5
    FORK = -6
    CLOSED = -7
    SERIALIZATION = -8
    NO_OFFSET = -9


#: Codes after which the same request may succeed unchanged, later or at another node.
RETRIABLE_CODES: frozenset[ErrorCode] = frozenset(
    {
        ErrorCode.UNKNOWN_TOPIC,
        ErrorCode.UNKNOWN_PARTITION,
        ErrorCode.NOT_LEADER,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.NOT_CONTROLLER,
        ErrorCode.STORAGE_FULL,
        ErrorCode.STORAGE_FAILED,
        ErrorCode.PRODUCER_ID_LIMIT,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.OVERLOADED,
        ErrorCode.SHUTTING_DOWN,
        ErrorCode.OUTCOME_UNKNOWN,
        ErrorCode.INELIGIBLE_REPLICA,
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode.OFFSET_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.COORDINATOR_LOADING,
        ErrorCode.NETWORK,
        ErrorCode.BUFFER_FULL,
    }
)


class LogdError(Exception):
    """Base of every error of logd.

    `code` is stable, `retriable` says whether trying again unchanged may help, `broker` is the
    address it came from (None: none was involved), `hint` says what to do.
    """

    code: ErrorCode = ErrorCode.UNKNOWN_SERVER_ERROR

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        broker: str | None = None,
        code: ErrorCode | None = None,
        retriable: bool | None = None,
        next_offset: int = -1,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.broker = broker
        if code is not None:
            self.code = code
        self.retriable = self.code in RETRIABLE_CODES if retriable is None else retriable
        #: With OffsetOutOfRangeError and DataLossError: where reading can go on; -1: nowhere.
        self.next_offset = next_offset

    def __str__(self) -> str:
        where = f" [{self.broker}]" if self.broker else ""
        what_to_do = f" ({self.hint})" if self.hint else ""
        return f"{self.message}{where}{what_to_do}"


class CorruptBatchError(LogdError):
    code = ErrorCode.CORRUPT_BATCH


class UnsupportedCompressionError(LogdError):
    code = ErrorCode.UNSUPPORTED_COMPRESSION


class RecordTooLargeError(LogdError):
    code = ErrorCode.RECORD_TOO_LARGE


class InvalidRecordError(LogdError):
    code = ErrorCode.INVALID_RECORD


class UnknownTopicError(LogdError):
    code = ErrorCode.UNKNOWN_TOPIC


class NotLeaderError(LogdError):
    """`leader_id`, `leader_epoch` and `leader_address` say who leads, where known.

    With NOT_CONTROLLER that is the controller, and the epoch its term.
    """

    code = ErrorCode.NOT_LEADER
    leader_id: int = -1
    leader_epoch: int = -1
    leader_address: str = ""


class OffsetOutOfRangeError(LogdError):
    code = ErrorCode.OFFSET_OUT_OF_RANGE


class DataLossError(LogdError):
    code = ErrorCode.DATA_LOSS


class FencedError(LogdError):
    code = ErrorCode.INVALID_PRODUCER_EPOCH


class OutOfOrderSequenceError(LogdError):
    code = ErrorCode.OUT_OF_ORDER_SEQUENCE


class InvalidRequestError(LogdError):
    code = ErrorCode.INVALID_REQUEST


class StaleEpochError(InvalidRequestError):
    """The command goes out from what is no longer so: an earlier process of a node, or an earlier
    state of a partition. Sending it again unchanged does not help; reading the metadata may."""

    code = ErrorCode.STALE_EPOCH


class IneligibleReplicaError(InvalidRequestError):
    """A proposed member of an in-sync set is fenced or removed. It may come back: retriable."""

    code = ErrorCode.INELIGIBLE_REPLICA


class InvalidConfigError(InvalidRequestError):
    code = ErrorCode.INVALID_CONFIG


class InvalidTopicNameError(InvalidRequestError):
    code = ErrorCode.INVALID_TOPIC_NAME


class TopicExistsError(InvalidRequestError):
    code = ErrorCode.TOPIC_ALREADY_EXISTS


class StorageFullError(LogdError):
    code = ErrorCode.STORAGE_FULL


class StorageFailedError(LogdError):
    code = ErrorCode.STORAGE_FAILED


class OverloadedError(LogdError):
    code = ErrorCode.OVERLOADED


class ShuttingDownError(LogdError):
    code = ErrorCode.SHUTTING_DOWN


class OutcomeUnknownError(LogdError):
    """The request may or may not have taken effect, now or later."""

    code = ErrorCode.OUTCOME_UNKNOWN


class NotEnoughReplicasError(LogdError):
    """Fewer replicas are in sync than `min.insync.replicas`.

    With NOT_ENOUGH_REPLICAS nothing was appended; with NOT_ENOUGH_REPLICAS_AFTER_APPEND the batch
    may be kept or lost, and a retry with the same producer id is safe.
    """

    code = ErrorCode.NOT_ENOUGH_REPLICAS


class OffsetNotAvailableError(LogdError):
    """A new leader does not know yet what is committed."""

    code = ErrorCode.OFFSET_NOT_AVAILABLE


class NotCoordinatorError(NotLeaderError):
    """Another node coordinates the group; the hint is as with NotLeaderError."""

    code = ErrorCode.NOT_COORDINATOR


class CoordinatorLoadingError(LogdError):
    """The coordinator has just taken over and reads its log."""

    code = ErrorCode.COORDINATOR_LOADING


class RebalanceError(LogdError):
    """The group does not know this member any more, or not in this epoch: what it held may be
    another's by now. It drops everything and joins again (UNKNOWN_MEMBER, FENCED_MEMBER_EPOCH), or
    asks again with the epoch that it was told last (STALE_MEMBER_EPOCH)."""

    code = ErrorCode.FENCED_MEMBER_EPOCH


class InstanceIdError(RebalanceError):
    """Two consumers use one `group_instance_id` at a time."""

    code = ErrorCode.UNRELEASED_INSTANCE_ID


class GroupNotFoundError(LogdError):
    code = ErrorCode.GROUP_NOT_FOUND


class GroupNotEmptyError(InvalidRequestError):
    """The group has members, and this may be done only while it has none."""

    code = ErrorCode.GROUP_NOT_EMPTY


class InvalidGroupError(InvalidRequestError):
    """A group id, pattern, assignor or offset text that cannot be taken."""

    code = ErrorCode.INVALID_GROUP_ID


class AuthError(LogdError):
    code = ErrorCode.AUTHORIZATION_FAILED


class ConfigError(LogdError):
    code = ErrorCode.CONFIG


class BootstrapError(LogdError):
    """No bootstrap address could be used; the message lists each with its own cause."""

    code = ErrorCode.BOOTSTRAP


class NetworkError(LogdError):
    code = ErrorCode.NETWORK


class TimeoutError(LogdError, builtins.TimeoutError):
    code = ErrorCode.TIMEOUT


class BufferFullError(LogdError, BufferError):
    code = ErrorCode.BUFFER_FULL


class ForkError(LogdError):
    code = ErrorCode.FORK


class ClosedError(LogdError):
    code = ErrorCode.CLOSED


class SerializationError(LogdError):
    """`record` is what could not be serialized or deserialized."""

    code = ErrorCode.SERIALIZATION
    record: object = None


class NoOffsetError(LogdError):
    """A partition has neither a position nor a committed offset, and no reset was chosen."""

    code = ErrorCode.NO_OFFSET


_CLASSES: dict[ErrorCode, type[LogdError]] = {
    ErrorCode.UNKNOWN_PARTITION: UnknownTopicError,
    ErrorCode.BATCH_TOO_LARGE: RecordTooLargeError,
    ErrorCode.DECOMPRESSED_TOO_LARGE: RecordTooLargeError,
    ErrorCode.INVALID_PARTITIONS: InvalidRequestError,
    ErrorCode.INVALID_REPLICATION_FACTOR: InvalidRequestError,
    ErrorCode.INVALID_TIMESTAMP: InvalidRecordError,
    ErrorCode.FENCED_LEADER_EPOCH: NotLeaderError,
    ErrorCode.NOT_CONTROLLER: NotLeaderError,
    ErrorCode.REQUEST_TIMED_OUT: TimeoutError,
    ErrorCode.UNKNOWN_MEMBER: RebalanceError,
    ErrorCode.STALE_MEMBER_EPOCH: RebalanceError,
    ErrorCode.FENCED_INSTANCE_ID: InstanceIdError,
    ErrorCode.GROUP_FULL: InvalidGroupError,
    ErrorCode.OFFSET_METADATA_TOO_LARGE: InvalidGroupError,
    ErrorCode.UNSUPPORTED_ASSIGNOR: InvalidGroupError,
    ErrorCode.INVALID_PATTERN: InvalidGroupError,
    **{
        cls.code: cls
        for cls in (
            CorruptBatchError,
            UnsupportedCompressionError,
            RecordTooLargeError,
            InvalidRecordError,
            UnknownTopicError,
            NotLeaderError,
            OffsetOutOfRangeError,
            DataLossError,
            FencedError,
            OutOfOrderSequenceError,
            InvalidRequestError,
            StaleEpochError,
            IneligibleReplicaError,
            InvalidConfigError,
            InvalidTopicNameError,
            TopicExistsError,
            StorageFullError,
            StorageFailedError,
            OverloadedError,
            ShuttingDownError,
            OutcomeUnknownError,
            NotCoordinatorError,
            CoordinatorLoadingError,
            RebalanceError,
            InstanceIdError,
            GroupNotFoundError,
            GroupNotEmptyError,
            InvalidGroupError,
            AuthError,
            ConfigError,
            BootstrapError,
            NetworkError,
            TimeoutError,
            BufferFullError,
            ForkError,
            ClosedError,
            SerializationError,
            NoOffsetError,
        )
    },
}


def error_for(
    code: int,
    message: str,
    *,
    hint: str = "",
    broker: str | None = None,
    retriable: bool | None = None,
    next_offset: int = -1,
) -> LogdError:
    """Return the exception that stands for `code`; an unknown number becomes a plain LogdError."""
    try:
        known = ErrorCode(code)
    except ValueError:
        known = ErrorCode.UNKNOWN_SERVER_ERROR
        message = f"error {code} (unknown to this version): {message}"
    cls = _CLASSES.get(known, LogdError)
    return cls(
        message,
        hint=hint,
        broker=broker,
        code=known,
        retriable=retriable,
        next_offset=next_offset,
    )
