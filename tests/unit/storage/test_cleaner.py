"""One pass of the cleaner: what stays, what goes, and that nobody who reads is disturbed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from logd_wire import Compression, iter_headers

from logd.storage import MemoryFiles, Moment, PartitionLog
from logd.storage.cleaner import Verdict, clean
from logd.storage.cleaner.plan import Source
from logd.storage.cleaner.rewrite import grouped
from logd.storage.segment import RELATIVE_OFFSET_MAX
from tests.unit.storage.compaction_kit import (
    BATCHES,
    COMPACT,
    HOUR_MS,
    LAST,
    MAP_BYTES,
    A,
    B,
    C,
    batch_of,
    clean_once,
    filled_log,
    install,
    names,
    plan_of,
    put,
    records,
    roll,
    rows,
)
from tests.unit.storage.kit import (
    DIRECTORY,
    NOW_MS,
    append,
    read_from,
    reopen,
    sync,
)


def headers(log: PartitionLog) -> list[tuple[int, int, int]]:
    """(base offset, next offset, number of records) of every batch."""
    view = log.view
    return [
        (header.base_offset, header.next_offset, header.records_count)
        for stored in read_from(view, view.start_offset)
        for _, header in iter_headers(stored.data)
    ]


def test_the_last_record_of_each_key_stays_where_it_was() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    before = log.view.size_bytes
    result = clean_once(files, log)
    assert result is not None
    assert rows(log.view) == LAST
    assert (result.records_before, result.records_after, result.keys) == (7, 4, 4)
    assert (result.bytes_before, result.bytes_after) == (before, log.view.size_bytes)
    assert log.view.size_bytes < before
    assert (log.view.start_offset, log.view.written_end_offset) == (0, 7)
    assert log.cleaning.state.first_dirty == 7


def test_every_offset_is_a_valid_read_position() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    clean_once(files, log)
    for offset in range(8):
        assert rows(log.view, offset) == [row for row in LAST if row[0] >= offset]


def test_batches_keep_their_offsets_and_empty_ones_fill_the_gaps() -> None:
    files = MemoryFiles()
    log = filled_log([[(A, b"1")], [(A, b"2")], [(B, b"1")], [(A, b"3"), (B, b"2")]], files)
    clean_once(files, log)
    assert headers(log) == [(0, 3, 0), (3, 5, 2)]


def test_epochs_are_kept_and_gaps_do_not_cross_them() -> None:
    files = MemoryFiles()
    log = PartitionLog.create(files, DIRECTORY, COMPACT)
    for epoch in (0, 0, 1, 3):
        put(log, (A, b"%d" % epoch), epoch=epoch)
    put(log, (A, b"last"), epoch=3)
    roll(log)
    clean_once(files, log)
    assert headers(log) == [(0, 2, 0), (2, 3, 0), (3, 4, 0), (4, 5, 1)]
    files.kill()
    files.unlink(f"{DIRECTORY}/leader-epochs")
    again = reopen(files, durable_end=5, config=COMPACT)
    assert [again.end_offset_for_epoch(epoch) for epoch in (0, 1, 2, 3)] == [
        (0, 2),
        (1, 3),
        (1, 3),
        (3, 5),
    ]


def test_a_tombstone_goes_with_the_first_pass_behind_its_horizon() -> None:
    files = MemoryFiles()
    log = filled_log([[(A, b"1")], [(A, None), (B, b"1")]], files)
    clean_once(files, log, now_ms=NOW_MS)
    assert rows(log.view) == [(1, A, None), (2, B, b"1")]
    assert [record.timestamp for record in records(log.view)] == [1000, 1001]
    assert log.cleaning.state.horizon_ms == NOW_MS + HOUR_MS
    early = NOW_MS + HOUR_MS - 1
    assert log.cleaning.status(Moment(early), 3).verdict is Verdict.CLEAN
    put(log, (C, b"1"))
    roll(log)
    clean_once(files, log, now_ms=early, tag="early")
    assert rows(log.view)[0] == (1, A, None)
    late = NOW_MS + HOUR_MS
    assert log.cleaning.status(Moment(late), 4).verdict is Verdict.TOMBSTONES
    clean_once(files, log, now_ms=late, tag="late")
    assert rows(log.view) == [(2, B, b"1"), (3, C, b"1")]
    assert log.cleaning.state.horizon_ms == -1
    assert log.cleaning.status(Moment(late), 4).verdict is Verdict.CLEAN


def test_neither_the_brake_nor_a_clock_set_anew_lets_a_tombstone_go_early() -> None:
    files = MemoryFiles()
    log = filled_log([[(A, b"1")], [(A, None)]], files)
    clean_once(files, log)
    far = NOW_MS + 100 * HOUR_MS
    assert log.cleaning.status(Moment(far, "braked"), 2).verdict is Verdict.CLEAN
    put(log, (B, b"1"))
    roll(log)
    plan = plan_of(log, now_ms=far, brake="braked")
    assert plan is not None
    assert clean(files, plan).records_after == 2
    since = Moment(far, trusted_since_ms=far - HOUR_MS + 1)
    assert log.cleaning.status(since, 2).verdict is not Verdict.TOMBSTONES
    plan = log.cleaning.plan(since, 3, tag="s", map_bytes=MAP_BYTES, asked=True)
    assert plan is not None
    assert clean(files, plan).records_after == 2
    due = since._replace(now_ms=far + 1)
    plan = log.cleaning.plan(due, 3, tag="s", map_bytes=MAP_BYTES, asked=True)
    assert plan is not None
    assert clean(files, plan).records_after == 1


def test_a_tombstone_that_not_every_replica_has_stays() -> None:
    files = MemoryFiles()
    log = filled_log([[(A, b"1")], [(A, None)], [(B, None)]], files)
    clean_once(files, log)
    late = NOW_MS + HOUR_MS
    plan = plan_of(log, now_ms=late, replicated_end=2)
    assert plan is not None
    result = clean(files, plan)
    assert install(log, result)
    assert rows(log.view) == [(2, B, None)]
    assert log.cleaning.state.forgotten_end == result.forgotten_end == 2
    assert result.horizon_ms > late, "and is not looked at again at once"
    plan = plan_of(log, now_ms=result.horizon_ms, replicated_end=3)
    assert plan is not None and install(log, clean(files, plan))
    assert rows(log.view) == []


def test_records_without_a_key_go() -> None:
    files = MemoryFiles()
    log = filled_log([[(None, b"1"), (A, b"1")], [(None, b"2")]], files)
    clean_once(files, log)
    assert rows(log.view) == [(1, A, b"1")]


def test_what_lies_below_the_start_goes() -> None:
    files = MemoryFiles()
    log = filled_log([[(A, b"1"), (B, b"1")], [(C, b"1")]], files)
    log.trim(1)
    clean_once(files, log)
    assert rows(log.view) == [(1, B, b"1"), (2, C, b"1")]
    assert headers(log)[0] == (0, 2, 1)


def test_the_active_segment_and_what_is_above_the_limit_stay() -> None:
    files = MemoryFiles()
    log = filled_log([[(A, b"1")], [(A, b"2")], [(A, b"3")], [(A, b"4")]], files, per_segment=1)
    put(log, (A, b"5"))
    sync(log)
    plan = plan_of(log, limit=3)
    assert plan is not None and plan.end_offset == 3
    assert install(log, clean(files, plan))
    assert [value for _, _, value in rows(log.view)] == [b"3", b"4", b"5"]


@pytest.mark.parametrize("codec", [Compression.GZIP, Compression.ZSTD, Compression.LZ4])
def test_compressed_batches(codec: Compression) -> None:
    files = MemoryFiles()
    log = PartitionLog.create(files, DIRECTORY, replace(COMPACT, segment_bytes=5000))
    value = b"v" * 300
    append(log, batch_of([(A, value), (B, value), (A, None)], compression=codec))
    append(log, batch_of([(B, value), (C, value)], compression=codec))
    roll(log)
    clean_once(files, log)
    assert rows(log.view) == [(2, A, None), (3, B, value), (4, C, value)]
    clean_once(files, log, now_ms=NOW_MS + HOUR_MS)
    assert rows(log.view) == [(3, B, value), (4, C, value)]


@pytest.mark.parametrize("map_bytes", [120, 700])
def test_a_small_map_takes_more_passes(map_bytes: int) -> None:
    files = MemoryFiles()
    puts = [(b"key-%d" % (number % 40), b"%d" % number) for number in range(200)]
    log = filled_log([puts[at : at + 7] for at in range(0, 200, 7)], files)
    passes = 0
    first_dirty = 0
    while True:
        result = clean_once(files, log, map_bytes=map_bytes, tag=f"p{passes}")
        if result is None:
            break
        passes += 1
        assert result.mapped_end > first_dirty, "every pass gets somewhere"
        first_dirty = result.mapped_end
    assert passes > 1
    assert rows(log.view) == [
        (number, key, value) for number, (key, value) in enumerate(puts) if number >= 160
    ]


def test_small_segments_are_put_together() -> None:
    files = MemoryFiles()
    log = filled_log([[(b"%d" % number, b"v" * 50)] for number in range(12)], files, per_segment=1)
    assert log.view.segment_count == 13
    clean_once(files, log)
    assert log.view.segment_count == 4
    assert len(rows(log.view)) == 12
    assert not [name for name in names(files) if name.endswith((".cleaned", ".swap"))]


def test_groups_keep_within_a_segment_in_bytes_and_offsets() -> None:
    def source(base: int, next_offset: int, size: int) -> Source:
        return Source(base, next_offset, size, 0, 0)

    sources = [source(0, 10, 50), source(10, 20, 50), source(20, 30, 1), source(30, 40, 200)]
    assert [len(group) for group in grouped(sources, 100)] == [2, 1, 1]
    wide = [source(0, 10, 1), source(10, RELATIVE_OFFSET_MAX + 1, 1), source(20, 30, 1)]
    assert [len(group) for group in grouped(wide, 100)] == [1, 2]
    assert list(grouped([], 100)) == []


def test_a_segment_that_loses_nothing_is_left_alone() -> None:
    files = MemoryFiles()
    log = filled_log([[(A, b"1" * 500)], [(B, b"1" * 500)]], files, per_segment=1)
    before = names(files)
    result = clean_once(files, log)
    assert result is not None and result.files == ()
    assert [name for name in names(files) if name != "cleaned"] == before
    put(log, (A, b"2"))
    roll(log)
    result = clean_once(files, log)
    assert result is not None
    assert [file.sources for file in result.files] == [(0,)]


def test_the_windows_of_producers_survive_with_their_sequences() -> None:
    files = MemoryFiles()
    log = PartitionLog.create(files, DIRECTORY, COMPACT)
    batches = [
        batch_of([(A, b"%d" % number)], producer=(7, 0, number), timestamp=number)
        for number in range(8)
    ]
    for batch in batches:
        append(log, batch)
    put(log, (A, b"end"))
    roll(log)
    clean_once(files, log)
    assert headers(log) == [(0, 3, 0), *((at, at + 1, 0) for at in range(3, 8)), (8, 9, 1)]
    files.kill()
    for name in names(files):
        if name.endswith(".producers"):
            files.unlink(f"{DIRECTORY}/{name}")
    again = reopen(files, durable_end=9, config=COMPACT)
    for number in range(3, 8):
        assert append(again, batches[number]).duplicate
        assert append(again, batches[number]).base_offset == number
    fresh = append(again, batch_of([(A, b"8")], producer=(7, 0, 8)))
    assert (fresh.base_offset, fresh.duplicate) == (9, False)


def test_a_window_that_has_moved_on_frees_its_batches() -> None:
    files = MemoryFiles()
    log = PartitionLog.create(files, DIRECTORY, COMPACT)
    for number in range(5):
        append(log, batch_of([(A, b"%d" % number)], producer=(7, 0, number)))
    put(log, (A, b"end"))
    roll(log)
    clean_once(files, log)
    for number in range(5, 10):
        append(log, batch_of([(B, b"%d" % number)], producer=(7, 0, number)))
    roll(log)
    clean_once(files, log, tag="u")
    assert headers(log)[0] == (0, 5, 0)


def test_open_views_read_on_until_the_files_are_unlinked() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    view, before = log.view, rows(log.view)
    clean_once(files, log)
    assert rows(view) == before
    assert log.unlink_deleted(NOW_MS) == 0
    assert rows(view) == before
    assert log.unlink_deleted(NOW_MS + COMPACT.file_delete_delay_ms) == 3
    assert not [name for name in names(files) if "deleted" in name]
    assert rows(log.view) == LAST


def test_two_passes_within_the_delay_keep_both_generations_apart() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    first = log.view
    before = rows(first)
    clean_once(files, log, tag="one")
    second = log.view
    put(log, (C, b"2"))
    roll(log)
    clean_once(files, log, tag="two")
    log._context.handles.close()
    assert rows(first) == before
    assert rows(second) == LAST
    assert rows(log.view) == [*LAST[1:], (7, C, b"2")]


def test_a_clean_restart_takes_sidecars_and_state() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    clean_once(files, log)
    size, state = log.view.size_bytes, log.cleaning.state
    log.close(clean=True)
    files.kill()
    reads: list[str] = []
    again = reopen(files, durable_end=7, clean=True, config=COMPACT)
    files.before = lambda operation, path: reads.append(path) if operation == "pread" else None
    assert again.recovery.clean and not again.recovery.removed
    assert (again.view.size_bytes, again.cleaning.state) == (size, state)
    assert rows(again.view) == LAST
    assert not again.view.damage
    assert any(path.endswith(".digest") for path in reads)


def test_an_unclean_stop_scans_a_cleaned_segment_like_any_other() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    clean_once(files, log)
    files.kill()
    for name in names(files):
        if name.endswith((".index", ".timeindex", ".digest")):
            files.unlink(f"{DIRECTORY}/{name}")
    again = reopen(files, durable_end=7, config=COMPACT)
    assert rows(again.view) == LAST
    assert not again.view.damage and not again.recovery.cut_bytes
