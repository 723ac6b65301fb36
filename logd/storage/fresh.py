"""A log that begins elsewhere than at 0: what came before it is kept in another form."""

from __future__ import annotations

from logd.storage.checkpoint import OffsetCheckpoint
from logd.storage.config import LogConfig
from logd.storage.data_dir import DataDirectory
from logd.storage.epochs import LeaderEpochs, store_epochs
from logd.storage.files import Files, join, parent_of
from logd.storage.handles import HandleCache
from logd.storage.layout import LOG_START
from logd.storage.ledger import FORGOTTEN, Ledger, LogKey
from logd.storage.partition_log import PartitionLog


def create_log_at(
    files: Files,
    path: str,
    config: LogConfig,
    *,
    start_offset: int,
    now_ms: int,
    handles: HandleCache | None = None,
) -> PartitionLog:
    """Make an empty log whose first offset is `start_offset`; durable on return.

    FileExistsError: the directory is there. A crash leaves any selection of its files: an opening
    finds an empty log that begins at `start_offset` or at 0.
    """
    files.make_dir(path)
    OffsetCheckpoint(files, join(path, LOG_START)).write(start_offset)
    store_epochs(files, path, LeaderEpochs())
    log = PartitionLog.open(
        files, path, config, durable_end=None, clean=False, now_ms=now_ms, handles=handles
    )
    files.sync_dir(path)
    files.sync_dir(parent_of(path))
    return log


def forget_partition(directory: DataDirectory, ledger: Ledger, key: LogKey) -> None:
    """Delete a closed partition log, and its end in the ledger first; durable on return.

    A ledger that speaks of a log that is gone would have the next start take it for damaged. Raises
    OSError; for want of space nothing has changed.
    """
    ledger.append({key: FORGOTTEN})
    ledger.sync()
    directory.delete_partition(key)
