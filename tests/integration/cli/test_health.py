"""`logd cluster health`: what is wrong, in words, and the exit code that scripts go by."""

from __future__ import annotations

import contextlib
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from logd_client.values import ClusterInfo, MemberInfo, NodeInfo, PartitionInfo, TopicInfo
from logd_wire.errors import NetworkError

from logd.cli import health
from logd.cli.benchmark.processes import stop
from logd.cli.exits import ExitCode
from logd.cli.health import Health, Problem
from logd.cli.options import Invocation
from tests.integration.cli.conftest import Shell, start_node
from tests.support.nodes import free_port

READY = b'{"ready": true, "reasons": []}'
FULL = b'{"ready": false, "reasons": [{"name": "disk_full", "message": "no \\u001b[2J room"}]}'


@contextlib.contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The address of something that gives one answer to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            return None

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_node_and_its_cluster_are_well(node: Shell) -> None:
    node.out("topic", "create", "healthy", "-p", "3")
    found = json.loads(node.out("cluster", "health", "-F", "json"))
    assert (found["healthy"], found["problems"]) == (True, [])
    assert (found["nodes"], found["controller_id"]) == (1, 1)
    assert found["partitions"] >= 3
    assert b"healthy\tyes" in node.out("cluster", "health")
    assert node.out("cluster", "health", "-F", "name") == b""
    assert node.run("cluster", "health", "--exit-when-healthy").returncode == 0


def test_a_node_is_asked_on_its_admin_port(shell: Shell, tmp_path: Path) -> None:
    admin = f"127.0.0.1:{free_port()}"
    shell.environ["LOGD__LISTENERS__ADMIN"] = admin
    process, _address = start_node(shell, "--data-dir", str(tmp_path / "data"), "-q")
    try:
        found = json.loads(shell.out("cluster", "health", "--local", "-F", "json"))
        assert found == {"healthy": True, "admin": admin, "problems": []}
    finally:
        stop(process)
        process.communicate()
    gone = shell.run("cluster", "health", "--local")
    assert gone.returncode == ExitCode.UNREACHABLE
    assert admin.encode() in gone.stderr


def test_a_node_that_is_not_ready(shell: Shell) -> None:
    with answering(503, FULL) as admin:
        done = shell.run("cluster", "health", "--local", "--admin", admin)
    assert done.returncode == ExitCode.UNHEALTHY
    assert b"healthy\tno" in done.stdout
    assert b"disk_full\tno \\x1b[2J room" in done.stdout
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"hello"),
        (404, b"<html>"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"ready": true, "reasons": [1]}'),
        (200, b'{"ready": true, "reasons": 3}'),
        (200, b"\xff" * 100),
    ],
)
def test_something_else_at_the_address_is_no_node(shell: Shell, status: int, body: bytes) -> None:
    with answering(status, body) as admin:
        done = shell.run("cluster", "health", "--local", "--admin", admin)
    assert done.returncode == ExitCode.UNREACHABLE
    assert b"no logd node" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (503, READY, 10),
        (200, b'{"ready": false, "reasons": []}', 10),
        (200, b'{"ready": "yes", "reasons": []}', 10),
        (200, FULL.replace(b"false", b"true"), 10),
        (200, READY, 0),
    ],
)
def test_only_a_node_that_says_so_in_every_way_is_ready(
    shell: Shell, status: int, body: bytes, code: int
) -> None:
    with answering(status, body) as admin:
        assert shell.run("cluster", "health", "--local", "--admin", admin).returncode == code


@pytest.mark.parametrize("address", ["x", ":7180", "h:", "h:0", "h:65536", "h:x", "h:٣"])
def test_an_address_that_is_none(shell: Shell, address: str) -> None:
    done = shell.run("cluster", "health", "--local", "--admin", address)
    assert done.returncode == ExitCode.USAGE
    assert b"--admin" in done.stderr


def test_an_address_to_listen_on_is_asked_on_the_loopback(shell: Shell) -> None:
    with answering(200, READY) as admin:
        port = admin.rpartition(":")[2]
        done = shell.run("cluster", "health", "--local", "--admin", f"0.0.0.0:{port}")
    assert done.returncode == 0


def test_nobody_answers(shell: Shell) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    done = shell.run("cluster", "health", "-b", nobody)
    assert done.returncode == ExitCode.UNREACHABLE
    waited = shell.process("cluster", "health", "-b", nobody, "-w", "--timeout", "1500ms")
    assert waited.returncode == ExitCode.TIMED_OUT
    assert waited.stdout.count(b"unreachable") == 1


def test_waiting_for_a_node_to_come_up(shell: Shell, tmp_path: Path) -> None:
    admin = f"127.0.0.1:{free_port()}"
    waiting = shell.start(
        "cluster", "health", "--local", "--admin", admin, "--exit-when-healthy", "-F", "json"
    )
    assert waiting.stdout is not None
    first = waiting.stdout.readline()
    shell.environ["LOGD__LISTENERS__ADMIN"] = admin
    process, _address = start_node(shell, "--data-dir", str(tmp_path / "data"), "-q")
    try:
        rest = waiting.stdout.read()
    finally:
        stop(process)
        process.communicate()
    _rest, error = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, error
    told = documents((first + rest).decode())
    assert (told[0]["healthy"], told[-1]["healthy"]) == (False, True)
    assert told[0]["problems"][0]["name"] == "unreachable"


