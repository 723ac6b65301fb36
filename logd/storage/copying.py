"""Batches as another replica has stored them, appended to this one."""

from __future__ import annotations

from logd_wire import BatchHeader, empty_batch, read_header, verify_batch
from logd_wire.errors import CorruptBatchError

from logd.storage.partition_log import PartitionLog


def append_copied(log: PartitionLog, batches: bytes, *, append_ms: int) -> int:
    """Append whole batches that another replica stored one after the other; return the new end.

    What is here already, at the beginning, is passed over; of an empty batch, which stands for what
    was compacted there, a part may be. An empty log that starts inside of the first batch takes it
    whole. Every batch is verified before it is written. Not durable yet.
    Raises CorruptBatchError (the batches before it are kept), NotLeaderError (an epoch that is
    over), StorageFullError, StorageFailedError and OSError.
    """
    position = 0
    end = log.view.written_end_offset
    while position < len(batches):
        header = _verified(batches, position, end)
        behind = position + header.size
        if header.next_offset > end:
            batch = batches[position:behind]
            if header.base_offset == end:
                log.append_stored(batch, header, append_ms=append_ms)
            elif header.base_offset < end and log.is_empty:
                log.begin_inside(batch, header, append_ms=append_ms)
            elif header.base_offset < end and not header.records_count and header.producer_id < 0:
                rest = empty_batch(end, header.next_offset, header.leader_epoch)
                log.append_stored(rest, read_header(rest), append_ms=append_ms)
            else:
                raise CorruptBatchError(
                    f"a batch of another replica begins at offset {header.base_offset}, this one "
                    f"ends at {end}"
                )
            end = header.next_offset
        position = behind
    return end


def begins_epoch(log: PartitionLog, batches: bytes) -> bool:
    """Whether the first of these batches is of another epoch than the log is in. Any thread."""
    try:
        return read_header(batches).leader_epoch != log.leader_epoch
    except CorruptBatchError:
        return False


def begin_copied(log: PartitionLog, batches: bytes) -> None:
    """Begin the epoch of the first batch, durably, where it is what `append_copied` takes next.

    That would do it, too; this may be done beside the writing of other logs. Raises as it does.
    """
    end = log.view.written_end_offset
    header = _verified(batches, 0, end)
    if header.base_offset == end and header.leader_epoch != log.leader_epoch:
        log.begin_stored_epoch(header.leader_epoch)


def _verified(batches: bytes, position: int, end_offset: int) -> BatchHeader:
    try:
        return verify_batch(batches, position)
    except CorruptBatchError as error:
        raise CorruptBatchError(
            f"what another replica sent for offset {end_offset} cannot be taken: {error.message}",
            code=error.code,
            hint="it is fetched again; check that replica's disk with `logd log verify`",
        ) from error
