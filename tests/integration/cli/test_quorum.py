"""`logd cluster`, `logd raft` and `logd node` against nodes whose quorum is in memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from logd.consensus.log_types import Entry, HardState, Identity, Voters
from logd.metadata import AddVoter
from logd.model.ids import ClusterId, DirectoryId, LogIndex, NodeId, Term
from logd.runtime.raft_store import RaftStore
from logd.storage import RealFiles
from tests.integration.cli.conftest import Shell, clean_environ
from tests.support.rpc_broker import FakeBroker
from tests.support.rpc_quorum import CLUSTER_ID, directory_of
from tests.support.rpc_server import Serving, serving

T = TypeVar("T")


class Cluster:
    """Nodes 1 and 2 serve, from a thread of their own; node 3 is known and down."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.nodes: list[Serving] = []
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(20)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._serve())
        self.loop.close()

    async def _serve(self) -> None:
        async with serving() as one, serving() as two:
            self.nodes = [one, two]
            two.broker.identity.node_id = 2
            for broker in (one.broker, two.broker):
                broker.register(1, f"127.0.0.1:{one.port}", rack="a")
                broker.register(2, f"127.0.0.1:{two.port}", rack="b")
                broker.register(3, "127.0.0.1:9", fenced=True)
            one.broker.view.lags[3] = 7
            await one.broker.submit(AddVoter(NodeId(2)))
            two.broker.view.follow(1)
            self._started.set()
            await self._stop.wait()

    @property
    def controller(self) -> FakeBroker:
        return self.nodes[0].broker

    def do(self, work: Callable[[], T]) -> T:
        """Run `work` where the nodes run."""

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(20)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    running = Cluster()
    yield running
    running.close()


@pytest.fixture
def logd(cluster: Cluster, tmp_path: Path) -> Shell:
    shell = Shell(clean_environ(tmp_path))
    shell.environ["LOGD_BOOTSTRAP"] = f"127.0.0.1:{cluster.nodes[1].port}"
    return shell


def document(shell: Shell, *arguments: str) -> Any:
    return json.loads(shell.out(*arguments, "-F", "json"))


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode()


# ---- looking -----------------------------------------------------------------------------------


def test_cluster_info_is_what_the_controller_knows(logd: Shell) -> None:
    found = document(logd, "cluster", "info")
    assert (found["controller_id"], found["answered_by"]) == (1, 1)
    assert (found["voters"], found["observers"]) == ([1, 2], [3])
    assert found["metadata_index"] > 0 and found["controller_epoch"] == 3
    assert {"id", "address", "rack"} <= found["nodes"][0].keys()
    assert "voters\t1,2" in logd.out("cluster", "info").decode()


def test_cluster_nodes(cluster: Cluster, logd: Shell) -> None:
    lines = logd.out("cluster", "nodes").decode().splitlines()
    one, two = (f"127.0.0.1:{node.port}" for node in cluster.nodes)
    assert lines == [
        "ID\tADDRESS\tPEER\tRACK\tROLE\tSTATE\tLAG",
        f"1\t{one}\tpeer-1:7172\ta\tcontroller\tin service\t0",
        f"2\t{two}\tpeer-2:7172\tb\tvoter\tin service\t0",
        "3\t127.0.0.1:9\tpeer-3:7172\t-\tobserver\tfenced\t7",
    ]
    wide = logd.out("cluster", "nodes", "-F", "wide").decode()
    assert directory_of(2).hex() in wide
    assert logd.out("cluster", "nodes", "-F", "name") == b"1\n2\n3\n"
    found = document(logd, "cluster", "nodes")
    assert [node["role"] for node in found] == ["controller", "voter", "observer"]
    assert [node["lag"] for node in found] == [0, 0, 7]


def test_the_controller_may_be_down(cluster: Cluster, logd: Shell) -> None:
    cluster.do(lambda: cluster.nodes[1].broker.register(1, "127.0.0.1:9"))
    found = document(logd, "cluster", "nodes")
    assert [node["lag"] for node in found] == [None, None, None]


def test_raft_status_asks_every_node(logd: Shell) -> None:
    done = logd.run("raft", "status", "-F", "json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert [(node["id"], node["role"]) for node in found["nodes"]] == [
        (1, "leader"),
        (2, "follower"),
    ]
    assert found["leader_id"] == 1 and found["term"] == 3
    assert [voter["id"] for voter in found["voters"]] == [1, 2]
    assert [each["id"] for each in found["progress"]] == [2, 3]
    assert [each["id"] for each in found["silent"]] == [3]
    assert "node 3: " in said(done)
    text = logd.out("raft", "status").decode()
    assert "# quorum" in text and "# progress" in text
    assert "3\tno answer" in text


