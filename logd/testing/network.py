"""An in-memory network between the client's `Transport` and a node's `Methods`.

Messages are serialised when they are sent and parsed when they arrive, so nothing is shared
between the sides. One connection behaves like one TCP connection: each direction keeps its order
and has its own delay, may stall, and may be reset. After a reset each side learns of it in its
own time, so a node may still append what it has received while the client already knows that the
connection is gone. Faults are the caller's: `reset`, `stall`, `unlisten`, `interceptor`.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass

from google.protobuf.message import Message
from logd_wire.errors import NetworkError

from logd.rpc.api import Methods
from logd.testing.rng import SimRng
from logd.testing.streams import ClientStream, ServerSide, UnaryCall
from logd.testing.trace import Trace

#: How often `shut_down` looks whether all calls have ended; virtual seconds.
SHUT_DOWN_POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class LinkProfile:
    """How a path behaves. Delays of one message, one way, in milliseconds: `delay_ms_min` plus an
    exponential part with mean `delay_ms_mean`. `window_bytes` bounds what one direction of one
    stream holds unread before its writer waits."""

    delay_ms_min: float = 0.1
    delay_ms_mean: float = 0.4
    delay_ms_max: float = 2_000.0
    detect_ms_max: float = 200.0
    window_bytes: int = 64 * 1024


#: Later than any simulation lasts; virtual seconds.
FOREVER = 1e12

#: Whether nothing passes between a client and an address.
Cut = Callable[[str, str], bool]
#: (connection, method, towards the node?, serialised message) -> reset instead of passing it on?
Interceptor = Callable[["SimConnection", str, bool, bytes], bool]


class _Pipe:
    """One direction of a connection: delivers in order, each item no earlier than its delay.

    Its timers are nobody's (`context`): what was sent arrives whatever becomes of the sender.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        self._loop = loop
        self._context = context
        self._items: deque[tuple[float, Callable[[], None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.blocked_until = 0.0

    def send(self, delay: float, deliver: Callable[[], None]) -> None:
        self._items.append((self._loop.time() + delay, deliver))
        if self._timer is None:
            self._arm()

    def _arm(self) -> None:
        at = max(self._items[0][0], self.blocked_until, self._loop.time())
        self._timer = self._loop.call_at(at, self._fire, context=self._context)

    def _fire(self) -> None:
        self._timer = None
        if self._loop.time() >= self.blocked_until:
            _, deliver = self._items.popleft()
            deliver()
        if self._items and self._timer is None:
            self._arm()

    def block_until(self, at: float) -> None:
        """Deliver nothing before `at`, which may be earlier than what was said before."""
        self.blocked_until = at
        if self._timer is not None:
            self._timer.cancel()
            self._arm()

    def clear(self) -> None:
        self._items.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class SimConnection:
    """One connection from one client to one incarnation of a node."""

    def __init__(self, network: SimNetwork, client: str, address: str, number: int) -> None:
        self.network = network
        self.loop = network.loop
        self.window_bytes = network.link.window_bytes
        self.client = client
        self.address = address
        self.number = number
        self.peer = f"sim:{client}:{number}"
        self.open = True
        self._streams: dict[int, ClientStream | UnaryCall] = {}
        self._next_stream = 0
        self._server = ServerSide(self)
        self._to_server = _Pipe(network.loop, network.context)
        self._to_client = _Pipe(network.loop, network.context)
        if network.is_cut(client, address):
            self.hold()
        self.send_control(True, self._arrive)

    def _arrive(self) -> None:
        """The first packet reaches the address: somebody listens, or the connection is refused."""
        listener = self.network.listening(self.address)
        if listener is None:
            self.network.trace(f"net {self.peer} refused")
            self.send_control(False, lambda: self._lost("connection refused"))
        else:
            self._server.accept(*listener)
            if self.network.stopping(self.address):
                self._server.stop()

    def attach(self, call: ClientStream | UnaryCall) -> int:
        """Register a client's call; returns its number on this connection."""
        self._next_stream += 1
        self._streams[self._next_stream] = call
        return self._next_stream

    def detach(self, number: int) -> None:
        self._streams.pop(number, None)

    @property
    def server(self) -> ServerSide:
        return self._server

    def send_control(self, to_server: bool, deliver: Callable[[], None]) -> None:
        """Pass something without a body: an opening, an end, a credit."""
        if self.open:
            pipe = self._to_server if to_server else self._to_client
            pipe.send(self.network.draw_delay(), deliver)

    def send(
        self, to_server: bool, method: str, data: bytes, deliver: Callable[[bytes], None]
    ) -> None:
        """Pass one message; an interceptor may reset the connection instead."""
        if not self.open:
            return
        network = self.network
        if network.intercepts(self, method, to_server, data):
            self.reset("reset by a fault")
            return
        arrow = ">" if to_server else "<"
        network.trace(f"net {self.peer} {arrow} {method} {len(data)} {zlib.crc32(data):08x}")
        self.send_control(to_server, lambda: deliver(data))

    def stall(self, seconds: float) -> None:
        """Hold both directions for a while; nothing is lost."""
        until = self.network.loop.time() + seconds
        self._to_server.blocked_until = max(self._to_server.blocked_until, until)
        self._to_client.blocked_until = max(self._to_client.blocked_until, until)

    def hold(self) -> None:
        """Hold both directions until `let_go`."""
        self._to_server.block_until(FOREVER)
        self._to_client.block_until(FOREVER)

    def let_go(self) -> None:
        """End what `hold` or `stall` began: what was held arrives now."""
        self._to_server.block_until(0.0)
        self._to_client.block_until(0.0)

    def reset(self, reason: str, *, node_gone: bool = False) -> None:
        """Break the connection: what is under way is lost, each side learns of it later.

        With `node_gone` the node's side ends at once: its process does not exist any more.
        """
        if not self.open:
            return
        self.open = False
        self.network.trace(f"net {self.peer} reset: {reason}")
        self._to_server.clear()
        self._to_client.clear()
        network, loop = self.network, self.network.loop
        if node_gone:
            self._server.end()
        else:
            loop.call_later(network.draw_detection(), self._server.end, context=network.context)
        loop.call_later(network.draw_detection(), self._lost, reason, context=network.context)
        network.forget(self)

    def close(self) -> None:
        """The client hangs up: its calls end now, the node learns of it one delay later."""
        if self.open:
            self.open = False
            self._to_client.clear()
            self._to_server.send(self.network.draw_delay(), self._server.end)
            self.network.forget(self)
        self._lost("the channel was closed")

    def handler_failed(self, method: str, error: BaseException) -> None:
        """A handler ended with something that is no LogdError: a bug of the node."""
        self.network.report(method, error)
        self.reset("the handler failed")

    def _lost(self, reason: str) -> None:
        if self.open:
            self.open = False
            self._server.end()
            self.network.forget(self)
        for call in list(self._streams.values()):
            call.fail(NetworkError(f"connection lost: {reason}", broker=self.address))
        self._streams.clear()


class SimChannel:
    """Implements the client's `Channel`: connects at the first call, again after a loss."""

    def __init__(self, network: SimNetwork, client: str, address: str) -> None:
        self.address = address
        self._network = network
        self._client = client
        self._connection: SimConnection | None = None
        self._closed = False

    def _connect(self) -> SimConnection:
        if self._closed:
            raise NetworkError("the channel was closed", broker=self.address)
        if self._connection is None or not self._connection.open:
            self._connection = self._network.new_connection(self._client, self.address)
        return self._connection

    async def unary(self, method: str, request: Message, *, timeout_ms: float) -> Message:
        call = UnaryCall(self._connect(), method)
        return await call.run(request, timeout_ms)

    def stream(self, method: str) -> ClientStream:
        return ClientStream(self._connect(), method)

    async def close(self) -> None:
        self._closed = True
        if self._connection is not None:
            self._connection.close()


class SimTransport:
    """Implements the client's `Transport`; `name` appears in peers and traces."""

    def __init__(self, network: SimNetwork, name: str) -> None:
        self._network = network
        self._name = name

    def connect(self, address: str) -> SimChannel:
        return SimChannel(self._network, self._name, address)


class SimNetwork:
    """All addresses and connections of one simulation.

    `failures` collects exceptions that left a handler without being a LogdError, which are bugs of
    a node, and those of the interceptor.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        rng: SimRng,
        trace: Trace,
        *,
        link: LinkProfile | None = None,
    ) -> None:
        self.loop = loop
        self.trace = trace
        #: That of whoever makes the network, and of no simulated process.
        self.context = copy_context()
        self.link = link or LinkProfile()
        self.interceptor: Interceptor | None = None
        self.failures: list[str] = []
        self._rng = rng
        self._cut: Cut | None = None
        self._listeners: dict[str, tuple[Methods, Context]] = {}
        self._stopping: dict[str, None] = {}
        self._connections: dict[int, SimConnection] = {}
        self._next_connection = 0

    def listen(self, address: str, methods: Methods) -> None:
        """Answer connections to `address` with `methods` from now on; handlers run in copies of
        the caller's context."""
        if address in self._listeners:
            raise OSError(f"{address} is in use")
        self._listeners[address] = (methods, copy_context())

    def unlisten(self, address: str, *, node_gone: bool = False) -> None:
        """Refuse connections to `address` and break those there are."""
        self._listeners.pop(address, None)
        self._stopping.pop(address, None)
        for connection in self.connections(address):
            connection.reset("the node went away", node_gone=node_gone)

    async def shut_down(self, address: str, grace_s: float) -> None:
        """Refuse new calls with SHUTTING_DOWN, let those under way end for `grace_s` at most, then
        break what is left and refuse connections."""
        self._stopping[address] = None
        for connection in self.connections(address):
            connection.server.stop()
        deadline = self.loop.time() + grace_s
        while self.loop.time() < deadline:
            if not any(each.server.busy for each in self.connections(address)):
                break
            await asyncio.sleep(SHUT_DOWN_POLL_S)
        self.unlisten(address)

    def stopping(self, address: str) -> bool:
        return address in self._stopping

    def listening(self, address: str) -> tuple[Methods, Context] | None:
        return self._listeners.get(address)

    def transport(self, name: str) -> SimTransport:
        """A client's door to this network."""
        return SimTransport(self, name)

    def connections(self, address: str | None = None) -> list[SimConnection]:
        """Open connections, oldest first."""
        found = self._connections.values()
        return [each for each in found if address is None or each.address == address]

    def new_connection(self, client: str, address: str) -> SimConnection:
        self._next_connection += 1
        connection = SimConnection(self, client, address, self._next_connection)
        self._connections[connection.number] = connection
        return connection

    def partition(self, cut: Cut | None) -> None:
        """Hold everything between a client and an address for which `cut(client, address)`, also
        what is connected later; None: nothing any more. What was held arrives then."""
        self._cut = cut
        for connection in self.connections():
            if self.is_cut(connection.client, connection.address):
                connection.hold()
            else:
                connection.let_go()

    def is_cut(self, client: str, address: str) -> bool:
        return self._cut is not None and self._cut(client, address)

    def hang_up(self, client: str) -> None:
        """A client is gone: break its connections."""
        for connection in self.connections():
            if connection.client == client:
                connection.reset("the client went away")

    def forget(self, connection: SimConnection) -> None:
        self._connections.pop(connection.number, None)

    def intercepts(
        self, connection: SimConnection, method: str, to_server: bool, data: bytes
    ) -> bool:
        """Whether the interceptor wants the connection reset; its own errors are failures."""
        if self.interceptor is None:
            return False
        try:
            return self.interceptor(connection, method, to_server, data)
        except Exception as error:
            self.report(f"the interceptor, at {method}", error)
            return False

    def draw_delay(self) -> float:
        """Seconds that one message takes one way."""
        link = self.link
        extra = self._rng.exponential(link.delay_ms_mean, link.delay_ms_max)
        return (link.delay_ms_min + extra) / 1000

    def draw_detection(self) -> float:
        """Seconds until one side learns that its connection is gone."""
        return self._rng.random() * self.link.detect_ms_max / 1000

    def report(self, method: str, error: BaseException) -> None:
        self.failures.append(f"{method}: {error!r}")
        self.trace(f"net handler of {method} failed: {error!r}")
