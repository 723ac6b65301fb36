"""Forged bytes: protobuf that means nothing, batches that lie, compressed data that explodes."""

from __future__ import annotations

import struct
import zlib
from typing import Final

import zstandard
from crc32c import crc32c
from logd_wire import WireRecord, encode_batch
from logd_wire.limits import MIB


def nested_groups(depth: int) -> bytes:
    """Groups inside of groups, of an unknown field."""
    return b"\xfb\x3e" * depth + b"\xfc\x3e" * depth


def nested_messages(depth: int) -> bytes:
    """Length-delimited values inside of each other, of an unknown field."""
    data = b""
    for _ in range(depth):
        length, rest = bytearray(), len(data)
        while rest >= 0x80:
            length.append(rest & 0x7F | 0x80)
            rest >>= 7
        data = b"\xfa\x3e" + bytes(length) + bytes([rest]) + data
    return data


def many(field: int, count: int, value: bytes = b"") -> bytes:
    """`count` occurrences of one length-delimited field."""
    return (bytes([field << 3 | 2, len(value)]) + value) * count


def good_batch(count: int = 1, value: bytes = b"value") -> bytes:
    return encode_batch([WireRecord(i, 1, None, value, ()) for i in range(count)])


#: Kafka's header: base offset, length, epoch, magic, crc, attributes, last offset delta, base and
#: largest time, producer id, epoch, base sequence, count.
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_FIELDS: Final = [
    "base_offset",
    "batch_length",
    "leader_epoch",
    "magic",
    "crc",
    "attributes",
    "last_offset_delta",
    "base_timestamp",
    "max_timestamp",
    "producer_id",
    "producer_epoch",
    "base_sequence",
    "records_count",
]


def forged(area: bytes | None = None, *, seal: bool = True, **fields: int) -> bytes:
    """A batch with other header fields or another record area; `seal`: with a right CRC."""
    batch = good_batch()
    values = dict(zip(_FIELDS, _HEADER.unpack_from(batch), strict=True))
    area = batch[_HEADER.size :] if area is None else area
    values["batch_length"] = len(area) + _HEADER.size - 12
    values.update(fields)
    head = bytearray(_HEADER.pack(*(values[name] for name in _FIELDS)))
    if seal and "crc" not in fields:
        struct.pack_into(">I", head, 17, crc32c(bytes(head[21:]) + area))
    return bytes(head) + area


def gzip_bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join(parts) + packer.flush()


def zstd_bomb(size: int, *, declared: bool) -> bytes:
    packer = zstandard.ZstdCompressor(level=3).compressobj(size if declared else -1)
    parts = [packer.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join(parts) + packer.flush()


def field(number: int, data: bytes) -> bytes:
    length, rest = bytearray(), len(data)
    while rest >= 0x80:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([number << 3 | 2]) + bytes(length) + bytes([rest]) + data
