"""The `Clock` port over a virtual loop, with a wall clock that may jump."""

from __future__ import annotations

import asyncio

from logd.runtime.ports import BootTime

#: 2026-01-01T00:00:00Z: where simulated wall clocks begin, in milliseconds since the Unix epoch.
WALL_START_MS = 1_767_225_600_000


class SimClock:
    """Monotonic time is the loop's; wall time is that plus an offset that a test may change."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        wall_start_ms: int = WALL_START_MS,
    ) -> None:
        self._loop = loop
        self._wall_offset_ms = wall_start_ms
        #: Another one: the machine was booted in between.
        self.boot_id = "simulated"

    def monotonic_ms(self) -> int:
        return int(self._loop.time() * 1000)

    def monotonic_ns(self) -> int:
        return int(self._loop.time() * 1_000_000_000)

    def wall_ms(self) -> int:
        return self.monotonic_ms() + self._wall_offset_ms

    def boot_time(self) -> BootTime:
        return BootTime(self.boot_id, self.monotonic_ms())

    def jump_wall(self, milliseconds: int) -> None:
        """Move the wall clock, back when negative; the monotonic clock does not notice."""
        self._wall_offset_ms += milliseconds

    async def sleep_ms(self, milliseconds: float) -> None:
        await asyncio.sleep(max(0.0, milliseconds) / 1000)
