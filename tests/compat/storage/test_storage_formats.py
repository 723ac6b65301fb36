"""The files of each released storage format: the same bytes are written, and old ones open."""

from __future__ import annotations

from pathlib import Path

import pytest
from logd_wire import decode_batch, iter_headers

from logd.storage import DataDirectory, Files, Ledger, MemoryFiles, PartitionLog, RealFiles
from logd.storage.files import parent_of, pwrite_all
from logd.storage.inspect import verify_directory
from tests.compat.storage import golden


def lay_out(files: Files) -> None:
    for path, data in golden.load().items():
        parts = parent_of(path).split("/")
        for count in range(1, len(parts) + 1):
            parent = "/".join(parts[:count])
            if parent and not files.exists(parent):
                files.make_dir(parent)
        file = files.open(path, create=True)
        pwrite_all(file, data, 0)
        file.close()


def test_the_same_bytes_are_written_today() -> None:
    files = MemoryFiles()
    golden.write_directory(files)
    written = {path: bytes.fromhex(data) for path, data in golden.contents(files).items()}
    released = golden.load()
    assert sorted(written) == sorted(released)
    for path, data in released.items():
        assert written[path] == data, path


@pytest.mark.parametrize("clean", [True, False])
def test_a_released_folder_opens(clean: bool) -> None:
    files = MemoryFiles()
    lay_out(files)
    directory = DataDirectory.open_or_create(
        files, node_id=5, cluster_id=golden.CLUSTER_ID, new_ids=lambda: bytes(16)
    )
    assert directory.was_clean
    assert directory.meta.directory_id == golden.DIRECTORY_ID
    assert list(directory.partitions()) == [golden.KEY]
    ledger = Ledger.open(files, "ledger")
    assert ledger.ends == {golden.KEY: golden.END_OFFSET}
    log = PartitionLog.open(
        files,
        directory.partition_path(golden.KEY),
        golden.CONFIG,
        durable_end=ledger.ends[golden.KEY],
        clean=clean,
        now_ms=60_000,
    )
    assert log.recovery.clean == clean
    assert log.recovery.rebuilt == ()
    view = log.view
    assert (view.start_offset, view.written_end_offset) == (
        golden.START_OFFSET,
        golden.END_OFFSET,
    )
    assert log.end_offset_for_epoch(3) == (3, 20)
    offsets = []
    offset = view.start_offset
    while offset < golden.END_OFFSET:
        read = view.read(offset, bytes_max=1, limit_offset=golden.END_OFFSET)
        for position, _ in iter_headers(read.records):
            offsets += [record.offset for record in decode_batch(read.records, position)]
        offset = read.next_offset
    assert offsets == list(range(golden.START_OFFSET - 1, golden.END_OFFSET))
    assert view.offset_for_time(9_001, golden.END_OFFSET) == (19, 9_001)
    assert log.producer_ids == 1


def test_a_released_folder_verifies_offline(tmp_path: Path) -> None:
    lay_out(RealFiles(tmp_path))
    report = verify_directory(tmp_path)
    assert report.ok
    assert report.partitions[0].end_offset == golden.END_OFFSET
