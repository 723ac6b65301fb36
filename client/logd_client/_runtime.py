"""What every facade needs: clock, randomness, and the life of a client in a process."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from logd_wire.errors import ClosedError

from logd_client import _fork
from logd_client._engine.ports import Clock, Rng
from logd_client._io_thread import IoThread, io_thread
from logd_client._transport.api import Transport
from logd_client._transport.grpc import GrpcTransport

T = TypeVar("T")


class Engine(Protocol):
    """What the life of a client needs of its engine."""

    async def close(self) -> None: ...


E = TypeVar("E", bound=Engine)


class SystemClock:
    """The machine's clocks."""

    def monotonic_ms(self) -> float:
        return time.monotonic() * 1000

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep_ms(self, milliseconds: float) -> None:
        await asyncio.sleep(max(0.0, milliseconds) / 1000)


@dataclass(frozen=True)
class Environment:
    """What a client is made of. A subclass of a client may set another one, for example to run
    against a cluster in memory."""

    transport: Callable[[], Transport] = GrpcTransport
    clock: Clock = field(default_factory=SystemClock)
    #: Randomness for jitter and sticky partitions; nothing secret.
    rng: Callable[[], Rng] = random.Random


class Life(Generic[E]):
    """From the first use of a client to its end: lazy, fork-aware, closed once.

    `generation` is that of the process which uses the client; -1 before the first use and after
    the end, so that one comparison on the hot path finds both.
    """

    __slots__ = ("_make", "_start_lock", "closed", "engine", "generation", "io", "owner", "what")

    def __init__(self, what: str, make: Callable[[IoThread], E]) -> None:
        self.what = what
        self._make = make
        self._start_lock = threading.Lock()
        self.engine: E | None = None
        self.io: IoThread | None = None
        self.generation = -1
        self.owner = -1
        self.closed = False

    def use(self) -> E:
        """The engine, made now if this is the first use.

        Raises ForkError in a child of the process that used it, ClosedError after the end.
        """
        if self.owner >= 0 and self.owner != _fork.current.number:
            raise _fork.fork_error(self.what)
        if self.closed:
            raise self._ended()
        engine = self.engine
        return self._start() if engine is None else engine

    def _start(self) -> E:
        with self._start_lock:
            if self.engine is None:
                io = io_thread()
                self.io = io
                self.engine = io.run(self._made(io), f"starting the {self.what}")
                self.owner = self.generation = _fork.current.number
            return self.engine

    async def _made(self, io: IoThread) -> E:
        return self._make(io)

    def run(self, coroutine: Coroutine[Any, Any, T], what: str, timeout: float | None = None) -> T:
        """Run `coroutine` of the engine on the I/O thread and wait. ClosedError when the client is
        closed meanwhile."""
        assert self.io is not None
        try:
            return self.io.run(coroutine, what, timeout)
        except CancelledError:
            raise self._ended() from None

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `coroutine` of the engine on the I/O thread, without waiting."""
        assert self.io is not None
        return self.io.submit(coroutine)

    async def arun(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` of the engine on the I/O thread and await it on this loop. ClosedError
        when the client is closed meanwhile."""
        assert self.io is not None
        try:
            return await asyncio.wrap_future(self.io.submit(coroutine))
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is not None and caller.cancelling():
                raise
            raise self._ended() from None

    def _ended(self) -> ClosedError:
        """Only the end of a client cancels what its caller has not given up."""
        return ClosedError(f"the {self.what} is closed")

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run `callback` on the I/O thread."""
        assert self.io is not None
        self.io.call_soon(callback)

    def end(self) -> E | None:
        """Refuse further use; return the engine if it has to be closed by the caller."""
        if self.closed:
            return None
        self.closed = True
        self.generation = -1
        if self.owner >= 0 and self.owner != _fork.current.number:
            # The engine lives in the parent.
            return None
        return self.engine

    def dropped(self) -> None:
        """The facade is garbage: complain, and release what it held, if it was not closed."""
        engine = self.engine
        if engine is None or self.closed or self.owner != _fork.current.number:
            return
        self.closed = True
        io = self.io
        if io is not None:
            io.call_soon(lambda: _close_soon(io, engine))
        warnings.warn(
            f"unclosed {self.what}: use `with`, or close() it", ResourceWarning, stacklevel=3
        )


_closing: dict[asyncio.Task[None], None] = {}


def _close_soon(io: IoThread, engine: Engine) -> None:
    task = io.loop.create_task(_closed(engine))
    _closing[task] = None
    task.add_done_callback(lambda done: _closing.pop(done, None))


async def _closed(engine: Engine) -> None:
    await engine.close()
