"""HTTP/2 by hand, for what no gRPC client would send."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from types import TracebackType

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7
END_STREAM, END_HEADERS = 0x1, 0x4

Field = tuple[bytes, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header_block(fields: Iterable[Field]) -> bytes:
    """HPACK literals without indexing and without Huffman."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields)


def _text(data: bytes) -> bytes:
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, out = len(data) - 127, bytearray([127])
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    out.append(rest)
    return bytes(out) + data


def request_fields(path: bytes, *extra: Field) -> list[Field]:
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"127.0.0.1"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *extra,
    ]


def message(data: bytes, *, length: int | None = None, compressed: int = 0) -> bytes:
    """One gRPC message; `length` lies about its size."""
    return struct.pack(">BI", compressed, len(data) if length is None else length) + data


class RawConnection:
    """One TCP connection that has said its preface; a context manager."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> RawConnection:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.send(PREFACE + frame(SETTINGS, 0, 0))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.writer.close()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def call(self, stream: int, fields: Iterable[Field], body: bytes, *, end: bool = True) -> None:
        """Begin one call and send what it begins with."""
        self.send(frame(HEADERS, END_HEADERS, stream, header_block(fields)))
        self.send(frame(DATA, END_STREAM if end else 0, stream, body))

    async def drain(self, seconds: float) -> list[tuple[int, int, int, bytes]]:
        """Read frames (kind, flags, stream, payload) until the end of the connection, or until
        none came for so long."""
        frames = []
        try:
            while True:
                head = await asyncio.wait_for(self.reader.readexactly(9), seconds)
                length = int.from_bytes(head[:3], "big")
                payload = await asyncio.wait_for(self.reader.readexactly(length), seconds)
                kind, flags, stream = struct.unpack(">BBI", head[3:])
                frames.append((kind, flags, stream, payload))
                if kind == SETTINGS and not flags:
                    self.send(frame(SETTINGS, 1, 0))
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return frames
