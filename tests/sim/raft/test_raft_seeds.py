"""Seeds of the consensus core; together they must reach every named state.

LOGD_RAFT_SEEDS says how many (500 by default). A failure prints the seed and how to replay it.
"""

from __future__ import annotations

import os

import pytest

from tests.sim.raft.coverage import Sometimes
from tests.sim.raft.run import report
from tests.sim.raft.simulation import run_seed

SEEDS = int(os.environ.get("LOGD_RAFT_SEEDS", "500"))
#: Fewer seeds than this need not reach every state.
SEEDS_FOR_COVERAGE = 500

pytestmark = pytest.mark.slow


# One test, because what the seeds reach is added up.
@pytest.mark.timeout(600)
def test_seeds_hold_and_reach_every_named_state() -> None:
    sometimes, failed = Sometimes(), []
    for seed in range(SEEDS):
        outcome = run_seed(seed)
        sometimes.add(outcome.counts)
        if outcome.problem:
            failed.append(report(outcome))
    assert not failed, "\n\n".join(failed)
    if SEEDS >= SEEDS_FOR_COVERAGE:
        assert sometimes.missing() == []
