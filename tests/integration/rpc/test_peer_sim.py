"""The same transport over a network in memory: faults that loopback does not have."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest
from logd_wire.errors import NetworkError, TimeoutError

from logd.model.ids import LeaderEpoch, NodeId, TopicId, TopicPartitionId
from logd.rpc.peer import build_peer_methods
from logd.rpc.peer_codec import RAFT
from logd.rpc.peer_link import BACKOFF_MS_MAX, BACKOFF_MS_MIN, Backoff
from logd.rpc.peer_transport import RpcPeerTransport
from logd.runtime.peers import Identify
from logd.runtime.replica_frames import ReplicaChunk, ReplicaPosition
from logd.testing.clock import SimClock
from logd.testing.loop import VirtualLoop
from logd.testing.network import SimNetwork
from logd.testing.rng import SimRng
from logd.testing.trace import Trace
from tests.support.peer_values import voters_of
from tests.support.rpc_peers import FakePeerHandler, heartbeat, identity, message


class World:
    """Members 1 .. `count`, all of which know all, on one network."""

    def __init__(self, loop: VirtualLoop, count: int) -> None:
        self.loop = loop
        self.network = SimNetwork(loop, SimRng("network"), Trace(loop.time))
        self.handlers: dict[int, FakePeerHandler] = {}
        self.transports: dict[int, RpcPeerTransport] = {}
        for number in range(1, count + 1):
            self.handlers[number] = FakePeerHandler(identity(number))
            self.listen(number)
            self.transports[number] = RpcPeerTransport(
                self.network.transport(f"node{number}"), SimClock(loop), SimRng(f"node{number}")
            )
            self.transports[number].introduce(identity(number))
        addresses = {NodeId(number): f"node{number}:7172" for number in self.handlers}
        for transport in self.transports.values():
            transport.set_addresses(addresses)

    def listen(self, number: int) -> None:
        methods = build_peer_methods(self.handlers[number], voters_of)
        self.network.listen(f"node{number}:7172", methods)

    def send(self, sender: int, to: int, number: int) -> None:
        self.transports[sender].send(message(sender, to, heartbeat(number)))

    def connections(self, sender: int, to: int) -> list[Any]:
        found = self.network.connections(f"node{to}:7172")
        return [each for each in found if each.client == f"node{sender}"]


def run(scenario: Callable[[World], Coroutine[Any, Any, None]], count: int = 3) -> None:
    loop = VirtualLoop()

    async def main() -> None:
        world = World(loop, count)
        await scenario(world)
        for transport in world.transports.values():
            await transport.close()
        assert world.network.failures == []

    try:
        loop.run(main(), limit_s=600)
        assert loop.failures == []
    finally:
        loop.finish()


def test_messages_arrive_in_order() -> None:
    async def scenario(world: World) -> None:
        for number in range(200):
            world.send(1, 2, number)
            world.send(2, 3, number)
            await asyncio.sleep(0.001)
        await asyncio.sleep(1)
        assert world.handlers[2].rounds(1) == list(range(200))
        assert world.handlers[3].rounds(2) == list(range(200))

    run(scenario)


def test_a_connection_that_breaks_loses_little_and_is_made_again() -> None:
    async def scenario(world: World) -> None:
        for number in range(400):
            world.send(1, 2, number)
            if number % 100 == 50:
                world.connections(1, 2)[0].reset("by the test")
            await asyncio.sleep(0.02)
        await asyncio.sleep(2)
        heard = world.handlers[2].rounds(1)
        assert heard == sorted(set(heard))
        assert heard[-1] == 399
        assert len(heard) > 300

    run(scenario)


def test_a_peer_that_was_away_long_hears_little_of_what_it_missed() -> None:
    async def scenario(world: World) -> None:
        world.network.unlisten("node2:7172")
        for number in range(600):
            world.send(1, 2, number)
            await asyncio.sleep(0.1)
        world.listen(2)
        await asyncio.sleep(2)
        heard = world.handlers[2].rounds(1)
        assert heard[-1] == 599
        assert heard == list(range(heard[0], 600)) and len(heard) <= 16

    run(scenario)


def test_a_stalled_link_delays_no_other() -> None:
    async def scenario(world: World) -> None:
        world.send(1, 2, 0)
        world.send(1, 3, 0)
        await asyncio.sleep(1)
        world.connections(1, 2)[0].stall(10)
        for number in range(1, 100):
            world.send(1, 2, number)
            world.send(1, 3, number)
            await asyncio.sleep(0.05)
        assert world.handlers[3].rounds(1)[-1] >= 98
        assert world.handlers[2].rounds(1) == [0]
        await asyncio.sleep(10)
        assert world.handlers[2].rounds(1) == list(range(100))

    run(scenario)


def test_nothing_is_connected_before_there_is_something_to_say() -> None:
    async def scenario(world: World) -> None:
        await asyncio.sleep(60)
        assert world.network.connections() == []
        world.send(1, 2, 0)
        await asyncio.sleep(60)
        assert len(world.network.connections()) == 1

    run(scenario)


def test_an_unreachable_peer_is_tried_with_backoff_and_mentioned_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "logd.peer")
    attempts: list[float] = []

    async def scenario(world: World) -> None:
        world.network.unlisten("node2:7172")
        new_connection = world.network.new_connection

        def counted(client: str, address: str) -> Any:
            attempts.append(world.loop.time())
            return new_connection(client, address)

        world.network.new_connection = counted  # type: ignore[method-assign]
        for number in range(200):
            world.send(1, 2, number)
            await asyncio.sleep(0.1)
        world.network.new_connection = new_connection  # type: ignore[method-assign]
        assert len(caplog.records) == 1
        world.listen(2)
        for number in range(200, 240):
            world.send(1, 2, number)
            await asyncio.sleep(0.1)

    run(scenario)
    between = [after - before for before, after in pairwise(attempts)]
    assert between[0] < 0.2
    assert max(between) < 1.3
    assert 20 <= len(attempts) <= 40
    assert caplog.text.count("connection refused") == 1
    assert caplog.text.count("can be reached") == 1


def test_backoff_doubles_up_to_a_second_and_begins_again() -> None:
    backoff = Backoff(SimRng("backoff"))
    for _ in range(2):
        delays = [backoff.next_ms() for _ in range(10)]
        most = [min(100 * 2**at, BACKOFF_MS_MAX) for at in range(10)]
        assert all(each / 2 <= delay <= each for each, delay in zip(most, delays, strict=True))
        assert min(delays) >= BACKOFF_MS_MIN
        backoff.reset()


def test_calls_go_over_the_same_network() -> None:
    async def scenario(world: World) -> None:
        one = world.transports[1]
        await one.call("node2:7172", Identify(), timeout_ms=1_000)
        assert world.handlers[2].callers == [identity(1)]
        with pytest.raises(NetworkError):
            await one.call("nowhere:1", Identify(), timeout_ms=1_000)
        world.connections(1, 2)[0].stall(10)
        with pytest.raises(TimeoutError):
            await one.call("node2:7172", Identify(), timeout_ms=1_000)

    run(scenario)


def test_a_stream_is_one_of_the_peer_service() -> None:
    """An interceptor of a simulation finds raft messages under this name."""
    seen: list[str] = []

    def look(_connection: Any, method: str, to_server: bool, _data: bytes) -> bool:
        seen.append(f"{method} {to_server}")
        return False

    async def scenario(world: World) -> None:
        world.network.interceptor = look
        world.send(1, 2, 0)
        await asyncio.sleep(1)

    run(scenario)
    assert seen == [f"{RAFT} True"]


# --- replicas -------------------------------------------------------------------------------------


def position(end_offset: int) -> ReplicaPosition:
    key = TopicPartitionId(TopicId(b"t" * 16), 0)
    return ReplicaPosition(key, LeaderEpoch(1), 1, end_offset, last_epoch=-1)


def end_of(asked: ReplicaPosition) -> ReplicaChunk:
    return ReplicaChunk(asked.partition, asked.leader_epoch, high_watermark=asked.end_offset)


def test_replicas_are_copied_over_a_stream_of_their_own() -> None:
    async def scenario(world: World) -> None:
        world.handlers[2].chunk_of = end_of
        world.send(1, 2, 0)
        await asyncio.sleep(1)
        stream = world.transports[1].replicate(NodeId(2), "node2:7172")
        for number in range(100):
            await stream.write([position(number)])
            chunks = await stream.read()
            assert chunks is not None and [each.high_watermark for each in chunks] == [number]
        raft, bulk = world.connections(1, 2)
        # What holds one of the two up does not hold up the other.
        bulk.stall(5)
        for number in range(1, 20):
            world.send(1, 2, number)
            await asyncio.sleep(0.05)
        assert world.handlers[2].rounds(1)[-1] >= 18
        raft.stall(60)
        await asyncio.sleep(10)
        await stream.write([position(7)])
        assert await stream.read() is not None
        await stream.close()
        assert world.connections(1, 2) == [raft]

    run(scenario)


def test_a_stream_of_replicas_that_breaks_says_so_and_another_one_begins() -> None:
    async def scenario(world: World) -> None:
        world.handlers[2].chunk_of = end_of
        for attempt in range(3):
            stream = world.transports[1].replicate(NodeId(2), "node2:7172")
            await stream.write([position(attempt)])
            assert await stream.read() is not None
            reading = asyncio.ensure_future(stream.read())
            await asyncio.sleep(0.1)
            world.connections(1, 2)[0].reset("by the test")
            with pytest.raises(NetworkError):
                await reading
            with pytest.raises(NetworkError):
                await stream.write([position(attempt)])
                await stream.read()
            await stream.close()
        assert world.handlers[2].callers == [identity(1)] * 3

    run(scenario)
