"""The clock of one node: it may run slow or fast, and its wall time may jump."""

from __future__ import annotations

import asyncio

from logd.testing.clock import SimClock
from tests.sim.raft.clock import DriftingClock


class NodeClock(SimClock):
    """`SimClock` of a machine whose second is not a second."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.drifting = DriftingClock(0)

    def monotonic_ms(self) -> int:
        return self.drifting.at(self._loop.time() * 1000)

    async def sleep_ms(self, milliseconds: float) -> None:
        await super().sleep_ms(milliseconds / self.drifting.rate)

    def run_at(self, rate: float) -> None:
        """Change the speed."""
        self.drifting.run_at(self._loop.time() * 1000, rate)
