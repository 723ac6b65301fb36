"""A crash at every single file operation of a pass: each is recovered, and nothing comes back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from logd.storage import LogView, MemoryFiles, PartitionLog
from logd.storage.cleaner.state import CleanState
from tests.unit.storage.compaction_kit import (
    COMPACT,
    HOUR_MS,
    A,
    B,
    C,
    Put,
    batch_of,
    clean_once,
    names,
    put,
    roll,
    rows,
)
from tests.unit.storage.kit import DIRECTORY, NOW_MS, append, reopen

END = 12
#: What the pass drops, having noted it.
DELETE = (3, A, None)
LATE_MS = NOW_MS + HOUR_MS
Rows = list[tuple[int, bytes | None, bytes | None]]


class Crash(BaseException):
    """The process ends here."""


class Countdown:
    """Ends the process at one file operation."""

    def __init__(self, operations: int) -> None:
        self.left = operations
        self.last = ""

    def __call__(self, operation: str, path: str) -> None:
        self.left -= 1
        self.last = f"{operation} {path}"
        if self.left < 0:
            raise Crash


def prepared() -> tuple[MemoryFiles, PartitionLog]:
    """A log that one pass has seen: the next drops a tombstone, and groups merge."""
    files = MemoryFiles()
    log = PartitionLog.create(files, DIRECTORY, COMPACT)
    early: list[list[Put]] = [[(A, b"1"), (B, b"1")], [(C, b"1"), (A, None)]]
    for number, puts in enumerate(early):
        append(log, batch_of(puts, producer=(5, 0, 2 * number)))
        roll(log)
    clean_once(files, log, tag="first")
    for number in range(4):
        put(log, (B, b"%d" % number), (b"new-%d" % number, b"x" * 40))
        roll(log)
    files.sync_dir("")
    return files, log


def last_values(view: LogView) -> dict[bytes, bytes]:
    """What a reader who starts at the beginning ends up with."""
    state: dict[bytes, bytes] = {}
    for _, key, value in rows(view):
        assert key is not None
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value
    return state


def test_the_pass_as_it_should_be() -> None:
    files, log = prepared()
    before = last_values(log.view)
    result = clean_once(files, log, now_ms=LATE_MS)
    assert result is not None
    assert max(len(file.sources) for file in result.files) >= 3, "they go one by one"
    assert rows(log.view)[0] == (2, C, b"1")
    assert A not in [key for _, key, _ in rows(log.view)]
    assert last_values(log.view) == before


def operations_of_a_pass() -> int:
    files, log = prepared()
    count = Countdown(10**9)
    files.before = count
    clean_once(files, log, now_ms=LATE_MS)
    return 10**9 - count.left


def crash_in_a_pass(files: MemoryFiles, log: PartitionLog, at: int) -> str:
    """Returns the operation that was not done."""
    count = Countdown(at)
    files.before = count
    with pytest.raises(Crash):
        clean_once(files, log, now_ms=LATE_MS)
    files.before = None
    return count.last


def end(files: MemoryFiles, seed: int) -> None:
    """Kill the process, or take its power with the fates of one seed."""
    if seed < 0:
        files.kill()
    else:
        files.crash(random.Random(seed))


def check(files: MemoryFiles, where: str, wanted: Rows, before: Rows) -> PartitionLog:
    log = reopen(files, durable_end=END, config=COMPACT, now_ms=NOW_MS)
    view = log.view
    assert not view.damage, where
    assert (view.start_offset, view.written_end_offset) == (0, END), where
    found = rows(view)
    assert set(wanted) <= set(found) <= set(before), where
    assert DELETE in found or log.cleaning.state.forgotten_end == DELETE[0] + 1, where
    assert [row[0] for row in found] == sorted(row[0] for row in found), where
    assert last_values(view) == {key: value for _, key, value in wanted}, where
    for offset in range(END + 1):
        assert rows(view, offset) == [row for row in found if row[0] >= offset], where
    assert not [name for name in names(files) if name.endswith((".cleaned", ".swap"))], where
    again = append(log, batch_of([(C, b"1"), (A, None)], producer=(5, 0, 2)))
    assert again.duplicate and again.base_offset == 2, where
    roll(log)
    clean_once(files, log, now_ms=LATE_MS, tag="again")
    assert rows(log.view) == wanted, where
    return log


def wanted_and_before() -> tuple[Rows, Rows]:
    files, log = prepared()
    before = rows(log.view)
    clean_once(files, log, now_ms=LATE_MS)
    return rows(log.view), before


@pytest.mark.parametrize("seed", range(-1, 6))
def test_a_crash_at_each_operation(seed: int) -> None:
    wanted, before = wanted_and_before()
    operations = operations_of_a_pass()
    assert operations > 30
    for at in range(operations):
        files, log = prepared()
        where = f"{at}: {crash_in_a_pass(files, log, at)}"
        end(files, seed)
        check(files, where, wanted, before)


@pytest.mark.parametrize("seed", range(-1, 3))
def test_a_second_crash_while_the_first_is_recovered(seed: int) -> None:
    """At each operation of the opening that follows a crash in the middle of a swap."""
    wanted, before = wanted_and_before()
    swapping = [at for at in range(operations_of_a_pass()) if is_swapping(at)]
    assert len(swapping) > 8
    for at in swapping[::2]:
        for second in range(0, 60, 3):
            files, log = prepared()
            where = f"{at}: {crash_in_a_pass(files, log, at)}, then {second}"
            end(files, seed)
            files.before = Countdown(second)
            try:
                reopen(files, durable_end=END, config=COMPACT, now_ms=NOW_MS)
            except Crash:
                end(files, seed)
            files.before = None
            check(files, where, wanted, before)


def is_swapping(at: int) -> bool:
    """Whether the pass, ended at this operation, leaves a swap behind."""
    files, log = prepared()
    crash_in_a_pass(files, log, at)
    return any(name.endswith(".swap") for name in names(files))


@pytest.mark.parametrize("seed", range(5))
def test_a_power_loss_after_the_pass_takes_nothing_back_that_counts(seed: int) -> None:
    files, log = prepared()
    wanted, before = wanted_and_before()
    clean_once(files, log, now_ms=LATE_MS)
    files.crash(random.Random(seed))
    log = check(files, "after", wanted, before)
    log.unlink_deleted(LATE_MS)
    log.unlink_deleted(LATE_MS + COMPACT.file_delete_delay_ms)
    assert not [name for name in names(files) if name.endswith(".deleted")]


# --- what is noted of a log that others must be able to believe ----------------------------------


def cleaned() -> tuple[MemoryFiles, PartitionLog]:
    """A log with its pass in place: clean to its end, and a delete forgotten."""
    files, log = prepared()
    clean_once(files, log, now_ms=LATE_MS)
    files.sync_dir(DIRECTORY)
    return files, log


def crashes_of(
    act: Callable[[PartitionLog], object], seed: int
) -> Iterator[tuple[str, CleanState]]:
    """Do `act` on a cleaned log, crashing at each file operation in turn, and once at none. Yields
    where that was and the state that the next start finds."""
    at, done = 0, False
    while not done:
        files, log = cleaned()
        count = Countdown(at)
        files.before = count
        try:
            act(log)
            done = True
        except Crash:
            pass
        files.before = None
        end(files, seed)
        again = reopen(files, durable_end=None, config=COMPACT, now_ms=NOW_MS)
        state = again.cleaning.state
        where = f"{at}: {'none' if done else count.last}"
        assert state.first_dirty <= again.view.written_end_offset, where
        assert state.forgotten_end >= DELETE[0] + 1, f"{where}: what was noted stays noted"
        yield where, state
        at += 1


@pytest.mark.parametrize("seed", range(-1, 6))
def test_a_crash_at_each_operation_of_noting_what_is_forgotten(seed: int) -> None:
    """As a follower does before it takes records of a log that lacks some deletes."""
    _, log = cleaned()
    before = log.cleaning.state
    found = list(crashes_of(lambda log: log.cleaning.forget_below(9), seed))
    assert len(found) > 5
    for where, state in found:
        assert state in (before, before._replace(forgotten_end=9)), where
    assert found[-1][1].forgotten_end == 9


@pytest.mark.parametrize("seed", range(-1, 6))
def test_a_crash_at_each_operation_of_cutting_what_is_clean(seed: int) -> None:
    """Batches are cut whole. A log that says that it is clean beyond its end would leave a delete
    there out of account, forget it some time, and keep what it deleted."""
    found = list(crashes_of(lambda log: log.truncate(5), seed))
    assert len(found) > 5
    for where, state in found:
        assert state.first_dirty in (4, END), where
    assert found[-1][1].first_dirty == 4
