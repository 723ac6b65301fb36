"""The storage engine: partition logs, ledger and data directory over a small file protocol."""

from __future__ import annotations

from logd.storage.config import LogConfig
from logd.storage.damage import Damage
from logd.storage.data_dir import DataDirectory, DirectoryMeta
from logd.storage.deletion import DeletedSegment
from logd.storage.files import (
    Entry,
    File,
    Files,
    Lock,
    is_no_space,
    join,
    pwrite_all,
    read_all,
    remove_tree,
    write_atomic,
    write_synced,
)
from logd.storage.fresh import create_log_at
from logd.storage.handles import HandleCache
from logd.storage.ledger import FORGOTTEN, Ledger, LogKey
from logd.storage.memory_files import MemoryFiles
from logd.storage.partition_log import Appended, PartitionLog
from logd.storage.reader import LogView, ReadResult
from logd.storage.real_files import RealFiles
from logd.storage.recovery import RecoveryReport
from logd.storage.sync import SyncPoint

__all__ = [
    "FORGOTTEN",
    "Appended",
    "Damage",
    "DataDirectory",
    "DeletedSegment",
    "DirectoryMeta",
    "Entry",
    "File",
    "Files",
    "HandleCache",
    "Ledger",
    "Lock",
    "LogConfig",
    "LogKey",
    "LogView",
    "MemoryFiles",
    "PartitionLog",
    "ReadResult",
    "RealFiles",
    "RecoveryReport",
    "SyncPoint",
    "create_log_at",
    "is_no_space",
    "join",
    "pwrite_all",
    "read_all",
    "remove_tree",
    "write_atomic",
    "write_synced",
]
