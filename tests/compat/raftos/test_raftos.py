"""What raftos 0.2.6 does: the evidence for docs/decisions/0008-why-not-raftos.md.

Every test passes while the library is broken. One that fails says that a newer release changed
something, and that the decision may be looked at again.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.raftos.nodes import HOST, Nodes, asyncio_of_old
from tests.support.loops import settle

if importlib.util.find_spec("raftos") is None:
    pytest.skip(
        "raftos is not installed: its pins forbid it. To run this beside it: "
        "pip install --no-deps raftos==0.2.6, then pip install msgpack cryptography",
        allow_module_level=True,
    )

raftos: Any = importlib.import_module("raftos")
raftos_state: Any = importlib.import_module("raftos.state")

A, B, C = 1, 2, 3


@pytest.fixture
async def nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Nodes]:
    """Three nodes, or as many as the test asks for, all started."""
    monkeypatch.setattr(raftos_state, "asyncio", asyncio_of_old())
    count: int = getattr(request, "param", 3)
    ports = list(range(1, count + 1))
    cluster = Nodes(raftos, tmp_path, ports)
    cluster.start(*ports)
    yield cluster
    cluster.close()
    await settle()


def vote_request(candidate: int, term: int) -> dict[str, Any]:
    return {
        "type": "request_vote",
        "term": term,
        "candidate_id": f"{HOST}:{candidate}",
        "last_log_index": 0,
        "last_log_term": 0,
    }


def append(leader: int, term: int, previous: int, commands: list[Any], commit: int) -> Any:
    return {
        "type": "append_entries",
        "term": term,
        "leader_id": f"{HOST}:{leader}",
        "prev_log_index": previous,
        "prev_log_term": term if previous else 0,
        "entries": [{"term": term, "command": command} for command in commands],
        "commit_index": commit,
        "request_id": 1,
    }


def appended(term: int, index: int) -> dict[str, Any]:
    return {
        "type": "append_entries_response",
        "term": term,
        "success": True,
        "last_log_index": index,
        "request_id": 1,
    }


async def command(nodes: Nodes, leader: int, follower: int, value: str) -> bool:
    """Give `leader` a command; True when it acknowledged it with one follower's help."""
    answer = asyncio.ensure_future(nodes[leader].state.execute_command({"x": value}))
    for _ in range(3):
        await nodes.exchange(leader, follower)
        nodes[leader].state.heartbeat()
    await settle()
    acknowledged: bool = answer.done()
    answer.cancel()
    return acknowledged


async def test_two_leaders_of_one_term_acknowledge_different_commands(nodes: Nodes) -> None:
    nodes[A].to_candidate()
    nodes[B].to_candidate()
    late = nodes.wire.take(B, C)
    await nodes.exchange(A, C)
    assert (nodes.role(A), nodes[A].storage.term) == ("Leader", 1)

    nodes.start(C)
    nodes.wire.messages += late
    await nodes.exchange(B, C)
    assert (nodes.role(B), nodes[B].storage.term) == ("Leader", 1)
    assert nodes.role(A) == "Leader"

    nodes.wire.messages.clear()
    assert await command(nodes, A, C, "from A")
    nodes.wire.messages.clear()
    assert await command(nodes, B, C, "from B")
    assert nodes[A].log.commit_index == nodes[B].log.commit_index == 1
    assert nodes[A].log[1] == {"term": 1, "command": {"x": "from A"}}
    assert nodes[B].log[1] == {"term": 1, "command": {"x": "from B"}}
    assert nodes[A].state_machine["x"] != nodes[B].state_machine["x"]


async def test_a_restart_forgets_the_vote(nodes: Nodes) -> None:
    nodes[A].storage.update({"term": 5})
    await nodes.tell(B, A, **vote_request(B, 5))
    nodes.start(A)
    await nodes.tell(C, A, **vote_request(C, 5))
    assert nodes.grants(A, B) == nodes.grants(A, C) == [5]


async def test_stepping_down_forgets_the_vote_for_oneself(nodes: Nodes) -> None:
    nodes[A].to_candidate()
    assert nodes[A].storage.voted_for == f"{HOST}:{A}"
    nodes[A].to_follower()
    await nodes.tell(C, A, **vote_request(C, 1))
    assert nodes.grants(A, C) == [1]


async def test_a_late_heartbeat_cuts_committed_entries(nodes: Nodes) -> None:
    for index in range(5):
        await nodes.tell(B, A, **append(B, 1, index, [{"k": index}], index))
    assert (len(nodes[A].log), nodes[A].log.commit_index) == (5, 4)
    await nodes.tell(B, A, **append(B, 1, 2, [], 0))
    assert (len(nodes[A].log), nodes[A].log.commit_index) == (2, 4)


@pytest.mark.parametrize("nodes", [2, 4], indirect=True)
async def test_half_of_the_nodes_count_as_a_majority(nodes: Nodes) -> None:
    half = (nodes[A].server.cluster_count + 1) // 2
    assert nodes[A].is_majority(half)


async def test_nothing_commits_after_a_restart_of_all(nodes: Nodes) -> None:
    nodes[A].to_candidate()
    await nodes.exchange(A, B)
    assert await command(nodes, A, B, "before")
    nodes.wire.messages.clear()

    nodes.start(A, B, C)
    nodes[A].to_candidate()
    await nodes.exchange(A, B)
    assert (nodes.role(A), nodes[A].storage.term) == ("Leader", 2)
    assert not await command(nodes, A, B, "after")
    assert len(nodes[A].log) == len(nodes[B].log) == 2
    assert nodes[A].log.commit_index == 0


async def test_the_wrong_caller_is_acknowledged(nodes: Nodes) -> None:
    nodes[A].to_candidate()
    await nodes.exchange(A, B)
    first = asyncio.ensure_future(nodes[A].state.execute_command({"first": 1}))
    await settle()
    second = asyncio.ensure_future(nodes[A].state.execute_command({"second": 2}))
    await settle()
    for _ in range(2):
        await nodes.tell(B, A, **appended(nodes[A].storage.term, 1))
    assert nodes[A].log.commit_index == 1
    assert (first.done(), second.done()) == (False, True)
    first.cancel()


@pytest.mark.parametrize("nodes", [5], indirect=True)
async def test_one_vote_that_arrives_twice_makes_a_leader_of_five(nodes: Nodes) -> None:
    nodes[A].to_candidate()
    for _ in range(2):
        await nodes.tell(B, A, type="request_vote_response", term=1, vote_granted=True)
    assert nodes.role(A) == "Leader"


async def test_a_vote_of_an_older_term_counts(nodes: Nodes) -> None:
    nodes[A].storage.update({"term": 7})
    nodes[A].to_candidate()
    await nodes.tell(B, A, type="request_vote_response", term=5, vote_granted=True)
    assert (nodes.role(A), nodes[A].storage.term) == ("Leader", 8)


async def test_a_crash_while_the_term_is_written_takes_it_back_to_zero(nodes: Nodes) -> None:
    nodes[A].storage.update({"term": 42})
    # The library opens the file for writing, which empties it, and writes afterwards.
    Path(nodes[A].storage.filename).write_bytes(b"")
    nodes.start(A)
    assert nodes[A].storage.term == 0


async def test_the_default_log_cannot_be_read_from_term_ten_on(nodes: Nodes) -> None:
    # Entries are divided by newlines, and the byte of a newline is how msgpack writes ten.
    packed = raftos.serializers.MessagePackSerializer.pack({"term": 10, "command": {}})
    assert b"\n" in packed
