"""When a log is cleaned and when it cannot be: reasons, errors, and logs that change meanwhile."""

from __future__ import annotations

import errno
import json
import struct
from dataclasses import replace

import pytest
from crc32c import crc32c
from logd_wire import Compression

from logd.storage import LogConfig, MemoryFiles, Moment, PartitionLog
from logd.storage.cleaner import CleaningError, CleaningPlan, Verdict, clean
from logd.storage.cleaner.state import UNKNOWN_END, CleanState, decode_state, load_state
from logd.storage.sidecar import encode_sidecar, identity_of
from tests.unit.storage.compaction_kit import (
    BATCHES,
    COMPACT,
    HOUR_MS,
    LAST,
    MAP_BYTES,
    A,
    B,
    batch_of,
    clean_once,
    filled_log,
    install,
    names,
    plan_of,
    put,
    roll,
    rows,
)
from tests.unit.storage.kit import (
    DIRECTORY,
    NOW_MS,
    append,
    content_of,
    flip,
    overwrite,
    path_of,
    reopen,
)


def test_damage_ends_the_pass_and_nothing_is_touched() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    overwrite(files, path_of(0), flip(content_of(files, path_of(0)), 70))
    before = names(files)
    plan = plan_of(log)
    assert plan is not None
    with pytest.raises(CleaningError, match="damaged: offsets 0 to 1"):
        clean(files, plan)
    assert names(files) == before


def test_a_batch_that_cannot_be_decoded_ends_the_pass_in_words() -> None:
    files = MemoryFiles()
    log = filled_log([[(A, b"1")]], files)
    good = batch_of([(A, b"1" * 100)], compression=Compression.GZIP)
    append(log, batch_of([(A, b"2")]))
    bad = bytearray(good[:61] + b"nothing that gzip ever made" + good[61:])
    bad[8:12] = struct.pack(">i", len(bad) - 12)
    bad[17:21] = struct.pack(">I", crc32c(bytes(bad[21:])))
    append(log, bytes(bad))
    roll(log)
    plan = plan_of(log)
    assert plan is not None
    with pytest.raises(CleaningError, match="the batch at offset 2"):
        clean(files, plan)
    assert not [name for name in names(files) if name.endswith(".cleaned")]


def test_a_full_disk_ends_the_pass_and_leaves_nothing_behind() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    before = names(files)
    files.capacity = files.capacity - files.free_bytes() + 50
    plan = plan_of(log)
    assert plan is not None
    with pytest.raises(CleaningError, match="no space"):
        clean(files, plan)
    assert names(files) == before


def test_no_room_for_the_first_name_gives_the_pass_up() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    plan = plan_of(log)
    assert plan is not None
    result = clean(files, plan)

    def full(operation: str, path: str) -> None:
        if operation == "rename":
            raise OSError(errno.ENOSPC, "no space for a name")

    files.before = full
    assert not install(log, result)
    files.before = None
    assert not log.failed
    assert len(rows(log.view)) == 7
    assert not [name for name in names(files) if name.endswith(".cleaned")]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_an_error_half_way_closes_the_log_and_a_start_goes_on(code: int) -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    plan = plan_of(log)
    assert plan is not None
    result = clean(files, plan)

    def broken(operation: str, path: str) -> None:
        if operation == "rename" and path.endswith(".swap"):
            raise OSError(code, "broken")

    files.before = broken
    with pytest.raises(Exception, match=r"broken|unfinished"):
        install(log, result)
    files.before = None
    assert log.failed
    files.kill()
    again = reopen(files, durable_end=7, config=COMPACT)
    assert rows(again.view) == LAST


def test_a_truncation_meanwhile_aborts() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    plan = plan_of(log)
    assert plan is not None
    result = clean(files, plan)
    log.truncate(6)
    assert not install(log, result)
    assert not [name for name in names(files) if name.endswith(".cleaned")]
    assert [row[0] for row in rows(log.view)] == list(range(6))


def test_what_a_truncation_took_away_supersedes_nothing() -> None:
    files = MemoryFiles()
    log = filled_log([[(A, b"1" * 500)], [(A, b"2" * 500)], [(B, b"1")]], files, per_segment=1)
    plan = plan_of(log)
    assert plan is not None
    result = clean(files, plan)
    assert [file.sources for file in result.files] == [(0,)]
    log.truncate(1)
    append(log, batch_of([(B, b"3")]))
    roll(log)
    assert not install(log, result)
    assert rows(log.view) == [(0, A, b"1" * 500), (1, B, b"3")]


