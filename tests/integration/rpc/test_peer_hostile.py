"""The hostile corpus against the peer listener of a real node, in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from logd_proto.v1 import peer_pb2 as pb
from logd_wire.limits import MIB

from logd.rpc import peer_codec as codec
from logd.rpc import peer_values
from tests.integration.rpc.test_memory import settle
from tests.support.rpc_attacks import Case
from tests.support.rpc_hostile_peers import SENDER, peer_cases
from tests.support.rpc_process import start
from tests.support.rpc_server import call, connect

Record = Callable[[str, int | float | str], None]


async def identify(port: int) -> None:
    async with connect(port) as channel:
        request = pb.IdentifyRequest(sender=SENDER)
        answer = await call(channel, codec.IDENTIFY, request, pb.IdentifyResponse)
    peer_values.decode_sender(answer.identity)


async def outcome(case: Case, port: int) -> str:
    """What is wrong with the answer to a case, or with the node after it; empty: nothing."""
    try:
        async with asyncio.timeout(20):
            await case.attack(port)
            await identify(port)
    except (AssertionError, TimeoutError) as error:
        return f"{case.name}: {error!r}"[:300]
    return ""


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_the_peer_service_answers_the_hostile_corpus_and_keeps_its_memory(
    tmp_path: Path, record_figure: Record
) -> None:
    cases = peer_cases()
    assert len(cases) > 100
    async with start("peer", str(tmp_path)) as server:
        for case in cases[::5]:
            if not case.large:
                await outcome(case, server.port)
        before = server.memory_bytes()
        server.forget_highest()
        wrong = [await outcome(case, server.port) for case in cases]
        grown = await settle(server) - before
        peak = server.memory_bytes("VmHWM") - before
        assert not any(wrong), "\n".join(filter(None, wrong))
    record_figure("rpc_peer_hostile_growth_mib", round(grown / MIB, 1))
    record_figure("rpc_peer_hostile_peak_mib", round(peak / MIB, 1))
    assert grown <= 32 * MIB
    # The largest message that is taken exists three times while gRPC puts it together.
    assert peak <= 96 * MIB
