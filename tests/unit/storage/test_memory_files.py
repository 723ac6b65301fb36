"""The faults of the twin: what a crash may leave, and what it must not touch."""

from __future__ import annotations

import copy
import errno
import random

import pytest

from logd.storage import MemoryFiles
from logd.storage.files import write_atomic, write_plain
from tests.unit.storage.kit import content_of


def outcomes(prepare: MemoryFiles, name: str, runs: int = 200) -> set[bytes | None]:
    """Crash copies of the same state with many seeds; collect what `name` holds afterwards."""
    found: set[bytes | None] = set()
    for seed in range(runs):
        files = copy.deepcopy(prepare)
        files.crash(random.Random(seed))
        found.add(content_of(files, name) if files.exists(name) else None)
    return found


def synced(name: str, data: bytes) -> MemoryFiles:
    files = MemoryFiles()
    write_atomic(files, name, data)
    return files


def test_a_copy_goes_its_own_way() -> None:
    files = synced("a", b"data")
    files.open("a").pwrite([b"DA"], 0)
    twin = copy.deepcopy(files)
    for one, written in ((files, b"X"), (twin, b"Y")):
        file = one.open("a")
        file.pwrite([written], 3)
        file.sync()
        one.crash(random.Random(0))
    assert (content_of(files, "a"), content_of(twin, "a")) == (b"DAtX", b"DAtY")


def test_a_copy_counts_its_own_bytes() -> None:
    files = synced("a", b"data")
    twin, before = copy.deepcopy(files), files.free_bytes()
    twin.open("a").pwrite([b"more"], 4)
    assert (files.free_bytes(), twin.free_bytes()) == (before, before - 4)


def test_what_is_synced_survives() -> None:
    assert outcomes(synced("a", b"data"), "a") == {b"data"}


def test_a_file_that_is_synced_without_its_name_may_go() -> None:
    files = MemoryFiles()
    file = files.open("a", create=True)
    file.pwrite([b"data"], 0)
    file.sync()
    assert outcomes(files, "a") == {b"data", None}


def test_an_unsynced_write_is_kept_dropped_torn_zeroed_or_garbled() -> None:
    files = synced("a", b"....")
    files.open("a").pwrite([b"abcd"], 0)
    found = outcomes(files, "a")
    assert {b"....", b"abcd", b"a...", b"ab..", b"abc.", bytes(4)} <= found
    assert len(found) > 6


def test_unsynced_writes_are_independent() -> None:
    files = synced("a", b"..")
    file = files.open("a")
    file.pwrite([b"x"], 0)
    file.pwrite([b"y"], 1)
    assert {b"xy", b"x.", b".y", b".."} <= outcomes(files, "a")


def test_unsynced_names_may_revert() -> None:
    files = synced("a", b"data")
    files.rename("a", "b")
    assert outcomes(files, "a") == {b"data", None}
    files.sync_dir("")
    assert outcomes(files, "b") == {b"data"}
    files.unlink("b")
    assert outcomes(files, "b") == {b"data", None}


def test_kill_keeps_the_page_cache_and_ends_handles_and_locks() -> None:
    files = MemoryFiles()
    write_plain(files, "a", b"data")
    file = files.open("a")
    files.lock("lock")
    files.kill()
    assert content_of(files, "a") == b"data"
    files.lock("lock")
    with pytest.raises(OSError):
        file.pread(1, 0)


def test_a_failed_sync_loses_the_bytes_and_the_next_one_lies() -> None:
    files = synced("a", b"old")
    file = files.open("a")
    file.pwrite([b"new"], 0)
    files.sync_fails = lambda path: True
    with pytest.raises(OSError) as caught:
        file.sync()
    assert caught.value.errno == errno.EIO
    files.sync_fails = None
    file.sync()
    assert file.pread(3, 0) == b"new"
    assert outcomes(files, "a") == {b"old"}


def test_capacity_makes_writes_short_and_then_fail() -> None:
    files = MemoryFiles(capacity=10)
    file = files.open("a", create=True)
    assert file.pwrite([b"12345678"], 0) == 8
    assert file.pwrite([b"12345678"], 8) == 2
    with pytest.raises(OSError) as caught:
        file.pwrite([b"1"], 10)
    assert caught.value.errno == errno.ENOSPC
    assert file.pwrite([b"overwrite!"], 0) == 10, "needs no new space"
    with pytest.raises(OSError):
        file.allocate(11)
    assert files.free_bytes() == 0


def test_hook_sees_operations_and_may_stop_them() -> None:
    files = MemoryFiles()
    seen: list[tuple[str, str]] = []

    def before(operation: str, path: str) -> None:
        seen.append((operation, path))
        if operation == "sync":
            raise OSError(errno.EIO, "failed")

    files.before = before
    file = files.open("a", create=True)
    file.pwrite([b"x"], 0)
    with pytest.raises(OSError):
        file.sync()
    assert seen == [("open", "a"), ("create", "a"), ("pwrite", "a"), ("sync", "a")]


def test_write_limit_makes_short_writes() -> None:
    files = MemoryFiles()
    files.write_limit = lambda path, size: size // 2
    file = files.open("a", create=True)
    assert file.pwrite([b"1234"], 0) == 2
    assert file.size() == 2
