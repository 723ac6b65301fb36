"""News for whoever waits at the moment, and levels that are waited for: nothing is kept."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from typing import Protocol, TypeVar

T = TypeVar("T")


class Monotonic(Protocol):
    """As much of a clock as waiting needs."""

    def monotonic_ms(self) -> int: ...


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


class Level:
    """A number that grows, and who waits for it to come so far: nobody is woken before."""

    def __init__(self) -> None:
        #: Number and order of those who wait: a heap.
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._asked = 0

    async def wait(self, number: int, *, timeout_ms: float) -> None:
        """Wait until `move_to` reaches `number`, or for `release`. Raises TimeoutError."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked += 1
        heapq.heappush(self._waiting, (number, self._asked, future))
        await within(future, timeout_ms)

    def move_to(self, number: int) -> None:
        """It has come to `number`."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= number:
            future = heapq.heappop(waiting)[2]
            if not future.done():
                future.set_result(None)

    def release(self) -> None:
        """Wake everybody: it will not come so far."""
        waiting, self._waiting = self._waiting, []
        for _, _, future in sorted(waiting, key=lambda each: each[1]):
            if not future.done():
                future.set_result(None)


async def within(future: asyncio.Future[T], timeout_ms: float) -> T:
    """Wait for a future that nobody else waits for. Raises TimeoutError.

    Cheaper than `asyncio.wait_for`, which is felt where every command waits several times.
    """
    if future.done():
        return future.result()
    timer = asyncio.get_running_loop().call_later(timeout_ms / 1000, _give_up, future)
    try:
        return await future
    finally:
        timer.cancel()


def _give_up(future: asyncio.Future[T]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())


async def wait_until(news: asyncio.Event, deadline_ms: int | None, clock: Monotonic) -> None:
    """Wait for news, or until the monotonic clock has come to `deadline_ms`."""
    if deadline_ms is None:
        await news.wait()
        return
    delay_ms = max(deadline_ms - clock.monotonic_ms(), 0)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(delay_ms / 1000):
            await news.wait()


async def take_wake(wake: asyncio.Event, deadline_ms: int | None, clock: Monotonic) -> None:
    """As `wait_until`, for an event that nobody else waits for: it is not set afterwards."""
    if not wake.is_set():
        timer: asyncio.TimerHandle | None = None
        if deadline_ms is not None:
            delay_ms = max(deadline_ms - clock.monotonic_ms(), 0)
            timer = asyncio.get_running_loop().call_later(delay_ms / 1000, wake.set)
        try:
            await wake.wait()
        finally:
            if timer is not None:
                timer.cancel()
    wake.clear()
