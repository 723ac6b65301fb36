"""What the start of a node waits for, and what to do about it: told while it waits.

The log hears of it soon, and then again and again with growing pauses; whoever asks for the node's
readiness hears of it at any time. A start never gives up because others are slow: the containers of
one file may come up in any order, and late. But what takes longer than that is said to be wrong.
"""

from __future__ import annotations

import logging
from typing import Final

from logd.runtime.ports import Clock

_logger = logging.getLogger("logd.node")

#: Nodes that are started together find each other within a second or two. Where images are still
#: fetched or volumes attached it may take longer; from here on somebody should have a look.
PATIENCE_MS: Final = 30_000
#: When the log first hears of it.
FIRST_MS: Final = 1_000
#: How long until it hears of it again: twice as long each time.
PAUSE_MS: Final = 10_000
PAUSE_MS_MAX: Final = 300_000


class Waiting:
    """Of one node. The words name node ids and addresses, and nothing that is in a log."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_ms: int | None = None
        self._next_ms = 0
        self._pause_ms = PAUSE_MS
        #: What is waited for, and from `is_overdue` on what to do; empty: nothing.
        self.words = ""
        self.is_overdue = False

    def __call__(self, what: str, *, remedy: str, detail: str = "") -> None:
        """It is waited for `what`, now or still; `detail` is for the log alone."""
        now_ms = self._clock.monotonic_ms()
        if self._since_ms is None:
            self._since_ms, self._next_ms = now_ms, now_ms + FIRST_MS
        waited_ms = now_ms - self._since_ms
        if waited_ms >= PATIENCE_MS and not self.is_overdue:
            self.is_overdue, self._next_ms = True, now_ms
        self.words = what
        if self.is_overdue:
            self.words = f"{what}, for {waited_ms // 1000} s by now; {remedy}"
        if now_ms >= self._next_ms:
            self._next_ms = now_ms + self._pause_ms
            self._pause_ms = min(2 * self._pause_ms, PAUSE_MS_MAX)
            _logger.warning("%s%s", self.words, f" ({detail})" if detail else "")

    def over(self) -> None:
        """What was waited for is there."""
        if self.is_overdue:
            _logger.info("the wait is over")
        self._since_ms, self._pause_ms = None, PAUSE_MS
        self.words, self.is_overdue = "", False
