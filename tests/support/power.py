"""Disks that can lose power, fail and fill up: loop-mounted ext4, and small tmpfs.

A power loss is FS_IOC_SHUTDOWN without a log flush: what was not synced is gone after the next
mount. Needs root and loop devices; `why_not` says what is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
MIB = 1024 * 1024


def why_not() -> str | None:
    """What is missing for mounting here; None: nothing."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if not os.path.exists("/dev/loop-control"):
        return "there are no loop devices"
    missing = [name for name in ("mkfs.ext4", "mount", "umount") if not _which(name)]
    return f"missing: {', '.join(missing)}" if missing else None


def _which(name: str) -> bool:
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/sbin", "/usr/sbin"]
    return any(os.access(os.path.join(folder, name), os.X_OK) for folder in folders)


class LoopDisk:
    """An ext4 file system in a file, mounted at `path`."""

    def __init__(self, folder: Path, size_bytes: int = 256 * MIB) -> None:
        self.path = folder / "disk"
        self._image = folder / "disk.img"
        self.path.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(size_bytes)
        _run("mkfs.ext4", "-q", "-F", str(self._image))
        self.mount()

    def mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.path))

    def lose_power(self) -> None:
        """From here on every write and sync fails; what was not synced is lost."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(folder)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Writes and syncs wait inside the block, and go on after it."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, FIFREEZE, 0)
            try:
                yield
            finally:
                fcntl.ioctl(folder, FITHAW, 0)
        finally:
            os.close(folder)

    def unmount(self) -> None:
        """Let go of it; whoever had files open there must have ended."""
        for _ in range(50):
            if _unmounts(self.path):
                return
            time.sleep(0.1)
        _run("umount", "-l", str(self.path))

    def close(self) -> None:
        with contextlib.suppress(AssertionError):
            self.unmount()
        self._image.unlink(missing_ok=True)


@contextmanager
def failing_disk(folder: Path, room_bytes: int) -> Iterator[LoopDisk]:
    """An ext4 disk whose backing has room for `room_bytes` only: writes beyond succeed, and their
    sync fails. (The journal then makes the file system read-only until it is mounted again: without
    one, ext4 was seen to lose bytes that it had synced before the error.)"""
    with small_tmpfs(folder / "backing", room_bytes) as backing:
        disk = LoopDisk(backing, 4096 * MIB)
        try:
            yield disk
        finally:
            disk.close()


def fill(path: Path) -> None:
    """Write a file until there is no room for another byte."""
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


def grow_tmpfs(path: Path, size_bytes: int) -> None:
    _run("mount", "-o", f"remount,size={size_bytes}", str(path))


@contextmanager
def small_tmpfs(path: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of memory that is full after `size_bytes`."""
    path.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(path))
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)


def _unmounts(path: Path) -> bool:
    done = subprocess.run(["umount", str(path)], check=False, capture_output=True)
    return done.returncode == 0


def _run(*command: str) -> None:
    path = os.environ.get("PATH", "") + ":/sbin:/usr/sbin"
    environ = {**os.environ, "PATH": path}
    done = subprocess.run(command, check=False, capture_output=True, env=environ)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.decode()}"
