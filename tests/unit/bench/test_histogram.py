"""Latencies in log-linear buckets."""

from __future__ import annotations

import json
import random

import pytest

from bench.histogram import Histogram


def histogram_of(*values: int) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


@pytest.mark.parametrize("value", [0, 1, 63, 64, 127, 128, 129, 1_000, 999_999, 10**9, 7 * 10**12])
def test_one_value_comes_back_within_one_part_in_64(value: int) -> None:
    found = histogram_of(value).quantile_ns(0.5)
    assert abs(found - value) <= value / 64


def test_quantiles_are_those_of_the_sorted_values() -> None:
    rng = random.Random(1)
    values = sorted(round(rng.lognormvariate(14, 2)) for _ in range(20_000))
    made = histogram_of(*values)
    for share in (0.01, 0.5, 0.9, 0.99, 0.999):
        exact = values[max(0, round(share * len(values)) - 1)]
        assert made.quantile_ns(share) == pytest.approx(exact, rel=1 / 64)
    assert made.quantile_ns(1.0) == pytest.approx(values[-1], rel=1 / 64)
    assert made.max_ns == values[-1]


def test_no_quantile_is_above_the_greatest_value() -> None:
    made = histogram_of(*range(1_000_000, 1_000_100))
    assert made.quantile_ns(1.0) <= made.max_ns


def test_merging_is_as_if_one_had_counted_everything() -> None:
    one, other = histogram_of(5, 1_000, 10**6), histogram_of(7, 10**8)
    one.merge(other)
    assert one.document() == histogram_of(5, 1_000, 10**6, 7, 10**8).document()
    assert one.total == 5


def test_it_survives_json() -> None:
    made = histogram_of(3, 70, 12_345, 10**10)
    back = Histogram.from_document(json.loads(json.dumps(made.document())))
    assert back.summary_ms() == made.summary_ms()
    assert back.total == made.total


def test_a_time_before_it_was_due_counts_as_none() -> None:
    assert histogram_of(-5).summary_ms()["max"] == 0


def test_nothing_counted_has_no_summary() -> None:
    assert Histogram().summary_ms() == {}


def test_the_curve_rises_to_everything() -> None:
    curve = histogram_of(10**6, 2 * 10**6, 2 * 10**6, 50 * 10**6).curve_ms()
    assert [share for share, _ in curve] == [0.25, 0.75, 1.0]
    assert [ms for _, ms in curve] == pytest.approx([1, 2, 50], rel=1 / 64)
