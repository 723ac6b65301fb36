"""When a leader's heartbeat rounds began: what an answer proves is as old as its question.

An answer may lie unread for as long as this process stands still. Counted from the question, such
an answer says nothing about the time since.
"""

from __future__ import annotations

from collections import deque


class HeartbeatRounds:
    """Counts rounds from 1; remembers times to `resolution_ms`, rounded down, for `memory_ms`."""

    def __init__(self, *, resolution_ms: int, memory_ms: int) -> None:
        self._resolution_ms = resolution_ms
        self._memory_ms = memory_ms
        self._last = 0
        #: The first round of each span of time, and when it began.
        self._begun: deque[tuple[int, int]] = deque()

    @property
    def last(self) -> int:
        return self._last

    def begin(self, now_ms: int) -> int:
        """Count a round that begins now."""
        self._last += 1
        begun = self._begun
        if not begun or now_ms - begun[-1][1] >= self._resolution_ms:
            begun.append((self._last, now_ms))
        while len(begun) > 1 and now_ms - begun[1][1] > self._memory_ms:
            begun.popleft()
        return self._last

    def begun_ms(self, round_: int) -> int | None:
        """Return when a round began, or a little earlier; None: it never did, or long ago."""
        if round_ > self._last:
            return None
        for first, begun_ms in reversed(self._begun):
            if first <= round_:
                return begun_ms
        return None
