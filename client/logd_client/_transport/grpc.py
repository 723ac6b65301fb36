"""The transport over gRPC (grpc.aio). Plaintext; TLS comes with a later release."""

from __future__ import annotations

import asyncio
import builtins
import socket
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import grpc
import grpc.aio
from google.protobuf.message import Message
from logd_wire.errors import (
    ForkError,
    LogdError,
    NetworkError,
    TimeoutError,
)
from logd_wire.limits import MESSAGE_BYTES_MAX

from logd_client import _fork
from logd_client._transport.errors import ERROR_TRAILER, from_trailer
from logd_client._transport.methods import HELLO, RESPONSES

Options = Sequence[tuple[str, Any]]

#: Without a word from the node for so long it is pinged, while a call is under way.
KEEPALIVE_TIME_MS: Final = 1_500
#: A ping unanswered for so long ends the connection.
KEEPALIVE_TIMEOUT_MS: Final = 2_500

CHANNEL_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # A node that is frozen or cut off is noticed within four seconds, as long as somebody waits for
    # it: streams wait without end. The timeout is also how long sent bytes may go unacknowledged.
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    # gRPC looks at this one only, a minute if not set (seen in 1.85.1; grpc/grpc#39239).
    ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # The engine has its own backoff with jitter; gRPC's would only come on top of it.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    # Despite its name this is how long one attempt to connect may take: a busy node needs time, and
    # a network that comes back in between is found by the next one.
    ("grpc.min_reconnect_backoff_ms", 3_000),
    # One connection for each client: limits and budgets of a node count connections.
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy of the environment is meant for the web.
    ("grpc.enable_http_proxy", 0),
]
_DIAGNOSIS_SECONDS: Final = 1.0


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _translate(error: grpc.aio.AioRpcError, address: str, method: str) -> LogdError:
    """The node's own error where there is one; else what happened to the connection."""
    for key, value in error.trailing_metadata() or ():
        if key == ERROR_TRAILER and isinstance(value, bytes):
            return from_trailer(value, broker=address)
    status = error.code()
    details = error.details() or status.name
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimeoutError(f"no answer to {method} in time", broker=address)
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return NetworkError(
            f"what answers there does not know {method}",
            hint="that is not a logd port",
            broker=address,
            retriable=False,
        )
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return NetworkError(f"{method}: {details}", broker=address, retriable=False)
    return NetworkError(f"connection lost in {method}: {details}", broker=address)


async def diagnose(address: str, fallback: LogdError) -> LogdError:
    """Find out in words why `address` cannot be used; `fallback` if nothing better is found."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_DIAGNOSIS_SECONDS):
            await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except socket.gaierror as error:
        return NetworkError(f"DNS: {host} is not known ({error.strerror})", broker=address)
    except ConnectionRefusedError:
        return NetworkError("connection refused: nothing listens there", broker=address)
    except builtins.TimeoutError:
        return NetworkError("timeout: no answer to the connection attempt", broker=address)
    except OSError as error:
        return NetworkError(f"{error.strerror or error}", broker=address)
    writer.close()
    if isinstance(fallback, TimeoutError):
        return NetworkError(
            "something listens there but does not answer",
            hint="the node may be overloaded or frozen, or that is not a logd port",
            broker=address,
        )
    if "connection lost" in fallback.message:
        return NetworkError(
            "something listens there but does not speak gRPC",
            hint="that is not a logd port",
            broker=address,
        )
    return fallback


class GrpcStream:
    """See `Stream`."""

    def __init__(self, call: Any, address: str, method: str) -> None:
        self._call = call
        self._address = address
        self._method = method

    async def write(self, message: Message) -> None:
        try:
            await self._call.write(message)
        except grpc.aio.AioRpcError as error:
            raise _translate(error, self._address, self._method) from None
        except asyncio.InvalidStateError:
            raise NetworkError(f"{self._method} has ended", broker=self._address) from None

    async def read(self) -> Message | None:
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise _translate(error, self._address, self._method) from None
        except asyncio.InvalidStateError:
            raise NetworkError(f"{self._method} has ended", broker=self._address) from None
        if message is grpc.aio.EOF:
            return None
        assert isinstance(message, Message)
        return message

    def cancel(self) -> None:
        self._call.cancel()


class GrpcChannel:
    """See `Channel`."""

    def __init__(
        self,
        address: str,
        *,
        responses: Mapping[str, type[Message]] = RESPONSES,
        options: Options = (),
    ) -> None:
        """`options`: of gRPC, beside or in place of those of every channel."""
        self.address = address
        self._responses = responses
        merged = list({**dict(CHANNEL_OPTIONS), **dict(options)}.items())
        self._channel = grpc.aio.insecure_channel(address, options=merged)

    async def unary(self, method: str, request: Message, *, timeout_ms: float) -> Message:
        call = self._channel.unary_unary(
            method,
            request_serializer=_serialize,
            response_deserializer=self._responses[method].FromString,
        )
        try:
            response = await call(request, timeout=timeout_ms / 1000)
        except grpc.aio.AioRpcError as error:
            translated = _translate(error, self.address, method)
            if method == HELLO and isinstance(translated, NetworkError | TimeoutError):
                translated = await diagnose(self.address, translated)
            raise translated from None
        assert isinstance(response, Message)
        return response

    def stream(self, method: str) -> GrpcStream:
        multi = self._channel.stream_stream(
            method,
            request_serializer=_serialize,
            response_deserializer=self._responses[method].FromString,
        )
        return GrpcStream(multi(), self.address, method)

    async def close(self) -> None:
        await self._channel.close()


class GrpcTransport:
    """See `Transport`. To be used on one event loop.

    Raises ForkError in a child of a process that has used gRPC here: gRPC's threads do not exist
    in the child, and using it there crashes.
    """

    #: Generation of the first process that used gRPC here.
    _first_generation: ClassVar[int | None] = None

    def __init__(
        self, *, responses: Mapping[str, type[Message]] = RESPONSES, options: Options = ()
    ) -> None:
        """`responses`: what each method that is called answers with."""
        self._responses = responses
        self._options = options
        generation = _fork.current.number
        if GrpcTransport._first_generation is None:
            GrpcTransport._first_generation = generation
        if GrpcTransport._first_generation != generation:
            raise ForkError(
                "the parent of this forked process has already used a client of logd, and gRPC "
                "does not survive a fork",
                hint="use no client before the fork, or start processes with 'spawn' or "
                "'forkserver'",
            )

    def connect(self, address: str) -> GrpcChannel:
        return GrpcChannel(address, responses=self._responses, options=self._options)
