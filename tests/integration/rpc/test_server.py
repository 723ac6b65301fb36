"""The server itself: limits, caps, health, reflection, errors, stopping."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.internal import api_implementation
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from logd_proto.v1 import admin_pb2, common_pb2, log_pb2
from logd_wire import WireRecord, encode_batch
from logd_wire.errors import (
    AuthError,
    ConfigError,
    ErrorCode,
    LogdError,
    NotLeaderError,
    OverloadedError,
    ShuttingDownError,
    error_for,
)

from logd.rpc import transport
from logd.rpc.calls import CallLimits
from logd.rpc.edge import Edge, ThreadOffload
from logd.rpc.errors import details_of, from_proto, status_of, to_proto, trailers
from logd.rpc.methods import SERVICES, build_methods
from logd.rpc.server import RpcServer, transport_options
from logd.runtime.adapters import SystemClock
from tests.support.rpc_broker import FakeBroker, frame
from tests.support.rpc_server import (
    ADMIN,
    LOG,
    ClientStream,
    Serving,
    call,
    eventually,
    serving,
    typed,
)

HEALTH = "/grpc.health.v1.Health/"
SECRET = "password of /srv/secret"


def table(broker: Any = None) -> Any:
    return build_methods(Edge(broker, SystemClock(), ThreadOffload()))


async def hello(channel: grpc.aio.Channel) -> None:
    await call(channel, LOG + "Hello", b"", log_pb2.HelloResponse)


# --- what must be there ---------------------------------------------------------------------------


def test_protobuf_runs_on_its_fast_backend() -> None:
    assert api_implementation.Type() == "upb"


async def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_implementation, "Type", lambda: "python")
    with pytest.raises(ConfigError, match="python"):
        RpcServer(table(), services=SERVICES)


def test_this_grpcio_can_be_guarded() -> None:
    assert transport.GUARDED, "see logd/rpc/transport.py: read the new version of grpcio"


def test_every_rpc_of_the_descriptors_has_a_handler_of_its_kind() -> None:
    methods = table()
    unary, streams = {}, {}
    for module in (log_pb2, admin_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            assert service.full_name in SERVICES
            for method in service.methods:
                kind = streams if method.client_streaming or method.server_streaming else unary
                kind[f"/{service.full_name}/{method.name}"] = method
    assert set(methods.unary) == set(unary)
    assert set(methods.streams) == set(streams)
    for name, found in [*methods.unary.items(), *methods.streams.items()]:
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


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [code for code in ErrorCode if code > 0])
def test_every_error_of_the_cluster_has_a_status_and_survives_the_wire(code: ErrorCode) -> None:
    assert status_of(code) is not grpc.StatusCode.OK
    error = error_for(code, "what and where", hint="what to do", next_offset=42)
    back = from_proto(common_pb2.Error.FromString(to_proto(error).SerializeToString()))
    assert type(back) is type(error)
    assert (back.code, back.message, back.hint) == (error.code, error.message, error.hint)
    assert (back.retriable, back.next_offset) == (error.retriable, 42)


def test_a_leader_hint_survives_the_wire() -> None:
    error = NotLeaderError("elsewhere")
    error.leader_id, error.leader_epoch, error.leader_address = 2, 7, "host:1"
    back = from_proto(to_proto(error), broker="here:1")
    assert isinstance(back, NotLeaderError) and back.broker == "here:1"
    assert (back.leader_id, back.leader_epoch, back.leader_address) == (2, 7, "host:1")


def test_the_longest_error_fits_the_metadata_of_a_call() -> None:
    error = LogdError("\u202e\U0001f4a5\n" * 100_000, hint="\U0001f4a5" * 100_000)
    ((_, trailer),) = trailers(error)
    assert len(details_of(error)) + len(trailer) * 4 // 3 < 8_000
    assert details_of(error).isascii()


UNARY_FAILURES = [
    ("read", LOG + "Read", log_pb2.ReadRequest(topic="t")),
    ("init_producer_id", LOG + "InitProducerId", log_pb2.InitProducerIdRequest()),
    ("metadata_for", LOG + "GetMetadata", log_pb2.GetMetadataRequest(topics=["t"])),
    ("create_topic", ADMIN + "CreateTopic", admin_pb2.CreateTopicRequest(name="u")),
    ("authorize", LOG + "Hello", log_pb2.HelloRequest()),
    (
        "produce",
        LOG + "Append",
        log_pb2.AppendRequest(topic="t", records=[common_pb2.Record(value=b"v")]),
    ),
]


@pytest.mark.parametrize(("method", "name", "request_"), UNARY_FAILURES)
async def test_a_defect_is_logged_and_leaks_nothing(
    edge: Serving, caplog: pytest.LogCaptureFixture, method: str, name: str, request_: Message
) -> None:
    await edge.broker.create_topic("t")
    edge.broker.failures[method] = RuntimeError(SECRET)
    with pytest.raises(LogdError) as caught:
        await call(edge.channel, name, request_, log_pb2.HelloResponse)
    assert caught.value.code is ErrorCode.UNKNOWN_SERVER_ERROR
    assert "incident" in caught.value.message and caught.value.hint
    cause = caught.value.__cause__
    assert isinstance(cause, grpc.aio.AioRpcError)
    told = f"{caught.value} {cause.details()} {cause.trailing_metadata()}"
    assert "secret" not in told and "RuntimeError" not in told and ".py" not in told
    assert SECRET in caplog.text and "Traceback" in caplog.text
    edge.broker.failures.clear()
    await hello(edge.channel)
    assert edge.broker.budget.held == 0


async def test_a_defect_of_one_entry_leaks_nothing_and_spares_the_others(
    edge: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    await edge.broker.create_topic("t")
    edge.broker.failures = dict.fromkeys(("list_offset", "describe_partition"), OSError(SECRET))
    offsets = await call(
        edge.channel,
        LOG + "ListOffsets",
        log_pb2.ListOffsetsRequest(queries=[log_pb2.OffsetQuery(topic="t", latest=True)]),
        log_pb2.ListOffsetsResponse,
    )
    described = await call(
        edge.channel, ADMIN + "DescribeTopics", b"", admin_pb2.DescribeTopicsResponse
    )
    for error in (offsets.answers[0].error, described.topics[0].error):
        assert error.code == ErrorCode.UNKNOWN_SERVER_ERROR
        assert "secret" not in str(error)
    assert SECRET in caplog.text


async def test_a_defect_behind_a_produced_batch_leaks_nothing(edge: Serving) -> None:
    topic = await edge.broker.create_topic("t")
    records = encode_batch([WireRecord(0, 1, None, b"v", ())])
    entry = log_pb2.ProduceBatch(id=1, topic_id=topic.topic_id, records=records, acks=-1)
    stream = ClientStream(edge.channel, LOG + "Produce", log_pb2.ProduceResponse)
    edge.broker.hold = True
    await stream.send(log_pb2.ProduceRequest(batches=[entry]))
    await eventually(lambda: bool(edge.broker.held))
    edge.broker.answer_held(RuntimeError(SECRET))
    error = (await stream.receive()).results[0].error
    assert error.code == ErrorCode.UNKNOWN_SERVER_ERROR and "secret" not in str(error)
    edge.broker.failures["produce"] = RuntimeError(SECRET)
    await stream.send(log_pb2.ProduceRequest(batches=[entry]))
    error = (await stream.receive()).results[0].error
    assert error.code == ErrorCode.UNKNOWN_SERVER_ERROR and "secret" not in str(error)


async def test_a_defect_of_a_fetch_session_leaks_nothing(
    edge: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Session:
        frames: Any = (frame(1, b"", 0, 0, ValueError(SECRET)),)

        async def next_frames(self) -> list[Any]:
            if not self.frames:
                raise KeyError(SECRET)
            frames, self.frames = list(self.frames), ()
            return frames

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    monkeypatch.setattr(edge.broker, "fetch_session", lambda peer: Session())
    stream = ClientStream(edge.channel, LOG + "Fetch", log_pb2.FetchResponse)
    await stream.send(b"")
    error = (await stream.receive()).partitions[0].error
    assert error.code == ErrorCode.UNKNOWN_SERVER_ERROR and "secret" not in str(error)
    with pytest.raises(LogdError) as caught:
        await stream.receive()
    assert caught.value.code is ErrorCode.UNKNOWN_SERVER_ERROR
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"


# --- authorization --------------------------------------------------------------------------------

REQUESTS: dict[str, Message] = {
    LOG + "Hello": log_pb2.HelloRequest(),
    LOG + "GetMetadata": log_pb2.GetMetadataRequest(all_topics=True),
    LOG + "Append": log_pb2.AppendRequest(topic="t", records=[common_pb2.Record()]),
    LOG + "Read": log_pb2.ReadRequest(topic="t"),
    LOG + "ListOffsets": log_pb2.ListOffsetsRequest(
        queries=[log_pb2.OffsetQuery(topic="t", latest=True)]
    ),
    LOG + "InitProducerId": log_pb2.InitProducerIdRequest(),
    LOG + "Produce": log_pb2.ProduceRequest(
        batches=[log_pb2.ProduceBatch(topic_id=bytes(16), records=bytes(61), acks=1)]
    ),
    LOG + "Fetch": log_pb2.FetchRequest(add=[log_pb2.FetchPartition(topic_id=bytes(16))]),
    ADMIN + "CreateTopic": admin_pb2.CreateTopicRequest(name="u"),
    ADMIN + "DeleteTopic": admin_pb2.DeleteTopicRequest(name="t"),
    ADMIN + "AlterTopic": admin_pb2.AlterTopicRequest(name="t", partitions=2),
    ADMIN + "DescribeTopics": admin_pb2.DescribeTopicsRequest(names=["t"]),
    ADMIN + "TrimTopic": admin_pb2.TrimTopicRequest(
        name="t", partitions=[admin_pb2.TrimPartition()]
    ),
    ADMIN + "DescribeCluster": admin_pb2.DescribeClusterRequest(),
    ADMIN + "DescribeConfig": admin_pb2.DescribeConfigRequest(),
}


def test_every_rpc_has_a_row_here() -> None:
    methods = table()
    assert set(REQUESTS) == {*methods.unary, *methods.streams}


@pytest.mark.parametrize("method", sorted(REQUESTS))
async def test_who_may_not_gets_nothing(edge: Serving, method: str) -> None:
    await edge.broker.create_topic("t")
    edge.broker.failures["authorize"] = AuthError("no")
    before = edge.broker.image
    denied = await _denied(edge, method)
    assert denied == ErrorCode.AUTHORIZATION_FAILED
    assert edge.broker.image is before
    assert edge.broker.authorized and edge.broker.authorized[0][0] == "anonymous"


async def _denied(edge: Serving, method: str) -> int:
    """The code with which a call, or the only entry in its answer, is refused."""
    request = REQUESTS[method]
    if method == LOG + "Produce":
        stream = ClientStream(edge.channel, method, log_pb2.ProduceResponse)
        await stream.send(request)
        return int((await stream.receive()).results[0].error.code)
    if method == LOG + "Fetch":
        stream = ClientStream(edge.channel, method, log_pb2.FetchResponse)
        await stream.send(request)
        return int((await stream.receive()).partitions[0].error.code)
    try:
        answer = await call(edge.channel, method, request, log_pb2.ListOffsetsResponse)
    except AuthError as error:
        return error.code
    return answer.answers[0].error.code


# --- caps -----------------------------------------------------------------------------------------


async def test_a_second_server_on_the_port_does_not_start(edge: Serving) -> None:
    second = RpcServer(table(edge.broker), services=SERVICES)
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


async def test_one_node_has_so_many_connections() -> None:
    async with serving(limits=CallLimits(connections_max=2)) as edge:
        async with edge.connect() as first, edge.connect() as second:
            streams = await open_streams(edge, first, 2)
            await open_streams(edge, second, 1)
            with pytest.raises(OverloadedError, match="2 connections"):
                await hello(edge.channel)
            await hello(first)
            for stream in streams:
                stream.cancel()
            await eventually(lambda: edge.server.calls.connections == 1)
            await hello(edge.channel)


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
    unknown = edge.channel.unary_unary(HEALTH + "Check")
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
    server = RpcServer(table(FakeBroker()), services=SERVICES)
    await server.stop(1)


def test_refusals_are_logged_by_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A client that is refused a thousand times a second must not fill the log."""
    from logd.rpc.errors import presentable

    with caplog.at_level(logging.DEBUG):
        presentable(OverloadedError("x"), "here")
    assert not caplog.records


async def test_typed_needs_a_trailer(edge: Serving) -> None:
    request = health_pb2.HealthCheckRequest(service="x").SerializeToString()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.channel.unary_unary(HEALTH + "Check")(request)
    with pytest.raises(AssertionError):
        typed(caught.value)
