"""The edge on a real gRPC server, and calls to it as a client of another language would make them:
by name, with bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message
from logd_proto.v1 import common_pb2, log_pb2
from logd_wire.errors import LogdError
from logd_wire.limits import MESSAGE_BYTES_MAX

from logd.rpc.api import Methods
from logd.rpc.calls import CallLimits
from logd.rpc.edge import Edge, ThreadOffload
from logd.rpc.errors import ERROR_TRAILER, from_proto
from logd.rpc.methods import SERVICES, build_methods
from logd.rpc.server import RpcServer
from logd.runtime.adapters import SystemClock
from tests.support.rpc_broker import FakeBroker

M = TypeVar("M", bound=Message)

LOG = "/logd.v1.Log/"
GROUP = "/logd.v1.Group/"
ADMIN = "/logd.v1.Admin/"
HEALTH = "/grpc.health.v1.Health/"

#: A client that checks nothing itself.
CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX + 65_536),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
]


@dataclass(slots=True)
class Serving:
    """A server that runs, what is behind it, and one connection to it."""

    broker: FakeBroker
    server: RpcServer
    port: int
    channel: grpc.aio.Channel

    def connect(self, options: Iterable[tuple[str, Any]] = ()) -> grpc.aio.Channel:
        """A channel with a connection of its own; the caller closes it."""
        return connect(self.port, options)


def connect(port: int, options: Iterable[tuple[str, Any]] = ()) -> grpc.aio.Channel:
    """A channel with a connection of its own; the caller closes it."""
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[*CHANNEL_OPTIONS, *options])


def method_table(broker: FakeBroker | None = None) -> Methods:
    """The handlers of the edge, without a server."""
    return build_methods(Edge(cast(Any, broker), SystemClock(), ThreadOffload()))


@asynccontextmanager
async def serving(
    broker: FakeBroker | None = None,
    limits: CallLimits | None = None,
    offload: ThreadOffload | None = None,
) -> AsyncIterator[Serving]:
    """Run the edge over `broker` on a free port."""
    broker = broker or FakeBroker()
    offload = offload or ThreadOffload()
    edge = Edge(cast(Any, broker), SystemClock(), offload)
    server = RpcServer(build_methods(edge), services=SERVICES, limits=limits)
    port = await server.start("127.0.0.1:0")
    channel = connect(port)
    try:
        yield Serving(broker, server, port, channel)
    finally:
        await channel.close()
        await server.stop(0)
        offload.close()


async def call(
    channel: grpc.aio.Channel,
    method: str,
    request: Message | bytes,
    answer: type[M],
    **options: Any,
) -> M:
    """Make one unary call; raises the LogdError that came in the trailer."""
    data = request if isinstance(request, bytes) else request.SerializeToString()
    options.setdefault("timeout", 20)
    try:
        response = await cast(Any, channel.unary_unary(method))(data, **options)
    except grpc.aio.AioRpcError as error:
        raise typed(error) from error
    return answer.FromString(response)


def typed(error: grpc.aio.AioRpcError) -> LogdError:
    """The error that a call ended with; AssertionError when it carried none of ours."""
    for key, value in error.trailing_metadata() or ():
        if key == ERROR_TRAILER:
            return from_proto(common_pb2.Error.FromString(cast(bytes, value)))
    raise AssertionError(f"an error without {ERROR_TRAILER}: {error.code()} {error.details()}")


async def hello(channel: grpc.aio.Channel) -> None:
    """Ask whether the server serves."""
    await call(channel, LOG + "Hello", b"", log_pb2.HelloResponse)


class ClientStream:
    """A bidirectional stream of bytes."""

    def __init__(self, channel: grpc.aio.Channel, method: str, answer: type[Message]) -> None:
        self._call: Any = channel.stream_stream(method)()
        self._answer = answer

    async def send(self, request: Message | bytes) -> bool:
        """Send one request; False when the stream has ended, and `receive` tells why."""
        data = request if isinstance(request, bytes) else request.SerializeToString()
        try:
            await self._call.write(data)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return False
        return True

    async def receive(self) -> Any:
        """The next answer; None at the end. Raises the LogdError that the stream ended with."""
        try:
            data = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise typed(error) from error
        return None if data is grpc.aio.EOF else self._answer.FromString(data)

    async def half_close(self) -> None:
        await self._call.done_writing()

    def cancel(self) -> None:
        self._call.cancel()


async def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until `condition` holds; AssertionError when it does not within so long."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not come to pass"
        await asyncio.sleep(0.005)
