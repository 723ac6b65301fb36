"""What the engines need of the world; a simulation hands in its own."""

from __future__ import annotations

from typing import Protocol

from logd_client._core.ports import Rng

__all__ = ["Clock", "Rng"]


class Clock(Protocol):
    """Time. Waiting and deadlines use the monotonic clock; record stamps the wall clock."""

    def monotonic_ms(self) -> float:
        """Milliseconds since an arbitrary start; never goes back."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch; may jump."""
        ...

    async def sleep_ms(self, milliseconds: float) -> None:
        """Wait at least so long."""
        ...
