"""Method tables to gRPC handlers.

Requests reach the handlers as bytes and are parsed here, because an exception inside gRPC's own
deserializer would be answered with its text. For the same reason nothing but an abort ever leaves
a handler.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import Message
from logd_wire.errors import InvalidRequestError, LogdError
from logd_wire.limits import MESSAGE_BYTES_MAX

from logd.observe import ApiMeter, RequestMeters
from logd.rpc.api import ClientGone, Connection, Methods, StreamMethod, UnaryMethod
from logd.rpc.calls import Calls, shutting_down
from logd.rpc.errors import details_of, presentable, status_of, trailers
from logd.rpc.memory import Memory
from logd.rpc.parsing import parse_request
from logd.rpc.transport import Handler

#: What a call without metadata from an address yields; the text may be logged.
_PEER_CHARACTERS_MAX: Final = 128

Context = Any  # grpc.aio.ServicerContext[bytes, bytes]; its stubs know no raw messages.


def bind(
    methods: Methods, calls: Calls, memory: Memory, requests: RequestMeters
) -> dict[str, Handler]:
    """Return the handlers of all `methods` by full name."""
    handlers: dict[str, Handler] = {}
    for name, unary in methods.unary.items():
        meter = requests.of(_short(name))
        handlers[name] = grpc.unary_unary_rpc_method_handler(
            _unary(name, unary, calls, memory, meter)
        )
    for name, stream in methods.streams.items():
        meter = requests.of(_short(name))
        handlers[name] = grpc.stream_stream_rpc_method_handler(
            _stream(name, stream, calls, memory, meter)
        )
    return handlers


def _short(name: str) -> str:
    """`/logd.v1.Log/Produce` is `Produce`."""
    return name.rpartition("/")[2]


def peer_of(context: Context) -> str:
    """The connection's other end, such as `ipv4:127.0.0.1:40312`."""
    return str(context.peer())[:_PEER_CHARACTERS_MAX]


def told(error: BaseException, where: str) -> LogdError:
    """What the peer is told about `error`, free of the frames, and the request, that it came from.

    An exception kept in a variable of a frame on its own trace is a cycle: without this, the
    request of every call that fails would stay in memory until the collector looks for cycles.
    """
    shown = presentable(error, where).with_traceback(None)
    shown.__context__ = shown.__cause__ = None
    return shown


async def abort(context: Context, error: LogdError) -> None:
    """End the call with `error`; raises gRPC's own exception, which must leave the handler."""
    await context.abort(status_of(error.code), details_of(error), trailers(error))


def _unary(
    name: str, method: UnaryMethod, calls: Calls, memory: Memory, meter: ApiMeter
) -> Callable[[Any, Any], Awaitable[bytes]]:
    async def attempt(data: bytes, peer: str) -> bytes | LogdError:
        try:
            with calls.admitted(peer):
                request = parse_request(method.request_type, data)
                del data
                work = method.handler(request, Connection(peer))
                if not method.waits:
                    return _serialized(await work)
                return _serialized(await _unless_stopped(work, calls))
        except Exception as error:
            return told(error, name)

    async def call(data: bytes, context: Context) -> bytes:
        begun_ns = time.monotonic_ns()
        memory.requested(len(data))
        attempted = attempt(data, peer_of(context))
        # gRPC's abort leaves this frame in a cycle with the call: it must not hold the request.
        del data
        result = await attempted
        duration_ns = time.monotonic_ns() - begun_ns
        if isinstance(result, LogdError):
            meter.failed(result.code.name, duration_ns)
            await abort(context, result)
            return b""
        meter.succeeded(duration_ns)
        return result

    return call


class _Waiting:
    """A unary call that may wait for long, in the task that serves it."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self.stopped = False

    def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            self._task.cancel()


async def _unless_stopped(work: Awaitable[Message], calls: Calls) -> Message:
    """The answer of `work`; raises ShuttingDownError once the node is about to stop."""
    task = asyncio.current_task()
    assert task is not None
    waiting = _Waiting(task)
    try:
        # No task of its own: thousands may be waiting, each for a few seconds.
        with calls.told_to_stop(waiting):
            return await work
    except asyncio.CancelledError:
        if not waiting.stopped or task.uncancel():
            raise
        raise shutting_down() from None


def _serialized(message: Message) -> bytes:
    data = message.SerializeToString()
    if len(data) > MESSAGE_BYTES_MAX:
        raise InvalidRequestError(
            f"the answer has {len(data)} bytes, at most {MESSAGE_BYTES_MAX} can be sent",
            hint="ask for less in one request",
        )
    return data


def _stream(
    name: str, method: StreamMethod, calls: Calls, memory: Memory, meter: ApiMeter
) -> Callable[[Any, Any], Awaitable[None]]:
    async def serve(_requests: object, context: Context) -> None:
        peer = peer_of(context)
        try:
            with calls.admitted(peer):
                stream = GrpcStream(context, method.request_type, Connection(peer), memory)
                with calls.told_to_stop(stream):
                    await method.handler(stream)
                return
        except ClientGone:
            return
        except Exception as error:
            failure = told(error, name)
        # What goes well on a stream is counted piece by piece where it is done.
        meter.failed(failure.code.name)
        await abort(context, failure)

    return serve


class GrpcStream:
    """Implements `ServerStream` over one gRPC call."""

    def __init__(
        self,
        context: Context,
        request_type: type[Message],
        connection: Connection,
        memory: Memory,
    ) -> None:
        self._memory = memory
        self.connection = connection
        self._context = context
        self._request_type = request_type
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reading: asyncio.Future[Any] | None = None

    def stop(self) -> None:
        """Make `read` raise ShuttingDownError from now on."""
        if not self._stopped.done():
            self._stopped.set_result(None)

    async def read(self) -> Message | None:
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._context.read())
            # A read that is under way when the call ends fails after nobody waits for it.
            self._reading.add_done_callback(_retrieved)
        # A read cannot be taken back, so a stop leaves it under way until the call has ended.
        await asyncio.wait((self._reading, self._stopped), return_when=asyncio.FIRST_COMPLETED)
        if self._stopped.done():
            raise shutting_down()
        reading, self._reading = self._reading, None
        try:
            data = reading.result()
        except grpc.aio.BaseError:
            raise ClientGone from None
        if data is grpc.aio.EOF:
            return None
        self._memory.requested(len(data))
        return parse_request(self._request_type, data)

    async def write(self, message: Message) -> None:
        data = message.SerializeToString()
        # A stalled client keeps this waiting: one copy of the data is enough meanwhile.
        del message
        try:
            await self._context.write(data)
        except grpc.aio.BaseError:
            raise ClientGone from None


def _retrieved(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
