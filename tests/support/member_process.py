"""Members of a group in a process of their own, for tests that freeze and kill them.

    python -m tests.support.member_process BOOTSTRAP LOG SESSION_MS [MEMBER ...]

runs one member of `GROUP` for each name, on a thread each, and obeys lines on its input: `join M`,
`leave M`, `end`. `OUTSIDE` reads everything without being a member. What they see goes to LOG, one
line an event, written before the member goes on: it is there also when the process is killed at the
next instruction. Times are nanoseconds of the machine's monotonic clock:

    TIME MEMBER assign P,P,...
    TIME MEMBER record P OFFSET
    TIME MEMBER revoke P,P,...
    TIME MEMBER lost P,P,...
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from logd_client import Consumer, TopicPartition

from tests.support.nodes import ROOT, environment

TOPIC = "stormy"
GROUP = "storm"
OUTSIDE = "outside"
REBALANCE_MS = 30_000
#: Often, so that there are many commits to be wrong.
_COMMIT_MS = 500
_END_S = 30.0


class _Member:
    """One member on a thread; what it sees goes to the log."""

    def __init__(self, name: str, log: int, bootstrap: str, session_ms: int) -> None:
        self._name = name
        self._log = log
        self._consumer = Consumer(
            bootstrap_servers=bootstrap,
            client_id=name,
            group_id=None if name == OUTSIDE else GROUP,
            auto_offset_reset="earliest",
            auto_commit_interval_ms=_COMMIT_MS,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=REBALANCE_MS,
        )
        self._thread = threading.Thread(target=self._read, name=name)
        self._thread.start()

    def _say(self, what: str) -> None:
        os.write(self._log, f"{time.monotonic_ns()} {self._name} {what}\n".encode())

    def _told(self, what: str, partitions: list[TopicPartition]) -> None:
        self._say(f"{what} {','.join(str(tp.partition) for tp in partitions)}")

    def _read(self) -> None:
        if self._name == OUTSIDE:
            found = [TopicPartition(TOPIC, each) for each in self._consumer.partitions_for(TOPIC)]
            self._consumer.assign(found)
            self._told("assign", found)
        else:
            self._consumer.subscribe(
                [TOPIC],
                on_assign=lambda partitions: self._told("assign", partitions),
                on_revoke=lambda partitions: self._told("revoke", partitions),
                on_lost=lambda partitions: self._told("lost", partitions),
            )
        for record in self._consumer:
            self._say(f"record {record.partition} {record.offset}")

    def leave(self) -> None:
        """Tell the coordinator, and return when that is done."""
        self._consumer.close()
        self._thread.join(_END_S)


def main() -> None:
    """See the module."""
    bootstrap, path, session_ms, *names = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    members = {name: _Member(name, log, bootstrap, int(session_ms)) for name in names}
    for line in sys.stdin:
        order, _, name = line.strip().partition(" ")
        if order == "join" and name not in members:
            members[name] = _Member(name, log, bootstrap, int(session_ms))
        elif order == "leave" and name in members:
            members.pop(name).leave()
        elif order == "end":
            break
    for member in members.values():
        member.leave()


class MemberProcess:
    """The process, as the test has it. `log_path` outlives it, and is appended to by the next."""

    def __init__(self, folder: Path, name: str, bootstrap: str, session_ms: int) -> None:
        self.name = name
        self.log_path = folder / f"{name}.events"
        self.members: set[str] = set()
        #: When it was frozen, and until when, in nanoseconds.
        self.freezes: list[tuple[int, int]] = []
        self._errors = folder / f"{name}.log"
        self._arguments = (bootstrap, str(self.log_path), str(session_ms))
        self._process: subprocess.Popen[str] | None = None
        self._frozen_since: int | None = None

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def frozen(self) -> bool:
        return self._frozen_since is not None

    def start(self, members: Sequence[str]) -> None:
        """Start with these members, without waiting for anything."""
        command = [sys.executable, "-m", "tests.support.member_process", *self._arguments, *members]
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=environment(),
            )
        self.members = set(members)

    def join(self, member: str) -> None:
        self.members.add(member)
        self._order(f"join {member}")

    def leave(self, member: str) -> None:
        self.members.discard(member)
        self._order(f"leave {member}")

    def _order(self, line: str) -> None:
        assert self._process is not None and self._process.stdin is not None
        assert self._process.poll() is None, self.errors()
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def freeze(self) -> None:
        """SIGSTOP, every thread of it."""
        assert self._process is not None
        self._frozen_since = time.monotonic_ns()
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None and self._frozen_since is not None
        self._process.send_signal(signal.SIGCONT)
        self.freezes.append((self._frozen_since, time.monotonic_ns()))
        self._frozen_since = None

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()
        if self._frozen_since is not None:
            self.freezes.append((self._frozen_since, time.monotonic_ns()))
        self._frozen_since = self._process = None
        self.members = set()

    def end(self) -> None:
        """Have all its members leave, and wait for its end."""
        assert self._process is not None
        self._order("end")
        assert self._process.wait(_END_S) == 0, self.errors()
        self._process.communicate()
        self._process = None
        self.members = set()

    def errors(self) -> str:
        return self._errors.read_text(errors="replace")[-4_000:] if self._errors.exists() else ""


if __name__ == "__main__":
    main()
