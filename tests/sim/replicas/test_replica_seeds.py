"""Seeds of three nodes that copy partitions; together they must reach every named state.

LOGD_REPLICA_SEEDS says how many. A failure prints the seed and the line to replay it.
"""

from __future__ import annotations

import os
from functools import cache

import pytest

from tests.sim.coverage import Sometimes
from tests.sim.replicas.coverage import RARE, STATES
from tests.sim.replicas.run import COMMAND
from tests.sim.replicas.simulation import run_seed
from tests.sim.simulation import Outcome

#: Fewer seeds than this need not reach every state.
SEEDS_FOR_COVERAGE = 36
SEEDS = range(int(os.environ.get("LOGD_REPLICA_SEEDS", str(SEEDS_FOR_COVERAGE))))

# One worker runs them all, so that the last test can add up what they reached.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("replica-seeds")]


@cache
def outcome_of(seed: int) -> Outcome:
    return run_seed(seed)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_seed(seed: int) -> None:
    outcome = outcome_of(seed)
    assert not outcome.problems, COMMAND.report(outcome)


@pytest.mark.timeout(600)
def test_every_named_state_is_reached() -> None:
    sometimes = Sometimes(STATES, RARE)
    for seed in SEEDS:
        sometimes.add(outcome_of(seed).counts)
    if len(SEEDS) >= SEEDS_FOR_COVERAGE:
        assert sometimes.missing() == []
