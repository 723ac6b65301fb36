"""Nodes that speak to each other over gRPC on the loopback interface."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from logd_proto.v1 import peer_pb2 as pb
from logd_wire.errors import (
    ErrorCode,
    InvalidRequestError,
    LogdError,
)
from logd_wire.limits import KIB, MESSAGE_BYTES_MAX, MIB

from logd.consensus.log_types import LOG_START, Entry
from logd.consensus.messages import AppendRequest, TimeoutNow
from logd.metadata import DeleteTopic
from logd.model.ids import ClusterId, LogIndex, NodeId, Term
from logd.rpc import peer_codec as codec
from logd.rpc.api import Methods, ServerStream, StreamMethod
from logd.rpc.peer import PEER_SERVICES, build_peer_methods
from logd.rpc.peer_outbox import CONNECTED
from logd.rpc.server import RpcServer
from logd.runtime.peers import (
    Identified,
    Identify,
    Submit,
)
from tests.support.peer_values import voters_of
from tests.support.rpc_attacks import connected, expect_status
from tests.support.rpc_peers import (
    CLUSTER,
    FakePeerHandler,
    Member,
    addresses_of,
    heartbeat,
    identity,
    members,
    message,
    outbox,
)
from tests.support.rpc_server import ClientStream, call, eventually


def append(index: int, size: int) -> AppendRequest:
    entry = Entry(LogIndex(index), Term(1), (bytes(size),))
    return AppendRequest(Term(1), LOG_START._replace(index=LogIndex(index)), (entry,), LogIndex(0))


def test_every_rpc_of_the_descriptor_has_a_handler() -> None:
    methods = build_peer_methods(FakePeerHandler(identity(1)), voters_of)
    service = pb.DESCRIPTOR.services_by_name["Peer"]
    assert (service.full_name,) == PEER_SERVICES
    expected = {f"/{service.full_name}/{method.name}" for method in service.methods}
    assert {*methods.unary, *methods.streams} == expected == set(codec.PEER_RESPONSES)
    for method in service.methods:
        name = f"/{service.full_name}/{method.name}"
        found: Any = methods.streams.get(name) or methods.unary.get(name)
        assert found.request_type.DESCRIPTOR is method.input_type
        assert codec.PEER_RESPONSES[name].DESCRIPTOR is method.output_type


# --- messages -------------------------------------------------------------------------------------


async def test_two_members_hear_each_other_in_order() -> None:
    async with members(2) as (one, two):
        sent = []
        for number in range(300):
            body = append(number, 100) if number % 3 == 0 else heartbeat(number)
            one.send(2, body)
            two.send(1, heartbeat(number))
            sent.append(message(1, 2, body))
            if number % 50 == 0:
                await asyncio.sleep(0)
            if number % 16 == 15:
                await eventually(lambda: not outbox(one.transport, 2))
                await eventually(lambda: not outbox(two.transport, 1))
        await eventually(lambda: len(two.handler.arrived) == 300)
        await eventually(lambda: len(one.handler.arrived) == 300)
        assert two.handler.arrived == sent
        assert one.handler.rounds(2) == list(range(300))


async def test_three_members_hear_each_other() -> None:
    async with members(3) as found:
        for sender in found:
            for receiver in found:
                if sender is not receiver:
                    sender.send(receiver.number, heartbeat(sender.number))
        await eventually(lambda: all(len(each.handler.arrived) == 2 for each in found))
        for each in found:
            assert sorted(one.sender for one in each.handler.arrived) == [
                other.number for other in found if other is not each
            ]


async def test_a_queue_of_messages_becomes_few_frames() -> None:
    frames: list[int] = []
    handler = FakePeerHandler(identity(2))

    async def counting(stream: ServerStream) -> None:
        while (frame := await stream.read()) is not None:
            assert isinstance(frame, pb.RaftRequest)
            frames.append(len(frame.messages))

    async with members(1) as (one,):
        two = Member(2)
        await two.listen(_with_raft(handler, counting))
        one.transport.set_addresses(addresses_of([two]))
        one.send(2, heartbeat(0))
        await eventually(lambda: frames == [1])
        for number in range(1, 1_001):
            one.send(2, heartbeat(number))
        await eventually(lambda: sum(frames) == 1_001)
        assert len(frames) <= 3
        await two.close()


def _with_raft(handler: FakePeerHandler, raft: Callable[[ServerStream], Any]) -> Methods:
    """The service with another handler of the stream."""
    methods = build_peer_methods(handler, voters_of)
    method = StreamMethod(pb.RaftRequest, pb.RaftResponse, raft)
    return Methods(methods.unary, {codec.RAFT: method})


async def test_a_member_that_is_killed_and_comes_back_is_heard_and_hears() -> None:
    async with members(3) as (one, two, three):
        one.send(2, heartbeat(1))
        await eventually(lambda: two.handler.rounds(1) == [1])
        await two.stop_listening()
        for number in range(100):
            one.send(2, heartbeat(1_000 + number))
            one.send(3, heartbeat(number))
            await asyncio.sleep(0.002)
        # Nobody else notices.
        await eventually(lambda: three.handler.rounds(1) == list(range(100)))
        await two.listen()
        ticker = asyncio.ensure_future(_tick(one, 2))
        await eventually(lambda: len(two.handler.rounds(1)) > 5)
        ticker.cancel()
        heard = two.handler.rounds(1)
        assert heard == sorted(heard)


async def _tick(member: Member, to: int) -> None:
    for number in range(10_000, 20_000):
        member.send(to, heartbeat(number))
        await asyncio.sleep(0.02)


async def test_a_member_that_never_reads_takes_a_bounded_queue_and_nobody_elses_time() -> None:
    stuck = asyncio.Event()

    async def never_reads(_stream: ServerStream) -> None:
        await stuck.wait()

    async with members(2) as (one, two):
        three = Member(3)
        await three.listen(_with_raft(three.handler, never_reads))
        one.transport.set_addresses(addresses_of([two, three]))
        one.send(3, heartbeat(0))
        for number in range(600):
            one.send(3, append(number, 100 * KIB))
            if number % 6 == 0:
                one.send(2, heartbeat(number // 6))
                await asyncio.sleep(0.001)
        waiting = outbox(one.transport, 3)
        assert waiting.bytes <= CONNECTED.bytes_max
        assert waiting.dropped > 300
        # Votes and heartbeats outlast the entries.
        one.send(3, TimeoutNow(Term(9)))
        for number in range(600, 1_000):
            one.send(3, append(number, 100 * KIB))
        assert TimeoutNow(Term(9)) in [each.body for each in waiting._waiting.values()]
        await eventually(lambda: two.handler.rounds(1) == list(range(100)))
        stuck.set()
        await three.close()


async def test_a_stream_that_the_server_ends_in_good_order_is_opened_again() -> None:
    handler = FakePeerHandler(identity(2))
    streams: list[int] = []

    async def reads_one(stream: ServerStream) -> None:
        frame = await stream.read()
        assert isinstance(frame, pb.RaftRequest)
        streams.append(frame.receiver_id)

    async with members(1) as (one,):
        two = Member(2)
        await two.listen(_with_raft(handler, reads_one))
        one.transport.set_addresses(addresses_of([two]))
        ticker = asyncio.ensure_future(_tick(one, 2))
        await eventually(lambda: len(streams) >= 3)
        ticker.cancel()
        assert set(streams) == {2}
        await two.close()


async def test_a_foreign_cluster_is_refused_in_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "logd.peer")
    async with members(2) as (one, two):
        stranger = identity(1, ClusterId(b"some other thing"))
        one.transport.introduce(stranger)
        with pytest.raises(LogdError, match="another cluster") as caught:
            await one.transport.call(two.address, Submit(DeleteTopic("a")), timeout_ms=5_000)
        assert caught.value.code is ErrorCode.CLUSTER_ID_MISMATCH
        assert caught.value.hint == "check cluster.peers"
        # Anybody may ask who is there.
        answer = await one.transport.call(two.address, Identify(), timeout_ms=5_000)
        assert isinstance(answer, Identified) and answer.identity == two.handler.me
        ticker = asyncio.ensure_future(_tick(one, 2))
        await eventually(lambda: "another cluster" in caplog.text)
        await asyncio.sleep(0.3)
        ticker.cancel()
        # It tries again and again, and says so once.
        assert caplog.text.count("another cluster") == 1
        record = next(each for each in caplog.records if "another cluster" in each.message)
        assert record.levelno == logging.WARNING
        assert two.handler.arrived == []


async def test_a_new_identity_is_introduced_on_a_new_stream() -> None:
    async with members(2) as (one, two):
        one.transport.introduce(identity(1, None))
        two.handler.me = identity(2, None)
        one.send(2, heartbeat(1))
        await eventually(lambda: two.handler.rounds(1) == [1])
        two.handler.me = identity(2)
        one.transport.introduce(identity(1))
        one.transport.introduce(identity(1))
        one.send(2, heartbeat(2))
        await eventually(lambda: two.handler.rounds(1) == [1, 2])


async def test_a_member_that_moved_or_left() -> None:
    async with members(3) as (one, two, three):
        one.send(2, heartbeat(1))
        await eventually(lambda: two.handler.rounds(1) == [1])
        # Node 2 is where node 3 was, as far as node 1 is told.
        one.transport.set_addresses({NodeId(2): three.address})
        one.send(2, heartbeat(2))
        one.send(3, heartbeat(3))
        await eventually(lambda: three.handler.rounds(1) == [2])
        assert three.handler.arrived[0].to == 2
        one.transport.set_addresses({})
        one.send(2, heartbeat(4))
        assert two.handler.rounds(1) == [1]


async def test_what_is_sent_in_another_name_is_dropped() -> None:
    async with members(2) as (one, two):
        one.transport.send(message(3, 2, heartbeat(1)))
        one.send(2, heartbeat(2))
        await eventually(lambda: bool(two.handler.arrived))
        assert two.handler.rounds(1) == [2]
        assert len(two.handler.arrived) == 1


async def test_addresses_that_change_at_once_leave_no_connection_behind() -> None:
    async with members(2) as (one, two):
        for _ in range(50):
            one.transport.set_addresses({})
            one.transport.set_addresses(addresses_of([two]))
        assert len(one.transport._ending) >= 50
        one.send(2, heartbeat(1))
        await eventually(lambda: two.handler.rounds(1) == [1])
        await eventually(lambda: not one.transport._ending)


# --- the server -----------------------------------------------------------------------------------


async def test_frames_that_are_too_large_are_refused() -> None:
    async with members(1) as (one,):
        for size, wanted in (
            (MIB, ErrorCode.INVALID_REQUEST),
            (20 * KIB, ErrorCode.INVALID_REQUEST),
        ):
            padded = (
                pb.IdentifyRequest().SerializeToString() + b"\x7a" + _varint(size) + bytes(size)
            )
            async with connected(one.port) as channel:
                with pytest.raises(InvalidRequestError, match="at most") as caught:
                    await call(channel, codec.IDENTIFY, padded, pb.IdentifyResponse)
            assert caught.value.code is wanted
        await expect_status(
            one.port,
            codec.SUBMIT,
            bytes(MESSAGE_BYTES_MAX + 1),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        )
        async with connected(one.port) as channel:
            stream: Any = channel.stream_stream(codec.RAFT)()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stream.write(bytes(MESSAGE_BYTES_MAX + 1))
                await stream.read()
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


async def test_a_stream_has_one_sender() -> None:
    async with members(1) as (one,), connected(one.port) as channel:
        route = codec.Route(identity(2), NodeId(1))
        for frames, words in (
            ([pb.RaftRequest()], "does not begin with its sender"),
            ([codec.encode_introduction(route)] * 2, "a second sender"),
        ):
            stream = ClientStream(channel, codec.RAFT, pb.RaftResponse)
            for frame in frames:
                await stream.send(frame)
            with pytest.raises(InvalidRequestError, match=words):
                await stream.receive()
        quiet = ClientStream(channel, codec.RAFT, pb.RaftResponse)
        await quiet.half_close()
        assert await quiet.receive() is None


async def test_a_server_that_stops_ends_the_streams() -> None:
    handler = FakePeerHandler(identity(1))
    server = RpcServer(build_peer_methods(handler, voters_of), services=PEER_SERVICES)
    port = await server.start("127.0.0.1:0")
    async with connected(port) as channel:
        stream = ClientStream(channel, codec.RAFT, pb.RaftResponse)
        frame = codec.encode_introduction(codec.Route(identity(2), NodeId(1)))
        frame.messages.append(codec.encode_body(heartbeat(5)))
        await stream.send(frame)
        await eventually(lambda: handler.rounds(2) == [5])
        stopping = asyncio.ensure_future(server.stop(5))
        with pytest.raises(LogdError) as caught:
            await stream.receive()
        assert caught.value.code is ErrorCode.SHUTTING_DOWN
        await stopping


async def test_the_cluster_of_tests_is_an_id() -> None:
    assert len(CLUSTER) == 16
