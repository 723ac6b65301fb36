"""A stream to one node, written and read side by side until either way ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from logd_wire.errors import LogdError, NetworkError

from logd_client._engine.cluster import Connection
from logd_client._transport.api import Stream


class Conversation:
    """One stream of `method`; `what` names it in errors, as in "the fetch stream".

    `due` returns what to write next; after None it is asked again when there is `news`. `written`
    is told when a message is out, `heard` gets each that comes in. `ended` is called once, with the
    reason; from then on it is `broken`. All of them are called on the loop.
    """

    def __init__(
        self,
        connection: Connection,
        method: str,
        what: str,
        *,
        due: Callable[[], Message | None],
        heard: Callable[[Any], None],
        ended: Callable[[LogdError], None],
        written: Callable[[], None] = lambda: None,
    ) -> None:
        self.broken = False
        self._connection = connection
        self._method = method
        self._what = what
        self._due = due
        self._heard = heard
        self._ended = ended
        self._written = written
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(
            self._run(), name=f"logd-client {what} stream of {connection.address}"
        )

    def news(self) -> None:
        """There may be something to write."""
        self._news.set()

    async def close(self) -> None:
        """End the stream."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        error: LogdError = self._broken_by("was closed")
        stream: Stream | None = None
        reader: asyncio.Task[None] | None = None
        try:
            stream = await self._connection.open_stream(self._method)
            reader = self._loop.create_task(
                self._read(stream), name=f"logd-client answers of {self._connection.address}"
            )
            reader.add_done_callback(lambda _: self._news.set())
            await self._write(stream, reader)
            await reader
        except LogdError as problem:
            error = problem
            self._connection.doubt()
        finally:
            self.broken = True
            if reader is not None:
                # Also one that has failed: nobody may have looked at why.
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
            if stream is not None:
                stream.cancel()
            self._connection.lost()
            self._ended(error)

    async def _write(self, stream: Stream, reader: asyncio.Task[None]) -> None:
        while not reader.done():
            message = self._due()
            if message is None:
                self._news.clear()
                await self._news.wait()
                continue
            await stream.write(message)
            self._written()

    async def _read(self, stream: Stream) -> None:
        while (message := await stream.read()) is not None:
            self._heard(message)
        raise self._broken_by("was ended by the node")

    def _broken_by(self, reason: str) -> NetworkError:
        return NetworkError(f"the {self._what} stream {reason}", broker=self._connection.address)
