"""Consumer groups on three real nodes: members and coordinators are killed and frozen, and nothing
is skipped, nobody waits for long.

`make test` runs a small storm and one frozen coordinator; `make proof` every kind several times,
and the whole storm. `python -m tests.acceptance.group_trials` and `... group_load` run any by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.group_load import ANSWER_S_MAX, measure
from tests.acceptance.group_trials import PAUSE_S_MAX, TRIALS, run_storm, run_trials, wrong_of

pytestmark = [pytest.mark.acceptance]

RecordFigure = Callable[[str, int | float | str], None]

#: In the whole storm.
MEMBERS, PROCESSES, SECONDS = 50, 10, 60.0
COUNT = 5


@pytest.mark.timeout(240)
def test_members_come_go_freeze_and_die(tmp_path: Path, record_figure: RecordFigure) -> None:
    outcomes, verdict = run_storm(tmp_path, members=8, processes=4, seconds=10.0)
    record_figure("groups, storm of 8 members", f"calm after {outcomes[0]}; {verdict}")
    assert wrong_of(outcomes, verdict) == []


@pytest.mark.timeout(240)
def test_a_frozen_coordinator_is_got_over(tmp_path: Path, record_figure: RecordFigure) -> None:
    outcomes, verdict = run_trials(tmp_path, "freeze-coordinator", 1)
    record_figure("groups, freeze-coordinator, once", f"{outcomes[0]}; {verdict}")
    assert wrong_of(outcomes, verdict) == []


@pytest.mark.proof
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("kind", TRIALS)
def test_trials(tmp_path: Path, kind: str, record_figure: RecordFigure) -> None:
    outcomes, verdict = run_trials(tmp_path, kind, COUNT)
    slowest = max(outcomes, key=lambda each: each.took_s)
    record_figure(f"groups, {kind}, worst of {COUNT}", str(slowest))
    record_figure(f"groups, {kind}, deliveries", str(verdict))
    assert wrong_of(outcomes, verdict) == []


@pytest.mark.proof
@pytest.mark.timeout(1_800)
def test_a_storm_of_fifty_members(tmp_path: Path, record_figure: RecordFigure) -> None:
    outcomes, verdict = run_storm(tmp_path, members=MEMBERS, processes=PROCESSES, seconds=SECONDS)
    record_figure(f"groups, storm of {MEMBERS} members", f"calm after {outcomes[0]}; {verdict}")
    assert wrong_of(outcomes, verdict) == []
    # A proof has the machine for itself: no allowance for what others do to it.
    assert verdict.any_pause_s <= PAUSE_S_MAX


@pytest.mark.proof
@pytest.mark.timeout(1_800)
def test_a_coordinator_reads_100000_commits(tmp_path: Path, record_figure: RecordFigure) -> None:
    found = measure(tmp_path)
    record_figure("groups, failover", str(found))
    assert found.answer_s < ANSWER_S_MAX
