"""The virtual loop: time jumps, order is stable, a program that cannot go on is named."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from logd.testing.clock import WALL_START_MS, SimClock
from logd.testing.loop import DeadlockError, LivelockError, VirtualLoop
from logd.testing.rng import SimRng
from logd.testing.spawn import SimSpawn
from logd.testing.trace import Trace


def test_an_hour_passes_at_once_and_timers_fire_in_order() -> None:
    loop = VirtualLoop()
    seen: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, round(loop.time(), 6)))

    async def main() -> None:
        await asyncio.gather(wait("late", 3600), wait("early", 0.25), wait("days", 200_000))

    began = time.monotonic()
    loop.run(main())
    loop.finish()
    assert seen == [("early", 0.25), ("late", 3600.0), ("days", 200_000.0)]
    assert time.monotonic() - began < 5


def test_a_deadlock_names_what_waits() -> None:
    loop = VirtualLoop()

    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="waits_for_ever"):
        loop.run(waits_for_ever())
    loop.finish()


def test_a_livelock_is_found() -> None:
    loop = VirtualLoop()

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(LivelockError, match="spin"):
        loop.run(spin())
    loop.finish()


def test_a_limit_in_virtual_time_says_what_still_waits() -> None:
    loop = VirtualLoop()

    async def slow() -> None:
        await asyncio.sleep(1000)

    with pytest.raises(TimeoutError, match=r"60 virtual s\n.*slow"):
        loop.run(slow(), limit_s=60)
    assert loop.time() == pytest.approx(60)
    loop.finish()


def test_threads_are_refused() -> None:
    loop = VirtualLoop()
    refused: list[Exception] = []

    def from_elsewhere() -> None:
        try:
            loop.call_soon_threadsafe(print)
        except RuntimeError as error:
            refused.append(error)

    thread = threading.Thread(target=from_elsewhere)
    thread.start()
    thread.join()
    assert len(refused) == 1

    async def main() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(RuntimeError, match="no threads"):
        loop.run(main())
    loop.finish()


def test_the_wall_clock_jumps_and_the_monotonic_one_does_not() -> None:
    loop = VirtualLoop()
    clock = SimClock(loop)

    async def main() -> None:
        await clock.sleep_ms(1500)
        clock.jump_wall(-3_600_000)

    loop.run(main())
    assert clock.monotonic_ms() == 1500
    assert clock.wall_ms() == WALL_START_MS + 1500 - 3_600_000
    loop.finish()


def test_children_of_a_generator_do_not_depend_on_draws() -> None:
    first, second = SimRng(7), SimRng("7")
    second.random()
    assert first.child("disk").randbytes(8) == second.child("disk").randbytes(8)
    assert first.child("disk").random() != first.child("net").random()
    assert all(0 <= first.exponential(2.0, 5.0) <= 5.0 for _ in range(1000))


def test_an_exception_of_a_task_is_fatal_but_not_after_a_kill() -> None:
    loop = VirtualLoop()
    fatal: list[BaseException] = []

    async def fail(after: float) -> None:
        try:
            await asyncio.sleep(after)
        finally:
            raise ValueError(str(after))

    async def main() -> None:
        spawn = SimSpawn(loop, fatal.append)
        spawn(fail(1), "first")
        await asyncio.sleep(2)
        spawn(fail(100), "second")
        await asyncio.sleep(1)
        spawn.kill()
        spawn(fail(0), "third")
        await asyncio.sleep(300)

    loop.run(main())
    assert [str(error) for error in fatal] == ["1"]
    loop.finish()


def test_traces_tell_times_and_order_apart() -> None:
    def digest(times: list[float], events: list[str]) -> str:
        clock = iter(times)
        trace = Trace(lambda: next(clock))
        for event in events:
            trace(event)
        assert trace.tail(1)[0].endswith(events[-1])
        return trace.digest()

    base = digest([0.0, 1.0], ["a", "b"])
    assert base == digest([0.0, 1.0], ["a", "b"])
    assert len({base, digest([0.0, 1.5], ["a", "b"]), digest([0.0, 1.0], ["b", "a"])}) == 3
