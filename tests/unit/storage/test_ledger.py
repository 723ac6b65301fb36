"""The ledger: last line wins, torn tails are cut, crashes never make it lie."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire.errors import ConfigError

from logd.storage import Ledger, MemoryFiles
from logd.storage import ledger as module
from logd.storage.ledger import FORGOTTEN
from tests.unit.storage.kit import content_of, flip, overwrite

A, B = (b"a" * 16, 0), (b"b" * 16, 7)
LINE_BYTES = 32


def test_last_line_counts_and_survives() -> None:
    files = MemoryFiles()
    ledger = Ledger.open(files, "ledger")
    assert ledger.ends == {}
    ledger.append({A: 10, B: 5})
    ledger.append({A: 12})
    ledger.sync()
    files.crash(random.Random(1))
    assert Ledger.open(files, "ledger").ends == {A: 12, B: 5}
    assert Ledger.peek(files, "ledger") == {A: 12, B: 5}


def test_forgotten_logs_are_gone() -> None:
    files = MemoryFiles()
    ledger = Ledger.open(files, "ledger")
    ledger.append({A: 10, B: 5})
    ledger.append({A: FORGOTTEN})
    ledger.sync()
    assert ledger.ends == {B: 5}
    assert Ledger.open(files, "ledger").ends == {B: 5}


@pytest.mark.parametrize("cut", range(1, LINE_BYTES + 1))
def test_a_torn_tail_is_cut_and_written_over(cut: int) -> None:
    files = MemoryFiles()
    ledger = Ledger.open(files, "ledger")
    ledger.append({A: 10})
    ledger.append({A: 20})
    data = content_of(files, "ledger")[: 3 * LINE_BYTES]
    overwrite(files, "ledger", data[: len(data) - cut])
    ledger = Ledger.open(files, "ledger")
    assert ledger.ends == {A: 10}
    ledger.append({B: 30})
    assert Ledger.open(files, "ledger").ends == {A: 10, B: 30}


@given(position=st.integers(2 * LINE_BYTES, 3 * LINE_BYTES - 1), mask=st.integers(1, 255))
def test_a_damaged_line_is_skipped_and_reported(position: int, mask: int) -> None:
    files = MemoryFiles()
    ledger = Ledger.open(files, "ledger")
    for end in (10, 20, 30):
        ledger.append({A: end, B: end + 1})
    overwrite(files, "ledger", flip(content_of(files, "ledger"), position, mask))
    ledger = Ledger.open(files, "ledger")
    assert ledger.ends == {A: 30, B: 31}
    assert ledger.damaged_lines == 1


@given(seed=st.integers(0, 2**32), rounds=st.integers(1, 12))
def test_after_a_crash_each_end_is_one_that_was_written(seed: int, rounds: int) -> None:
    rng = random.Random(seed)
    files = MemoryFiles()
    ledger = Ledger.open(files, "ledger")
    synced_end = 0
    written: set[int | None] = {None}
    for number in range(1, rounds + 1):
        ledger.append({A: number})
        written.add(number)
        if rng.random() < 0.3:
            ledger.sync()
            synced_end = number
    files.crash(rng)
    end = Ledger.open(files, "ledger").ends.get(A)
    assert end in written
    assert (end or 0) >= synced_end


def test_it_compacts_itself_and_keeps_what_counts() -> None:
    files = MemoryFiles()
    ledger = Ledger.open(files, "ledger")
    for number in range(20_000):
        ledger.append({A: number})
    ledger.append({B: 1})
    ledger.sync()
    assert files.size("ledger") < 10_000 * LINE_BYTES
    files.crash(random.Random(0))
    assert Ledger.open(files, "ledger").ends == {A: 19_999, B: 1}


def test_a_full_disk_refuses_a_line_and_harms_nothing() -> None:
    files = MemoryFiles()
    ledger = Ledger.open(files, "ledger")
    ledger.append({A: 10})
    files.capacity = files.size("ledger")
    count = 0
    with pytest.raises(OSError):
        while True:
            ledger.append({A: 10 + count})
            count += 1
    assert count > 1000, "space was set aside"
    assert ledger.ends == {A: 10 + count - 1}
    assert Ledger.open(files, "ledger").ends == {A: 10 + count - 1}, "opens on a full disk"
    files.capacity = 1 << 30
    ledger = Ledger.open(files, "ledger")
    ledger.append({A: 99_999})
    assert Ledger.open(files, "ledger").ends == {A: 99_999}


def test_a_newer_format_is_refused() -> None:
    files = MemoryFiles()
    header = module._sealed(module._HEADER.pack(module._MAGIC, module.VERSION + 1))
    overwrite(files, "ledger", header)
    with pytest.raises(ConfigError, match="format version 2"):
        Ledger.open(files, "ledger")
