"""Byte budgets: how much queued data a node and a connection may hold in memory.

A producer's edge acquires before it reads on, so a full budget becomes back-pressure on the
transport. A waiter is served in the order of arrival; one that asks for more than the whole
budget is served when nothing is held, so that the largest legal message always passes.
"""

from __future__ import annotations

import asyncio
from collections import deque


class ByteBudget:
    """A bounded number of bytes shared by many holders."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held = 0
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    def _fits(self, count: int) -> bool:
        return self.held == 0 or self.held + count <= self.bytes_max

    def try_acquire(self, count: int) -> bool:
        """Take `count` bytes if they are free and nobody waits for them."""
        if self._waiters or not self._fits(count):
            return False
        self.held += count
        return True

    async def acquire(self, count: int) -> None:
        """Take `count` bytes; waits until they are free."""
        if self.try_acquire(count):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (count, future)
        self._waiters.append(entry)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.release(count)
            else:
                self._waiters.remove(entry)
                self._serve()
            raise

    def release(self, count: int) -> None:
        """Give `count` bytes back."""
        self.held -= count
        assert self.held >= 0, "more bytes released than acquired"
        self._serve()

    def _serve(self) -> None:
        while self._waiters:
            count, future = self._waiters[0]
            if future.cancelled():
                # Its own `acquire` removes it from the queue.
                return
            if not self._fits(count):
                return
            self._waiters.popleft()
            self.held += count
            future.set_result(None)


class ConnectionBudget:
    """One connection's share of a node's budget."""

    def __init__(self, node: ByteBudget, bytes_max: int) -> None:
        self._node = node
        self._own = ByteBudget(bytes_max)

    @property
    def held(self) -> int:
        return self._own.held

    async def acquire(self, count: int) -> None:
        """Take `count` bytes of both budgets; the connection's own first, so that a greedy
        connection waits for itself and not in front of the others."""
        await self._own.acquire(count)
        try:
            await self._node.acquire(count)
        except asyncio.CancelledError:
            self._own.release(count)
            raise

    def release(self, count: int) -> None:
        self._node.release(count)
        self._own.release(count)
