"""Index, time index, digest, snapshot: missing, cut, zeroed, stale or foreign ones are remade."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logd.storage import MemoryFiles, PartitionLog
from logd.storage.segment import SegmentIndex
from tests.unit.storage.kit import (
    CONFIG,
    DIRECTORY,
    NOW_MS,
    Stored,
    append,
    content_of,
    create,
    fill,
    make_batch,
    overwrite,
    path_of,
    read_from,
    reopen,
    sync,
)

SIDECARS = (".index", ".timeindex", ".digest")


def stopped(clean: bool) -> tuple[MemoryFiles, list[Stored], list[int]]:
    files = MemoryFiles()
    log = create(files)
    stored = fill(log, 80)
    log.close(clean=clean)
    bases = sorted(
        int(entry.name.removesuffix(".log"))
        for entry in files.list_dir(DIRECTORY)
        if entry.name.endswith(".log")
    )
    return files, stored, bases


def removed(files: MemoryFiles, path: str, other: str) -> None:
    files.unlink(path)


def cut(files: MemoryFiles, path: str, other: str) -> None:
    overwrite(files, path, content_of(files, path)[:-3])


def emptied(files: MemoryFiles, path: str, other: str) -> None:
    overwrite(files, path, b"")


def zeroed(files: MemoryFiles, path: str, other: str) -> None:
    overwrite(files, path, bytes(files.size(path)))


def flipped(files: MemoryFiles, path: str, other: str) -> None:
    data = bytearray(content_of(files, path))
    data[-2] ^= 1
    overwrite(files, path, bytes(data))


def of_another_segment(files: MemoryFiles, path: str, other: str) -> None:
    overwrite(files, path, content_of(files, other))


FAULTS = [removed, cut, emptied, zeroed, flipped, of_another_segment]


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("suffix", SIDECARS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_sidecar_is_made_anew(
    fault: Callable[[MemoryFiles, str, str], None], suffix: str, clean: bool
) -> None:
    files, stored, bases = stopped(clean)
    good = content_of(files, path_of(bases[1], suffix))
    fault(files, path_of(bases[1], suffix), path_of(bases[0], suffix))
    log = reopen(files, durable_end=stored[-1].next_offset, clean=clean)
    assert read_from(log.view, 0) == stored
    assert not log.view.damage
    for number in (0, 7, 30, 79):
        hit = log.view.offset_for_time(1000 * number, log.view.written_end_offset)
        assert hit == (stored[number].base_offset, 1000 * number)
    remade = content_of(files, path_of(bases[1], suffix))
    if suffix != ".timeindex":
        assert remade[:8] == good[:8] and len(remade) == len(good)
    assert read_from(reopen(files, durable_end=stored[-1].next_offset).view, 0) == stored


@pytest.mark.parametrize("suffix", SIDECARS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_sidecar_of_the_active_segment_is_made_anew(
    fault: Callable[[MemoryFiles, str, str], None], suffix: str
) -> None:
    files, stored, bases = stopped(clean=True)
    fault(files, path_of(bases[-1], suffix), path_of(bases[0], suffix))
    log = reopen(files, durable_end=stored[-1].next_offset, clean=True)
    appended = append(log, make_batch())
    sync(log)
    assert appended.base_offset == stored[-1].next_offset
    assert read_from(log.view, 0)[:-1] == stored


def test_sidecars_of_another_partition_are_not_believed() -> None:
    files, stored, _ = stopped(clean=True)
    files.make_dir("other")
    for entry in files.list_dir(DIRECTORY):
        overwrite(files, f"other/{entry.name}", content_of(files, f"{DIRECTORY}/{entry.name}"))
    log = PartitionLog.open(files, "other", CONFIG, durable_end=None, clean=True, now_ms=NOW_MS)
    assert not log.recovery.clean
    assert read_from(log.view, 0) == stored


@pytest.mark.parametrize("fault", FAULTS)
def test_producers_are_rebuilt_from_an_older_snapshot_or_from_nothing(
    fault: Callable[[MemoryFiles, str, str], None],
) -> None:
    files = MemoryFiles()
    log = create(files)
    for sequence in range(60):
        append(log, make_batch(size=100, producer=(7, 0, sequence)))
    sync(log)
    log.close(clean=False)
    names = [e.name for e in files.list_dir(DIRECTORY) if e.name.endswith(".producers")]
    assert len(names) == 3
    for count in range(1, 4):
        for name in names[-count:]:
            fault(files, f"{DIRECTORY}/{name}", f"{DIRECTORY}/{names[0]}")
        if fault is removed:
            names = names[:-count]
        log = reopen(files, durable_end=60)
        assert append(log, make_batch(size=100, producer=(7, 0, 57))).base_offset == 57
        log.close(clean=False)
        if fault is removed:
            return


def test_an_index_that_was_cut_by_a_crash_costs_no_data() -> None:
    files, stored, _ = stopped(clean=False)
    for entry in files.list_dir(DIRECTORY):
        if entry.name.endswith(SIDECARS):
            overwrite(files, f"{DIRECTORY}/{entry.name}", b"\0" * (entry.size // 2))
    log = reopen(files, durable_end=stored[-1].next_offset)
    assert read_from(log.view, 0) == stored
    assert len(log.recovery.rebuilt) > 3


@given(
    gaps=st.lists(st.integers(1, 50), min_size=1, max_size=60),
    times=st.lists(st.integers(0, 100), min_size=60, max_size=60),
    target=st.integers(0, 120),
)
def test_the_index_finds_what_a_list_finds(gaps: list[int], times: list[int], target: int) -> None:
    index = SegmentIndex()
    rows: list[tuple[int, int, int]] = []
    relative, newest = 0, -1
    for number, gap in enumerate(gaps):
        relative += gap
        newest = max(newest, times[number])
        index.add(relative, number * 300, newest, 0)
        rows.append((relative, number * 300, newest))
    below = [(r, p) for r, p, _ in rows if r <= target]
    assert index.find_offset(target) == (below[-1] if below else (0, 0))
    older = [(r, p) for r, p, t in rows if t < target]
    assert index.find_time(target) == (older[-1] if older else (0, 0))


def test_finding_reads_one_index_interval_and_one_batch() -> None:
    files = MemoryFiles()
    config = replace(CONFIG, segment_bytes=1 << 20, index_interval_bytes=4096)
    log = create(files, config)
    stored = fill(log, 3000, size=100)
    end = stored[-1].next_offset
    log.close(clean=True)
    log = reopen(files, durable_end=end, clean=True, config=config)
    view = log.view
    view.read(0, bytes_max=1, limit_offset=end)
    opened: list[str] = []
    files.before = lambda operation, path: opened.append(operation + path)
    largest = max(len(batch.data) for batch in stored)
    for number in (0, 1, 999, 1500, 2999):
        opened.clear()
        read = view.read(stored[number].base_offset, bytes_max=1, limit_offset=end)
        assert read.records == stored[number].data
        assert len([name for name in opened if name.startswith("pread")]) <= 2
        hit = view.offset_for_time(1000 * number, end)
        assert hit == (stored[number].base_offset, 1000 * number)
        touched = {name for name in opened if name.endswith(".log")}
        assert len(touched) <= 2, touched
    assert largest < 4096


def test_a_snapshot_from_before_deleted_segments_is_not_continued() -> None:
    files = MemoryFiles()
    log = create(files)
    for sequence in range(60):
        append(log, make_batch(size=100, producer=(7, 0, sequence)))
    sync(log)
    log.trim(60)
    log.close(clean=False)
    names = [e.name for e in files.list_dir(DIRECTORY) if e.name.endswith(".producers")]
    files.unlink(f"{DIRECTORY}/{names[-1]}")
    log = reopen(files, durable_end=60)
    assert log.producer_ids == 0
    assert append(log, make_batch(producer=(7, 0, 60))).base_offset == 60
