"""A log copied batch by batch from another replica's."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logd_wire import stamp
from logd_wire.errors import CorruptBatchError, NotLeaderError, StorageFullError

from logd.storage import (
    DataDirectory,
    Ledger,
    LogConfig,
    MemoryFiles,
    PartitionLog,
    append_copied,
    begin_copied,
    begins_epoch,
    create_log_at,
    forget_partition,
)
from logd.storage.epochs import LeaderEpochs, load_epochs
from logd.storage.producers import decode_snapshot
from tests.unit.storage.compaction_kit import A, Put, clean_once, filled_log, rows
from tests.unit.storage.kit import (
    CONFIG,
    DIRECTORY,
    NOW_MS,
    Stored,
    append,
    content_of,
    create,
    fill,
    flip,
    make_batch,
    path_of,
    read_from,
    reopen,
    sync,
)

KEY = (b"t" * 16, 0)
#: Rolls at other places than the log that is copied.
COPY_CONFIG = LogConfig(
    segment_bytes=1300, index_interval_bytes=200, segment_ms=10_000, retention_ms=-1
)


class Crash(BaseException):
    """The process ends here."""


def crash_after(files: MemoryFiles, operations: int) -> None:
    """Let the process end at one of the file operations to come."""
    left = iter(range(operations))

    def count(_operation: str, _path: str) -> None:
        if next(left, None) is None:
            raise Crash

    files.before = count


def chunks(log: PartitionLog, offset: int, bytes_max: int) -> Iterator[tuple[bytes, int]]:
    """Records from `offset` on as a leader sends them, with the append time of the first."""
    view = log.view
    while offset < view.written_end_offset:
        found = view.read(offset, bytes_max=bytes_max, limit_offset=view.written_end_offset)
        yield found.records, view.append_time_at(offset)
        offset = found.next_offset


def copy(source: PartitionLog, target: PartitionLog, bytes_max: int = 700) -> None:
    for records, append_ms in chunks(source, target.view.written_end_offset, bytes_max):
        append_copied(target, records, append_ms=append_ms)


def producers_of(files: MemoryFiles, end: int) -> list[dict[str, int]]:
    """What a clean stop wrote down of producers, times left out."""
    rows = decode_snapshot(content_of(files, path_of(end, ".producers")), end)
    assert rows is not None
    return [{name: row[name] for name in row if name != "last_ms"} for row in rows]


step = st.one_of(
    st.tuples(st.just("plain"), st.integers(1, 4), st.integers(0, 300)),
    st.tuples(st.just("producer"), st.integers(1, 4), st.integers(0, 2)),
    st.tuples(st.just("epoch"), st.integers(1, 3), st.just(0)),
    st.tuples(st.just("roll"), st.just(0), st.just(0)),
)


def write(log: PartitionLog, steps: list[tuple[str, int, int]]) -> None:
    sequences: dict[int, int] = {}
    epoch = 0
    for number, (what, count, extra) in enumerate(steps):
        if what == "epoch":
            epoch += count
        elif what == "roll":
            log.roll()
        elif what == "plain":
            append(log, make_batch(count, size=extra, fill=number), leader_epoch=epoch)
        else:
            known = (extra, 0, sequences.get(extra, 0))
            batch = make_batch(count, fill=number, producer=known)
            append(log, batch, leader_epoch=epoch, now_ms=NOW_MS + number)
            sequences[extra] = known[2] + count
    sync(log)


@given(steps=st.lists(step, min_size=1, max_size=25), bytes_max=st.integers(1, 2500))
@settings(max_examples=150)
def test_a_copy_holds_the_same_bytes_epochs_and_producers(
    steps: list[tuple[str, int, int]], bytes_max: int
) -> None:
    leader_files, files = MemoryFiles(), MemoryFiles()
    leader, replica = create(leader_files), create(files, COPY_CONFIG)
    write(leader, steps)
    copy(leader, replica, bytes_max)
    assert replica.view.durable_end_offset == 0, "written is not durable"
    sync(replica)
    end = leader.view.durable_end_offset
    assert replica.view.durable_end_offset == end
    assert read_from(replica.view, 0) == read_from(leader.view, 0)
    for log in (leader, replica):
        log.close(clean=True)
    known = load_epochs(leader_files, DIRECTORY)
    assert known is not None
    assert load_epochs(files, DIRECTORY) == known.cut_from(end)
    assert producers_of(files, end) == producers_of(leader_files, end)


def test_what_is_here_already_is_passed_over() -> None:
    leader, replica = create(), create()
    stored = fill(leader, 6)
    data = b"".join(batch.data for batch in stored)
    first = b"".join(batch.data for batch in stored[:3])
    assert append_copied(replica, first, append_ms=NOW_MS) == stored[2].next_offset
    assert append_copied(replica, first, append_ms=NOW_MS) == stored[2].next_offset
    assert append_copied(replica, data, append_ms=NOW_MS) == stored[-1].next_offset
    assert read_from(replica.view, 0) == stored


@pytest.mark.parametrize("position", [8, 17, 30, 70])
def test_a_damaged_batch_is_refused_by_its_offset_and_those_before_it_stay(position: int) -> None:
    leader, replica = create(), create()
    stored = fill(leader, 3)
    data = stored[0].data + flip(stored[1].data, position) + stored[2].data
    with pytest.raises(CorruptBatchError, match=f"offset {stored[1].base_offset} "):
        append_copied(replica, data, append_ms=NOW_MS)
    assert read_from(replica.view, 0) == stored[:1]
    append_copied(replica, b"".join(b.data for b in stored), append_ms=NOW_MS)
    assert read_from(replica.view, 0) == stored


def test_a_cut_batch_is_refused() -> None:
    leader, replica = create(), create()
    stored = fill(leader, 2)
    with pytest.raises(CorruptBatchError):
        append_copied(replica, stored[0].data + stored[1].data[:-1], append_ms=NOW_MS)
    assert read_from(replica.view, 0) == stored[:1]


def test_a_gap_and_an_overlap_are_refused() -> None:
    replica = create()
    stored = fill(replica, 3)
    end = stored[-1].next_offset
    for base_offset in (end + 1, end - 1):
        with pytest.raises(CorruptBatchError, match=str(base_offset)):
            append_copied(replica, stamp(make_batch(3), base_offset, 0), append_ms=NOW_MS)
    assert read_from(replica.view, 0) == stored


def test_a_batch_of_an_epoch_that_is_over_is_refused() -> None:
    replica = create()
    append_copied(replica, stamp(make_batch(), 0, 5), append_ms=NOW_MS)
    with pytest.raises(NotLeaderError):
        append_copied(replica, stamp(make_batch(), 1, 4), append_ms=NOW_MS)
    assert replica.view.written_end_offset == 1


def test_an_epoch_without_a_batch_gives_way_to_what_others_have() -> None:
    replica = create()
    append(replica, make_batch(), leader_epoch=1)
    replica.begin_epoch(5)
    append_copied(replica, stamp(make_batch(), 1, 3), append_ms=NOW_MS)
    assert replica.end_offset_for_epoch(9) == (3, 2)


def test_an_epoch_may_begin_before_the_batches_that_begin_it() -> None:
    files = MemoryFiles()
    replica = create(files)
    append(replica, make_batch(), leader_epoch=1)
    replica.begin_epoch(4)
    batch = stamp(make_batch(), 1, 5)
    assert begins_epoch(replica, batch)
    begin_copied(replica, batch)
    assert load_epochs(files, DIRECTORY) == LeaderEpochs((1, 5), (0, 1)), "4 had no batch"
    assert not begins_epoch(replica, batch)
    stored: list[str] = []
    files.before = lambda operation, path: stored.append(path) if "epochs" in path else None
    append_copied(replica, batch, append_ms=NOW_MS)
    assert stored == [], "nothing is left to do for it"
    assert replica.end_offset_for_epoch(9) == (5, 2)


@pytest.mark.parametrize("base_offset", [0, 2])
def test_an_epoch_begins_only_where_its_batch_comes_next(base_offset: int) -> None:
    replica = create()
    append(replica, make_batch(), leader_epoch=1)
    begin_copied(replica, stamp(make_batch(), base_offset, 5))
    assert replica.leader_epoch == 1


def test_a_damaged_batch_begins_no_epoch() -> None:
    replica = create()
    append(replica, make_batch(), leader_epoch=1)
    batch = flip(stamp(make_batch(), 1, 5), 70)
    with pytest.raises(CorruptBatchError):
        begin_copied(replica, batch)
    assert not begins_epoch(replica, batch[:20]), "no batch at all"
    assert replica.leader_epoch == 1


def test_a_full_disk_keeps_nothing_of_the_batch_that_did_not_fit() -> None:
    files = MemoryFiles()
    leader, replica = create(), create(files)
    stored = fill(leader, 4)
    append_copied(replica, stored[0].data, append_ms=NOW_MS)
    files.capacity = files.capacity - files.free_bytes() + len(stored[1].data) + 10
    data = b"".join(batch.data for batch in stored[1:])
    with pytest.raises(StorageFullError):
        append_copied(replica, data, append_ms=NOW_MS)
    assert read_from(replica.view, 0) == stored[:2]
    files.capacity = 1 << 40
    append_copied(replica, data, append_ms=NOW_MS)
    sync(replica)
    files.crash(random.Random(0))
    assert read_from(reopen(files, durable_end=stored[-1].next_offset).view, 0) == stored


def test_a_crash_anywhere_leaves_a_beginning_and_copying_goes_on() -> None:
    leader = create()
    stored = fill(leader, 6, leader_epoch=1) + fill(leader, 6, leader_epoch=4)
    operations, crashed = 0, True
    while crashed:
        for seed in range(4):
            crashed = _crash_while_copying(leader, stored, operations, seed)
        operations += 1
    assert operations > 20


def _crash_while_copying(
    leader: PartitionLog, stored: list[Stored], operations: int, seed: int
) -> bool:
    files = MemoryFiles()
    replica = create(files, COPY_CONFIG)
    durable_end, crashed = 0, False
    crash_after(files, operations)
    try:
        for records, append_ms in chunks(leader, 0, 500):
            append_copied(replica, records, append_ms=append_ms)
            sync(replica)
            durable_end = replica.view.durable_end_offset
    except Crash:
        crashed = True
    files.before = None
    files.crash(random.Random(seed)) if seed else files.kill()
    replica = reopen(files, durable_end=durable_end, config=COPY_CONFIG)
    view = replica.view
    assert not view.damage
    assert view.durable_end_offset >= durable_end
    assert read_from(view, 0) == [b for b in stored if b.next_offset <= view.written_end_offset]
    copy(leader, replica)
    assert read_from(replica.view, 0) == stored
    assert replica.end_offset_for_epoch(3) == leader.end_offset_for_epoch(3)
    return crashed


# -- a log that starts inside of a batch ---------------------------------------------------


def trimmed_inside() -> tuple[PartitionLog, list[Stored], int]:
    """A log whose start lies in its third batch, of three records."""
    leader = create()
    stored = fill(leader, 8, leader_epoch=3)
    start = stored[2].base_offset + 1
    leader.trim(start)
    return leader, stored[2:], start


def empty_at(files: MemoryFiles, start: int) -> PartitionLog:
    return create_log_at(files, DIRECTORY, CONFIG, start_offset=start, now_ms=NOW_MS)


def test_a_replica_may_begin_inside_of_a_batch() -> None:
    leader, stored, start = trimmed_inside()
    files = MemoryFiles()
    replica = empty_at(files, start)
    copy(leader, replica)
    sync(replica)
    end = stored[-1].next_offset
    assert (replica.view.start_offset, replica.view.durable_end_offset) == (start, end)
    assert read_from(replica.view, start) == stored
    assert replica.view.epoch_at(start) == 3
    for durable_end in (None, start, end):
        files.kill()
        again = reopen(files, durable_end=durable_end)
        assert not again.view.damage
        assert read_from(again.view, start) == stored


@pytest.mark.parametrize("seed", range(8))
def test_once_synced_the_batch_that_holds_the_start_survives(seed: int) -> None:
    _, stored, start = trimmed_inside()
    files = MemoryFiles()
    replica = empty_at(files, start)
    append_copied(replica, stored[0].data, append_ms=NOW_MS)
    assert replica.view.durable_end_offset == start
    sync(replica)
    assert replica.view.durable_end_offset == stored[0].next_offset
    files.crash(random.Random(seed))
    again = reopen(files, durable_end=stored[0].next_offset)
    assert not again.view.damage
    assert read_from(again.view, start) == stored[:1]


def test_only_an_empty_log_begins_inside_of_a_batch() -> None:
    leader, stored, start = trimmed_inside()
    replica = empty_at(MemoryFiles(), start)
    copy(leader, replica)
    end = replica.view.written_end_offset
    with pytest.raises(CorruptBatchError):
        append_copied(replica, stamp(make_batch(3), end - 1, 3), append_ms=NOW_MS)
    assert read_from(replica.view, start) == stored


@pytest.mark.parametrize("seed", range(6))
def test_a_crash_while_beginning_inside_leaves_nothing_or_the_batch(seed: int) -> None:
    leader, stored, start = trimmed_inside()
    operations, crashed = 0, True
    while crashed:
        files = MemoryFiles()
        replica = empty_at(files, start)
        crash_after(files, operations)
        try:
            append_copied(replica, stored[0].data, append_ms=NOW_MS)
            sync(replica)
            crashed = False
        except Crash:
            pass
        files.before = None
        files.crash(random.Random(seed)) if seed else files.kill()
        replica = reopen(files, durable_end=None)
        view = replica.view
        assert not view.damage
        assert not replica.recovery.damage
        assert view.start_offset == start
        assert view.written_end_offset in (
            {start, stored[0].next_offset} if crashed else {stored[0].next_offset}
        )
        copy(leader, replica)
        assert read_from(replica.view, start) == stored
        operations += 1
    assert operations > 5


def test_on_a_full_disk_a_log_that_begins_inside_is_as_before_and_tried_again() -> None:
    leader, stored, start = trimmed_inside()
    files = MemoryFiles()
    replica = empty_at(files, start)
    append_copied_later: Callable[[], int] = lambda: append_copied(  # noqa: E731
        replica, stored[0].data, append_ms=NOW_MS
    )
    files.capacity = files.capacity - files.free_bytes() + 100
    with pytest.raises(StorageFullError):
        append_copied_later()
    assert replica.view.written_end_offset == start
    files.capacity = 1 << 40
    append_copied_later()
    copy(leader, replica)
    assert read_from(replica.view, start) == stored


# -- cutting and forgetting ----------------------------------------------------------------


def test_what_readers_of_a_cut_log_meet_is_no_damage_of_what_comes_after() -> None:
    replica = create()
    stored = fill(replica, 6)
    older = replica.view
    cut = stored[2].base_offset
    replica.truncate(cut)
    with pytest.raises(Exception, match=r"damaged|out of range"):
        older.read(stored[4].base_offset, bytes_max=100, limit_offset=older.written_end_offset)
    fresh = [Stored(at, at + 1, stamp(make_batch(fill=at), at, 2)) for at in range(cut, cut + 8)]
    append_copied(replica, b"".join(batch.data for batch in fresh), append_ms=NOW_MS)
    assert not replica.view.damage
    assert read_from(replica.view, cut) == fresh


def test_damage_below_the_cut_is_remembered() -> None:
    files = MemoryFiles()
    log = create(files)
    stored = fill(log, 4)
    data = content_of(files, path_of(0))
    file = files.open(path_of(0))
    file.pwrite([flip(data, 70)], 0)
    with pytest.raises(Exception, match="damaged"):
        log.view.read(0, bytes_max=100, limit_offset=stored[-1].next_offset)
    log.truncate(stored[2].base_offset)
    assert [damage.start_offset for damage in log.view.damage] == [0]


@pytest.mark.parametrize("seed", range(4))
def test_a_log_that_is_being_forgotten_is_whole_or_gone_and_never_damaged(seed: int) -> None:
    operations, crashed = 0, True
    outcomes = set()
    while crashed:
        files = MemoryFiles()
        directory, ledger, path = _data_directory(files)
        crash_after(files, operations)
        try:
            forget_partition(directory, ledger, KEY)
            crashed = False
        except Crash:
            pass
        files.before = None
        files.crash(random.Random(seed)) if seed else files.kill()
        durable_end = Ledger.open(files, "ledger").ends.get(KEY)
        if files.exists(path):
            view = PartitionLog.open(
                files, path, CONFIG, durable_end=durable_end, clean=False, now_ms=NOW_MS
            ).view
            assert view.written_end_offset == 9
            assert not view.damage
        else:
            assert durable_end is None, "an opening would take it for damaged"
        outcomes.add((files.exists(path), durable_end))
        operations += 1
    assert (False, None) in outcomes


def _data_directory(files: MemoryFiles) -> tuple[DataDirectory, Ledger, str]:
    ids = iter([b"c" * 16, b"d" * 16])
    directory = DataDirectory.open_or_create(
        files, node_id=1, cluster_id=None, new_ids=lambda: next(ids)
    )
    path = directory.partition_path(KEY)
    log = PartitionLog.create(files, path, CONFIG)
    fill(log, 5)
    ledger = Ledger.open(files, "ledger")
    ledger.append({KEY: log.view.durable_end_offset})
    ledger.sync()
    log.close(clean=False)
    return directory, ledger, path


def test_where_a_batch_begins() -> None:
    log = create()
    stored = fill(log, 6)
    for batch in stored:
        for offset in range(batch.base_offset, batch.next_offset):
            assert log.view.batch_border(offset) == batch.base_offset
    assert log.view.batch_border(99) == stored[-1].next_offset


def test_append_times_are_at_or_shortly_after_the_batch() -> None:
    log = create()
    stored = fill(log, 12)
    view = log.view
    times = [view.append_time_at(batch.base_offset) for batch in stored]
    assert times == sorted(times)
    assert all(NOW_MS + at <= time <= NOW_MS + 12 for at, time in enumerate(times))
    assert len(set(times)) > 3
    assert PartitionLog.create(MemoryFiles(), "empty", CONFIG).view.append_time_at(0) == -1


# --- copies of compacted logs --------------------------------------------------------------------


@pytest.mark.parametrize("end", range(1, 7))
def test_a_copy_may_end_inside_of_what_the_leader_compacted(end: int) -> None:
    files = MemoryFiles()
    puts: list[list[Put]] = [[(A, b"%d" % number)] for number in range(8)]
    leader = filled_log(puts, files)
    replica = create()
    for records, append_ms in chunks(leader, 0, 1):
        if replica.view.written_end_offset < end:
            append_copied(replica, records, append_ms=append_ms)
    clean_once(files, leader)
    copy(leader, replica)
    assert rows(replica.view)[-1] == (7, A, b"7")
    assert [row[0] for row in rows(replica.view)] == [*range(end), 7]
    assert replica.view.written_end_offset == leader.view.written_end_offset
