"""One partition of the log in memory, with producer windows of five batches; errors as messages."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from logd_proto.v1 import common_pb2
from logd_wire import WireRecord, decode_batch, iter_headers, stamp, verify_batch
from logd_wire.errors import (
    LogdError,
    NotLeaderError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceError,
)

WINDOW = 5


def to_proto(error: LogdError) -> common_pb2.Error:
    message = common_pb2.Error(
        code=error.code,
        message=error.message,
        hint=error.hint,
        retriable=error.retriable,
        next_offset=error.next_offset,
    )
    if isinstance(error, NotLeaderError):
        message.leader.leader_id = error.leader_id
        message.leader.leader_epoch = error.leader_epoch
        message.leader.address = error.leader_address
    return message


@dataclass
class MemoryLog:
    """One partition."""

    leader: int
    epoch: int = 0
    batches: list[bytes] = field(default_factory=list)
    start: int = 0
    end: int = 0
    #: Producer id -> (first sequence, last sequence, base offset) of its last batches.
    windows: dict[int, deque[tuple[int, int, int]]] = field(default_factory=dict)

    def append(self, batch: bytes) -> tuple[int, bool]:
        """Return the base offset and whether it was there before."""
        header = verify_batch(batch, exact=True)
        if header.producer_id >= 0:
            window = self.windows.get(header.producer_id)
            first, last = header.base_sequence, header.last_sequence
            for known_first, known_last, offset in window or ():
                if (known_first, known_last) == (first, last):
                    return offset, True
            if window and first != (window[-1][1] + 1) & 0x7FFFFFFF:
                raise OutOfOrderSequenceError(f"sequence {first} after {window[-1][1]}")
            window = self.windows.setdefault(header.producer_id, deque(maxlen=WINDOW))
            window.append((first, last, self.end))
        offset = self.end
        self.batches.append(stamp(batch, offset, self.epoch))
        self.end += header.last_offset_delta + 1
        return offset, False

    def records(self) -> list[WireRecord]:
        return [record for batch in self.batches for record in decode_batch(batch)]

    def values(self) -> list[bytes | None]:
        return [record.value for record in self.records()]

    def read(self, offset: int, bytes_max: int) -> tuple[bytes, int]:
        if not self.start <= offset <= self.end:
            raise OffsetOutOfRangeError(
                f"offset {offset} is not in {self.start} to {self.end}", next_offset=self.start
            )
        found, next_offset = b"", offset
        for batch in self.batches:
            (_, header), *_ = iter_headers(batch)
            if header.next_offset <= offset:
                continue
            if found and len(found) + len(batch) > bytes_max:
                break
            found += batch
            next_offset = header.next_offset
        return found, next_offset
