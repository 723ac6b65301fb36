"""The ledger: durable end offsets of every partition log of a data directory, append-only.

    header   'logd-ledger' (12 B, zero padded) · version u16 · 0 ... · crc32c u32      32 bytes
    line     topic id 16 B · partition u32 · end offset i64 · crc32c u32               32 bytes

Big-endian; the CRC covers the 28 bytes before it. For each log the last valid line counts; an end
of -1 forgets the log. A line is appended only after the sync that it tells of has completed.

States a crash can leave, and why opening is right in each:

* Lines written, not synced: any of them may be missing, torn or garbage, in any order. Lines that
  do not verify are skipped, later ones that do are taken: each valid line was true when it was
  written, and ends only fall through `append` followed by `sync` before the log is cut.
* The file is grown ahead in steps (so that a full disk does not stop the ledger); the zeros do
  not verify and are where writing goes on.
* Rewrite: the new file is complete and synced before the rename; a crash leaves the old file or
  the new, and at most a `.tmp` that the next rewrite replaces.

A ledger that lags is safe: recovery then treats more bytes as "beyond the ledger", which costs a
copy. A ledger that leads would be a lie; nothing here writes one.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping

from crc32c import crc32c
from logd_wire.errors import ConfigError

from logd.storage.files import File, Files, is_no_space, pwrite_all, read_all, write_atomic

LogKey = tuple[bytes, int]
"""(topic id of 16 bytes, partition)."""

VERSION = 1
FORGOTTEN = -1

_LINE = struct.Struct(">16sIq")
_HEADER = struct.Struct(">12sH14x")
_CRC = struct.Struct(">I")
_LINE_BYTES = _LINE.size + _CRC.size
_MAGIC = b"logd-ledger\0"
#: The file is grown ahead by this much.
_STEP_BYTES = 64 * 1024
#: A rewrite pays once this many lines say nothing any more.
_STALE_LINES_MAX = 8192


def partition_label(key: LogKey) -> str:
    """Return a log's name as its directory has it."""
    return f"{key[0].hex()}-{key[1]}"


def _sealed(body: bytes) -> bytes:
    return body + _CRC.pack(crc32c(body))


def _line(key: LogKey, end_offset: int) -> bytes:
    return _sealed(_LINE.pack(key[0], key[1], end_offset))


def _verifies(line: bytes) -> bool:
    return len(line) == _LINE_BYTES and crc32c(line[:-4]) == _CRC.unpack_from(line, 28)[0]


class Ledger:
    """Append with `append`, make durable with `sync`. One writer."""

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._path = path
        self._file: File | None = None
        self._position = 0
        self._allocated = 0
        #: The durable end offset of each log, as far as it is known.
        self.ends: dict[LogKey, int] = {}
        #: Lines that did not verify although valid ones follow them.
        self.damaged_lines = 0

    @classmethod
    def open(cls, files: Files, path: str) -> Ledger:
        """Read the ledger, or make it. ConfigError if a newer version wrote it."""
        ledger = cls(files, path)
        if not files.exists(path):
            ledger._rewrite()
            return ledger
        ledger._load(read_all(files, path))
        ledger._rewrite_if_room()
        return ledger

    @classmethod
    def peek(cls, files: Files, path: str) -> dict[LogKey, int]:
        """Return the ends in a ledger without opening it for writing; {} where there is none."""
        ledger = cls(files, path)
        if files.exists(path):
            ledger._load(read_all(files, path))
        return ledger.ends

    def _load(self, data: bytes) -> None:
        header = data[:_LINE_BYTES]
        if _verifies(header):
            magic, version = _HEADER.unpack_from(header)
            if magic == _MAGIC and version > VERSION:
                raise ConfigError(
                    f"{self._path} has format version {version}; this release reads {VERSION}",
                    hint="start the release that wrote it, or a newer one",
                )
        self._allocated = len(data)
        self._position = _LINE_BYTES
        bad = 0
        for position in range(_LINE_BYTES, len(data) - _LINE_BYTES + 1, _LINE_BYTES):
            line = data[position : position + _LINE_BYTES]
            if not _verifies(line):
                bad += 1
                continue
            self.damaged_lines += bad
            bad = 0
            self._position = position + _LINE_BYTES
            topic_id, partition, end_offset = _LINE.unpack_from(line)
            self._set((topic_id, partition), end_offset)

    def _set(self, key: LogKey, end_offset: int) -> None:
        if end_offset == FORGOTTEN:
            self.ends.pop(key, None)
        else:
            self.ends[key] = end_offset

    def append(self, ends: Mapping[LogKey, int]) -> None:
        """Write lines; an end of `FORGOTTEN` drops the log. Durable after `sync`.

        Raises OSError; after ENOSPC the ledger is as before and usable.
        """
        data = b"".join(_line(key, end_offset) for key, end_offset in ends.items())
        if self._stale_lines() > _STALE_LINES_MAX:
            self._rewrite_if_room()
        file = self._opened()
        self._reserve(file, self._position + len(data))
        pwrite_all(file, data, self._position)
        self._position += len(data)
        for key, end_offset in ends.items():
            self._set(key, end_offset)

    def sync(self) -> None:
        """Make all lines durable. Any thread; not beside a rewrite."""
        self._opened().sync()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _stale_lines(self) -> int:
        return self._position // _LINE_BYTES - 2 * len(self.ends)

    def _opened(self) -> File:
        if self._file is None:
            self._file = self._files.open(self._path)
        return self._file

    def _reserve(self, file: File, size: int) -> None:
        if size <= self._allocated:
            return
        target = -(-size // _STEP_BYTES) * _STEP_BYTES
        try:
            file.allocate(target)
            self._allocated = target
        except OSError as error:
            if not is_no_space(error) and error.errno != errno.EOPNOTSUPP:
                raise

    def _rewrite_if_room(self) -> None:
        try:
            self._rewrite()
        except OSError as error:
            if not is_no_space(error):
                raise

    def _rewrite(self) -> None:
        """Replace the file by one with a single line a log."""
        lines = [_sealed(_HEADER.pack(_MAGIC, VERSION))]
        lines += [_line(key, end_offset) for key, end_offset in sorted(self.ends.items())]
        data = b"".join(lines)
        write_atomic(self._files, self._path, data)
        self.close()
        self._position = len(data)
        self._allocated = 0
