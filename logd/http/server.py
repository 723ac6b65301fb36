"""The listener of the admin port: who may connect, and the end in good order."""

from __future__ import annotations

import asyncio
import logging
import socket

from logd_wire.errors import ConfigError

from logd.http.connection import Handler, HttpConnection, HttpLimits

_logger = logging.getLogger("logd.http")

_BACKLOG = 64


class HttpServer:
    """Serves `handler` on one address. Start and stop it once, on one event loop.

    With all connections in use, a new one takes the place of the oldest that is not being
    answered: whoever holds connections open, or sends slowly, keeps nobody else out.
    """

    def __init__(self, handler: Handler, limits: HttpLimits | None = None) -> None:
        self._handler = handler
        self._limits = limits or HttpLimits()
        # A dict keeps the order in which they came.
        self._connections: dict[HttpConnection, asyncio.Task[None] | None] = {}

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def start(self, address: str, *, or_any_port: bool = False) -> str:
        """Listen on `address` ("host:port", port 0: any) and return it with its real port.

        `or_any_port`: take a free port of that host when the one named is taken. Raises
        ConfigError when the address cannot be had.
        """
        host, _, port = address.rpartition(":")
        try:
            bound = await _bind(host, int(port))
        except OSError as error:
            if not or_any_port:
                raise _unavailable(address) from error
            try:
                bound = await _bind(host, 0)
            except OSError:
                raise _unavailable(address) from error
        self._server = await asyncio.start_server(
            self._accepted, sock=bound, backlog=_BACKLOG, limit=self._limits.head_bytes_max
        )
        return f"{host}:{bound.getsockname()[1]}"

    async def stop(self, grace_s: float) -> None:
        """Accept nobody, let answers under way be taken, and close; at most about `grace_s`."""
        self._server.close()
        for connection in self._connections:
            connection.stop()
        tasks = [task for task in self._connections.values() if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = HttpConnection(reader, writer, self._handler, self._limits)
        if not self._server.is_serving() or not self._has_room():
            writer.transport.abort()
            return
        self._connections[connection] = asyncio.current_task()
        try:
            await connection.run()
        finally:
            self._connections.pop(connection, None)

    def _has_room(self) -> bool:
        """Whether one more may come; ends the one that it takes the place of."""
        if len(self._connections) < self._limits.connections_max:
            return True
        idle = next((other for other in self._connections if not other.busy), None)
        if idle is None:
            return False
        del self._connections[idle]
        idle.stop()
        return True


async def _bind(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        # A second socket could be bound to the same port, until one of them listens.
        bound.listen(_BACKLOG)
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


def _unavailable(address: str) -> ConfigError:
    return ConfigError(
        f"cannot listen on {address}",
        hint="another process may have the port, or the address is not this machine's: check"
        " listeners.admin, or leave it empty",
    )
