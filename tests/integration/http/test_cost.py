"""Counting may not cost: it is done for every batch."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from logd.observe import ApiMeter, Traffic
from logd.runtime.adapters import SystemClock
from tests.support import admin_mutants

BATCHES = 5_000
RUNS = 30
#: Nanoseconds of one thread that counting one produced batch may take.
BATCH_NS_MAX = 2_000


def quickest_ns(work: Callable[[], None]) -> float:
    """Processor time of this thread for one of `BATCHES`, in the best of all runs."""
    best = float("inf")
    for _ in range(RUNS):
        begun = time.thread_time_ns()
        work()
        best = min(best, (time.thread_time_ns() - begun) / BATCHES)
    return best


def test_counting_a_batch_costs_little(
    record_figure: Callable[[str, float], None],
) -> None:
    traffic, meter, now_ns = Traffic(), ApiMeter(), SystemClock().monotonic_ns

    def nothing() -> None:
        for _ in range(BATCHES):
            pass

    def counting() -> None:
        for _ in range(BATCHES):
            begun_ns = now_ns()
            traffic.produced(10, 1_000)
            meter.succeeded(now_ns() - begun_ns)

    cost_ns = quickest_ns(counting) - quickest_ns(nothing)
    record_figure("counting_one_batch_ns", round(cost_ns))
    assert traffic.produced_batches == meter.ok == BATCHES * RUNS
    assert cost_ns < BATCH_NS_MAX


@pytest.mark.proof
@pytest.mark.parametrize("mutant", admin_mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_seen(mutant: admin_mutants.Mutant) -> None:
    assert admin_mutants.caught_by(mutant)
