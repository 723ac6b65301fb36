"""The edge without gRPC: methods as tables, streams and connections as protocols.

The same tables are bound to a gRPC server by `logd.rpc.server` and to an in-memory network by
`logd.testing`, so that a simulation runs the edge as it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from google.protobuf.message import Message


class ClientGone(Exception):
    """The client gave the call up, or its connection broke; nobody is left to answer."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Who is calling: `peer` is one transport connection, as text that may be logged."""

    peer: str
    principal: str = "anonymous"


class ServerStream(Protocol):
    """The node's side of one bidirectional stream. One task reads and one writes at a time.

    When the client is gone, both methods raise ClientGone, or the handler is cancelled.
    """

    connection: Connection

    async def read(self) -> Message | None:
        """The next request; None when the client ended its side in good order.

        Raises InvalidRequestError for bytes that are no request, and ShuttingDownError once the
        node is about to stop: the handler finishes what it has begun and lets the error out.
        """
        ...

    async def write(self, message: Message) -> None:
        """Send one response; waits while the client does not read."""
        ...


@dataclass(frozen=True, slots=True)
class UnaryMethod:
    """A call with one request and one response. The handler raises LogdError to refuse.

    `waits`: the handler may wait for something to happen; a node that stops cancels it.
    """

    request_type: type[Message]
    handler: Callable[[Any, Connection], Awaitable[Message]]
    waits: bool = False


@dataclass(frozen=True, slots=True)
class StreamMethod:
    """A bidirectional stream; it ends when the handler returns or raises LogdError."""

    request_type: type[Message]
    response_type: type[Message]
    handler: Callable[[ServerStream], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Methods:
    """Everything one node answers, by full method name ("/logd.v1.Log/Hello")."""

    unary: Mapping[str, UnaryMethod] = field(default_factory=dict)
    streams: Mapping[str, StreamMethod] = field(default_factory=dict)
