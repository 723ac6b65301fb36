"""The frame around every file beside a segment, so that none is believed by mistake.

    magic 8 B · version u16 · 0 u16 · identity u32 · base offset i64 · covered u64
    · payload length u32 · crc32c u32 (of the 36 bytes before it and the payload) · payload

`identity` is the CRC-32C of the partition directory's name, `covered` the bytes of the segment
that the payload speaks of. A sidecar that is missing, cut, garbled, stale, of another segment or
of another partition does not verify; it is then made anew from the segment. That is why sidecars
need no sync.
"""

from __future__ import annotations

import struct

from crc32c import crc32c

from logd.storage.files import Files, is_no_space, read_all, write_plain

VERSION = 1
_FRAME = struct.Struct(">8sHHIqQI")
_CRC = struct.Struct(">I")
FRAME_BYTES = _FRAME.size + _CRC.size


def identity_of(directory: str) -> int:
    """Return what stands for a partition in its sidecars."""
    return crc32c(directory.rpartition("/")[2].encode())


def encode_sidecar(
    magic: bytes, payload: bytes, *, identity: int, base_offset: int, covered: int
) -> bytes:
    """Return the bytes of a sidecar file."""
    frame = _FRAME.pack(magic, VERSION, 0, identity, base_offset, covered, len(payload))
    return frame + _CRC.pack(crc32c(payload, crc32c(frame))) + payload


def decode_sidecar(
    data: bytes, magic: bytes, *, identity: int | None, base_offset: int, covered: int | None
) -> bytes | None:
    """Return the payload if the file is whole and speaks of exactly this; None otherwise.

    `covered` or `identity` None: any.
    """
    if len(data) < FRAME_BYTES:
        return None
    frame = data[: _FRAME.size]
    payload = data[FRAME_BYTES:]
    found_magic, version, _, found_identity, found_base, found_covered, size = _FRAME.unpack(frame)
    if (found_magic, version, found_base, size) != (magic, VERSION, base_offset, len(payload)):
        return None
    if identity not in (None, found_identity) or covered not in (None, found_covered):
        return None
    if crc32c(payload, crc32c(frame)) != _CRC.unpack_from(data, _FRAME.size)[0]:
        return None
    return payload


def read_sidecar(
    files: Files,
    path: str,
    magic: bytes,
    *,
    identity: int | None,
    base_offset: int,
    covered: int | None,
) -> bytes | None:
    """`decode_sidecar` of a file; None where there is no such file or it cannot be read."""
    try:
        data = read_all(files, path)
    except OSError:
        return None
    return decode_sidecar(data, magic, identity=identity, base_offset=base_offset, covered=covered)


def write_sidecar(files: Files, path: str, data: bytes) -> None:
    """Write a sidecar if there is room; one that does not fit is made anew when it is wanted."""
    try:
        write_plain(files, path, data)
    except OSError as error:
        if not is_no_space(error):
            raise
