"""Retention by time and by size, at the exact borders, with a clock that the test sets."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from logd.storage import LogConfig, MemoryFiles, Moment, PartitionLog
from tests.unit.storage.kit import CONFIG, append, create, make_batch, read_from, reopen, sync

HOUR_MS = 3_600_000
BATCH = make_batch(size=1000)
#: One batch fills a segment.
ONE_EACH = replace(CONFIG, segment_bytes=len(BATCH), segment_ms=1 << 50)


def log_with(
    times: list[tuple[int, int]], config: LogConfig, files: MemoryFiles | None = None
) -> PartitionLog:
    """A segment for each (record time, append time)."""
    log = create(files, config)
    for record_ms, append_ms in times:
        append(log, make_batch(size=1000, timestamp=record_ms), now_ms=append_ms)
    sync(log)
    return log


def deleted(log: PartitionLog, now_ms: int, limit: int | None = None) -> list[int]:
    if limit is None:
        limit = log.view.durable_end_offset
    return [segment.base_offset for segment in log.enforce_retention(now_ms, limit)]


def test_by_time_a_segment_goes_once_its_newest_record_is_too_old() -> None:
    config = replace(ONE_EACH, retention_ms=HOUR_MS)
    log = log_with([(1000, 5000), (2000, 5000), (3000, 5000)], config)
    assert deleted(log, 1000 + HOUR_MS) == []
    assert deleted(log, 1001 + HOUR_MS) == [0]
    assert log.view.start_offset == 1
    assert deleted(log, 2000 + HOUR_MS) == []
    assert deleted(log, 2001 + HOUR_MS) == [1]


def test_by_time_it_stops_at_the_first_that_must_stay() -> None:
    config = replace(ONE_EACH, retention_ms=HOUR_MS)
    log = log_with([(9000, 9000), (1000, 9000), (9000, 9000)], config)
    assert deleted(log, 2000 + HOUR_MS) == []
    assert deleted(log, 9001 + HOUR_MS) == [0, 1, 2]


@pytest.mark.parametrize("record_ms", [-1, 10**15])
def test_absent_and_future_stamps_count_by_append_time(record_ms: int) -> None:
    config = replace(ONE_EACH, retention_ms=HOUR_MS)
    log = log_with([(record_ms, 5000), (5000, 5000)], config)
    assert deleted(log, 5000 + HOUR_MS) == []
    assert deleted(log, 5001 + HOUR_MS) == [0, 1]


def test_stamps_by_which_it_would_have_been_gone_when_it_was_written_count_for_nothing() -> None:
    config = replace(ONE_EACH, retention_ms=HOUR_MS)
    old = 2 * HOUR_MS
    log = log_with([(old, old + HOUR_MS + 1)], config)
    assert deleted(log, old + 2 * HOUR_MS + 1) == []
    assert deleted(log, old + 2 * HOUR_MS + 2) == [0], "as old as its append"
    log = log_with([(old, old + HOUR_MS)], config)
    assert deleted(log, old + HOUR_MS + 1) == [0], "just young enough when written: believed"


def test_by_number_the_newest_offsets_stay() -> None:
    config = replace(ONE_EACH, retention_records=3)
    log = log_with([(1000, 1000)] * 5, config)
    assert deleted(log, 0) == [0, 1]
    assert deleted(log, 0) == []
    assert log.view.start_offset == 2
    append(log, make_batch(size=1000))
    sync(log)
    assert deleted(log, 0) == [2]
    log.reconfigure(replace(config, retention_records=0))
    assert deleted(log, 0) == [3, 4, 5], "none is to stay: the active segment goes too"


def test_by_number_what_is_not_committed_counts_for_nothing() -> None:
    log = log_with([(1000, 1000)] * 6, replace(ONE_EACH, retention_records=3))
    assert not log.needs_retention(Moment(0), 3)
    assert deleted(log, 0, limit=4) == [0], "three committed ones stay, whatever is cut above"
    assert deleted(log, 0, limit=6) == [1, 2]


def test_a_trimmed_prefix_counts_for_size_and_not_for_number() -> None:
    log = log_with([(1000, 1000)] * 4, replace(CONFIG, segment_bytes=2 * len(BATCH)))
    log.trim(1)
    assert log.view.segment_count == 2
    log.reconfigure(replace(CONFIG, retention_records=2, segment_bytes=2 * len(BATCH)))
    assert deleted(log, 0) == [0]
    assert log.view.start_offset == 2


def test_the_brake_holds_age_and_nothing_else() -> None:
    config = replace(ONE_EACH, retention_ms=HOUR_MS, retention_records=2)
    log = log_with([(1000, 1000)] * 3, config)
    far = 10 * HOUR_MS
    gone = log.enforce_retention(far, 3, brake="the clock jumped")
    assert [(segment.base_offset, segment.reason) for segment in gone] == [(0, "retention.records")]
    assert [segment.reason for segment in log.enforce_retention(far, 3)] == ["retention.ms"] * 2


def test_nothing_is_older_than_the_moment_the_clock_was_set_anew() -> None:
    config = replace(ONE_EACH, retention_ms=HOUR_MS)
    far = 500 * HOUR_MS
    log = log_with([(1000, 1000), (far, far)], config)
    since = 100 * HOUR_MS
    assert log.enforce_retention(since + HOUR_MS, 2, trusted_since_ms=since) == []
    gone = log.enforce_retention(since + HOUR_MS + 1, 2, trusted_since_ms=since)
    assert [segment.base_offset for segment in gone] == [0, 1], "also what the clock stamped ahead"


def test_times_of_a_clock_that_was_set_back_do_not_mix_with_later_ones() -> None:
    far = 500 * HOUR_MS
    log = log_with([(far, far)], replace(CONFIG, retention_ms=HOUR_MS))
    assert log.maybe_roll(far - HOUR_MS) is False
    append(log, make_batch(timestamp=1), now_ms=HOUR_MS)
    sync(log)
    assert log.view.segment_count == 2
    since = HOUR_MS
    gone = log.enforce_retention(2 * HOUR_MS + 1, 2, trusted_since_ms=since)
    assert [segment.base_offset for segment in gone] == [0, 1]
    assert log_with([(far, far)], CONFIG).maybe_roll(HOUR_MS), "an idle one is rolled as well"


def test_a_look_at_what_there_is_to_do_needs_no_file() -> None:
    files = MemoryFiles()
    config = replace(ONE_EACH, retention_ms=HOUR_MS)
    log = log_with([(1000, 1000), (2000, 2000)], config, files)
    limit = log.view.durable_end_offset

    def forbid(operation: str, path: str) -> None:
        raise AssertionError(f"{operation} {path}")

    files.before = forbid
    assert not log.needs_retention(Moment(1000 + HOUR_MS), limit)
    assert log.needs_retention(Moment(1001 + HOUR_MS), limit)
    assert not log.needs_retention(Moment(1001 + HOUR_MS), 0)
    assert not log.needs_retention(Moment(1001 + HOUR_MS, "braked"), limit)
    assert log.needs_retention(Moment(2000 + (1 << 50)), 0), "the active segment is to be rolled"
    files.before = None
    assert deleted(log, 1001 + HOUR_MS) == [0]
    assert log.needs_retention(Moment(0), limit), "a renamed file waits to be unlinked"
    log.unlink_deleted(0)
    assert not log.needs_retention(Moment(59_999), limit)
    assert log.needs_retention(Moment(60_000), limit)


def test_a_segment_that_was_not_looked_at_since_the_start_is_worth_a_question() -> None:
    files = MemoryFiles()
    config = replace(ONE_EACH, retention_ms=HOUR_MS)
    log_with([(1000, 1000), (2000, 2000)], config, files).close(clean=True)
    log = reopen(files, durable_end=2, clean=True, config=config)
    assert log.needs_retention(Moment(1000), 2)
    assert deleted(log, 1000) == []
    assert not log.needs_retention(Moment(1000), 2)


def test_what_goes_and_what_waits_is_told() -> None:
    config = replace(ONE_EACH, retention_ms=HOUR_MS)
    log = log_with([(1000, 1000), (3000, 3000)], config)
    status = log.retention_status(Moment(2000 + HOUR_MS), 2)
    assert [segment.base_offset for segment in status.deletable] == [0]
    assert (status.due_ms, status.held_back) == (3001 + HOUR_MS, False)
    status = log.retention_status(Moment(2000 + HOUR_MS), 0)
    assert (status.deletable, status.due_ms, status.held_back) == ((), 1001 + HOUR_MS, True)
    assert log.view.segment_count == 2, "looking deletes nothing"


def test_append_times_survive_a_restart_and_unknown_ones_count_from_the_restart() -> None:
    for clean in (True, False):
        files = MemoryFiles()
        config = replace(ONE_EACH, retention_ms=HOUR_MS)
        log = log_with([(10**15, 5000), (10**15, 6000)], config, files)
        log.close(clean=clean)
        files.kill()
        log = reopen(files, durable_end=2, clean=clean, config=config, now_ms=50_000)
        assert deleted(log, 5000 + HOUR_MS) == []
        assert deleted(log, 5001 + HOUR_MS) == [0]
        assert deleted(log, 50_000 + HOUR_MS) == ([1] if clean else [])
        assert deleted(log, 50_001 + HOUR_MS) == ([] if clean else [1])


def test_by_size_the_log_stays_at_or_above_the_bound() -> None:
    size = len(BATCH)
    log = log_with([(1000, 1000)] * 5, replace(ONE_EACH, retention_bytes=3 * size + 1))
    assert deleted(log, 0) == [0]
    assert log.view.size_bytes == 4 * size
    log.reconfigure(replace(ONE_EACH, retention_bytes=3 * size))
    assert deleted(log, 0) == [1]
    assert deleted(log, 0) == []
    log.reconfigure(replace(ONE_EACH, retention_bytes=0))
    assert deleted(log, 0) == [2, 3, 4]
    assert log.view.size_bytes == 0
    assert deleted(log, 0) == []


def test_nothing_at_or_above_the_limit_goes() -> None:
    log = log_with([(1000, 1000)] * 4, replace(ONE_EACH, retention_bytes=0))
    assert deleted(log, 0, limit=0) == []
    assert deleted(log, 0, limit=2) == [0, 1]
    assert log.view.start_offset == 2


def test_the_active_segment_is_rolled_before_it_goes() -> None:
    log = log_with([(1000, 1000)], replace(CONFIG, retention_ms=HOUR_MS))
    assert log.view.segment_count == 1
    assert deleted(log, 1001 + HOUR_MS) == [0]
    assert log.view.segment_count == 1
    assert log.view.start_offset == log.view.written_end_offset == 1
    assert append(log, make_batch()).base_offset == 1


def test_without_bounds_all_is_kept() -> None:
    config = replace(ONE_EACH, retention_ms=-1, retention_bytes=-1)
    log = log_with([(1000, 1000)] * 3, config)
    assert deleted(log, 1 << 60) == []


def test_files_are_unlinked_after_the_delay_and_readers_go_on_until_then() -> None:
    files = MemoryFiles()
    config = replace(ONE_EACH, retention_bytes=0, file_delete_delay_ms=60_000)
    log = log_with([(1000, 1000)] * 3, config, files)
    view = log.view
    deleted(log, 5000)
    names = [entry.name for entry in files.list_dir("partition")]
    assert len([name for name in names if name.endswith(".log.deleted")]) == 3
    assert log.unlink_deleted(5000) == 0
    assert len(read_from(view, 0)) == 3
    assert log.unlink_deleted(64_999) == 0
    assert log.unlink_deleted(65_000) == 3
    assert not [e.name for e in files.list_dir("partition") if "deleted" in e.name]


def test_deletion_needs_no_space() -> None:
    files = MemoryFiles()
    log = log_with([(1000, 1000)] * 3, replace(ONE_EACH, retention_bytes=0), files)
    files.capacity = files.capacity - files.free_bytes()

    def before(operation: str, path: str) -> None:
        if operation in ("rename", "create") and path.endswith(".log") and "3" not in path:
            raise OSError(errno.ENOSPC, "no space for a name")

    files.before = before
    assert deleted(log, 0) == [0, 1, 2]
    assert files.free_bytes() > 0
    files.kill()
    files.before = None
    files.capacity = 1 << 30
    assert reopen(files, durable_end=3).view.start_offset == 3
