"""Checks of request fields. Each raises the typed error that says what is wrong, and with what."""

from __future__ import annotations

from typing import Final

from logd_wire.errors import ErrorCode, InvalidRequestError, LogdError, RecordTooLargeError
from logd_wire.limits import (
    BATCH_BYTES_MAX,
    BATCH_HEADER_BYTES,
    CLIENT_ID_CHARACTERS_MAX,
    PARTITIONS_PER_TOPIC_MAX,
)

from logd.model.ids import ID_BYTES
from logd.model.names import INTERNAL_PREFIX, check_topic_name, is_internal

INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1

ACKS: Final = frozenset({-1, 0, 1})


def check_name(name: str) -> None:
    """Refuse what cannot name a topic; names of the system's own topics pass."""
    check_topic_name(name.removeprefix(INTERNAL_PREFIX) if is_internal(name) else name)


def check_topic_id(topic_id: bytes) -> None:
    if len(topic_id) != ID_BYTES:
        raise InvalidRequestError(
            f"topic_id has {len(topic_id)} bytes",
            hint=f"a topic id has {ID_BYTES} bytes; GetMetadata tells it",
        )


def check_drawn_id(what: str, value: bytes) -> None:
    """Refuse what is no id that a client drew; empty: it drew none."""
    if value and (len(value) != ID_BYTES or not any(value)):
        raise InvalidRequestError(
            f"{what} has {len(value)} bytes, or only zeros",
            hint=f"it is {ID_BYTES} random bytes, or left out",
        )


def check_partition(partition: int) -> None:
    if not 0 <= partition < PARTITIONS_PER_TOPIC_MAX:
        raise InvalidRequestError(
            f"partition is {partition}",
            hint=f"partitions are numbered from 0 and below {PARTITIONS_PER_TOPIC_MAX}",
        )


def check_range(what: str, value: int, minimum: int, maximum: int) -> None:
    """Refuse a number outside of `minimum` .. `maximum`, both allowed."""
    if not minimum <= value <= maximum:
        raise InvalidRequestError(
            f"{what} is {value}", hint=f"it is a number from {minimum} to {maximum}"
        )


def check_count(what: str, count: int, maximum: int) -> None:
    """Refuse a list with more than `maximum` entries."""
    if count > maximum:
        raise InvalidRequestError(
            f"{count} {what} in one request, at most {maximum} are taken",
            hint="send several smaller requests",
        )


def check_leader_epoch(leader_epoch: int) -> None:
    check_range("leader_epoch", leader_epoch, -1, INT32_MAX)


def check_acks(acks: int) -> None:
    if acks not in ACKS:
        raise InvalidRequestError(
            f"acks is {acks}",
            hint="use -1 for every in-sync replica, 1 for the leader, 0 for no answer",
        )


def check_batch_size(size: int) -> None:
    """Refuse what cannot be one record batch by its size alone."""
    if size > BATCH_BYTES_MAX:
        raise RecordTooLargeError(
            f"batch of {size} bytes, at most {BATCH_BYTES_MAX} are taken",
            code=ErrorCode.BATCH_TOO_LARGE,
            hint="send smaller batches",
        )
    if size < BATCH_HEADER_BYTES:
        raise InvalidRequestError(
            f"batch of {size} bytes",
            hint=f"records holds one encoded batch, whose header alone has"
            f" {BATCH_HEADER_BYTES} bytes",
        )


def check_text(what: str, text: str) -> None:
    """Refuse text that could not be shown in one line of a log."""
    if len(text) > CLIENT_ID_CHARACTERS_MAX:
        raise InvalidRequestError(
            f"{what} has {len(text)} characters, at most {CLIENT_ID_CHARACTERS_MAX} are taken"
        )
    if not text.isprintable():
        raise InvalidRequestError(
            f"{what} {text[:64]!a} has characters that cannot be printed",
            hint="use letters, digits and punctuation",
        )


def unknown_partition(topic: str, partition: int, partitions: int) -> LogdError:
    """The error for a partition that the topic does not have."""
    return LogdError(
        f"topic {topic} has no partition {partition}, it has {partitions}",
        code=ErrorCode.UNKNOWN_PARTITION,
        hint="partitions are numbered from 0; `logd topic describe` shows them",
    )
