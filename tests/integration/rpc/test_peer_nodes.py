"""Real nodes with peer listeners, on real files, over gRPC on the loopback interface."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from logd_proto.v1 import peer_pb2 as pb
from logd_wire.errors import ConfigError

from logd.app import running_node
from logd.consensus import Role
from logd.model.node_config import NodeConfig, load_node_config
from logd.rpc import peer_codec as codec
from logd.rpc import peer_values
from logd.runtime.node import Node
from tests.support.nodes import environment, free_port
from tests.support.rpc_attacks import connected
from tests.support.rpc_hostile_peers import SENDER
from tests.support.rpc_server import call, eventually


class Cluster:
    """Three nodes of one configuration, each of which may be down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {number: (free_port(), free_port()) for number in (1, 2, 3)}
        self.nodes: dict[int, Node] = {}
        self._stacks: dict[int, AsyncExitStack] = {}

    def flags(self, number: int) -> dict[str, str]:
        peers = (f"{node}@127.0.0.1:{ports[1]}" for node, ports in self.ports.items())
        return {
            "node.id": str(number),
            "node.data_dir": str(self.folder / str(number)),
            "listeners.grpc": f"127.0.0.1:{self.ports[number][0]}",
            "listeners.peer": f"127.0.0.1:{self.ports[number][1]}",
            "cluster.peers": ",".join(peers),
        }

    async def start(self, *numbers: int) -> None:
        await asyncio.gather(*map(self._start, numbers))

    async def _start(self, number: int) -> None:
        config, entries = load_node_config(flags=self.flags(number))
        stack = self._stacks[number] = AsyncExitStack()
        self.nodes[number] = await stack.enter_async_context(running_node(config, entries))

    async def stop(self, *numbers: int) -> None:
        for number in numbers:
            del self.nodes[number]
        await asyncio.gather(*(self._stacks.pop(number).aclose() for number in numbers))

    def leaders(self) -> list[int]:
        return [
            number for number, node in self.nodes.items() if node.broker.quorum.role is Role.LEADER
        ]


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    made = Cluster(folder)
    try:
        await made.start(1, 2, 3)
        yield made
    finally:
        await made.stop(*made.nodes)


@pytest.mark.slow
async def test_three_nodes_form_a_cluster_and_survive_their_leader(tmp_path: Path) -> None:
    async with cluster(tmp_path) as running:
        nodes = running.nodes
        await eventually(lambda: all(len(one.broker.image.voters) == 3 for one in nodes.values()))
        await nodes[2].broker.create_topic("orders")
        await eventually(
            lambda: all("orders" in one.broker.image.topic_ids for one in nodes.values())
        )
        (leader,) = running.leaders()
        await running.stop(leader)
        await eventually(lambda: len(running.leaders()) == 1)
        assert running.leaders() != [leader]
        survivor = next(iter(nodes.values()))
        await survivor.broker.create_topic("payments", replication_factor=2)
        await running.start(leader)
        await eventually(lambda: "payments" in nodes[leader].broker.image.topic_ids)


def flags(folder: Path, **others: str) -> dict[str, str]:
    return {
        "node.data_dir": str(folder),
        "listeners.grpc": "127.0.0.1:0",
        **{name.replace("__", "."): value for name, value in others.items()},
    }


def loaded(folder: Path, **others: str) -> NodeConfig:
    return load_node_config(flags=flags(folder, **others))[0]


async def identified(address: str) -> pb.IdentifyResponse:
    async with connected(int(address.rpartition(":")[2])) as channel:
        request = pb.IdentifyRequest(sender=SENDER)
        return await call(channel, codec.IDENTIFY, request, pb.IdentifyResponse)


async def test_a_node_alone_may_listen_to_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "logd.node")
    config = loaded(tmp_path, listeners__peer="127.0.0.1:0")
    async with running_node(config) as node:
        listeners = node.config.listeners
        assert listeners.peer == listeners.peer_advertised
        answer = await identified(listeners.peer)
        assert answer.leader_id == answer.identity.node_id == 1
        identity = peer_values.decode_sender(answer.identity)
        assert identity.cluster_id == node.broker.identity.cluster_id
    assert f"listening on {listeners.peer} for other nodes" in caplog.text
    assert "without encryption" not in caplog.text


async def test_a_node_without_a_peer_listener_has_none(tmp_path: Path) -> None:
    async with running_node(loaded(tmp_path)) as node:
        assert node.config.listeners.peer == ""
        assert node.ports.transport is None


@pytest.mark.parametrize(
    ("advertised", "expected"),
    [
        ("", "nodes on other machines are told to connect to 0.0.0.0:"),
        ("127.0.0.1:7172", "nodes on other machines are told to connect to 127.0.0.1:7172"),
        ("node1:7172", ""),
    ],
)
async def test_an_address_for_the_world_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, advertised: str, expected: str
) -> None:
    config = loaded(tmp_path, listeners__peer="0.0.0.0:0", listeners__peer_advertised=advertised)
    async with running_node(config):
        warnings = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert any("0.0.0.0" in each and "without encryption" in each for each in warnings)
    told = [each for each in warnings if "are told to connect" in each]
    assert [expected in each for each in told] == ([True] if expected else [])


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    async with running_node(loaded(tmp_path / "1", listeners__peer="127.0.0.1:0")) as node:
        taken = node.config.listeners.peer
        with pytest.raises(ConfigError, match=f"cannot listen on {taken}"):
            async with running_node(loaded(tmp_path / "2", listeners__peer=taken)):
                raise AssertionError("two nodes have one port")
    # Nothing is left locked.
    async with running_node(loaded(tmp_path / "2", listeners__peer="127.0.0.1:0")):
        assert (tmp_path / "2").is_dir()


def test_a_node_that_waits_for_others_ends_by_a_signal(tmp_path: Path) -> None:
    waiting = Cluster(tmp_path)
    settings = {
        "LOGD__" + name.upper().replace(".", "__"): value
        for name, value in waiting.flags(2).items()
    }
    command = [sys.executable, "-m", "logd", "serve"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment(**settings), cwd=Path.cwd()
        )
    try:
        _until(lambda: "for other nodes" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert "stopped before the node served" in log.read_text()
    assert "Traceback" not in log.read_text()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
