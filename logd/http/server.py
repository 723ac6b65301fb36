"""The listener of the admin port: who may connect, and the end in good order."""

from __future__ import annotations

import asyncio
import logging
import socket

from logd_wire.errors import ConfigError

from logd.http.connection import Handler, HttpConnection, HttpLimits

_logger = logging.getLogger("logd.http")

_BACKLOG = 64
#: Without a file descriptor for one more connection, the next attempt is so much later.
_ACCEPT_PAUSE_S = 1.0
#: `fileno()` of a socket that was closed.
_CLOSED = -1


class HttpServer:
    """Serves `handler` on one address. Start and stop it once, on one event loop.

    With all connections in use, a new one takes the place of the oldest that is not being
    answered: whoever holds connections open, or sends slowly, keeps nobody else out.
    """

    def __init__(self, handler: Handler, limits: HttpLimits | None = None) -> None:
        self._handler = handler
        self._limits = limits or HttpLimits()
        # A dict keeps the order in which they came.
        self._connections: dict[HttpConnection, asyncio.Task[None]] = {}

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
        self._listening = bound
        self._accept_from_now_on()
        return f"{host}:{bound.getsockname()[1]}"

    async def stop(self, grace_s: float) -> None:
        """Accept nobody, let answers under way be taken, and close; at most about `grace_s`."""
        if self._listening.fileno() != _CLOSED:
            self._accept_no_more()
            self._listening.close()
        tasks = list(self._connections.values())
        for connection in self._connections:
            connection.stop()
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # An asyncio.Server that is closed between the accept and the next turn of its loop forgets the
    # connection without closing it, and the client waits for ever.

    def _accept_from_now_on(self) -> None:
        self._later: asyncio.TimerHandle | None = None
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def _accept_no_more(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listening)
        if self._later is not None:
            self._later.cancel()

    def _accept(self) -> None:
        """Take up one connection that is waiting."""
        try:
            accepted, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            _logger.error("cannot accept a connection to the admin port: %s", error)
            self._accept_no_more()
            loop = asyncio.get_running_loop()
            self._later = loop.call_later(_ACCEPT_PAUSE_S, self._accept_from_now_on)
            return
        if not self._has_room():
            accepted.close()
            return
        accepted.setblocking(False)
        connection = HttpConnection(accepted, self._handler, self._limits)
        task = asyncio.get_running_loop().create_task(connection.run())
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._connections.pop(connection, None))

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
