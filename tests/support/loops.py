"""Steps of an event loop, and waiting on one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Virtual seconds; what takes longer does not come about.
PATIENCE_S = 30.0


async def settle(steps: int = 10) -> None:
    """Let everything that is ready run, and what becomes ready through it."""
    for _ in range(steps):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object], limit_s: float = PATIENCE_S) -> None:
    """Wait, on a virtual clock, until something is so."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit_s
    while not condition():
        assert loop.time() < deadline, "it did not come about in time"
        await asyncio.sleep(0.01)
