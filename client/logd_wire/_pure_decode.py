"""Decoding of batches in pure Python: the definition that any compiled one is held to.

The form of a record is told in `_pure_encode`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from logd_wire.batch import INT64_MAX, INT64_MIN, BatchHeader, verify_batch, whole_header
from logd_wire.compression import decompress
from logd_wire.errors import CorruptBatchError, RecordTooLargeError
from logd_wire.limits import BATCH_HEADER_BYTES, HEADERS_MAX
from logd_wire.records import Buffer, Headers, RecordView, WireRecord

R = TypeVar("R")
Row = TypeVar("Row", bound=tuple[Any, ...])

#: What `decode_records` calls for each record: offset, timestamp, key, value, headers.
Make = Callable[[int, int, bytes | None, bytes | None, Headers], R]

#: Zeros behind the record area, so that the fast path never reads past the end: it looks at most
#: at six varints of two bytes, a key of 63 and a value of 8191.
_PADDING: Final = bytes(8448)
#: Zigzag of a value from 0 to 8191 has no other bits than these.
_TWO_BYTE_MASK: Final = 0x3FFE


def decode_batch(buffer: Buffer, position: int = 0, *, verify: bool = True) -> list[WireRecord]:
    """Decode the batch at `position`; errors as `decode_records`."""
    return decode_records(buffer, position, WireRecord, verify=verify)


def decode_records(buffer: Buffer, position: int, make: Make[R], *, verify: bool = True) -> list[R]:
    """Decode the batch at `position`, `make(offset, timestamp, key, value, headers)` each record.

    `verify=False` leaves out the CRC alone. Raises CorruptBatchError, RecordTooLargeError (more
    than `DECOMPRESSED_BYTES_MAX` bytes, or more than `HEADERS_MAX` headers) or
    UnsupportedCompressionError; what `make` raises passes through.
    """
    return decode_area(*open_area(buffer, position, verify=verify), make)


def decode_rows(
    buffer: Buffer,
    position: int,
    row: type[Row],
    before: tuple[Any, ...],
    after: tuple[Any, ...],
    *,
    verify: bool = True,
) -> list[Row]:
    """Decode the batch at `position` into tuples of the class `row`; errors as `decode_records`.

    Each is (*before, offset, key, value, headers, timestamp, *after), made without calling the
    class: where records come by the million, a call for each costs more than the rest.
    """
    new = tuple.__new__

    def make(
        offset: int, timestamp: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> Row:
        return new(row, (*before, offset, key, value, headers, timestamp, *after))

    return decode_records(buffer, position, make, verify=verify)


def iter_records(buffer: Buffer, position: int = 0, *, verify: bool = True) -> Iterator[RecordView]:
    """Iterate over the batch at `position` without promising objects that are not asked for.

    The whole batch is checked before this returns; errors as `decode_records`.
    """
    return iter(decode_batch(buffer, position, verify=verify))


def iter_keys(
    buffer: Buffer, position: int = 0, *, verify: bool = True
) -> Iterator[tuple[int, bytes | None, bool]]:
    """Iterate over (offset, key, whether there is a value) of the batch at `position`.

    The whole batch is checked before this returns; errors as `decode_records`.
    """
    return iter(decode_records(buffer, position, _key_of, verify=verify))


def _key_of(
    offset: int, _timestamp: int, key: bytes | None, value: bytes | None, _headers: Headers
) -> tuple[int, bytes | None, bool]:
    return offset, key, value is not None


def open_area(buffer: Buffer, position: int, *, verify: bool) -> tuple[BatchHeader, Buffer]:
    """Return the checked header of the batch at `position`, and its records, decompressed."""
    header = verify_batch(buffer, position) if verify else whole_header(buffer, position)
    view = memoryview(buffer)[position + BATCH_HEADER_BYTES : position + header.size]
    compression = header.compression
    return header, decompress(view, compression) if compression else view


def decode_area(header: BatchHeader, area: Buffer, make: Make[R]) -> list[R]:
    """Decode what `open_area` returned; errors as `decode_records`."""
    if header.is_append_time:
        make = _with_timestamp(make, header.max_timestamp)
    if header.base_timestamp > INT64_MAX - _TWO_BYTE_MASK:
        make = _with_checked_timestamp(make, header)
    return _decode_area(b"".join((area, _PADDING)), len(area), header, make)


def _decode_area(area: bytes, limit: int, header: BatchHeader, make: Make[R]) -> list[R]:
    """Decode `area[:limit]`; what is behind are the zeros of `_PADDING`.

    The fast path reads a record as if each number had at most two bytes, which is harmless where
    it is wrong, then checks that it was right; if not, the general way decides.
    """
    base_offset = header.base_offset
    base_timestamp = header.base_timestamp
    made: list[R] = []
    append = made.append
    position = 0
    expected = 0
    for _ in range(header.records_count):
        start = position
        size = area[position]
        if size > 0x7F:
            position += 1
            size += (area[position] << 7) - 0x80
        body = position + 1
        time = area[position + 2]
        position += 3
        if time > 0x7F:
            time += (area[position] << 7) - 0x80
            position += 1
        offset = area[position]
        position += 1
        if offset > 0x7F:
            offset += (area[position] << 7) - 0x80
            position += 1
        key = None
        key_size = area[position]
        position += 1
        odd = 0
        if key_size != 1:
            odd = key_size & 0x81
            begin = position
            position += key_size >> 1
            key = area[begin:position]
        value_size = area[position]
        position += 1
        if value_size > 0x7F:
            value_size += (area[position] << 7) - 0x80
            position += 1
        end = position + (value_size >> 1)
        if (
            odd
            or (size | time | offset | value_size) & ~_TWO_BYTE_MASK
            or body + (size >> 1) != end + 1
            or area[end]
            or offset < expected
        ):
            time, delta, key, value, headers, position = _read_record(
                area, start, limit, header, expected >> 1
            )
            append(make(base_offset + delta, base_timestamp + time, key, value, headers))
            expected = delta * 2 + 2
            continue
        value = area[position:end]
        append(make(base_offset + (offset >> 1), base_timestamp + (time >> 1), key, value, ()))
        position = end + 1
        expected = offset + 2
    if position != limit or expected > header.last_offset_delta * 2 + 2:
        raise _corrupt(header, f"records end at byte {position} of {limit}, or behind its offsets")
    return made


def _with_timestamp(make: Make[R], timestamp: int) -> Make[R]:
    """`make` for a batch whose records all carry the broker's time."""
    return lambda offset, _, key, value, headers: make(offset, timestamp, key, value, headers)


