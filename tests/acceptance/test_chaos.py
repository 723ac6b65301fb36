"""Every fault once, or again and again, to three real nodes under load; then the checker judges."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.chaos import NUMBERS, Chaos, why_not

pytestmark = [pytest.mark.acceptance]

RecordFigure = Callable[[str, int | float | str], None]
Fault = Callable[[Chaos, int], AbstractContextManager[None]]

FAULTS: dict[str, Fault] = {
    "kill": lambda chaos, number: chaos.killed(number),
    "kill all": lambda chaos, _: chaos.killed(*NUMBERS),
    "pause": lambda chaos, number: chaos.paused(number),
    "cut off": lambda chaos, number: chaos.cut_off(number),
    "cannot send": lambda chaos, number: chaos.cut_off(number, receives=False),
    "cannot receive": lambda chaos, number: chaos.cut_off(number, sends=False),
    "power": lambda chaos, number: chaos.without_power(number),
    "power of all": lambda chaos, _: chaos.without_power(*NUMBERS),
    "hanging disk": lambda chaos, number: chaos.hanging_disk(number),
    "full disk": lambda chaos, number: chaos.full_disk(number),
}
#: Longer than a session and an election: the others act on it.
FAULT_S = 3.0


@pytest.fixture
def chaos(tmp_path: Path) -> Iterator[Chaos]:
    reason = why_not()
    if reason is not None:
        pytest.skip(f"nothing can be broken here: {reason}")
    with Chaos(tmp_path) as made:
        yield made


def _disturb(chaos: Chaos, fault: Fault, number: int) -> None:
    chaos.write()
    with fault(chaos, number):
        time.sleep(FAULT_S)
    chaos.write()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["cut off", "power of all"])
def test_nothing_is_lost(chaos: Chaos, name: str) -> None:
    _disturb(chaos, FAULTS[name], chaos.cluster.controller())
    verdict = chaos.judge(acknowledged_min=600)
    assert verdict.valid, str(verdict)


@pytest.mark.proof
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_in_ten_rounds(
    chaos: Chaos, name: str, record_figure: RecordFigure
) -> None:
    """The controller and another node in turn."""
    for turn in range(10):
        controller = chaos.cluster.controller()
        other = next(number for number in NUMBERS if number != controller)
        _disturb(chaos, FAULTS[name], other if turn % 2 else controller)
    verdict = chaos.judge(acknowledged_min=6_000)
    record_figure(f"{name}, ten times: records acknowledged, all found", chaos.acknowledged)
    assert verdict.valid, str(verdict)


@pytest.mark.proof
@pytest.mark.timeout(3_600)
def test_nothing_is_lost_when_faults_follow_each_other(
    chaos: Chaos, record_figure: RecordFigure
) -> None:
    rng = random.Random(time.time_ns())
    names = [rng.choice(sorted(FAULTS)) for _ in range(40)]
    print(f"faults: {names}")
    for name in names:
        _disturb(chaos, FAULTS[name], rng.choice(NUMBERS))
    verdict = chaos.judge(acknowledged_min=10_000)
    record_figure("forty faults in a row: records acknowledged, all found", chaos.acknowledged)
    assert verdict.valid, str(verdict)
