"""The writer's rounds: what is answered when, and what happens when the disk says no."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest
from logd_wire.errors import (
    OutcomeUnknownError,
    StorageFailedError,
    StorageFullError,
)

from tests.support.driver_bench import Bench, Target
from tests.support.loops import settle


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


# --- calls apart ---------------------------------------------------------------------------------


async def test_calls_apart_run_beside_each_other_and_before_the_round_writes(bench: Bench) -> None:
    first, second, third = Target(b"a"), Target(b"b"), Target(b"c")
    done: list[str] = []
    calls = [
        bench.driver.call(lambda: done.append("a"), first, apart=True),
        bench.driver.call(lambda: done.append("b"), second, apart=True),
    ]
    appended = bench.append(third)
    await settle()
    assert len(bench.disk.syncs) == 2 and bench.disk.writes == 0
    bench.disk.finish_sync(1)
    bench.disk.finish_sync()
    await settle()
    assert done == ["b", "a"] and third.log.written == 1
    bench.disk.finish_sync()
    await asyncio.gather(appended, *calls)


async def test_a_call_apart_keeps_its_place_in_its_own_log(bench: Bench) -> None:
    """A batch of the leadership before must not be written in the next one."""
    busy, other, third = Target(b"a"), Target(b"b"), Target(b"c")
    seen: list[int] = []
    before = bench.append(busy)
    call = bench.driver.call(lambda: seen.append(busy.log.written), busy, apart=True)
    others = [bench.driver.call(lambda: None, each, apart=True) for each in (other, third)]
    await settle()
    assert [len(bench.disk.syncs), seen] == [2, []]
    bench.disk.finish_sync()
    bench.disk.finish_sync()
    await settle()
    assert seen == [1]
    bench.disk.finish_sync()
    await asyncio.gather(before, call, *others)


async def test_no_call_apart_overtakes_work_that_may_touch_any_log(bench: Bench) -> None:
    done: list[str] = []
    calls = [
        bench.driver.call(lambda: done.append("all")),
        bench.driver.call(lambda: done.append("a"), Target(b"a"), apart=True),
        bench.driver.call(lambda: done.append("b"), Target(b"b"), apart=True),
    ]
    await asyncio.gather(*calls)
    assert done == ["all", "a", "b"]


async def test_a_call_apart_that_is_refused_fails_alone(bench: Bench) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "no space")

    def refused() -> None:
        raise StorageFailedError("closed")

    targets = [Target(name) for name in (b"a", b"b", b"c")]
    works = [full, refused, lambda: None]
    calls = [
        bench.driver.call(work, target, sync=True, apart=True)
        for work, target in zip(works, targets, strict=True)
    ]
    await settle()
    for _ in range(3):
        work, future = bench.disk.syncs.pop(0)
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)
    with pytest.raises(StorageFullError):
        await calls[0]
    with pytest.raises(StorageFailedError):
        await calls[1]
    await calls[2]
    assert bench.fatal == [] and not bench.driver.failed


async def test_a_disk_that_fails_a_call_apart_is_fatal(bench: Bench) -> None:
    def broken() -> None:
        raise OSError(errno.EIO, "input/output error")

    calls = [bench.driver.call(broken, Target(name), apart=True) for name in (b"a", b"b")]
    queued = bench.append(Target(b"c"))
    await settle()
    bench.disk.finish_sync()
    bench.disk.finish_sync()
    for call in (*calls, queued):
        with pytest.raises(OutcomeUnknownError):
            await call
    assert bench.driver.failed and len(bench.fatal) == 1
