"""Producer state of one partition: the last batches of each producer id.

The rules are Kafka's (idempotent producers): of each id the last five batches are remembered; a
batch whose first and last sequence equal one of them is a duplicate and gets that one's offset;
anything else must follow the last sequence; a new producer epoch starts at sequence 0; a lower
one is fenced; an id without state may start anywhere. Forgetting an id (the cap, expiry) opens
the window for duplicates of that id again.

`check` decides and changes nothing, `record` changes: a failed write has nothing to roll back.

    <offset>.producers   sidecar frame · {producer id i64 · epoch i16 · last ms i64 · count u8
                         · count x {first i32 · last i32 · base offset i64 · append ms i64}}

A snapshot speaks of all batches below the offset in its name; ids stand in the order of their
last use. Without a usable one the state is rebuilt from batch headers.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import NamedTuple

from logd_wire import BatchHeader
from logd_wire.errors import (
    ErrorCode,
    FencedError,
    LogdError,
    OutOfOrderSequenceError,
)
from logd_wire.limits import PRODUCER_WINDOW_BATCHES

from logd.storage.files import Files
from logd.storage.sidecar import decode_sidecar, encode_sidecar, read_sidecar

_MAGIC = b"logd-pr\0"
_ID = struct.Struct(">qhqB")
_BATCH = struct.Struct(">iiqq")
_SEQUENCE_MASK = 0x7FFFFFFF


class RememberedBatch(NamedTuple):
    """One batch of a window; sequences are of its first and last record."""

    first_sequence: int
    last_sequence: int
    base_offset: int
    append_time_ms: int


class _Producer:
    __slots__ = ("epoch", "last_ms", "window")

    def __init__(self, epoch: int, last_ms: int, window: tuple[RememberedBatch, ...]) -> None:
        self.epoch = epoch
        self.last_ms = last_ms
        self.window = window


class ProducerState:
    """All producer ids of a partition, the longest idle first; at most `ids_max`."""

    def __init__(self, ids_max: int) -> None:
        self.ids_max = ids_max
        self._producers: OrderedDict[int, _Producer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._producers)

    def check(self, header: BatchHeader) -> RememberedBatch | None:
        """Return the batch that `header` repeats, None if it is a new one that may be appended.

        Raises FencedError, OutOfOrderSequenceError, LogdError with PRODUCER_ID_LIMIT.
        """
        if self.ids_max <= 0:
            raise LogdError(
                "this partition keeps no producer state",
                code=ErrorCode.PRODUCER_ID_LIMIT,
                retriable=False,
                hint="raise producer.ids.max, or produce without idempotence",
            )
        producer = self._producers.get(header.producer_id)
        if producer is None:
            return None
        first = header.base_sequence
        if header.producer_epoch != producer.epoch:
            _check_new_epoch(header, producer.epoch)
            return None
        last = header.last_sequence
        for batch in producer.window:
            if batch.first_sequence == first and batch.last_sequence == last:
                return batch
        expected = (producer.window[-1].last_sequence + 1) & _SEQUENCE_MASK
        if first != expected:
            raise OutOfOrderSequenceError(
                f"producer {header.producer_id} sent sequence {first}, expected is {expected}",
                hint="a batch before it was lost or given up: start a new producer",
            )
        return None

    def record(self, header: BatchHeader, base_offset: int, append_time_ms: int) -> None:
        """Remember a batch that was appended."""
        producer_id = header.producer_id
        batch = RememberedBatch(
            header.base_sequence, header.last_sequence, base_offset, append_time_ms
        )
        producer = self._producers.get(producer_id)
        if producer is None:
            self._producers[producer_id] = _Producer(
                header.producer_epoch, append_time_ms, (batch,)
            )
            if len(self._producers) > self.ids_max:
                self._producers.popitem(last=False)
            return
        if producer.epoch == header.producer_epoch:
            producer.window = (*producer.window[1 - PRODUCER_WINDOW_BATCHES :], batch)
        else:
            producer.epoch = header.producer_epoch
            producer.window = (batch,)
        producer.last_ms = append_time_ms
        self._producers.move_to_end(producer_id)

    def batch_offsets(self, end_offset: int) -> tuple[int, ...]:
        """Return the base offsets below `end_offset` of all remembered batches, ascending."""
        found = {
            batch.base_offset
            for producer in self._producers.values()
            for batch in producer.window
            if batch.base_offset < end_offset
        }
        return tuple(sorted(found))

    def clear(self) -> None:
        """Forget all ids."""
        self._producers.clear()

    def rows(self) -> list[dict[str, int]]:
        """Return what is known of each id, the longest idle first."""
        return [
            {
                "producer_id": producer_id,
                "producer_epoch": producer.epoch,
                "last_sequence": producer.window[-1].last_sequence,
                "last_base_offset": producer.window[-1].base_offset,
                "batches": len(producer.window),
                "last_ms": producer.last_ms,
            }
            for producer_id, producer in self._producers.items()
        ]

    def encode(self) -> bytes:
        """Return the payload of a snapshot."""
        parts = []
        for producer_id, producer in self._producers.items():
            parts.append(
                _ID.pack(producer_id, producer.epoch, producer.last_ms, len(producer.window))
            )
            parts += [_BATCH.pack(*batch) for batch in producer.window]
        return b"".join(parts)

    def decode(self, payload: bytes) -> None:
        """Take the state of a snapshot's payload; the cap applies."""
        self._producers.clear()
        position = 0
        while position < len(payload):
            producer_id, epoch, last_ms, count = _ID.unpack_from(payload, position)
            position += _ID.size
            window = tuple(
                RememberedBatch(*_BATCH.unpack_from(payload, position + index * _BATCH.size))
                for index in range(count)
            )
            position += count * _BATCH.size
            self._producers[producer_id] = _Producer(epoch, last_ms, window)
        while len(self._producers) > max(self.ids_max, 0):
            self._producers.popitem(last=False)


def _check_new_epoch(header: BatchHeader, current_epoch: int) -> None:
    if header.producer_epoch < current_epoch:
        raise FencedError(
            f"producer {header.producer_id} has epoch {header.producer_epoch}, "
            f"but epoch {current_epoch} is active",
            hint="another instance of this producer took over; stop this one",
        )
    if header.base_sequence != 0:
        raise OutOfOrderSequenceError(
            f"producer {header.producer_id} begins epoch {header.producer_epoch} "
            f"with sequence {header.base_sequence}, expected is 0",
            hint="start a new producer",
        )


def encode_snapshot(state: ProducerState, identity: int, offset: int) -> bytes:
    """Return the bytes of a snapshot file: all batches below `offset`."""
    return encode_sidecar(_MAGIC, state.encode(), identity=identity, base_offset=offset, covered=0)


def load_snapshot(
    files: Files, path: str, identity: int | None, offset: int, ids_max: int
) -> ProducerState | None:
    """Read a snapshot file; None: missing, damaged, or of something else."""
    payload = read_sidecar(files, path, _MAGIC, identity=identity, base_offset=offset, covered=0)
    if payload is None:
        return None
    state = ProducerState(ids_max)
    state.decode(payload)
    return state


def decode_snapshot(data: bytes, offset: int) -> list[dict[str, int]] | None:
    """Return the producer ids in a snapshot file's bytes; None: damaged."""
    payload = decode_sidecar(data, _MAGIC, identity=None, base_offset=offset, covered=0)
    if payload is None:
        return None
    state = ProducerState(1 << 30)
    state.decode(payload)
    return state.rows()
