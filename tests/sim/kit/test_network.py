"""The in-memory network: order, errors as they travel, resets, stalls, back-pressure."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from google.protobuf.message import Message
from logd_proto.v1 import log_pb2
from logd_wire.errors import NetworkError, OffsetOutOfRangeError, TimeoutError

from logd.rpc.api import Connection, Methods, ServerStream, StreamMethod, UnaryMethod
from logd.testing.loop import VirtualLoop
from logd.testing.network import LinkProfile, SimConnection, SimNetwork
from logd.testing.rng import SimRng
from logd.testing.trace import Trace

ECHO = "/test/Echo"
HELLO = "/test/Hello"
NODE = "node:1"


async def hello(request: log_pb2.HelloRequest, connection: Connection) -> Message:
    if request.client_id == "slow":
        await asyncio.sleep(60)
    if request.client_id == "refuse":
        raise OffsetOutOfRangeError("offset 9 is gone", hint="seek", next_offset=12)
    if request.client_id == "bug":
        raise ValueError("not a LogdError")
    return log_pb2.HelloResponse(cluster_id=request.client_id, version=connection.peer)


async def echo(stream: ServerStream) -> None:
    while (message := await stream.read()) is not None:
        assert isinstance(message, log_pb2.HelloRequest)
        if message.client_id == "end":
            return
        await stream.write(log_pb2.HelloResponse(cluster_id=message.client_id))


METHODS = Methods(
    unary={HELLO: UnaryMethod(log_pb2.HelloRequest, hello)},
    streams={ECHO: StreamMethod(log_pb2.HelloRequest, log_pb2.HelloResponse, echo)},
)


def run(test: Callable[[SimNetwork], Awaitable[None]], link: LinkProfile | None = None) -> str:
    """Run `test` against one echo node; returns the hash of the trace."""
    loop = VirtualLoop()
    trace = Trace(loop.time)
    network = SimNetwork(loop, SimRng(5), trace, link=link)
    network.listen(NODE, METHODS)

    async def main() -> None:
        await test(network)

    loop.run(main(), limit_s=600)
    loop.finish()
    assert not loop.failures
    return trace.digest()


def ask(client_id: str) -> log_pb2.HelloRequest:
    return log_pb2.HelloRequest(client_id=client_id)


def test_unary_calls_answer_refuse_and_time_out() -> None:
    async def scenario(network: SimNetwork) -> None:
        channel = network.transport("c").connect(NODE)
        answer = cast(log_pb2.HelloResponse, await channel.unary(HELLO, ask("x"), timeout_ms=1000))
        assert (answer.cluster_id, answer.version) == ("x", "sim:c:1")
        with pytest.raises(OffsetOutOfRangeError) as refused:
            await channel.unary(HELLO, ask("refuse"), timeout_ms=1000)
        assert str(refused.value) == "offset 9 is gone [node:1] (seek)"
        assert refused.value.next_offset == 12
        with pytest.raises(TimeoutError):
            await channel.unary(HELLO, ask("slow"), timeout_ms=1000)
        with pytest.raises(NetworkError, match="refused"):
            await network.transport("c").connect("nobody:1").unary(HELLO, ask("x"), timeout_ms=99)
        with pytest.raises(NetworkError):
            await channel.unary(HELLO, ask("bug"), timeout_ms=1000)
        assert network.failures == [f"{HELLO}: ValueError('not a LogdError')"]
        await channel.close()
        with pytest.raises(NetworkError, match="closed"):
            await channel.unary(HELLO, ask("x"), timeout_ms=1000)

    assert run(scenario) == run(scenario)


def test_a_stream_keeps_its_order_and_ends_in_good_order() -> None:
    async def scenario(network: SimNetwork) -> None:
        stream = network.transport("c").connect(NODE).stream(ECHO)
        for number in range(100):
            await stream.write(ask(str(number)))
        await stream.write(ask("end"))
        got = []
        while (message := await stream.read()) is not None:
            got.append(cast(log_pb2.HelloResponse, message).cluster_id)
        assert got == [str(number) for number in range(100)]
        with pytest.raises(NetworkError, match="ended"):
            await stream.write(ask("more"))

    run(scenario, LinkProfile(delay_ms_mean=20))


def test_a_reset_loses_what_is_under_way_and_the_channel_connects_again() -> None:
    async def scenario(network: SimNetwork) -> None:
        channel = network.transport("c").connect(NODE)
        stream = channel.stream(ECHO)
        await stream.write(ask("1"))
        assert await stream.read() is not None
        await stream.write(ask("2"))
        network.connections()[0].reset("test")
        with pytest.raises(NetworkError, match="test"):
            await stream.read()
        with pytest.raises(NetworkError):
            await stream.write(ask("3"))
        again = channel.stream(ECHO)
        await again.write(ask("4"))
        answer = await again.read()
        assert cast(log_pb2.HelloResponse, answer).cluster_id == "4"

    run(scenario)


def test_an_interceptor_cuts_between_handling_and_answer() -> None:
    seen: list[str] = []

    def cut(_: SimConnection, method: str, to_server: bool, data: bytes) -> bool:
        seen.append(">" if to_server else "<")
        return not to_server and method == HELLO

    async def scenario(network: SimNetwork) -> None:
        network.interceptor = cut
        channel = network.transport("c").connect(NODE)
        with pytest.raises(NetworkError):
            await channel.unary(HELLO, ask("x"), timeout_ms=10_000)
        network.interceptor = None
        await channel.unary(HELLO, ask("x"), timeout_ms=10_000)

    run(scenario)
    assert seen == [">", "<"]


def test_a_reader_that_does_not_read_stops_the_writer() -> None:
    async def scenario(network: SimNetwork) -> None:
        stream = network.transport("c").connect(NODE).stream(ECHO)
        body = "x" * 10_000
        written = 0
        with pytest.raises(builtins.TimeoutError):
            async with asyncio.timeout(30):
                while written < 100:
                    await stream.write(ask(body))
                    written += 1
        assert 10 <= written <= 20, "two windows of 64 KiB"
        for _ in range(written):
            assert await stream.read() is not None
        await stream.write(ask("end"))
        assert await stream.read() is None

    run(scenario)


def test_a_stall_holds_everything_and_loses_nothing() -> None:
    async def scenario(network: SimNetwork) -> None:
        channel = network.transport("c").connect(NODE)
        await channel.unary(HELLO, ask("x"), timeout_ms=1000)
        network.connections()[0].stall(5)
        began = network.loop.time()
        await channel.unary(HELLO, ask("x"), timeout_ms=10_000)
        assert 5 <= network.loop.time() - began < 6

    run(scenario)


def test_a_dead_node_breaks_its_connections_and_ends_its_handlers() -> None:
    async def scenario(network: SimNetwork) -> None:
        channel = network.transport("c").connect(NODE)
        stream = channel.stream(ECHO)
        await stream.write(ask("1"))
        assert await stream.read() is not None
        network.unlisten(NODE, node_gone=True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        names = [task.get_name() for task in asyncio.all_tasks() if "sim:c" in task.get_name()]
        assert names == []
        with pytest.raises(NetworkError):
            await stream.read()
        with pytest.raises(NetworkError, match="refused"):
            await channel.unary(HELLO, ask("x"), timeout_ms=1000)
        network.listen(NODE, METHODS)
        await channel.unary(HELLO, ask("x"), timeout_ms=1000)

    run(scenario)
