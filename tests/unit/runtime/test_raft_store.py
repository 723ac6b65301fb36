"""The raft store: what is durable after a save, after any crash in it, and on a full disk."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Sequence

import pytest
from crc32c import crc32c
from logd_wire.errors import ConfigError, StorageFailedError, StorageFullError

from logd.consensus.log_types import (
    Entry,
    HardState,
    Identity,
    LogPoint,
    SnapshotMeta,
    Voter,
    Voters,
)
from logd.model.ids import ClusterId, DirectoryId, LogIndex, NodeId, Term
from logd.runtime.raft_store import Found, RaftStore
from logd.runtime.snapshots import Snapshot, encode_snapshot
from logd.storage import DataDirectory, MemoryFiles

IDENTITY = Identity(ClusterId(b"c" * 16), NodeId(1), DirectoryId(b"d" * 16))
VOTERS: Voters = (Voter(NodeId(1), DirectoryId(b"d" * 16), "one:1"),)


class _Crash(BaseException):
    """The process ends here."""


def state(term: int, vote: int = -1) -> HardState:
    return HardState(Term(term), NodeId(vote), IDENTITY, founder=True)


def entry(index: int, term: int, *payloads: bytes) -> Entry:
    return Entry(LogIndex(index), Term(term), payloads or (b"%d/%d" % (index, term),))


def run_of(first: int, end: int, term: int) -> list[Entry]:
    return [entry(index, term) for index in range(first, end)]


def snapshot(index: int, term: int) -> Snapshot:
    meta = SnapshotMeta(LogPoint(Term(term), LogIndex(index)), VOTERS)
    return Snapshot(meta, b"state at %d" % index * 50)


def voters_of(payloads: Sequence[bytes]) -> Voters | None:
    return VOTERS if payloads == (b"voters",) else None


def new_files() -> MemoryFiles:
    files = MemoryFiles()
    ids = iter([b"c" * 16, b"d" * 16])
    DataDirectory.open_or_create(
        files, node_id=1, cluster_id=None, new_ids=lambda: next(ids)
    ).close(clean=False)
    return files


def open_store(files: MemoryFiles, *, clean: bool = False) -> tuple[RaftStore, Found]:
    return RaftStore.open(files, clean=clean, now_ms=0, voters_of=voters_of)


def take_snapshot(store: RaftStore, taken: Snapshot) -> None:
    store.compact(store.snapshots.write(taken), taken.meta.point, 0)


def receive(store: RaftStore, taken: Snapshot, part_bytes: int = 300) -> None:
    data = encode_snapshot(taken)
    position = 0
    while position < len(data):
        part = data[position : position + part_bytes]
        position = store.snapshots.receive(taken.meta.point, position, part)
    assert store.snapshots.finish_received(taken.meta) == taken


def reopen(files: MemoryFiles) -> Found:
    files.kill()
    return open_store(files)[1]


def test_what_was_saved_is_there_after_a_power_loss() -> None:
    files = new_files()
    store, found = open_store(files)
    assert (found.hard_state, found.snapshot, found.entries) == (None, None, ())
    entries = [entry(0, 1, b"a", b"b"), entry(2, 1, b"voters"), entry(3, 2)]
    store.save(state(2, 1), entries[:2], 0)
    store.save(None, entries[2:], 0)
    files.crash(random.Random(1))
    found = open_store(files)[1]
    assert found.hard_state == state(2, 1)
    assert [each.voters for each in found.entries] == [None, VOTERS, None]
    assert [(each.index, each.term, each.payloads) for each in found.entries] == [
        (each.index, each.term, each.payloads) for each in entries
    ]


def test_a_clean_stop_reads_nothing_twice() -> None:
    files = new_files()
    store, _ = open_store(files)
    store.save(state(1), run_of(0, 5, 1), 0)
    store.close(clean=True)
    files.kill()
    assert open_store(files, clean=True)[1].entries == tuple(run_of(0, 5, 1))


def test_a_conflicting_tail_is_cut() -> None:
    files = new_files()
    store, _ = open_store(files)
    store.save(state(1), run_of(0, 6, 1), 0)
    store.save(state(3), [*run_of(4, 5, 2), *run_of(5, 6, 3)], 0)
    assert reopen(files).entries == (*run_of(0, 4, 1), *run_of(4, 5, 2), *run_of(5, 6, 3))


def test_a_shorter_log_takes_the_place_of_a_longer_one() -> None:
    files = new_files()
    store, _ = open_store(files)
    store.save(state(2), [*run_of(0, 2, 1), *run_of(2, 9, 2)], 0)
    store.save(state(5), [entry(2, 1)], 0)
    assert reopen(files).entries == tuple(run_of(0, 3, 1))


def test_an_entry_of_an_earlier_term_takes_the_place_of_one_that_was_never_written() -> None:
    """Term 5 has begun in the log, its only batch found the disk full."""
    files = new_files()
    store, _ = open_store(files)
    store.save(state(1), run_of(0, 2, 1), 0)
    files.unlink("raft/reserve")
    files.write_limit = lambda path, size: 0 if path.endswith(".log") else size
    with pytest.raises(StorageFullError):
        store.save(state(5), [entry(2, 5)], 0)
    files.write_limit = None
    store.save(state(6), [entry(2, 4)], 0)
    assert reopen(files).entries == (*run_of(0, 2, 1), entry(2, 4))


def test_snapshots_trim_the_log_below_the_one_before() -> None:
    files = new_files()
    store, _ = open_store(files)
    store.save(state(1), run_of(0, 10, 1), 0)
    take_snapshot(store, snapshot(4, 1))
    take_snapshot(store, snapshot(7, 1))
    found = reopen(files)
    assert found.snapshot == snapshot(7, 1)
    assert found.entries == tuple(run_of(7, 10, 1))
    store, _ = open_store(files)
    take_snapshot(store, snapshot(9, 1))
    assert store.snapshots.points == [(1, 7), (1, 9)]


def test_old_snapshots_go_in_two_steps() -> None:
    files = new_files()
    store, _ = open_store(files)
    store.save(state(1), run_of(0, 10, 1), 0)
    for index in (2, 4, 6):
        take_snapshot(store, snapshot(index, 1))
    first = snapshot(2, 1)
    assert store.snapshots.size_of(first.meta.point) == len(encode_snapshot(first))
    assert store.snapshots.read_part(first.meta.point, 0, 8) == b"logd-snp"
    take_snapshot(store, snapshot(8, 1))
    with pytest.raises(FileNotFoundError):
        store.snapshots.size_of(first.meta.point)
    names = [each.name for each in files.list_dir("raft") if each.name.endswith(".deleted")]
    assert len(names) == 1
    reopen(files)
    assert not any(each.name.endswith(".deleted") for each in files.list_dir("raft"))


def damage(files: MemoryFiles, index: int, term: int) -> None:
    file = files.open(f"raft/snapshot-{index:020}-{term}")
    file.pwrite([b"X"], 60)
    file.sync()
    file.close()


def test_a_damaged_snapshot_falls_back_to_the_one_before_and_the_log() -> None:
    files = new_files()
    store, _ = open_store(files)
    store.save(state(1), run_of(0, 10, 1), 0)
    take_snapshot(store, snapshot(4, 1))
    take_snapshot(store, snapshot(7, 1))
    damage(files, 7, 1)
    found = reopen(files)
    assert found.snapshot == snapshot(4, 1)
    assert found.entries == tuple(run_of(4, 10, 1))
    assert reopen(files).snapshot == snapshot(4, 1), "the damaged one was set aside"


def test_without_a_snapshot_that_can_be_read_the_node_refuses() -> None:
    files = new_files()
    store, _ = open_store(files)
    store.save(state(1), run_of(0, 10, 1), 0)
    take_snapshot(store, snapshot(4, 1))
    damage(files, 4, 1)
    assert reopen(files).entries == tuple(run_of(0, 10, 1)), "all of the log is still there"
    store, _ = open_store(files)
    take_snapshot(store, snapshot(5, 1))
    take_snapshot(store, snapshot(7, 1))
    damage(files, 5, 1)
    damage(files, 7, 1)
    with pytest.raises(StorageFailedError, match="begins at 5"):
        reopen(files)


def test_a_newer_snapshot_format_is_refused() -> None:
    files = new_files()
    store, _ = open_store(files)
    store.save(state(1), run_of(0, 10, 1), 0)
    data = bytearray(encode_snapshot(snapshot(4, 1))[:-4])
    data[9] = 2
    from_a_newer = bytes(data)
    with pytest.raises(ConfigError, match="format version 2"):
        _put_with_checksum(files, store, from_a_newer)


def _put_with_checksum(files: MemoryFiles, store: RaftStore, body: bytes) -> None:
    name = store.snapshots.write(snapshot(4, 1))
    file = files.open(f"raft/{name}")
    file.pwrite([body + crc32c(body).to_bytes(4, "big")], 0)
    file.sync()
    file.close()
    store.compact(name, snapshot(4, 1).meta.point, 0)
    reopen(files)


def test_a_snapshot_of_the_leader_replaces_the_log() -> None:
    files = new_files()
    store, _ = open_store(files)
    store.save(state(1), run_of(0, 10, 1), 0)
    receive(store, snapshot(50, 3))
    store.save(state(3), run_of(50, 52, 3), 0, install=snapshot(50, 3).meta)
    found = reopen(files)
    assert (found.snapshot, found.entries) == (snapshot(50, 3), tuple(run_of(50, 52, 3)))


def test_a_received_snapshot_replaces_a_longer_log_that_differs() -> None:
    files = new_files()
    store, _ = open_store(files)
    store.save(state(1), run_of(0, 80, 1), 0)
    receive(store, snapshot(50, 3))
    store.save(state(3), (), 0, install=snapshot(50, 3).meta)
    found = reopen(files)
    assert (found.snapshot, found.entries) == (snapshot(50, 3), ())


def test_a_transfer_goes_on_where_it_broke_off() -> None:
    store, _ = open_store(new_files())
    taken = snapshot(50, 3)
    data, point = encode_snapshot(taken), taken.meta.point
    assert store.snapshots.receive(point, 100, data[100:200]) == 0, "the beginning is missing"
    assert store.snapshots.receive(point, 0, data[:100]) == 100
    assert store.snapshots.receive(point, 0, data[:100]) == 100, "again"
    assert store.snapshots.receive(point, 100, data[100:]) == len(data)
    assert store.snapshots.finish_received(taken.meta) == taken


def test_what_was_received_must_be_what_was_said() -> None:
    store, _ = open_store(new_files())
    taken, said = snapshot(50, 3), snapshot(50, 3).meta
    data = bytearray(encode_snapshot(taken))
    data[70] ^= 1
    store.snapshots.receive(said.point, 0, bytes(data))
    with pytest.raises(StorageFailedError):
        store.snapshots.finish_received(said)
    assert store.snapshots.receive(said.point, 0, b"") == 0, "nothing of it is kept"


def test_a_record_of_a_newer_version_is_not_called_damage() -> None:
    files = new_files()
    store, _ = open_store(files)
    store.save(state(1), run_of(0, 3, 1), 0)
    files.kill()

    def newer(_payloads: Sequence[bytes]) -> Voters | None:
        raise ConfigError("a record of a newer version")

    with pytest.raises(ConfigError, match="newer version"):
        RaftStore.open(files, clean=False, now_ms=0, voters_of=newer)


def test_a_lost_log_is_not_taken_for_an_empty_one() -> None:
    files = new_files()
    store, _ = open_store(files)
    store.save(state(1), run_of(0, 10, 1), 0)
    files.rename("raft/log", "elsewhere")
    with pytest.raises(StorageFailedError, match="missing"):
        reopen(files)


def test_a_full_disk_takes_the_reserve_and_then_waits() -> None:
    files = new_files()
    store, _ = open_store(files)
    files.capacity -= files.free_bytes()
    saved = []
    with pytest.raises(StorageFullError):
        for index in range(10_000):
            store.save(None, [entry(index, 1, b"x" * 10_000)], 0)
            saved.append(entry(index, 1, b"x" * 10_000))
    assert len(saved) > 50, "the reserve held"
    files.capacity = 1 << 40
    last = entry(len(saved), 1, b"x" * 10_000)
    store.save(None, [last], 0)
    assert reopen(files).entries == (*saved, last)


def test_an_error_of_the_disk_is_not_tried_again() -> None:
    files = new_files()
    store, _ = open_store(files)
    files.sync_fails = lambda path: path.endswith(".log")
    with pytest.raises(OSError) as caught:
        store.save(state(1), run_of(0, 2, 1), 0)
    assert caught.value.errno == errno.EIO


# --- every crash ---------------------------------------------------------------------------------

Step = Callable[[RaftStore], None]


def _conflict(store: RaftStore) -> None:
    store.save(state(3), run_of(5, 9, 3), 0)


def _append(store: RaftStore) -> None:
    store.save(state(2), run_of(8, 12, 2), 0)


def _compact(store: RaftStore) -> None:
    take_snapshot(store, snapshot(6, 1))


def _install(store: RaftStore) -> None:
    receive(store, snapshot(40, 3))
    store.save(state(3), run_of(40, 42, 3), 0, install=snapshot(40, 3).meta)


def _install_below(store: RaftStore) -> None:
    receive(store, snapshot(6, 2))
    store.save(state(3), run_of(6, 7, 3), 0, install=snapshot(6, 2).meta)


BEFORE = tuple(run_of(0, 8, 1))


def _fits(found: Found, step: Step) -> bool:
    """Whether this is the state before the step, after it, or one in between."""
    entries = found.entries
    if step is _append:
        whole = (*BEFORE, *run_of(8, 12, 2))
        return entries == whole[: len(entries)] and len(entries) >= len(BEFORE)
    if step is _conflict:
        after = (*BEFORE[:5], *run_of(5, 9, 3))
        kept = len(entries) >= 5
        return kept and entries in (BEFORE[: len(entries)], after[: len(entries)])
    if step is _compact:
        index = found.snapshot.meta.point.index if found.snapshot is not None else 0
        return index in {3, 6} and entries == BEFORE[index:]
    newest = 40 if step is _install else 6
    assert found.snapshot is not None
    if found.snapshot.meta.point.index == newest and found.snapshot.meta.point.term > 1:
        after = tuple(run_of(newest, newest + 2, 3))
        return entries == after[: len(entries)]
    return entries == BEFORE[3:] or (step is _install_below and entries == BEFORE[3:])


def _prepared() -> tuple[MemoryFiles, RaftStore]:
    files = new_files()
    store, _ = open_store(files)
    store.save(state(1), BEFORE, 0)
    return files, store


@pytest.mark.parametrize("power_loss", [False, True])
@pytest.mark.parametrize("step", [_append, _conflict, _compact, _install, _install_below])
def test_every_crash_leaves_the_old_or_the_new(step: Step, power_loss: bool) -> None:
    """At every file operation of the step, then again at every one of the opening after it."""
    count = 0
    while _crash_in(step, count, power_loss=power_loss):
        count += 1
    assert count > 3


def _crash_in(step: Step, at: int, *, power_loss: bool) -> bool:
    """Crash at operation `at` of the step; False: it has fewer."""
    files, store = _prepared()
    if step not in (_append, _conflict):
        take_snapshot(store, snapshot(3, 1))
    if not _crashes(files, at, lambda: step(store)):
        found = reopen(files)
        assert _fits(found, step)
        assert len(found.entries) and found.hard_state is not None
        return False
    rng = random.Random(at)
    _end(files, rng, power_loss=power_loss)
    for again in range(0, 60, 7):
        if not _crashes(files, again, lambda: open_store(files)):
            break
        _end(files, rng, power_loss=power_loss)
    files.kill()
    store, found = open_store(files)
    assert _fits(found, step), (at, found)
    if step not in (_compact,):
        step(store)
        assert _fits(reopen(files), step)
    return True


def _crashes(files: MemoryFiles, at: int, work: Callable[[], object]) -> bool:
    seen = 0

    def before(_operation: str, _path: str) -> None:
        nonlocal seen
        if seen == at:
            raise _Crash
        seen += 1

    files.before = before
    try:
        work()
        return False
    except _Crash:
        return True
    finally:
        files.before = None


def _end(files: MemoryFiles, rng: random.Random, *, power_loss: bool) -> None:
    if power_loss:
        files.crash(rng)
    else:
        files.kill()
