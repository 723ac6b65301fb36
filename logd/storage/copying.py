"""Batches as another replica has stored them, appended to this one."""

from __future__ import annotations

from logd_wire import verify_batch
from logd_wire.errors import CorruptBatchError

from logd.storage.partition_log import PartitionLog


def append_copied(log: PartitionLog, batches: bytes, *, append_ms: int) -> int:
    """Append whole batches that another replica stored one after the other; return the new end.

    What is here already, at the beginning, is passed over. Every batch is verified before it is
    written. Not durable yet. Raises CorruptBatchError (the batches before it are kept),
    NotLeaderError (an epoch that is over), StorageFullError, StorageFailedError and OSError.
    """
    position = 0
    end = log.view.written_end_offset
    while position < len(batches):
        header = verify_batch(batches, position)
        behind = position + header.size
        if header.next_offset > end:
            if header.base_offset != end:
                raise CorruptBatchError(
                    f"a batch of another replica begins at offset {header.base_offset}, this one "
                    f"ends at {end}"
                )
            log.append_stored(batches[position:behind], header, append_ms=append_ms)
            end = header.next_offset
        position = behind
    return end
