"""Notices an application that does not come back for more. No clock and no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from logd_client.values import TopicPartition


class AtHand(NamedTuple):
    """A partition of which the application has records, or could have them.

    `position`: where the next read goes on; `finished`: up to where it is done; None: nowhere yet.
    """

    tp: TopicPartition
    position: int | None
    finished: int | None


class StallWatch:
    """Looks now and then at what the application has before it. Each look costs the application
    nothing: that it has moved shows in where its partitions are."""

    def __init__(self, patience_ms: float) -> None:
        self._patience_ms = patience_ms
        self._seen: tuple[AtHand, ...] = ()
        self._since_ms = 0.0
        self._told = False

    def look(self, now_ms: float, at_hand: Sequence[AtHand]) -> float | None:
        """For how long nothing has moved, in milliseconds, once in each stall that is too long.

        `at_hand`: empty while the application waits for more.
        """
        seen = tuple(at_hand)
        if not seen or seen != self._seen:
            self._seen, self._since_ms, self._told = seen, now_ms, False
            return None
        stalled_ms = now_ms - self._since_ms
        if self._told or stalled_ms < self._patience_ms:
            return None
        self._told = True
        return stalled_ms
