"""The steady clock: what a wall clock that jumps can do to ages, and what it cannot."""

from __future__ import annotations

import random

import pytest

from logd.storage import ClockGuard, MemoryFiles, load_clock, store_clock
from logd.storage.clock_guard import DOWN_MS_MAX, HOUR_MS, SETTLE_MS, SKEW_MS_MAX, SavedClock

NOW = 1_767_225_600_000
TEN_YEARS_MS = 3650 * 24 * HOUR_MS
MINUTE_MS = 60_000


class Machine:
    """A machine with a wall clock that may be set, and the guard of a node on it."""

    def __init__(self) -> None:
        self.boot_ms, self.boot_id, self.offset = 5_000, "one", NOW
        self.true_ms = NOW
        self.files = MemoryFiles()
        self.start()

    def start(self) -> None:
        self.guard = ClockGuard(
            wall_ms=self.wall_ms(),
            boot_ms=self.boot_ms,
            boot_id=self.boot_id,
            saved=load_clock(self.files),
        )

    def wall_ms(self) -> int:
        return self.boot_ms + self.offset

    def run(self, ms: int, every: int = 5 * MINUTE_MS) -> None:
        """Let time pass, with a check now and then."""
        while ms > 0:
            step = min(ms, every)
            self.boot_ms += step
            self.true_ms += step
            self.guard.observe(self.wall_ms(), self.boot_ms)
            ms -= step

    def restart(self, *, down_ms: int = 0, boot: bool = False) -> None:
        store_clock(self.files, self.guard.saved())
        self.true_ms += down_ms
        self.boot_ms += down_ms
        if boot:
            self.offset += self.boot_ms
            self.boot_ms, self.boot_id = 0, self.boot_id + "+"
        self.start()

    def is_braked(self) -> bool:
        return self.guard.braked

    def steady(self) -> int:
        return self.guard.steady_ms(self.boot_ms)


def test_without_jumps_all_clocks_are_the_same() -> None:
    machine = Machine()
    machine.run(48 * HOUR_MS)
    assert machine.steady() == machine.guard.now_ms() == machine.wall_ms()
    assert not machine.is_braked() and machine.guard.trusted_since_ms == 0


@pytest.mark.parametrize(
    "jump_ms", [TEN_YEARS_MS, -TEN_YEARS_MS, SKEW_MS_MAX + 1, -SKEW_MS_MAX - 1]
)
def test_a_jump_brakes_until_the_clock_comes_back(jump_ms: int) -> None:
    machine = Machine()
    machine.run(HOUR_MS)
    before = machine.steady()
    machine.offset += jump_ms
    machine.run(HOUR_MS)
    assert machine.is_braked()
    assert machine.guard.apart_ms == jump_ms
    assert machine.steady() == before + HOUR_MS, "append times go on as if nothing had happened"
    machine.offset -= jump_ms
    machine.run(MINUTE_MS)
    assert not machine.is_braked()
    assert machine.guard.trusted_since_ms == 0
    assert machine.guard.now_ms() == machine.wall_ms()


@pytest.mark.parametrize("jump_ms", [TEN_YEARS_MS, -TEN_YEARS_MS])
def test_a_clock_that_stays_is_believed_and_nothing_is_older_than_that(jump_ms: int) -> None:
    machine = Machine()
    machine.run(HOUR_MS)
    machine.offset += jump_ms
    machine.run(1, every=1)
    machine.run(SETTLE_MS - 1)
    assert machine.is_braked() and machine.guard.settles_in_ms() == 1
    machine.run(1, every=1)
    assert not machine.is_braked()
    assert machine.steady() == machine.wall_ms() == machine.guard.trusted_since_ms


def test_another_jump_begins_the_day_anew() -> None:
    machine = Machine()
    machine.offset += TEN_YEARS_MS
    machine.run(SETTLE_MS - HOUR_MS)
    machine.offset += 2 * HOUR_MS
    machine.run(2 * HOUR_MS)
    assert machine.is_braked()
    machine.run(SETTLE_MS)
    assert not machine.is_braked()


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS, 1000, -1000])
def test_a_small_step_is_followed_slowly_and_makes_nothing_old(jump_ms: int) -> None:
    machine = Machine()
    machine.run(HOUR_MS)
    true = machine.guard.now_ms()
    machine.offset += jump_ms
    for _ in range(100):
        machine.run(HOUR_MS)
        true += HOUR_MS
        assert machine.guard.now_ms() <= true
        assert not machine.is_braked()
    assert abs(machine.steady() - true) <= 100 * HOUR_MS // 10_000 + 1


