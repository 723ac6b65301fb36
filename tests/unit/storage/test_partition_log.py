"""Appending, syncing, rolling, reading, epochs, producer rules."""

from __future__ import annotations

import errno
import random
from dataclasses import replace

import pytest
from logd_wire import stamp, verify_batch
from logd_wire.errors import (
    ErrorCode,
    FencedError,
    InvalidRequestError,
    LogdError,
    NotLeaderError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceError,
    StorageFailedError,
    StorageFullError,
)

from logd.storage import HandleCache, MemoryFiles, PartitionLog
from tests.unit.storage.kit import (
    CONFIG,
    DIRECTORY,
    NOW_MS,
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


def test_batches_are_stamped_and_read_back_byte_for_byte() -> None:
    log = create()
    batch = make_batch(3)
    assert append(log, batch, leader_epoch=4, now_ms=NOW_MS - 7) == (0, 3, NOW_MS - 7, False)
    assert append(log, batch, leader_epoch=4) == (3, 6, NOW_MS, False)
    read = log.view.read(0, bytes_max=10_000, limit_offset=6)
    assert read.records == stamp(batch, 0, 4) + stamp(batch, 3, 4)
    assert read.next_offset == 6


def test_a_view_does_not_change_while_the_log_grows() -> None:
    log = create()
    stored = fill(log, 3)
    view = log.view
    assert log.view is view, "nothing changed, nothing new"
    fill(log, 30)
    assert view.written_end_offset == stored[-1].next_offset
    assert read_from(view, 0) == stored
    assert log.view.segment_count > view.segment_count == 1


def test_a_sync_publishes_the_end_it_was_taken_at() -> None:
    log = create()
    append(log, make_batch())
    point = log.prepare_sync()
    assert point is not None
    append(log, make_batch())
    point.run()
    log.complete_sync(point)
    assert log.view.durable_end_offset == 1
    assert log.view.written_end_offset == 2
    sync(log)
    assert log.view.durable_end_offset == 2
    assert log.prepare_sync() is None


def test_a_point_that_did_not_run_publishes_nothing() -> None:
    log = create()
    append(log, make_batch())
    point = log.prepare_sync()
    assert point is not None
    with pytest.raises(StorageFailedError):
        log.complete_sync(point)
    assert log.view.durable_end_offset == 0


def test_after_a_failed_sync_nothing_is_written_any_more() -> None:
    files = MemoryFiles()
    log = create(files)
    stored = fill(log, 4)
    append(log, make_batch(fill=99))
    point = log.prepare_sync()
    assert point is not None
    files.sync_fails = lambda path: True
    with pytest.raises(OSError):
        point.run()
    files.sync_fails = None
    with pytest.raises(StorageFailedError):
        append(log, make_batch())
    with pytest.raises(StorageFailedError):
        log.trim(1)
    log.close(clean=True)
    assert not files.exists(path_of(0, ".digest")), "no clean traces after an error"
    end = stored[-1].next_offset
    log = reopen(files, durable_end=end)
    files.crash(random.Random(3))
    assert log.view.written_end_offset in (end, end + 1)
    again = reopen(files, durable_end=end)
    assert read_from(again.view, 0)[: len(stored)] == stored
    assert again.view.written_end_offset == log.view.written_end_offset, "what counted stays"


def test_what_a_failed_sync_left_in_the_cache_is_copied_before_it_counts() -> None:
    files = MemoryFiles()
    log = create(files)
    append(log, make_batch(fill=1))
    sync(log)
    append(log, make_batch(fill=2))
    point = log.prepare_sync()
    assert point is not None
    files.sync_fails = lambda path: True
    with pytest.raises(OSError):
        point.run()
    files.sync_fails = None
    files.kill()
    log = reopen(files, durable_end=1)
    assert log.recovery.copied_bytes == len(make_batch(fill=2))
    assert log.view.durable_end_offset == 2
    for seed in range(20):
        files.crash(random.Random(seed))
        assert reopen(files, durable_end=1).view.written_end_offset == 2


def test_each_segment_starts_where_the_one_before_ends() -> None:
    files = MemoryFiles()
    log = create(files)
    stored = fill(log, 60)
    view = log.view
    assert view.segment_count > 4
    assert view.size_bytes == sum(len(batch.data) for batch in stored)
    for batch in stored:
        for offset in range(batch.base_offset, batch.next_offset):
            read = view.read(offset, bytes_max=1, limit_offset=view.written_end_offset)
            assert read == (batch.data, batch.next_offset)
    for entry in files.list_dir(DIRECTORY):
        if entry.name.endswith(".log"):
            assert entry.size <= CONFIG.segment_bytes


def test_a_batch_larger_than_a_segment_gets_one_of_its_own() -> None:
    log = create()
    fill(log, 2)
    append(log, make_batch(size=5000))
    append(log, make_batch())
    assert log.view.segment_count == 3
    read = log.view.read(3, bytes_max=1, limit_offset=5)
    assert read.next_offset == 4 and len(read.records) > 5000


def test_an_aged_segment_is_rolled_also_without_traffic() -> None:
    log = create()
    append(log, make_batch(), now_ms=1000)
    assert not log.maybe_roll(1000 + CONFIG.segment_ms - 1)
    assert log.maybe_roll(1000 + CONFIG.segment_ms)
    assert not log.maybe_roll(1 << 40), "an empty segment stays"
    append(log, make_batch(), now_ms=50_000)
    append(log, make_batch(), now_ms=50_000 + CONFIG.segment_ms)
    assert log.view.segment_count == 3


def test_reading_at_the_limits() -> None:
    log = create()
    end = fill(log, 20)[-1].next_offset
    view = log.view
    assert view.read(end, bytes_max=10, limit_offset=end) == (b"", end)
    assert view.read(5, bytes_max=10, limit_offset=5) == (b"", 5)
    with pytest.raises(OffsetOutOfRangeError) as caught:
        view.read(end + 1, bytes_max=10, limit_offset=end)
    assert caught.value.next_offset == end
    log.trim(7)
    with pytest.raises(OffsetOutOfRangeError) as caught:
        log.view.read(6, bytes_max=10, limit_offset=end)
    assert caught.value.next_offset == 7
    assert log.view.read(7, bytes_max=1, limit_offset=end).next_offset > 7
    below = view.read(0, bytes_max=1 << 20, limit_offset=6)
    assert below.next_offset == 6


def test_reads_open_few_files() -> None:
    files = MemoryFiles()
    handles = HandleCache(files, open_max=2)
    log = PartitionLog.create(files, DIRECTORY, CONFIG, handles=handles)
    stored = fill(log, 60)
    for _ in range(2):
        assert read_from(log.view, 0) == stored
        assert len(handles) <= 3


def test_leader_epochs_bound_what_was_written_under_them() -> None:
    log = create()
    log.begin_epoch(2)
    append(log, make_batch(3), leader_epoch=2)
    log.begin_epoch(3)
    log.begin_epoch(5)
    append(log, make_batch(3), leader_epoch=5)
    assert log.end_offset_for_epoch(1) == (-1, -1)
    assert log.end_offset_for_epoch(2) == (2, 3)
    assert log.end_offset_for_epoch(4) == (2, 3), "3 had no batch and was replaced by 5"
    assert log.end_offset_for_epoch(9) == (5, 6)
    with pytest.raises(NotLeaderError) as caught:
        append(log, make_batch(), leader_epoch=4)
    assert caught.value.code == ErrorCode.FENCED_LEADER_EPOCH
    assert log.leader_epoch == 5


def test_epochs_survive_and_are_cut_with_the_log() -> None:
    files = MemoryFiles()
    log = create(files)
    append(log, make_batch(), leader_epoch=1)
    sync(log)
    append(log, make_batch(), leader_epoch=2)
    log.begin_epoch(3)
    files.kill()
    log = reopen(files, durable_end=1)
    assert log.view.written_end_offset == 2
    assert log.leader_epoch == 3
    assert log.truncate(1) == 1
    assert log.leader_epoch == 1, "2 has no batch any more, and another may begin here"
    assert log.end_offset_for_epoch(2) == (1, 1)
    files.kill()
    assert reopen(files, durable_end=1).leader_epoch == 1


def test_a_repeated_batch_gets_the_first_offset() -> None:
    log = create()
    first = [make_batch(2, producer=(7, 0, sequence)) for sequence in range(0, 12, 2)]
    for batch in first:
        append(log, batch)
    for number, batch in enumerate(first[1:], 1):
        assert append(log, batch) == (2 * number, 2 * number + 2, NOW_MS, True)
    with pytest.raises(OutOfOrderSequenceError):
        append(log, first[0])
    same_end = make_batch(1, producer=(7, 0, 11))
    with pytest.raises(OutOfOrderSequenceError):
        append(log, same_end)
    assert log.view.written_end_offset == 12


def test_producer_epochs_fence() -> None:
    log = create()
    append(log, make_batch(producer=(7, 1, 0)))
    with pytest.raises(FencedError):
        append(log, make_batch(producer=(7, 0, 1)))
    with pytest.raises(OutOfOrderSequenceError):
        append(log, make_batch(producer=(7, 2, 1)))
    append(log, make_batch(producer=(7, 2, 0)))
    with pytest.raises(FencedError):
        append(log, make_batch(producer=(7, 1, 1)))


def test_an_unknown_producer_may_start_anywhere_and_the_idlest_is_dropped() -> None:
    log = create(config=replace(CONFIG, producer_ids_max=2))
    append(log, make_batch(producer=(1, 0, 500)))
    append(log, make_batch(producer=(2, 0, 0)))
    append(log, make_batch(producer=(1, 0, 501)))
    append(log, make_batch(producer=(3, 0, 0)))
    assert log.producer_ids == 2
    assert append(log, make_batch(producer=(1, 0, 501))).duplicate
    assert not append(log, make_batch(producer=(2, 0, 0))).duplicate, "it was forgotten"


def test_no_room_for_producer_ids_is_said() -> None:
    log = create(config=replace(CONFIG, producer_ids_max=0))
    append(log, make_batch())
    with pytest.raises(LogdError) as caught:
        append(log, make_batch(producer=(1, 0, 0)))
    assert caught.value.code == ErrorCode.PRODUCER_ID_LIMIT


def test_no_clock_makes_a_producer_forgotten() -> None:
    log = create()
    batch = make_batch(producer=(1, 0, 0))
    append(log, batch, now_ms=1_000)
    sync(log)
    log.enforce_retention(1_000 + 10 * 365 * 86_400_000, 0)
    assert append(log, batch, now_ms=1_001).duplicate


@pytest.mark.parametrize("room", [0, 1, 60, 61, 120])
def test_a_full_disk_cuts_back_and_forgets_the_batch(room: int) -> None:
    files = MemoryFiles()
    log = create(files)
    append(log, make_batch(producer=(7, 0, 0)))
    sync(log)
    size = files.size(path_of(0))
    files.capacity -= files.free_bytes() - room
    batch = make_batch(size=100, producer=(7, 0, 1))
    with pytest.raises(StorageFullError) as caught:
        append(log, batch)
    assert caught.value.retriable
    assert files.size(path_of(0)) == size
    assert len(read_from(log.view, 0)) == 1, "readers go on"
    files.capacity = 1 << 30
    assert append(log, batch) == (1, 2, NOW_MS, False), "not taken for a duplicate"
    sync(log)
    files.crash(random.Random(0))
    assert reopen(files, durable_end=2).view.written_end_offset == 2


def test_short_writes_are_continued() -> None:
    files = MemoryFiles()
    log = create(files)
    files.write_limit = lambda path, size: max(1, size // 3)
    stored = fill(log, 5)
    assert read_from(log.view, 0) == stored


def test_a_full_disk_at_a_roll_keeps_the_old_segment() -> None:
    files = MemoryFiles()
    log = create(files)
    stored = fill(log, 10)

    def before(operation: str, path: str) -> None:
        if operation == "create" and path.endswith(".log"):
            raise OSError(errno.ENOSPC, "no inode")

    files.before = before
    with pytest.raises(StorageFullError):
        for _ in range(100):
            append(log, make_batch())
    files.before = None
    view = log.view
    assert read_from(view, 0)[: len(stored)] == stored
    appended = append(log, make_batch())
    assert appended.base_offset == view.written_end_offset


def test_an_error_of_a_write_is_fatal() -> None:
    files = MemoryFiles()
    log = create(files)
    append(log, make_batch())

    def before(operation: str, path: str) -> None:
        if operation == "pwrite":
            raise OSError(errno.EIO, "broken")

    files.before = before
    with pytest.raises(OSError, match="broken"):
        append(log, make_batch())
    files.before = None
    with pytest.raises(StorageFailedError):
        append(log, make_batch())


def test_trim_survives_a_crash_and_deletes_whole_segments() -> None:
    files = MemoryFiles()
    log = create(files)
    stored = fill(log, 40)
    end = stored[-1].next_offset
    before = log.view
    log.trim(30)
    assert log.view.start_offset == 30
    assert read_from(before, 0) == stored, "a reader of before goes on"
    log.trim(10)
    assert log.view.start_offset == 30
    with pytest.raises(InvalidRequestError):
        log.trim(end + 1)
    for seed in range(10):
        files.crash(random.Random(seed))
        log = reopen(files, durable_end=end)
        assert log.view.start_offset == 30
        assert not log.view.damage
    log.unlink_deleted(NOW_MS)
    log.unlink_deleted(NOW_MS + CONFIG.file_delete_delay_ms)
    assert log.view.read(30, bytes_max=1, limit_offset=end).next_offset > 30
    log.trim(end)
    assert log.view.size_bytes == 0
    assert append(log, make_batch()).base_offset == end


def test_truncate_cuts_at_a_batch_border_and_voids_points() -> None:
    log = create()
    stored = fill(log, 40)
    append(log, make_batch())
    point = log.prepare_sync()
    assert point is not None
    cut = stored[20].base_offset + (stored[20].next_offset - stored[20].base_offset > 1)
    assert log.truncate(cut) == stored[20].base_offset
    point.run()
    log.complete_sync(point)
    assert log.view.durable_end_offset == stored[20].base_offset
    assert read_from(log.view, 0) == stored[:20]
    assert append(log, make_batch()).base_offset == stored[20].base_offset


def test_truncate_takes_producers_back() -> None:
    log = create()
    for sequence in range(30):
        append(log, make_batch(size=200, producer=(7, 0, sequence)))
    sync(log)
    log.truncate(12)
    with pytest.raises(OutOfOrderSequenceError):
        append(log, make_batch(producer=(7, 0, 30)))
    assert append(log, make_batch(producer=(7, 0, 12))).base_offset == 12


def test_create_refuses_a_directory_in_use() -> None:
    files = MemoryFiles()
    create(files)
    with pytest.raises(FileExistsError):
        create(files)


def test_creating_is_durable() -> None:
    for seed in range(20):
        files = MemoryFiles()
        create(files)
        files.crash(random.Random(seed))
        log = reopen(files, durable_end=None)
        assert log.view.written_end_offset == 0


def test_append_times_never_go_back_within_a_segment() -> None:
    log = create()
    append(log, make_batch(), now_ms=5000)
    assert append(log, make_batch(), now_ms=4000).append_time_ms == 5000


def test_open_after_a_clean_stop_reads_no_batches() -> None:
    files = MemoryFiles()
    log = create(files)
    stored = fill(log, 60)
    append(log, make_batch(producer=(7, 0, 3)))
    log.close(clean=True)
    files.kill()
    opened: list[str] = []
    files.before = lambda operation, path: opened.append(path) if operation == "pread" else None
    log = reopen(files, durable_end=stored[-1].next_offset + 1, clean=True)
    assert log.recovery.clean
    assert not [path for path in opened if path.endswith(".log")]
    assert append(log, make_batch(producer=(7, 0, 3))).duplicate
    assert read_from(log.view, 0)[:-1] == stored


def test_a_clean_stop_that_is_behind_the_ledger_is_not_believed() -> None:
    files = MemoryFiles()
    log = create(files)
    end = fill(log, 3)[-1].next_offset
    log.close(clean=True)
    log = reopen(files, durable_end=end + 5, clean=True)
    assert not log.recovery.clean
    assert [(d.start_offset, d.end_offset) for d in log.view.damage] == [(end, end + 5)]
    assert append(log, make_batch()).base_offset == end + 5


def test_verified_batches_are_taken_as_they_are() -> None:
    log = create()
    batch = make_batch(2)
    header = verify_batch(batch)
    log.append(batch, header, leader_epoch=0, now_ms=1)
    assert log.view.read(1, bytes_max=1, limit_offset=2).records[16:] == batch[16:]


def test_what_is_synced_after_a_roll_survives_with_its_name() -> None:
    for seed in range(20):
        files = MemoryFiles()
        log = create(files)
        stored = fill(log, 3)
        while log.view.segment_count == 1:
            stored += fill(log, 1)
        end = log.view.durable_end_offset
        files.crash(random.Random(seed))
        log = reopen(files, durable_end=end)
        assert (log.view.written_end_offset, log.view.damage) == (end, ())
        assert [b.data[16:] for b in read_from(log.view, 0)] == [b.data[16:] for b in stored]


def test_an_epoch_that_begins_behind_what_survived_is_forgotten_for_good() -> None:
    files = MemoryFiles()
    log = create(files)
    append(log, make_batch(), leader_epoch=1)
    sync(log)
    size = files.size(path_of(0))
    append(log, make_batch(), leader_epoch=1)
    log.begin_epoch(2)
    overwrite(files, path_of(0), content_of(files, path_of(0))[:size])
    log = reopen(files, durable_end=1)
    assert log.leader_epoch == 1
    for _ in range(3):
        append(log, make_batch(), leader_epoch=1)
    sync(log)
    log = reopen(files, durable_end=4)
    assert (log.view.written_end_offset, log.view.damage) == (4, ())
    assert log.end_offset_for_epoch(2) == (1, 4)
