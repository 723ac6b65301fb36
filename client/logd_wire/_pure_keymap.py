"""For each key the last offset, in bounded memory: the cleaner's map, in pure Python."""

from __future__ import annotations

#: What a key costs beside its own bytes: two objects, and its share of a table that doubles.
_KEY_BYTES = 200


class KeyMap:
    """The highest offset of each key that fits in about `memory_bytes`; ValueError: too few.

    The compiled map keeps a hash in place of each key, so that a given amount of memory holds more
    keys in it, and a number of them that does not depend on their size.
    """

    def __init__(self, memory_bytes: int) -> None:
        if memory_bytes < 5 * 24:
            raise ValueError("a map needs memory for a few keys")
        self._offsets: dict[bytes, int] = {}
        self._room = memory_bytes

    def __len__(self) -> int:
        return len(self._offsets)

    def put(self, key: bytes, offset: int, /) -> bool:
        """Remember the offset of a key, unless a higher one is known.

        False: full, nothing was changed. A first key fits always.
        """
        if type(key) is not bytes:
            raise TypeError(f"a key is bytes, not {type(key).__name__:.100}")
        if not 0 <= offset < 2**63 - 1:
            raise ValueError("an offset is from 0 to 2**63 - 2")
        known = self._offsets.get(key)
        if known is None:
            cost = _KEY_BYTES + len(key)
            if cost > self._room and self._offsets:
                return False
            self._room -= cost
            self._offsets[key] = offset
        elif offset > known:
            self._offsets[key] = offset
        return True

    def get(self, key: bytes, /) -> int:
        """Return the highest offset of a key, -1 if it is not known."""
        if type(key) is not bytes:
            raise TypeError(f"a key is bytes, not {type(key).__name__:.100}")
        return self._offsets.get(key, -1)
