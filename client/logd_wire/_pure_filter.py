"""A batch with fewer records, for the cleaner, in pure Python: the definition."""

from __future__ import annotations

from collections.abc import Callable

from logd_wire._pure_decode import decode_area, open_area, read_varint
from logd_wire._pure_encode import finish, varint
from logd_wire.batch import DELETE_HORIZON_BIT, INT64_MAX, BatchHeader
from logd_wire.errors import ErrorCode, InvalidRecordError
from logd_wire.records import Buffer, WireRecord

#: What `filter_batch` asks for each record: offset, key, whether there is a value.
Keep = Callable[[int, bytes | None, bool], object]


def filter_batch(
    buffer: Buffer,
    position: int,
    keep: Keep,
    *,
    delete_horizon: int | None = None,
    level: int | None = None,
    verify: bool = True,
) -> bytes:
    """Return the batch at `position` with those records for which `keep(...)` is true.

    Everything else stays: base offset, last offset delta, leader epoch, producer and sequences,
    flags, codec; survivors keep offsets, timestamps and their very bytes; perhaps none survives. A
    batch that loses nothing comes back as it was. `delete_horizon` (ms since 1970) becomes the base
    timestamp and is marked as what it is; timestamps of records stay the same.

    The whole batch is checked before the first `keep`. Raises what `decode_records` raises,
    InvalidRecordError for an impossible horizon, and RecordTooLargeError when what is left,
    compressed again, exceeds a batch: keep the batch as it is then. What `keep` raises passes.
    """
    if delete_horizon is not None and not 0 <= delete_horizon < INT64_MAX:
        raise InvalidRecordError(
            f"delete horizon {delete_horizon} is not ms since 1970",
            code=ErrorCode.INVALID_TIMESTAMP,
        )
    header, area = open_area(buffer, position, verify=verify)
    records = decode_area(header, area, WireRecord)
    area = bytes(area)
    kept: list[bytes] = []
    max_timestamp = None
    start = 0
    for record in records:
        size, body = read_varint(area, start, len(area))
        if keep(record.offset, record.key, record.value is not None):
            kept.append(
                area[start : body + size]
                if delete_horizon is None
                else _rebased(area[body : body + size], header.base_timestamp - delete_horizon)
            )
            if max_timestamp is None or record.timestamp > max_timestamp:
                max_timestamp = record.timestamp
        start = body + size
    if delete_horizon is None and len(kept) == len(records):
        return bytes(memoryview(buffer)[position : position + header.size])
    changed = header._replace(records_count=len(kept))
    if max_timestamp is not None:
        changed = changed._replace(max_timestamp=max_timestamp)
    if delete_horizon is not None:
        changed = _with_horizon(changed, delete_horizon)
    return finish(b"".join(kept), changed, level)


def _rebased(body: bytes, shift: int) -> bytes:
    """A record, from what follows its length, with `shift` added to its timestamp delta."""
    delta, end = read_varint(body, 1, len(body))
    changed = b"".join((body[:1], varint(delta + shift), body[end:]))
    return varint(len(changed)) + changed


def _with_horizon(header: BatchHeader, delete_horizon: int) -> BatchHeader:
    return header._replace(
        base_timestamp=delete_horizon, attributes=header.attributes | DELETE_HORIZON_BIT
    )
