"""Offline dump and verify: on real files, without changing a byte."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from logd_wire.errors import ConfigError

from logd.storage import DataDirectory, Ledger, PartitionLog, RealFiles
from logd.storage.inspect import dump_file, verify_directory
from tests.unit.storage.kit import CONFIG, append, fill, flip, make_batch, sync

KEY = (b"\x07" * 16, 2)
NAME = KEY[0].hex() + "-2"


def made(root: Path, *, clean: bool = True) -> tuple[int, Path]:
    """A data directory with one partition of several segments; returns its end and its path."""
    files = RealFiles(root)
    rng = random.Random(1)
    directory = DataDirectory.open_or_create(
        files, node_id=1, cluster_id=None, new_ids=lambda: rng.randbytes(16)
    )
    log = PartitionLog.create(files, directory.partition_path(KEY), CONFIG)
    end = fill(log, 50, leader_epoch=4)[-1].next_offset
    append(log, make_batch(producer=(9, 0, 5)), leader_epoch=4)
    sync(log)
    log.close(clean=clean)
    ledger = Ledger.open(files, "ledger")
    ledger.append({KEY: end + 1})
    ledger.sync()
    directory.close(clean=clean)
    return end + 1, root / "partitions" / NAME


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("clean", [True, False])
def test_a_sound_directory_verifies_and_is_left_alone(tmp_path: Path, clean: bool) -> None:
    end, partition = made(tmp_path, clean=clean)
    before = snapshot(tmp_path)
    for path in (tmp_path, partition):
        report = verify_directory(path)
        assert report.ok, report
        (found,) = report.partitions
        assert (found.start_offset, found.end_offset) == (0, end)
        assert found.durable_end_offset == end
        assert (found.batches, found.segments) == (51, len(list(partition.glob("*.log"))))
        assert found.notes == []
    assert snapshot(tmp_path) == before


def test_damage_is_named_with_offsets_and_place(tmp_path: Path) -> None:
    _, partition = made(tmp_path)
    target = min(partition.glob("*.log"))
    target.write_bytes(flip(target.read_bytes(), 70))
    report = verify_directory(tmp_path)
    assert not report.ok
    assert report.partitions[0].problems == [
        "offsets 0 to 0: damaged bytes (segment 00000000000000000000, byte 0)"
    ]
    entries = list(dump_file(target, verify=True))
    assert entries[0].kind == "damage"
    assert entries[1].kind == "batch" and entries[1].fields["base_offset"] == 1


def test_missing_files_and_a_short_log_are_problems(tmp_path: Path) -> None:
    _, partition = made(tmp_path)
    first, *_, last = sorted(partition.glob("*.log"))
    first.unlink()
    last.unlink()
    (partition / "leader-epochs").unlink()
    (partition / "log-start").write_bytes(b"")
    problems = " / ".join(verify_directory(partition).partitions[0].problems)
    for words in ("log-start is missing", "leader-epochs is missing", "the segment ends too early"):
        assert words in problems


def test_batches_that_were_not_sealed_here_are_found(tmp_path: Path) -> None:
    _, partition = made(tmp_path / "one")
    files = RealFiles(tmp_path / "two")
    log = PartitionLog.create(files, NAME, CONFIG)
    for number in range(30):
        append(
            log,
            make_batch(1 + number % 3, fill=number + 9, timestamp=1000 * number),
            leader_epoch=4,
        )
    sync(log)
    log.close(clean=True)
    first = min(partition.glob("*.log"))
    first.write_bytes((tmp_path / "two" / NAME / first.name).read_bytes())
    report = verify_directory(partition)
    assert "other batches than were sealed" in report.partitions[0].problems[0]


def test_a_torn_tail_is_a_note(tmp_path: Path) -> None:
    end, partition = made(tmp_path, clean=False)
    last = max(partition.glob("*.log"))
    last.write_bytes(last.read_bytes() + b"\0" * 100)
    report = verify_directory(tmp_path)
    assert report.ok
    assert report.partitions[0].end_offset == end
    assert "100 bytes beyond the ledger" in report.partitions[0].notes[0]


def test_every_kind_of_file_can_be_shown(tmp_path: Path) -> None:
    end, partition = made(tmp_path)
    kinds = {}
    for path in [*sorted(partition.iterdir()), tmp_path / "ledger"]:
        if path.name != "log-start":
            kinds[path.suffix or path.name] = [entry.kind for entry in dump_file(path)]
    assert set(kinds[".log"]) == {"batch"}
    assert set(kinds[".digest"]) == {"digest"}
    assert kinds["leader-epochs"] == ["epoch"]
    assert kinds["ledger"] == ["ledger"]
    assert kinds[".producers"] == ["producer"]
    first_index = list(dump_file(min(partition.glob("*.index"))))
    first_times = list(dump_file(min(partition.glob("*.timeindex"))))
    assert [e.fields["offset"] for e in first_index] == [e.fields["offset"] for e in first_times]
    (line,) = dump_file(tmp_path / "ledger")
    assert line.fields == {"partition": NAME, "durable_end_offset": end}


def test_headers_are_shown_up_to_the_first_that_is_none(tmp_path: Path) -> None:
    _, partition = made(tmp_path)
    target = min(partition.glob("*.log"))
    whole = [entry.kind for entry in dump_file(target)]
    target.write_bytes(target.read_bytes()[:-1])
    assert [entry.kind for entry in dump_file(target)] == [*whole[:-1], "damage"]


def test_what_is_not_ours_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no partition logs"):
        verify_directory(tmp_path)
    with pytest.raises(ConfigError, match="is not a directory"):
        verify_directory(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="is not a file"):
        dump_file(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match="not a file that can be shown"):
        dump_file(tmp_path / "notes.txt")
    (tmp_path / f"{0:020d}.index").write_bytes(b"garbage")
    with pytest.raises(ConfigError, match="is damaged"):
        dump_file(tmp_path / f"{0:020d}.index")
