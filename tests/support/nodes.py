"""A node in a process of its own, for tests that kill it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]

#: How long a node may take to serve, or to end.
START_S = 30.0
STOP_S = 30.0


def free_port() -> int:
    """A port of the loopback interface that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**extra: str) -> dict[str, str]:
    """The environment of a child that imports this checkout."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "client"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep), **extra}


class RealNode:
    """`logd serve` on a folder and a port; both stay the same over restarts."""

    def __init__(
        self,
        data_dir: Path,
        *,
        flags: tuple[str, ...] = (),
        log_folder: Path | None = None,
        settings: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        """`settings` are environment settings such as LOGD__DISK__FREE_BYTES_MIN; what the node
        prints goes to a file in `log_folder`, beside `data_dir` when not given. `host` is the
        address that it listens to, perhaps in another network namespace (see `traced`)."""
        self.data_dir = data_dir
        self.port = free_port()
        self.host = host
        self.address = f"{host}:{self.port}"
        self.log_path = (log_folder or data_dir.parent) / f"{data_dir.name}.log"
        self._flags = flags
        self._settings = {"LOGD__LISTENERS__GRPC": self.address, **(settings or {})}
        self._prefix: tuple[str, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None

    def set(self, name: str, value: str) -> None:
        """Change an environment setting for the next start."""
        self._settings[name] = value

    def traced(self, *command: str) -> Self:
        """Run the node under another command, such as strace."""
        self._prefix = command
        return self

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the node is not running"
        return self._process.pid

    def start(self) -> Self:
        """Start and wait until the port answers."""
        self.launch()
        self.wait_listening()
        return self

    def launch(self) -> None:
        """Start, without waiting for anything."""
        command = [*self._prefix, sys.executable, "-m", "logd", "serve"]
        command += ["--data-dir", str(self.data_dir), "--port", str(self.port), *self._flags]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=environment(**self._settings),
                start_new_session=True,
            )

    def wait_listening(self) -> None:
        """Wait until the port answers."""
        assert self._process is not None, "the node is not running"
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise AssertionError(f"the node ended at its start:\n{self.log_tail()}")
            with contextlib.suppress(OSError):
                socket.create_connection((self.host, self.port), timeout=1).close()
                return
            time.sleep(0.02)
        raise AssertionError(f"the node did not listen within {START_S} s:\n{self.log_tail()}")

    def kill(self) -> None:
        """End it at once, as `kill -9` does; what it wrote stays in the page cache."""
        assert self._process is not None, "the node is not running"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Stop every thread between two instructions; a call in the kernel is finished first."""
        os.kill(self.pid, signal.SIGSTOP)
        deadline = time.monotonic() + STOP_S
        while not self._frozen():
            assert time.monotonic() < deadline, "the node does not stop"
            time.sleep(0.001)

    def _frozen(self) -> bool:
        threads = Path(f"/proc/{self.pid}/task").glob("*/stat")
        return all(thread.read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> int:
        """End it in good order; returns the exit code."""
        assert self._process is not None, "the node is not running"
        self._process.terminate()
        code = self._process.wait(STOP_S)
        self._process = None
        return code

    def wait(self, timeout_s: float) -> int:
        """Wait until it ends by itself; returns the exit code."""
        assert self._process is not None, "the node is not running"
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    def memory_bytes(self) -> int:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def log_tail(self) -> str:
        return self.log_path.read_text(errors="replace")[-4_000:] if self.log_path.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self.kill()
