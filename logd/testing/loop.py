"""An asyncio event loop whose time is virtual.

When nothing is ready the loop jumps to the next timer instead of waiting. It has no selector, no
threads and no signals: whatever a coroutine waits for must come from the loop itself. A loop with
nothing ready and no timer can never go on; it raises `DeadlockError` that names what waits.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
from asyncio.base_events import BaseEventLoop
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context, ContextVar, copy_context
from typing import Any, ClassVar, NoReturn, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Turns of the loop without time passing after which it is taken to spin for ever.
TURNS_WITHOUT_TIME_MAX = 200_000
#: Timers that differ by less, as sums of the same delays do, go off together.
SAME_MOMENT_S = 1e-9


#: Whoever starts tasks for a simulated process sets this in its context; tasks inherit it.
OWNER: ContextVar[object] = ContextVar("OWNER", default=None)


class DeadlockError(Exception):
    """Nothing is ready and no timer is set: the program waits for something that never comes."""


class LivelockError(Exception):
    """The loop turns without end and virtual time does not pass."""


class VirtualLoop(BaseEventLoop):
    """See the module. `failures` collects what went to the loop's exception handler.

    Timers of one moment go off in the order in which they were set. What the base class does for
    real sockets, signals and debugging is left out: turning is most of what a simulation does.
    """

    #: What waits for its turn, and for its time.
    handle_type: ClassVar[type[asyncio.Handle]] = asyncio.Handle
    timer_type: ClassVar[type[asyncio.TimerHandle]] = asyncio.TimerHandle

    #: Names of the base class.
    _ready: deque[asyncio.Handle]
    _scheduled: list[tuple[float, int, asyncio.TimerHandle]]
    _stopping: bool

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self._now = start
        self._turns = 0
        #: How often anybody was woken by a timer.
        self.jumps = 0
        self._thread = threading.get_ident()
        self._timers_set = 0
        self.failures: list[str] = []
        # A dict keeps the order of the starts.
        self._owned: dict[asyncio.Task[Any], object] = {}
        self.set_task_factory(_make_task)
        self.set_exception_handler(_collect_failure)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = self.timer_type(when, callback, args, self, context)
        self._timers_set += 1
        heapq.heappush(self._scheduled, (when, self._timers_set, timer))
        return timer

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = self.handle_type(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _run_once(self) -> None:
        """One turn: what is ready, and the timers of this moment; none is: of the next one."""
        timers, ready = self._scheduled, self._ready
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if ready or self._stopping or (timers and timers[0][0] <= self._now + SAME_MOMENT_S):
            self._turns += 1
            if self._turns > TURNS_WITHOUT_TIME_MAX:
                raise LivelockError(f"livelock at {self._now:.6f} s\n{describe_tasks(self)}")
        elif timers:
            self._turns = 0
            self.jumps += 1
            self._now = timers[0][0]
        else:
            raise DeadlockError(f"deadlock at {self._now:.6f} s\n{describe_tasks(self)}")
        moment = self._now + SAME_MOMENT_S
        while timers and timers[0][0] <= moment:
            when, _, timer = heapq.heappop(timers)
            # No timer goes off early: whoever finds that it did would set it again, for ever.
            self._now = max(self._now, when)
            ready.append(timer)
        # What these call is for the next turn.
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def run(self, main: Coroutine[Any, Any, T], *, limit_s: float | None = None) -> T:
        """Run `main` to its end; TimeoutError, saying what waits, after `limit_s`."""
        task = self.create_task(main, name="main")
        expired: list[str] = []

        def expire() -> None:
            expired.append(f"not finished after {limit_s} virtual s\n{describe_tasks(self)}")
            task.cancel()

        timer = None if limit_s is None else self.call_later(limit_s, expire)
        try:
            return self.run_until_complete(task)
        except asyncio.CancelledError:
            if expired:
                raise TimeoutError(expired[0]) from None
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def adopt(self, task: asyncio.Task[Any], owner: object) -> None:
        """Remember whose task it is."""
        self._owned[task] = owner
        task.add_done_callback(self._owned.pop)

    def cancel_owned(self, owner: object) -> None:
        """Cancel every task of `owner`, oldest first, except the one that runs now: what the end
        of a process does."""
        current = asyncio.current_task(self) if self.is_running() else None
        for task in [task for task, its in self._owned.items() if its is owner]:
            if task is not current:
                task.cancel()

    def finish(self) -> None:
        """Cancel what still runs, let it end, and close the loop."""
        try:
            for _ in range(10):
                tasks = _sorted_tasks(self)
                if not tasks:
                    break
                for task in tasks:
                    task.cancel()
                self._turns = 0
                self.run_until_complete(_settle())
            self.run_until_complete(self.shutdown_asyncgens())
        finally:
            self.close()

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        if threading.get_ident() != self._thread:
            raise RuntimeError("a virtual loop has one thread; a callback came from another")
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> NoReturn:
        raise RuntimeError("a virtual loop runs no threads; use the Disk port")

    def _write_to_self(self) -> None:
        """There is no thread to be woken."""


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Any,
    *,
    context: Context | None = None,
) -> asyncio.Task[Any]:
    task = asyncio.Task(coroutine, loop=loop, context=context)
    owner = (context or copy_context()).get(OWNER)
    if owner is not None:
        assert isinstance(loop, VirtualLoop)
        loop.adopt(task, owner)
    return task


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def _sorted_tasks(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    tasks = [task for task in asyncio.all_tasks(loop) if not task.done()]
    return sorted(tasks, key=lambda task: task.get_name())


def describe_tasks(loop: asyncio.AbstractEventLoop, limit: int = 30) -> str:
    """One line for each unfinished task: its name and where it waits."""
    lines = []
    for task in _sorted_tasks(loop)[:limit]:
        lines.append(f"  {task.get_name()}: {' <- '.join(_frames(task.get_coro()))}")
    return "\n".join(lines) or "  (no task)"


def _frames(coroutine: Any) -> list[str]:
    """Where a chain of coroutines waits, innermost first."""
    found: list[str] = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is None:
            break
        name = frame.f_code.co_filename.rsplit("/", 2)
        found.append(f"{frame.f_code.co_name} ({'/'.join(name[-2:])}:{frame.f_lineno})")
        coroutine = coroutine.cr_await
    return found[::-1]


def _collect_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    assert isinstance(loop, VirtualLoop)
    subject = context.get("task") or context.get("future") or context.get("handle")
    name = subject.get_name() if isinstance(subject, asyncio.Task) else repr(subject)
    loop.failures.append(f"{context.get('message')} {name}: {context.get('exception')!r}")
