"""A disk driver with everything around it under the test's control."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, TypeVar

from logd_wire.errors import (
    InvalidRecordError,
)

from logd.runtime.adapters import TaskSpawn
from logd.runtime.disk_driver import DiskDriver
from logd.runtime.disk_operations import QueuedAppend

T = TypeVar("T")


class ManualDisk:
    """Writes run at once; every sync waits until the test lets it go."""

    def __init__(self) -> None:
        self.writes = 0
        self.syncs: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []

    def write(self, work: Callable[[], T]) -> Awaitable[T]:
        self.writes += 1
        return _done(work)

    def sync(self, work: Callable[[], T]) -> Awaitable[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.syncs.append((work, future))
        return future

    def read(self, work: Callable[[], T]) -> Awaitable[T]:
        return _done(work)

    async def close(self) -> None:
        return None

    def finish_sync(self, number: int = 0) -> None:
        work, future = self.syncs.pop(number)
        try:
            future.set_result(work())
        except OSError as error:
            future.set_exception(error)


def _done(work: Callable[[], T]) -> asyncio.Future[T]:
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    try:
        future.set_result(work())
    except OSError as error:
        future.set_exception(error)
    return future


class FakeLog:
    """Counts records; every batch holds one."""

    def __init__(self) -> None:
        self.written = 0
        self.fail_append: OSError | None = None
        self.fail_sync: OSError | None = None
        self.synced: list[int] = []
        self.view = SimpleNamespace(durable_end_offset=0, start_offset=0)

    def append(self, _batch: bytes, _header: Any, *, leader_epoch: int, now_ms: int) -> int:
        if self.fail_append is not None:
            raise self.fail_append
        self.written += 1
        return self.written - 1

    def prepare_sync(self) -> SimpleNamespace | None:
        end = self.written
        if end == self.view.durable_end_offset:
            return None
        return SimpleNamespace(end=end, run=lambda: self._sync(end))

    def _sync(self, end: int) -> None:
        if self.fail_sync is not None:
            raise self.fail_sync
        self.synced.append(end)

    def complete_sync(self, point: SimpleNamespace) -> None:
        self.view = SimpleNamespace(durable_end_offset=point.end, start_offset=0)


class Target:
    """A log as its partition presents it."""

    def __init__(self, name: bytes, *, sync_before_ack: bool = True) -> None:
        self.key = (name * 16, 0)
        self.log: Any = FakeLog()
        self.sync_before_ack = sync_before_ack
        self.durable_when_answered: list[int] = []
        self.answered_bytes = 0

    def check_records(self, batch: bytes) -> None:
        if batch == b"refused":
            raise InvalidRecordError("not this one")

    def settle(self, queued: QueuedAppend, appended: Any) -> None:
        self.answered_bytes += len(queued.batch)
        self.durable_when_answered.append(self.log.view.durable_end_offset)
        queued.future.set_result(appended)

    def written(self) -> None:
        return None

    def published(self) -> None:
        return None


class RecordingLedger:
    def __init__(self) -> None:
        self.lines: list[dict[Any, int]] = []
        self.fail: OSError | None = None

    def append(self, ends: dict[Any, int]) -> None:
        if self.fail is not None:
            raise self.fail
        self.lines.append(dict(ends))

    def sync(self) -> None:
        return None


class Bench:
    """A driver with everything around it under the test's control."""

    def __init__(self) -> None:
        self.disk = ManualDisk()
        self.ledger = self.make_ledger()
        self.free_bytes = 1_000_000
        self.now_ms = 0
        self.fatal: list[BaseException] = []
        ledger: Any = self.ledger
        self.driver = DiskDriver(
            disk=self.disk,
            ledger=ledger,
            clock=SimpleNamespace(wall_ms=lambda: 1_000, monotonic_ms=lambda: self.now_ms),
            free_bytes=lambda: self.free_bytes,
            free_bytes_min=1_000,
            on_fatal=self.fatal.append,
        )
        self.spawn = TaskSpawn(self.fatal.append)
        self.driver.start(self.spawn, "disk")

    def make_ledger(self) -> Any:
        return RecordingLedger()

    def append(self, target: Target, batch: bytes = b"x") -> asyncio.Future[Any]:
        header: Any = None
        return self.driver.append(target, batch, header, 0, -1)
