"""The producer snapshots of one partition: which there are, and writing the next."""

from __future__ import annotations

from logd.storage.access import LogContext
from logd.storage.layout import snapshot_path
from logd.storage.producers import ProducerState, encode_snapshot
from logd.storage.sidecar import write_sidecar

#: Snapshots that are kept.
_SNAPSHOTS_MAX = 3


class SnapshotFiles:
    """`offsets` ascending, one for each file. `newest_end`: where the state was last written."""

    def __init__(self, context: LogContext, offsets: list[int], *, newest_is_end: bool) -> None:
        self._context = context
        self.offsets = offsets
        self.newest_end = offsets[-1] if newest_is_end else -1

    def write(self, producers: ProducerState, end_offset: int) -> None:
        """Write the state at the end of the log; nothing is promised of the file."""
        if self.newest_end == end_offset:
            return
        context = self._context
        path = snapshot_path(context.directory, end_offset)
        data = encode_snapshot(producers, context.identity, end_offset)
        write_sidecar(context.files, path, data)
        self.newest_end = end_offset
        if end_offset not in self.offsets:
            self.offsets.append(end_offset)
        while len(self.offsets) > _SNAPSHOTS_MAX:
            oldest = snapshot_path(context.directory, self.offsets.pop(0))
            if context.files.exists(oldest):
                context.files.unlink(oldest)
