"""The ports of the real world: system clock, threads for files, operating-system randomness."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

#: Syncs of different files overlap in the device; more threads than this gain nothing (measured).
SYNC_THREADS = 16
READ_THREADS = 4


class SystemClock:
    """Implements `Clock` with the operating system's clocks."""

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep_ms(self, milliseconds: float) -> None:
        await asyncio.sleep(milliseconds / 1000)


class ThreadDisk:
    """Implements `Disk` with three thread pools; the writer's has one thread."""

    def __init__(self, name: str) -> None:
        self._writer = ThreadPoolExecutor(1, f"{name}-write")
        self._syncers = ThreadPoolExecutor(SYNC_THREADS, f"{name}-sync")
        self._readers = ThreadPoolExecutor(READ_THREADS, f"{name}-read")

    def write(self, work: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._writer, work)

    def sync(self, work: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._syncers, work)

    def read(self, work: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._readers, work)

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        for pool in (self._writer, self._syncers, self._readers):
            await loop.run_in_executor(None, pool.shutdown)


class SystemRng:
    """Implements `Rng`: seeded by the operating system."""

    def __init__(self) -> None:
        self._random = random.Random(os.urandom(16))

    def random(self) -> float:
        return self._random.random()

    def randbytes(self, n: int) -> bytes:
        return os.urandom(n)


class TaskSpawn:
    """Implements `Spawn` with asyncio tasks."""

    def __init__(self, on_fatal: Callable[[BaseException], None]) -> None:
        self._on_fatal = on_fatal
        # A dict keeps the order of the starts; a set of tasks would be walked in hash order.
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def __call__(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_fatal(error)

    async def cancel_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for task in tasks:
            await asyncio.gather(task, return_exceptions=True)
