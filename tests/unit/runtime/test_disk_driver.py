"""The writer's rounds: what is answered when, and what happens when the disk says no."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from logd_wire.errors import (
    CorruptBatchError,
    InvalidRecordError,
    OutcomeUnknownError,
    StorageFailedError,
    StorageFullError,
)

from logd.runtime.adapters import TaskSpawn
from logd.runtime.disk_driver import ROUND_BYTES_MAX, DiskDriver, QueuedAppend
from logd.storage import Ledger, MemoryFiles
from tests.support.loops import settle
from tests.unit.storage.kit import Stored, create, fill, read_from, reopen

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


@pytest.fixture
async def bench() -> Any:
    made = Bench()
    yield made
    await made.spawn.cancel_all()


async def test_nothing_is_answered_before_its_sync(bench: Bench) -> None:
    target = Target(b"a")
    answer = bench.append(target)
    await settle()
    assert target.log.written == 1
    assert not answer.done()
    bench.disk.finish_sync()
    assert await answer == 0
    assert target.durable_when_answered == [1]


async def test_sizes_are_told_with_the_answers(bench: Bench) -> None:
    target = Target(b"a")
    answers = [bench.append(target, b"x" * 10), bench.append(target, b"x" * 5)]
    await settle()
    bench.disk.finish_sync()
    assert [await answer for answer in answers] == [0, 1]
    assert target.answered_bytes == 15


async def test_it_is_busy_as_long_as_a_round_lasts(bench: Bench) -> None:
    target = Target(b"a")
    assert (bench.driver.busy_ms, bench.driver.waiting) == (0, 0)
    first = bench.append(target)
    assert bench.driver.waiting == 1
    await settle()
    second = bench.append(target)
    bench.now_ms += 70
    assert (bench.driver.busy_ms, bench.driver.waiting) == (70, 1)
    bench.disk.finish_sync()
    await first
    await settle()
    # The next round began when the first had ended, and syncs the ledger as well.
    assert (bench.driver.busy_ms, bench.driver.waiting) == (0, 0)
    bench.now_ms += 5
    assert bench.driver.busy_ms == 5
    bench.disk.finish_sync()
    bench.disk.finish_sync()
    await second
    bench.now_ms += 1_000
    assert bench.driver.busy_ms == 0


async def test_what_queues_up_shares_one_sync(bench: Bench) -> None:
    target = Target(b"a")
    first = bench.append(target)
    await settle()
    others = [bench.append(target) for _ in range(10)]
    bench.disk.finish_sync()
    await first
    await settle()
    log_syncs = [future for _, future in bench.disk.syncs]
    assert len(log_syncs) == 2, "one for the log, one for the ledger line of the round before"
    bench.disk.finish_sync()
    bench.disk.finish_sync()
    assert await asyncio.gather(*others) == list(range(1, 11))
    assert target.log.synced == [1, 11]


async def test_each_partition_is_answered_by_its_own_sync(bench: Bench) -> None:
    slow, quick = Target(b"s"), Target(b"q")
    waiting = bench.append(slow), bench.append(quick)
    await settle()
    bench.disk.finish_sync(1)
    assert await waiting[1] == 0
    assert not waiting[0].done()
    bench.disk.finish_sync()
    await waiting[0]


async def test_a_failed_sync_ends_everything_and_is_not_tried_again(bench: Bench) -> None:
    target = Target(b"a")
    target.log.fail_sync = OSError(errno.EIO, "input/output error")
    in_round = bench.append(target)
    await settle()
    queued = bench.append(target)
    bench.disk.finish_sync()
    with pytest.raises(OutcomeUnknownError):
        await in_round
    with pytest.raises(StorageFailedError):
        await queued
    target.log.fail_sync = None
    with pytest.raises(StorageFailedError):
        await bench.append(target)
    assert bench.driver.failed
    assert [type(error) for error in bench.fatal] == [OSError]
    assert bench.disk.syncs == []
    assert target.log.view.durable_end_offset == 0


async def test_a_failed_write_is_fatal_too(bench: Bench) -> None:
    good, bad = Target(b"g"), Target(b"b")
    bad.log.fail_append = OSError(errno.EIO, "input/output error")
    answers = bench.append(good), bench.append(bad)
    for answer in answers:
        with pytest.raises(OutcomeUnknownError):
            await answer
    assert len(bench.fatal) == 1


async def test_a_full_disk_refuses_the_batch_and_nothing_else(bench: Bench) -> None:
    good, full = Target(b"g"), Target(b"f")
    full.log.fail_append = OSError(errno.ENOSPC, "no space")
    refused, taken = bench.append(full), bench.append(good)
    await settle()
    bench.disk.finish_sync()
    assert await taken == 0
    with pytest.raises(StorageFullError) as caught:
        await refused
    assert caught.value.retriable
    assert bench.fatal == []


async def test_below_the_floor_nothing_is_written(bench: Bench) -> None:
    target = Target(b"a")
    bench.free_bytes = 1_003
    fits, does_not = bench.append(target, b"abc"), bench.append(target, b"d")
    await settle()
    bench.disk.finish_sync()
    await fits
    with pytest.raises(StorageFullError):
        await does_not
    assert target.log.written == 1
    bench.free_bytes = 2_000
    again = bench.append(target, b"d")
    await settle()
    bench.disk.finish_sync()
    bench.disk.finish_sync()
    await again


async def test_the_ledger_says_only_what_is_durable_and_is_written_when_traffic_stops(
    bench: Bench,
) -> None:
    target = Target(b"a")
    answer = bench.append(target)
    await settle()
    assert bench.ledger.lines == []
    bench.disk.finish_sync()
    await answer
    closing = asyncio.ensure_future(bench.driver.close())
    await settle()
    assert bench.ledger.lines == [{target.key: 1}]
    bench.disk.finish_sync()
    await closing


async def test_a_ledger_without_room_stops_nothing(bench: Bench) -> None:
    target = Target(b"a")
    bench.ledger.fail = OSError(errno.ENOSPC, "no space")
    for number in range(3):
        answer = bench.append(target)
        await settle()
        bench.disk.finish_sync()
        assert await answer == number
    assert bench.fatal == []


async def test_without_sync_before_ack_the_write_is_enough(bench: Bench) -> None:
    target = Target(b"a", sync_before_ack=False)
    assert await bench.append(target) == 0
    assert bench.disk.syncs == []


async def test_calls_run_on_the_writer_and_carry_their_result(bench: Bench) -> None:
    target = Target(b"a")
    assert await bench.driver.call(lambda: 42) == 42

    def roll() -> str:
        target.log.written += 1
        return "rolled"

    synced = bench.driver.call(roll, target, sync=True)
    await settle()
    assert not synced.done()
    bench.disk.finish_sync()
    assert await synced == "rolled"


async def test_an_unexpected_error_of_a_call_stops_the_node(bench: Bench) -> None:
    def broken() -> None:
        raise OSError(errno.EIO, "input/output error")

    with pytest.raises(OutcomeUnknownError):
        await bench.driver.call(broken)
    assert bench.driver.failed


# -- copied logs ---------------------------------------------------------------------------


class CopiedBench(Bench):
    """A driver over real logs and a real ledger."""

    def __init__(self) -> None:
        self.files = MemoryFiles()
        super().__init__()
        self.target = Target(b"a")
        self.target.log = create(self.files)
        self.stored = fill(create(), 9)

    def make_ledger(self) -> Any:
        return Ledger.open(self.files, "ledger")

    def reopened(self) -> Any:
        """The log as the next process finds it after a loss of power."""
        self.files.crash(random.Random(1))
        ends = Ledger.open(self.files, "ledger").ends
        return reopen(self.files, durable_end=ends.get(self.target.key))

    async def copied(self, batches: list[Stored]) -> Any:
        data = b"".join(batch.data for batch in batches)
        done = self.driver.append_copied(self.target, data, 5_000)
        return await self.answered(done)

    async def answered(self, done: asyncio.Future[Any]) -> Any:
        while not done.done():
            await settle()
            while self.disk.syncs:
                self.disk.finish_sync()
        return done.result()


@pytest.fixture
async def copied_bench() -> Any:
    made = CopiedBench()
    yield made
    await made.spawn.cancel_all()


async def test_copied_batches_are_answered_with_the_end_behind_their_sync(
    copied_bench: CopiedBench,
) -> None:
    bench, stored = copied_bench, copied_bench.stored
    done = bench.driver.append_copied(bench.target, stored[0].data + stored[1].data, 5_000)
    await settle()
    assert bench.target.log.view.written_end_offset == stored[1].next_offset
    assert bench.target.log.view.durable_end_offset == 0
    assert not done.done()
    bench.disk.finish_sync()
    assert await done == stored[1].next_offset == bench.target.log.view.durable_end_offset
    assert bench.target.log.view.append_time_at(0) == 5_000


async def test_without_sync_before_ack_copied_batches_are_answered_when_written(
    copied_bench: CopiedBench,
) -> None:
    bench, stored = copied_bench, copied_bench.stored
    bench.target.sync_before_ack = False
    assert await bench.driver.append_copied(bench.target, stored[0].data, 5_000) == 1
    assert bench.disk.syncs == []


async def test_below_the_floor_nothing_is_copied(copied_bench: CopiedBench) -> None:
    bench, stored = copied_bench, copied_bench.stored
    bench.free_bytes = 1_000 + len(stored[0].data) + len(stored[1].data) - 1
    both = [bench.driver.append_copied(bench.target, batch.data, 5_000) for batch in stored[:2]]
    assert await bench.answered(both[0]) == 1
    with pytest.raises(StorageFullError):
        await both[1]
    assert read_from(bench.target.log.view, 0) == stored[:1]
    assert bench.fatal == []


async def test_a_damaged_copy_is_refused_and_nothing_else(copied_bench: CopiedBench) -> None:
    bench, stored = copied_bench, copied_bench.stored
    data = stored[0].data + stored[1].data[:-1] + b"?"
    refused = bench.driver.append_copied(bench.target, data, 5_000)
    with pytest.raises(CorruptBatchError):
        await bench.answered(refused)
    assert bench.fatal == []
    assert await bench.copied(stored) == stored[-1].next_offset
    assert read_from(bench.reopened().view, 0) == stored


async def test_a_round_takes_no_more_copied_bytes_than_appended_ones(
    copied_bench: CopiedBench,
) -> None:
    bench, batches = copied_bench, bytes(ROUND_BYTES_MAX // 2)
    bench.free_bytes = 10 * ROUND_BYTES_MAX
    waiting = [bench.driver.append_copied(bench.target, batches, 0) for _ in range(3)]
    await settle()
    assert bench.disk.writes == 2, "two fill a round"
    for one in waiting:
        with pytest.raises(CorruptBatchError):
            await one


async def test_a_log_is_cut_after_the_ledger_was_lowered(copied_bench: CopiedBench) -> None:
    bench, stored = copied_bench, copied_bench.stored
    await bench.copied(stored)
    await bench.copied(stored)
    ends_at_cut: list[int] = []

    def look(operation: str, path: str) -> None:
        if operation == "truncate" and path.endswith(".log"):
            bench.files.before = None
            ends_at_cut.append(Ledger.peek(bench.files, "ledger")[bench.target.key])
            bench.files.before = look

    bench.files.before = look
    cut = stored[4].base_offset
    assert await bench.answered(bench.driver.truncate(bench.target, cut)) == cut
    bench.files.before = None
    assert ends_at_cut == [cut]
    assert read_from(bench.reopened().view, 0) == stored[:4]


async def test_a_cut_inside_of_a_batch_leaves_no_ledger_that_leads(
    copied_bench: CopiedBench,
) -> None:
    bench, stored = copied_bench, copied_bench.stored
    await bench.copied(stored)
    await bench.copied(stored)
    batch = next(one for one in stored[3:] if one.next_offset - one.base_offset > 2)
    done = bench.driver.truncate(bench.target, batch.base_offset + 1)
    assert await bench.answered(done) == batch.base_offset
    view = bench.reopened().view
    assert view.written_end_offset == batch.base_offset
    assert not view.damage


async def test_what_was_due_in_the_ledger_does_not_come_behind_a_cut(
    copied_bench: CopiedBench,
) -> None:
    bench, stored = copied_bench, copied_bench.stored
    await bench.copied(stored)
    cut = bench.driver.truncate(bench.target, stored[2].base_offset)
    closing = asyncio.ensure_future(bench.driver.close())
    await bench.answered(cut)
    await bench.answered(closing)
    view = bench.reopened().view
    assert view.written_end_offset == stored[2].base_offset
    assert not view.damage


async def test_a_ledger_without_room_cuts_nothing(copied_bench: CopiedBench) -> None:
    bench, stored = copied_bench, copied_bench.stored
    await bench.copied(stored)

    def full(operation: str, path: str) -> None:
        if path == "ledger" and operation == "pwrite":
            raise OSError(errno.ENOSPC, "no space")

    bench.files.before = full
    with pytest.raises(StorageFullError):
        await bench.answered(bench.driver.truncate(bench.target, 1))
    assert bench.fatal == []
    assert read_from(bench.target.log.view, 0) == stored