def test_truncating_what_is_clean_takes_the_mark_back() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    clean_once(files, log)
    log.truncate(3)
    assert log.cleaning.state.first_dirty == 3
    files.kill()
    again = reopen(files, durable_end=3, config=COMPACT)
    assert again.cleaning.state.first_dirty <= 3


def test_a_delete_in_the_place_of_a_clean_batch_that_was_cut_deletes() -> None:
    files = MemoryFiles()
    log = filled_log([[(A, b"1")], [(B, b"1"), (B, b"2")]], files, per_segment=1)
    clean_once(files, log)
    assert log.cleaning.state.first_dirty == 3
    assert log.truncate(2) == 1, "batches are cut whole"
    put(log, (A, None), (B, b"3"))
    roll(log)
    clean_once(files, log)
    put(log, (B, b"4"))
    roll(log)
    clean_once(files, log, now_ms=NOW_MS + HOUR_MS, tag="later")
    assert rows(log.view) == [(3, B, b"4")], "the delete is forgotten, and what it deleted is gone"


def test_retention_meanwhile_aborts() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    plan = plan_of(log)
    assert plan is not None
    result = clean(files, plan)
    log.trim(3)
    assert not install(log, result)
    assert [row[0] for row in rows(log.view)] == [3, 4, 5, 6]


def test_trimming_takes_whole_segments_of_a_compacted_log_too() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    clean_once(files, log)
    put(log, (A, b"4"), (B, b"4"))
    roll(log)
    sealed = [segment.base_offset for segment in log.cleaning_inputs().segments]
    assert sealed[:2] == [0, 7]
    log.trim(8)
    assert log.cleaning_inputs().segments[0].base_offset == 7
    assert rows(log.view) == [(8, B, b"4")]
    assert log.cleaning.status(Moment(NOW_MS), 9, asked=True).first_dirty == 8


def test_compacted_and_deleted() -> None:
    files = MemoryFiles()
    config = replace(COMPACT, retention_ms=HOUR_MS, segment_bytes=150)
    log = PartitionLog.create(files, DIRECTORY, config)
    for number in range(4):
        append(log, batch_of([(A, b"%d" % number), (b"%d" % number, b"x")], timestamp=NOW_MS))
        roll(log)
    clean_once(files, log)
    assert len(rows(log.view)) == 5
    deleted = log.enforce_retention(NOW_MS + HOUR_MS + 5, log.view.durable_end_offset)
    assert deleted and rows(log.view) == []
    assert log.cleaning.status(Moment(NOW_MS + HOUR_MS + 5), 8).verdict is Verdict.CLEAN


def test_without_the_file_nothing_counts_as_clean() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    clean_once(files, log)
    log.close(clean=True)
    files.kill()
    overwrite(files, f"{DIRECTORY}/cleaned", flip(content_of(files, f"{DIRECTORY}/cleaned"), 45))
    again = reopen(files, durable_end=7, clean=True, config=COMPACT)
    assert again.cleaning.state.first_dirty == 0
    clean_once(files, again)
    assert rows(again.view) == LAST


def status(log: PartitionLog, now_ms: int = NOW_MS, *, asked: bool = False) -> Verdict:
    return log.cleaning.status(Moment(now_ms), log.view.durable_end_offset, asked=asked).verdict


def with_config(config: LogConfig) -> PartitionLog:
    log = filled_log([[(A, b"1" * 200)]])
    clean_once(log._files, log)
    put(log, (A, b"2"), now_ms=NOW_MS)
    roll(log)
    log.reconfigure(config)
    return log


def test_what_is_due_and_what_is_waited_for() -> None:
    log = with_config(replace(COMPACT, compacts=False))
    assert status(log) is Verdict.NOT_COMPACTED
    log.reconfigure(COMPACT)
    assert status(log) is Verdict.BELOW_RATIO
    assert status(log, asked=True) is Verdict.ASKED
    found = log.cleaning.status(Moment(NOW_MS), 2)
    assert found.next_ms == NOW_MS + COMPACT.max_compaction_lag_ms
    assert (found.first_dirty, found.cleanable_end) == (1, 2)
    assert 0 < found.dirty_ratio < 0.5
    assert status(log, NOW_MS + COMPACT.max_compaction_lag_ms - 1) is Verdict.BELOW_RATIO
    assert status(log, NOW_MS + COMPACT.max_compaction_lag_ms) is Verdict.MAX_LAG
    log.reconfigure(replace(COMPACT, min_cleanable_dirty_ratio=found.dirty_ratio))
    assert status(log) is Verdict.DIRTY_RATIO
    log.reconfigure(replace(COMPACT, min_compaction_lag_ms=1000))
    assert status(log, NOW_MS + 999, asked=True) is Verdict.YOUNG
    assert log.cleaning.status(Moment(NOW_MS), 2).next_ms == NOW_MS + 1000
    assert status(log, NOW_MS + 1000, asked=True) is Verdict.ASKED
    log.reconfigure(COMPACT)
    assert log.cleaning.status(Moment(NOW_MS), 1).verdict is Verdict.ABOVE_LIMIT
    clean_once(log._files, log)
    assert status(log) is Verdict.CLEAN
    assert log.cleaning.plan(Moment(NOW_MS), 2, tag="x", map_bytes=MAP_BYTES) is None


