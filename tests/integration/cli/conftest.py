"""A real node in a process of its own, and `logd` as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from logd.cli.benchmark.processes import stop
from logd.cli.main import app

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Shell:
    """Runs `logd` in a clean environment."""

    environ: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, stdin: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "logd", *arguments],
            env=self.environ,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def process(
        self, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run in a process of its own, to the end."""
        return subprocess.run(
            [sys.executable, "-m", "logd", *arguments],
            env={**self.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run in this process, which is quicker, to the end."""
        result = CliRunner().invoke(app, list(arguments), input=stdin, env=self.environ)
        return subprocess.CompletedProcess(
            arguments, result.exit_code, result.stdout_bytes, result.stderr_bytes
        )

    def out(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """What a command that must succeed writes to stdout."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


def clean_environ(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOGD_")}
    path = os.pathsep.join([str(ROOT), str(ROOT / "client"), kept.get("PYTHONPATH", "")])
    return {**kept, "PYTHONPATH": path.rstrip(os.pathsep), "XDG_CONFIG_HOME": str(tmp_path)}


def start_node(shell: Shell, *arguments: str) -> tuple[subprocess.Popen[bytes], str]:
    """A node on a free port, and its address once it serves."""
    process = shell.start("serve", "--port", "0", *arguments, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    address = process.stdout.readline().decode().strip()
    if not address:
        _out, error = process.communicate(timeout=10)
        raise AssertionError(f"the node did not start: {error.decode()}")
    return process, address


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell whose commands talk to a `--dev` node, which lives as long as the module's tests."""
    folder = tmp_path_factory.mktemp("node")
    shell = Shell(clean_environ(folder))
    process, address = start_node(shell, "--dev", "--data-dir", str(folder / "data"), "-q")
    shell.environ["LOGD_BOOTSTRAP"] = address
    try:
        yield shell
    finally:
        stop(process)
        process.communicate()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell without a node."""
    return Shell(clean_environ(tmp_path))
