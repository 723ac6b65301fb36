"""High watermarks, written down now and then: a node that starts again serves what was committed
before it has heard of its peers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from logd_wire.errors import StorageFullError

from logd.runtime.disk_driver import DiskDriver
from logd.runtime.partition import Partition
from logd.runtime.ports import Clock
from logd.storage import Files, LogKey, load_high_watermarks, store_high_watermarks

STORE_MS: Final = 5_000


class Marks:
    """Of partitions with several replicas; what the only replica has kept is committed anyway."""

    def __init__(self, files: Files, driver: DiskDriver, clock: Clock) -> None:
        self._files = files
        self._driver = driver
        self._clock = clock
        self._stored: dict[LogKey, int] = {}

    async def load(self) -> None:
        """Read what was written before; comes first."""
        self._stored = await self._driver.call(partial(load_high_watermarks, self._files))

    def of(self, key: LogKey) -> int:
        """What was committed of a partition when that was written; 0: nothing is known."""
        return self._stored.get(key, 0)

    async def run(self, partitions: Callable[[], Iterable[Partition]]) -> None:
        """Store them again and again."""
        while True:
            await self._clock.sleep_ms(STORE_MS)
            await self.store(partitions())

    async def store(self, partitions: Iterable[Partition]) -> None:
        """Store them now, if one has moved."""
        marks = {
            each.key: each.high_watermark for each in partitions if len(each.state.replicas) > 1
        }
        if marks == self._stored:
            return
        try:
            await self._driver.call(partial(store_high_watermarks, self._files, marks))
        except StorageFullError:
            # Older marks are lower, which is safe.
            return
        self._stored = marks
