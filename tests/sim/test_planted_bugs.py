"""Bugs planted into a copy of the source: each must be found by a few seeds.

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
    """`found_as`: what one of the seeds must complain of (a regular expression); the first of
    `seeds` is the one that found it last."""

    name: str
    file: str
    anchor: str
    planted: str
    faults: str
    found_as: str
    seeds: str = "0:12"


BUGS = (
    Bug(
        "acknowledged before the sync",
        "logd/runtime/disk_driver.py",
        "            try:\n                await self._disk.sync(point.run)\n",
        "            for operation in operations:\n"
        "                self._answer(operation)\n"
        "            try:\n                await self._disk.sync(point.run)\n",
        "power_loss",
        "ack-before-sync",
        "1:13",
    ),
    Bug(
        "only the last sequence of a producer is known",
        "logd/storage/producers.py",
        "        for batch in producer.window:\n",
        "        for batch in producer.window[-1:]:\n",
        "reset,reset_before_ack",
        "duplicate:",
        "1:13",
    ),
    Bug(
        "the ledger is ignored",
        "logd/runtime/partitions.py",
        "                durable_end=durable_end,\n",
        "                durable_end=None,\n",
        "kill",
        "rot: ",
    ),
    Bug(
        "producer state is not rebuilt",
        "logd/storage/recovery.py",
        "            self._producers.record(header, header.base_offset, self._context.opened_ms)\n",
        "            return\n",
        "kill,reset_before_ack,power_loss",
        "duplicate:",
    ),
    Bug(
        "the copied tail is not synced",
        "logd/storage/tail.py",
        "            target.sync()\n",
        "",
        "kill,power_loss,failed_sync",
        "lost-write:|dirty-tail-read:|ack-before-sync|damage in",
        "1:13",
    ),
    Bug(
        "a retry gets a new sequence",
        "client/logd_client/_core/sender.py",
        "        if batch.sequence >= 0:\n            return True\n",
        "",
        "reset,reset_before_ack",
        "duplicate:",
    ),
    Bug(
        "a failed sync is tried again",
        "logd/storage/sync.py",
        "            for handle in self._handles:\n                handle.file.sync()\n",
        "            for handle in self._handles:\n"
        "                try:\n"
        "                    handle.file.sync()\n"
        "                except OSError:\n"
        "                    handle.file.sync()\n",
        "failed_sync",
        "ack-before-sync|ack-after-failure",
    ),
    Bug(
        "a trim is answered before it is durable",
        "logd/storage/checkpoint.py",
        "            file.sync()\n",
        "",
        "power_loss",
        "trim-undone:|start-offset-regress:|damage in",
    ),
    Bug(
        "the metadata log is not synced",
        "logd/runtime/raft_store.py",
        "            point.run()\n",
        "            point.done = True\n",
        "power_loss",
        "producer-id-reused|the metadata log in raft/log cannot be read",
    ),
    Bug(
        "the name of a new segment is not synced",
        "logd/storage/sync.py",
        "            if self.names_version is not None:\n"
        "                self._state.sync_names()\n",
        "",
        "power_loss",
        "ack-before-sync|lost-write:|damage in",
    ),
    Bug(
        "the cleaner forgets the newest value of a key",
        "logd/storage/cleaner/rewrite.py",
        "key is not None and get(key) <= at for",
        "key is not None and get(key) < at for",
        "kill",
        "compaction-lost",
    ),
    Bug(
        "the cleaner leaves old values behind a delete",
        "logd/storage/cleaner/rewrite.py",
        "key is not None and get(key) <= at for",
        "key is not None and (get(key) <= at or at % 2) for",
        "kill",
        "compaction-resurrected",
    ),
    Bug(
        "retention goes by the wall clock",
        "logd/runtime/partitions.py",
        "        moment = self._steady.check()\n        for found",
        "        moment = Moment(self._clock.wall_ms())\n        for found",
        "wall_jump",
        "retention-early",
    ),
    Bug(
        "a segment is as old as its first append",
        "logd/storage/retention.py",
        "    append_ms = segment.last_append_ms\n",
        "    append_ms = segment.first_append_ms\n",
        "kill",
        "retention-early",
        "2:14",
    ),
    Bug(
        "the active segment never ages",
        "logd/storage/retention.py",
        "(following is None and not segment.size)",
        "following is None",
        "kill",
        "retention-stuck",
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, tmp_path: Path) -> None:
    plant_in_copy(bug, bug.file, tmp_path, COPIED)
    seeds = ["--seeds", bug.seeds, "--faults", bug.faults]
    check_found(tmp_path, "tests.sim.run", seeds, bug.found_as)
