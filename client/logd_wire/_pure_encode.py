"""Encoding of batches in pure Python: the definition that any compiled one is held to.

A record is: length, attributes (one byte, 0), timestamp delta, offset delta, key, value, number of
headers, headers. Lengths, deltas and counts are zigzag varints; a length of -1 is a null. A
length counts what follows it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from crc32c import crc32c

from logd_wire.batch import (
    CODEC_MASK,
    CRC,
    CRC_FIELD_POSITION,
    CRC_POSITION,
    HEADER,
    INT64_MAX,
    LENGTH_PREFIX_BYTES,
    MAGIC,
    BatchHeader,
)
from logd_wire.compression import Compression, check_supported, compress
from logd_wire.errors import ErrorCode, InvalidRecordError, RecordTooLargeError
from logd_wire.limits import (
    BATCH_BYTES_MAX,
    BATCH_HEADER_BYTES,
    BATCH_RECORDS_MAX,
    DECOMPRESSED_BYTES_MAX,
    HEADER_BYTES_MAX,
    HEADERS_MAX,
    KEY_BYTES_MAX,
    RECORD_BYTES_MAX,
)
from logd_wire.records import Headers, WireRecord

#: One less than what 64 bits hold, so that the delta between any two fits, -1 (none) included.
_TIMESTAMP_MAX: Final = INT64_MAX - 1
#: A base that makes no delta small, so that the first record takes the general way.
_NEVER: Final = 1 << 200
#: The fast path of the builder finds varints of one and two bytes in tables.
_TABLE_SIZE: Final = 8192
#: Key and value together; longer ones, for which time by record does not count, go the general way.
_FAST_BYTES_MAX: Final = 4000
_DELTA_TABLE_SIZE: Final = 1024


def varint(value: int) -> bytes:
    """Encode a signed number: zigzag, seven bits a byte, lowest first."""
    rest = value << 1 if value >= 0 else ~(value << 1)
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def _varint_of_three(value: int) -> bytes:
    """`varint` of a value from 8192 to 1048575."""
    return bytes((value << 1 & 0x7F | 0x80, value >> 6 & 0x7F | 0x80, value >> 13))


_VARINTS: Final = [varint(value) for value in range(_TABLE_SIZE)]
#: Attributes and timestamp delta.
_STARTS: Final = [b"\0" + encoded for encoded in _VARINTS[:_DELTA_TABLE_SIZE]]
#: A null key and the length of the value.
_NO_KEY: Final = [b"\1" + encoded for encoded in _VARINTS[: _FAST_BYTES_MAX + 1]]


def _encode_record(
    timestamp_delta: int,
    offset_delta: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
) -> bytes:
    """Encode any record; raise RecordTooLargeError or InvalidRecordError if it breaks a limit."""
    key_size = 0 if key is None else _size_of(key, "key")
    if key_size > KEY_BYTES_MAX:
        raise _too_large("the key", key_size, KEY_BYTES_MAX)
    value_size = 0 if value is None else _size_of(value, "value")
    header_parts, header_size = _encode_headers(headers)
    size = key_size + value_size + header_size
    if size > RECORD_BYTES_MAX:
        raise _too_large("the record", size, RECORD_BYTES_MAX)
    body = b"".join(
        (
            b"\0",
            varint(timestamp_delta),
            varint(offset_delta),
            b"\1" if key is None else varint(key_size),
            key or b"",
            b"\1" if value is None else varint(value_size),
            value or b"",
            varint(len(header_parts) // 4),
            *header_parts,
        )
    )
    return varint(len(body)) + body


def _encode_headers(headers: Headers) -> tuple[list[bytes], int]:
    """Return four parts for each header, and the bytes of all names and values."""
    if len(headers) > HEADERS_MAX:
        raise RecordTooLargeError(f"the record has {len(headers)} headers, more than {HEADERS_MAX}")
    parts: list[bytes] = []
    size = 0
    for name, value in headers:
        try:
            encoded = name.encode()
        except (AttributeError, UnicodeEncodeError):
            raise InvalidRecordError(f"header name {name!r:.60} is not text") from None
        value_size = 0 if value is None else _size_of(value, f"value of header {name!r:.60}")
        size += len(encoded) + value_size
        value_length = b"\1" if value is None else varint(value_size)
        parts += (varint(len(encoded)), encoded, value_length, value or b"")
    if size > HEADER_BYTES_MAX:
        raise _too_large("the headers", size, HEADER_BYTES_MAX)
    return parts, size


def _size_of(data: bytes, what: str) -> int:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidRecordError(
            f"the {what} is a {type(data).__name__}, not bytes", hint="serialize it first"
        )
    return memoryview(data).nbytes


def _check_timestamp(timestamp: int) -> None:
    if not -1 <= timestamp <= _TIMESTAMP_MAX:
        raise InvalidRecordError(
            f"timestamp {timestamp} is not ms since 1970",
            hint="-1 means none",
            code=ErrorCode.INVALID_TIMESTAMP,
        )


def _too_large(what: str, size: int, size_max: int) -> RecordTooLargeError:
    return RecordTooLargeError(f"{what} has {size} bytes, more than {size_max}")


def _batch_too_large(what: str) -> RecordTooLargeError:
    return RecordTooLargeError(
        f"the batch has {what}", hint="send fewer records at once", code=ErrorCode.BATCH_TOO_LARGE
    )


def finish(area: bytes, header: BatchHeader, level: int | None) -> bytes:
    """Compress the area and put the fixed part before it; length and CRC are filled in here.

    An area that compression does not shrink stays as it is, and the codec becomes NONE.
    """
    if len(area) > DECOMPRESSED_BYTES_MAX:
        raise _batch_too_large(f"{len(area)} bytes of records, more than {DECOMPRESSED_BYTES_MAX}")
    if min(header.leader_epoch, *header[9:12]) < -1:
        raise InvalidRecordError("leader epoch, producer id, epoch or sequence is below -1")
    attributes = header.attributes
    if attributes & CODEC_MASK:
        packed = compress(area, header.compression, level)
        if len(packed) < len(area):
            area = packed
        else:
            attributes &= ~CODEC_MASK
    size = BATCH_HEADER_BYTES + len(area)
    if size > BATCH_BYTES_MAX:
        raise _batch_too_large(f"{size} bytes, more than {BATCH_BYTES_MAX}")
    header = header._replace(batch_length=size - LENGTH_PREFIX_BYTES, attributes=attributes)
    try:
        fixed = HEADER.pack(*header)
    except struct.error as error:
        raise InvalidRecordError(f"a field of the batch is out of range: {error}") from error
    crc = crc32c(area, crc32c(fixed[CRC_POSITION:]))
    return b"".join((fixed[:CRC_FIELD_POSITION], CRC.pack(crc), fixed[CRC_POSITION:], area))


def encode_batch(
    records: Iterable[WireRecord],
    *,
    base_offset: int = 0,
    leader_epoch: int = -1,
    compression: Compression = Compression.NONE,
    level: int | None = None,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
) -> bytes:
    """Encode records as one batch; offsets ascend from `base_offset` on, gaps are kept.

    Raises InvalidRecordError (no record, offsets out of order, not bytes), RecordTooLargeError
    (a limit of `logd_wire.limits`) or UnsupportedCompressionError.
    """
    parts: list[bytes] = []
    base_timestamp = max_timestamp = delta = -1
    for record in records:
        _, timestamp, _, _, _ = record
        if not parts:
            base_timestamp = timestamp
        delta, encoded = encode_placed(record, base_offset, delta, base_timestamp)
        max_timestamp = max(max_timestamp, timestamp)
        parts.append(encoded)
    check_placed(base_offset, delta)
    header = BatchHeader(
        base_offset=base_offset,
        batch_length=0,
        leader_epoch=leader_epoch,
        magic=MAGIC,
        crc=0,
        attributes=compression,
        last_offset_delta=delta,
        base_timestamp=base_timestamp,
        max_timestamp=max_timestamp,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        records_count=len(parts),
    )
    return finish(b"".join(parts), header, level)


def encode_placed(
    record: WireRecord, base_offset: int, previous: int, base_timestamp: int
) -> tuple[int, bytes]:
    """Return offset delta and bytes of a record behind the one at the offset delta `previous`."""
    offset, timestamp, key, value, headers = record
    _check_timestamp(timestamp)
    delta = offset - base_offset
    if delta <= previous:
        raise InvalidRecordError(f"offset {offset} is not above {base_offset + previous}")
    return delta, _encode_record(timestamp - base_timestamp, delta, key, value, headers)


def check_placed(base_offset: int, last_offset_delta: int) -> None:
    """Refuse offsets that no batch may have; a last offset delta of -1: there is no record."""
    if last_offset_delta < 0:
        raise InvalidRecordError("a batch holds at least one record")
    if not 0 <= base_offset < INT64_MAX - last_offset_delta:
        raise InvalidRecordError(f"base offset {base_offset} is out of range")
    if last_offset_delta >= BATCH_RECORDS_MAX:
        raise _batch_too_large(f"{last_offset_delta + 1} offsets, more than {BATCH_RECORDS_MAX}")


class BatchBuilder:
    """A batch that grows record by record until it is full.

    `count` is the number of records; `size_estimate` the bytes that `build` returns, exact without
    compression and an upper bound with it. Not for use by several threads at once.
    """

    __slots__ = (
        "_base_timestamp",
        "_bytes_max",
        "_closed",
        "_compression",
        "_delta_max",
        "_fast_base",
        "_level",
        "_parts",
        "count",
        "size_estimate",
    )

    def __init__(
        self,
        compression: Compression = Compression.NONE,
        bytes_max: int = BATCH_BYTES_MAX,
        *,
        level: int | None = None,
    ) -> None:
        """Raises UnsupportedCompressionError at once rather than with the first batch."""
        check_supported(compression)
        if level is not None:
            compress(b"", compression, level)
        self._compression = compression
        self._level = level
        self._bytes_max = min(bytes_max, BATCH_BYTES_MAX)
        self._base_timestamp = -1
        self._fast_base = _NEVER
        self._closed = False
        self._delta_max = 0
        self._parts: list[bytes] = []
        self.count = 0
        self.size_estimate = BATCH_HEADER_BYTES

    def append(
        self, timestamp: int, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> int:
        """Add a record and return its index, or return -1: full, and nothing was added.

        `timestamp` is ms since 1970. The first record is never refused for its size alone. Raises
        RecordTooLargeError or InvalidRecordError for a record that no batch takes.
        """
        count = self.count
        delta = timestamp - self._fast_base
        if (
            headers
            or value.__class__ is not bytes
            or not 0 <= delta < _DELTA_TABLE_SIZE
            or count >= BATCH_RECORDS_MAX
        ):
            return self._append_any(timestamp, key, value, headers)
        length = len(value)
        start = _STARTS[delta]
        offset = _VARINTS[count] if count < _TABLE_SIZE else _varint_of_three(count)
        if key is None:
            if length > _FAST_BYTES_MAX:
                return self._append_any(timestamp, key, value, headers)
            lengths = _NO_KEY[length]
            body = len(start) + len(offset) + len(lengths) + length + 1
            parts: tuple[bytes, ...] = (_VARINTS[body], start, offset, lengths, value, b"\0")
        else:
            key_length = len(key)
            if key.__class__ is not bytes or key_length + length > _FAST_BYTES_MAX:
                return self._append_any(timestamp, key, value, headers)
            key_size = _VARINTS[key_length]
            value_size = _VARINTS[length]
            framing = len(start) + len(offset) + len(key_size) + len(value_size) + 1
            body = framing + key_length + length
            parts = (_VARINTS[body], start, offset, key_size, key, value_size, value, b"\0")
        size = self.size_estimate + body + (1 if body < 64 else 2)
        if size > self._bytes_max:
            return -1
        self._parts += parts
        self.size_estimate = size
        if delta > self._delta_max:  # noqa: PLR1730 - max() would cost a call for each record
            self._delta_max = delta
        self.count = count + 1
        return count

    def _append_any(
        self, timestamp: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> int:
        """`append` for every record; the fast path handles the frequent ones."""
        count = self.count
        base_timestamp = self._base_timestamp if count else timestamp
        placed = WireRecord(count, timestamp, key, value, headers)
        _, record = encode_placed(placed, 0, count - 1, base_timestamp)
        delta = timestamp - base_timestamp
        size = self.size_estimate + len(record)
        if self._closed or (count and (size > self._bytes_max or count >= BATCH_RECORDS_MAX)):
            return -1
        self._parts.append(record)
        self._base_timestamp = base_timestamp
        if base_timestamp <= _TIMESTAMP_MAX - _DELTA_TABLE_SIZE:
            self._fast_base = base_timestamp
        self.size_estimate = size
        self._delta_max = max(self._delta_max, delta)
        self.count = count + 1
        return count

    def extend(self, timestamp: int, values: Sequence[object], start: int, /) -> int:
        """Add the values from index `start` on, as records that are nothing else; return how many.

        Ends where the builder is full, and at a value that is no `bytes` or that no record holds.
        """
        if start < 0:
            raise ValueError("start is negative")
        append = self.append
        for position in range(start, len(values)):
            value = values[position]
            if type(value) is not bytes or len(value) > RECORD_BYTES_MAX:
                return position - start
            if append(timestamp, None, value) < 0:
                return position - start
        return max(0, len(values) - start)

    def close(self) -> int:
        """Be full from now on; return the number of records."""
        self._closed = True
        self._fast_base = _NEVER
        return self.count

    def build(
        self, *, producer_id: int = -1, producer_epoch: int = -1, base_sequence: int = -1
    ) -> bytes:
        """Return the batch, with base offset 0 and leader epoch -1; may be called again.

        Raises InvalidRecordError if the builder is empty or a field is out of range.
        """
        if not self.count:
            raise InvalidRecordError("a batch holds at least one record")
        header = BatchHeader(
            base_offset=0,
            batch_length=0,
            leader_epoch=-1,
            magic=MAGIC,
            crc=0,
            attributes=self._compression,
            last_offset_delta=self.count - 1,
            base_timestamp=self._base_timestamp,
            max_timestamp=self._base_timestamp + self._delta_max,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=base_sequence,
            records_count=self.count,
        )
        return finish(b"".join(self._parts), header, self._level)
