"""Latencies by log-linear buckets: any range, one part in 64 at the worst, small to send about.

A value is how long after it was *due* something happened. What is sent late because the one before
it stalled is counted from when it should have been sent: no coordinated omission.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Buckets for each power of two; a value is off by at most 1 / (2 * _PARTS).
_BITS: Final = 6
_PARTS: Final = 1 << _BITS
QUANTILES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999))


class Histogram:
    """Counts of nanoseconds."""

    __slots__ = ("counts", "max_ns", "total")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.total = 0
        self.max_ns = 0

    def record(self, duration_ns: int, times: int = 1) -> None:
        """Count a duration; one below zero, of clocks read out of turn, counts as zero."""
        duration_ns = max(duration_ns, 0)
        shift = max(duration_ns.bit_length() - _BITS - 1, 0)
        bucket = (shift << _BITS) + (duration_ns >> shift)
        self.counts[bucket] = self.counts.get(bucket, 0) + times
        self.total += times
        self.max_ns = max(self.max_ns, duration_ns)

    def merge(self, other: Histogram) -> None:
        """Add what another one counted."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.total += other.total
        self.max_ns = max(self.max_ns, other.max_ns)

    def quantile_ns(self, share: float) -> int:
        """The middle of the bucket below whose end `share` of all lie; 0 when there is nothing."""
        rank, seen = share * self.total, 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return min(_middle_ns(bucket), self.max_ns)
        return self.max_ns

    def summary_ms(self) -> dict[str, float]:
        """p50, p90, p99, p999 and max in milliseconds; empty without values."""
        if not self.total:
            return {}
        found = {name: self.quantile_ns(share) / 1e6 for name, share in QUANTILES}
        return {**found, "max": self.max_ns / 1e6}

    def curve_ms(self) -> list[tuple[float, float]]:
        """(share of all values, milliseconds) of every bucket, rising: what a plot draws."""
        points, seen = [], 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            points.append((seen / self.total, min(_middle_ns(bucket), self.max_ns) / 1e6))
        return points

    def document(self) -> dict[str, object]:
        """As JSON; `from_document` reads it."""
        counts = {str(bucket): count for bucket, count in sorted(self.counts.items())}
        return {"counts": counts, "max_ns": self.max_ns}

    @classmethod
    def from_document(cls, document: Mapping[str, object]) -> Histogram:
        counts, max_ns = document["counts"], document["max_ns"]
        assert isinstance(counts, Mapping) and isinstance(max_ns, int), document
        made = cls()
        made.counts = {int(bucket): int(count) for bucket, count in counts.items()}
        made.total = sum(made.counts.values())
        made.max_ns = max_ns
        return made


def _middle_ns(bucket: int) -> int:
    """The middle of a bucket. Above 2 * _PARTS, `bucket` is shift and the leading bits."""
    if bucket < 2 * _PARTS:
        return bucket
    shift = (bucket >> _BITS) - 1
    leading = bucket - (shift << _BITS)
    return (leading << shift) + (1 << shift >> 1)
