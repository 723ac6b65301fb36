"""A disk that comes back as it was: partitions of a while ago under a node that has gone on."""

from __future__ import annotations

from logd.storage.files import Files, join, read_all, remove_tree, write_atomic
from logd.storage.memory_files import MemoryFiles

#: With what says where they end.
ROLLED_BACK = ("partitions", "ledger", "high-watermarks")


def roll_back(files: MemoryFiles, old: MemoryFiles) -> None:
    """Give a disk the partitions of `old`, an earlier copy of it. Its node must not run."""
    hooks = files.before, files.sync_fails, files.capacity
    files.before, files.sync_fails, files.capacity = None, None, MemoryFiles().capacity
    try:
        for path in ROLLED_BACK:
            _copy(old, files, path)
    finally:
        files.before, files.sync_fails, files.capacity = hooks


def _copy(source: Files, target: Files, path: str) -> None:
    if not source.exists(path):
        return
    if path != "partitions" and not path.startswith("partitions/"):
        write_atomic(target, path, read_all(source, path))
        return
    remove_tree(target, path)
    target.make_dir(path)
    for entry in source.list_dir(path):
        child = join(path, entry.name)
        if entry.is_dir:
            _copy(source, target, child)
        else:
            write_atomic(target, child, read_all(source, child))
    target.sync_dir(path)
