"""What waits to be written to one peer: bounded, and what is lost first is what is sent again.

A lost append costs a rejection and a second try; a lost vote or heartbeat costs an election. So
when there is too much, the oldest entries go first, and other messages only when no entries wait.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from logd_wire.limits import MESSAGE_BYTES_MAX, MIB

from logd.consensus import ENTRY_BYTES_MAX
from logd.consensus.log_types import LogPoint
from logd.consensus.messages import AppendRequest, Body
from logd.rpc.peer_codec import ENTRIES_MAX, FRAME_MESSAGES_MAX


class Size(NamedTuple):
    """What a message takes: bytes of its payloads, and values that the receiver has to count."""

    bytes: int
    values: int


#: A frame takes messages until it is as large as this; it may exceed it by one message.
FRAME: Final = Size(MIB, 20_000)
#: Framing of one payload and of one entry, at the most.
_PAYLOAD_BYTES: Final = 6
_ENTRY_BYTES: Final = 32
_ENTRY_VALUES: Final = 4


class OutboxLimits(NamedTuple):
    """Most messages that wait, and bytes of their entries; one message may always wait."""

    messages_max: int
    bytes_max: int


#: While the peer takes what is sent.
CONNECTED: Final = OutboxLimits(1_000, 16 * MIB)
#: While it cannot be reached: little, because by then most of it will be out of date.
APART: Final = OutboxLimits(16, MIB)

assert APART.messages_max < CONNECTED.messages_max <= FRAME_MESSAGES_MAX
assert FRAME.bytes + 2 * ENTRY_BYTES_MAX < MESSAGE_BYTES_MAX


class _Waiting(NamedTuple):
    body: Body
    size: Size


class Outbox:
    """A queue of message bodies. `dropped` counts those that were lost."""

    def __init__(self, limits: OutboxLimits = APART) -> None:
        self._limits = limits
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        #: Keys of those with entries, oldest first.
        self._appends: deque[int] = deque()
        self._next_key = 0
        self._bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def bytes(self) -> int:
        """Bytes of all entries that wait."""
        return self._bytes

    def put(self, body: Body) -> None:
        """Take one message; others are dropped when there are too many."""
        for part in _parts(body):
            size = size_of(part)
            self._waiting[self._next_key] = _Waiting(part, size)
            if size.bytes:
                self._appends.append(self._next_key)
            self._next_key += 1
            self._bytes += size.bytes
        self._drop()

    def limit(self, limits: OutboxLimits) -> None:
        """Hold no more than this from now on."""
        self._limits = limits
        self._drop()

    def take(self) -> list[Body]:
        """Return what goes into the next frame, in the order of `put`; empty when nothing waits."""
        frame: list[Body] = []
        room_bytes, room_values = FRAME
        while self._waiting and room_bytes > 0 and room_values > 0:
            body, size = self._remove(next(iter(self._waiting)))
            frame.append(body)
            room_bytes -= size.bytes
            room_values -= size.values
        return frame

    def _drop(self) -> None:
        limits = self._limits
        while len(self._waiting) > 1 and (
            len(self._waiting) > limits.messages_max or self._bytes > limits.bytes_max
        ):
            self._remove(self._appends[0] if self._appends else next(iter(self._waiting)))
            self.dropped += 1

    def _remove(self, key: int) -> _Waiting:
        """Remove the oldest of all, or the oldest with entries."""
        waiting = self._waiting.pop(key)
        self._bytes -= waiting.size.bytes
        if waiting.size.bytes:
            self._appends.popleft()
        return waiting


def size_of(body: Body) -> Size:
    """What a message takes; of anything but entries the bytes do not count."""
    if not isinstance(body, AppendRequest):
        return Size(0, 16)
    size, values = 0, 16
    for entry in body.entries:
        size += _ENTRY_BYTES + sum(map(len, entry.payloads)) + _PAYLOAD_BYTES * len(entry.payloads)
        values += _ENTRY_VALUES + len(entry.payloads)
    return Size(size, values)


def _parts(body: Body) -> Iterator[Body]:
    """The same in messages that the receiver takes: an append with very many entries is several."""
    if isinstance(body, AppendRequest) and (
        len(body.entries) > ENTRIES_MAX or size_of(body).values > FRAME.values
    ):
        yield from _split(body)
    else:
        yield body


def _split(body: AppendRequest) -> Iterator[AppendRequest]:
    begin, previous, values = 0, body.previous, 0
    for number, entry in enumerate(body.entries):
        own = _ENTRY_VALUES + len(entry.payloads)
        if number > begin and (values + own > FRAME.values or number - begin == ENTRIES_MAX):
            yield replace(body, previous=previous, entries=body.entries[begin:number])
            before = body.entries[number - 1]
            begin, previous, values = number, LogPoint(before.term, before.next_index), 0
        values += own
    yield replace(body, previous=previous, entries=body.entries[begin:])
