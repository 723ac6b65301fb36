"""`serve`, `log`, `bench` and the demo: commands that have a node of their own."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from logd.cli.benchmark.processes import stop
from tests.integration.cli.conftest import ROOT, Shell, start_node
from tools.demo import TEN_LINES


def test_dev_keeps_a_named_folder_over_kill_9(shell: Shell, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    process, address = start_node(shell, "--dev", "--data-dir", data)
    shell.environ["LOGD_BOOTSTRAP"] = address
    shell.out("produce", "kept", stdin=b"one\n")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    process, address = start_node(shell, "--dev", "--data-dir", data)
    shell.environ["LOGD_BOOTSTRAP"] = address
    try:
        assert shell.out("consume", "kept", "-e") == b"one\n"
    finally:
        stop(process)
        process.communicate()
    assert process.returncode == 0


def test_dev_alone_leaves_nothing_behind(shell: Shell, tmp_path: Path) -> None:
    shell.environ["TMPDIR"] = str(tmp_path)
    process, _address = start_node(shell, "--dev")
    assert len(list(tmp_path.glob("logd-dev-*"))) == 1
    process.send_signal(signal.SIGINT)
    _out, error = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"Traceback" not in error
    assert not list(tmp_path.glob("logd-dev-*"))
    for line in error.splitlines():
        assert {"ts", "level", "logger", "event"} <= set(json.loads(line))


def test_a_folder_or_port_that_is_taken_is_named(shell: Shell, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    process, address = start_node(shell, "--data-dir", data)
    try:
        locked = shell.process("serve", "--data-dir", data, "--port", "0", "-q")
        assert locked.returncode in (1, 2), locked.stderr
        assert b"data" in locked.stderr
        port = address.rpartition(":")[2]
        taken = shell.process("serve", "--data-dir", str(tmp_path / "other"), "--port", port, "-q")
        assert taken.returncode in (1, 2), taken.stderr
        assert port.encode() in taken.stderr
        assert b"Traceback" not in locked.stderr + taken.stderr
    finally:
        stop(process)
        process.communicate()


def test_dump_and_verify(shell: Shell, tmp_path: Path) -> None:
    data = tmp_path / "data"
    process, address = start_node(shell, "--dev", "--data-dir", str(data))
    shell.environ["LOGD_BOOTSTRAP"] = address
    shell.out("produce", "t", "-k", "key", stdin=b"one\ntwo\n")
    stop(process)
    process.communicate()
    [segment] = [path for path in data.glob("partitions/*/*.log") if path.stat().st_size]
    [batch] = json.loads(shell.out("log", "dump", str(segment), "-F", "json"))
    assert (batch["base_offset"], batch["records"]) == (0, 2)
    assert shell.run("log", "verify", str(data)).returncode == 0
    damaged = bytearray(segment.read_bytes())
    damaged[-1] ^= 0xFF
    segment.write_bytes(damaged)
    found = shell.run("log", "verify", str(data))
    assert found.returncode == 1
    assert b"offsets 0 to 1: damaged bytes" in found.stderr
    dumped = shell.run("log", "dump", str(segment), "--verify", "-F", "json")
    assert dumped.returncode == 1
    assert [entry["kind"] for entry in json.loads(dumped.stdout)] == ["damage"]
    assert shell.run("log", "verify", str(tmp_path / "none")).returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        "produce --records 20000",
        "produce --records 20000 --api send_many --size 1024 --key-bytes 10 --partitions 3",
        "consume --records 20000",
        "e2e --records 500 --rate 1000",
    ],
)
def test_bench(shell: Shell, tmp_path: Path, arguments: str) -> None:
    file = str(tmp_path / "bench.csv")
    found = json.loads(shell.out("bench", *arguments.split(), "--json", "--csv", file))
    assert found["records_per_second"] > 0
    assert found["client_cpu_us_per_record"] > 0
    assert {"processor", "cores"} <= found["machine"].keys()
    assert found["batch_bytes"] == 65536
    if found["kind"] != "e2e":
        assert found["ratio_to_bare"] > 0
    else:
        assert found["latency_ms_p50"] <= found["latency_ms_p99"]
    with Path(file).open() as lines:
        [row] = csv.DictReader(lines)
    assert row["kind"] == found["kind"]


@pytest.mark.slow
def test_the_demo(shell: Shell) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.demo"],
        cwd=ROOT,
        env=shell.environ,
        capture_output=True,
        timeout=100,
        check=False,
    )
    output = done.stdout.decode()
    assert done.returncode == 0, output + done.stderr.decode()
    for command in ("serve", "topic create", "produce", "consume", "topic describe", "log verify"):
        assert f"$ logd {command}" in output
    assert "from logd_client import" in output


def test_the_readme_has_the_demos_ten_lines() -> None:
    assert len(TEN_LINES.splitlines()) == 10
    assert TEN_LINES in (ROOT / "README.md").read_text()
