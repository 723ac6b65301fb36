"""The pass in a process of its own: the same result, refusals in words, and it ends with us."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from logd.runtime.adapters import ChildCleaning
from logd.storage import CleaningError, PartitionLog, RealFiles
from tests.unit.storage.compaction_kit import (
    BATCHES,
    COMPACT,
    LAST,
    MAP_BYTES,
    install,
    names,
    plan_of,
    put,
    roll,
    rows,
)
from tests.unit.storage.kit import DIRECTORY


def made(root: Path) -> tuple[RealFiles, PartitionLog]:
    files = RealFiles(root)
    log = PartitionLog.create(files, DIRECTORY, COMPACT)
    for puts in BATCHES:
        put(log, *puts)
    roll(log)
    return files, log


async def test_a_child_process_cleans(tmp_path: Path) -> None:
    _, log = made(tmp_path)
    plan = plan_of(log)
    assert plan is not None
    assert install(log, await ChildCleaning(tmp_path, -1).clean(plan))
    assert rows(log.view) == LAST


async def test_its_refusal_comes_in_words(tmp_path: Path) -> None:
    _, log = made(tmp_path)
    path = min((tmp_path / DIRECTORY).glob("*.log"))
    data = bytearray(path.read_bytes())
    data[70] ^= 1
    path.write_bytes(data)
    plan = plan_of(log, map_bytes=MAP_BYTES)
    assert plan is not None
    with pytest.raises(CleaningError, match="it is damaged: offsets 0"):
        await ChildCleaning(tmp_path, -1).clean(plan)


async def test_a_child_that_dies_is_an_error(tmp_path: Path) -> None:
    _, log = made(tmp_path)
    plan = plan_of(log)
    assert plan is not None
    broken = replace(plan, sources=("no source",))  # type: ignore[arg-type]
    with pytest.raises(CleaningError, match="ended with exit code"):
        await ChildCleaning(tmp_path, -1).clean(broken)


async def test_a_cancelled_pass_ends_the_child(tmp_path: Path) -> None:
    files = RealFiles(tmp_path)
    log = PartitionLog.create(files, DIRECTORY, COMPACT)
    for number in range(40):
        put(log, (b"key-%d" % number, b"v" * 100_000))
    roll(log)
    plan = plan_of(log)
    assert plan is not None
    running = asyncio.ensure_future(ChildCleaning(tmp_path, 100_000).clean(plan))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(running, 2)
    assert running.cancelled()
    assert not [name for name in names(files) if name.endswith(".swap")]
    assert len(rows(log.view)) == 40
