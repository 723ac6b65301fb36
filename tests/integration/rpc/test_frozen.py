"""Streams over gRPC to a node that is frozen: the connection stands, and nothing comes."""

from __future__ import annotations

import asyncio
import time

import pytest
from logd_client._engine.cluster import HELLO_TIMEOUT_MS, METADATA_TIMEOUT_MS
from logd_client._transport import methods
from logd_client._transport.grpc import (
    CHANNEL_OPTIONS,
    KEEPALIVE_TIME_MS,
    KEEPALIVE_TIMEOUT_MS,
    GrpcChannel,
    GrpcTransport,
)
from logd_proto.v1 import log_pb2
from logd_wire.errors import LogdError, NetworkError, TimeoutError

from logd.rpc.peer_transport import PEER_CHANNEL_OPTIONS
from tests.support.proxy import BreakingProxy
from tests.support.rpc_server import Serving

#: The usual ones would be waited for.
QUICK = [("grpc.keepalive_time_ms", 200), ("grpc.http2.ping_timeout_ms", 300)]


def test_a_frozen_node_is_given_up_within_five_seconds() -> None:
    assert KEEPALIVE_TIME_MS + KEEPALIVE_TIMEOUT_MS <= 4_000
    options = dict(CHANNEL_OPTIONS)
    assert options["grpc.http2.ping_timeout_ms"] == KEEPALIVE_TIMEOUT_MS
    assert max(HELLO_TIMEOUT_MS, METADATA_TIMEOUT_MS) <= 2_000
    # Other nodes are given up as soon.
    assert not {name for name, _ in PEER_CHANNEL_OPTIONS if "keepalive" in name or "ping" in name}


async def test_a_stream_to_a_frozen_node_ends(edge: Serving) -> None:
    with BreakingProxy(edge.port, lambda *_: False) as proxy:
        channel = GrpcTransport(options=QUICK).connect(proxy.address)
        stream = channel.stream(methods.FETCH)
        await stream.write(log_pb2.FetchRequest(credit_bytes=1))
        await channel.unary(methods.HELLO, log_pb2.HelloRequest(protocol_version=1), timeout_ms=5e3)
        proxy.held.set()
        begin = time.monotonic()
        with pytest.raises(NetworkError):
            await stream.read()
        assert time.monotonic() - begin < 3
        # It is found again once it goes on, by a new connection.
        proxy.held.clear()
        await _until_answered(channel)
        await channel.close()


async def test_a_stream_on_which_nothing_happens_stays(edge: Serving) -> None:
    """As long as the node answers pings, however often it is pinged in the usual way."""
    channel = GrpcTransport(options=[("grpc.keepalive_time_ms", 1_050)]).connect(
        f"127.0.0.1:{edge.port}"
    )
    stream = channel.stream(methods.FETCH)
    await stream.write(log_pb2.FetchRequest(credit_bytes=1))
    reading = asyncio.ensure_future(stream.read())
    # More pings than a node forgives.
    done, _ = await asyncio.wait((reading,), timeout=5.5)
    assert not done, reading.exception()
    reading.cancel()
    stream.cancel()
    await channel.close()


async def _until_answered(channel: GrpcChannel) -> None:
    hello = log_pb2.HelloRequest(protocol_version=1)
    deadline = time.monotonic() + 10
    while True:
        try:
            await channel.unary(methods.HELLO, hello, timeout_ms=2_000)
            return
        except LogdError:
            assert time.monotonic() < deadline


async def test_a_call_to_a_frozen_node_ends_with_its_time(edge: Serving) -> None:
    with BreakingProxy(edge.port, lambda *_: False) as proxy:
        channel = GrpcTransport(options=QUICK).connect(proxy.address)
        proxy.held.set()
        begin = time.monotonic()
        with pytest.raises((NetworkError, TimeoutError)):
            await channel.unary(methods.GET_METADATA, log_pb2.GetMetadataRequest(), timeout_ms=300)
        assert time.monotonic() - begin < 2
        await channel.close()
