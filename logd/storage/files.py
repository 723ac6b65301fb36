"""What storage needs of a file system, as two small protocols.

Paths are relative to the data directory and '/'-separated; '' is the directory itself. Errors are
`OSError` with the usual errno. The real adapter is `real_files.RealFiles`; `memory_files` holds
the twin that can tear, lose, fail and fill up. Both pass one contract test.

What we assume of a disk, and no more: a completed `sync` keeps the bytes and the length of that
file; a completed `sync_dir` keeps the names in that directory; `rename` is atomic. Whatever was
not synced may after a power loss be there, be missing, be there in part, or be garbage, write by
write and name by name, in any order.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """One name in a directory. `size` is in bytes, 0 for directories."""

    name: str
    is_dir: bool
    size: int


class File(Protocol):
    """An open file. Positioned reads and writes only, so that threads may share it."""

    def pread(self, size: int, position: int) -> bytes:
        """Read up to `size` bytes; fewer only at the end of the file."""
        ...

    def pwrite(self, buffers: Sequence[bytes | memoryview], position: int) -> int:
        """Write the buffers one behind the other; return the bytes written, which may be fewer."""
        ...

    def sync(self) -> None:
        """Make bytes and length durable (fdatasync). After an error the bytes are lost."""
        ...

    def truncate(self, size: int) -> None: ...

    def size(self) -> int: ...

    def allocate(self, size: int) -> None:
        """Grow the file to `size` bytes of zeros that later writes need no new space for."""
        ...

    def close(self) -> None: ...


class Lock(Protocol):
    """A held lock; ends with the process or with `release`."""

    def release(self) -> None: ...


class Files(Protocol):
    """A directory tree below one root."""

    def open(
        self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False
    ) -> File:
        """Open a file; `create` makes it where it is missing, `exclusive` insists on making it."""
        ...

    def list_dir(self, path: str) -> list[Entry]:
        """Return the entries sorted by name."""
        ...

    def make_dir(self, path: str) -> None:
        """Make one directory; FileExistsError if the name is taken."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Move a file or a directory; a target file is replaced atomically."""
        ...

    def unlink(self, path: str) -> None: ...

    def remove_dir(self, path: str) -> None:
        """Remove an empty directory."""
        ...

    def exists(self, path: str) -> bool: ...

    def size(self, path: str) -> int: ...

    def sync_dir(self, path: str) -> None:
        """Make the names in a directory durable."""
        ...

    def free_bytes(self) -> int:
        """Bytes that can still be written."""
        ...

    def lock(self, path: str) -> Lock:
        """Take an exclusive lock on a file; BlockingIOError if another process holds it."""
        ...


def parent_of(path: str) -> str:
    """Return the directory part of a path, '' for the root."""
    return path.rpartition("/")[0]


def join(directory: str, name: str) -> str:
    """Put a directory and a name together."""
    return f"{directory}/{name}" if directory else name


def read_all(files: Files, path: str) -> bytes:
    """Return the whole content of a small file."""
    file = files.open(path, read_only=True)
    try:
        return file.pread(file.size(), 0)
    finally:
        file.close()


def pwrite_all(file: File, data: bytes | memoryview, position: int) -> None:
    """Write all of `data`, going on after short writes."""
    view = memoryview(data)
    while view:
        written = file.pwrite([view], position)
        view = view[written:]
        position += written


def write_plain(files: Files, path: str, data: bytes) -> None:
    """Replace a file's content with nothing promised: for files that are checked when read."""
    file = files.open(path, create=True)
    try:
        file.truncate(0)
        pwrite_all(file, data, 0)
    finally:
        file.close()


def write_synced(files: Files, path: str, data: bytes) -> None:
    """Make `data` a file's content and sync it, not its name: for a name that does not count."""
    file = files.open(path, create=True)
    try:
        file.truncate(0)
        pwrite_all(file, data, 0)
        file.sync()
    finally:
        file.close()


def write_atomic(files: Files, path: str, data: bytes) -> None:
    """Replace a file durably: after a crash it holds the old content or the new, whole."""
    temporary = path + ".tmp"
    write_synced(files, temporary, data)
    files.rename(temporary, path)
    files.sync_dir(parent_of(path))


def remove_tree(files: Files, path: str) -> None:
    """Remove a directory with all it holds; a missing one is fine."""
    if not files.exists(path):
        return
    for entry in files.list_dir(path):
        child = join(path, entry.name)
        if entry.is_dir:
            remove_tree(files, child)
        else:
            files.unlink(child)
    files.remove_dir(path)


def is_no_space(error: OSError) -> bool:
    """Whether a write failed for want of space or quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
