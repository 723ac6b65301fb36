"""Calls of one node to another over gRPC on the loopback interface."""

from __future__ import annotations

import asyncio
import builtins
from dataclasses import replace

import pytest
from google.protobuf.message import Message as ProtoMessage
from logd_proto.v1 import peer_pb2 as pb
from logd_wire.errors import (
    ErrorCode,
    IneligibleReplicaError,
    LogdError,
    NetworkError,
    NotLeaderError,
    OverloadedError,
    StaleEpochError,
    TimeoutError,
)

from logd.consensus.log_types import LOG_START, SnapshotMeta
from logd.model.ids import LogIndex, NodeId, Term
from logd.rpc import peer_codec as codec
from logd.rpc.api import Connection, Methods, UnaryMethod
from logd.rpc.peer import PEER_LIMITS, PEER_SERVICES, build_peer_methods
from logd.rpc.server import RpcServer
from logd.runtime.peers import (
    ChunkTaken,
    Identify,
    NodeHeartbeat,
    NodeHeartbeatAnswer,
    PeerAnswer,
    PeerCall,
    SnapshotChunk,
)
from tests.support.peer_values import voters_of
from tests.support.rpc_peers import (
    FakePeerHandler,
    Member,
    addresses_of,
    heartbeat,
    identity,
    members,
)
from tests.support.rpc_server import eventually

CHUNK = SnapshotChunk(Term(1), SnapshotMeta(LOG_START, ()), 3, 100, b"data")
HEARTBEAT = NodeHeartbeat(NodeId(1), bytes(16), LogIndex(3))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(HEARTBEAT, NodeHeartbeatAnswer(True)), (CHUNK, ChunkTaken(7))],
)
async def test_calls_are_answered(wanted: PeerCall, expected: PeerAnswer) -> None:
    async with members(2) as (one, two):
        assert await one.transport.call(two.address, wanted, timeout_ms=5_000) == expected
        assert two.handler.calls == [wanted]
        assert two.handler.callers == [identity(1)]


async def test_who_leads_comes_with_the_refusal() -> None:
    async def not_leader(_call: PeerCall) -> PeerAnswer:
        error = NotLeaderError("node 3 leads", code=ErrorCode.NOT_CONTROLLER)
        error.leader_id, error.leader_address = 3, "node3:7172"
        raise error

    async with members(2) as (one, two):
        two.handler.answers = not_leader
        with pytest.raises(NotLeaderError, match="node 3 leads") as caught:
            await one.transport.call(two.address, HEARTBEAT, timeout_ms=5_000)
        assert (caught.value.leader_id, caught.value.leader_address) == (3, "node3:7172")
        assert caught.value.code is ErrorCode.NOT_CONTROLLER


@pytest.mark.parametrize(
    "refusal", [StaleEpochError("of before"), IneligibleReplicaError("fenced")], ids=str
)
async def test_a_refusal_keeps_its_type(refusal: LogdError) -> None:
    async def refuse(_call: PeerCall) -> PeerAnswer:
        raise refusal

    async with members(2) as (one, two):
        two.handler.answers = refuse
        with pytest.raises(type(refusal)) as caught:
            await one.transport.call(two.address, HEARTBEAT, timeout_ms=5_000)
        assert type(caught.value) is type(refusal)
        assert caught.value.retriable is isinstance(refusal, IneligibleReplicaError)


async def test_a_call_ends_in_time_or_for_want_of_a_node() -> None:
    async def forever(_call: PeerCall) -> PeerAnswer:
        await asyncio.Event().wait()
        raise AssertionError

    async with members(2) as (one, two):
        two.handler.answers = forever
        with pytest.raises(TimeoutError):
            await one.transport.call(two.address, HEARTBEAT, timeout_ms=100)
        await two.stop_listening()
        with pytest.raises(NetworkError):
            await one.transport.call(two.address, HEARTBEAT, timeout_ms=5_000)