def _with_checked_timestamp(make: Make[R], header: BatchHeader) -> Make[R]:
    """`make` for a batch so late that even a small delta may leave the 64 bits."""

    def checked(
        offset: int, timestamp: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> R:
        if timestamp > INT64_MAX:
            raise _corrupt(header, f"timestamp {timestamp} at offset {offset}")
        return make(offset, timestamp, key, value, headers)

    return checked


def _read_record(
    area: bytes, start: int, limit: int, header: BatchHeader, expected: int
) -> tuple[int, int, bytes | None, bytes | None, Headers, int]:
    """Read any record of `area[start:limit]` whose offset delta is `expected` or more.

    Returns timestamp delta, offset delta, key, value, headers and where the record ends.
    """
    try:
        size, position = read_varint(area, start, limit)
        end = position + size
        if size < 0 or end > limit:
            raise CorruptBatchError(f"its length is {size}, {limit - position} bytes are left")
        time, position = read_varint(area, position + 1, end)
        delta, position = read_varint(area, position, end)
        key, position = _read_bytes(area, position, end)
        value, position = _read_bytes(area, position, end)
        headers, position = _read_headers(area, position, end)
    except (CorruptBatchError, RecordTooLargeError) as error:
        where = f"record at byte {start} of the batch at offset {header.base_offset}"
        raise type(error)(f"{where}: {error.message}") from None
    if position != end:
        raise _corrupt(header, f"the record at byte {start} has {end - position} bytes too many")
    if not expected <= delta <= header.last_offset_delta:
        raise _corrupt(
            header, f"offset delta {delta} is not in {expected} to {header.last_offset_delta}"
        )
    if not INT64_MIN <= header.base_timestamp + time <= INT64_MAX:
        raise _corrupt(header, f"timestamp {header.base_timestamp + time} is out of range")
    return time, delta, key, value, headers, end


def read_varint(area: bytes, position: int, limit: int) -> tuple[int, int]:
    """Return the number at `position` of `area[:limit]`, 70 bits at most, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= limit:
            raise CorruptBatchError("a number is cut")
        byte = area[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte <= 0x7F:
            break
    else:
        raise CorruptBatchError("a number has more than ten bytes")
    return (value >> 1) ^ -(value & 1), position


def _read_bytes(area: bytes, position: int, limit: int) -> tuple[bytes | None, int]:
    """Return the bytes behind a length, None for the length -1, and the position behind them."""
    size, position = read_varint(area, position, limit)
    if size == -1:
        return None, position
    end = position + size
    if size < 0 or end > limit:
        raise CorruptBatchError(f"a length is {size}, {limit - position} bytes are left")
    return area[position:end], end


def _read_headers(area: bytes, position: int, limit: int) -> tuple[Headers, int]:
    count, position = read_varint(area, position, limit)
    if count < 0:
        raise CorruptBatchError(f"the number of headers is {count}")
    if count > HEADERS_MAX:
        raise RecordTooLargeError(f"{count} headers, more than {HEADERS_MAX},")
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name, position = _read_bytes(area, position, limit)
        value, position = _read_bytes(area, position, limit)
        if name is None:
            raise CorruptBatchError("a header has no name")
        try:
            headers.append((name.decode(), value))
        except UnicodeDecodeError as error:
            raise CorruptBatchError(f"a header name is not UTF-8: {error}") from error
    return tuple(headers), position


def _corrupt(header: BatchHeader, what: str) -> CorruptBatchError:
    return CorruptBatchError(f"the batch at offset {header.base_offset} is damaged: {what}")
