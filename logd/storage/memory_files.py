"""The twin of the real files: a page cache over a durable image, with every fault of a disk.

Files and directories are nodes. Each keeps what a reader sees now and what a power loss leaves:
the durable image plus a list of operations since the last sync. `crash` decides operation by
operation whether it reached the disk; `kill` ends the process and keeps the page cache. Handles
and locks of before are dead after both.

Faults are set from outside, through attributes:

* `before(operation, path)` is called ahead of every operation and may raise an OSError, or a
  BaseException of the test's own that stands for the end of the process.
* `write_limit(path, size) -> int` makes writes short.
* `capacity` bounds the bytes of all files together: a write beyond it is short, or ENOSPC.
* `sync_fails(path) -> bool`: that sync raises EIO, its bytes stay readable and never reach the
  disk, and the next sync says that all is well, as Linux does it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from logd.storage.files import Entry, parent_of

#: More than any test writes; such a disk is never counted.
UNBOUNDED = 1 << 40


class CrashRng(Protocol):
    """The draws that `crash` makes; `random.Random` fits."""

    def random(self) -> float: ...

    def randbytes(self, n: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Write:
    position: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Resize:
    size: int


@dataclass(slots=True, eq=False)
class _FileNode:
    data: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[_Write | _Resize] = field(default_factory=list)
    #: How many names it has now.
    links: int = 0


@dataclass(slots=True, eq=False)
class _NameOp:
    """One change of names; a rename within the tree touches two directories at once."""

    removed: tuple[_DirNode, str] | None
    added: tuple[_DirNode, str, _Node] | None
    done: bool = False

    def apply(self) -> None:
        if self.removed is not None:
            self.removed[0].durable.pop(self.removed[1], None)
        if self.added is not None:
            self.added[0].durable[self.added[1]] = self.added[2]
        self.done = True


@dataclass(slots=True, eq=False)
class _DirNode:
    names: dict[str, _Node] = field(default_factory=dict)
    durable: dict[str, _Node] = field(default_factory=dict)
    pending: list[_NameOp] = field(default_factory=list)


_Node = _FileNode | _DirNode


def _error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)


def _write_into(data: bytearray, position: int, buffer: bytes) -> None:
    if len(data) < position:
        data.extend(bytes(position - len(data)))
    data[position : position + len(buffer)] = buffer


def _resize(data: bytearray, size: int) -> None:
    if size < len(data):
        del data[size:]
    else:
        data.extend(bytes(size - len(data)))


class MemoryFile:
    """A handle; dead after a crash, a kill or `close`."""

    __slots__ = ("_files", "_generation", "_node", "_path", "_read_only")

    def __init__(self, files: MemoryFiles, node: _FileNode, path: str, read_only: bool) -> None:
        self._files = files
        self._node = node
        self._path = path
        self._read_only = read_only
        self._generation = files.generation

    def _check(self, operation: str, *, writes: bool = False) -> _FileNode:
        if self._generation != self._files.generation or (writes and self._read_only):
            raise _error(errno.EBADF, self._path)
        self._files.note(operation, self._path)
        return self._node

    def pread(self, size: int, position: int) -> bytes:
        return bytes(self._check("pread").data[position : position + size])

    def pwrite(self, buffers: Sequence[bytes | memoryview], position: int) -> int:
        node = self._check("pwrite", writes=True)
        data = b"".join(buffers)
        limit = self._files.writable(self._path, len(data), position + len(data) - len(node.data))
        if data and limit <= 0:
            raise _error(errno.ENOSPC, self._path)
        data = data[:limit]
        before = len(node.data)
        _write_into(node.data, position, data)
        self._files.grown(node, before)
        node.pending.append(_Write(position, data))
        return len(data)

    def sync(self) -> None:
        node = self._check("sync")
        fails = self._files.sync_fails
        if fails is not None and fails(self._path):
            node.pending.clear()
            raise _error(errno.EIO, self._path)
        for operation in node.pending:
            if isinstance(operation, _Write):
                _write_into(node.durable, operation.position, operation.data)
            else:
                _resize(node.durable, operation.size)
        node.pending.clear()

    def truncate(self, size: int) -> None:
        node = self._check("truncate", writes=True)
        before = len(node.data)
        _resize(node.data, size)
        self._files.grown(node, before)
        node.pending.append(_Resize(size))

    def size(self) -> int:
        return len(self._check("size").data)

    def allocate(self, size: int) -> None:
        node = self._check("allocate", writes=True)
        grown = size - len(node.data)
        if grown > 0:
            if self._files.free_bytes() < grown:
                raise _error(errno.ENOSPC, self._path)
            before = len(node.data)
            _resize(node.data, size)
            self._files.grown(node, before)
            node.pending.append(_Resize(size))

    def close(self) -> None:
        self._generation = -1


class MemoryLock:
    """A held lock of a `MemoryFiles`."""

    def __init__(self, held: set[str], path: str) -> None:
        self._held = held
        self._path = path

    def release(self) -> None:
        self._held.discard(self._path)


class MemoryFiles:
    """A tree of files in memory; see the module's text for its faults."""

    def __init__(self, *, capacity: int = UNBOUNDED) -> None:
        self.capacity = capacity
        self.before: Callable[[str, str], None] | None = None
        self.write_limit: Callable[[str, int], int] | None = None
        self.sync_fails: Callable[[str], bool] | None = None
        self.generation = 0
        self._root = _DirNode()
        self._held: set[str] = set()
        #: Bytes of all files by all their names.
        self._used = 0

    def grown(self, node: _FileNode, before: int) -> None:
        """Count a file anew that was `before` bytes long."""
        self._used += (len(node.data) - before) * node.links

    def _unlinked(self, node: _Node | None) -> None:
        """A name of `node` is gone."""
        if isinstance(node, _FileNode):
            node.links -= 1
            self._used -= len(node.data)

    def note(self, operation: str, path: str) -> None:
        """Tell the test what is about to happen."""
        if self.before is not None:
            self.before(operation, path)

    def writable(self, path: str, size: int, grown: int) -> int:
        """Return how many of `size` bytes a write that grows its file by `grown` may write."""
        bounded = grown > 0 and self.capacity < UNBOUNDED
        limit = size - max(grown - self.free_bytes(), 0) if bounded else size
        if self.write_limit is not None:
            limit = min(limit, self.write_limit(path, size))
        return limit

    def _find(self, path: str) -> _Node:
        node: _Node = self._root
        for component in path.split("/") if path else ():
            if component in ("", ".", ".."):
                raise _error(errno.EINVAL, path)
            if not isinstance(node, _DirNode):
                raise _error(errno.ENOTDIR, path)
            if component not in node.names:
                raise _error(errno.ENOENT, path)
            node = node.names[component]
        return node

    def _find_dir(self, path: str) -> _DirNode:
        node = self._find(path)
        if not isinstance(node, _DirNode):
            raise _error(errno.ENOTDIR, path)
        return node

    def _find_file(self, path: str) -> _FileNode:
        node = self._find(path)
        if not isinstance(node, _FileNode):
            raise _error(errno.EISDIR, path)
        return node

    def _split(self, path: str) -> tuple[_DirNode, str]:
        name = path.rpartition("/")[2]
        if name in ("", ".", ".."):
            raise _error(errno.EINVAL, path)
        return self._find_dir(parent_of(path)), name

    def _add(self, directory: _DirNode, name: str, node: _Node) -> None:
        directory.names[name] = node
        directory.pending.append(_NameOp(None, (directory, name, node)))

    def open(
        self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False
    ) -> MemoryFile:
        self.note("open", path)
        directory, name = self._split(path)
        node = directory.names.get(name)
        if node is None:
            if not (create or exclusive):
                raise _error(errno.ENOENT, path)
            self.note("create", path)
            node = _FileNode(links=1)
            self._add(directory, name, node)
        elif exclusive:
            raise _error(errno.EEXIST, path)
        if not isinstance(node, _FileNode):
            raise _error(errno.EISDIR, path)
        return MemoryFile(self, node, path, read_only)

    def list_dir(self, path: str) -> list[Entry]:
        self.note("list_dir", path)
        return [
            Entry(name, isinstance(node, _DirNode), _size(node))
            for name, node in sorted(self._find_dir(path).names.items())
        ]

    def make_dir(self, path: str) -> None:
        self.note("make_dir", path)
        directory, name = self._split(path)
        if name in directory.names:
            raise _error(errno.EEXIST, path)
        self._add(directory, name, _DirNode())

    def rename(self, source: str, target: str) -> None:
        self.note("rename", source)
        node = self._find(source)
        source_dir, source_name = self._split(source)
        target_dir, target_name = self._split(target)
        replaced = target_dir.names.get(target_name)
        if isinstance(replaced, _DirNode) and (replaced.names or isinstance(node, _FileNode)):
            raise _error(errno.ENOTEMPTY, target)
        if replaced is not node:
            self._unlinked(replaced)
        del source_dir.names[source_name]
        target_dir.names[target_name] = node
        operation = _NameOp((source_dir, source_name), (target_dir, target_name, node))
        source_dir.pending.append(operation)
        if target_dir is not source_dir:
            target_dir.pending.append(operation)

    def unlink(self, path: str) -> None:
        self.note("unlink", path)
        self._unlinked(self._find_file(path))
        directory, name = self._split(path)
        del directory.names[name]
        directory.pending.append(_NameOp((directory, name), None))

    def remove_dir(self, path: str) -> None:
        self.note("remove_dir", path)
        if self._find_dir(path).names:
            raise _error(errno.ENOTEMPTY, path)
        directory, name = self._split(path)
        del directory.names[name]
        directory.pending.append(_NameOp((directory, name), None))

    def exists(self, path: str) -> bool:
        try:
            self._find(path)
        except FileNotFoundError:
            return False
        return True

    def size(self, path: str) -> int:
        return len(self._find_file(path).data)

    def sync_dir(self, path: str) -> None:
        self.note("sync_dir", path)
        node = self._find_dir(path)
        for operation in node.pending:
            if not operation.done:
                operation.apply()
        node.pending.clear()

    def free_bytes(self) -> int:
        return self.capacity - self._used

    def lock(self, path: str) -> MemoryLock:
        self.open(path, create=True).close()
        if path in self._held:
            raise _error(errno.EWOULDBLOCK, path)
        self._held.add(path)
        return MemoryLock(self._held, path)

    def kill(self) -> None:
        """End the process: handles and locks are gone, the page cache stays."""
        self.generation += 1
        self._held = set()

    def crash(self, rng: CrashRng) -> None:
        """Lose power: each operation since the last sync is kept, dropped, torn or garbled."""
        self.kill()
        seen: set[int] = set()
        self._crash_dir(self._root, rng, seen)
        self._count()

    def _count(self) -> None:
        files = list(_files_below(self._root))
        for file in files:
            file.links = 0
        for file in files:
            file.links += 1
        self._used = sum(len(file.data) for file in files)

    def synced(self) -> MemoryFiles:
        """What a power loss now would leave at least: nothing but what was synced. A copy."""
        twin = MemoryFiles(capacity=self.capacity)
        twin._root = _synced_dir(self._root)
        twin._count()
        return twin

    def synced_files(self, path: str) -> dict[str, bytearray]:
        """The files of a directory by name, as `synced` leaves them; none where there would be no
        directory. They are no copies: read them at once, and change nothing."""
        node: _Node | None = self._root
        for component in path.split("/"):
            node = node.durable.get(component) if isinstance(node, _DirNode) else None
        if not isinstance(node, _DirNode):
            return {}
        found = sorted(node.durable.items())
        return {name: file.durable for name, file in found if isinstance(file, _FileNode)}

    def _crash_dir(self, node: _DirNode, rng: CrashRng, seen: set[int]) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        for operation in node.pending:
            if not operation.done and rng.random() < 0.5:
                operation.apply()
            operation.done = True
        node.pending.clear()
        node.names = dict(node.durable)
        for _, child in sorted(node.names.items()):
            if isinstance(child, _DirNode):
                self._crash_dir(child, rng, seen)
            else:
                _crash_file(child, rng)


