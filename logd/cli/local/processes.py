"""Finding, starting and ending `logd serve` processes by the configuration file they run with.

No process number is kept anywhere: which node runs is read from /proc whenever it matters, so that
a crash of the command at any moment leaves no node forgotten, and a number that the system has
given to another process is never signalled.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_ARGUMENTS = ("-m", "logd", "serve", "--config")
#: Settings of the environment would win over the files, and be the same for every node.
_SETTINGS_PREFIX = "LOGD__"
#: SIGKILL ends a process at once, unless the kernel holds it in a write to a disk that hangs.
_KILL_SECONDS = 10.0


@dataclass(frozen=True)
class Process:
    """A process that runs, held by a descriptor, so that its number cannot change hands."""

    pid: int
    descriptor: int

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, number)

    def ends_within(self, timeout_seconds: float) -> bool:
        """Whether it has ended, after waiting so long at most."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout_seconds) * 1000))

    def close(self) -> None:
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(config: Path, log: Path, environ: Mapping[str, str]) -> None:
    """Start a node that goes on when this command has ended; what it says goes to `log`."""
    kept = {name: text for name, text in environ.items() if not name.startswith(_SETTINGS_PREFIX)}
    with log.open("ab") as stream:
        subprocess.Popen(
            [sys.executable, *_ARGUMENTS, str(config)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            # Nothing of the folder where the command was typed is imported, or held.
            cwd=config.parent,
            env=kept,
            start_new_session=True,
        )


def find(config: Path) -> Process | None:
    """The process that runs with this file; None: there is none. The caller closes it."""
    for pid in _numbers():
        if not _runs_with(pid, config):
            continue
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        # It may have ended, and its number gone to another, between the look and the hold.
        if _runs_with(pid, config):
            return Process(pid, descriptor)
        os.close(descriptor)
    return None


def _numbers() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _runs_with(pid: int, config: Path) -> bool:
    """Whether this is a node with that file, of this user and not in a container."""
    wanted = b"\0".join(map(os.fsencode, (*_ARGUMENTS, str(config)))) + b"\0"
    process = Path("/proc") / str(pid)
    try:
        if not (process / "cmdline").read_bytes().endswith(b"\0" + wanted):
            return False
        return (
            process.stat().st_uid == os.geteuid()
            and (process / "ns/pid").readlink() == Path("/proc/self/ns/pid").readlink()
        )
    except OSError:
        return False


def end(running: Sequence[Process], grace_seconds: float) -> list[Process]:
    """SIGTERM to all at once, SIGKILL to those that are still there after the grace time; returns
    these."""
    for process in running:
        process.signal(signal.SIGTERM)
        # One that was paused takes the signal once it goes on.
        process.signal(signal.SIGCONT)
    deadline = time.monotonic() + grace_seconds
    late = [each for each in running if not each.ends_within(deadline - time.monotonic())]
    kill(late)
    return late


def kill(running: Sequence[Process]) -> None:
    """SIGKILL, and wait until they are gone."""
    for process in running:
        process.signal(signal.SIGKILL)
    for process in running:
        process.ends_within(_KILL_SECONDS)
