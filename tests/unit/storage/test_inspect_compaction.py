"""Offline verify and dump of a partition that is compacted, with a swap under way or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from logd.storage import PartitionLog, RealFiles
from logd.storage.cleaner import clean
from logd.storage.inspect import dump_file, verify_directory
from tests.unit.storage.compaction_kit import BATCHES, COMPACT, clean_once, plan_of, put, roll
from tests.unit.storage.kit import DIRECTORY


def made(files: RealFiles) -> PartitionLog:
    log = PartitionLog.create(files, DIRECTORY, COMPACT)
    for puts in BATCHES:
        put(log, *puts)
    roll(log)
    return log


def test_a_compacted_partition_verifies_and_says_how_far_it_is_clean(tmp_path: Path) -> None:
    files = RealFiles(tmp_path)
    log = made(files)
    clean_once(files, log)
    log.close(clean=True)
    (report,) = verify_directory(tmp_path / DIRECTORY).partitions
    assert (report.problems, report.start_offset, report.end_offset) == ([], 0, 7)
    (entry,) = dump_file(tmp_path / DIRECTORY / "cleaned")
    assert (entry.kind, entry.fields["first_dirty"]) == ("cleaned", 7)


def test_an_unfinished_swap_is_looked_at_as_the_next_start_will_leave_it(tmp_path: Path) -> None:
    files = RealFiles(tmp_path)
    log = made(files)
    plan = plan_of(log)
    assert plan is not None
    (cleaned,) = clean(files, plan).files
    log.close(clean=False)
    folder = tmp_path / DIRECTORY
    (folder / cleaned.name).rename(folder / f"{0:020d}-{7:020d}.swap")
    (report,) = verify_directory(folder).partitions
    assert (report.problems, report.start_offset, report.end_offset) == ([], 0, 7)
    assert "offsets 0 to 6: the next start finishes a cleaning" in report.notes
    min(folder.glob("*.log")).unlink()
    assert verify_directory(folder).ok, "the segments that it replaces may be gone already"


@pytest.mark.parametrize("name", ["cleaned"])
def test_damage_of_the_mark_is_said(tmp_path: Path, name: str) -> None:
    files = RealFiles(tmp_path)
    log = made(files)
    clean_once(files, log)
    path = tmp_path / DIRECTORY / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Exception, match="does not verify"):
        list(dump_file(path))
