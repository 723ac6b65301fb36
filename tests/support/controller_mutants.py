"""Planted bugs in the controller, each with the test that sees it.

`python -m tests.support.controller_mutants [NAME ...]` copies the sources aside, plants one bug at
a time and runs its test against the copy; with `--all` every test of the controller. A bug that is
not seen is a failure, also of `tests/unit/metadata/test_mutants.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from tests.support.planting import ROOT, copied, first_failure, plant_in, report

_UNIT = "tests/unit/metadata"
_SCENARIOS = "tests/scenarios/metadata"
_COPIED = ("logd", "client", "tests/support", "tests/unit/metadata", "tests/scenarios")
_FILES = ("pyproject.toml", "tests/__init__.py", "tests/conftest.py", "tests/unit/__init__.py")
#: Runs for longest, so it comes last where all tests run.
_MODEL = "test_controller_stateful.py"


class Mutant(NamedTuple):
    """In `logd/metadata/<module>.py`, `anchor` (there exactly once) becomes `planted`."""

    name: str
    module: str
    anchor: str
    planted: str
    #: `<file>::<test>`, of the unit tests unless it says otherwise.
    seen_by: str


MUTANTS = (
    # --- leaders and in-sync sets ----------------------------------------------------------------
    Mutant(
        "leader-from-outside-the-isr",
        "elections",
        "leader_id = next(node for node in state.preference if node in isr)",
        "leader_id = next(node for node in state.preference if node in in_service)",
        "test_elections.py::test_the_rules",
    ),
    Mutant(
        "leader-epoch-not-raised",
        "elections",
        "leader_epoch=state.leader_epoch if led_on else LeaderEpoch(state.leader_epoch + 1)",
        "leader_epoch=LeaderEpoch(state.leader_epoch)",
        "test_nodes.py::test_a_restart_moves_leaders_as_fencing_does",
    ),
    Mutant(
        "partition-epoch-not-raised",
        "elections",
        "after = replace(changed, partition_epoch=before.partition_epoch + 1)",
        "after = replace(changed, partition_epoch=before.partition_epoch)",
        "test_change_partition.py::test_a_follower_leaves_and_comes_back",
    ),
    Mutant(
        "fencing-ignored",
        "elections",
        "isr = tuple(node for node in state.isr if node in in_service)",
        "isr = tuple(node for node in state.isr if in_service)",
        "test_nodes.py::test_fencing_moves_leaders_and_unfencing_does_not_take_them_back",
    ),
    Mutant(
        "unclean-election",
        "elections",
        "holders = {*state.eligible} & in_service",
        "holders = {*state.replicas} & in_service",
        "test_elections.py::test_nobody_leads_who_may_lack_something",
    ),
    Mutant(
        "transfer-to-whom-may-lack-something",
        "partitions",
        "    if node_id not in state.isr:\n",
        "    if node_id not in state.replicas:\n",
        "test_change_partition.py::test_nobody_is_made_the_leader_who_may_lack_something",
    ),
    Mutant(
        "elr-ignored",
        "elections",
        "leader_id = _eligible_leader(state, in_service)",
        "leader_id = NO_NODE",
        "test_nodes.py::test_the_only_replica_leads_again_in_another_epoch",
    ),
    Mutant(
        "last-replica-dropped",
        "elections",
        "eligible = tuple(node for node in state.replicas if node in holders)",
        "eligible = tuple(node for node in state.eligible if node in holders)",
        "test_elections.py::test_nobody_leads_who_may_lack_something",
    ),
    Mutant(
        "eligible-while-others-acknowledge",
        "elections",
        "    if len(isr) < situation.min_isr:\n",
        "    if len(isr) < situation.min_isr + 9:\n",
        "test_change_partition.py::test_who_leaves_a_set_that_is_too_small_stays_eligible",
    ),
    Mutant(
        "eligible-for-another-least-number",
        "topics",
        "        records += without_eligible(settings, topic, after)\n",
        "        list(without_eligible(settings, topic, after))\n",
        "test_elections.py::test_another_least_number_forgets_who_was_eligible",
    ),
    Mutant(
        "preferred-leader-that-is-not-in-sync",
        "elections",
        "    if first not in state.isr or first not in situation.in_service:\n",
        "    if first not in situation.in_service:\n",
        "test_elections.py::test_the_preferred_leader_comes_back_when_it_is_in_sync",
    ),
    # --- reassignment ----------------------------------------------------------------------------
    Mutant(
        "leaves-before-all-have-come",
        "reassignment",
        "    if not target or not added <= {*state.isr}:\n",
        "    if not target or (added and not added & {*state.isr}):\n",
        "test_reassignment.py::test_nobody_leaves_before_every_added_replica_is_in_sync",
    ),
    Mutant(
        "acknowledged-becomes-rarer",
        "reassignment",
        "    if leaving and len(isr) < max(1, min(situation.min_isr, len(target))):\n",
        "    if leaving and not isr:\n",
        "test_reassignment.py::test_what_was_acknowledged_does_not_become_rarer",
    ),
    Mutant(
        "leader-stays-behind",
        "reassignment",
        "    if isr and leader_id not in isr:\n",
        "    if isr and leader_id == NO_NODE:\n",
        "test_reassignment.py::test_nobody_leaves_before_every_added_replica_is_in_sync",
    ),
    Mutant(
        "called-off-to-the-new-ones",
        "reassignment",
        "        target = state.original\n",
        "        target = state.replicas\n",
        "test_reassignment.py::test_it_is_called_off",
    ),
    Mutant(
        "replica-on-a-fenced-node",
        "reassignment",
        "    if added:\n",
        "    if len(added) > 99:\n",
        "test_reassignment.py::test_a_fenced_node_gets_nothing_and_keeps_what_it_has",
    ),
    Mutant(
        "added-replicas-count-as-missing",
        "records",
        "return min(len(self.original), len(self.target)) if self.target else len(self.replicas)",
        "return len(self.replicas)",
        "test_reassignment.py::test_min_insync_replicas_follows_the_smaller_number",
    ),
    Mutant(
        "loss-accepted-for-who-has-just-begun",
        "elections",
        "_others(state.original, node_id) or _others(state.replicas, node_id)",
        "_others(state.replicas, node_id)",
        "test_reassignment.py::test_a_lost_disk_leaves_those_that_had_most",
    ),
    # --- damage ----------------------------------------------------------------------------------
    Mutant(
        "damaged-log-still-eligible",
        "damage",
        "        eligible=tuple(node for node in state.eligible if node != node_id),\n",
        "        eligible=state.eligible,\n        last_known_leader=state.last_known_leader,\n",
        "test_damage.py::test_a_damaged_copy_wins_no_election",
    ),
    Mutant(
        "damaged-log-still-in-sync",
        "damage",
        "        isr=tuple(node for node in state.isr if node != node_id),\n",
        "        isr=state.isr,\n",
        "test_damage.py::test_a_damaged_leader_gives_way",
    ),
    Mutant(
        "damaged-for-ever",
        "elections",
        "damaged=tuple(node for node in state.damaged if node not in isr),",
        "damaged=state.damaged,",
        "test_damage.py::test_it_counts_again_once_it_is_in_sync",
    ),
    Mutant(
        "another-disk-accepts-the-loss",
        "elections",
        "    return not others and node_id in (*state.isr, *state.eligible, *state.damaged)\n",
        "    return not others\n",
        "test_damage.py::test_the_loss_of_another_disk_accepts_nothing",
    ),
    Mutant(
        "what-may-be-repaired-is-dropped",
        "reassignment",
        "    if holders.isdisjoint(target) and not {*state.replicas} <= {*target}:\n",
        "    if False:\n",
        "test_damage.py::test_the_last_full_copy_is_not_replaced_by_another",
    ),
    # --- proposals -------------------------------------------------------------------------------
    Mutant(
        "isr-without-partition-epoch",
        "partitions",
        "    if command.partition_epoch != state.partition_epoch:\n",
        "    if command.partition_epoch < 0:\n",
        "test_change_partition.py::test_an_earlier_state_is_refused",
    ),
    Mutant(
        "isr-without-leader-epoch",
        "partitions",
        " or command.leader_epoch != state.leader_epoch:\n",
        ":\n",
        "test_change_partition.py::test_an_earlier_leader_is_refused",
    ),
    Mutant(
        "process-of-before-in-sync-again",
        "partitions",
        "return node is not None and node.node_epoch == member.node_epoch",
        "return node is not None",
        "test_change_partition.py::test_a_process_of_before_does_not_come_back_in_sync",
    ),
    Mutant(
        "fenced-member-in-sync",
        "partitions",
        "        if image.nodes[member.node_id].fenced:\n",
        "        if image.nodes[member.node_id].node_epoch < 0:\n",
        "test_change_partition.py::test_a_fenced_member_is_refused",
    ),
    # --- nodes -----------------------------------------------------------------------------------
    Mutant(
        "stale-incarnation-accepted",
        "nodes",
        "    if node.incarnation_id != incarnation_id:\n",
        "    if not incarnation_id:\n",
        "test_nodes.py::test_a_process_of_before_is_told_from_the_one_of_now",
    ),
    Mutant(
        "node-begins-unfenced",
        "nodes",
        "        fenced=True,\n        vote_",
        "        fenced=False,\n        vote_",
        "test_nodes.py::test_a_node_begins_fenced_and_with_an_epoch_of_its_own",
    ),
    Mutant(
        "lost-vote-forgotten-at-registration",
        "nodes",
        "        vote_withdrawn=before is not None and before.vote_withdrawn,\n",
        "",
        "test_voters.py::test_a_vote_that_was_taken_away_stays_away_until_it_is_given_back",
    ),
    Mutant(
        "lost-vote-not-noted",
        "replay",
        "                withdrawn = node.directory_id in before\n",
        "                withdrawn = False\n",
        "test_voters.py::test_a_vote_that_was_taken_away_stays_away_until_it_is_given_back",
    ),
    Mutant(
        "deletion-forgotten",
        "replay",
        "            self._deleted.remember(record.topic_id, record, DELETIONS_KEPT)\n",
        "            pass\n",
        "test_machine.py::test_a_deletion_that_is_asked_for_again_is_done_once",
    ),
    Mutant(
        "deletions-not-in-snapshots",
        "snapshot",
        "    yield from image.deleted.values()\n",
        "",
        "test_machine.py::test_a_deletion_that_is_asked_for_again_is_done_once",
    ),
    Mutant(
        "deleted-topic-made-again",
        "topics",
        "    if command.topic_id in image.deleted:\n",
        "    if False:\n",
        "test_machine.py::test_a_creation_that_is_asked_for_again_does_not_undo_a_deletion",
    ),
    Mutant(
        "removed-directory-readmitted",
        "nodes",
        "    removed = image.removed.get(command.directory_id)\n",
        '    removed = image.removed.get(DirectoryId(b""))\n',
        "test_nodes.py::test_a_removed_directory_never_comes_back_but_the_id_may",
    ),
    Mutant(
        "let-in-while-it-counts-as-who-it-was",
        "nodes",
        "    if left_over:\n",
        "    if left_over and not node.fenced:\n",
        "test_nodes.py::test_a_node_is_not_let_in_while_it_counts_as_who_it_was",
    ),
    Mutant(
        "lost-disk-still-eligible",
        "elections",
        "        eligible = _others(state.eligible, node_id)\n",
        "        eligible = state.eligible\n",
        "test_nodes.py::test_a_replaced_node_is_not_eligible_any_more",
    ),
    Mutant(
        "registration-ends-before-partitions-know",
        "nodes",
        "    if more:\n",
        "    if more and not struck:\n",
        "test_nodes.py::test_every_partition_knows_before_the_registration_ends",
    ),
    Mutant(
        "only-copy-given-up-unasked",
        "nodes",
        "    if only_here:\n",
        "    if len(only_here) > 99:\n",
        "test_nodes.py::test_the_only_copy_is_not_given_up_unasked",
    ),
    Mutant(
        "placed-on-fenced-nodes",
        "placement",
        "key=lambda node: (node.fenced, in_rack[node.rack], replicas_of[node.node_id])",
        "key=lambda node: (in_rack[node.rack], replicas_of[node.node_id])",
        "test_machine.py::test_nodes_in_service_get_the_replicas",
    ),
    Mutant(
        "fenced-replica-begins-in-sync",
        "placement",
        "isr = tuple(node.node_id for node in chosen if not node.fenced)",
        "isr = replicas",
        "test_machine.py::test_fenced_nodes_get_what_the_others_are_too_few_for",
    ),
    Mutant(
        "fenced-node-leads",
        "placement",
        "in_service = [node for node in order if not node.fenced]",
        "in_service = order",
        "test_machine.py::test_fenced_nodes_get_what_the_others_are_too_few_for",
    ),
    Mutant(
        "racks-ignored",
        "placement",
        "key=lambda node: (node.fenced, in_rack[node.rack], replicas_of[node.node_id])",
        "key=lambda node: (node.fenced, replicas_of[node.node_id])",
        f"{_SCENARIOS}/test_metadata_scenarios.py::test_transcript",
    ),
    # --- voters ----------------------------------------------------------------------------------
    Mutant(
        "voter-added-twice",
        "voters",
        "    if image.voter(node.node_id) is not None:\n",
        "    if len(image.voters) > 99:\n",
        "test_voters.py::test_voters_are_added_one_by_one_and_kept_in_order",
    ),
    Mutant(
        "last-voter-removed",
        "voters",
        "    if not rest:\n",
        "    if len(rest) > 99:\n",
        "test_voters.py::test_the_last_voter_stays",
    ),
    Mutant(
        "half-of-the-voters-is-a-majority",
        "voters",
        "    if 2 * len(alive) <= len(rest):\n",
        "    if 2 * len(alive) < len(rest):\n",
        "test_voters.py::test_a_majority_of_those_that_stay_is_in_service",
    ),
    # --- sessions --------------------------------------------------------------------------------
    Mutant(
        "new-leader-fences-at-once",
        "sessions",
        "return None if node.fenced else now_ms + self._timing.session_ms",
        "return None if node.fenced else now_ms",
        "test_sessions.py::test_a_new_leader_gives_every_node_a_full_session",
    ),
    Mutant(
        "let-in-before-it-has-caught-up",
        "sessions",
        "        if applied_index < session.target_index:\n",
        "        if applied_index < 0:\n",
        "test_sessions.py::test_a_node_is_let_in_once_it_has_followed_the_log",
    ),
    Mutant(
        "every-commit-renews-the-sessions",
        "sessions",
        "            elif before[node_id].fenced != node.fenced:\n",
        "            else:\n",
        "test_sessions.py::test_another_commit_gives_nobody_more_time",
    ),
    Mutant(
        "self-fencing-not-done",
        "sessions",
        "        if now_ms >= self._expires_ms:\n",
        "        if now_ms < 0:\n",
        "test_sessions.py::test_a_node_fences_itself_when_nobody_answers",
    ),
    Mutant(
        "session-counted-from-the-answer",
        "sessions",
        "        self._answered_ms = sent_ms\n",
        "        self._answered_ms = now_ms\n",
        "test_sessions.py::test_an_answer_counts_from_when_it_was_asked_for",
    ),
    # --- damage, requests ------------------------------------------------------------------------
    Mutant(
        "gives-way-to-nobody",
        "damage",
        "        if leads_on and after.leader_id == NO_NODE:\n",
        "        if leads_on and after.leader_id == command.node_id:\n",
        f"{_SCENARIOS}/test_metadata_scenarios.py::test_transcript[give_way]",
    ),
    Mutant(
        "whoever-has-damage-leads-on",
        "damage",
        "        leads_on = command.leads_on and before.leader_id == command.node_id\n",
        "        leads_on = before.leader_id == command.node_id\n",
        "test_damage.py::test_the_last_full_copy_is_not_replaced_by_another",
    ),
    Mutant(
        "a-request-is-not-noted",
        "requests",
        "    return (*changes, RequestDone(request_id, topic_id))\n",
        "    return changes\n",
        "test_requests.py::test_what_others_did_since_stays",
    ),
    Mutant(
        "a-request-is-carried-out-again",
        "requests",
        "    return image.requests.get(request_id)\n",
        "    return None\n",
        f"{_SCENARIOS}/test_metadata_scenarios.py::test_transcript[requests]",
    ),
    Mutant(
        "snapshot-forgets-the-requests",
        "snapshot",
        "    yield from image.requests.values()\n",
        "",
        "test_requests.py::test_what_others_did_since_stays",
    ),
    # --- snapshots -------------------------------------------------------------------------------
    Mutant(
        "snapshot-forgets-who-was-removed",
        "snapshot",
        "    yield from image.removed.values()\n",
        "",
        "test_snapshot.py::test_a_snapshot_remembers_what_must_not_come_back",
    ),
    Mutant(
        "snapshot-hands-out-producer-ids-again",
        "snapshot",
        "ProducerIdsAllocated(NO_NODE, image.next_producer_id - 1, 1)",
        "ProducerIdsAllocated(NO_NODE, 0, 1)",
        "test_snapshot.py::test_everything_comes_back",
    ),
    Mutant(
        "snapshot-forgets-the-voters",
        "snapshot",
        "    if image.voters:\n",
        "    if len(image.voters) > 99:\n",
        "test_snapshot.py::test_everything_comes_back",
    ),
)


def source(module: str) -> Path:
    return Path("logd") / "metadata" / f"{module}.py"


def plant(mutant: Mutant, root: Path) -> None:
    """Change the copy below `root`; ValueError if the anchor is not there exactly once."""
    plant_in(root / source(mutant.module), mutant)


def pytest_name(mutant: Mutant) -> str:
    """Return the name of the test that sees the bug, as pytest takes it."""
    return mutant.seen_by if mutant.seen_by.startswith("tests/") else f"{_UNIT}/{mutant.seen_by}"


def seen_by(mutant: Mutant, tests: list[str]) -> str:
    """Run tests against the planted bug; return the first one that fails, '' if none does."""
    with copied((*_COPIED, *_FILES)) as root:
        plant(mutant, root)
        return first_failure(root, tests)


def every_test() -> list[str]:
    """Every test of the controller, the model last."""
    names = {file.name for file in (ROOT / _UNIT).glob("test_*.py")}
    ordered = [*sorted(names - {_MODEL, "test_mutants.py", "test_stateful.py"}), _MODEL]
    return [*(f"{_UNIT}/{name}" for name in ordered), _SCENARIOS]


def main(words: list[str]) -> int:
    """Plant the named bugs, all of them by default; return how many were not seen."""
    names = [word for word in words if not word.startswith("-")]
    everything = every_test() if "--all" in words else []
    return report(
        MUTANTS, names, lambda mutant: seen_by(mutant, everything or [pytest_name(mutant)])
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
