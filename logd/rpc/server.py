"""The gRPC server of one node: listener, transport limits, start and stop in good order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from google.protobuf.internal import api_implementation
from logd_wire.errors import ConfigError
from logd_wire.limits import KIB, MESSAGE_BYTES_MAX

from logd.observe import RequestMeters
from logd.rpc.api import Methods
from logd.rpc.binding import bind
from logd.rpc.calls import CallLimits, Calls
from logd.rpc.memory import Memory
from logd.rpc.probes import Probes
from logd.rpc.transport import Transport

logger = logging.getLogger(__name__)

#: Calls that reach Python beyond `CallLimits.calls_max`, to be refused in words; more are refused
#: by gRPC itself.
_REFUSALS_MAX: Final = 256
#: Streams that the transport allows beyond `calls_per_connection_max`: without them a client's
#: surplus call would wait in silence, where it is now refused in words.
_STREAMS_MARGIN: Final = 16
#: What is left for transport work after the calls have ended.
_CLOSE_GRACE_S: Final = 0.5


def transport_options(limits: CallLimits) -> list[tuple[str, int]]:
    """Options of the transport; those not named here stay at gRPC's defaults.

    A connection's age is not limited: ending it would end the streams on it, which live as long
    as their clients.
    """
    return [
        # Without this a second node could bind the same port and take half of the connections.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX + 64 * KIB),
        ("grpc.max_metadata_size", 8 * KIB),
        ("grpc.absolute_max_metadata_size", 8 * KIB),
        ("grpc.max_concurrent_streams", limits.calls_per_connection_max + _STREAMS_MARGIN),
        # Otherwise gRPC refuses streams while those that have ended, and are not tidied up yet by
        # a busy node, make up more than the limit: a client within its limit would be refused.
        # Calls that are reset as soon as they are made are bounded by those of the node.
        ("grpc.http.overload_protection", 0),
        # Calls that Python has not taken yet. Left to itself, gRPC cancels some beyond a thousand,
        # and all beyond three, without a word: the members of large groups come all at once when
        # their coordinator has moved, and find a node busy for a second.
        ("grpc.server.max_pending_requests", limits.calls_max),
        ("grpc.server.max_pending_requests_hard_limit", limits.calls_max),
        ("grpc.server_handshake_timeout_ms", 5_000),
        # Connections without calls go after five minutes; clients connect again when they need to.
        ("grpc.max_connection_idle_ms", 300_000),
        # Clients and other nodes may ping every second, to notice soon that this node is frozen or
        # cut off; the third ping too many ends the connection.
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_ping_strikes", 2),
        # A client that vanished without a word, or does not read its socket, is found by pings.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.ping_timeout_ms", 20_000),
        ("grpc.http2.max_pings_without_data", 0),
        # A stream that is not read holds up to twice as much in the transport, and no more: what is
        # announced for a message under way comes on top of the window, and is not taken back when
        # the message has been read (seen in grpcio 1.85.1; once or twice, by the messages' sizes).
        # Left to itself, gRPC would grow the window of every stream with the connection's speed.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 256 * KIB),
        # A connection sets aside what its next read may bring, and keeps it while nothing comes:
        # without a limit, as much as its fastest reads ever brought.
        ("grpc.experimental.tcp_max_read_buffer_size", 64 * KIB),
    ]


class RpcServer:
    """Serves `methods` on one address. Start and stop it once, on one event loop."""

    def __init__(
        self,
        methods: Methods,
        *,
        services: Sequence[str],
        limits: CallLimits | None = None,
        requests: RequestMeters | None = None,
    ) -> None:
        """`services`: full names of the services in `methods`, for health and reflection;
        `requests`: where calls are counted."""
        _require_fast_protobuf()
        self.calls = Calls(limits or CallLimits())
        self._probes = Probes(services, self.calls)
        self._transport = Transport(
            {
                **bind(methods, self.calls, Memory(), requests or RequestMeters()),
                **self._probes.handlers(),
            },
            options=transport_options(self.calls.limits),
            rpcs_max=self.calls.limits.calls_max + _REFUSALS_MAX,
        )

    async def start(self, address: str) -> int:
        """Listen on `address` ("host:port", port 0: any) and return the port.

        Raises ConfigError when the address cannot be had.
        """
        try:
            port = self._transport.listen(address)
        except OSError:
            raise ConfigError(
                f"cannot listen on {address}",
                hint="another process may have the port, or the address is not this machine's",
            ) from None
        await self._transport.start()
        await self._probes.set_serving(True)
        return port

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let those under way end, and close; at most about `grace_s` seconds.

        New calls get SHUTTING_DOWN while old ones are ending. Streams answer what they have
        accepted and end with SHUTTING_DOWN. What is left after the grace time is cancelled.
        """
        deadline = asyncio.get_running_loop().time() + grace_s
        await self._probes.set_serving(False)
        self.calls.stop()
        if not await self.calls.wait_idle(grace_s):
            logger.warning("%d calls did not end within %.1f s", self.calls.under_way, grace_s)
        left_s = deadline - asyncio.get_running_loop().time()
        await self._transport.stop(max(min(left_s, _CLOSE_GRACE_S), 0))


def _require_fast_protobuf() -> None:
    """The other backends of protobuf differ in speed by 50 times and in their recursion limits."""
    backend = api_implementation.Type()
    if backend != "upb":
        raise ConfigError(
            f"protobuf runs on its backend {backend!r}",
            hint="install a protobuf wheel with 'upb', and unset"
            " PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION",
        )
