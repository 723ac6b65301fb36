"""What the runtime needs of the world, as protocols.

The real adapters are in `logd.runtime.adapters`; the simulated ones in `logd.testing`. Nothing
else in the runtime may read a clock, draw a random number, start a thread or touch a file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, Protocol, TypeVar

from logd.storage import CleaningPlan, CleaningResult

T = TypeVar("T")


class BootTime(NamedTuple):
    """Milliseconds since the machine was booted, sleep included; `boot_id` names the boot.

    It is empty where nobody can tell one boot from another.
    """

    boot_id: str
    ms: int


class Clock(Protocol):
    """Time. Protocol decisions use the monotonic clock; the wall clock is for stamps and ages."""

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary start; never goes back."""
        ...

    def monotonic_ns(self) -> int:
        """The same in nanoseconds, for measuring and nothing else."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch; may jump."""
        ...

    def boot_time(self) -> BootTime:
        """What the wall clock is held against. Any thread."""
        ...

    async def sleep_ms(self, milliseconds: float) -> None:
        """Wait at least so long."""
        ...


class Disk(Protocol):
    """Runs synchronous storage code away from the event loop.

    `write` is for the one writer: calls are executed one after the other in the order of the
    calls. `sync` calls run in parallel with each other, `read` calls likewise on their own pool,
    so that no reader waits behind a sync. Work starts with the call, not with the await.
    """

    def write(self, work: Callable[[], T]) -> Awaitable[T]: ...

    def sync(self, work: Callable[[], T]) -> Awaitable[T]: ...

    def read(self, work: Callable[[], T]) -> Awaitable[T]: ...

    async def close(self) -> None:
        """Wait for what was accepted, then release the threads."""
        ...


class Cleaning(Protocol):
    """Runs passes of the cleaner where they do not hold the node's interpreter."""

    async def clean(self, plan: CleaningPlan) -> CleaningResult:
        """Run one pass; cancelled, it is stopped. CleaningError says why it is not possible."""
        ...


class Rng(Protocol):
    """Randomness, seeded in tests."""

    def random(self) -> float:
        """Uniform in [0, 1)."""
        ...

    def randbytes(self, n: int) -> bytes: ...


class Task(Protocol):
    """A running coroutine."""

    def cancel(self) -> bool: ...

    def done(self) -> bool: ...

    def add_done_callback(self, callback: Callable[[Any], object], /) -> None: ...

    def __await__(self) -> Any: ...


class Spawn(Protocol):
    """Starts background work.

    An exception that leaves a task is fatal to the node: the adapter reports it to the node's
    `on_fatal`. `cancel_all` ends every task started here, in the order of their start.
    """

    def __call__(self, coroutine: Coroutine[Any, Any, Any], name: str) -> Task: ...

    async def cancel_all(self) -> None: ...
