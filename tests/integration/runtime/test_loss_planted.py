"""Every class of loss, planted: the scenario that is named after it fails.

When the source has changed and an anchor is gone, the test fails: move the bug to where its rule
lives now.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.planting import first_failure
from tests.support.sim_planting import plant_in_copy

pytestmark = pytest.mark.proof

REPLICATION = "tests/integration/runtime/test_loss_classes.py"
ON_DISK = "tests/integration/runtime/test_loss_classes_on_disk.py"
COPIED = ("tests", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Bug:
    """`sees`: by what its scenario is found in `scenarios`."""

    name: str
    sees: str
    scenarios: str
    file: str
    anchor: str
    planted: str


BUGS = (
    Bug(
        "r01: a copy begins at its high watermark",
        "r01",
        REPLICATION,
        "logd/runtime/replica_fetcher.py",
        "        done = self._driver.call(lambda: None, self.partition, sync=True)\n",
        "        limit = self.partition.high_watermark\n"
        "        done = self._driver.truncate(self.partition, limit)\n",
    ),
    Bug(
        "r02: an epoch that the follower does not share fits",
        "r02",
        REPLICATION,
        "logd/replication/divergence.py",
        "    if epoch == last_epoch and offset <= min(end_offset, log_end):\n",
        "    if offset <= log_end:\n",
    ),
    Bug(
        "r03: readers are not held against the leader epoch",
        "r03",
        REPLICATION,
        "logd/runtime/partition.py",
        "        if leader_epoch in (-1, self.leader_epoch):\n",
        "        if leader_epoch >= -1:\n",
    ),
    Bug(
        "r04: any replica in service may lead",
        "r04",
        REPLICATION,
        "logd/metadata/elections.py",
        "    holders = {*state.eligible} & in_service\n",
        "    holders = {*state.replicas} & in_service\n",
    ),
    Bug(
        "r05: a proposal with a process of before is taken",
        "r05",
        REPLICATION,
        "logd/metadata/partitions.py",
        "    return node is not None and node.node_epoch == member.node_epoch\n",
        "    return node is not None\n",
    ),
    Bug(
        "r06: the marker is written after an error",
        "r06",
        ON_DISK,
        "logd/storage/data_dir.py",
        "            if clean and not self._failed:\n",
        "            if clean or self._failed:\n",
    ),
    Bug(
        "r08: the window is shorter than what may be in flight",
        "r08",
        REPLICATION,
        "logd/storage/producers.py",
        "(*producer.window[1 - PRODUCER_WINDOW_BATCHES :], batch)",
        "(batch,)",
    ),
    Bug(
        "r08: a copy forgets producers",
        "r08",
        REPLICATION,
        "logd/storage/partition_log.py",
        "        self._store(batch, header, header.leader_epoch, append_ms)\n",
        "        bare = header._replace(producer_id=-1)\n"
        "        self._store(batch, bare, header.leader_epoch, append_ms)\n",
    ),
    Bug(
        "r09: the latest offset is told at once",
        "r09",
        REPLICATION,
        "logd/runtime/partition.py",
        "(self._leader is None or not self._leader.serves_latest)",
        "self._leader is None",
    ),
    Bug(
        "r10: the leader's own end is committed",
        "r10",
        REPLICATION,
        "logd/replication/leader.py",
        "            if node_id != self._own_id:\n",
        "            if node_id == self._own_id:\n",
    ),
    Bug(
        "r11: an answer does not wait for its sync",
        "r11_all",
        ON_DISK,
        "logd/runtime/disk_operations.py",
        "        return operation.target.sync_before_ack\n",
        "        return False\n",
    ),
    Bug(
        "r12: a leader with damage leads on",
        "r12_a",
        ON_DISK,
        "logd/runtime/partition.py",
        "        self._around.report_damage(self, leads_on=True)\n        return True\n",
        "        return False\n",
    ),
    Bug(
        "r12: what nobody knows is deleted",
        "r12_what",
        ON_DISK,
        "logd/storage/data_dir.py",
        "            self.files.rename(join(PARTITIONS, entry.name), target)\n",
        "            remove_tree(self.files, join(PARTITIONS, entry.name))\n",
    ),
    Bug(
        "r13: a shorter raft log is believed",
        "r13",
        ON_DISK,
        "logd/runtime/raft_store.py",
        "                durable_end=ledger.ends.get(LOG_KEY),\n",
        "                durable_end=None,\n",
    ),
    Bug(
        "r14: an index is restored without the state",
        "r14",
        ON_DISK,
        "logd/runtime/consensus_driver.py",
        "        self._machine.restore(index, snapshot.contents)\n",
        "        assert index and snapshot.contents\n",
    ),
    Bug(
        "r15: retention goes by record times",
        "r15",
        ON_DISK,
        "logd/storage/retention.py",
        "if stamp_ms < 0 or not segment.first_append_ms - retention_ms <= stamp_ms <= append_ms:\n",
        "if stamp_ms < 0:\n",
    ),
    Bug(
        "r18: a short write is taken for a whole one",
        "r18",
        ON_DISK,
        "logd/storage/writing.py",
        "            if written != len(head) + len(rest):\n",
        "            if written < 0:\n",
    ),
)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_its_scenario_sees_a_planted_loss(bug: Bug, tmp_path: Path) -> None:
    plant_in_copy(bug, bug.file, tmp_path, COPIED)
    assert first_failure(tmp_path, (bug.scenarios, "-k", bug.sees, "--timeout=60"))
