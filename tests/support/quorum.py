"""Several nodes of one cluster, each in a process of its own, for tests that kill some of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from logd_client import Admin, ClusterInfo, LogdError

from tests.support.network import Switch
from tests.support.nodes import RealNode, free_port

T = TypeVar("T")

LOOPBACK = "127.0.0.1"

#: A cluster that does not come to itself within this time hangs.
PATIENCE_S = 60.0


class RealCluster:
    """Nodes 1 to `count`, all listed in `cluster.peers`, under one folder."""

    def __init__(
        self,
        folder: Path,
        count: int = 3,
        *,
        settings: Mapping[str, str] | None = None,
        data_dirs: Mapping[int, Path] | None = None,
        switch: Switch | None = None,
    ) -> None:
        """`data_dirs` says where a node stores when not in `folder`; `switch` has a host for each
        node, and each runs on its own."""
        self.folder = folder
        peers = {
            number: f"{switch.address_of(number) if switch else LOOPBACK}:{free_port()}"
            for number in range(1, count + 1)
        }
        listed = ",".join(f"{number}@{address}" for number, address in peers.items())
        self.nodes = {
            number: real_node(
                folder,
                number,
                peer=address,
                data_dir=(data_dirs or {}).get(number),
                settings={"LOGD__CLUSTER__PEERS": listed, **(settings or {})},
            )
            for number, address in peers.items()
        }
        if switch is not None:
            for number, node in self.nodes.items():
                node.traced(*switch.command(number))

    @property
    def bootstrap(self) -> str:
        return ",".join(node.address for node in self.nodes.values())

    def start(self) -> Self:
        """Start all nodes at once, and wait until they are one cluster with every node in it."""
        for node in self.nodes.values():
            node.launch()
        for node in self.nodes.values():
            node.wait_listening()
        self.wait_complete()
        return self

    def wait_complete(self) -> None:
        """Wait until a controller leads, every node is registered and every one votes."""
        wanted = set(self.nodes)

        def complete(admin: Admin) -> bool:
            cluster = admin.describe_cluster()
            serving = {node.id for node in cluster.nodes if not node.fenced}
            return cluster.controller_id in wanted and serving == wanted == voters(cluster)

        wait_for("every node takes part and votes", lambda: self.ask(complete))

    def ask(self, question: Callable[[Admin], T], *numbers: int) -> T:
        """Put a question to one of these nodes, or to whichever answers."""
        chosen = [self.nodes[number] for number in numbers] or list(self.nodes.values())
        addresses = [node.address for node in chosen if node.running]
        with Admin(",".join(addresses)) as admin:
            return question(admin)

    def admin(self) -> Admin:
        """A client of the nodes that run."""
        return Admin(",".join(node.address for node in self.nodes.values() if node.running))

    def controller(self, *numbers: int) -> int:
        """The node that leads the metadata log; waits until one does and it runs."""
        found: list[int] = []

        def leads() -> bool:
            leader = self.ask(lambda admin: admin.describe_cluster().controller_id, *numbers)
            if leader is not None and self.nodes[leader].running:
                found.append(leader)
            return bool(found)

        wait_for("a controller leads", leads)
        return found[-1]

    def term(self, number: int) -> int:
        """The term that a node is in."""
        return self.ask(lambda admin: admin.describe_quorum().term, number)

    def stop(self) -> None:
        for node in self.nodes.values():
            if node.running:
                assert node.stop() == 0

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def kill(self) -> None:
        for node in self.nodes.values():
            if node.running:
                node.kill()


def real_node(
    folder: Path,
    number: int,
    *,
    peer: str,
    data_dir: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> RealNode:
    """A node with a peer listener; it is not started."""
    return RealNode(
        data_dir or folder / f"node-{number}",
        log_folder=folder,
        host=peer.partition(":")[0],
        settings={
            "LOGD__NODE__ID": str(number),
            "LOGD__LISTENERS__PEER": peer,
            **(settings or {}),
        },
    )


def wait_for(what: str, holds: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Ask again and again until it holds; an error of the cluster counts as no."""
    deadline, last = time.monotonic() + timeout_s, ""
    while True:
        try:
            if holds():
                return
        except LogdError as error:
            last = f"; the last error: {error}"
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}{last}"
        time.sleep(0.02)


def voters(cluster: ClusterInfo) -> set[int]:
    """Who votes on the metadata log."""
    return {member.id for member in cluster.members if member.voter}


def cpu_seconds(node: RealNode) -> float:
    """What the process has used so far, in user and system mode."""
    fields = Path(f"/proc/{node.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
