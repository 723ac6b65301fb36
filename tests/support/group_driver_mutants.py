"""Planted bugs in what joins the groups' machine to its log, each with the test that sees it.

`python -m tests.support.group_driver_mutants [NAME ...]` copies the sources aside, plants one bug
at a time and runs its test against the copy. A bug that is not seen is a failure, also of
`tests/unit/runtime/test_group_driver_mutants.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from tests.support.planting import copied, first_failure, plant_in, report

_UNIT = "tests/unit/runtime/test_group_driver.py"
_NODES = "tests/integration/runtime/test_groups.py"
_COPIED = ("logd", "client", "tests/support")
_FILES = (
    "pyproject.toml",
    "tests/__init__.py",
    "tests/conftest.py",
    "tests/unit/__init__.py",
    "tests/unit/runtime/__init__.py",
    "tests/integration/__init__.py",
    "tests/integration/runtime/__init__.py",
    _UNIT,
    _NODES,
)


class Mutant(NamedTuple):
    """In `logd/runtime/<module>.py`, `anchor` (there exactly once) becomes `planted`."""

    name: str
    module: str
    anchor: str
    planted: str
    seen_by: str


MUTANTS = (
    Mutant(
        "reply-before-the-commit",
        "group_driver",
        "                await asyncio.shield(last)\n",
        "                await asyncio.sleep(0)\n",
        f"{_UNIT}::test_replies_refusals_and_reads_wait_until_what_they_stand_on_is_committed",
    ),
    Mutant(
        "refusal-before-the-commit",
        "group_driver",
        "        except LogdError:\n            await self._committed(machine)\n",
        "        except LogdError:\n",
        f"{_UNIT}::test_replies_refusals_and_reads_wait_until_what_they_stand_on_is_committed",
    ),
    Mutant(
        "loaded-before-the-end-is-committed",
        "group_driver",
        "lambda: self.partition.high_watermark < end_offset or not",
        "lambda: not",
        f"{_UNIT}::test_nothing_is_loaded_before_all_of_the_log_is_committed",
    ),
    Mutant(
        "machine-kept-after-a-failed-append",
        "group_driver",
        "        if failure is not None and self._machine is machine:\n",
        "        if failure is not None and self._machine is None:\n",
        f"{_UNIT}::test_after_a_failed_append_the_log_decides",
    ),
    Mutant(
        "machine-kept-after-a-refused-append",
        "group_driver",
        "            self._unload(error)\n",
        "",
        f"{_UNIT}::test_a_tick_that_cannot_append_is_made_up_for",
    ),
    Mutant(
        "loaded-again-and-again",
        "group_driver",
        "                await self._pause_until(begun_ms + RETRY_MS)\n",
        "",
        f"{_UNIT}::test_what_fails_again_and_again_is_not_loaded_again_and_again",
    ),
    Mutant(
        "answers-out-of-service",
        "group_driver",
        "        if not self._around.serving():\n            raise _loading(",
        "        if not self.leads:\n            raise _loading(",
        f"{_UNIT}::test_a_node_out_of_service_answers_nothing_and_begins_anew",
    ),
    Mutant(
        "sessions-go-on-out-of-service",
        "group_driver",
        "            if machine is not None:\n                self._unload(",
        "            if machine is None:\n                self._unload(",
        f"{_UNIT}::test_a_node_out_of_service_answers_nothing_and_begins_anew",
    ),
    Mutant(
        "kept-answers-never-released",
        "group_driver",
        "        self._parked.look(machine, records)\n",
        "",
        f"{_NODES}::test_a_planned_leave_hands_over_at_once",
    ),
    Mutant(
        "a-leave-is-no-news",
        "parked_heartbeats",
        "        case Forgotten() if not isinstance(record.key, OffsetKey):\n"
        "            return record.key.group_id\n",
        "        case Forgotten():\n            return ''\n",
        f"{_UNIT}::test_everything_that_moves_partitions_is_news",
    ),
    Mutant(
        "first-record-of-a-chunk-skipped",
        "group_log",
        "            if each.offset < start:\n",
        "            if each.offset <= start:\n",
        f"{_UNIT}::test_nothing_is_loaded_before_all_of_the_log_is_committed",
    ),
    Mutant(
        "batches-lose-what-did-not-fit",
        "group_log",
        "            some, room = [], BATCH_BYTES\n",
        "            some, room = [], BATCH_BYTES\n            continue\n",
        f"{_UNIT}::test_a_decision_that_no_batch_holds_is_several",
    ),
    Mutant(
        "made-with-fewer-replicas",
        "group_coordinator",
        "        if in_service < replicas:\n",
        "        replicas = min(replicas, in_service)\n        if in_service < 1:\n",
        f"{_NODES}::test_groups_wait_until_so_many_nodes_are_there_as_keep_them",
    ),
    Mutant(
        "commits-beyond-the-end",
        "group_coordinator",
        "            if each.offset > self._bounds.own_end(partition):\n",
        "            if each.offset < self._bounds.own_end(partition):\n",
        f"{_NODES}::test_offsets_that_cannot_be_are_refused_one_by_one",
    ),
    Mutant(
        "lag-from-the-latest-append",
        "log_bounds",
        "    return max(min(header.base_timestamp, latest_ms), earliest_ms)\n",
        "    return latest_ms\n",
        f"{_NODES}::test_the_lag_is_told_in_records_and_in_time_by_whoever_leads",
    ),
)


def source(module: str) -> Path:
    return Path("logd") / "runtime" / f"{module}.py"


def seen_by(mutant: Mutant) -> str:
    """Run its test against the planted bug; return the test when it fails, '' if it does not."""
    with copied((*_COPIED, *_FILES)) as root:
        plant_in(root / source(mutant.module), mutant)
        return first_failure(root, [mutant.seen_by])


def main(names: list[str]) -> int:
    """Plant the named bugs, all of them by default; return how many were not seen."""
    return report(MUTANTS, names, seen_by)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
