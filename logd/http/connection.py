"""One connection: requests in, answers out, until one side has had enough.

    waiting --first byte--> receiving --whole head--> busy --answer written--> waiting

The syntax is h11's. What bounds a connection is here: how long it may be silent, how long a head
may take from its first byte, how long an answer may take to be taken, and how large a head is.
Requests with a body are refused unread.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import h11

from logd.http.messages import Request, Response, text_response

_logger = logging.getLogger("logd.http")

_READ_BYTES: Final = 4096
#: What is left to flush after the last answer may take so long.
_CLOSE_S: Final = 1.0

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of the port (`connections_max`) and of each connection."""

    connections_max: int = 64
    head_bytes_max: int = 8 * 1024
    #: From the first byte of a request to the last of its head.
    head_s: float = 5.0
    #: Without a byte of a request.
    idle_s: float = 75.0
    #: Until the client has taken an answer.
    write_s: float = 10.0


class _Refused(Exception):
    """A request that is understood and not answered; the connection ends."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class HttpConnection:
    """Serves one accepted connection with `handler`; `run` it once, which closes it."""

    def __init__(self, accepted: socket.socket, handler: Handler, limits: HttpLimits) -> None:
        self._accepted = accepted
        self._handler = handler
        self._limits = limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes_max)
        self._stopping = False
        self._open = False
        #: Whether a request is being answered.
        self.busy = False

    async def run(self) -> None:
        """Serve to the end of the connection; raises nothing."""
        self._reader, self._writer = await asyncio.open_connection(
            sock=self._accepted, limit=self._limits.head_bytes_max
        )
        self._open = True
        try:
            await self._serve()
        except (TimeoutError, OSError):
            # Too slow, or gone.
            self._writer.transport.abort()
        finally:
            await self._close()

    def stop(self) -> None:
        """End now, or behind the answer that is under way."""
        self._stopping = True
        if self._open and not self.busy:
            self._writer.transport.abort()

    async def _serve(self) -> None:
        try:
            while not self._stopping and (request := await self._next_request()) is not None:
                self.busy = True
                await self._send(await self._handled(request), request.method)
                self.busy = False
                if self._http.our_state is not h11.DONE:
                    return
                self._http.start_next_cycle()
        except _Refused as refused:
            await self._send(refused.response, "GET")
        except h11.RemoteProtocolError as error:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await self._send(_refusal(error.error_status_hint), "GET")

    async def _next_request(self) -> Request | None:
        """Return the next request, None at the end. TimeoutError: it did not come in time."""
        limits, received = self._limits, None
        begun = bool(self._http.trailing_data[0])
        async with asyncio.timeout(limits.head_s if begun else limits.idle_s) as timer:
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    data = await self._reader.read(_READ_BYTES)
                    if not begun:
                        begun = True
                        timer.reschedule(asyncio.get_running_loop().time() + limits.head_s)
                    self._http.receive_data(data)
                elif isinstance(event, h11.Request):
                    if status := self._unwanted(event):
                        raise _Refused(_refusal(status))
                    received = event
                elif isinstance(event, h11.EndOfMessage):
                    assert received is not None, "a message ends after it began"
                    return _request_of(received)
                else:
                    return None

    def _unwanted(self, event: h11.Request) -> int:
        """The status with which a request is refused before it is read; 0: it is not."""
        if event.http_version not in (b"1.0", b"1.1"):
            return 505
        # h11 bounds what is incomplete; a head that came in one piece may be larger.
        size = len(event.target) + sum(len(name) + len(value) + 4 for name, value in event.headers)
        if size > self._limits.head_bytes_max:
            return 431
        for name, value in event.headers:
            if name == b"transfer-encoding" or (name == b"content-length" and int(value) > 0):
                return 413
        return 0

    async def _handled(self, request: Request) -> Response:
        try:
            return await self._handler(request)
        except Exception:
            _logger.exception("a request to the admin port failed")
            return text_response(500, "an error that nobody foresaw; the node's log has it")

    async def _send(self, response: Response, method: str) -> None:
        headers = [
            ("Date", formatdate(usegmt=True)),
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *response.headers,
        ]
        if self._stopping:
            headers.append(("Connection", "close"))
        status = HTTPStatus(response.status)
        events: list[h11.Event] = [
            h11.Response(status_code=status, headers=headers, reason=status.phrase.encode())
        ]
        if method != "HEAD":
            events.append(h11.Data(data=response.body))
        events.append(h11.EndOfMessage())
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        async with asyncio.timeout(self._limits.write_s):
            await self._writer.drain()

    async def _close(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._writer.wait_closed()
        except (TimeoutError, OSError):
            self._writer.transport.abort()


def _request_of(event: h11.Request) -> Request:
    accept = b",".join(value for name, value in event.headers if name == b"accept")
    return Request(
        event.method.decode("ascii"),
        event.target.partition(b"?")[0].decode("ascii"),
        accept.decode("latin-1"),
    )


def _refusal(status: int) -> Response:
    """The answer behind which a connection ends; it says nothing of what was sent."""
    return text_response(status, HTTPStatus(status).phrase, ("Connection", "close"))
