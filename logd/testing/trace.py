"""The trace of a simulated run: one line an event, one hash over all of them.

Two runs of one seed must end with the same hash. A line begins with the virtual time in
microseconds, so that a difference shows where the runs parted.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import TextIO

#: Lines kept for a report when a run fails.
LINES_KEPT = 2000
#: Lines hashed together.
LINES_HASHED = 256


class Trace:
    """Hashes every line, keeps the last ones, and writes all of them to `sink` when there is one.

    `now` returns virtual seconds.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        sink: TextIO | None = None,
        lines_kept: int = LINES_KEPT,
    ) -> None:
        self._now = now
        self._sink = sink
        self._hash = hashlib.sha256()
        self._lines: deque[str] = deque(maxlen=lines_kept)
        self._unhashed: list[str] = []
        self.count = 0

    def __call__(self, event: str) -> None:
        line = f"{round(self._now() * 1_000_000)} {event}"
        self._unhashed.append(line)
        if len(self._unhashed) >= LINES_HASHED:
            self._hash_lines()
        self._lines.append(line)
        self.count += 1
        if self._sink is not None:
            self._sink.write(line + "\n")

    def _hash_lines(self) -> None:
        text = "".join([f"{line}\n" for line in self._unhashed])
        self._hash.update(text.encode("utf-8", "backslashreplace"))
        self._unhashed.clear()

    def digest(self) -> str:
        """SHA-256 over all lines so far, hexadecimal."""
        self._hash_lines()
        return self._hash.hexdigest()

    def tail(self, count: int = 50) -> list[str]:
        """The last lines, at most as many as are kept."""
        return list(self._lines)[-count:]
