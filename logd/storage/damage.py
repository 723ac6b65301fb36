"""Which offsets of a partition log are known to be damaged."""

from __future__ import annotations

import threading
from typing import NamedTuple


class Damage(NamedTuple):
    """Offsets `[start_offset, end_offset)` cannot be served.

    They lie (or should) in the segment with `segment_base`, from byte `position` on.
    """

    start_offset: int
    end_offset: int
    segment_base: int
    position: int
    reason: str

    def __str__(self) -> str:
        return (
            f"offsets {self.start_offset} to {self.end_offset - 1}: {self.reason} "
            f"(segment {self.segment_base:020d}, byte {self.position})"
        )


class DamageMap:
    """Grows as damage is found, by recovery or by readers on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.ranges: tuple[Damage, ...] = ()

    def add(self, damage: Damage) -> None:
        """Remember a range; one that is known already is not added again."""
        if damage.start_offset >= damage.end_offset:
            return
        with self._lock:
            known = self.find(damage.start_offset)
            if known is None or known.end_offset < damage.end_offset:
                self.ranges = tuple(sorted({*self.ranges, damage}))

    def find(self, offset: int) -> Damage | None:
        """Return a range that holds `offset`; of several the one that reaches furthest."""
        if not self.ranges:
            return None
        hits = [d for d in self.ranges if d.start_offset <= offset < d.end_offset]
        return max(hits, key=lambda damage: damage.end_offset, default=None)

    def below(self, offset: int) -> DamageMap:
        """Return a map of what lies below `offset`, where the log is cut.

        Readers of what was cut go on with this one: what they find out says nothing of what will
        be written there.
        """
        result = DamageMap()
        result.ranges = tuple(
            d._replace(end_offset=min(d.end_offset, offset))
            for d in self.ranges
            if d.start_offset < offset
        )
        return result
