"""News for whoever waits at the moment: everybody is woken, nothing is kept."""

from __future__ import annotations

import asyncio
import contextlib

from logd.runtime.ports import Clock


class Signal:
    """`set` wakes all that hold `next`. Take it first, look at what is so, then wait for it."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Set by the next news from now on."""
        return self._next

    def set(self) -> None:
        reached, self._next = self._next, asyncio.Event()
        reached.set()


async def wait_until(news: asyncio.Event, deadline_ms: int | None, clock: Clock) -> None:
    """Wait for news, or until the monotonic clock has come to `deadline_ms`."""
    if deadline_ms is None:
        await news.wait()
        return
    delay_ms = max(deadline_ms - clock.monotonic_ms(), 0)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(delay_ms / 1000):
            await news.wait()
