"""The writer's rounds with what is copied from another replica, and with cuts."""

from __future__ import annotations

import asyncio
import errno
import random
from typing import Any

import pytest
from logd_wire.errors import (
    CorruptBatchError,
    StorageFullError,
)

from logd.runtime.disk_driver import ROUND_BYTES_MAX
from logd.storage import Ledger, MemoryFiles
from tests.support.driver_bench import Bench, Target
from tests.support.loops import settle
from tests.unit.storage.kit import Stored, create, fill, read_from, reopen


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
