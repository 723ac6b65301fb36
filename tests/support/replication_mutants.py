"""Planted bugs in the replication of partitions, each with the test that sees it.

`python -m tests.support.replication_mutants [NAME ...]` copies the sources aside, plants one bug at
a time and runs its test against the copy; with `--model` the model of three replicas instead. A bug
that its test does not see is a failure, also of `tests/unit/replication/test_mutants.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from tests.support.planting import copied, first_failure, plant_in, report

_UNIT = "tests/unit/replication"
_COPIED = ("logd", "client", "tests/support", _UNIT)
_FILES = ("pyproject.toml", "tests/__init__.py", "tests/conftest.py", "tests/unit/__init__.py")


class Mutant(NamedTuple):
    """In `logd/replication/<module>.py`, `anchor` (there exactly once) becomes `planted`."""

    name: str
    module: str
    anchor: str
    planted: str
    #: `<file>::<test>` of the unit tests.
    seen_by: str


MUTANTS = (
    # --- what is committed -----------------------------------------------------------------------
    Mutant(
        "committed-by-fewer-than-the-isr",
        "leader",
        "                end_offset = min(end_offset, self._followers[node_id].end_offset)\n",
        "                end_offset = max(0, self._followers[node_id].end_offset)\n",
        "test_high_watermark.py::test_it_is_the_least_durable_end_of_all_in_sync",
    ),
    Mutant(
        "leader-alone-commits",
        "leader",
        "        for node_id in self._counted():\n            if node_id != self._own_id:\n",
        "        for node_id in self._counted():\n            if node_id == -2:\n",
        "test_high_watermark.py::test_it_is_the_least_durable_end_of_all_in_sync",
    ),
    Mutant(
        "own-end-not-counted",
        "leader",
        "        end_offset = self._end_offset\n        for node_id in self._counted():",
        "        end_offset = 2**62\n        for node_id in self._counted():",
        "test_high_watermark.py::test_it_is_bound_by_the_own_durable_end",
    ),
    Mutant(
        "own-end-goes-back",
        "leader",
        "        if event.end_offset <= self._end_offset:\n            return\n",
        "",
        "test_in_sync.py::test_an_own_end_that_is_told_late_changes_nothing",
    ),
    Mutant(
        "unknown-end-not-counted",
        "leader",
        "            if node_id != self._own_id:\n                end_offset = min(",
        "            if node_id != self._own_id and self._followers[node_id].end_offset >= 0:\n"
        "                end_offset = min(",
        "test_high_watermark.py::test_it_stands_still_while_the_end_of_one_in_sync_is_not_known",
    ),
    Mutant(
        "moves-below-min-isr",
        "leader",
        "        if not self.may_acknowledge:\n            return []\n",
        "",
        "test_high_watermark.py::test_it_stands_still_while_too_few_are_in_sync",
    ),
    Mutant(
        "growth-satisfies-min-isr",
        "leader",
        "        if not self.may_acknowledge:\n            return []\n",
        "        if len(self._counted()) < self._assignment.min_isr:\n            return []\n",
        "test_high_watermark.py::test_it_stands_still_while_too_few_are_in_sync",
    ),
    Mutant(
        "goes-back",
        "leader",
        "        if end_offset <= self.high_watermark:\n",
        "        if end_offset == self.high_watermark:\n",
        "test_high_watermark.py::test_it_never_goes_back",
    ),
    Mutant(
        "growth-counted-late",
        "leader",
        "        if self._proposal is not None:\n            counted.update",
        "        if self._proposal is None and self._pause_ms == -1:\n            counted.update",
        "test_high_watermark.py::test_growth_counts_at_once",
    ),
    Mutant(
        "growth-forgotten-when-unknown",
        "leader",
        "        if event.refused:\n",
        "        if event.refused or event.now_ms:\n",
        "test_high_watermark.py::test_growth_counts_until_it_is_refused",
    ),
    Mutant(
        "growth-forgotten-at-the-same-partition-epoch",
        "leader",
        "        if after.partition_epoch != before.partition_epoch:\n",
        "        if after.partition_epoch >= before.partition_epoch:\n",
        "test_high_watermark.py::test_growth_counts_until_the_partition_is_at_another_epoch",
    ),
    Mutant(
        "shrink-counted-early",
        "leader",
        "        counted = {*self.isr}\n",
        "        counted = {*self.isr} if self._proposal is None else {self._own_id}\n",
        "test_high_watermark.py::test_shrink_counts_when_it_is_committed",
    ),
    Mutant(
        "latest-before-the-own-epoch",
        "leader",
        "        return self.high_watermark >= self._start_offset\n",
        "        return self.high_watermark >= 0\n",
        "test_high_watermark.py::test_latest_is_served_once_the_own_epoch_is_committed",
    ),
    # --- who is in sync --------------------------------------------------------------------------
    Mutant(
        "stale-replica-joins",
        "leader",
        "        if follower.heard_ms is None or follower.node_epoch != known:\n",
        "        if follower.heard_ms is None:\n",
        "test_in_sync.py::test_another_process_than_the_registered_one_does_not_join",
    ),
    Mutant(
        "stale-replica-stays",
        "leader",
        "            return follower.node_epoch in {_UNKNOWN, known}\n",
        "            return True\n",
        "test_in_sync.py::test_another_process_of_a_member_sends_it_out",
    ),
    Mutant(
        "process-of-before-listened-to",
        "leader",
        "        if event.node_epoch < max(follower.node_epoch, known):\n",
        "        if event.node_epoch < follower.node_epoch:\n",
        "test_in_sync.py::test_a_message_of_the_process_before_counts_for_nothing",
    ),
    Mutant(
        "joins-below-what-is-committed",
        "leader",
        "        return follower.end_offset >= max(self.high_watermark, self._start_offset)\n",
        "        return follower.end_offset >= self._start_offset\n",
        "test_in_sync.py::test_who_lacks_something_committed_does_not_join",
    ),
    Mutant(
        "joins-below-the-own-epoch",
        "leader",
        "        return follower.end_offset >= max(self.high_watermark, self._start_offset)\n",
        "        return follower.end_offset >= self.high_watermark\n",
        "test_in_sync.py::test_who_lacks_something_of_earlier_epochs_does_not_join",
    ),
    Mutant(
        "joins-without-catching-up",
        "leader",
        "follower.went_back or not self._is_caught_up(follower, now_ms):\n",
        "follower.went_back:\n",
        "test_in_sync.py::test_catching_up_too_slowly_is_not_catching_up",
    ),
    Mutant(
        "never-out-of-time",
        "leader",
        "        return at_ms is not None and now_ms < at_ms + self._lag_ms_max\n",
        "        return at_ms is not None\n",
        "test_in_sync.py::test_who_does_not_answer_in_time_goes",
    ),
    Mutant(
        "idle-followers-time-out",
        "leader",
        "            if self._is_level(follower):\n                # It had",
        "            if not follower:\n                # It had",
        "test_in_sync.py::test_who_does_not_answer_in_time_goes",
    ),
    Mutant(
        "caught-up-when-it-was-heard-last",
        "leader",
        "and event.end_offset >= follower.heard_end:",
        "and event.end_offset >= 0:",
        "test_in_sync.py::test_who_falls_further_back_goes",
    ),
    Mutant(
        "went-back-unseen",
        "leader",
        "follower.went_back = follower.went_back or event.node_id in self._counted()",
        "follower.went_back = False",
        "test_in_sync.py::test_who_lost_something_goes_and_comes_back",
    ),
    Mutant(
        "out-of-service-joins",
        "leader",
        "        if known is None or follower.went_back",
        "        if follower.went_back",
        "test_in_sync.py::test_a_member_out_of_service_goes",
    ),
    Mutant(
        "two-proposals-at-a-time",
        "leader",
        "        if self._proposal is None:\n"
        "            self._proposal = self._new_proposal(now_ms)\n",
        "        if self._proposal is None or self._proposal.retry_ms is None:\n"
        "            self._proposal = self._new_proposal(now_ms)\n",
        "test_in_sync.py::test_one_proposal_at_a_time",
    ),
    Mutant(
        "another-proposal-after-an-unknown-outcome",
        "leader",
        "        elif self._proposal.retry_ms is None or now_ms < self._proposal.retry_ms:\n"
        "            return []\n",
        "        elif self._proposal.retry_ms is None or now_ms < self._proposal.retry_ms:\n"
        "            return []\n"
        "        else:\n"
        "            self._proposal = self._new_proposal(now_ms)\n",
        "test_in_sync.py::test_after_an_unknown_outcome_the_same_is_proposed_again",
    ),
    Mutant(
        "earlier-assignment-taken-over",
        "leader",
        "        if after.partition_epoch < before.partition_epoch:\n            return\n",
        "",
        "test_in_sync.py::test_what_is_told_late_changes_nothing",
    ),
    # --- the follower ----------------------------------------------------------------------------
    Mutant(
        "truncates-to-the-high-watermark",
        "follower",
        "        return [TruncateTo(offset)]\n",
        "        return [TruncateTo(self.high_watermark)]\n",
        "test_follower.py::test_nothing_is_cut_for_the_high_watermark",
    ),
    Mutant(
        "committed-records-cut",
        "follower",
        "        if offset < self.high_watermark:\n",
        "        if offset < 0:\n",
        "test_follower.py::test_a_cut_below_what_is_committed_is_an_alarm",
    ),
    Mutant(
        "another-leader-listened-to",
        "follower",
        " or chunk.leader_epoch != self._leader_epoch:\n",
        ":\n",
        "test_follower.py::test_another_leader_is_not_listened_to",
    ),
    Mutant(
        "written-is-acknowledged",
        "follower",
        "            return [*effects, AppendChunk(missed)]\n",
        "            return [*effects, AppendChunk(), SendPosition(self._end_offset + 1, 4)]\n",
        "test_follower.py::test_records_are_appended_and_acknowledged_when_they_are_durable",
    ),
    Mutant(
        "two-appends-at-a-time",
        "follower",
        "        if self._state is not _State.ASKED or chunk",
        "        if self._state is _State.STOPPED or chunk",
        "test_follower.py::test_one_append_at_a_time",
    ),
    Mutant(
        "committed-beyond-the-end",
        "follower",
        "        offset = min(known, self._end_offset)\n",
        "        offset = known\n",
        "test_follower.py::test_it_is_what_the_leader_says_and_is_durable_here",
    ),
    Mutant(
        "committed-goes-back",
        "follower",
        "        if offset <= self.high_watermark:\n            return []\n        self.high",
        "        if offset == self.high_watermark:\n            return []\n        self.high",
        "test_follower.py::test_it_does_not_go_back",
    ),
    Mutant(
        "trimmed-beyond-what-is-committed",
        "follower",
        "        offset = min(leader_start, self.high_watermark)\n",
        "        offset = leader_start\n",
        "test_follower.py::test_the_start_follows_the_leader_up_to_what_is_committed",
    ),
    Mutant(
        "restart-of-a-log-that-fits",
        "follower",
        "        if chunk.log_start_offset <= self._end_offset:\n",
        "        if chunk.log_start_offset < 0:\n",
        "test_follower.py::test_nothing_is_forgotten_that_still_fits",
    ),
    # --- what is forgotten ------------------------------------------------------------------------
    Mutant(
        "who-misses-deletes-goes-on",
        "follower",
        "        return self._end_offset < forgotten_end != self._forgotten_end\n",
        "        return False\n",
        "test_follower.py::test_who_may_miss_deletes_starts_over",
    ),
    Mutant(
        "what-is-forgotten-meanwhile-does-not-matter",
        "follower",
        "        return self._end_offset < forgotten_end != self._forgotten_end\n",
        "        return self._end_offset < forgotten_end and self._forgotten_end is None\n",
        "test_follower.py::test_what_is_forgotten_while_a_copy_is_made_makes_it_start_over",
    ),
    Mutant(
        "a-copy-does-not-know-what-it-lacks",
        "follower",
        "forgotten_end if chunk.forgotten_end > self._end_offset else 0\n",
        "forgotten_end if chunk.forgotten_end < 0 else 0\n",
        "test_follower.py::test_who_may_miss_deletes_starts_over",
    ),
    Mutant(
        "who-starts-over-thinks-it-has-what-is-committed",
        "follower",
        "        self.high_watermark = min(self.high_watermark, offset)\n",
        "",
        "test_follower.py::test_who_may_miss_deletes_starts_over",
    ),
    Mutant(
        "deletes-go-before-those-out-of-sync-have-them",
        "leader",
        "            for node_id, follower in self._followers.items()\n        ]\n",
        "            for node_id, follower in self._followers.items()\n"
        "            if node_id in self.isr\n        ]\n",
        "test_high_watermark.py::test_every_replica_counts_also_out_of_sync",
    ),
    Mutant(
        "a-new-process-has-what-the-old-one-had",
        "leader",
        "follower.node_epoch >= known.get(node_id, _UNKNOWN) else _UNKNOWN\n",
        "follower.node_epoch >= 0 else _UNKNOWN\n",
        "test_high_watermark.py::test_what_a_process_had_promises_nothing_of_the_next_one",
    ),
    # --- divergence ------------------------------------------------------------------------------
    Mutant(
        "epochs-not-compared",
        "divergence",
        "    if epoch == last_epoch and offset <= min(end_offset, log_end):\n",
        "    if offset <= log_end:\n",
        "test_divergence.py::test_any_two_logs_come_to_agree",
    ),
    Mutant(
        "cut-to-the-leaders-end-of-another-epoch",
        "divergence",
        "        own_epoch, kept = own_end_offset_for(diverging.epoch)\n",
        "        own_epoch, kept = diverging.epoch, own_end\n",
        "test_divergence.py::test_a_cut",
    ),
    Mutant(
        "own-epoch-kept-whole",
        "divergence",
        "    return min(kept, diverging.end_offset, own_end)\n",
        "    return min(kept, own_end)\n",
        "test_divergence.py::test_a_cut",
    ),
)


def source(module: str) -> Path:
    return Path("logd") / "replication" / f"{module}.py"


def seen_by(mutant: Mutant, test: str) -> str:
    """Run a test against the planted bug; return the first case that fails, '' if none does."""
    with copied((*_COPIED, *_FILES)) as root:
        plant_in(root / source(mutant.module), mutant)
        return first_failure(root, [test])


def pytest_name(mutant: Mutant) -> str:
    """Return the name of the test that sees the bug, as pytest takes it."""
    return f"{_UNIT}/{mutant.seen_by}"


def main(words: list[str]) -> int:
    """Plant the named bugs, all of them by default; return how many were not seen."""
    names = [word for word in words if not word.startswith("-")]
    model = f"{_UNIT}/test_model.py" if "--model" in words else ""
    return report(MUTANTS, names, lambda mutant: seen_by(mutant, model or pytest_name(mutant)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
