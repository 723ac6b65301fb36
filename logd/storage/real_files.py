"""Files on a real file system (Linux)."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from logd.storage.files import Entry, parent_of

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


#: Told of every completed sync of a file, on whatever thread it ran: path, duration in ns.
Synced = Callable[[str, int], None]


class RealFile:
    """An open file descriptor; closed at the latest when the object goes."""

    __slots__ = ("_fd", "_path", "_synced")

    def __init__(self, fd: int, path: str, synced: Synced | None) -> None:
        self._fd = fd
        self._path = path
        self._synced = synced

    def pread(self, size: int, position: int) -> bytes:
        data = os.pread(self._fd, size, position)
        if len(data) == size or not data:
            return data
        parts = [data]
        read = len(data)
        while read < size and (data := os.pread(self._fd, size - read, position + read)):
            parts.append(data)
            read += len(data)
        return b"".join(parts)

    def pwrite(self, buffers: Sequence[bytes | memoryview], position: int) -> int:
        return os.pwritev(self._fd, buffers, position)

    def sync(self) -> None:
        begun_ns = time.monotonic_ns()
        os.fdatasync(self._fd)
        if self._synced is not None:
            self._synced(self._path, time.monotonic_ns() - begun_ns)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def allocate(self, size: int) -> None:
        os.posix_fallocate(self._fd, 0, size)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class RealLock:
    """An flock on an open file."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.release()


class RealFiles:
    """The tree below `root`, which is made (0700) where it is missing.

    No path leaves the root: components are opened one by one and symbolic links are refused.
    """

    def __init__(self, root: str | os.PathLike[str], *, synced: Synced | None = None) -> None:
        self._synced = synced
        Path(root).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        root, self._root = self._root, -1
        if root >= 0:
            os.close(root)

    def __del__(self) -> None:
        if hasattr(self, "_root"):
            self.close()

    def _open_dir(self, path: str) -> int:
        """Return a new descriptor of a directory below the root."""
        fd = os.dup(self._root)
        for component in path.split("/") if path else ():
            try:
                if component in ("", ".", ".."):
                    raise OSError(errno.EINVAL, "not a path below the data directory", path)
                below = os.open(component, _DIRECTORY_FLAGS, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        return fd

    def _split(self, path: str) -> tuple[int, str]:
        name = path.rpartition("/")[2]
        if name in ("", ".", ".."):
            raise OSError(errno.EINVAL, "not a path below the data directory", path)
        return self._open_dir(parent_of(path)), name

    def open(
        self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False
    ) -> RealFile:
        flags = (os.O_RDONLY if read_only else os.O_RDWR) | os.O_NOFOLLOW | os.O_CLOEXEC
        if create or exclusive:
            flags |= os.O_CREAT
        if exclusive:
            flags |= os.O_EXCL
        parent, name = self._split(path)
        try:
            return RealFile(os.open(name, flags, 0o600, dir_fd=parent), path, self._synced)
        finally:
            os.close(parent)

    def list_dir(self, path: str) -> list[Entry]:
        directory = self._open_dir(path)
        try:
            entries = []
            for name in sorted(os.listdir(directory)):
                info = os.stat(name, dir_fd=directory, follow_symlinks=False)
                is_dir = stat.S_ISDIR(info.st_mode)
                entries.append(Entry(name, is_dir, 0 if is_dir else info.st_size))
            return entries
        finally:
            os.close(directory)

    def make_dir(self, path: str) -> None:
        parent, name = self._split(path)
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        finally:
            os.close(parent)

    def rename(self, source: str, target: str) -> None:
        source_dir, source_name = self._split(source)
        try:
            target_dir, target_name = self._split(target)
            try:
                os.rename(source_name, target_name, src_dir_fd=source_dir, dst_dir_fd=target_dir)
            finally:
                os.close(target_dir)
        finally:
            os.close(source_dir)

    def unlink(self, path: str) -> None:
        parent, name = self._split(path)
        try:
            os.unlink(name, dir_fd=parent)
        finally:
            os.close(parent)

    def remove_dir(self, path: str) -> None:
        parent, name = self._split(path)
        try:
            os.rmdir(name, dir_fd=parent)
        finally:
            os.close(parent)

    def _stat(self, path: str) -> os.stat_result:
        parent, name = self._split(path)
        try:
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(parent)

    def exists(self, path: str) -> bool:
        if not path:
            return True
        try:
            self._stat(path)
        except FileNotFoundError:
            return False
        return True

    def size(self, path: str) -> int:
        return self._stat(path).st_size

    def sync_dir(self, path: str) -> None:
        directory = self._open_dir(path)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def free_bytes(self) -> int:
        info = os.fstatvfs(self._root)
        return info.f_bavail * info.f_frsize

    def lock(self, path: str) -> RealLock:
        parent, name = self._split(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, 0o600, dir_fd=parent)
        finally:
            os.close(parent)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return RealLock(fd)
