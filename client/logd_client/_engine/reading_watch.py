"""Says in the log when partitions of a consumer stand still, and when they go on again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from logd_client._core.fetch_state import FetchState
from logd_client._core.reading_watch import ReadingWatch, Standstill
from logd_client._engine.ports import Clock
from logd_client.values import TopicPartition

logger = logging.getLogger("logd.client.consumer")

#: How often it looks.
LOOK_MS: Final = 5_000.0
#: So many partitions are named in one line.
_NAMED: Final = 8


class ReadingWatcher:
    """Looks while something is assigned. On the engine's loop, but for `unserved_for_ms`."""

    def __init__(
        self, state: FetchState, clock: Clock, loop: asyncio.AbstractEventLoop, unserved_ms: float
    ) -> None:
        self._state = state
        self._clock = clock
        self._loop = loop
        self._watch = ReadingWatch(state, unserved_ms)
        self._timer: asyncio.TimerHandle | None = None

    def keep_looking(self) -> None:
        """Something may have been assigned."""
        if self._timer is None and self._state.readers:
            self._look()

    def unserved_for_ms(self, tp: TopicPartition) -> float | None:
        """Since when no node sends it; None: one does. Expects the lock to be held."""
        return self._watch.unserved_for_ms(tp, self._clock.monotonic_ms())

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        with self._state.lock:
            found = self._watch.look(self._clock.monotonic_ms())
            going_on = bool(self._state.readers)
        if going_on:
            self._timer = self._loop.call_later(LOOK_MS / 1000, self._look)
        if found.unserved:
            logger.warning(
                "no node has sent anything of %s for %.0f s, trying on: %s",
                *_in_words(found.unserved),
                "; ".join(dict.fromkeys(each.why for each in found.unserved[:_NAMED])),
            )
        if found.served_again:
            logger.info("%s is read again, after %.0f s", *_in_words(found.served_again))
        for each in found.unread[:_NAMED]:
            logger.warning(
                "%s[%d] is not read: what was fetched of it, %s, has waited for %.0f s. Read it, "
                "or pause() it: it uses up what its node may send (fetch_max_bytes) of others, too",
                *each.tp,
                each.why,
                each.for_ms / 1000,
            )


def _in_words(stands: Sequence[Standstill]) -> tuple[str, float]:
    """Names, and the longest time in seconds."""
    names = [f"{each.tp.topic}[{each.tp.partition}]" for each in stands]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return " ".join(names[:_NAMED]) + more, max(each.for_ms for each in stands) / 1000
