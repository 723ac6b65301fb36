"""The monotonic clock of one node, which may run slow or fast, and the alarm that it sets."""

from __future__ import annotations

import math
from collections.abc import Callable


class DriftingClock:
    """Maps the virtual time of the run to what a node's clock shows, both in ms."""

    def __init__(self, start_ms: int) -> None:
        self._real = 0.0
        self._local = float(start_ms)
        self.rate = 1.0

    def at(self, real_ms: float) -> int:
        """What the clock shows."""
        return int(self._local + (real_ms - self._real) * self.rate + 1e-6)

    def when(self, local_ms: int) -> float:
        """The virtual time at which the clock will show `local_ms`."""
        return self._real + math.ceil((local_ms - self._local) / self.rate)

    def run_at(self, real_ms: float, rate: float) -> None:
        """Change the speed."""
        self._local += (real_ms - self._real) * self.rate
        self._real = real_ms
        self.rate = rate


class Alarm:
    """Wakes a node at the deadline that it set last. It is moved far more often than it rings."""

    def __init__(
        self, schedule: Callable[[float, Callable[[], None]], None], ring: Callable[[], None]
    ) -> None:
        self._schedule = schedule
        self._ring = ring
        #: When to ring; None: not at all.
        self.wanted_ms: float | None = None
        #: The earliest call that is still to come.
        self._pending_ms: float | None = None

    def set(self, wanted_ms: float | None) -> None:
        """Ring at `wanted_ms`, and at no other time."""
        self.wanted_ms = wanted_ms
        if wanted_ms is None or (self._pending_ms is not None and self._pending_ms <= wanted_ms):
            return
        self._pending_ms = wanted_ms
        self._schedule(wanted_ms, lambda: self._wake(wanted_ms))

    def _wake(self, now_ms: float) -> None:
        if self._pending_ms != now_ms:
            return
        self._pending_ms = None
        if self.wanted_ms is not None and self.wanted_ms > now_ms:
            self.set(self.wanted_ms)
        elif self.wanted_ms is not None:
            self._ring()
