"""Planted bugs in the admin port and in what is counted, and a run that shows that each is seen.

`python -m tests.support.admin_mutants [NAME ...]` copies the packages aside, plants one bug at a
time and runs the tests named with it against the copy. A bug that no test sees is a failure. A unit
test checks that every anchor is still there.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.support.planting import first_failure, plant_in, report

ROOT = Path(__file__).resolve().parents[2]

_PROTOCOL = "tests/integration/http/test_protocol.py"
_NODE = "tests/integration/http/test_node.py"
_WATCH = "tests/integration/http/test_watch.py"
_OBSERVE = "tests/unit/observe"
#: Would see that an anchor is gone, which is no merit.
_SELF = "tests/unit/observe/test_mutants.py"
_LOGS = "tests/unit/cli/test_logs.py"
_HEALTH = "tests/integration/cli/test_health.py"
_DRIVER = "tests/unit/runtime/test_disk_driver.py"
_FETCH = "tests/unit/runtime/test_fetch_session.py"


class Mutant(NamedTuple):
    """In `logd/<module>.py`, `anchor` (there exactly once) becomes `planted`; `tests` see it."""

    name: str
    module: str
    anchor: str
    planted: str
    tests: str


MUTANTS = (
    Mutant(
        "a-head-may-dribble",
        "http/connection",
        "timer.reschedule(asyncio.get_running_loop().time() + limits.head_s)",
        "timer.reschedule(None)",
        _PROTOCOL,
    ),
    Mutant(
        "every-byte-gives-more-time",
        "http/connection",
        "                    if not begun:\n",
        "                    if data:\n",
        _PROTOCOL,
    ),
    Mutant(
        "the-rest-of-a-request-has-the-time-of-the-idle",
        "http/connection",
        "limits.head_s if begun else limits.idle_s",
        "limits.idle_s",
        _PROTOCOL,
    ),
    Mutant(
        "a-silent-connection-stays",
        "http/connection",
        "limits.head_s if begun else limits.idle_s",
        "limits.head_s if begun else None",
        _PROTOCOL,
    ),
    Mutant(
        "an-answer-may-never-be-read",
        "http/connection",
        "        async with asyncio.timeout(self._limits.write_s):\n",
        "        async with asyncio.timeout(None):\n",
        _PROTOCOL,
    ),
    Mutant(
        "bodies-are-read",
        "http/connection",
        "                return 413\n",
        "                return 0\n",
        _PROTOCOL,
    ),
    Mutant(
        "large-heads-in-one-piece",
        "http/connection",
        "        if size > self._limits.head_bytes_max:\n",
        "        if size > 1 << 30:\n",
        _PROTOCOL,
    ),
    Mutant(
        "head-has-a-body",
        "http/connection",
        '        if method != "HEAD":\n',
        '        if method != "":\n',
        _PROTOCOL,
    ),
    Mutant(
        "the-error-is-shown",
        "http/connection",
        "        except Exception:\n            _logger",
        "        except Exception as error:\n            return text_response(500, str(error))\n"
        "            _logger",
        _PROTOCOL,
    ),
    Mutant(
        "a-stop-cuts-answers-off",
        "http/connection",
        "        if self._open and not self.busy:\n",
        "        if self._open:\n",
        _PROTOCOL,
    ),
    Mutant(
        "a-stopping-server-keeps-connections",
        "http/connection",
        "        if self._stopping:\n            headers",
        "        if False:\n            headers",
        _PROTOCOL,
    ),
    Mutant(
        "holders-keep-others-out",
        "http/server",
        "        idle = next((other for other in self._connections if not other.busy), None)\n",
        "        idle = None\n",
        _PROTOCOL,
    ),
    Mutant(
        "the-answered-are-put-out",
        "http/server",
        "for other in self._connections if not other.busy)",
        "for other in self._connections)",
        _PROTOCOL,
    ),
    Mutant(
        "connections-without-bound",
        "http/server",
        "        if len(self._connections) < self._limits.connections_max:\n",
        "        if True:\n",
        _PROTOCOL,
    ),
    Mutant(
        "a-chosen-address-may-be-another",
        "http/server",
        "            if not or_any_port:\n",
        "            if False:\n",
        _PROTOCOL,
    ),
    Mutant(
        "the-path-is-echoed",
        "http/endpoints",
        '"there is nothing here; see /"',
        "request.path",
        _NODE,
    ),
    Mutant(
        "paths-become-labels",
        "http/endpoints",
        "request.path if route is not None else _ANY_OTHER_PATH",
        "request.path",
        _NODE,
    ),
    Mutant(
        "every-method-is-answered",
        "http/endpoints",
        "        elif request.method not in _METHODS:\n",
        '        elif request.method == "POST":\n',
        _NODE,
    ),
    Mutant(
        "not-ready-is-200",
        "http/endpoints",
        "503 if reasons else 200",
        "200",
        _NODE,
    ),
    Mutant(
        "a-hanging-disk-is-asked-by-everybody",
        "http/watch",
        "        if asking is None or asking.done():\n",
        "        if self._open:\n",
        _WATCH,
    ),
    Mutant(
        "a-hanging-disk-is-waited-for",
        "http/watch",
        "timeout=_DISK_ANSWER_S)",
        "timeout=None)",
        _WATCH,
    ),
    Mutant(
        "ready-while-it-stops",
        "http/watch",
        "Phase.STOPPING if gauges.stopping else Phase.SERVING",
        "Phase.SERVING",
        _NODE,
    ),
    Mutant(
        "up-whatever-is-wrong",
        "http/watch",
        "ready=not find_reasons(self._facts(gauges, free_bytes))",
        "ready=self._node is not None",
        _NODE,
    ),
    Mutant(
        "syncs-of-both-logs-are-one",
        "http/sync_times",
        '"raft": "metadata"',
        '"raft": "partitions"',
        _WATCH,
    ),
    Mutant(
        "buckets-are-not-cumulative",
        "observe/histogram",
        "list(accumulate(self.counts))",
        "list(self.counts)",
        _OBSERVE,
    ),
    Mutant(
        "a-bound-is-outside-its-bucket",
        "observe/histogram",
        "self.counts[bisect_left(self.bounds_ns, duration_ns)]",
        "self.counts[bisect_left(self.bounds_ns, duration_ns + 1)]",
        _OBSERVE,
    ),
    Mutant(
        "topics-without-bound",
        "observe/meters",
        "            if len(self._own) >= self._topics_max:\n",
        "            if len(self._own) > self._topics_max:\n",
        _OBSERVE,
    ),
    Mutant(
        "a-place-is-never-given-back",
        "observe/meters",
        "            del self._users[topic], self._own[topic]\n",
        "            pass\n",
        _OBSERVE,
    ),
    Mutant(
        "the-first-partition-that-goes-takes-the-topic-along",
        "observe/meters",
        "        if not self._users[topic]:\n",
        "        if topic in self._users:\n",
        _OBSERVE,
    ),
    Mutant(
        "ready-without-a-leader",
        "observe/readiness",
        "    if status is None or status.leader_id is None:\n",
        "    if status is None or not status.voters:\n",
        _OBSERVE,
    ),
    Mutant(
        "leader-0-is-no-leader",
        "observe/readiness",
        "    if status is None or status.leader_id is None:\n",
        "    if status is None or not status.leader_id:\n",
        _OBSERVE,
    ),
    Mutant(
        "ready-before-it-has-caught-up",
        "observe/readiness",
        "    if status is None or not status.caught_up:\n",
        "    if status is None:\n",
        _OBSERVE,
    ),
    Mutant(
        "ready-with-a-full-disk",
        "observe/readiness",
        "    if facts.free_bytes < facts.free_bytes_min:\n",
        "    if facts.free_bytes < 0:\n",
        _OBSERVE,
    ),
    Mutant(
        "full-exactly-at-the-floor",
        "observe/readiness",
        "    if facts.free_bytes < facts.free_bytes_min:\n",
        "    if facts.free_bytes <= facts.free_bytes_min:\n",
        _OBSERVE,
    ),
    Mutant(
        "a-round-never-ends",
        "runtime/disk_driver",
        "        self._round_from_ms = None\n\n",
        "\n",
        _DRIVER,
    ),
    Mutant(
        "duplicates-count-as-produced",
        "runtime/partition",
        "        if appended.duplicate:\n",
        "        if appended.base_offset < 0:\n",
        _NODE,
    ),
    Mutant(
        "batches-count-as-records",
        "runtime/partition",
        "records = appended.next_offset - appended.base_offset",
        "records = 1",
        _NODE,
    ),
    Mutant(
        "news-count-as-pushes",
        "runtime/fetch_session",
        "            self._read_from_ns = None\n",
        "            self._read_from_ns = 0\n",
        _FETCH,
    ),
    Mutant(
        "failed-batches-count-as-done",
        "rpc/produce",
        "        if code is None:\n",
        "        if code is not self:\n",
        _NODE,
    ),
    Mutant(
        "a-deleted-topic-keeps-its-place",
        "runtime/partitions",
        "        self._traffic.leave(found.topic, found.traffic)\n",
        "",
        _NODE,
    ),
    Mutant(
        "values-without-bound",
        "cli/logs",
        "    if len(text) <= VALUE_CHARACTERS_MAX:\n",
        "    if len(text) <= 1 << 30:\n",
        _LOGS,
    ),
    Mutant(
        "json-that-is-not-ascii",
        "cli/logs",
        "        return json.dumps(document)\n",
        "        return json.dumps(document, ensure_ascii=False)\n",
        _LOGS,
    ),
    Mutant(
        "fields-take-the-place-of-the-event",
        "cli/logs",
        "            document.setdefault(name, value)\n",
        "            document[name] = value\n",
        _LOGS,
    ),
    Mutant(
        "escapes-reach-the-terminal",
        "cli/logs",
        '        return "\\n".join(map(printable, lines))\n',
        '        return "\\n".join(lines)\n',
        _LOGS,
    ),
    Mutant(
        "a-fenced-node-is-ready",
        "observe/readiness",
        "    elif facts.fenced:\n",
        "    elif facts.fenced is None:\n",
        _OBSERVE,
    ),
    Mutant(
        "a-node-without-a-session-is-ready",
        "observe/readiness",
        "    elif not facts.in_session:\n",
        "    elif facts.in_session is None:\n",
        _OBSERVE,
    ),
    Mutant(
        "who-waits-for-the-cluster-recovers-its-disk",
        "http/watch",
        "            return NodeFacts(Phase.JOINING, waiting.words, waiting.is_overdue)\n",
        "            return NodeFacts(self._phase)\n",
        _WATCH,
    ),
    Mutant(
        "who-waits-does-not-say-for-whom",
        "observe/readiness",
        "    if facts.phase is Phase.JOINING and facts.waits_for:\n",
        "    if facts.phase is Phase.JOINING and facts.waits_for is None:\n",
        _OBSERVE,
    ),
    Mutant(
        "fenced-nodes-are-healthy",
        "cli/health",
        "    for node_id in sorted(fenced):\n",
        "    for node_id in ():\n",
        _HEALTH,
    ),
    Mutant(
        "silent-voters-are-healthy",
        "cli/health",
        "if voter.heard is False]",
        "if voter.heard is voter]",
        _HEALTH,
    ),
    Mutant(
        "status-alone-decides",
        "cli/health",
        "    if ready is True and status == http.client.OK and not problems:\n",
        "    if status == http.client.OK:\n",
        _HEALTH,
    ),
    Mutant(
        "waiting-ends-when-it-is-ill",
        "cli/health",
        "        if health.healthy and exit_when_healthy:\n",
        "        if exit_when_healthy:\n",
        _HEALTH,
    ),
    Mutant(
        "unhealthy-is-exit-0",
        "cli/health",
        "ExitCode.OK if health.healthy else ExitCode.UNHEALTHY",
        "ExitCode.OK",
        _HEALTH,
    ),
)


def source(module: str) -> Path:
    return Path("logd") / f"{module}.py"


def plant(mutant: Mutant, root: Path) -> None:
    """Change the copy below `root`; ValueError if the anchor is not there exactly once."""
    plant_in(root / source(mutant.module), mutant)


def caught_by(mutant: Mutant) -> str:
    """Run the tests against the planted bug; return the first test that fails, '' if none does."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for folder in ("logd", "tests", "client"):
            ignored = shutil.ignore_patterns("__pycache__", "native", "*.so")
            shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", root)
        plant(mutant, root)
        return first_failure(root, ["--timeout=30", f"--ignore={_SELF}", mutant.tests])


def main(names: list[str]) -> int:
    """Plant the named bugs, all of them by default; return how many were not seen."""
    return report(MUTANTS, names, caught_by)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