def test_raft_status_of_one_node(logd: Shell) -> None:
    (only,) = document(logd, "raft", "status", "--node", "2")["nodes"]
    assert (only["id"], only["role"], only["leader_id"]) == (2, "follower", 1)
    done = logd.run("raft", "status", "--node", "9")
    assert done.returncode == 1
    assert "the cluster has no node 9" in said(done)
    assert logd.run("raft", "status", "--node", "3").returncode == 3


def test_raft_log_shows_the_end_or_from_an_index_on(cluster: Cluster, logd: Shell) -> None:
    everything = document(logd, "raft", "log", "--from", "0", "-n", "500", "--node", "1")
    end = everything[-1]["next_index"]
    assert end == cluster.controller.view.state.end_index
    assert [entry["index"] for entry in everything[1:]] == [
        entry["next_index"] for entry in everything[:-1]
    ]
    last = document(logd, "raft", "log", "-n", "2", "--node", "1")
    assert last == everything[-2:]
    kinds = {record["type"] for entry in everything for record in entry["records"]}
    assert kinds >= {"no-op", "cluster-formed", "node-registered", "voters-changed"}
    lines = logd.out("raft", "log", "--from", "0", "-n", "1", "--node", "1").decode().splitlines()
    assert lines[0] == "INDEX\tTERM\tTIME\tKIND\tWHAT"
    assert lines[1].startswith("0\t3\t") and lines[1].endswith("a new leader's first entry")
    assert logd.out("raft", "log", "--from", "100000") == b"INDEX\tTERM\tTIME\tKIND\tWHAT\n"


def test_raft_log_marks_what_is_not_committed(cluster: Cluster, logd: Shell) -> None:
    view = cluster.controller.view
    commit = LogIndex(view.state.end_index - 1)
    cluster.do(lambda: setattr(view, "state", replace(view.state, commit_index=commit)))
    last = logd.out("raft", "log", "--node", "1").decode().splitlines()[-1]
    assert "(not committed)" in last


def test_raft_log_follows(cluster: Cluster, logd: Shell) -> None:
    process = logd.start("raft", "log", "-f", "-n", "1", "--node", "1", "-F", "json")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    cluster.do(lambda: cluster.controller.register(4, "n4:7171"))
    second = json.loads(process.stdout.readline())
    process.terminate()
    process.communicate(timeout=20)
    assert second["index"] == first["next_index"]
    assert "node 4 started" in second["records"][0]["text"]


# ---- a folder at rest --------------------------------------------------------------------------


def no_voters(_payloads: object) -> Voters | None:
    return None


def folder_with_entries(root: Path, cluster: Cluster, count: int) -> list[Entry]:
    (root / "raft").mkdir(parents=True)
    store, _ = RaftStore.open(RealFiles(root), clean=True, now_ms=0, voters_of=no_voters)
    entries = [stored.entry for stored in cluster.controller.view.entries][:count]
    identity = Identity(ClusterId(CLUSTER_ID), NodeId(1), DirectoryId(CLUSTER_ID))
    store.save(HardState(Term(3), NodeId(1), identity, founder=True), entries, 1_700_000_000_000)
    store.close(clean=True)
    return entries


def test_raft_log_of_a_folder_at_rest(cluster: Cluster, shell: Shell, tmp_path: Path) -> None:
    entries = folder_with_entries(tmp_path / "data", cluster, 4)
    data_dir = ("--data-dir", str(tmp_path / "data"))
    found = json.loads(shell.out("raft", "log", *data_dir, "-F", "json"))
    assert [entry["index"] for entry in found] == [entry.index for entry in entries]
    assert {entry["committed"] for entry in found} == {None}
    assert found[0]["records"][0]["type"] == "no-op"
    assert found[0]["timestamp_ms"] == 1_700_000_000_000
    last = json.loads(shell.out("raft", "log", *data_dir, "-n", "1", "-F", "json"))
    assert last == found[-1:]
    second = shell.out("raft", "log", *data_dir, "--from", "1", "-n", "1", "-F", "json")
    assert json.loads(second) == found[1:2]


