"""`logd dev`: three real processes, ended and started through the commands."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logd.cli.local import layout, processes
from tests.integration.cli.conftest import Shell, clean_environ
from tests.support.nodes import free_port

Said = subprocess.CompletedProcess[bytes]


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    while True:
        base = free_port()
        try:
            for port in range(base, base + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            continue
        return base


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Shell]:
    """A shell with a state folder of its own; what runs there is ended."""
    shell = Shell(clean_environ(tmp_path))
    shell.environ["XDG_STATE_HOME"] = str(tmp_path)
    try:
        yield shell
    finally:
        shell.process("dev", "down", "--delete", "-y")


def said(done: Said) -> str:
    return done.stderr.decode()


def up(shell: Shell, *arguments: str) -> list[dict[str, Any]]:
    """Bring it up, and let the shell talk to it; returns its nodes."""
    done = shell.process("dev", "up", "-F", "json", *arguments)
    assert done.returncode == 0, said(done)
    found: list[dict[str, Any]] = json.loads(done.stdout)["nodes"]
    shell.environ["LOGD_BOOTSTRAP"] = ",".join(node["address"] for node in found)
    return found


def nodes(shell: Shell) -> dict[int, dict[str, Any]]:
    found = json.loads(shell.out("dev", "status", "-F", "json"))["nodes"]
    return {node["id"]: node for node in found}


def states(shell: Shell) -> list[str]:
    return [node["state"] for node in nodes(shell).values()]


def runs(pid: int) -> bool:
    """Whether it has not ended; nobody may have waited for it yet."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


@pytest.mark.slow
def test_up_kill_start_down_and_up_again(dev: Shell, tmp_path: Path) -> None:
    base = free_ports(6)
    made = up(dev, "--base-port", str(base))
    assert [set(node) for node in made] == [{"id", "pid", "address", "data_dir", "state"}] * 3
    assert [node["address"] for node in made] == [f"127.0.0.1:{base + n}" for n in range(3)]
    assert dev.out("topic", "create", "kept", "-p", "3") is not None
    # The first write succeeds; topics are made by writing to them.
    assert dev.run("produce", "greetings", stdin=b"hello\n").returncode == 0
    assert up(dev) == made, "what runs is left alone"

    assert "killed node 2" in said(dev.run("dev", "kill", "2"))
    assert not runs(made[1]["pid"])
    assert states(dev) == ["running", "stopped", "running"]
    assert "node 2 does not run" in said(dev.run("dev", "kill", "2"))
    started = dev.process("dev", "start", "2")
    assert started.returncode == 0 and "node 2 is in service" in said(started)
    assert "node 2 runs already" in said(dev.process("dev", "start", "2"))
    assert nodes(dev)[2]["pid"] != made[1]["pid"]

    dev.run("dev", "kill", "1")
    dev.run("dev", "kill", "3")
    os.kill(nodes(dev)[2]["pid"], signal.SIGKILL)
    alone = dev.process("dev", "start", "1")
    assert alone.returncode == 0
    assert "1 of 3 nodes run; nothing can be decided before 2 do" in said(alone)
    # A paused node stops in good order as well.
    os.kill(nodes(dev)[1]["pid"], signal.SIGSTOP)
    assert said(dev.process("dev", "down")) == "stopped node 1\n"
    assert states(dev) == ["stopped"] * 3
    up(dev)
    assert dev.out("consume", "greetings", "-e") == b"hello\n"
    assert "stopped nodes 1, 2 and 3" in said(dev.process("dev", "down", "--delete", "-y"))
    assert nodes(dev) == {}
    assert [path.name for path in (tmp_path / "logd" / "dev").iterdir()] == ["lock"]


@pytest.mark.slow
def test_other_things_than_it_was_made_with_are_refused(dev: Shell) -> None:
    base = free_ports(2)
    (only,) = up(dev, "--nodes", "1", "--base-port", str(base))
    more = dev.run("dev", "up", "--nodes", "3")
    assert more.returncode == 2
    assert "was made with 1 (leave the option out" in said(more)
    moved = dev.run("dev", "up", "--base-port", "9")
    assert moved.returncode == 2 and f"was made with {base}" in said(moved)
    missing = dev.run("dev", "kill", "2")
    assert missing.returncode == 2
    assert "there is no node 2 (the nodes are 1)" in said(missing)
    # A file that cannot be understood keeps nobody from deleting, and no node from being found.
    Path(only["data_dir"]).with_name("cluster.json").write_text("{")
    broken = dev.run("dev", "status")
    assert broken.returncode == 2 and "to begin anew: logd dev down --delete" in said(broken)
    assert "stopped node 1" in said(dev.process("dev", "down", "--delete", "-y"))
    assert not runs(only["pid"])


def test_ports_in_use_are_named(dev: Shell) -> None:
    base = free_ports(6)
    with (
        socket.create_server(("127.0.0.1", base + 1)),
        socket.create_server(("127.0.0.1", base + 4)),
    ):
        done = dev.run("dev", "up", "--base-port", str(base))
    assert done.returncode == 2
    assert f"ports {base + 1}, {base + 4} of 127.0.0.1 are in use" in said(done)
    assert nodes(dev) == {}, "nothing was made, so other ports can be chosen"


def test_without_a_cluster(dev: Shell) -> None:
    assert dev.out("dev", "status") == b"ID\tPID\tADDRESS\tSTATE\tDATA\n"
    assert json.loads(dev.out("dev", "status", "-F", "json")) == {"nodes": []}
    assert dev.run("dev", "down").returncode == 0
    for command in ("kill", "start"):
        done = dev.run("dev", command, "1")
        assert done.returncode == 2
        assert "make one: logd dev up" in said(done)
    assert dev.run("dev", "up", "--nodes", "0").returncode == 2
    high = dev.run("dev", "up", "--base-port", "65534")
    assert high.returncode == 2 and "3 nodes need 6 ports" in said(high)


def test_a_node_that_ends_at_its_start_is_reported(dev: Shell, tmp_path: Path) -> None:
    data_dir = tmp_path / "logd" / "dev" / "node-1"
    data_dir.mkdir(parents=True)
    (data_dir / "meta.json").write_text('{"format_version": 99}')
    done = dev.process("dev", "up", "--nodes", "1", "--base-port", str(free_ports(2)))
    assert done.returncode == 1
    assert "node 1 ended at its start: " in said(done)
    assert "or a newer one" in said(done)
    assert "node-1.log" in said(done)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-c", "print(flush=True); input()", *arguments]
        started.append(subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert started[-1].stdout is not None
        started[-1].stdout.readline()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_node_is_known_by_its_whole_command_line(
    tmp_path: Path, run: Callable[..., subprocess.Popen[bytes]]
) -> None:
    config = layout.LocalCluster(tmp_path, 7171, 3).node(1).config
    run("-m", "logd", "serve", "--config", f"{config}.old")
    run("-m", "logd", "serve", "--config", str(config), "--more")
    run("edit", str(config))
    assert processes.find(config) is None
    node = run("-m", "logd", "serve", "--config", str(config))
    found = processes.find(config)
    assert found is not None
    with found:
        assert found.pid == node.pid
        processes.kill([found])
        assert node.wait(10) == -signal.SIGKILL
        # The descriptor stays with the process that has ended, whoever gets its number.
        found.signal(signal.SIGKILL)
        assert found.ends_within(0)
    assert processes.find(config) is None
