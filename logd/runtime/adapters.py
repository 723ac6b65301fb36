"""The ports of the real world: system clock, threads for files, operating-system randomness."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from logd.runtime.ports import BootTime
from logd.storage import CleaningError, CleaningPlan, CleaningResult

T = TypeVar("T")

#: Syncs of different files overlap in the device; more threads than this gain nothing (measured).
SYNC_THREADS = 16
READ_THREADS = 4
#: Of a pass over thousands of segments.
_ANSWER_BYTES_MAX = 64 * 1024 * 1024


#: One for each boot of a Linux machine.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """Implements `Clock` with the operating system's clocks."""

    def __init__(self) -> None:
        self._boot_id = _read_boot_id()

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def boot_time(self) -> BootTime:
        return BootTime(self._boot_id, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)

    async def sleep_ms(self, milliseconds: float) -> None:
        await asyncio.sleep(milliseconds / 1000)


def _read_boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


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


class ChildCleaning:
    """Implements `Cleaning` with a child process for each pass, of low priority.

    It ends with this process: its input does.
    """

    def __init__(self, root: Path, bytes_per_second: int) -> None:
        self._arguments = ("-m", "logd.storage.cleaner.worker", str(root), str(bytes_per_second))

    async def clean(self, plan: CleaningPlan) -> CleaningResult:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_ANSWER_BYTES_MAX,
        )
        assert child.stdin is not None and child.stdout is not None, "both are pipes"
        try:
            child.stdin.write(json.dumps(plan.to_plain()).encode() + b"\n")
            with contextlib.suppress(ConnectionError):
                await child.stdin.drain()
            line = await child.stdout.readline()
        finally:
            child.stdin.close()
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
            await asyncio.shield(child.wait())
        if not line.endswith(b"\n"):
            raise CleaningError(f"the cleaner's process ended with exit code {child.returncode}")
        answer = json.loads(line)
        if "refused" in answer:
            raise CleaningError(answer["refused"])
        return CleaningResult.from_plain(answer["result"])


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
