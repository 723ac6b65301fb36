"""One contract for the real files and for their twin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from logd.storage import Entry, Files, MemoryFiles, RealFiles
from logd.storage.files import remove_tree, write_atomic, write_plain
from tests.unit.storage.kit import content_of


@pytest.fixture(params=["memory", "real"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    if request.param == "memory":
        yield MemoryFiles()
    else:
        real = RealFiles(tmp_path / "root")
        yield real
        real.close()


def test_positioned_reads_and_writes(files: Files) -> None:
    file = files.open("a", create=True)
    assert file.pwrite([b"hello ", memoryview(b"world")], 0) == 11
    assert file.pread(5, 6) == b"world"
    assert file.pread(100, 6) == b"world"
    assert file.pread(5, 11) == b""
    assert file.pwrite([b"!"], 20) == 1
    assert file.pread(100, 0) == b"hello world" + bytes(9) + b"!"
    assert file.size() == files.size("a") == 21
    file.truncate(5)
    assert file.pread(100, 0) == b"hello"
    file.allocate(10)
    assert file.pread(100, 0) == b"hello" + bytes(5)
    file.allocate(3)
    assert file.size() == 10
    file.sync()
    file.close()
    file.close()


def test_open_modes(files: Files) -> None:
    with pytest.raises(FileNotFoundError):
        files.open("a")
    with pytest.raises(FileNotFoundError):
        files.open("a", read_only=True)
    files.open("a", exclusive=True).close()
    with pytest.raises(FileExistsError):
        files.open("a", exclusive=True)
    files.open("a", create=True).close()
    reader = files.open("a", read_only=True)
    with pytest.raises(OSError):
        reader.pwrite([b"x"], 0)
    reader.close()
    with pytest.raises(OSError):
        reader.pread(1, 0)


def test_directories_and_listing(files: Files) -> None:
    files.make_dir("d")
    with pytest.raises(FileExistsError):
        files.make_dir("d")
    write_plain(files, "d/b", b"123")
    write_plain(files, "d/a", b"")
    files.make_dir("d/c")
    assert files.list_dir("d") == [
        Entry("a", False, 0),
        Entry("b", False, 3),
        Entry("c", True, 0),
    ]
    assert files.list_dir("") == [Entry("d", True, 0)]
    with pytest.raises(FileNotFoundError):
        files.list_dir("nothing")
    with pytest.raises(OSError):
        files.remove_dir("d")
    files.sync_dir("d")
    files.sync_dir("")
    remove_tree(files, "d")
    remove_tree(files, "d")
    assert not files.exists("d")


def test_rename_replaces_and_moves(files: Files) -> None:
    files.make_dir("d")
    write_plain(files, "d/a", b"new")
    write_plain(files, "d/b", b"old")
    files.rename("d/a", "d/b")
    assert not files.exists("d/a")
    assert content_of(files, "d/b") == b"new"
    files.make_dir("e")
    files.rename("d", "e/d")
    assert content_of(files, "e/d/b") == b"new"
    with pytest.raises(FileNotFoundError):
        files.rename("d", "f")
    files.unlink("e/d/b")
    with pytest.raises(FileNotFoundError):
        files.unlink("e/d/b")


def test_an_open_file_outlives_its_name(files: Files) -> None:
    write_plain(files, "a", b"kept")
    file = files.open("a", read_only=True)
    files.rename("a", "b")
    files.unlink("b")
    assert file.pread(10, 0) == b"kept"
    file.close()


def test_write_atomic_replaces_content(files: Files) -> None:
    write_atomic(files, "a", b"one, and longer")
    write_atomic(files, "a", b"two")
    assert content_of(files, "a") == b"two"
    assert [entry.name for entry in files.list_dir("")] == ["a"]


@pytest.mark.parametrize("path", ["../a", "a/../b", ".", "..", "a//b", "/etc/passwd", ""])
def test_no_path_leaves_the_root(files: Files, path: str) -> None:
    files.make_dir("a")
    with pytest.raises(OSError):
        files.open(path, create=True)
    with pytest.raises(OSError):
        files.rename("a", path)


def test_lock_is_exclusive_until_released(files: Files) -> None:
    held = files.lock("lock")
    with pytest.raises(BlockingIOError):
        files.lock("lock")
    held.release()
    files.lock("lock").release()


def test_free_bytes(files: Files) -> None:
    assert files.free_bytes() > 0


def test_real_files_refuse_symbolic_links(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    files = RealFiles(tmp_path / "root")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "file").symlink_to(tmp_path / "outside" / "secret")
    for path in ("link/secret", "file"):
        with pytest.raises(OSError):
            files.open(path)


def test_real_files_are_private(tmp_path: Path) -> None:
    files = RealFiles(tmp_path / "root")
    files.make_dir("d")
    write_plain(files, "d/a", b"x")
    assert (tmp_path / "root").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "root" / "d").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "root" / "d" / "a").stat().st_mode & 0o777 == 0o600