async def test_an_answer_that_makes_no_sense_is_no_answer() -> None:
    async def odd(_request: object, _connection: Connection) -> ProtoMessage:
        return pb.SnapshotChunkResponse(position=-1)

    async with members(1) as (one,):
        two = Member(2)
        methods = Methods({codec.SNAPSHOT_CHUNK: UnaryMethod(pb.SnapshotChunkRequest, odd)})
        await two.listen(methods)
        with pytest.raises(NetworkError, match="position is -1"):
            await one.transport.call(two.address, CHUNK, timeout_ms=5_000)
        await two.close()


async def test_connections_for_calls_are_few() -> None:
    async with members(1) as (one,):
        found = [Member(number) for number in range(2, 22)]
        for each in found:
            await each.listen()
            await one.transport.call(each.address, Identify(), timeout_ms=5_000)
        assert len(one.transport._calls._channels) == 16
        # One that was closed is opened again.
        await one.transport.call(found[0].address, Identify(), timeout_ms=5_000)
        for each in found:
            await each.close()


async def test_nothing_is_said_before_an_introduction_and_after_the_end() -> None:
    two = Member(2)
    await two.listen()
    one = Member(1)
    one.transport._identity = None
    with pytest.raises(RuntimeError, match="before introduce"):
        await one.transport.call(two.address, Identify(), timeout_ms=100)
    one.transport.set_addresses(addresses_of([two]))
    one.send(2, heartbeat(1))
    one.transport.introduce(identity(1))
    one.send(2, heartbeat(2))
    await eventually(lambda: two.handler.rounds(1) == [2])
    await one.close()
    one.send(2, heartbeat(3))
    one.transport.set_addresses(addresses_of([two]))
    one.send(2, heartbeat(4))
    await two.close()
    assert two.handler.rounds(1) == [2]


async def test_calls_under_way_and_later_ones_end_with_the_transport() -> None:
    begun = asyncio.Event()

    async def forever(_call: PeerCall) -> PeerAnswer:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with members(2) as (one, two):
        two.handler.answers = forever
        waiting = asyncio.ensure_future(
            one.transport.call(two.address, HEARTBEAT, timeout_ms=60_000)
        )
        await begun.wait()
        await one.transport.close()
        with pytest.raises(NetworkError, match="stopping"):
            await waiting
        with pytest.raises(NetworkError, match="stopping"):
            await one.transport.call(two.address, HEARTBEAT, timeout_ms=60_000)


async def test_a_call_that_is_given_up_is_cancelled() -> None:
    async def forever(_call: PeerCall) -> PeerAnswer:
        await asyncio.Event().wait()
        raise AssertionError

    async with members(2) as (one, two):
        two.handler.answers = forever
        with pytest.raises(builtins.TimeoutError):
            async with asyncio.timeout(0.1):
                await one.transport.call(two.address, HEARTBEAT, timeout_ms=60_000)
        two.handler.answers = None
        answer = await one.transport.call(two.address, HEARTBEAT, timeout_ms=5_000)
        assert answer == NodeHeartbeatAnswer(True)


async def test_a_connection_with_too_many_calls_is_refused_without_naming_a_setting() -> None:
    handler = FakePeerHandler(identity(1))
    begun = asyncio.Semaphore(0)

    async def forever(_call: PeerCall) -> PeerAnswer:
        begun.release()
        await asyncio.Event().wait()
        raise AssertionError

    handler.answers = forever
    limits = replace(PEER_LIMITS, calls_per_connection_max=2)
    server = RpcServer(
        build_peer_methods(handler, voters_of), services=PEER_SERVICES, limits=limits
    )
    port = await server.start("127.0.0.1:0")
    one = Member(2)
    address = f"127.0.0.1:{port}"
    calls = [
        asyncio.ensure_future(one.transport.call(address, Identify(), timeout_ms=60_000))
        for _ in range(2)
    ]
    for _ in calls:
        await begun.acquire()
    with pytest.raises(OverloadedError) as caught:
        await one.transport.call(address, Identify(), timeout_ms=5_000)
    assert caught.value.hint == "wait for some of them"
    await one.close()
    await asyncio.gather(*calls, return_exceptions=True)
    await server.stop(0)