def documents(text: str) -> list[Any]:
    """Every JSON document in `text`, one behind the other."""
    found, position = [], 0
    while position < len(text.rstrip()):
        document, position = json.JSONDecoder().raw_decode(text, position)
        found.append(document)
        position += 1
    return found


def test_watching_tells_what_changes_and_nothing_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Problem("disk_full", "no room")
    answers = iter([[bad], [bad], [], [], [bad]])

    def ask() -> Health:
        for answer in answers:
            return Health(answer)
        raise KeyboardInterrupt

    monkeypatch.setattr(health, "INTERVAL_S", 0)
    with pytest.raises(KeyboardInterrupt):
        health.report(Invocation(), ask, watch=True, exit_when_healthy=False)
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("healthy")]
    assert shown == ["healthy\tno", "healthy\tyes", "healthy\tno"]


PARTITION = PartitionInfo(
    partition=0,
    leader=1,
    leader_epoch=0,
    replicas=(1, 2, 3),
    isr=(1, 2, 3),
    start_offset=0,
    end_offset=0,
    size_bytes=0,
    segments=1,
)
NODES = (NodeInfo(1, "a:1"), NodeInfo(2, "b:1"))


class FakeAdmin:
    """A cluster as it is described; the node at b:1 does not answer."""

    controller_id: int | None = 1
    partitions: tuple[PartitionInfo, ...] = (PARTITION,)
    members: tuple[MemberInfo, ...] = ()
    config: Mapping[str, str] = MappingProxyType({})

    def __init__(self, address: str = "a:1", **_options: Any) -> None:
        self._address = address

    def __enter__(self) -> FakeAdmin:
        return self

    def __exit__(self, *_exception: object) -> None:
        return None

    def describe_cluster(self) -> ClusterInfo:
        if self._address == "b:1":
            raise NetworkError("gone")
        own = type(self)
        return ClusterInfo("c", own.controller_id, 1, "1", NODES, own.members)

    def list_topics(self, *, include_internal: bool) -> list[TopicInfo]:
        assert include_internal
        return [TopicInfo("t", "id", False, type(self).partitions, type(self).config)]


def test_what_is_wrong_with_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "open_admin", lambda _invocation, **_chosen: FakeAdmin())
    monkeypatch.setattr("logd_client.Admin", FakeAdmin)
    found = health.ask_cluster(Invocation())
    assert found.problems == [Problem("node_down", "node 2 does not answer at b:1")]
    monkeypatch.setattr(FakeAdmin, "controller_id", None)
    monkeypatch.setattr(
        FakeAdmin,
        "partitions",
        (
            replace(PARTITION, leader=None),
            replace(PARTITION, partition=1, isr=(1, 3)),
            replace(PARTITION, partition=2, damage=("offsets 1 to 2",)),
            replace(PARTITION, partition=3, isr=(1,)),
        ),
    )
    monkeypatch.setattr(FakeAdmin, "config", {"min.insync.replicas": "2"})
    problems = health.ask_cluster(Invocation()).problems
    assert [problem.name for problem in problems] == [
        "no_controller",
        "node_down",
        "leaderless",
        "under_min_isr",
        "under_replicated",
        "damaged",
    ]
    assert problems[2].message == "1 partition without a leader: t-0"
    assert problems[3].message.startswith("1 partition with fewer replicas in sync than min.insync")
    assert problems[3].message.endswith(": t-3")
    assert problems[4].message == (
        "2 partitions with a replica that is not in sync "
        "(node 2 is not registered, node 3 is not registered): t-1, t-3"
    )
    assert problems[5].message.endswith(": t-2")


def test_members_that_the_controller_does_not_count_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "open_admin", lambda _invocation, **_chosen: FakeAdmin())
    monkeypatch.setattr("logd_client.Admin", FakeAdmin)
    well = MemberInfo(1, "a:1", "a:2", "", False, "d1", "i1", True, True, 0, True)
    fenced = replace(well, id=2, address="b:1", controller=False, fenced=True, heard=False)
    unknown = replace(fenced, id=3, address="", incarnation_id="", heard=True)
    monkeypatch.setattr(FakeAdmin, "members", (well, fenced, unknown))
    found = health.ask_cluster(Invocation())
    assert [problem.name for problem in found.problems] == [
        "not_registered",
        "voter_silent",
        "fenced",
    ]
    assert found.problems[1].message == "1 of 3 voters not heard of lately (2); the quorum decides"
    assert found.problems[2].message.startswith("node 2 is fenced: ")
    assert (found.summary["fenced"], found.summary["voters"]) == (1, [1, 2, 3])
    monkeypatch.setattr(FakeAdmin, "members", (well, fenced))
    assert health.ask_cluster(Invocation()).problems[0].message.endswith("nothing can be decided")


def test_many_partitions_are_counted_and_not_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "open_admin", lambda _invocation, **_chosen: FakeAdmin())
    monkeypatch.setattr("logd_client.Admin", FakeAdmin)
    many = tuple(replace(PARTITION, partition=number, leader=None) for number in range(500))
    monkeypatch.setattr(FakeAdmin, "partitions", many)
    [_down, leaderless] = health.ask_cluster(Invocation()).problems
    assert leaderless.message.startswith("500 partitions without a leader: t-0, t-1, ")
    assert leaderless.message.endswith("t-19 and 480 more")


def test_the_health_of_one_node_needs_no_grpc(shell: Shell) -> None:
    code = (
        "import sys, logd.cli.health, logd.cli.cluster\n"
        "sys.exit(any(name.partition('.')[0] == 'grpc' for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=shell.environ, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
