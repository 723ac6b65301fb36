"""Reading and writing one partition of `__consumer_offsets`.

A decision is one batch, so that all of it is in the log, or nothing. Of one that is larger than a
batch may be a failover may find a part: the machine makes up for the rest when it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from logd_wire import WireRecord, decode_records, encode_batch, iter_headers
from logd_wire.errors import DataLossError, LogdError
from logd_wire.limits import MIB

from logd.groups import GroupRecord, InconsistentLogError
from logd.runtime.group_codec import decode_group_record, encode_group_record
from logd.runtime.partition import Partition
from logd.runtime.ports import Disk
from logd.storage import LogView

#: Keys and values of one batch, about; a single record may exceed it.
BATCH_BYTES: Final = 4 * MIB
RECORD_OVERHEAD_BYTES: Final = 16
#: Read and replayed in one go on a reader thread.
CHUNK_BYTES: Final = MIB

Replay = Callable[[GroupRecord], None]


def encode_decision(records: Iterable[GroupRecord], now_ms: int) -> Iterator[bytes]:
    """Return the batches of a decision: one, unless it is larger than a batch may be."""
    some: list[WireRecord] = []
    room = BATCH_BYTES
    for record in records:
        key, value = encode_group_record(record)
        room -= len(key) + len(value or b"") + RECORD_OVERHEAD_BYTES
        if room < 0 and some:
            yield encode_batch(some)
            some, room = [], BATCH_BYTES
        some.append(WireRecord(len(some), now_ms, key, value))
    yield encode_batch(some)


async def load(
    found: Partition, disk: Disk, end_offset: int, replay: Replay, *, goes_on: Callable[[], bool]
) -> bool:
    """Replay everything below `end_offset`, off the loop; False: `goes_on` said no.

    Raises LogdError for what cannot be read, DataLossError for a lost part.
    """
    offset = found.view.start_offset
    while offset < end_offset:
        offset = await disk.read(partial(_load_chunk, found.view, offset, end_offset, replay))
        if not goes_on():
            return False
    return True


def _load_chunk(view: LogView, offset: int, end_offset: int, replay: Replay) -> int:
    """Replay the records of one read; returns where to go on."""
    read = view.read(offset, bytes_max=CHUNK_BYTES, limit_offset=end_offset)
    for record in _records_in(read.records, offset):
        try:
            replay(record)
        except InconsistentLogError as error:
            raise DataLossError(
                f"the groups' log contradicts itself below offset {read.next_offset}: {error}",
                hint="this is a bug of logd, or of what else wrote to the log; please report it",
            ) from error
    return read.next_offset


def _records_in(batches: bytes, start: int) -> Iterator[GroupRecord]:
    for position, header in iter_headers(batches):
        for each in decode_records(batches, position, WireRecord):
            if each.offset < start:
                continue
            try:
                yield decode_group_record(each.key, each.value)
            except LogdError as error:
                error.message = f"offset {each.offset} (of {header.base_offset}): {error.message}"
                raise