def test_a_compacted_log_is_rolled_in_time_for_its_lag() -> None:
    log = PartitionLog.create(
        MemoryFiles(), DIRECTORY, replace(COMPACT, segment_ms=10 * HOUR_MS, max_compaction_lag_ms=5)
    )
    put(log, (A, b"1"))
    assert not log.maybe_roll(NOW_MS + 4)
    assert log.maybe_roll(NOW_MS + 5)


def test_times_by_record_are_found_in_what_is_left() -> None:
    files = MemoryFiles()
    log = PartitionLog.create(files, DIRECTORY, COMPACT)
    for number in range(20):
        append(log, batch_of([(b"%d" % (number % 3), b"x" * 40)], timestamp=1000 * number))
    roll(log)
    clean_once(files, log)
    view = log.view
    assert view.offset_for_time(0, 20) == (17, 17_000)
    assert view.offset_for_time(18_500, 20) == (19, 19_000)
    assert view.offset_for_time(19_500, 20) is None


def test_a_plan_is_plain_data() -> None:
    plan = plan_of(filled_log(BATCHES))
    assert plan is not None
    assert CleaningPlan.from_plain(json.loads(json.dumps(plan.to_plain()))) == plan


# --- what is forgotten ---------------------------------------------------------------------------


def test_what_is_forgotten_is_noted_before_it_is_so_and_survives() -> None:
    files = MemoryFiles()
    log = filled_log([[(A, b"1")], [(A, None)], [(B, b"1")], [(B, b"2")]], files)
    clean_once(files, log)
    plan = plan_of(log, now_ms=NOW_MS + HOUR_MS)
    assert plan is not None
    result = clean(files, plan)
    assert result.forgotten_end == 2
    assert log.cleaning.state.forgotten_end == 0
    assert log.cleaning.swap(result, 0)
    assert load_state(files, DIRECTORY, identity_of(DIRECTORY)).forgotten_end == 2
    assert reopen(files, durable_end=None).cleaning.state.forgotten_end == 2


def test_without_room_to_note_it_nothing_is_forgotten() -> None:
    files = MemoryFiles()
    log = filled_log([[(A, b"1")], [(A, None)]], files)
    clean_once(files, log)
    plan = plan_of(log, now_ms=NOW_MS + HOUR_MS)
    assert plan is not None
    result = clean(files, plan)
    files.capacity = 0
    assert not log.cleaning.swap(result, 0)
    log.cleaning.discard(result)
    files.capacity = MemoryFiles().capacity
    assert rows(log.view) == [(1, A, None)]
    assert not log.failed


def test_a_file_that_cannot_be_read_leaves_it_unknown() -> None:
    files = MemoryFiles()
    log = filled_log(BATCHES, files)
    clean_once(files, log)
    path = f"{DIRECTORY}/cleaned"
    overwrite(files, path, flip(content_of(files, path), 30))
    found = reopen(files, durable_end=None).cleaning
    assert found.state == CleanState(forgotten_end=UNKNOWN_END)
    found.assume_forgotten(5)
    found.assume_forgotten(9)
    assert found.state.forgotten_end == 5


def test_a_file_of_before_counts_as_forgetful_as_it_is_clean() -> None:
    data = encode_sidecar(
        b"logd-cl\0", struct.pack(">qqq", 7, -1, 3), identity=1, base_offset=0, covered=0
    )
    assert decode_state(data, 1) == CleanState(7, -1, 3, 7)


def test_a_log_that_was_cut_behind_the_last_swap_is_not_clean() -> None:
    files = MemoryFiles()
    log = filled_log([[(A, b"1")], [(B, b"1")]], files)
    plan = plan_of(log)
    assert plan is not None
    result = clean(files, plan)
    assert result.files == ()
    log.truncate(1)
    assert not log.cleaning.finish(result)
    assert log.cleaning.state.first_dirty == 0
