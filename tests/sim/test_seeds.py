"""Seeds of the real node and the real client core; together they must reach every named state.

LOGD_SIM_SEEDS says how many (50 by default). A failure prints the seed and the line to replay it.
"""

from __future__ import annotations

import os
from functools import cache

import pytest

from tests.sim.coverage import Sometimes
from tests.sim.run import report
from tests.sim.simulation import Outcome, run_seed

SEEDS = range(int(os.environ.get("LOGD_SIM_SEEDS", "50")))
#: Fewer seeds than this need not reach every state.
SEEDS_FOR_COVERAGE = 50

# One worker runs them all, so that the last test can add up what they reached.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sim-seeds")]


@cache
def outcome_of(seed: int) -> Outcome:
    return run_seed(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_seed(seed: int) -> None:
    outcome = outcome_of(seed)
    assert not outcome.problems, report(outcome)


@pytest.mark.timeout(600)
def test_every_named_state_is_reached() -> None:
    sometimes = Sometimes()
    for seed in SEEDS:
        sometimes.add(outcome_of(seed).counts)
    if len(SEEDS) >= SEEDS_FOR_COVERAGE:
        assert sometimes.missing() == []
