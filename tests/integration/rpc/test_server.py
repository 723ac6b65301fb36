"""The server itself: limits, caps, health, reflection, errors, stopping."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.internal import api_implementation
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from logd_client._transport.grpc import KEEPALIVE_TIME_MS
from logd_proto.v1 import admin_pb2, group_pb2, log_pb2
from logd_wire import WireRecord, encode_batch
from logd_wire.errors import (
    ConfigError,
    ErrorCode,
    LogdError,
    OverloadedError,
    ShuttingDownError,
)

from logd.rpc import transport
from logd.rpc.api import Connection, Methods, UnaryMethod
from logd.rpc.calls import CallLimits
from logd.rpc.methods import SERVICES
from logd.rpc.server import RpcServer, transport_options
from tests.support.rpc_broker import FakeBroker
from tests.support.rpc_server import (
    CHANNEL_OPTIONS,
    HEALTH,
    LOG,
    ClientStream,
    Serving,
    call,
    eventually,
    hello,
    method_table,
    serving,
)

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


# --- what must be there ---------------------------------------------------------------------------


def test_protobuf_runs_on_its_fast_backend() -> None:
    assert api_implementation.Type() == "upb"


async def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_implementation, "Type", lambda: "python")
    with pytest.raises(ConfigError, match="python"):
        RpcServer(method_table(), services=SERVICES)


def test_this_grpcio_can_be_guarded() -> None:
    assert transport.GUARDED, "see logd/rpc/transport.py: read the new version of grpcio"


def test_every_rpc_of_the_descriptors_has_a_handler_of_its_kind() -> None:
    methods = method_table()
    unary: dict[str, Any] = {}
    streams: dict[str, Any] = {}
    for module in (log_pb2, admin_pb2, group_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            assert service.full_name in SERVICES
            for method in service.methods:
                kind = streams if method.client_streaming or method.server_streaming else unary
                kind[f"/{service.full_name}/{method.name}"] = method
    assert set(methods.unary) == set(unary)
    assert set(methods.streams) == set(streams)
    bound: dict[str, Any] = {**methods.unary, **methods.streams}
    for name, found in bound.items():
        descriptor = {**unary, **streams}[name]
        assert found.request_type.DESCRIPTOR.full_name == descriptor.input_type.full_name
    for name, stream in methods.streams.items():
        assert stream.response_type.DESCRIPTOR.full_name == streams[name].output_type.full_name


def test_the_transport_is_limited() -> None:
    options = dict(transport_options(CallLimits(calls_per_connection_max=100)))
    assert options["grpc.so_reuseport"] == 0
    assert options["grpc.max_receive_message_length"] == 16 * 1024 * 1024
    assert options["grpc.absolute_max_metadata_size"] == 8 * 1024
    assert 100 < options["grpc.max_concurrent_streams"] <= 128
    assert options["grpc.server_handshake_timeout_ms"] == 5_000
    assert options["grpc.http2.max_ping_strikes"] == 2
    # As often as clients ping: the answers keep them from giving the connection up.
    interval_ms = options["grpc.http2.min_ping_interval_without_data_ms"]
    assert KEEPALIVE_TIME_MS / 2 < interval_ms < KEEPALIVE_TIME_MS
    # As often as clients ping, and not much oftener.
    assert 0 < options["grpc.http2.min_ping_interval_without_data_ms"] < KEEPALIVE_TIME_MS


# --- caps -----------------------------------------------------------------------------------------


async def test_a_second_server_on_the_port_does_not_start(edge: Serving) -> None:
    second = RpcServer(method_table(edge.broker), services=SERVICES)
    with pytest.raises(ConfigError, match=f"127.0.0.1:{edge.port}"):
        await second.start(f"127.0.0.1:{edge.port}")
    await second.stop(0)
    await hello(edge.channel)


async def open_streams(edge: Serving, channel: grpc.aio.Channel, count: int) -> list[ClientStream]:
    already = edge.server.calls.under_way
    streams = [ClientStream(channel, LOG + "Fetch", log_pb2.FetchResponse) for _ in range(count)]
    for stream in streams:
        await stream.send(b"")
    await eventually(lambda: edge.server.calls.under_way == already + count)
    return streams


async def test_one_connection_has_so_many_calls() -> None:
    async with serving(limits=CallLimits(calls_per_connection_max=3)) as edge:
        streams = await open_streams(edge, edge.channel, 3)
        with pytest.raises(OverloadedError, match="3 calls") as caught:
            await hello(edge.channel)
        assert caught.value.retriable and caught.value.hint
        async with edge.connect() as other:
            await hello(other)
        streams[0].cancel()
        await eventually(lambda: edge.server.calls.under_way == 2)
        await hello(edge.channel)


async def test_calls_that_have_ended_do_not_count() -> None:
    """A client that is within its limit is not refused by the transport of a busy node."""
    in_flight, rounds = 40, 5
    gate = asyncio.Event()

    async def answer(_request: Message, _connection: Connection) -> Message:
        await gate.wait()
        return log_pb2.HelloResponse()

    def ask_in_rounds(port: int) -> int:
        """A client on threads of its own, which goes on while the loop of the server is busy."""
        with grpc.insecure_channel(f"127.0.0.1:{port}", CHANNEL_OPTIONS) as channel:
            ask: Any = channel.unary_unary(LOG + "Hello")
            answers = 0
            for _ in range(rounds):
                calls = [ask.future(b"", timeout=20) for _ in range(in_flight)]
                answers += sum(each.result() is not None for each in calls)
            return answers

    methods = Methods(unary={LOG + "Hello": UnaryMethod(log_pb2.HelloRequest, answer)}, streams={})
    limits = CallLimits(calls_per_connection_max=in_flight)
    server = RpcServer(methods, services=(), limits=limits)
    asking = asyncio.ensure_future(
        asyncio.to_thread(ask_in_rounds, await server.start("127.0.0.1:0"))
    )
    try:
        for _ in range(rounds):
            await eventually(lambda: asking.done() or server.calls.under_way == in_flight)
            gate.set()
            for _ in range(4):
                await asyncio.sleep(0)
            gate.clear()
            # The answers are out, and the node has no time to tidy up after them.
            time.sleep(0.1)
        assert await asking == rounds * in_flight
    finally:
        await server.stop(0)


async def test_one_node_has_so_many_connections() -> None:
    async with serving(limits=CallLimits(connections_max=2)) as edge, edge.connect() as other:
        streams = await open_streams(edge, edge.channel, 2)
        await open_streams(edge, other, 1)
        async with edge.connect() as third:
            with pytest.raises(OverloadedError, match="2 connections"):
                await hello(third)
            await hello(edge.channel)
            for stream in streams:
                stream.cancel()
            await eventually(lambda: edge.server.calls.connections == 1)
            await hello(third)


async def test_one_node_has_so_many_calls() -> None:
    async with serving(limits=CallLimits(calls_max=4)) as edge, edge.connect() as other:
        await open_streams(edge, edge.channel, 2)
        await open_streams(edge, other, 2)
        with pytest.raises(OverloadedError, match="4 calls"):
            await hello(other)


async def test_health_and_reflection_count_as_calls() -> None:
    async with serving(limits=CallLimits(calls_per_connection_max=1)) as edge:
        watch: Any = edge.channel.unary_stream(HEALTH + "Watch")
        watching = watch(b"")
        assert await watching.read()
        for method in (
            HEALTH + "Check",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ):
            with pytest.raises(OverloadedError):
                await call(edge.channel, method, b"", log_pb2.HelloResponse)
        watching.cancel()


# --- probes ---------------------------------------------------------------------------------------


async def check_health(channel: grpc.aio.Channel, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    answer = await call(channel, HEALTH + "Check", request, health_pb2.HealthCheckResponse)
    return int(answer.status)


async def test_the_server_and_each_service_are_healthy(edge: Serving) -> None:
    for service in ("", *SERVICES):
        assert await check_health(edge.channel, service) == health_pb2.HealthCheckResponse.SERVING
    unknown: Any = edge.channel.unary_unary(HEALTH + "Check")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unknown(health_pb2.HealthCheckRequest(service="x").SerializeToString())
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_watchers_are_told_that_the_node_stops(edge: Serving) -> None:
    watch: Any = edge.channel.unary_stream(HEALTH + "Watch")
    watching = watch(b"")
    first = health_pb2.HealthCheckResponse.FromString(await watching.read())
    assert first.status == health_pb2.HealthCheckResponse.SERVING
    stopping = asyncio.ensure_future(edge.server.stop(5))
    second = health_pb2.HealthCheckResponse.FromString(await watching.read())
    assert second.status == health_pb2.HealthCheckResponse.NOT_SERVING
    await stopping


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_and_describes_the_services(edge: Serving, version: str) -> None:
    method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    stream = ClientStream(edge.channel, method, reflection_pb2.ServerReflectionResponse)
    await stream.send(reflection_pb2.ServerReflectionRequest(list_services=""))
    listed = {entry.name for entry in (await stream.receive()).list_services_response.service}
    assert {"logd.v1.Log", "logd.v1.Admin", "grpc.health.v1.Health"} <= listed
    for service in SERVICES:
        await stream.send(reflection_pb2.ServerReflectionRequest(file_containing_symbol=service))
        files = (await stream.receive()).file_descriptor_response.file_descriptor_proto
        assert any(b"logd/v1/common.proto" in file for file in files)
    await stream.half_close()
    assert await stream.receive() is None


async def test_an_unknown_method_is_a_typed_error(edge: Serving) -> None:
    with pytest.raises(LogdError) as caught:
        await call(edge.channel, LOG + "Nothing", b"", log_pb2.HelloResponse)
    assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION
    assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)
    assert caught.value.__cause__.code() is grpc.StatusCode.UNIMPLEMENTED


# --- stopping -------------------------------------------------------------------------------------


async def test_new_calls_are_refused_in_words_while_old_ones_end(edge: Serving) -> None:
    topic = await edge.broker.create_topic("t")
    edge.broker.hold = True
    records = encode_batch([WireRecord(0, 1, None, b"v", ())])
    entry = log_pb2.ProduceBatch(topic_id=topic.topic_id, records=records, acks=-1)
    stream = ClientStream(edge.channel, LOG + "Produce", log_pb2.ProduceResponse)
    await stream.send(log_pb2.ProduceRequest(batches=[entry]))
    await eventually(lambda: bool(edge.broker.held))
    stopping = asyncio.ensure_future(edge.server.stop(10))
    await asyncio.sleep(0.05)
    with pytest.raises(ShuttingDownError) as caught:
        await hello(edge.channel)
    assert caught.value.retriable
    edge.broker.answer_held()
    assert (await stream.receive()).results
    await stopping


async def test_a_waiting_read_does_not_keep_a_node_from_stopping(edge: Serving) -> None:
    await edge.broker.create_topic("t")
    request = log_pb2.ReadRequest(topic="t", max_wait_ms=30_000)
    reading = asyncio.ensure_future(call(edge.channel, LOG + "Read", request, log_pb2.ReadResponse))
    await eventually(lambda: edge.server.calls.under_way == 1)
    async with asyncio.timeout(5):
        await edge.server.stop(20)
    with pytest.raises(ShuttingDownError):
        await reading


async def test_what_does_not_end_is_cancelled_after_the_grace_time(
    edge: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    topic = await edge.broker.create_topic("t")
    edge.broker.hold = True
    records = encode_batch([WireRecord(0, 1, None, b"v", ())])
    entry = log_pb2.ProduceBatch(topic_id=topic.topic_id, records=records, acks=-1)
    stream = ClientStream(edge.channel, LOG + "Produce", log_pb2.ProduceResponse)
    await stream.send(log_pb2.ProduceRequest(batches=[entry]))
    await eventually(lambda: bool(edge.broker.held))
    async with asyncio.timeout(5):
        await edge.server.stop(0.2)
    assert "1 calls did not end" in caplog.text
    assert edge.broker.budget.held == len(records)
    edge.broker.answer_held()
    await eventually(lambda: edge.broker.budget.held == 0)


async def test_a_server_that_never_started_can_be_stopped() -> None:
    server = RpcServer(method_table(FakeBroker()), services=SERVICES)
    await server.stop(1)
