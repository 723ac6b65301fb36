"""How often something took how long."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

_MS: Final = 1_000_000
#: Upper ends of the buckets, in nanoseconds: 0.1 ms to 10 s.
BOUNDS_NS: Final = tuple(
    round(milliseconds * _MS)
    for milliseconds in (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000)
)


class Histogram:
    """Durations in nanoseconds, counted by bucket; a bucket's upper end belongs to it.

    One thread at a time may call `observe`.
    """

    __slots__ = ("bounds_ns", "counts", "sum_ns")

    def __init__(self, bounds_ns: Sequence[int] = BOUNDS_NS) -> None:
        assert list(bounds_ns) == sorted(set(bounds_ns)), "bounds rise"
        self.bounds_ns = tuple(bounds_ns)
        #: One more than there are bounds: the last counts what is above them all.
        self.counts = [0] * (len(self.bounds_ns) + 1)
        self.sum_ns = 0

    def observe(self, duration_ns: int) -> None:
        self.counts[bisect_left(self.bounds_ns, duration_ns)] += 1
        self.sum_ns += duration_ns

    def cumulative(self) -> list[int]:
        """For each bound how many were at most that long, then how many there were."""
        return list(accumulate(self.counts))

    def copy(self) -> Histogram:
        """The same numbers, which no longer change."""
        copied = Histogram(self.bounds_ns)
        copied.counts, copied.sum_ns = list(self.counts), self.sum_ns
        return copied
