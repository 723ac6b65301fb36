"""Which partition a key belongs to: murmur2, as the Java client computes it."""

from __future__ import annotations

import struct
from typing import Final

_SEED: Final = 0x9747B28C
_MULTIPLIER: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
#: Readers of 0 to 63 little-endian words.
_WORDS: Final = [struct.Struct(f"<{words}I").unpack_from for words in range(64)]


def murmur2(data: bytes) -> int:
    """Return the 32-bit hash of `data` as a signed number."""
    size = len(data)
    words = size >> 2
    unpack = _WORDS[words] if words < 64 else struct.Struct(f"<{words}I").unpack_from
    state = _SEED ^ size
    for word in unpack(data):
        mixed = word * _MULTIPLIER & _MASK
        state = (state * _MULTIPLIER ^ (mixed ^ mixed >> 24) * _MULTIPLIER) & _MASK
    if size & 3:
        state = (state ^ int.from_bytes(data[words << 2 :], "little")) * _MULTIPLIER & _MASK
    state = (state ^ state >> 13) * _MULTIPLIER & _MASK
    state ^= state >> 15
    return state - 0x100000000 if state > 0x7FFFFFFF else state


def partition_for_key(key: bytes, partitions: int) -> int:
    """Return the partition in 0 to `partitions` - 1 that the Java client would choose."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
