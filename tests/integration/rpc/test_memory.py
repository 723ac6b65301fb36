"""Memory of a server in a process of its own: under hostile input, and under clients that stall."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import grpc.aio
import pytest
from logd_proto.v1 import admin_pb2, log_pb2
from logd_wire import WireRecord, encode_batch
from logd_wire.limits import MIB

from logd.rpc.memory import NOTABLE_BYTES, QUIET_S, Memory
from tests.support.rpc_attacks import Case, produce, topic_id
from tests.support.rpc_hostile import all_cases
from tests.support.rpc_process import TOPIC, ServerProcess, start
from tests.support.rpc_server import ADMIN, LOG, ClientStream, call, connect

Record = Callable[[str, int | float | str], None]

STALLED = 200
#: `limits.produce_bytes` and `limits.fetch_bytes` of the default configuration.
BUDGET_BYTES = 64 * MIB
#: Twice the window of a stream (256 KiB), and what the stream and its connection take.
PER_CLIENT_BYTES = 700 * 1024


async def hello(port: int) -> None:
    async with connect(port) as channel:
        await call(channel, LOG + "Hello", b"", log_pb2.HelloResponse)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_node_answers_the_hostile_corpus_and_keeps_its_memory(
    tmp_path: Path, record_figure: Record
) -> None:
    cases = all_cases()
    assert len(cases) > 300
    async with start("node", str(tmp_path)) as server:
        # One of each kind loads the code and fills the caches that any client would.
        for case in cases[::7]:
            if not case.large:
                await _outcome(case, server.port)
        before = server.memory_bytes()
        server.forget_highest()
        wrong = [await _outcome(case, server.port) for case in cases]
        grown = await settle(server) - before
        peak = server.memory_bytes("VmHWM") - before
        assert not any(wrong), "\n".join(filter(None, wrong))
        async with connect(server.port) as channel:
            described = await call(
                channel, ADMIN + "DescribeTopics", b"", admin_pb2.DescribeTopicsResponse
            )
        assert [topic.name for topic in described.topics] == [TOPIC]
    record_figure("rpc_hostile_growth_mib", round(grown / MIB, 1))
    record_figure("rpc_hostile_peak_mib", round(peak / MIB, 1))
    assert grown <= 32 * MIB
    # The largest message that is taken exists three times while gRPC puts it together.
    assert peak <= 96 * MIB


async def _outcome(case: Case, port: int) -> str:
    """What is wrong with the answer to a case, or with the node after it; empty: nothing."""
    try:
        async with asyncio.timeout(20):
            await case.attack(port)
            await hello(port)
    except (AssertionError, TimeoutError) as error:
        return f"{case.name}: {error!r}"[:300]
    return ""


async def settle(server: ServerProcess) -> int:
    """Wait until the server's memory has stood still for a while, and return it."""
    last, still = server.memory_bytes(), 0
    for _ in range(100):
        await asyncio.sleep(0.2)
        now = server.memory_bytes()
        still = still + 1 if abs(now - last) < MIB else 0
        last = now
        if still >= 8:
            break
    return last


@pytest.mark.slow
async def test_stalled_producers_stay_within_the_budget(record_figure: Record) -> None:
    """Batches that are never answered: reading stops, and what is held is bounded."""
    batch = encode_batch([WireRecord(i, 1, None, bytes(100_000), ()) for i in range(10)])
    async with start("hold") as server:
        await hello(server.port)
        before = server.memory_bytes()
        channels = [connect(server.port) for _ in range(STALLED)]
        wanted = await topic_id(channels[0])
        senders = [asyncio.ensure_future(_send_forever(one, wanted, batch)) for one in channels]
        grown = await settle(server) - before
        await hello(server.port)
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        for channel in channels:
            await channel.close()
    record_figure("rpc_200_stalled_producers_mib", round(grown / MIB, 1))
    # Each may have one message in hand beyond the budget: it has to be read to know its size.
    assert grown <= BUDGET_BYTES + STALLED * (len(batch) + PER_CLIENT_BYTES)


