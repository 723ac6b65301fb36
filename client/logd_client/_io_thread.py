"""The one thread of the process that does all I/O of all clients, with one event loop.

A handler that blocks its own thread or loop therefore delays no heartbeat, acknowledgement or
fetch. The thread starts with the first use of a client and ends with the process; after a fork
the child starts its own.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Final, TypeVar

from logd_wire.errors import (
    TimeoutError,
)

T = TypeVar("T")

#: Waits of the main thread are cut into slices, so that Ctrl-C is answered everywhere.
WAIT_SLICE_SECONDS: Final = 0.2
#: Several requests and the batches in them.
_MAPPED_BYTES: Final = 4 * 1024 * 1024
_STOP_SECONDS: Final = 2.0


class IoThread:
    """See the module."""

    def __init__(self) -> None:
        self.loop = _new_loop()
        _keep_what_is_freed()
        self._thread = threading.Thread(target=self._run, name="logd-client-io", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run `callback` on the loop, from any thread."""
        # At the end of the process the loop may be closed already: nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(callback)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `coroutine` on the loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, T], what: str, timeout: float | None = None) -> T:
        """Run `coroutine` on the loop and wait for it, `timeout` seconds at most.

        Raises what it raises, or TimeoutError; it is cancelled then, and on Ctrl-C.
        """
        future = self.submit(coroutine)
        try:
            return wait_for(future, timeout)
        except FutureTimeoutError:
            if future.done():
                raise
            future.cancel()
            raise TimeoutError(f"{what}: not done within {timeout:g} s") from None
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the thread; used once, at the end of the process."""
        self.call_soon(self.loop.stop)
        self._thread.join(_STOP_SECONDS)


def wait_for(future: Future[T], timeout: float | None) -> T:
    """`future.result(timeout)` in slices. Raises concurrent.futures.TimeoutError."""
    left = timeout
    while left is None or left > WAIT_SLICE_SECONDS:
        try:
            return future.result(WAIT_SLICE_SECONDS)
        except FutureTimeoutError:
            if future.done():
                raise
        if left is not None:
            left -= WAIT_SLICE_SECONDS
    return future.result(max(0.0, left))


def wait_event(
    event: threading.Event, timeout: float | None, give_up: Callable[[], bool] | None = None
) -> bool:
    """`event.wait(timeout)` in slices; `give_up` is asked after each."""
    left = timeout
    while left is None or left > WAIT_SLICE_SECONDS:
        if event.wait(WAIT_SLICE_SECONDS):
            return True
        if give_up is not None and give_up():
            return False
        if left is not None:
            left -= WAIT_SLICE_SECONDS
    return event.wait(max(0.0, left))


def _keep_what_is_freed() -> None:
    """Have up to 8 MiB of freed memory kept for what is allocated next.

    The C library gives the unused end of a heap back to the system once it is twice as large as the
    largest block that was ever mapped and freed. A thread that makes and frees buffers of a request
    went beyond that with each of them and got its memory page by page again: half of the processor
    time of a producer of 1 KiB records. The block here is never touched, so it takes no memory.
    """
    bytes(_MAPPED_BYTES)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class _Holder:
    """The process's thread, made when first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: IoThread | None = None

    def get(self) -> IoThread:
        with self._lock:
            if self._thread is None:
                self._thread = IoThread()
            return self._thread

    def forget(self) -> None:
        """After a fork: the thread exists only in the parent, and the lock may be held for ever."""
        self._lock = threading.Lock()
        self._thread = None

    def stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()


_holder: Final = _Holder()
os.register_at_fork(after_in_child=_holder.forget)
atexit.register(_holder.stop)


def io_thread() -> IoThread:
    """The process's I/O thread, started if needed."""
    return _holder.get()
