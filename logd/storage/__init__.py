"""The storage engine: partition logs, ledger and data directory over a small file protocol."""

from __future__ import annotations

from logd.storage.cleaner import (
    CleaningError,
    CleaningPlan,
    CleaningResult,
    CleaningStatus,
    Verdict,
    clean,
)
from logd.storage.clock_guard import ClockGuard, load_clock, store_clock
from logd.storage.config import LogConfig
from logd.storage.copying import append_copied, begin_copied, begins_epoch
from logd.storage.damage import Damage
from logd.storage.data_dir import DataDirectory, DirectoryMeta
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
from logd.storage.fresh import create_log_at, forget_partition
from logd.storage.handles import HandleCache
from logd.storage.high_watermarks import load_high_watermarks, store_high_watermarks
from logd.storage.ledger import FORGOTTEN, Ledger, LogKey
from logd.storage.memory_files import MemoryFiles
from logd.storage.partition_log import Appended, PartitionLog
from logd.storage.reader import LogView, ReadResult
from logd.storage.real_files import RealFiles
from logd.storage.recovery import RecoveryReport
from logd.storage.retention import DeletedSegment, Moment, RetentionStatus
from logd.storage.sync import SyncPoint

__all__ = [
    "FORGOTTEN",
    "Appended",
    "CleaningError",
    "CleaningPlan",
    "CleaningResult",
    "CleaningStatus",
    "ClockGuard",
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
    "Moment",
    "PartitionLog",
    "ReadResult",
    "RealFiles",
    "RecoveryReport",
    "RetentionStatus",
    "SyncPoint",
    "Verdict",
    "append_copied",
    "begin_copied",
    "begins_epoch",
    "clean",
    "create_log_at",
    "forget_partition",
    "is_no_space",
    "join",
    "load_clock",
    "load_high_watermarks",
    "pwrite_all",
    "read_all",
    "remove_tree",
    "store_clock",
    "store_high_watermarks",
    "write_atomic",
    "write_synced",
]
