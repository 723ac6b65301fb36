"""Errors of reading that say where: topic, partition and offset as attributes."""

from __future__ import annotations

from logd_wire.errors import (
    CorruptBatchError,
    DataLossError,
    LogdError,
    NoOffsetError,
    OffsetOutOfRangeError,
    SerializationError,
    UnknownTopicError,
)


class ReadError(LogdError):
    """A partition cannot be read on. `offset` is the position at which it stopped; -1: none."""

    topic: str = ""
    partition: int = -1
    offset: int = -1


class ReadDataLossError(ReadError, DataLossError):
    """The node lost a range; `next_offset` is where reading can go on (-1: nowhere)."""


class ReadCorruptBatchError(ReadError, CorruptBatchError):
    """A batch cannot be decoded; `next_offset` is the offset behind it."""


class ReadOffsetOutOfRangeError(ReadError, OffsetOutOfRangeError):
    """The position lies outside of what the partition holds."""


class ReadNoOffsetError(ReadError, NoOffsetError):
    """The partition has no position and no reset was chosen."""


class ReadUnknownTopicError(ReadError, UnknownTopicError):
    """The topic or partition does not exist."""


class ReadSerializationError(ReadError, SerializationError):
    """A deserializer failed; `record` is the record as it came."""


def located(
    cls: type[ReadError],
    message: str,
    *,
    topic: str,
    partition: int,
    offset: int,
    cause: LogdError | None = None,
    hint: str = "",
    next_offset: int = -1,
) -> ReadError:
    """Make an error of `cls` for one place; code, broker and next offset come from `cause`."""
    error = cls(
        message,
        hint=hint,
        broker=cause.broker if cause else None,
        code=cause.code if cause else None,
        retriable=False,
        next_offset=cause.next_offset if cause else next_offset,
    )
    error.topic, error.partition, error.offset = topic, partition, offset
    return error
