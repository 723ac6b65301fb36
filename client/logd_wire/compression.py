"""Compression of the record area; what comes out is bounded before it is allocated."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from enum import IntEnum
from io import BytesIO
from typing import Any, Final, Protocol

import zstandard

from logd_wire.errors import CorruptBatchError, ErrorCode, RecordTooLargeError
from logd_wire.errors import UnsupportedCompressionError as Unsupported
from logd_wire.limits import DECOMPRESSED_BYTES_MAX, KIB, MIB
from logd_wire.records import Buffer

try:
    _lz4: Any = importlib.import_module("lz4.frame")
except ImportError:
    _lz4 = None

_GZIP_WBITS: Final = 31
#: Each further gzip member or LZ4 frame costs a copy of what follows it; honest writers make one.
_MEMBERS_MAX: Final = 64
#: What a zstd frame of unknown content size may ask for; every level up to 19 keeps to it.
_ZSTD_WINDOW_BYTES_MAX: Final = 8 * MIB
_CHUNK_BYTES: Final = 64 * KIB
#: A stream is kept while it is read up to here; a longer one is measured first, then read again.
_KEPT_BYTES_MAX: Final = 8 * MIB


class Compression(IntEnum):
    """Codec of a batch: bits 0 to 2 of its attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4

    @classmethod
    def parse(cls, name: str) -> Compression:
        """Return the codec called `name` (any case); raise UnsupportedCompressionError if none."""
        try:
            return cls[name.strip().upper()]
        except KeyError:
            raise Unsupported(
                f"unknown compression {name[:40]!r}", hint="choose none, gzip, lz4 or zstd"
            ) from None


def check_supported(compression: Compression) -> None:
    """Raise UnsupportedCompressionError, saying what to do, if this process cannot use it."""
    if compression is Compression.SNAPPY:
        raise Unsupported("snappy is not supported", hint="choose zstd, gzip or lz4")
    if compression is Compression.LZ4 and _lz4 is None:
        raise Unsupported(
            "lz4 needs the package lz4, which is not installed",
            hint="pip install lz4, or choose zstd",
        )


def compress(area: bytes, compression: Compression, level: int | None = None) -> bytes:
    """Compress a record area; `level` None means the codec's usual one.

    Raises UnsupportedCompressionError for a codec this process lacks or a level it does not have.
    """
    check_supported(compression)
    try:
        match compression:
            case Compression.GZIP:
                packer = zlib.compressobj(6 if level is None else level, wbits=_GZIP_WBITS)
                return packer.compress(area) + packer.flush()
            case Compression.LZ4:
                packed: bytes = _lz4.compress(area, compression_level=level or 0)
                return packed
            case Compression.ZSTD:
                return _compress_zstd(area, 3 if level is None else level)
            case _:
                return area
    except (ValueError, zlib.error) as error:
        raise Unsupported(
            f"{compression.name.lower()} has no level {level}", hint="leave the level out"
        ) from error


def decompress(data: Buffer, compression: Compression) -> bytes:
    """Return the record area.

    Raises RecordTooLargeError (DECOMPRESSED_TOO_LARGE) when it has more than
    `DECOMPRESSED_BYTES_MAX` bytes, CorruptBatchError when `data` is not what the codec makes, and
    UnsupportedCompressionError for a codec this process lacks.
    """
    check_supported(compression)
    try:
        match compression:
            case Compression.GZIP:
                return _gather(lambda: _GzipReader(data))
            case Compression.LZ4:
                return _gather(lambda: _Lz4Reader(data))
            case Compression.ZSTD:
                return _decompress_zstd(data)
            case _:
                return bytes(data)
    except (zlib.error, zstandard.ZstdError, EOFError, RuntimeError) as error:
        raise CorruptBatchError(
            f"the record area is not valid {compression.name.lower()}: {error}"
        ) from error


class _Reader(Protocol):
    """`read(n)` returns 1 to n bytes, or nothing at the end."""

    def read(self, size: int, /) -> bytes: ...


def _gather(open_stream: Callable[[], _Reader]) -> bytes:
    """Read a stream whole; one over the limit never holds more than `_KEPT_BYTES_MAX`."""
    total = _drain(open_stream(), kept := BytesIO())
    if total > _KEPT_BYTES_MAX:
        kept = BytesIO()
        _drain(open_stream(), kept, kept_max=total)
    return kept.getvalue()


