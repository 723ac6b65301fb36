"""Three nodes of raftos 0.2.6 whose messages are delivered by hand.

Nothing of the library is changed. Its UDP server is replaced by a list of messages, its timers are
so long that none fires, and one name that asyncio no longer has is given back to the one module
that refers to it. So a run has one order of events, chosen by the test.

The library comes without stubs and is imported by name, by whoever found that it is installed.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.loops import settle

HOST = "127.0.0.1"

#: (from, to, fields); nodes are known by their port.
Message = tuple[int, int, dict[str, Any]]


def asyncio_of_old() -> types.ModuleType:
    """Return asyncio with `asyncio.futures.InvalidStateError`, which 3.8 took away."""
    futures = types.ModuleType("asyncio.futures")
    futures.__dict__.update(asyncio.futures.__dict__)
    futures.__dict__["InvalidStateError"] = asyncio.InvalidStateError
    module = types.ModuleType("asyncio")
    module.__dict__.update(asyncio.__dict__)
    module.__dict__["futures"] = futures
    return module


class Wire:
    """What was sent and not yet delivered, in the order in which it was sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def take(self, source: int, target: int) -> list[Message]:
        """Remove and return what is under way from `source` to `target`."""
        taken = [message for message in self.messages if message[:2] == (source, target)]
        self.messages = [message for message in self.messages if message not in taken]
        return taken


class Server:
    """What `raftos.state.State` asks of a server."""

    def __init__(self, port: int, others: list[int], wire: Wire) -> None:
        self.host = HOST
        self.port = port
        self.loop = asyncio.get_running_loop()
        self.cluster = [(HOST, other) for other in others]
        self._wire = wire

    @property
    def cluster_count(self) -> int:
        return len(self.cluster)

    async def send(self, data: dict[str, Any], destination: str | tuple[str, int]) -> None:
        port = destination.rpartition(":")[2] if isinstance(destination, str) else destination[1]
        self._wire.messages.append((self.port, int(port), dict(data)))

    def broadcast(self, data: dict[str, Any]) -> None:
        for _, port in self.cluster:
            self._wire.messages.append((self.port, port, dict(data)))


class Nodes:
    """A cluster in one folder. `nodes[port]` is the library's `State` of that node."""

    def __init__(self, raftos: Any, folder: Path, ports: list[int]) -> None:
        raftos.configure(
            {
                "log_path": f"{folder}/",
                "serializer": raftos.serializers.JSONSerializer,
                "cryptor": raftos.cryptors.DummyCryptor,
                "heartbeat_interval": 1_000_000,
            }
        )
        self._make: Callable[[Server], Any] = raftos.state.State
        self._ports = ports
        self._running: dict[int, Any] = {}
        self.wire = Wire()

    def __getitem__(self, port: int) -> Any:
        return self._running[port]

    def start(self, *ports: int) -> None:
        """Start nodes, or restart them: what was in their memory is gone."""
        for port in ports:
            self.stop(port)
            others = [other for other in self._ports if other != port]
            self._running[port] = self._make(Server(port, others, self.wire))
            self._running[port].start()

    def stop(self, *ports: int) -> None:
        for port in ports:
            if port in self._running:
                self._running.pop(port).stop()

    def close(self) -> None:
        self.stop(*list(self._running))

    async def tell(self, source: int, target: int, **fields: Any) -> None:
        """Deliver one message that the test made up."""
        self[target].request_handler({**fields, "sender": (HOST, source)})
        await settle()

    async def deliver(self, source: int, target: int) -> None:
        await settle()
        for _, _, fields in self.wire.take(source, target):
            await self.tell(source, target, **fields)

    async def exchange(self, left: int, right: int) -> None:
        """Deliver what is under way between two nodes: first one direction, then the other."""
        await self.deliver(left, right)
        await self.deliver(right, left)

    def role(self, port: int) -> str:
        return type(self[port].state).__name__

    def grants(self, source: int, target: int) -> list[int]:
        """Return the terms in which `source` granted its vote to `target`, not yet delivered."""
        return [
            fields["term"]
            for sender, receiver, fields in self.wire.messages
            if (sender, receiver) == (source, target) and fields.get("vote_granted")
        ]
