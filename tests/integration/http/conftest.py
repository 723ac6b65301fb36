"""The HTTP server over a handler of the test's own, and requests to it byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from logd.http.connection import Handler, HttpLimits
from logd.http.messages import Request, Response, text_response
from logd.http.server import HttpServer

#: Short times, so that a test of a time limit takes no longer than it has to.
QUICK = HttpLimits(connections_max=4, head_s=0.3, idle_s=0.6, write_s=0.3)


@dataclass
class Answer:
    """One response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Web:
    """A server, and what was asked of it."""

    server: HttpServer
    host: str
    port: int
    asked: list[Request]
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        """A connection; it ends with the server's."""
        client = Client(*await asyncio.open_connection(self.host, self.port))
        self.clients.append(client)
        return client

    async def ask(self, data: bytes) -> Answer:
        """Send `data` on a connection of its own and return the first answer."""
        client = await self.connect()
        await client.send(data)
        return await client.answer()


class Client:
    """A client that checks nothing and may be as rude as it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, to_head: bool = False) -> Answer:
        """The next answer; IncompleteReadError or ConnectionError when there is none."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii")
        status, *lines = head.rstrip("\r\n").split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        length = 0 if to_head else int(headers["content-length"])
        return Answer(int(status.split()[1]), headers, await self.reader.readexactly(length))

    async def ended(self, seconds: float = 5) -> bool:
        """Whether the server ends the connection within so long, sending nothing more."""
        try:
            async with asyncio.timeout(seconds):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    async def close(self) -> None:
        self.writer.transport.abort()
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def web(handler: Handler | None = None, limits: HttpLimits = QUICK) -> AsyncIterator[Web]:
    """Serve on a free port; without a `handler` every path is answered with its own length."""
    asked: list[Request] = []

    async def echo(request: Request) -> Response:
        asked.append(request)
        return text_response(200, str(len(request.path)))

    server = HttpServer(handler or echo, limits)
    address = await server.start("127.0.0.1:0")
    host, _, port = address.rpartition(":")
    made = Web(server, host, int(port), asked)
    try:
        yield made
    finally:
        await server.stop(1)
        for client in made.clients:
            await client.close()


@pytest.fixture
async def served() -> AsyncIterator[Web]:
    """A server with quick limits that answers every path."""
    async with web() as made:
        yield made
