"""Bugs planted into what drives the core and decides on nodes: a few seeds must find each.

A bug is a piece of the source (the anchor) and what takes its place. When the source has changed
and an anchor is gone, the test fails: move the bug to where its rule lives now.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.sim_planting import check_found, plant_in_copy

COPIED = ("tests/sim", "tests/__init__.py")

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Bug:
    """`focus`: the only faults and demands; `found_as`: what a seed complains of (a pattern)."""

    name: str
    file: str
    anchor: str
    planted: str
    focus: str
    found_as: str
    seeds: str = "0:10"


DRIVER = "logd/runtime/consensus_driver.py"

BUGS = (
    Bug(
        "sent before it is saved",
        DRIVER,
        "        if ready.has_work and not await self._save(ready):\n            return False\n"
        "        self._send(ready.messages)\n",
        "        self._send(ready.messages)\n"
        "        if ready.has_work and not await self._save(ready):\n            return False\n",
        "crash",
        "a promise before it is durable",
    ),
    Bug(
        "applied before it is advanced to, twice",
        DRIVER,
        "        for entry in ready.committed:\n            self._apply(entry)\n",
        "        for entry in (*ready.committed, *ready.committed[-1:]):\n"
        "            self._apply(entry)\n",
        "crash",
        "applies",
    ),
    Bug(
        "a vote is not stored",
        "logd/runtime/raft_store.py",
        "encode_hard_state(hard_state))\n",
        "encode_hard_state(replace(hard_state, vote=NO_NODE)))\n",
        "crash,crash_at_step,cut",
        "voted .* and starts with",
    ),
    Bug(
        "entries are not synced",
        "logd/runtime/raft_store.py",
        "            point.run()\n",
        "            point.done = True\n",
        "crash,crash_at_step",
        "saved .* and starts without it|cannot be read|everybody serves",
    ),
    Bug(
        "a snapshot without its voters",
        "logd/runtime/snapshots.py",
        "        for voter in meta.voters\n",
        "        for voter in meta.voters[:1]\n",
        "crash,crash_at_step",
        "voters|snapshot",
    ),
    Bug(
        "a read is answered without a round",
        DRIVER,
        "        context = self._pending.new_read()\n"
        "        self._core.read_index(context, patience_ms=patience_ms)\n"
        "        self._wake.set()\n"
        "        return await self._pending.read(context, timeout_ms=timeout_ms)\n",
        "        return self._applied_index\n",
        "cut,one_way,lossy",
        "stale-read",
        "0:30",
    ),
    Bug(
        "a heartbeat lengthens a session that is over",
        "logd/metadata/sessions.py",
        "        if session.is_over:\n",
        "        if session.is_over and node.fenced:\n",
        "cut,one_way,lossy,stall",
        "serves although it is fenced",
        "60:120",
    ),
    Bug(
        "a node does not fence itself",
        "logd/metadata/sessions.py",
        "        return self._answered_ms + self._timing.session_ms\n",
        "        return self._answered_ms + 4 * self._timing.session_ms\n",
        "cut,one_way",
        "serves although it is fenced",
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, tmp_path: Path) -> None:
    plant_in_copy(bug, bug.file, tmp_path, COPIED)
    seeds = ["--seeds", bug.seeds, "--focus", bug.focus]
    check_found(tmp_path, "tests.sim.quorum.run", seeds, bug.found_as)
