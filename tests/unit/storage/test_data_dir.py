"""Identity, lock, clean-stop marker, quarantine, deletion."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logd_wire.errors import ConfigError

from logd.storage import DataDirectory, MemoryFiles
from logd.storage.data_dir import QUARANTINE_MS, parse_partition_name, partition_name
from logd.storage.files import write_plain
from tests.unit.storage.kit import content_of, overwrite

CLUSTER = b"c" * 16
KEY, OTHER = (b"\x01" * 16, 3), (b"\x02" * 16, 0)


def ids() -> Callable[[], bytes]:
    rng = random.Random(7)
    return lambda: rng.randbytes(16)


def start(
    files: MemoryFiles, *, node_id: int = 1, cluster_id: bytes | None = None
) -> DataDirectory:
    return DataDirectory.open_or_create(
        files, node_id=node_id, cluster_id=cluster_id, new_ids=ids()
    )


def test_a_new_directory_gets_an_identity_that_stays() -> None:
    files = MemoryFiles()
    directory = start(files, cluster_id=CLUSTER)
    assert directory.is_new and not directory.was_clean
    assert directory.meta.cluster_id == CLUSTER
    directory.close(clean=True)
    again = start(files)
    assert not again.is_new
    assert again.meta == directory.meta
    document = json.loads(content_of(files, "meta.json"))
    assert document["format_version"] == 1


def test_two_processes_cannot_share_it_and_a_stale_lock_is_taken_over() -> None:
    files = MemoryFiles()
    start(files)
    with pytest.raises(ConfigError, match="in use by another process"):
        start(files)
    files.kill()
    start(files)


@pytest.mark.parametrize(
    ("node_id", "cluster_id", "words"),
    [(2, None, "belongs to node 1"), (1, b"d" * 16, "belongs to cluster")],
)
def test_a_foreign_directory_is_refused(node_id: int, cluster_id: bytes | None, words: str) -> None:
    files = MemoryFiles()
    start(files, cluster_id=CLUSTER).close(clean=True)
    with pytest.raises(ConfigError, match=words):
        start(files, node_id=node_id, cluster_id=cluster_id)
    start(files).close(clean=True)


def test_a_newer_format_and_a_damaged_meta_are_refused() -> None:
    files = MemoryFiles()
    start(files).close(clean=True)
    good = content_of(files, "meta.json")
    overwrite(files, "meta.json", good.replace(b'"format_version": 1', b'"format_version": 2'))
    with pytest.raises(ConfigError, match="format version 2"):
        start(files)
    for bad in (b"", b"{", b"[]", b"null", good.replace(b'"node_id": 1', b'"node_id": "x"')):
        overwrite(files, "meta.json", bad)
        with pytest.raises(ConfigError, match="cannot be read"):
            start(files)


def test_data_without_meta_is_refused() -> None:
    files = MemoryFiles()
    directory = start(files)
    files.make_dir(directory.partition_path(KEY))
    directory.close(clean=False)
    files.unlink("meta.json")
    with pytest.raises(ConfigError, match=r"no meta\.json"):
        start(files)


def test_the_marker_tells_of_the_last_stop_only() -> None:
    files = MemoryFiles()
    start(files).close(clean=True)
    files.crash(random.Random(0))
    assert start(files).was_clean, "it was synced"
    for seed in range(20):
        files.crash(random.Random(seed))
        assert not start(files).was_clean, "its removal was synced before anything was written"


def test_the_marker_is_never_written_after_an_error() -> None:
    files = MemoryFiles()
    directory = start(files)
    directory.mark_failed()
    directory.close(clean=True)
    assert not start(files).was_clean


def test_a_foreign_marker_is_not_believed() -> None:
    files = MemoryFiles()
    start(files).close(clean=False)
    overwrite(files, "clean-stop", b"00" * 16 + b" 00000000\n")
    assert not start(files).was_clean


@given(seed=st.integers(0, 2**32), operations=st.integers(0, 40))
def test_a_crash_at_any_operation_of_the_first_start_is_recovered(
    seed: int, operations: int
) -> None:
    class Crash(BaseException):
        pass

    rng = random.Random(seed)
    files = MemoryFiles()
    left = operations

    def before(operation: str, path: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Crash

    files.before = before
    with contextlib.suppress(Crash):
        start(files, cluster_id=CLUSTER).close(clean=True)
    files.before = None
    files.crash(rng)
    directory = start(files, cluster_id=CLUSTER)
    assert directory.meta.node_id == 1
    assert directory.partitions() == {}


def test_unknown_partitions_go_to_quarantine_for_a_day() -> None:
    files = MemoryFiles()
    directory = start(files)
    for key in (KEY, OTHER):
        files.make_dir(directory.partition_path(key))
        write_plain(files, directory.partition_path(key) + "/data", b"precious")
    files.make_dir("partitions/what-is-this")
    moved = directory.quarantine_unknown({KEY}, 1_000)
    assert moved == [partition_name(OTHER), "what-is-this"]
    assert list(directory.partitions()) == [KEY]
    assert directory.purge_quarantine(1_000 + QUARANTINE_MS) == []
    assert content_of(files, f"quarantine/1000-{partition_name(OTHER)}/data") == b"precious"
    assert len(directory.purge_quarantine(1_001 + QUARANTINE_MS)) == 2
    assert files.list_dir("quarantine") == []


def test_a_started_deletion_is_finished_by_the_next_start() -> None:
    files = MemoryFiles()
    directory = start(files)
    files.make_dir(directory.partition_path(KEY))
    write_plain(files, directory.partition_path(KEY) + "/data", b"x")
    files.rename(directory.partition_path(KEY), directory.partition_path(KEY) + "-delete")
    files.kill()
    directory = start(files)
    assert files.list_dir("partitions") == []
    directory.delete_partition(KEY)
    files.make_dir(directory.partition_path(KEY))
    directory.delete_partition(KEY)
    assert directory.partitions() == {}


@pytest.mark.parametrize(
    "name", ["", "x", "0" * 32, "0" * 32 + "-", "0" * 31 + "-1", "0" * 32 + "-01", "G" * 32 + "-1"]
)
def test_other_names_are_not_partitions(name: str) -> None:
    assert parse_partition_name(name) is None


def test_partition_names_round_trip() -> None:
    assert parse_partition_name(partition_name(KEY)) == KEY