def test_the_steady_clock_never_goes_back_while_it_is_led_back() -> None:
    machine = Machine()
    machine.offset -= HOUR_MS
    last = machine.steady()
    for _ in range(1000):
        machine.run(1, every=1)
        assert machine.steady() > last
        last = machine.steady()


def test_small_steps_that_add_up_are_no_way_around() -> None:
    """However the wall clock is led ahead, an age is never longer than the truth."""
    rng = random.Random(7)
    machine = Machine()
    born = machine.steady()
    for _ in range(3000):
        machine.offset += rng.choice((50 * MINUTE_MS, 0, 30 * MINUTE_MS, -10 * MINUTE_MS))
        machine.run(3 * HOUR_MS, every=HOUR_MS)
        counted_from = max(born, machine.guard.trusted_since_ms)
        age = machine.guard.now_ms() - counted_from
        assert machine.is_braked() or age <= machine.true_ms - NOW


def test_a_restart_of_the_process_changes_nothing() -> None:
    machine = Machine()
    machine.run(HOUR_MS)
    machine.restart(down_ms=30 * 24 * HOUR_MS)
    assert not machine.is_braked(), "the machine was up: the time is known"
    assert machine.steady() == machine.wall_ms()
    machine.offset += TEN_YEARS_MS
    machine.restart(down_ms=MINUTE_MS)
    assert machine.is_braked()
    assert machine.guard.apart_ms == TEN_YEARS_MS
    machine.run(SETTLE_MS // 2)
    machine.restart()
    machine.run(SETTLE_MS // 2)
    assert not machine.is_braked(), "the half day before the restart counts"


@pytest.mark.parametrize(
    ("down_ms", "jump_ms", "braked"),
    [
        (0, 0, False),
        (DOWN_MS_MAX, 0, False),
        (DOWN_MS_MAX + 1, 0, True),
        (MINUTE_MS, TEN_YEARS_MS, True),
        (MINUTE_MS, -TEN_YEARS_MS, True),
        (HOUR_MS, -HOUR_MS - 1, False),
        (0, -SKEW_MS_MAX - 1, True),
    ],
)
def test_after_a_boot(down_ms: int, jump_ms: int, braked: bool) -> None:
    machine = Machine()
    machine.run(HOUR_MS)
    saved = machine.steady()
    machine.offset += jump_ms
    machine.restart(down_ms=down_ms, boot=True)
    assert machine.is_braked() is braked
    assert machine.steady() >= saved, "not even a boot takes it back"
    if not braked:
        assert abs(machine.steady() - machine.wall_ms()) <= SKEW_MS_MAX


def test_a_machine_whose_clock_is_set_only_after_the_boot() -> None:
    machine = Machine()
    machine.run(HOUR_MS)
    true_offset = machine.offset
    machine.offset = 0
    machine.restart(down_ms=8 * HOUR_MS, boot=True)
    assert machine.is_braked()
    machine.run(MINUTE_MS)
    machine.offset = true_offset + 9 * HOUR_MS + 5_000
    machine.run(MINUTE_MS)
    assert not machine.is_braked()
    assert machine.steady() == machine.wall_ms()


def test_the_file_survives_and_damage_is_seen() -> None:
    files = MemoryFiles()
    assert load_clock(files) is None
    state = SavedClock("6a2f-" * 7, 1, 2, 3, 4, True, 5, -6)
    store_clock(files, state)
    assert load_clock(files) == state
    file = files.open("clock")
    file.pwrite([b"x"], 50)
    assert load_clock(files) is None


def test_a_full_disk_keeps_the_file_before() -> None:
    files = MemoryFiles()
    store_clock(files, SavedClock("a", 1, 2, 3, 4, False, 0, 0))
    files.capacity = files.capacity - files.free_bytes()
    store_clock(files, SavedClock("a", 9, 9, 9, 9, False, 0, 0))
    loaded = load_clock(files)
    assert loaded is not None and loaded.boot_ms == 1