@pytest.mark.slow
@pytest.mark.parametrize("size", [200_000, 1_000_000])
async def test_producers_that_come_all_at_once_stay_within_the_budget(
    size: int, record_figure: Record
) -> None:
    """The worst order: every stream is being read when nothing is held yet, then all send."""
    batch = encode_batch([WireRecord(i, 1, None, bytes(size // 10), ()) for i in range(10)])
    async with start("hold") as server:
        await hello(server.port)
        before = server.memory_bytes()
        channels = [connect(server.port) for _ in range(STALLED)]
        wanted = await topic_id(channels[0])
        streams = [ClientStream(one, LOG + "Produce", log_pb2.ProduceResponse) for one in channels]
        for stream in streams:
            await stream.send(log_pb2.ProduceRequest())
        await hello(server.port)
        os.kill(server.pid, signal.SIGSTOP)
        senders = [asyncio.ensure_future(_keep_sending(one, wanted, batch)) for one in streams]
        # Until their windows are full; more makes no difference, less would not be the worst.
        await asyncio.sleep(1)
        os.kill(server.pid, signal.SIGCONT)
        grown = await settle(server) - before
        await hello(server.port)
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        for channel in channels:
            await channel.close()
    record_figure(f"rpc_200_producers_at_once_{size // 1000}_kb_mib", round(grown / MIB, 1))
    assert grown <= BUDGET_BYTES + STALLED * (len(batch) + PER_CLIENT_BYTES)


async def test_memory_is_given_back_once_requests_have_ceased() -> None:
    memory, trims = Memory(), 0

    def trim(_pad: int) -> int:
        nonlocal trims
        trims += 1
        return 1

    memory._library = SimpleNamespace(malloc_trim=trim)
    for _ in range(20):
        memory.requested(NOTABLE_BYTES)
        await asyncio.sleep(QUIET_S / 10)
    assert trims == 0
    async with asyncio.timeout(10):
        while not trims:
            await asyncio.sleep(0.01)
    memory.requested(NOTABLE_BYTES - 1)
    await asyncio.sleep(2.5 * QUIET_S)
    assert trims == 1


async def _send_forever(channel: grpc.aio.Channel, wanted: bytes, batch: bytes) -> None:
    stream = ClientStream(channel, LOG + "Produce", log_pb2.ProduceResponse)
    await _keep_sending(stream, wanted, batch)


async def _keep_sending(stream: ClientStream, wanted: bytes, batch: bytes) -> None:
    entry = log_pb2.ProduceBatch(topic_id=wanted, acks=-1, records=batch)
    while await stream.send(log_pb2.ProduceRequest(batches=[entry])):
        entry.id += 1


@pytest.mark.slow
async def test_stalled_readers_stay_within_the_budget(
    tmp_path: Path, record_figure: Record
) -> None:
    """Streams with endless credit of which nothing is read, of a real node."""
    batch = encode_batch([WireRecord(0, 1, None, bytes(1_000_000), ())])
    async with start("node", str(tmp_path)) as server:
        async with connect(server.port) as channel:
            wanted = await topic_id(channel)
            for _ in range(20):
                assert not (await produce(channel, batch)).HasField("error")
        before = await settle(server)
        options = [("grpc.http2.lookahead_bytes", 65_536), ("grpc.http2.bdp_probe", 0)]
        channels = [connect(server.port, options) for _ in range(STALLED)]
        streams = [ClientStream(one, LOG + "Fetch", log_pb2.FetchResponse) for one in channels]
        add = log_pb2.FetchPartition(subscription_id=1, topic_id=wanted, leader_epoch=-1)
        for stream in streams:
            await stream.send(log_pb2.FetchRequest(add=[add], credit_bytes=1 << 40))
        grown = await settle(server) - before
        # One who reads is served beside them.
        async with connect(server.port) as channel:
            request = log_pb2.ReadRequest(topic=TOPIC, offset=5, max_records=1)
            read = await call(channel, LOG + "Read", request, log_pb2.ReadResponse)
            assert read.records[0].offset == 5
        for stream in streams:
            stream.cancel()
        for channel in channels:
            await channel.close()
    record_figure("rpc_200_stalled_readers_mib", round(grown / MIB, 1))
    # What is on the account exists twice while it is written: as a message, and in the transport.
    assert grown <= 2 * BUDGET_BYTES + STALLED * PER_CLIENT_BYTES
