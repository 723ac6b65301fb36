"""Seeds of real nodes as a quorum; together they must reach every named state.

LOGD_QUORUM_SEEDS says how many (50 by default). A failure prints the seed and how to replay it.
"""

from __future__ import annotations

import os

import pytest

from tests.sim.quorum.coverage import Sometimes
from tests.sim.quorum.run import report
from tests.sim.quorum.simulation import run_seed

#: From here on so many seeds reach every state.
FIRST = 0
SEEDS = int(os.environ.get("LOGD_QUORUM_SEEDS", "50"))
#: Fewer seeds than this need not reach every state.
SEEDS_FOR_COVERAGE = 50

pytestmark = pytest.mark.slow


# One test, because what the seeds reach is added up.
@pytest.mark.timeout(600)
def test_seeds_hold_and_reach_every_named_state() -> None:
    sometimes, failed = Sometimes(), []
    for seed in range(FIRST, FIRST + SEEDS):
        outcome = run_seed(seed)
        sometimes.add(outcome.counts)
        if outcome.problems:
            failed.append(report(outcome))
    assert not failed, "\n\n".join(failed)
    if SEEDS >= SEEDS_FOR_COVERAGE:
        assert sometimes.missing() == []
