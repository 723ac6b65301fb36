"""A seed of this simulation has one trace, whatever the process."""

from __future__ import annotations

import pytest

from tests.sim.determinism import check_one_trace

pytestmark = pytest.mark.slow


def test_a_seed_has_one_trace() -> None:
    check_one_trace("tests.sim.replicas.run", "100000:100002", timeout_s=240)
