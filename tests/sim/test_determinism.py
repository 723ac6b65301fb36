"""A seed of this simulation has one trace, whatever the process."""

from __future__ import annotations

import json

import pytest

from tests.sim.determinism import check_one_trace

pytestmark = pytest.mark.slow


def seed_and_digest(line: str) -> tuple[str, str]:
    outcome = json.loads(line)
    return str(outcome["seed"]), outcome["digest"]


def test_a_seed_has_one_trace() -> None:
    check_one_trace(
        "tests.sim.run", "100:104", timeout_s=110, option="--json", parse=seed_and_digest
    )
