"""Identifiers. Numbers are plain ints under a distinct type; the 16-byte ids are opaque."""

from __future__ import annotations

from typing import Final, NamedTuple, NewType
from uuid import UUID

from logd_wire.errors import InvalidRequestError

NodeId = NewType("NodeId", int)
#: 16 random bytes; a topic made again under the same name gets another one.
TopicId = NewType("TopicId", bytes)
#: 16 random bytes, drawn when the cluster is formed.
ClusterId = NewType("ClusterId", bytes)
#: 16 random bytes, drawn when a data directory is made.
DirectoryId = NewType("DirectoryId", bytes)
#: Counts the records of a partition log.
Offset = NewType("Offset", int)
#: Counts the leaderships of one partition, from 0.
LeaderEpoch = NewType("LeaderEpoch", int)
#: Counts the entries of a raft log, from 0.
LogIndex = NewType("LogIndex", int)
#: Raft's term, from 0; the first leader has term 1.
Term = NewType("Term", int)

ID_BYTES: Final = 16
NODE_ID_MAX: Final = 2**31 - 1
NO_NODE: Final = NodeId(-1)


class TopicPartitionId(NamedTuple):
    """One partition, by the id of its topic: what produce, fetch and directories are keyed by."""

    topic_id: TopicId
    partition: int

    def __str__(self) -> str:
        return f"{format_id(self.topic_id)}-{self.partition}"


def format_id(value: bytes) -> str:
    """Return 16 bytes as a UUID in text form.

    Raises InvalidRequestError for any other length.
    """
    if len(value) != ID_BYTES:
        raise InvalidRequestError(f"an id has {ID_BYTES} bytes, this one has {len(value)}")
    return str(UUID(bytes=bytes(value)))


def parse_id(text: str) -> bytes:
    """Return the 16 bytes of a UUID in text form, with or without dashes.

    Raises InvalidRequestError for anything else.
    """
    digits = text.strip().replace("-", "")
    try:
        value = bytes.fromhex(digits)
    except ValueError:
        value = b""
    if len(value) != ID_BYTES or len(digits) != 2 * ID_BYTES:
        raise InvalidRequestError(
            f"{text[:64]!r} is not an id",
            hint="an id looks like 6f1c1d2e-0a3b-4c5d-8e9f-001122334455",
        )
    return value
