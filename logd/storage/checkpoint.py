"""An offset kept in a small file of fixed size, replaced in place.

    slot   sequence u64 · offset i64 · crc32c u32 · zeros      512 bytes, two of them

A write goes to the slot that does not hold the newest value and is synced; a crash can tear only
that slot, and the other still holds the value before. The file has its full size from the start,
so that trim and retention work on a full disk.
"""

from __future__ import annotations

import struct

from crc32c import crc32c

from logd.storage.files import Files, pwrite_all, read_all

_SLOT = struct.Struct(">QqI")
_BODY = struct.Struct(">Qq")
_SLOT_BYTES = 512


class OffsetCheckpoint:
    """The newest durable value is `offset`; None: no slot verifies."""

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._path = path
        self._sequence = 0
        self.offset: int | None = None
        if files.exists(path):
            self._load(read_all(files, path))

    def _load(self, data: bytes) -> None:
        for position in (0, _SLOT_BYTES):
            if len(data) < position + _SLOT.size:
                return
            sequence, offset, crc = _SLOT.unpack_from(data, position)
            if crc == crc32c(data[position : position + _BODY.size]) and sequence > self._sequence:
                self._sequence = sequence
                self.offset = offset

    def write(self, offset: int) -> None:
        """Make `offset` durable. The name is durable after a sync of the directory."""
        sequence = self._sequence + 1
        body = _BODY.pack(sequence, offset)
        slot = (body + struct.pack(">I", crc32c(body))).ljust(_SLOT_BYTES, b"\0")
        file = self._files.open(self._path, create=True)
        try:
            if file.size() < 2 * _SLOT_BYTES:
                pwrite_all(file, bytes(2 * _SLOT_BYTES), 0)
            pwrite_all(file, slot, sequence % 2 * _SLOT_BYTES)
            file.sync()
        finally:
            file.close()
        self._sequence = sequence
        self.offset = offset
