"""Leader epochs of one partition: from which offset on each holds.

    leader-epochs    sidecar frame · {epoch i32 · start offset i64} ascending in both

The file is replaced atomically and durably before the first batch of a new epoch is written, so a
batch on disk always has its epoch in the file: an epoch in a batch header that differs from the
file's is damage. An entry that starts behind the recovered end is dropped.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from logd.storage.files import Files, join, read_all, write_atomic
from logd.storage.sidecar import decode_sidecar, encode_sidecar, identity_of

FILE_NAME = "leader-epochs"
NO_EPOCH = -1
_MAGIC = b"logd-ep\0"
_ENTRY = struct.Struct(">iq")


class LeaderEpochs(NamedTuple):
    """Immutable: epoch `epochs[i]` holds for offsets from `starts[i]` on."""

    epochs: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()

    @property
    def latest(self) -> int:
        """The newest epoch, -1 if there is none."""
        return self.epochs[-1] if self.epochs else NO_EPOCH

    def epoch_at(self, offset: int) -> int:
        """Return the epoch of the batch at `offset`, -1 if none starts at or below it."""
        index = bisect_right(self.starts, offset) - 1
        return self.epochs[index] if index >= 0 else NO_EPOCH

    def change_after(self, offset: int) -> int | None:
        """Return the first start above `offset`."""
        index = bisect_right(self.starts, offset)
        return self.starts[index] if index < len(self.starts) else None

    def end_offset_for(self, epoch: int, log_end: int) -> tuple[int, int]:
        """Return (largest known epoch <= `epoch`, its end offset); (-1, -1): none is known."""
        index = bisect_right(self.epochs, epoch)
        if index == 0:
            return NO_EPOCH, -1
        end = self.starts[index] if index < len(self.starts) else log_end
        return self.epochs[index - 1], end

    def begin(self, epoch: int, start_offset: int) -> LeaderEpochs:
        """Add an epoch; those that would start at or behind `start_offset` had no batch."""
        keep = bisect_left(self.starts, start_offset)
        return LeaderEpochs((*self.epochs[:keep], epoch), (*self.starts[:keep], start_offset))

    def cut_behind(self, end_offset: int) -> LeaderEpochs:
        """Drop what starts behind the end of the log."""
        keep = bisect_right(self.starts, end_offset)
        return LeaderEpochs(self.epochs[:keep], self.starts[:keep])

    def cut_from(self, end_offset: int) -> LeaderEpochs:
        """Drop what has no batch in a log that ends at `end_offset`."""
        keep = bisect_left(self.starts, end_offset)
        return LeaderEpochs(self.epochs[:keep], self.starts[:keep])


def epochs_from(entries: Iterable[tuple[int, int]]) -> LeaderEpochs:
    """Build from (epoch, start offset) pairs in log order; repeated epochs keep their first."""
    result = LeaderEpochs()
    for epoch, start in entries:
        if epoch > result.latest:
            result = LeaderEpochs((*result.epochs, epoch), (*result.starts, start))
    return result


def load_epochs(files: Files, directory: str, identity: int | None = None) -> LeaderEpochs | None:
    """Read the file; None: missing or damaged. `identity` None: that of the directory's name."""
    try:
        data = read_all(files, join(directory, FILE_NAME))
    except OSError:
        return None
    return decode_epochs(data, identity_of(directory) if identity is None else identity)


def decode_epochs(data: bytes, identity: int | None = None) -> LeaderEpochs | None:
    """Parse the file's bytes; None: damaged, or of another partition than `identity`."""
    payload = decode_sidecar(data, _MAGIC, identity=identity, base_offset=0, covered=0)
    if payload is None or len(payload) % _ENTRY.size:
        return None
    entries = list(_ENTRY.iter_unpack(payload))
    return LeaderEpochs(tuple(e for e, _ in entries), tuple(s for _, s in entries))


def store_epochs(files: Files, directory: str, epochs: LeaderEpochs) -> None:
    """Write the file, durable on return."""
    payload = b"".join(
        _ENTRY.pack(epoch, start) for epoch, start in zip(epochs.epochs, epochs.starts, strict=True)
    )
    data = encode_sidecar(
        _MAGIC, payload, identity=identity_of(directory), base_offset=0, covered=0
    )
    write_atomic(files, join(directory, FILE_NAME), data)
