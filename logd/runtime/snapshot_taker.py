"""Snapshots of our own: when one is due, and how it comes about beside the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from logd_wire.errors import StorageFullError

from logd.consensus.log_types import Entry, SnapshotMeta
from logd.runtime.ports import Clock, Disk
from logd.runtime.raft_store import RaftStore
from logd.runtime.snapshots import Snapshot
from logd.storage import is_no_space

_logger = logging.getLogger("logd.consensus")

#: A snapshot is due when so much was applied since the last one.
SNAPSHOT_ENTRIES: Final = 4_096
SNAPSHOT_BYTES: Final = 4 * 1024 * 1024


class SnapshotTaker:
    """Counts what is applied."""

    def __init__(self, store: RaftStore, disk: Disk, clock: Clock) -> None:
        self._store = store
        self._disk = disk
        self._clock = clock
        self._entries = 0
        self._bytes = 0

    def applied(self, entry: Entry) -> None:
        self._entries += 1
        self._bytes += sum(map(len, entry.payloads))

    def begin_anew(self) -> None:
        """Count from here: there is a snapshot of the state of now, or soon will be."""
        self._entries = self._bytes = 0

    @property
    def is_due(self) -> bool:
        """Whether the log behind the last snapshot has become long."""
        return self._entries >= SNAPSHOT_ENTRIES or self._bytes >= SNAPSHOT_BYTES

    async def take(self, meta: SnapshotMeta, encode: Callable[[], bytes]) -> bool:
        """Put aside what `encode` returns, the state at `meta`; False: there is no room for it.

        Raises OSError, after which the disk is not to be trusted.
        """
        store, disk = self._store, self._disk
        try:
            snapshot = Snapshot(meta, await disk.read(encode))
            temporary = await disk.sync(partial(store.snapshots.write, snapshot))
            compact = partial(store.compact, temporary, meta.point, self._clock.wall_ms())
            await disk.write(compact)
        except StorageFullError as error:
            _logger.warning("no space to trim the metadata log: %s", error)
            return False
        except OSError as error:
            if not is_no_space(error):
                raise
            _logger.warning("no space for a snapshot of the metadata: %s", error)
            return False
        return True
