"""A server in a process of its own, so that its memory can be measured.

    python -m tests.support.rpc_process node DIRECTORY     a real node
    python -m tests.support.rpc_process hold               a broker that answers no batch
    python -m tests.support.rpc_process peer DIRECTORY     a real node, by its peer listener

It has a topic `orders`, prints its port, and serves until its input ends. `start` runs it from a
test.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from logd.app import running_node
from logd.model.node_config import load_node_config
from logd.runtime.node import Node
from tests.support.rpc_broker import FakeBroker
from tests.support.rpc_server import serving

ROOT = Path(__file__).resolve().parent.parent.parent
TOPIC = "orders"


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server."""

    port: int
    pid: int

    def memory_bytes(self, name: str = "VmRSS") -> int:
        """Resident memory now (`VmRSS`) or at its highest (`VmHWM`)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {name} in /proc/{self.pid}/status")

    def forget_highest(self) -> None:
        """Let `VmHWM` begin anew at what is resident now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


@asynccontextmanager
async def start(*arguments: str) -> AsyncIterator[ServerProcess]:
    """Run a server until the block ends; AssertionError when it died before."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.rpc_process",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"},
    )
    assert process.stdout is not None and process.stdin is not None
    try:
        yield ServerProcess(int(await process.stdout.readline()), process.pid)
        assert process.returncode is None, f"the server ended with {process.returncode}"
    finally:
        process.stdin.close()
        async with asyncio.timeout(20):
            status = await process.wait()
    assert status == 0, f"the server ended with {status}"


async def _main() -> None:
    match sys.argv[1:]:
        case ["node", directory]:
            await _serve_node(directory, "listeners.grpc")
        case ["hold"]:
            broker = FakeBroker()
            broker.hold = True
            await broker.create_topic(TOPIC)
            async with serving(broker) as running:
                await _announce_and_wait(running.port)
        case ["peer", directory]:
            await _serve_node(directory, "listeners.peer")
        case _:
            sys.exit(__doc__)


async def _serve_node(directory: str, listener: str) -> None:
    flags = {"node.data_dir": directory, "listeners.grpc": "127.0.0.1:0", listener: "127.0.0.1:0"}
    config, entries = load_node_config(flags=flags)
    async with running_node(config, entries) as node:
        await node.broker.create_topic(TOPIC)
        await _coordinate(node)
        listeners = node.config.listeners
        address = listeners.peer or listeners.grpc
        await _announce_and_wait(int(address.rpartition(":")[2]))


async def _coordinate(node: Node) -> None:
    """Make the node the coordinator of every group, and wait until it is one."""
    await node.broker.groups.find("g")
    async with asyncio.timeout(20):
        while True:
            groups = node.gauges().groups
            if groups.coordinated == 16 and not groups.loading:
                return
            await asyncio.sleep(0.02)


async def _announce_and_wait(port: int) -> None:
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main())
