"""The one writer of a data directory: gathers appends into rounds, syncs, acknowledges.

A round is everything that queued up while the last one ran:

    gather -> begin epochs, logs in parallel -> write all batches
           -> one fdatasync per dirty log, in parallel -> answer

A batch is answered after its own log's sync. The ledger gets, at the head of each round, the
durable ends of the round before, and a last line shortly after traffic stops; so it never claims
more than is durable, and lags at most one round behind.

The first error of a write or sync that is not "no space" is fatal: nothing is acknowledged
after it, nothing is tried again, the node stops (`on_fatal`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from logd_wire import BatchHeader
from logd_wire.errors import LogdError, OutcomeUnknownError, StorageFailedError, StorageFullError

from logd.runtime.disk_operations import (
    Operation,
    QueuedAppend,
    QueuedCall,
    WrittenLog,
    first_of_their_logs,
    waits_for_sync,
)
from logd.runtime.ports import Disk, Spawn
from logd.runtime.signal import take_wake
from logd.storage import (
    Ledger,
    LogKey,
    SyncPoint,
    append_copied,
    begin_copied,
    begins_epoch,
    is_no_space,
)

T = TypeVar("T")

#: A round takes no more than this from the queue, so that the first answer is not kept waiting.
ROUND_BYTES_MAX = 64 * 1024 * 1024
#: How long after the last round its ends reach the ledger when no other round follows.
LEDGER_IDLE_MS = 50


class ClockNow(Protocol):
    def wall_ms(self) -> int: ...

    def monotonic_ms(self) -> int: ...


@dataclass(slots=True)
class _Written:
    """What the writing half of a round left to do."""

    refused: list[tuple[Operation, BaseException]]
    points: list[tuple[WrittenLog, SyncPoint | None]]
    ledger_dirty: bool
    fatal: OSError | None


class DiskDriver:
    """Owns all writing to the logs of one data directory.

    `free_bytes` is asked before every round; appends that
    would leave less than `free_bytes_min` are refused with StorageFullError before they are
    written.
    """

    def __init__(
        self,
        *,
        disk: Disk,
        ledger: Ledger,
        clock: ClockNow,
        free_bytes: Callable[[], int],
        free_bytes_min: int,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._disk = disk
        self._ledger = ledger
        self._clock = clock
        self._free_bytes = free_bytes
        self._free_bytes_min = free_bytes_min
        self._on_fatal = on_fatal
        self._queue: deque[Operation] = deque()
        self._wake = asyncio.Event()
        self._ledger_due: dict[LogKey, int] = {}
        self._failed: BaseException | None = None
        self._closing = False
        self._round_from_ms: int | None = None

    @property
    def failed(self) -> bool:
        return self._failed is not None

    @property
    def waiting(self) -> int:
        """Batches and other work in the queue."""
        return len(self._queue)

    @property
    def busy_ms(self) -> int:
        """How long the round under way has been going on; 0 when there is none."""
        begun_ms = self._round_from_ms
        return 0 if begun_ms is None else self._clock.monotonic_ms() - begun_ms

    def start(self, spawn: Spawn, name: str) -> None:
        self._task = spawn(self._run(), name)

    def append(
        self,
        target: WrittenLog,
        batch: bytes,
        header: BatchHeader,
        leader_epoch: int,
        acks: int,
    ) -> asyncio.Future[Any]:
        """Queue one verified batch. `target.settle` answers the future, unless it raises here."""
        future = asyncio.get_running_loop().create_future()
        self._enqueue(QueuedAppend(target, batch, header, leader_epoch, acks, future))
        return future

    def call(
        self,
        work: Callable[[], T],
        target: WrittenLog | None = None,
        *,
        sync: bool = False,
        apart: bool = False,
    ) -> asyncio.Future[T]:
        """Queue work for the writer: creating, trimming, rolling, closing a log.

        `sync`: sync `target` afterwards and answer behind that. `apart`: it touches the log of
        `target` alone, so that other logs need not wait for it; its order within that log is kept.
        An OSError is fatal here too, except "no space", which is raised to the caller as
        StorageFullError.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._enqueue(QueuedCall(work, target, sync, future, apart=apart))
        return future

    def between_rounds(
        self, work: Callable[[], T], target: WrittenLog, *, sync: bool = False
    ) -> asyncio.Future[T]:
        """As `call`, for work that itself touches no file: done at once while the writer rests."""
        is_busy = bool(self._queue) or self._round_from_ms is not None
        if sync or is_busy or self._failed is not None:
            return self.call(work, target, sync=sync)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        future.set_result(work())
        return future

    def append_copied(
        self, target: WrittenLog, batches: bytes, append_ms: int, *, forgotten_end: int = 0
    ) -> asyncio.Future[int]:
        """Queue batches as another replica stored them; the future yields the end of the log,
        once that is as durable as the topic promises. Below `forgotten_end`, they may lack
        tombstones."""
        if begins_epoch(target.log, batches):
            # Else every log would keep the writer waiting when the leaders of many have changed.
            begun = self.call(lambda: begin_copied(target.log, batches), target, apart=True)
            # What refuses the epoch refuses the batches.
            begun.add_done_callback(lambda done: done.cancelled() or done.exception())

        def work() -> int:
            # The log that the target has by now: it may have been made anew.
            target.log.cleaning.forget_below(forgotten_end)
            return append_copied(target.log, batches, append_ms=append_ms)

        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._enqueue(
            QueuedCall(
                work,
                target,
                target.sync_before_ack,
                future,
                len(batches),
            )
        )
        return future

    def truncate(self, target: WrittenLog, offset: int) -> asyncio.Future[int]:
        """Queue a cut to whole batches below `offset`; the future yields the new end, durable."""

        def work() -> int:
            # Before the log is cut: recovery takes what is missing below the ledger for damage.
            view = target.log.view
            low = min(view.batch_border(offset), view.durable_end_offset)
            self._ledger.append({target.key: low})
            self._ledger.sync()
            return target.log.truncate(offset)

        return self.call(work, target, sync=True)

    def note_durable(self, target: WrittenLog) -> None:
        """A log was opened: its end is durable, and the ledger is told with the next line."""
        self._ledger_due[target.key] = target.log.view.durable_end_offset
        self._wake.set()

    def _enqueue(self, operation: Operation) -> None:
        if self._failed is not None:
            operation.future.set_exception(self._stopped_error())
            return
        self._queue.append(operation)
        self._wake.set()

    async def close(self) -> None:
        """Run what is queued, write the last line of the ledger, end; nothing may follow."""
        self._closing = True
        self._wake.set()
        await self._task

    async def _run(self) -> None:
        while self._failed is None:
            if not self._queue and not await self._wait():
                return
            operations = self._gather()
            try:
                await self._round(operations)
            except Exception as error:
                # Whatever broke the writer: nothing may be acknowledged after it.
                self._fail(error, operations)

    async def _wait(self) -> bool:
        """Wait for work or for the ledger to fall due; False: closing with nothing left."""
        self._wake.clear()
        if self._closing:
            return bool(self._ledger_due)
        if not self._ledger_due:
            await self._wake.wait()
            return True
        await take_wake(self._wake, self._clock.monotonic_ms() + LEDGER_IDLE_MS, self._clock)
        return True

    def _gather(self) -> list[Operation]:
        operations: list[Operation] = []
        size = 0
        while self._queue and size < ROUND_BYTES_MAX:
            operation = self._queue.popleft()
            operations.append(operation)
            size += operation.size
        return operations

    async def _round(self, operations: list[Operation]) -> None:
        self._round_from_ms = self._clock.monotonic_ms()
        await self._perform_apart(operations)
        due, self._ledger_due = self._ledger_due, {}
        written = await self._disk.write(partial(self._write, operations, due))
        for operation, error in written.refused:
            _set_exception(operation.future, error)
        if written.fatal is not None:
            raise written.fatal
        for target, _ in written.points:
            # Before the sync: followers write and sync theirs at the same time.
            target.written()
        by_target: dict[int, list[Operation]] = {}
        for operation in operations:
            if operation.target is None or not waits_for_sync(operation):
                self._answer(operation)
            else:
                by_target.setdefault(id(operation.target), []).append(operation)
        await self._sync_all(written, by_target)
        self._round_from_ms = None

    async def _perform_apart(self, operations: list[Operation]) -> None:
        """Do side by side what touches one log each, and comes before all else in it."""
        calls = first_of_their_logs(operations)
        if len(calls) < 2:
            return
        under_way = [_started(self._disk.sync(call.work)) for call in calls]
        first_error: OSError | None = None
        for call, done in zip(calls, under_way, strict=True):
            call.performed = True
            try:
                call.result = await done
            except LogdError as error:
                _set_exception(call.future, error)
            except OSError as error:
                if is_no_space(error):
                    _set_exception(call.future, _full_error(0, self._free_bytes_min))
                else:
                    first_error = first_error or error
        if first_error is not None:
            raise first_error

    async def _sync_all(self, written: _Written, by_target: dict[int, list[Operation]]) -> None:
        syncs: list[Awaitable[None]] = [
            self._sync(target, point, by_target.get(id(target), []))
            for target, point in written.points
        ]
        ledger = [_started(self._disk.sync(self._ledger.sync))] if written.ledger_dirty else []
        if len(syncs) > 1:
            syncs = [_started(sync) for sync in syncs]
        first_error: OSError | None = None
        for sync in (*syncs, *ledger):
            try:
                await sync
            except OSError as error:
                first_error = first_error or error
        if first_error is not None:
            raise first_error

    def _write(self, operations: list[Operation], due: dict[LogKey, int]) -> _Written:
        """The writing half of a round, on the writer."""
        written = _Written([], [], False, None)
        try:
            written.ledger_dirty = self._write_ledger(due)
            room = self._free_bytes() - self._free_bytes_min
            touched: dict[int, WrittenLog] = {}
            for operation in operations:
                room = self._perform(operation, room, written)
                target = operation.target
                if target is not None and waits_for_sync(operation):
                    touched[id(target)] = target
            written.points = [(target, target.log.prepare_sync()) for target in touched.values()]
        except OSError as error:
            written.fatal = error
        return written

    def _write_ledger(self, due: dict[LogKey, int]) -> bool:
        if not due:
            return False
        try:
            self._ledger.append(due)
        except OSError as error:
            if not is_no_space(error):
                raise
            # A ledger that lags is safe: recovery only copies more than it had to.
            return False
        return True

    def _perform(self, operation: Operation, room: int, written: _Written) -> int:
        """Do one operation; returns the room that is left above the free-space floor."""
        try:
            if operation.size and operation.size > room:
                raise _full_error(room + self._free_bytes_min, self._free_bytes_min)
            if isinstance(operation, QueuedCall):
                if not operation.performed:
                    operation.result = operation.work()
                return room - operation.size
            operation.target.check_records(operation.batch)
            operation.result = operation.target.log.append(
                operation.batch,
                operation.header,
                leader_epoch=operation.leader_epoch,
                now_ms=self._clock.wall_ms(),
            )
            return room - operation.size
        except LogdError as error:
            written.refused.append((operation, error))
        except OSError as error:
            if not is_no_space(error):
                raise
            written.refused.append((operation, _full_error(0, self._free_bytes_min)))
        return room

    async def _sync(
        self, target: WrittenLog, point: SyncPoint | None, operations: list[Operation]
    ) -> None:
        if point is not None:
            try:
                await self._disk.sync(point.run)
            except OSError as error:
                self._failed = self._failed or error
                raise
            if self._failed is not None:
                # Another log of this round could not be synced: no answer after that.
                return
            target.log.complete_sync(point)
            self._ledger_due[target.key] = target.log.view.durable_end_offset
        target.published()
        for operation in operations:
            self._answer(operation)

    def _answer(self, operation: Operation) -> None:
        if operation.future.done():
            return
        if isinstance(operation, QueuedAppend):
            assert operation.result is not None, "an append is answered once it has a result"
            if not operation.target.sync_before_ack:
                operation.target.published()
            operation.target.settle(operation, operation.result)
        else:
            operation.future.set_result(operation.result)

    def _fail(self, error: BaseException, operations: list[Operation]) -> None:
        self._failed = error
        unknown = OutcomeUnknownError(
            f"the node stopped on a storage error before this was safe: {error}",
            hint="it may or may not have been kept; retry with the same producer",
        )
        for operation in operations:
            _set_exception(operation.future, unknown)
        while self._queue:
            _set_exception(self._queue.popleft().future, self._stopped_error())
        self._on_fatal(error)

    def _stopped_error(self) -> StorageFailedError:
        return StorageFailedError(
            f"the node has stopped writing after a storage error: {self._failed}",
            hint="see the node's log; check the disk, then start the node again",
        )


def _started(work: Awaitable[T]) -> asyncio.Future[T]:
    """Begin `work`; a round that is cancelled waits for none of its syncs any more."""
    future = asyncio.ensure_future(work)
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _full_error(free_bytes: int, free_bytes_min: int) -> StorageFullError:
    return StorageFullError(
        f"the disk is nearly full: {max(free_bytes, 0)} bytes free, {free_bytes_min} are kept free",
        hint="free space, or lower retention.ms or retention.bytes; writing resumes by itself",
    )
