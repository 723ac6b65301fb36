"""Steps of an event loop, for tests that look at a coroutine half-way."""

from __future__ import annotations

import asyncio


async def settle(steps: int = 10) -> None:
    """Let everything that is ready run, and what becomes ready through it."""
    for _ in range(steps):
        await asyncio.sleep(0)
