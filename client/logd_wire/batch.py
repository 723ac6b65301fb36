"""The fixed part of a record batch (format 2): all that a broker needs to see of it.

Big-endian; positions in bytes: base offset i64 at 0, batch length i32 at 8 (bytes behind that
field), leader epoch i32 at 12, magic i8 at 16, CRC-32C u32 at 17 (of all from 21 on), attributes
i16 at 21, last offset delta i32 at 23, base timestamp i64 at 27, largest timestamp i64 at 35,
producer id i64 at 43, producer epoch i16 at 51, base sequence i32 at 53, number of records i32
at 57, records at 61.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from crc32c import crc32c

from logd_wire.compression import Compression
from logd_wire.errors import CorruptBatchError, ErrorCode, InvalidRecordError
from logd_wire.limits import BATCH_BYTES_MAX, BATCH_HEADER_BYTES, BATCH_RECORDS_MAX
from logd_wire.records import Buffer

MAGIC: Final = 2
#: Bytes before those that the field `batch_length` counts.
LENGTH_PREFIX_BYTES: Final = 12
CRC_FIELD_POSITION: Final = 17
#: Where the bytes begin that the CRC covers.
CRC_POSITION: Final = 21
#: Bytes that the leader writes anew: base offset, length, leader epoch.
STAMP_BYTES: Final = 16
INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)

CODEC_MASK: Final = 0x07
APPEND_TIME_BIT: Final = 0x08
TRANSACTIONAL_BIT: Final = 0x10
CONTROL_BIT: Final = 0x20
DELETE_HORIZON_BIT: Final = 0x40

HEADER: Final = struct.Struct(">qiibIhiqqqhii")
STAMP: Final = struct.Struct(">qii")
CRC: Final = struct.Struct(">I")
_LENGTH: Final = struct.Struct(">i")
_LENGTH_MIN: Final = BATCH_HEADER_BYTES - LENGTH_PREFIX_BYTES
_LENGTH_MAX: Final = BATCH_BYTES_MAX - LENGTH_PREFIX_BYTES

assert HEADER.size == BATCH_HEADER_BYTES


class BatchHeader(NamedTuple):
    """The fixed part. Sizes are bytes, timestamps ms since 1970, -1 means *none*."""

    base_offset: int
    batch_length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records_count: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return self.batch_length + LENGTH_PREFIX_BYTES

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        """The offset behind the batch."""
        return self.base_offset + self.last_offset_delta + 1

    @property
    def last_sequence(self) -> int:
        """Sequence of the last record; sequences wrap from 2**31 - 1 to 0. -1: none."""
        if self.base_sequence < 0:
            return -1
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF

    @property
    def compression(self) -> Compression:
        return Compression(self.attributes & CODEC_MASK)

    @property
    def is_append_time(self) -> bool:
        """Whether every record carries `max_timestamp`, which the broker set."""
        return bool(self.attributes & APPEND_TIME_BIT)

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL_BIT)

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & CONTROL_BIT)

    @property
    def has_delete_horizon(self) -> bool:
        return bool(self.attributes & DELETE_HORIZON_BIT)

    @property
    def has_producer(self) -> bool:
        """Whether the batch carries a producer id, and so a sequence."""
        return self.producer_id >= 0


def read_header(buffer: Buffer, position: int = 0) -> BatchHeader:
    """Parse the fixed part at `position` and check what can be checked without the rest.

    Nothing is said about the CRC, or about bytes behind the fixed part. Raises CorruptBatchError,
    with the code BATCH_TOO_LARGE where a limit and nothing else is broken.
    """
    if position < 0 or len(buffer) - position < BATCH_HEADER_BYTES:
        raise CorruptBatchError(
            f"no batch at position {position}: {max(len(buffer) - position, 0)} bytes are fewer"
            f" than the {BATCH_HEADER_BYTES} of its fixed part"
        )
    header = BatchHeader._make(HEADER.unpack_from(buffer, position))
    if (
        header.magic == MAGIC
        and _LENGTH_MIN <= header.batch_length <= _LENGTH_MAX
        and 0 <= header.base_offset < INT64_MAX - header.last_offset_delta
        and 0 <= header.last_offset_delta < BATCH_RECORDS_MAX
        and 0 <= header.records_count <= header.last_offset_delta + 1
        and header.attributes & CODEC_MASK <= Compression.ZSTD
        and min(
            header.leader_epoch, header.producer_id, header.producer_epoch, header.base_sequence
        )
        >= -1
    ):
        return header
    raise _fault(header, position)


def _fault(header: BatchHeader, position: int) -> CorruptBatchError:
    """Say what is wrong with a header that `read_header` refused."""
    code = ErrorCode.CORRUPT_BATCH
    if header.magic != MAGIC:
        what = f"its magic is {header.magic}, not {MAGIC}"
    elif header.batch_length < _LENGTH_MIN:
        what = f"its length {header.batch_length} is below {_LENGTH_MIN}"
    elif header.batch_length > _LENGTH_MAX:
        code = ErrorCode.BATCH_TOO_LARGE
        what = f"its size {header.size} exceeds {BATCH_BYTES_MAX} bytes"
    elif header.last_offset_delta < 0 or header.records_count < 0:
        what = f"last offset delta {header.last_offset_delta}, {header.records_count} records"
    elif header.last_offset_delta >= BATCH_RECORDS_MAX:
        code = ErrorCode.BATCH_TOO_LARGE
        what = f"it has {header.last_offset_delta + 1} offsets, more than {BATCH_RECORDS_MAX}"
    elif header.records_count > header.last_offset_delta + 1:
        what = f"{header.records_count} records in {header.last_offset_delta + 1} offsets"
    elif header.attributes & CODEC_MASK > Compression.ZSTD:
        what = f"its codec {header.attributes & CODEC_MASK} is unknown"
    elif not 0 <= header.base_offset < INT64_MAX - header.last_offset_delta:
        what = f"its base offset {header.base_offset} is out of range"
    else:
        what = "its leader epoch, producer id, producer epoch or sequence is below -1"
    return CorruptBatchError(f"bad batch at position {position}: {what}", code=code)


def whole_header(buffer: Buffer, position: int = 0, *, exact: bool = False) -> BatchHeader:
    """`read_header`, and the whole batch is present; with `exact` nothing is behind it."""
    header = read_header(buffer, position)
    behind = len(buffer) - position - header.size
    if behind < 0:
        raise CorruptBatchError(
            f"batch at position {position} (offset {header.base_offset}) is cut: {-behind} of"
            f" {header.size} bytes are missing"
        )
    if exact and behind:
        raise CorruptBatchError(
            f"{behind} bytes follow the batch at position {position}",
            hint="exactly one batch is expected",
        )
    return header


def verify_batch(buffer: Buffer, position: int = 0, *, exact: bool = False) -> BatchHeader:
    """`read_header`, and the whole batch is present with the right CRC-32C.

    The record area is not decoded. With `exact` the batch must end where `buffer` ends. Raises
    CorruptBatchError.
    """
    header = whole_header(buffer, position, exact=exact)
    end = position + header.batch_length + LENGTH_PREFIX_BYTES
    computed = crc32c(memoryview(buffer)[position + CRC_POSITION : end])
    if computed != header.crc:
        raise CorruptBatchError(
            f"batch at position {position} (offset {header.base_offset}) is damaged: CRC-32C is"
            f" {computed:#010x}, its header says {header.crc:#010x}"
        )
    return header


def verify_produced_batch(buffer: Buffer) -> BatchHeader:
    """`verify_batch(exact=True)` and the rules for what a producer may send.

    One record for each offset, at least one; no flag that only brokers set; timestamps in order;
    producer id, epoch and sequence all there or none. Raises CorruptBatchError or
    InvalidRecordError.
    """
    header = verify_batch(buffer, exact=True)
    if header.records_count != header.last_offset_delta + 1:
        raise CorruptBatchError(
            f"the batch has {header.records_count} records in {header.last_offset_delta + 1}"
            " offsets; a producer sends one record for each offset"
        )
    if header.attributes & ~CODEC_MASK:
        raise InvalidRecordError(
            f"the batch has attributes {header.attributes:#06x}; a producer may set the codec only"
        )
    if not -1 <= header.base_timestamp <= header.max_timestamp:
        raise InvalidRecordError(
            f"the batch has base timestamp {header.base_timestamp} and largest timestamp"
            f" {header.max_timestamp}",
            code=ErrorCode.INVALID_TIMESTAMP,
        )
    producer = (header.producer_id, header.producer_epoch, header.base_sequence)
    if not (min(producer) >= 0 or max(producer) < 0):
        raise InvalidRecordError(
            "the batch has producer id {}, epoch {} and sequence {}".format(*producer),
            hint="set all three, or leave all three at -1",
        )
    return header


def empty_batch(base_offset: int, next_offset: int, leader_epoch: int) -> bytes:
    """Return a batch without records that stands for the offsets from base to next, exclusive.

    The cleaner puts it where batches were, so that each batch still begins where the one before it
    ends. It has no producer and no timestamps. At most BATCH_RECORDS_MAX offsets.
    """
    count = next_offset - base_offset
    assert 1 <= count <= BATCH_RECORDS_MAX, "one batch stands for so many offsets at most"
    fields = (base_offset, _LENGTH_MIN, leader_epoch, MAGIC, 0, 0, count - 1, -1, -1, -1, -1, -1, 0)
    fixed = HEADER.pack(*fields)
    crc = crc32c(fixed[CRC_POSITION:])
    return b"".join((fixed[:CRC_FIELD_POSITION], CRC.pack(crc), fixed[CRC_POSITION:]))


def stamped_parts(batch: Buffer, base_offset: int, leader_epoch: int) -> tuple[bytes, memoryview]:
    """Return new first `STAMP_BYTES` bytes for the one batch in `batch`, and a view of the rest.

    The CRC does not cover what changes, so it stays right.
    """
    view = memoryview(batch)
    (length,) = _LENGTH.unpack_from(view, 8)
    return STAMP.pack(base_offset, length, leader_epoch), view[STAMP_BYTES:]


def stamp(batch: Buffer, base_offset: int, leader_epoch: int) -> bytes:
    """Return the one batch in `batch` with another base offset and leader epoch."""
    return b"".join(stamped_parts(batch, base_offset, leader_epoch))


def iter_headers(buffer: Buffer) -> Iterator[tuple[int, BatchHeader]]:
    """Yield position and header of each whole batch; a partial one at the end is left out.

    CRCs are not checked. Raises CorruptBatchError at a header that cannot be one.
    """
    position = 0
    size = len(buffer)
    while size - position >= BATCH_HEADER_BYTES:
        header = read_header(buffer, position)
        end = position + header.batch_length + LENGTH_PREFIX_BYTES
        if end > size:
            return
        yield position, header
        position = end
