"""The streams between nodes: what three idle ones cost, and how long one message takes.

    python -m bench.peer [--seconds 10]

Each node is a process with a peer listener and the streams to the others, and nothing else: node 1
sends heartbeats as a leader does, the others answer. CPU is user and system time of the process as
a share of one core. A round trip is a message and the answer to it, one after the other, over two
streams on the loopback interface.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import socket
import statistics
import time
from collections.abc import Mapping
from typing import Any

from logd_client._transport.grpc import GrpcTransport

from logd.consensus.log_types import LOG_START, Entry
from logd.consensus.messages import (
    AppendRequest,
    AppendResponse,
    Body,
    HeartbeatRequest,
    HeartbeatResponse,
    Message,
)
from logd.model.ids import NO_NODE, ClusterId, DirectoryId, LogIndex, NodeId, Term
from logd.rpc.peer import PEER_SERVICES, build_peer_methods
from logd.rpc.peer_codec import PEER_RESPONSES
from logd.rpc.peer_transport import PEER_CHANNEL_OPTIONS, RpcPeerTransport
from logd.rpc.server import RpcServer
from logd.runtime.adapters import SystemClock, SystemRng
from logd.runtime.peers import Identified, PeerAnswer, PeerCall, PeerIdentity
from logd.runtime.replica_frames import ReplicaSource

NODES = 3
HEARTBEAT_S = 0.1
ROUND_TRIPS = 2_000
APPEND_BYTES = 1_024


def identity(number: int) -> PeerIdentity:
    return PeerIdentity(ClusterId(bytes(16)), NodeId(number), DirectoryId(bytes([number]) * 16))


class BenchNode:
    """A node that answers heartbeats and appends, and no more."""

    def __init__(self, number: int) -> None:
        self.me = identity(number)
        self.answered = asyncio.Event()
        network = GrpcTransport(responses=PEER_RESPONSES, options=PEER_CHANNEL_OPTIONS)
        self.transport = RpcPeerTransport(network, SystemClock(), SystemRng())
        self.transport.introduce(self.me)
        methods = build_peer_methods(self, lambda _payloads: None)
        self.server = RpcServer(methods, services=PEER_SERVICES)

    def send(self, to: int, body: Body) -> None:
        self.transport.send(Message(self.me.node_id, self.me.directory_id, NodeId(to), body))

    async def on_replicate(
        self, _sender: PeerIdentity, _receiver: NodeId, _source: ReplicaSource
    ) -> None:
        """Nobody copies anything here."""

    def on_message(self, _sender: PeerIdentity, message: Message) -> None:
        match message.body:
            case HeartbeatRequest(term=term, round=number):
                self.send(message.sender, HeartbeatResponse(term, number))
            case AppendRequest(term=term, entries=(entry,)):
                self.send(message.sender, AppendResponse(term, entry.next_index))
            case _:
                self.answered.set()

    async def on_call(self, _sender: PeerIdentity, _call: PeerCall) -> PeerAnswer:
        return Identified(self.me, Term(1), NO_NODE, "")


async def _idle(number: int, addresses: Mapping[NodeId, str], seconds: float) -> dict[str, Any]:
    node = BenchNode(number)
    await node.server.start(addresses[NodeId(number)])
    node.transport.set_addresses(addresses)
    beats = asyncio.ensure_future(_beat(node)) if number == 1 else None
    await asyncio.sleep(1)
    before = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.sleep(seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if beats is not None:
        beats.cancel()
    await node.transport.close()
    await node.server.stop(1)
    return {"idle_cpu_percent": round(100 * used / seconds, 2)}


async def _beat(node: BenchNode) -> None:
    number = 0
    while True:
        for to in range(2, NODES + 1):
            node.send(to, HeartbeatRequest(Term(1), LogIndex(0), number))
        number += 1
        await asyncio.sleep(HEARTBEAT_S)


async def _ping(addresses: Mapping[NodeId, str]) -> dict[str, Any]:
    """Round trips between nodes 1 and 2; node 2 is in another process."""
    node = BenchNode(1)
    await node.server.start(addresses[NodeId(1)])
    node.transport.set_addresses(addresses)
    await _wait_for_answer(node)
    entry = Entry(LogIndex(0), Term(1), (bytes(APPEND_BYTES),))
    found: dict[str, Any] = {}
    for name, body in (
        ("heartbeat", HeartbeatRequest(Term(1), LogIndex(0), 1)),
        ("append_1KiB", AppendRequest(Term(1), LOG_START, (entry,), LogIndex(0))),
    ):
        samples = []
        for _ in range(ROUND_TRIPS):
            started = time.perf_counter()
            node.answered.clear()
            node.send(2, body)
            await asyncio.wait_for(node.answered.wait(), 10)
            samples.append(1e6 * (time.perf_counter() - started))
        steady = samples[ROUND_TRIPS // 10 :]
        found[f"{name}_us_p50"] = round(statistics.median(steady))
        found[f"{name}_us_p99"] = round(statistics.quantiles(steady, n=100)[98])
    await node.transport.close()
    await node.server.stop(1)
    return found


async def _wait_for_answer(node: BenchNode) -> None:
    """Until node 2 is there, and both streams are: what is sent before is lost."""
    deadline = time.monotonic() + 60
    while not node.answered.is_set():
        if time.monotonic() > deadline:
            raise SystemExit("node 2 does not answer")
        node.send(2, HeartbeatRequest(Term(1), LogIndex(0), 0))
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)


async def _answer(addresses: Mapping[NodeId, str]) -> None:
    """Node 2 of the round trips, until the process is ended."""
    node = BenchNode(2)
    await node.server.start(addresses[NodeId(2)])
    node.transport.set_addresses(addresses)
    await asyncio.Event().wait()


def _run_idle(number: int, addresses: Mapping[NodeId, str], seconds: float, results: Any) -> None:
    results.put((number, asyncio.run(_idle(number, addresses, seconds))))


def _run_ping(addresses: Mapping[NodeId, str], results: Any) -> None:
    results.put(asyncio.run(_ping(addresses)))


def _run_answer(addresses: Mapping[NodeId, str]) -> None:
    asyncio.run(_answer(addresses))


def _free_addresses(count: int) -> dict[NodeId, str]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return {NodeId(at + 1): f"127.0.0.1:{port}" for at, port in enumerate(ports)}


def idle(seconds: float) -> dict[str, Any]:
    """CPU of each of three nodes that have nothing to do but to be alive."""
    context = multiprocessing.get_context("spawn")
    results, addresses = context.Queue(), _free_addresses(NODES)
    nodes = [
        context.Process(target=_run_idle, args=(number, addresses, seconds, results))
        for number in range(1, NODES + 1)
    ]
    for node in nodes:
        node.start()
    found = dict(results.get(timeout=seconds + 60) for _ in nodes)
    for node in nodes:
        node.join()
    return {
        f"node_{number}_{name}": value
        for number in sorted(found)
        for name, value in found[number].items()
    }


def round_trips() -> dict[str, Any]:
    """Times of one message and its answer."""
    context = multiprocessing.get_context("spawn")
    results, addresses = context.Queue(), _free_addresses(2)
    answering = context.Process(target=_run_answer, args=(addresses,), daemon=True)
    asking = context.Process(target=_run_ping, args=(addresses, results), daemon=True)
    answering.start()
    asking.start()
    found: dict[str, Any] = results.get(timeout=120)
    asking.join()
    answering.terminate()
    answering.join()
    return found


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m bench.peer", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the nodes idle")
    arguments = parser.parse_args()
    print(json.dumps({**idle(arguments.seconds), **round_trips()}, indent=2))


if __name__ == "__main__":
    main()
