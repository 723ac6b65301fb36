"""Logs that begin elsewhere than at 0, and epochs that got no batch."""

from __future__ import annotations

import random

import pytest

from logd.storage import Files, MemoryFiles, PartitionLog, create_log_at
from tests.unit.storage.kit import CONFIG, DIRECTORY, NOW_MS, append, make_batch, sync


def create_at(files: Files, start_offset: int) -> PartitionLog:
    return create_log_at(files, DIRECTORY, CONFIG, start_offset=start_offset, now_ms=NOW_MS)


def reopen(files: Files, durable_end: int | None = None) -> PartitionLog:
    return PartitionLog.open(
        files, DIRECTORY, CONFIG, durable_end=durable_end, clean=False, now_ms=NOW_MS
    )


def test_a_log_may_begin_anywhere() -> None:
    files = MemoryFiles()
    log = create_at(files, 40)
    assert (log.view.start_offset, log.view.written_end_offset) == (40, 40)
    assert append(log, make_batch(2), leader_epoch=7).base_offset == 40
    sync(log)
    files.crash(random.Random(0))
    # A ledger that does not know of the new beginning yet is behind, and that is right.
    log = reopen(files, durable_end=12)
    assert (log.view.start_offset, log.view.written_end_offset) == (40, 42)
    assert not log.view.damage
    assert log.view.epoch_at(41) == 7


def test_a_directory_that_is_taken_is_left_alone() -> None:
    files = MemoryFiles()
    create_at(files, 40)
    with pytest.raises(FileExistsError):
        create_at(files, 50)


def test_an_epoch_that_got_no_batch_can_be_taken_back() -> None:
    log = create_at(MemoryFiles(), 0)
    append(log, make_batch(), leader_epoch=1)
    log.begin_epoch(5)
    assert log.truncate(1) == 1
    append(log, make_batch(), leader_epoch=4)
    assert log.end_offset_for_epoch(9) == (4, 2)
