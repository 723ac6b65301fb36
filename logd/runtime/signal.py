"""News for whoever waits at the moment: everybody is woken, nothing is kept."""

from __future__ import annotations

import asyncio


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
