"""The `Disk` port on virtual time.

Work runs inline on the loop, at a virtual moment between its call and its completion. Writes are
strictly one after the other in the order of the calls; syncs and reads go on side by side, each
with a latency of its own. A sync that runs early in its span does not cover what was written
later, one that runs late may be overtaken by a crash: both happen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from logd.testing.rng import SimRng

T = TypeVar("T")

#: How often `close` looks whether everything was answered; virtual seconds.
CLOSE_POLL_S = 0.0005


class CrashError(BaseException):
    """The simulated process ends here. Not an Exception: no handler of the node may catch it."""


@dataclass(frozen=True, slots=True)
class DiskLatency:
    """Mean latencies in milliseconds; each is drawn from an exponential distribution, cut at
    `factor_max` times the mean."""

    write_ms: float = 0.05
    sync_ms: float = 1.0
    read_ms: float = 0.2
    factor_max: float = 20.0


@dataclass(slots=True)
class _Work:
    """One call, with the seconds before and after its work and what follows its completion."""

    work: Callable[[], Any]
    future: asyncio.Future[Any]
    before: float
    after: float
    then: Callable[[], None]


class SimDisk:
    """One process's view of its disk.

    `on_crash` is called once, when work raises `crash_type`; from then on, or after `kill`, no
    work is run and no call returns.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        rng: SimRng,
        *,
        latency: DiskLatency | None = None,
        on_crash: Callable[[BaseException], None] | None = None,
        crash_type: type[BaseException] = CrashError,
    ) -> None:
        self._loop = loop
        self._rng = rng
        self.latency = latency or DiskLatency()
        self._on_crash = on_crash
        self._crash_type = crash_type
        self._queue: deque[_Work] = deque()
        self._writing = False
        self._dead = False
        self._closed = False
        self._pending: dict[asyncio.Future[Any], None] = {}

    def write(self, work: Callable[[], T]) -> Awaitable[T]:
        item = self._accept(work, self.latency.write_ms, self._next_write)
        self._queue.append(item)
        if not self._writing:
            self._next_write()
        return item.future

    def sync(self, work: Callable[[], T]) -> Awaitable[T]:
        return self._begin(self._accept(work, self.latency.sync_ms, _nothing))

    def read(self, work: Callable[[], T]) -> Awaitable[T]:
        return self._begin(self._accept(work, self.latency.read_ms, _nothing))

    async def close(self) -> None:
        self._closed = True
        while self._pending:
            await asyncio.sleep(CLOSE_POLL_S)

    def kill(self) -> None:
        """The process is gone: nothing more runs, nothing more is answered."""
        self._dead = True
        self._queue.clear()
        self._pending.clear()

    def _next_write(self) -> None:
        self._writing = bool(self._queue)
        if self._queue:
            self._begin(self._queue.popleft())

    def _accept(self, work: Callable[[], Any], mean_ms: float, then: Callable[[], None]) -> _Work:
        if self._closed:
            raise RuntimeError("the disk was closed; nothing may be started any more")
        total = self._rng.exponential(mean_ms, mean_ms * self.latency.factor_max) / 1000
        share = self._rng.choice((0.0, 0.5, 1.0))
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._dead:
            self._pending[future] = None
        return _Work(work, future, total * share, total * (1.0 - share), then)

    def _begin(self, item: _Work) -> asyncio.Future[Any]:
        if not self._dead:
            if item.before:
                self._loop.call_later(item.before, self._run, item)
            else:
                self._loop.call_soon(self._run, item)
        return item.future

    def _run(self, item: _Work) -> None:
        if self._dead:
            return
        result: Any = None
        failure: Exception | None = None
        # As with a pool of threads: what was cancelled before it began does not run.
        if not item.future.cancelled():
            try:
                result = item.work()
            except self._crash_type as crash:
                self.kill()
                if self._on_crash is not None:
                    self._on_crash(crash)
                return
            except Exception as error:
                failure = error
        if item.after:
            self._loop.call_later(item.after, self._complete, item, result, failure)
        else:
            self._complete(item, result, failure)

    def _complete(self, item: _Work, result: Any, failure: Exception | None) -> None:
        if self._dead:
            return
        self._pending.pop(item.future, None)
        if not item.future.done():
            if failure is not None:
                item.future.set_exception(failure)
            else:
                item.future.set_result(result)
        item.then()


def _nothing() -> None:
    """Syncs and reads do not queue."""