def test_damage_in_a_folder_is_said(cluster: Cluster, shell: Shell, tmp_path: Path) -> None:
    folder_with_entries(tmp_path / "data", cluster, 4)
    segment = tmp_path / "data" / "raft" / "log" / f"{0:020d}.log"
    whole = segment.read_bytes()
    segment.write_bytes(whole + b"\0" * 30)
    torn = shell.run("raft", "log", "--data-dir", str(tmp_path / "data"))
    assert torn.returncode == 0
    assert f"note: raft/log/{0:020d}.log ends within an entry" in said(torn)
    segment.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    damaged = shell.run("raft", "log", "--data-dir", str(tmp_path / "data"))
    assert damaged.returncode == 1
    assert "damage: " in said(damaged)
    assert damaged.stdout.count(b"\n") >= 3


# ---- members -----------------------------------------------------------------------------------


def test_a_node_is_added_in_words(cluster: Cluster, logd: Shell) -> None:
    cluster.do(lambda: cluster.controller.register(4, "n4:7171"))
    dry = logd.run("node", "add", "4", "--dry-run")
    assert dry.returncode == 0
    assert "node 4 (n4:7171) would become a voter: 1,2 -> 1,2,4" in said(dry)
    assert "2 of 3 decide, 1 of them may fail" in said(dry)
    assert document(logd, "cluster", "info")["voters"] == [1, 2]
    # Bootstrapped from node 2, which does not lead: the fake nodes share no metadata.
    logd.environ["LOGD_BOOTSTRAP"] = f"127.0.0.1:{cluster.nodes[0].port}"
    done = logd.run("node", "add", "4", "-F", "json")
    assert done.returncode == 0, said(done)
    assert "node 4 votes; the voters are 1,2,4" in said(done)
    assert json.loads(done.stdout) == {
        "action": "add",
        "node": 4,
        "dry_run": False,
        "voters_before": [1, 2],
        "voters": [1, 2, 4],
    }
    again = logd.run("node", "add", "4")
    assert again.returncode == 0
    assert "node 4 votes already" in said(again)


def test_a_node_that_has_to_catch_up_is_waited_for(cluster: Cluster, logd: Shell) -> None:
    logd.environ["LOGD_BOOTSTRAP"] = f"127.0.0.1:{cluster.nodes[0].port}"
    impatient = logd.run("node", "add", "3", "--wait", "100ms")
    assert impatient.returncode == 1
    assert "node 3 is fenced: it has not caught up" in said(impatient)
    process = logd.start("node", "add", "3", "--wait", "20s")
    assert process.stderr is not None
    lines = [process.stderr.readline(), process.stderr.readline()]
    assert b"waiting: node 3 is fenced" in lines[1]
    cluster.do(lambda: cluster.controller.register(3, "127.0.0.1:9"))
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"node 3 votes; the voters are 1,2,3" in rest


def test_a_node_is_removed_and_another_replaced(cluster: Cluster, logd: Shell) -> None:
    logd.environ["LOGD_BOOTSTRAP"] = f"127.0.0.1:{cluster.nodes[0].port}"
    dry = logd.run("node", "remove", "2", "--dry-run")
    assert "would leave the cluster for good" in said(dry)
    assert document(logd, "cluster", "info")["voters"] == [1, 2]
    refused = logd.run("node", "replace", "2", "-y", "--wait", "100ms")
    assert refused.returncode == 1
    cluster.do(lambda: cluster.controller.fence(2))
    done = logd.run("node", "replace", "2", "-y")
    assert done.returncode == 0, said(done)
    assert f"data directory {directory_of(2).hex()} of node 2" in said(done)
    assert "next: start node 2 with an empty data directory" in said(done)
    assert document(logd, "cluster", "info")["voters"] == [1]
    done = logd.run("node", "remove", "3", "-y")
    assert done.returncode == 0, said(done)
    assert "next: stop node 3" in said(done)
    gone = logd.run("node", "remove", "3", "-y")
    assert gone.returncode == 1
    assert "the cluster has no node 3" in said(gone)
    last = logd.run("node", "remove", "1", "-y", "--wait", "100ms")
    assert last.returncode == 1
    assert "node 1 is the only voter" in said(last)


def test_node_ids_are_completed(logd: Shell) -> None:
    done = logd.process(
        environ={
            "_LOGD_COMPLETE": "complete_bash",
            "COMP_WORDS": "logd node remove ",
            "COMP_CWORD": "3",
        }
    )
    # Within its budget the cluster answered; or it says nothing, but never an error.
    assert done.stdout.split() in ([b"1", b"2", b"3"], [])
    assert done.stderr == b""