def _drain(stream: _Reader, kept: BytesIO, *, kept_max: int = _KEPT_BYTES_MAX) -> int:
    """Copy up to `kept_max` bytes into `kept` and return how many there are in all."""
    total = 0
    while chunk := stream.read(_CHUNK_BYTES):
        total += len(chunk)
        if total > DECOMPRESSED_BYTES_MAX:
            raise too_large()
        if total <= kept_max:
            kept.write(chunk)
    return total


def too_large() -> RecordTooLargeError:
    return RecordTooLargeError(
        f"the batch has more than {DECOMPRESSED_BYTES_MAX} bytes after decompression",
        hint="send smaller batches",
        code=ErrorCode.DECOMPRESSED_TOO_LARGE,
    )


class _GzipReader:
    """One or more gzip members, with bounded output for each read."""

    def __init__(self, data: Buffer) -> None:
        self._data: Buffer = data
        self._members = 1
        self._inflater = zlib.decompressobj(_GZIP_WBITS)

    def read(self, size: int, /) -> bytes:
        while True:
            if self._inflater.eof:
                # Only here: at the end of a member `unconsumed_tail` holds the next one, too.
                self._data = self._inflater.unused_data
                if not self._data:
                    return b""
                self._members += 1
                if self._members > _MEMBERS_MAX:
                    raise EOFError(f"it has more than {_MEMBERS_MAX} members")
                self._inflater = zlib.decompressobj(_GZIP_WBITS)
            chunk = self._inflater.decompress(self._data, size)
            self._data = self._inflater.unconsumed_tail
            if chunk:
                return chunk
            if not self._inflater.eof:
                raise EOFError("it ends too early")


class _Lz4Reader:
    """One or more LZ4 frames, with bounded output for each read."""

    def __init__(self, data: Buffer) -> None:
        self._data = bytes(data)
        self._frames = 1
        self._decoder: Any = _lz4.LZ4FrameDecompressor()

    def read(self, size: int, /) -> bytes:
        while True:
            if self._decoder.eof:
                self._data = self._decoder.unused_data or b""
                if not self._data:
                    return b""
                self._frames += 1
                if self._frames > _MEMBERS_MAX:
                    raise EOFError(f"it has more than {_MEMBERS_MAX} frames")
                self._decoder = _lz4.LZ4FrameDecompressor()
            chunk: bytes = self._decoder.decompress(self._data, size)
            self._data = b""
            if chunk:
                return chunk
            if not self._decoder.eof:
                raise EOFError("it ends too early")


#: Contexts at rest. They are costly to make and serve one thread at a time: each call takes one
#: out (`pop` and `append` of a list are atomic) and puts it back.
_DECOMPRESSORS: Final[list[zstandard.ZstdDecompressor]] = []
_COMPRESSORS: Final[dict[int, list[zstandard.ZstdCompressor]]] = {}


def _compress_zstd(area: bytes, level: int) -> bytes:
    resting = _COMPRESSORS.setdefault(level, [])
    try:
        context = resting.pop()
    except IndexError:
        context = zstandard.ZstdCompressor(level=level)
    packed = context.compress(area)
    resting.append(context)
    return packed


def _decompress_zstd(data: Buffer) -> bytes:
    """Return the content; a stream that is cut may yield less, which the records then show."""
    try:
        context = _DECOMPRESSORS.pop()
    except IndexError:
        context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES_MAX)
    area = _decompress_zstd_with(context, data)
    _DECOMPRESSORS.append(context)
    return area


def _decompress_zstd_with(context: zstandard.ZstdDecompressor, data: Buffer) -> bytes:
    frame = zstandard.get_frame_parameters(data)
    declared = frame.content_size
    if declared == zstandard.CONTENTSIZE_UNKNOWN:
        declared = 0
    if declared > DECOMPRESSED_BYTES_MAX:
        raise too_large()
    if declared:
        try:
            return context.decompress(data, allow_extra_data=False)
        except zstandard.ZstdError:
            # Several frames, or a lying size: the slower way tells which.
            pass
    elif frame.window_size > _ZSTD_WINDOW_BYTES_MAX:
        raise Unsupported(
            f"the zstd window of {frame.window_size} bytes exceeds {_ZSTD_WINDOW_BYTES_MAX}",
            hint="use a level up to 19, or frames that declare their content size",
        )
    return _gather(lambda: context.stream_reader(data, read_across_frames=True))
