"""Starting, watching and ending a server's processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

HOST = "127.0.0.1"
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")


class ServerError(Exception):
    """A server did not come up; the text ends with what it said last."""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listened on a moment ago."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


class Processes:
    """The processes of one server or cluster; all are ended together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        """Start one in a group of its own; what it prints goes to NAME.log in the folder."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as stream:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=self.folder,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._running.append((process, log))

    def wait_for_port(self, port: int) -> None:
        """Return when something listens there; raises ServerError when nothing does."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
                return
            self.check()
            if time.monotonic() > deadline:
                raise ServerError(f"nothing listens on port {port}: {self._last_words()}")
            time.sleep(0.1)

    def check(self) -> None:
        """Raises ServerError when one has ended."""
        for process, _ in self._running:
            if process.poll() is not None:
                raise ServerError(f"ended with {process.returncode}: {self._last_words()}")

    def _last_words(self) -> str:
        said = [log.read_text(errors="replace").strip()[-300:] for _, log in self._running]
        return " | ".join(said)

    def cpu_seconds(self) -> float:
        """Processor time of all of them so far, with what they started."""
        groups = {process.pid for process, _ in self._running}
        return sum(_cpu_of_groups(groups)) / _TICKS

    def resident_bytes(self) -> int:
        """Memory of the processes that were started, without their children."""
        pages = 0
        for process, _ in self._running:
            pages += int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """SIGKILL to all, at once."""
        for process, _ in self._running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """SIGTERM to each, SIGKILL to what is still there after so long."""
        for process, _ in self._running:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + seconds
        for process, _ in reversed(self._running):
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _cpu_of_groups(groups: set[int]) -> list[int]:
    """Clock ticks of every process of these process groups."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            text = (Path("/proc") / name / "stat").read_text(errors="replace")
            fields = text.rpartition(")")[2].split()
            if int(fields[2]) in groups:
                found.append(int(fields[11]) + int(fields[12]))
    return found
