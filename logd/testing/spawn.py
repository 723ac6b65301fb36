"""The `Spawn` port: background tasks of one simulated process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class SimSpawn:
    """Starts tasks; an exception that leaves one goes to `on_fatal`, as in a real node.

    `kill` is what a crash does: every task is cancelled and nothing is reported any more.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._loop = loop
        self._on_fatal = on_fatal
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._killed = False

    def __call__(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        if self._killed:
            coroutine.close()
            task: asyncio.Task[Any] = self._loop.create_task(_never(), name=name)
            task.cancel()
            return task
        task = self._loop.create_task(coroutine, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self._killed:
            self._on_fatal(error)

    def kill(self) -> None:
        """Cancel everything at once, oldest first; later starts end before they begin."""
        self._killed = True
        for task in list(self._tasks):
            task.cancel()

    async def cancel_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _never() -> None:
    await asyncio.Event().wait()
