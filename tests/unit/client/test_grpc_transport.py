"""The transport over gRPC against small servers of this process: errors in words."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from logd_client import BootstrapError, ErrorCode, NetworkError, NotLeaderError
from logd_client._engine.cluster import Cluster, ClusterConfig
from logd_client._runtime import SystemClock
from logd_client._transport import methods
from logd_client._transport.errors import ERROR_TRAILER
from logd_client._transport.grpc import GrpcTransport
from logd_proto.v1 import common_pb2, log_pb2


async def hello(_: log_pb2.HelloRequest, context: Any) -> log_pb2.HelloResponse:
    return log_pb2.HelloResponse(cluster_id="c", protocol_version_min=1, protocol_version_max=1)


async def metadata(_: Any, context: Any) -> log_pb2.GetMetadataResponse:
    error = common_pb2.Error(code=ErrorCode.NOT_LEADER, message="not me", retriable=True)
    error.leader.leader_id, error.leader.leader_epoch, error.leader.address = 2, 7, "b:1"
    context.set_trailing_metadata(((ERROR_TRAILER, error.SerializeToString()),))
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not me")
    raise AssertionError


async def produce(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
    async for request in requests:
        for batch in request.batches:
            if batch.partition == 9:
                return
            if batch.partition == 8:
                await context.abort(grpc.StatusCode.INTERNAL, "boom")
            result = log_pb2.ProduceResult(id=batch.id, base_offset=len(batch.records))
            yield log_pb2.ProduceResponse(results=[result])


def unary(handler: Any, request: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        handler,
        request_deserializer=request.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )


@asynccontextmanager
async def server(*, known: bool = True) -> AsyncIterator[str]:
    node = grpc.aio.server(options=[("grpc.max_receive_message_length", 16 * 2**20)])
    if known:
        handlers = {
            "Hello": unary(hello, log_pb2.HelloRequest),
            "GetMetadata": unary(metadata, log_pb2.GetMetadataRequest),
            "Produce": grpc.stream_stream_rpc_method_handler(
                produce,
                request_deserializer=log_pb2.ProduceRequest.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            ),
        }
        node.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("logd.v1.Log", handlers),)
        )
    port = node.add_insecure_port("127.0.0.1:0")
    await node.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await node.stop(None)


@asynccontextmanager
async def listener(answer: bytes) -> AsyncIterator[str]:
    """Something that listens and is no gRPC server."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(answer)
        writer.close()

    other = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    try:
        yield f"127.0.0.1:{port}"
    finally:
        other.close()


def cluster_of(*addresses: str) -> Cluster:
    config = ClusterConfig(bootstrap_servers=addresses)
    return Cluster(GrpcTransport(), SystemClock(), random.Random(1), config)


async def test_streams_and_large_messages() -> None:
    async with server() as address:
        channel = GrpcTransport().connect(address)
        stream = channel.stream(methods.PRODUCE)
        request = log_pb2.ProduceRequest()
        request.batches.add(id=5, records=bytes(8 * 2**20))
        await stream.write(request)
        response = await stream.read()
        assert isinstance(response, log_pb2.ProduceResponse)
        assert (response.results[0].id, response.results[0].base_offset) == (5, 8 * 2**20)
        stream.cancel()
        stream.cancel()
        with pytest.raises((NetworkError, asyncio.CancelledError)):
            await stream.read()
        await channel.close()


async def test_a_stream_that_ends_well_or_badly() -> None:
    async with server() as address:
        channel = GrpcTransport().connect(address)
        stream = channel.stream(methods.PRODUCE)
        request = log_pb2.ProduceRequest()
        request.batches.add(partition=9)
        await stream.write(request)
        assert await stream.read() is None
        stream = channel.stream(methods.PRODUCE)
        request.batches[0].partition = 8
        await stream.write(request)
        with pytest.raises(NetworkError, match="boom"):
            await stream.read()
        with pytest.raises(NetworkError):
            await stream.write(request)
        await channel.close()


async def test_the_nodes_own_error_comes_through() -> None:
    async with server() as address:
        channel = GrpcTransport().connect(address)
        with pytest.raises(NotLeaderError, match="not me") as caught:
            await channel.unary(
                methods.GET_METADATA, log_pb2.GetMetadataRequest(), timeout_ms=5_000
            )
        error = caught.value
        assert (error.leader_id, error.leader_epoch, error.leader_address) == (2, 7, "b:1")
        assert (error.broker, error.retriable) == (address, True)
        await channel.close()


async def test_bootstrap_tells_each_address_its_own_cause() -> None:
    async with (
        server(known=False) as other_grpc,
        listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as http,
    ):
        cluster = cluster_of("127.0.0.1:1", "does-not-exist.invalid:7171", other_grpc, http)
        with pytest.raises(BootstrapError) as caught:
            await cluster.refresh(["t"])
        causes = str(caught.value).split("; ")
        assert "127.0.0.1:1: connection refused" in causes[0]
        assert "does-not-exist.invalid:7171: DNS: does-not-exist.invalid" in causes[1]
        assert other_grpc in causes[2] and "that is not a logd port" in causes[2]
        assert http in causes[3] and "that is not a logd port" in causes[3]
        await cluster.close()
