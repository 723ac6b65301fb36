"""Bugs planted into what joins the machines of replication to logs and streams: each is seen.

Some by seeds of three nodes, under the faults that it takes, and all that a test of the runtime
sees by that test. When the source has changed and an anchor is gone, the test fails: move the bug
to where its rule lives now.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.planting import first_failure
from tests.support.sim_planting import check_found, plant_in_copy

COPIED = ("tests", "pyproject.toml")

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Bug:
    """`tests`: what must see it; or `faults`, the only ones, and `found_as`, what a seed complains
    of (a pattern)."""

    name: str
    file: str
    anchor: str
    planted: str
    tests: tuple[str, ...] = ()
    faults: str = ""
    found_as: str = ""
    seeds: str = "0:6"


#: A batch that is never answered hangs its test.
HANGS = "--timeout=15"
#: What is said of replicas that lack what was acknowledged, or never agree.
FOUND_AS = "ack-not-on-all|lost|every replica is in sync|differ"
#: What is said when records are gone, others stand in their place or a reader is thrown back.
LOST = "lost-write|misplaced-write|divergent-replicas|nonmonotonic-poll"
PARTITION = "logd/runtime/partition.py"
REASSIGNMENT = "logd/metadata/reassignment.py"
DAMAGE = "logd/metadata/damage.py"
SERVER = "logd/runtime/replica_server.py"
FETCHER = "logd/runtime/replica_fetcher.py"
DRIVER = "logd/runtime/disk_driver.py"
REWRITE = "logd/storage/cleaner/rewrite.py"
PARTITION_TESTS = ("tests/unit/runtime/test_partition.py",)
SESSION_TESTS = ("tests/unit/runtime/test_replica_session.py",)
DRIVER_TESTS = ("tests/unit/runtime/test_disk_driver.py",)
COPYING_TESTS = ("tests/unit/runtime/test_copied_logs.py",)
COMPACTED_TESTS = ("tests/integration/runtime/test_compacted_replicas.py",)
RETAINED_TESTS = ("tests/integration/runtime/test_retention_on_replicas.py",)
CLUSTER_TESTS = ("tests/integration/runtime/test_replication.py",)

_WRITTEN = (
    "        if self._leader is not None and len(self.state.replicas) > 1:\n"
    "            self._notify()\n"
)
_WRITTEN_COUNTS = (
    "        end_offset = self.log.view.written_end_offset\n"
    "        self._tell_leader(OwnEnd(end_offset, self._around.monotonic_ms()))\n"
    "        self._notify()\n"
)
_BEGUN = (
    "        began = self._driver.call("
    "lambda: self._begin(leader_epoch), self, sync=True, apart=True)\n"
)
_BEGUN_BESIDE = (
    "        began = asyncio.get_running_loop().create_future()\n"
    "        began.set_result(self._begin(leader_epoch))\n"
)
_CHECKED = "        refusal = _check(position, found)\n"
_COUNTS = "found.follower_at(self._follower, position.node_epoch, position.end_offset)\n"
_EARLY = "            self._early[key] = position\n"
_COPIED_SYNC = "                target.sync_before_ack,\n                future,\n"
_LOWERED = (
    "            self._ledger.append({target.key: low})\n"
    "            self._ledger.sync()\n"
    "            return target.log.truncate(offset)\n"
)
_ENOUGH_STAY = (
    "    if not target or not added <= {*state.isr}:\n"
    "        return state\n"
    "    isr = tuple(node for node in target if node in state.isr)\n"
    "    holders = {*state.isr, *state.eligible}\n"
    "    if holders.isdisjoint(target) and not {*state.replicas} <= {*target}:\n"
    "        return state\n"
    "    leaving = holders.difference(target)\n"
    "    if leaving and len(isr) < max(1, min(situation.min_isr, len(target))):\n"
)
#: A successor of the leader that is not in sync is refused on these grounds.
_NOT_IN_SYNC = "    if node_id not in state.isr:\n"

BUGS = (
    Bug(
        "the leader's own end is what is written",
        PARTITION,
        _WRITTEN,
        _WRITTEN_COUNTS,
        PARTITION_TESTS,
    ),
    Bug(
        "a position counts before it is checked",
        SERVER,
        _CHECKED,
        f"        {_COUNTS}{_CHECKED}",
        SESSION_TESTS,
    ),
    Bug(
        "leadership begins beside the writer",
        PARTITION,
        _BEGUN,
        _BEGUN_BESIDE,
        PARTITION_TESTS,
    ),
    Bug(
        "leadership begins without its epoch",
        PARTITION,
        "        self.log.begin_epoch(leader_epoch)\n",
        "",
        PARTITION_TESTS,
    ),
    Bug(
        "a batch is answered in another leadership",
        PARTITION,
        "        if queued.leader_epoch != self.leader_epoch:\n",
        "        if not self.is_led_here:\n",
        PARTITION_TESTS,
    ),
    Bug(
        "what waits is not told that too few remain",
        PARTITION,
        "        if not leader.may_acknowledge:\n",
        "        if self._leader is None:\n",
        PARTITION_TESTS,
    ),
    Bug(
        "the end is named before it is known",
        PARTITION,
        "(self._leader is None or not self._leader.serves_latest)",
        "self._leader is None",
        PARTITION_TESTS,
    ),
    Bug(
        "a position is sent before its sync",
        DRIVER,
        _COPIED_SYNC,
        _COPIED_SYNC.replace("target.sync_before_ack", "False"),
        COPYING_TESTS,
    ),
    Bug(
        "a position is sent before its sync, in a cluster",
        DRIVER,
        _COPIED_SYNC,
        _COPIED_SYNC.replace("target.sync_before_ack", "False"),
        faults="power_loss,all_lose_power,slow_disk",
        found_as=FOUND_AS,
    ),
    Bug(
        "the ledger is lowered behind the cut",
        DRIVER,
        _LOWERED,
        "            end = target.log.truncate(offset)\n"
        "            self._ledger.append({target.key: low})\n"
        "            self._ledger.sync()\n"
        "            return end\n",
        COPYING_TESTS,
    ),
    Bug(
        "an epoch overtakes what is queued for its log",
        "logd/runtime/disk_operations.py",
        "            and id(operation.target) not in touched\n",
        "",
        DRIVER_TESTS,
    ),
    Bug(
        "a leadership is acknowledged to before it has begun",
        SERVER,
        _EARLY,
        f"{_EARLY}            {_COUNTS.replace('found', 'expected')}",
        SESSION_TESTS,
    ),
    Bug(
        "followers hear of records behind the leader's sync",
        DRIVER,
        "            target.written()\n",
        "            assert target\n",
        SESSION_TESTS,
    ),
    Bug(
        "a chunk is sent for a position that is old",
        SERVER,
        "        if self._asked.get(asked.position.partition) is not asked:\n",
        "        if asked.position.partition not in self._asked:\n",
        SESSION_TESTS,
    ),
    Bug(
        "news outlive a leadership",
        SERVER,
        "        asked.position.leader_epoch,\n        partition.high_watermark,\n",
        "        0,\n        partition.high_watermark,\n",
        SESSION_TESTS,
    ),
    Bug(
        "high watermarks are not read at the start",
        "logd/runtime/partitions.py",
        "        await self._marks.load()\n",
        "",
        CLUSTER_TESTS,
    ),
    Bug(
        "a damaged replica goes on where it ended",
        FETCHER,
        "        if not view.damage:\n",
        "        if view is not None:\n",
        CLUSTER_TESTS,
    ),
    Bug(
        "only the leader compacts",
        "logd/runtime/cleaner.py",
        "    def _is_eligible(self, found: Partition) -> bool:\n"
        "        if not found.config.compacts:\n",
        "    def _is_eligible(self, found: Partition) -> bool:\n"
        "        if not found.config.compacts or not found.is_led_here:\n",
        COMPACTED_TESTS,
    ),
    Bug(
        "a delete is forgotten once it is committed",
        PARTITION,
        "        return max(min(end_offset, self.high_watermark), self.view.start_offset)\n",
        "        return max(self.high_watermark, end_offset)\n",
        COMPACTED_TESTS,
    ),
    Bug(
        "followers are not told what every replica has",
        FETCHER,
        "            self.partition.learn_replicated_end(chunk.replicated_end)\n",
        "            assert chunk.replicated_end >= 0\n",
        COMPACTED_TESTS,
    ),
    Bug(
        "followers are not told what was forgotten",
        SERVER,
        "            forgotten_end=asked.partition.forgotten_end,\n",
        "            forgotten_end=0,\n",
        COMPACTED_TESTS,
    ),
    Bug(
        "what a leader has forgotten counts for nothing",
        "logd/replication/follower.py",
        "        return self._end_offset < forgotten_end != self._forgotten_end\n",
        "        return False\n",
        faults="older_disk",
        found_as="compaction-(resurrected|differs)",
        seeds="0:3",
    ),
    Bug(
        "a delete goes before its time",
        REWRITE,
        "        return plan.now_ms >= max(header.base_timestamp, plan.horizon_floor_ms)\n",
        "        return plan.now_ms >= plan.horizon_floor_ms\n",
        faults="kill",
        found_as="compaction-early",
    ),
    Bug(
        "a delete never goes",
        REWRITE,
        "                keeps = not may_drop_tombstones or",
        "                keeps = may_drop_tombstones or True or",
        faults="kill",
        found_as="compaction-stuck",
    ),
    Bug(
        "a copy loses the newest value of a key",
        REWRITE,
        "key is not None and get(key) <= at for",
        "key is not None and get(key) < at for",
        faults="kill",
        found_as="compaction-lost",
    ),
    Bug(
        "offsets committed last are compacted away",
        REWRITE,
        "key is not None and get(key) <= at for",
        "key is not None and get(key) < at for",
        ("tests/integration/runtime/test_group_compaction.py",),
    ),
    Bug(
        "a copy is not compacted now",
        "logd/runtime/broker.py",
        "                found = self._partitions.copy_of(key, self.image)\n",
        "                found = self._find(key, -1)\n",
        COMPACTED_TESTS,
    ),
    Bug(
        "followers do not trim as their leader does",
        FETCHER,
        "                trimmed = self._driver.call(lambda: partition.log.trim(offset))\n",
        "                trimmed = self._driver.call(lambda: None)\n",
        RETAINED_TESTS,
    ),
    Bug(
        "followers delete by themselves",
        PARTITION,
        "        return self.high_watermark if self.is_led_here else self.view.start_offset\n",
        "        return self.high_watermark\n",
        ("tests/integration/runtime/test_cleaning_in_clusters.py",),
    ),
    Bug(
        "a copy must begin where a batch does",
        "logd/storage/copying.py",
        "header.base_offset < end and not header.records_count and",
        "header.base_offset < 0 and",
        ("tests/unit/storage/test_copying.py",),
    ),
    Bug(
        "replicas go before those that come have caught up",
        REASSIGNMENT,
        _ENOUGH_STAY,
        _ENOUGH_STAY.replace("not added <= {*state.isr}", "len(added) > len(target)").replace(
            "max(1, min(situation.min_isr, len(target)))", "1"
        ),
        faults="reassign,transfer",
        found_as="moved-away-early",
    ),
    Bug(
        "a drained node goes while too few of those that stay are in sync",
        REASSIGNMENT,
        _ENOUGH_STAY,
        _ENOUGH_STAY.replace("max(1, min(situation.min_isr, len(target)))", "1"),
        faults="drain,kill",
        found_as="moved-away-early",
    ),
    Bug(
        "leadership is handed to who is not in sync",
        "logd/metadata/partitions.py",
        _NOT_IN_SYNC,
        "    if node_id not in state.replicas:\n",
        faults="transfer,power_loss,isolate",
        found_as=LOST,
        seeds="3:6",
    ),
    Bug(
        "a damaged copy is eligible still",
        DAMAGE,
        "        eligible=tuple(node for node in state.eligible if node != node_id),\n",
        "        eligible=state.eligible,\n",
        faults="damage,kill_leader",
        found_as=f"damaged-counts|{LOST}",
        seeds="1:4",
    ),
    Bug(
        "a damaged copy goes on where it ended, in a cluster",
        FETCHER,
        "        if not view.damage:\n",
        "        if view is not None:\n",
        faults="damage",
        found_as=LOST,
    ),
)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_seen(bug: Bug, tmp_path: Path) -> None:
    plant_in_copy(bug, bug.file, tmp_path, COPIED)
    if bug.tests:
        assert first_failure(tmp_path, (*bug.tests, HANGS)), f"{bug.tests} see nothing"
        return
    seeds = ["--seeds", bug.seeds, "--faults", bug.faults]
    check_found(tmp_path, "tests.sim.replicas.run", seeds, bug.found_as, timeout_s=150)
