"""Calls over one simulated connection: both ends of streams and of unary calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol

from google.protobuf.message import Message
from logd_proto.v1 import common_pb2
from logd_wire.errors import (
    ErrorCode,
    InvalidRequestError,
    LogdError,
    NetworkError,
)
from logd_wire.errors import TimeoutError as LogdTimeoutError

from logd.rpc.api import ClientGone, Connection, Methods, StreamMethod, UnaryMethod
from logd.rpc.calls import shutting_down
from logd.rpc.errors import from_proto, to_proto
from logd.rpc.parsing import parse_request

#: Behind the method's name where an error travels instead of a response.
ERROR_SUFFIX = " error"


class Wire(Protocol):
    """What both ends of a call need of the connection that carries them."""

    loop: asyncio.AbstractEventLoop
    peer: str
    address: str
    window_bytes: int

    @property
    def server(self) -> ServerSide: ...

    def attach(self, call: ClientStream | UnaryCall) -> int: ...

    def detach(self, number: int) -> None: ...

    def send_control(self, to_server: bool, deliver: Callable[[], None]) -> None: ...

    def send(
        self, to_server: bool, method: str, data: bytes, deliver: Callable[[bytes], None]
    ) -> None: ...

    def handler_failed(self, method: str, error: BaseException) -> None: ...


def unpack_error(data: bytes, address: str) -> LogdError:
    """The exception that a node's answer stands for, at the client's end."""
    return from_proto(common_pb2.Error.FromString(data), broker=address)


class _Inbox:
    """What arrived on one direction of a stream and was not read yet."""

    def __init__(self) -> None:
        self._items: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._end: Exception | None = None
        self._ended = False

    def put(self, data: bytes) -> None:
        if not self._ended:
            self._items.append(data)
            self._changed.set()

    def end(self, error: Exception | None, *, at_once: bool = False) -> None:
        """Nothing more comes; `at_once` drops what was not read yet."""
        if at_once:
            self._items.clear()
        if not self._ended:
            self._ended = True
            self._end = error
        self._changed.set()

    async def get(self) -> bytes | None:
        while not self._items:
            if self._ended:
                if self._end is not None:
                    raise self._end
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()


class _Window:
    """Bytes of one direction that the peer has not read; a writer waits while it is full."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._unread = 0
        self._changed = asyncio.Event()
        self._failure: Exception | None = None

    async def acquire(self, count: int) -> None:
        while self._failure is None and self._unread and self._unread + count > self._size:
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure
        self._unread += count

    def release(self, count: int) -> None:
        self._unread -= count
        self._changed.set()

    def fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._changed.set()


class ClientStream:
    """The client's end of one bidirectional stream."""

    def __init__(self, connection: Wire, method: str) -> None:
        self._connection = connection
        self._method = method
        self._inbox = _Inbox()
        self._window = _Window(connection.window_bytes)
        self._number = connection.attach(self)
        self._response_type: type[Message] | None = None
        connection.send_control(True, lambda: connection.server.open_stream(self, self._method))

    @property
    def number(self) -> int:
        return self._number

    async def write(self, message: Message) -> None:
        data = message.SerializeToString(deterministic=True)
        await self._window.acquire(len(data))
        server = self._connection.server
        self._connection.send(
            True, self._method, data, lambda body: server.stream_data(self._number, body)
        )

    async def read(self) -> Message | None:
        data = await self._inbox.get()
        if data is None:
            return None
        server = self._connection.server
        size = len(data)
        self._connection.send_control(True, lambda: server.stream_credit(self._number, size))
        assert self._response_type is not None
        return self._response_type.FromString(data)

    def cancel(self) -> None:
        server = self._connection.server
        self._connection.send_control(True, lambda: server.stream_cancel(self._number))
        self._connection.detach(self._number)
        self.fail(NetworkError("the stream was cancelled", broker=self._connection.address))

    def fail(self, error: LogdError) -> None:
        """The stream is broken: what was not read is lost."""
        self._inbox.end(error, at_once=True)
        self._window.fail(error)

    def receive(self, data: bytes, response_type: type[Message]) -> None:
        self._response_type = response_type
        self._inbox.put(data)

    def credit(self, size: int) -> None:
        self._window.release(size)

    def finish(self, error: bytes | None) -> None:
        """The node ended the stream, in good order or with an error."""
        address = self._connection.address
        self._connection.detach(self._number)
        self._inbox.end(None if error is None else unpack_error(error, address))
        self._window.fail(NetworkError("the node ended the stream", broker=address))


class UnaryCall:
    """The client's end of one call with one answer."""

    def __init__(self, connection: Wire, method: str) -> None:
        self._connection = connection
        self._method = method
        self._number = connection.attach(self)
        self._answer: asyncio.Future[Message] = connection.loop.create_future()

    async def run(self, request: Message, timeout_ms: float) -> Message:
        connection = self._connection
        server = connection.server
        connection.send(
            True,
            self._method,
            request.SerializeToString(deterministic=True),
            lambda body: server.unary(self, self._number, self._method, body),
        )
        try:
            return await asyncio.wait_for(self._answer, max(timeout_ms, 0.0) / 1000)
        except TimeoutError as error:
            if isinstance(error, LogdError):
                raise
            connection.send_control(True, lambda: server.stream_cancel(self._number))
            raise LogdTimeoutError(
                f"{self._method} was not answered within {timeout_ms:.0f} ms",
                broker=connection.address,
            ) from None
        finally:
            connection.detach(self._number)

    def answer(self, response_type: type[Message], data: bytes) -> None:
        if not self._answer.done():
            self._answer.set_result(response_type.FromString(data))

    def fail(self, error: LogdError) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)


