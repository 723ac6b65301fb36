"""How long partitions gave no acknowledgement while somebody waited for one."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from logd_client import TopicPartition


class Waits:
    """May be used by several threads. Times are of one monotonic clock, in seconds.

    A wait begins with the send of a record, or with the acknowledgement before it in the same
    partition where that came later, and ends with the record's own: with records sent all the time
    it is the gap between two acknowledgements.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered: dict[TopicPartition, float] = {}
        self._newest_sent: dict[TopicPartition, float] = {}
        self._longest: dict[TopicPartition, float] = {}

    def acknowledged(self, place: TopicPartition, sent_s: float, now_s: float) -> None:
        """A record of `place` that was sent at `sent_s` is acknowledged now."""
        with self._lock:
            began_s = max(sent_s, self._answered.get(place, sent_s))
            self._longest[place] = max(self._longest.get(place, 0.0), now_s - began_s)
            self._answered[place] = now_s
            self._newest_sent[place] = max(self._newest_sent.get(place, sent_s), sent_s)

    def all_since(self, places: Iterable[TopicPartition], since_s: float) -> bool:
        """Whether each of `places` has acknowledged something that was sent after `since_s`."""
        with self._lock:
            return all(self._newest_sent.get(place, since_s) > since_s for place in places)

    def begin(self) -> None:
        """Forget the waits that have ended."""
        with self._lock:
            self._longest.clear()

    def longest_s(self, places: Iterable[TopicPartition]) -> float:
        """The longest wait in any of `places` since `begin`; 0: there was none."""
        with self._lock:
            return max((self._longest.get(place, 0.0) for place in places), default=0.0)
