"""What a batch holds, in plain values."""

from __future__ import annotations

from typing import NamedTuple

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