class _NodeStream:
    """The node's end of one bidirectional stream: implements `ServerStream`."""

    def __init__(self, side: ServerSide, client: ClientStream, name: str, method: StreamMethod):
        self.connection = side.identity
        self.inbox = _Inbox()
        self.window = _Window(side.connection.window_bytes)
        self._side = side
        self._client = client
        self._name = name
        self._method = method

    async def read(self) -> Message | None:
        data = await self.inbox.get()
        if data is None:
            return None
        size = len(data)
        self._side.connection.send_control(False, lambda: self._client.credit(size))
        return parse_request(self._method.request_type, data)

    async def write(self, message: Message) -> None:
        data = message.SerializeToString(deterministic=True)
        await self.window.acquire(len(data))
        client = self._client
        response_type = self._method.response_type
        self._side.connection.send(
            False, self._name, data, lambda body: client.receive(body, response_type)
        )

    def break_off(self) -> None:
        """The client is gone: what was not read is lost, nothing more is sent."""
        gone = ClientGone(f"{self.connection.peer} is gone")
        self.inbox.end(gone, at_once=True)
        self.window.fail(gone)


class ServerSide:
    """The node's end of one connection: runs a handler for each call and ends it with it."""

    def __init__(self, connection: Wire) -> None:
        self.connection = connection
        self.identity = Connection(connection.peer)
        self._methods: Methods | None = None
        self._streams: dict[int, _NodeStream] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        #: Calls that may wait for something to happen, by number.
        self._waiting: dict[int, tuple[UnaryCall, str]] = {}
        self._stopping = False

    @property
    def busy(self) -> bool:
        """Whether a handler still runs."""
        return bool(self._tasks)

    def stop(self) -> None:
        """The node is about to stop: streams read SHUTTING_DOWN, new calls are refused with it, and
        so are those that wait for something to happen."""
        self._stopping = True
        for number, (call, name) in list(self._waiting.items()):
            self._tasks[number].cancel()
            self._refuse(call, name)
        for stream in self._streams.values():
            stream.inbox.end(shutting_down(), at_once=True)

    def accept(self, methods: Methods, context: Context) -> None:
        """Answer with `methods`, each handler in a copy of `context`."""
        self._methods = methods
        self._context = context

    def end(self) -> None:
        """The connection is gone: handlers are cancelled, as a gRPC server does."""
        self._methods = None
        for stream in self._streams.values():
            stream.break_off()
        for task in list(self._tasks.values()):
            task.cancel()
        self._streams.clear()

    def unary(self, call: UnaryCall, number: int, name: str, data: bytes) -> None:
        if self._methods is None:
            return
        method = self._methods.unary.get(name)
        if method is None or self._stopping:
            self._refuse(call, name)
            return
        self._start(number, name, self._serve_unary(call, name, method, data))
        if method.waits:
            self._waiting[number] = (call, name)

    async def _serve_unary(
        self, call: UnaryCall, name: str, method: UnaryMethod, data: bytes
    ) -> None:
        try:
            request = parse_request(method.request_type, data)
            response = await method.handler(request, self.identity)
        except LogdError as error:
            packed = to_proto(error).SerializeToString(deterministic=True)
            address = self.connection.address
            self.connection.send(
                False,
                name + ERROR_SUFFIX,
                packed,
                lambda body: call.fail(unpack_error(body, address)),
            )
        else:
            kind = type(response)
            self.connection.send(
                False,
                name,
                response.SerializeToString(deterministic=True),
                lambda body: call.answer(kind, body),
            )

    def open_stream(self, client: ClientStream, name: str) -> None:
        if self._methods is None:
            return
        method = self._methods.streams.get(name)
        if method is None or self._stopping:
            self._refuse(client, name)
            return
        stream = _NodeStream(self, client, name, method)
        self._streams[client.number] = stream
        self._start(client.number, name, self._serve_stream(client, stream, method))

    async def _serve_stream(
        self, client: ClientStream, stream: _NodeStream, method: StreamMethod
    ) -> None:
        packed: bytes | None = None
        try:
            await method.handler(stream)
        except LogdError as error:
            packed = to_proto(error).SerializeToString(deterministic=True)
        finally:
            self._streams.pop(client.number, None)
        self.connection.send_control(False, lambda: client.finish(packed))

    def stream_data(self, number: int, data: bytes) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            stream.inbox.put(data)

    def stream_credit(self, number: int, size: int) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            stream.window.release(size)

    def stream_cancel(self, number: int) -> None:
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.break_off()
        task = self._tasks.get(number)
        if task is not None:
            task.cancel()

    def _refuse(self, call: ClientStream | UnaryCall, name: str) -> None:
        error: LogdError = shutting_down()
        if not self._stopping:
            error = InvalidRequestError(
                f"{name} is unknown to this node", code=ErrorCode.UNSUPPORTED_VERSION
            )
        self.connection.send_control(False, lambda: call.fail(error))

    def _start(self, number: int, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        loop = self.connection.loop
        task = loop.create_task(
            coroutine, name=f"{self.identity.peer}#{number} {name}", context=self._context.copy()
        )
        self._tasks[number] = task
        task.add_done_callback(lambda done: self._ended(number, name, done))

    def _ended(self, number: int, name: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(number, None)
        self._waiting.pop(number, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, ClientGone):
            self.connection.handler_failed(name, error)
