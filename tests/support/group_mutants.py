"""Planted bugs in the groups' machine, each with the test that sees it.

`python -m tests.support.group_mutants [NAME ...]` copies the sources aside, plants one bug at
a time and runs its test against the copy; with `--simulation` the simulation of a group instead.
A bug that its test does not see is a failure, also of `tests/unit/groups/test_mutants.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from tests.support.planting import copied, first_failure, plant_in, report

_UNIT = "tests/unit/groups"
_COPIED = ("logd", "client", "tests/support", _UNIT)
_FILES = ("pyproject.toml", "tests/__init__.py", "tests/conftest.py", "tests/unit/__init__.py")


class Mutant(NamedTuple):
    """In `logd/groups/<module>.py`, `anchor` (there exactly once) becomes `planted`."""

    name: str
    module: str
    anchor: str
    planted: str
    #: `<file>::<test>` of the unit tests.
    seen_by: str


MUTANTS = (
    # --- one owner at a time ---------------------------------------------------------------------
    Mutant(
        "given-while-another-holds-it",
        "reconcile",
        "        free = {each for each in missing if owners.get(each, member_id) == member_id}\n",
        "        free = set(missing)\n",
        "test_heartbeat.py::test_a_partition_is_given_when_it_was_given_up",
    ),
    Mutant(
        "taken-without-a-word",
        "reconcile",
        "        revoking=leaving,\n",
        "        revoking=NOTHING,\n",
        "test_heartbeat.py::test_a_partition_is_given_when_it_was_given_up",
    ),
    Mutant(
        "silence-gives-up",
        "reconcile",
        "    if revoking and (owned is None or not revoking.isdisjoint(owned)):\n",
        "    if revoking and owned is not None and not revoking.isdisjoint(owned):\n",
        "test_heartbeat.py::test_what_is_held_still_stays_with_its_holder",
    ),
    Mutant(
        "anything-said-gives-up",
        "reconcile",
        "    if revoking and (owned is None or not revoking.isdisjoint(owned)):\n",
        "    if revoking and owned is None:\n",
        "test_heartbeat.py::test_what_is_held_still_stays_with_its_holder",
    ),
    Mutant(
        "two-owners-taken-from-the-log",
        "group",
        "            if owner != member_id:\n",
        "            if not owner:\n",
        "test_replay.py::test_two_owners_in_a_log_are_not_taken",
    ),
    # --- lost, late and doubled heartbeats -------------------------------------------------------
    Mutant(
        "late-heartbeat-counts",
        "machine",
        "        if request.member_epoch != current.epoch:\n",
        "        if request.member_epoch not in (current.epoch, current.previous_epoch):\n",
        "test_heartbeat.py::test_a_late_heartbeat_gives_nothing_up",
    ),
    Mutant(
        "any-epoch-is-answered",
        "machine",
        "            if request.member_epoch != current.previous_epoch or current.epoch =="
        " LEAVING_STATIC:\n",
        "            if current.epoch == LEAVING_STATIC:\n",
        "test_heartbeat.py::test_an_epoch_that_a_member_was_not_told_is_fenced",
    ),
    Mutant(
        "lost-answer-fences",
        "machine",
        "            if request.member_epoch != current.previous_epoch or current.epoch =="
        " LEAVING_STATIC:\n",
        "            if request.member_epoch != current.epoch:\n",
        "test_heartbeat.py::test_a_lost_answer_is_given_again",
    ),
    Mutant(
        "answer-given-again-is-no-session",
        "machine",
        "            self._check_hears(request, now_ms)\n"
        "            self._watches.hear(request.group_id, request.member_id, now_ms)\n",
        "            self._check_hears(request, now_ms)\n",
        "test_timeouts.py::test_every_answered_heartbeat_begins_a_session",
    ),
    Mutant(
        "doubled-join-gives-up",
        "machine",
        "        describe_anew(draft, member, None, self._subscriptions)\n",
        "        describe_anew(draft, member, frozenset(), self._subscriptions)\n",
        "test_heartbeat.py::test_a_join_that_comes_twice_is_no_evidence_that_nothing_is_held",
    ),
    Mutant(
        "rejoin-in-the-same-epoch",
        "membership",
        "    draft.add(renewed(current, epoch) if step is None else step)\n",
        "    if step is not None:\n        draft.add(step)\n",
        "test_heartbeat.py::test_who_joins_again_has_a_new_epoch",
    ),
    # --- epochs ----------------------------------------------------------------------------------
    Mutant(
        "group-epochs-count-by-themselves",
        "membership",
        "    epoch = group.highest_epoch + 1\n    staying",
        "    epoch = group.epoch + 1\n    staying",
        "test_heartbeat.py::test_epochs_are_never_given_twice",
    ),
    Mutant(
        "tombstones-before-the-epoch",
        "membership",
        "    draft.add(GroupEpoch(group.group_id, epoch, assignor))\n"
        "    for member_id in sorted(removed):\n        _forget(draft, member_id)\n",
        "    for member_id in sorted(removed):\n        _forget(draft, member_id)\n"
        "    draft.add(GroupEpoch(group.group_id, epoch, assignor))\n",
        "test_replay.py::test_no_epoch_is_given_again_wherever_a_log_is_cut",
    ),
    Mutant(
        "epoch-of-who-went-is-given-again",
        "group",
        "max(self.highest_epoch, record.epoch, record.previous_epoch)",
        "max(self.highest_epoch, record.epoch)",
        "test_static.py::test_the_epoch_of_who_went_is_nobody_elses",
    ),
    # --- commits ---------------------------------------------------------------------------------
    Mutant(
        "commit-in-an-epoch-that-is-over",
        "offsets",
        "    if member_epoch < current.epoch:\n",
        "    if member_epoch < current.previous_epoch:\n",
        "test_commits.py::test_a_commit_counts_in_the_newest_epoch_alone",
    ),
    Mutant(
        "commit-of-what-another-has",
        "offsets",
        "        if request.member_id and owner not in {None, request.member_id}:\n",
        '        if request.member_id and owner == "":\n',
        "test_commits.py::test_nobody_commits_what_another_one_has",
    ),
    Mutant(
        "late-commit-counts",
        "offsets",
        "            and request.sequence <= stored.sequence\n",
        "            and request.sequence < 0\n",
        "test_commits.py::test_a_late_commit_takes_nothing_back",
    ),
    Mutant(
        "commits-counted-over-members",
        "offsets",
        "            and stored.member_epoch == request.member_epoch\n",
        "",
        "test_commits.py::test_another_member_counts_its_own_commits",
    ),
    Mutant(
        "strangers-commit-beside-members",
        "offsets",
        "        elif group is not None and group.kept:\n",
        "        elif group is not None and not group.kept and request.member_epoch >= 0:\n",
        "test_commits.py::test_anybody_commits_while_there_are_no_members",
    ),
    Mutant(
        "commit-beyond-the-end",
        "offsets",
        "(end is not None and asked.offset > end)",
        "(end is not None and asked.offset > end + 1)",
        "test_commits.py::test_each_offset_is_judged",
    ),
    # --- time ------------------------------------------------------------------------------------
    Mutant(
        "giving-up-may-last-for-ever",
        "watches",
        "        if watch.give_up_ms is None or watch.give_up_ms > now_ms:\n",
        "        if watch.give_up_ms is None or watch.give_up_ms > 0:\n",
        "test_timeouts.py::test_who_does_not_give_up_in_time_is_out",
    ),
    Mutant(
        "who-hears-nothing-keeps-everything",
        "watches",
        "        elif watch.give_up_ms is None:\n",
        "        elif watch.give_up_ms is None and watch.told:\n",
        "test_timeouts.py::test_who_never_hears_what_it_is_told_is_out_in_the_end",
    ),
    Mutant(
        "one-time-to-give-up-for-all",
        "machine",
        "        self._watches.stepped(request.group_id, request.member_id)\n",
        "        if not step.revoking:\n"
        "            self._watches.stepped(request.group_id, request.member_id)\n",
        "test_timeouts.py::test_each_time_to_give_up_is_a_whole_one",
    ),
    Mutant(
        "who-joins-again-has-the-rest-of-its-time",
        "machine",
        "        self._watches.stepped(request.group_id, member_id)\n",
        "",
        "test_timeouts.py::test_who_joins_again_has_its_time_to_give_up_again",
    ),
    Mutant(
        "who-was-not-told-is-out-before-its-session",
        "watches",
        "            return watch.told\n",
        "            return True\n",
        "test_timeouts.py::test_an_answer_is_a_session_whatever_the_member_owes",
    ),
    Mutant(
        "who-joins-again-and-again-keeps-everything",
        "machine",
        "        check_instance(group, request)\n        self._check_hears(request, now_ms)\n",
        "        check_instance(group, request)\n",
        "test_timeouts.py::test_who_joins_again_and_never_hears_it_is_out_in_the_end",
    ),
    Mutant(
        "session-ends-while-heartbeats-come",
        "watches",
        "        if watch.heard_ms + member.session_timeout_ms <= now_ms:\n",
        "        if watch.heard_ms <= now_ms:\n",
        "test_timeouts.py::test_the_next_deadline_is_never_late",
    ),
    Mutant(
        "a-removal-is-decided-once",
        "watches",
        "                self._look_again(member, watch, now_ms + RETRY_MS)\n",
        "",
        "test_timeouts.py::test_a_removal_that_was_not_written_is_decided_again",
    ),
    Mutant(
        "what-was-not-written-has-to-be-given-up",
        "watches",
        "        if current is not None and owes(",
        "        if current is None or not owes(",
        "test_timeouts.py::test_what_was_not_taken_away_need_not_be_given_up",
    ),
    Mutant(
        "offsets-of-a-living-group-expire",
        "offsets",
        "group is not None and (group.kept or (group.epoch and group.empty_since_ms < 0))",
        "group is not None and group.kept and not group.epoch",
        "test_expiry.py::test_a_group_with_members_keeps_everything",
    ),
    Mutant(
        "expiry-counts-from-the-commit-alone",
        "offsets",
        "            if max(stored.commit_ms, empty_since_ms) + retention_ms <= wall_ms:\n",
        "            if stored.commit_ms + retention_ms <= wall_ms:\n",
        "test_expiry.py::test_the_time_counts_from_when_the_last_member_had_gone",
    ),
    # --- static members --------------------------------------------------------------------------
    Mutant(
        "a-living-instance-is-replaced",
        "machine",
        "        if old is not None and old.epoch != LEAVING_STATIC:\n",
        "        if old is not None and old.epoch < LEAVING_STATIC:\n",
        "test_static.py::test_two_consumers_are_not_one_instance",
    ),
    Mutant(
        "who-went-keeps-what-is-anothers",
        "membership",
        "        if current.epoch == LEAVING_STATIC and not current.assigned <= target:\n",
        "        if current.epoch < LEAVING_STATIC and not current.assigned <= target:\n",
        "test_static.py::test_what_is_not_its_own_any_more_is_not_kept",
    ),
    # --- targets ---------------------------------------------------------------------------------
    Mutant(
        "holders-do-not-count",
        "assignors",
        "            if holder is not None and holder in members",
        "            if holder is None and holder in members",
        "test_assignors.py::test_as_few_as_possible_move",
    ),
    Mutant(
        "no-chains",
        "assignors",
        "                queue.extend(fresh)\n",
        "                queue.extend(fresh if giver == donor else ())\n",
        "test_assignors.py::test_a_chain_of_readers_levels_what_no_single_move_does",
    ),
    Mutant(
        "patterns-find-internal-topics",
        "subscriptions",
        "        names = (name for name in self._topics if not is_internal(name))\n",
        "        names = (name for name in self._topics if is_internal(name) or name)\n",
        "test_topics.py::test_a_pattern_finds_no_internal_topic_and_a_name_does",
    ),
    Mutant(
        "a-cut-decision-stays-cut",
        "machine",
        "            elif group.target_epoch != group.epoch or self._targets_differ(group):\n",
        "            elif known and self._targets_differ(group):\n",
        "test_replay.py::test_a_decision_that_was_cut_is_completed",
    ),
)


def source(module: str) -> Path:
    return Path("logd") / "groups" / f"{module}.py"


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
    simulated = f"{_UNIT}/test_simulation.py" if "--simulation" in words else ""
    return report(MUTANTS, names, lambda mutant: seen_by(mutant, simulated or pytest_name(mutant)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
