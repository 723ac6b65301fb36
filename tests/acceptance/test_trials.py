"""Trials of three real nodes: nothing is lost, and nobody waits for long.

`make test` runs one trial of two kinds with few partitions; `make proof` twenty of each with 300.
`python -m tests.acceptance.trials` runs any of them by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.trials import (
    ELSEWHERE_S_MAX,
    KINDS,
    Kind,
    passed_bounds,
    prepared,
    run_trial,
    transfer_trials,
    worst_of,
)
from tests.support.chaos import why_not

pytestmark = [pytest.mark.acceptance]

RecordFigure = Callable[[str, int | float | str], None]

TRIALS = 20
PARTITIONS = 300
ACKNOWLEDGED_MIN = 10_000
BY_NAME = {kind.name: kind for kind in KINDS}


def _check(folder: Path, kind: Kind, *, trials: int, partitions: int, acknowledged_min: int) -> str:
    """Run trials, and judge what is left; returns the worst waits in words."""
    if kind.isolated and (reason := why_not()) is not None:
        pytest.skip(f"nothing can be broken here: {reason}")
    with prepared(folder, partitions, isolated=kind.isolated) as chaos:
        waited = [run_trial(chaos, kind, turn) for turn in range(trials)]
        worst = worst_of(waited)
        print(f"{kind.name}, worst of {trials}: {worst}")
        verdict = chaos.judge(acknowledged_min=acknowledged_min)
        assert verdict.valid, str(verdict)
        assert chaos.failed == []
    assert passed_bounds(kind, worst) == []
    return str(worst)


@pytest.mark.timeout(240)
def test_a_killed_controller_is_got_over(tmp_path: Path, record_figure: RecordFigure) -> None:
    kind = BY_NAME["kill-controller"]
    worst = _check(tmp_path, kind, trials=1, partitions=12, acknowledged_min=100)
    record_figure("kill-controller, once", worst)


@pytest.mark.proof
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("name", BY_NAME)
def test_twenty_trials(tmp_path: Path, name: str, record_figure: RecordFigure) -> None:
    worst = _check(
        tmp_path,
        BY_NAME[name],
        trials=TRIALS,
        partitions=PARTITIONS,
        acknowledged_min=ACKNOWLEDGED_MIN,
    )
    record_figure(f"{name}, longest waits, worst of {TRIALS}", worst)


@pytest.mark.proof
@pytest.mark.timeout(3_600)
def test_twenty_transfers(tmp_path: Path, record_figure: RecordFigure) -> None:
    with prepared(tmp_path, PARTITIONS, isolated=False) as chaos:
        waits = transfer_trials(chaos, TRIALS)
        verdict = chaos.judge(acknowledged_min=1_000)
    record_figure(f"transfer, ms, worst of {TRIALS}", round(1000 * max(waits)))
    assert verdict.valid, str(verdict)
    assert max(waits) <= ELSEWHERE_S_MAX