def _crash_file(node: _FileNode, rng: CrashRng) -> None:
    image = node.durable
    for operation in node.pending:
        fate = rng.random()
        if isinstance(operation, _Resize):
            if fate < 0.5:
                _resize(image, operation.size)
        elif fate < 0.4:
            _write_into(image, operation.position, operation.data)
        elif fate < 0.6:
            torn = int(rng.random() * (len(operation.data) + 1))
            _write_into(image, operation.position, operation.data[:torn])
        elif fate < 0.7:
            garbage = rng.randbytes(len(operation.data))
            _write_into(image, operation.position, garbage)
        elif fate < 0.8:
            _write_into(image, operation.position, bytes(len(operation.data)))
    node.pending.clear()
    node.data = bytearray(image)


def _synced_dir(node: _DirNode) -> _DirNode:
    names = {name: _synced_node(child) for name, child in node.durable.items()}
    return _DirNode(names, dict(names))


def _synced_node(node: _Node) -> _Node:
    if isinstance(node, _DirNode):
        return _synced_dir(node)
    return _FileNode(bytearray(node.durable), bytearray(node.durable))


def _size(node: _Node) -> int:
    return len(node.data) if isinstance(node, _FileNode) else 0


def _files_below(node: _DirNode) -> Iterator[_FileNode]:
    for child in node.names.values():
        if isinstance(child, _DirNode):
            yield from _files_below(child)
        else:
            yield child
