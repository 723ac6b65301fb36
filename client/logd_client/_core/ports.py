"""What the core is handed by whoever runs it."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol


class Lock(Protocol):
    """Mutual exclusion between callers and the I/O thread; a simulation hands in one that is
    always free."""

    def __enter__(self) -> bool: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


class Rng(Protocol):
    """Randomness, seeded in tests."""

    def random(self) -> float:
        """Uniform in [0, 1)."""
        ...


class FreeLock:
    """The lock of a program with one thread."""

    def __enter__(self) -> bool:
        return True

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        return None
