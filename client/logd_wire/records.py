"""What a batch holds, in plain values."""

from __future__ import annotations

from typing import NamedTuple, Protocol

#: Name and value of each header, in order; names may repeat.
Headers = tuple[tuple[str, bytes | None], ...]

#: Anything whose bytes can be read without a copy.
Buffer = bytes | bytearray | memoryview


class WireRecord(NamedTuple):
    """One record: `offset` counts records of the partition, `timestamp` is in ms since 1970."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class RecordView(Protocol):
    """One record as `iter_records` shows it: read what is needed, the rest costs nothing.

    The fields are those of `WireRecord`, which is one, too. A compiled view keeps the bytes of the
    whole batch alive.
    """

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...
