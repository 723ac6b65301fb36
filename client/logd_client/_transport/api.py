"""What the client needs of a transport. Implemented over gRPC and in memory (`logd.testing`)."""

from __future__ import annotations

from typing import Protocol

from google.protobuf.message import Message


class Stream(Protocol):
    """One bidirectional stream. Every method raises NetworkError once the stream is broken."""

    async def write(self, message: Message) -> None:
        """Send one message; waits while the peer does not read."""
        ...

    async def read(self) -> Message | None:
        """The next message; None when the peer ended the stream in good order."""
        ...

    def cancel(self) -> None:
        """Give the stream up; idempotent."""
        ...


class Channel(Protocol):
    """A connection to one address. It reconnects by itself; calls fail while it cannot."""

    address: str

    async def unary(self, method: str, request: Message, *, timeout_ms: float) -> Message:
        """Call `method` ("/logd.v1.Log/Hello").

        Raises the LogdError that the node answered with, NetworkError when there was no answer,
        TimeoutError after `timeout_ms`.
        """
        ...

    def stream(self, method: str) -> Stream: ...

    async def close(self) -> None: ...


class Transport(Protocol):
    """Opens channels. Opening does not connect: the first call does."""

    def connect(self, address: str) -> Channel: ...
