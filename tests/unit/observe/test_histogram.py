from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from logd.observe.histogram import BOUNDS_NS, Histogram

durations = st.one_of(
    st.integers(0, 20_000_000_000),
    st.sampled_from(BOUNDS_NS),
    st.sampled_from([bound + 1 for bound in BOUNDS_NS]),
)


@given(st.lists(durations))
def test_a_bucket_counts_what_is_at_most_as_long_as_its_bound(observed: list[int]) -> None:
    histogram = Histogram()
    for duration_ns in observed:
        histogram.observe(duration_ns)
    *below, total = histogram.cumulative()
    assert below == [sum(each <= bound for each in observed) for bound in BOUNDS_NS]
    assert total == len(observed)
    assert histogram.sum_ns == sum(observed)


def test_a_copy_stays_as_it_was() -> None:
    histogram = Histogram((10, 20))
    histogram.observe(15)
    copied = histogram.copy()
    histogram.observe(15)
    assert (copied.cumulative(), copied.sum_ns) == ([0, 1, 1], 15)
    assert (histogram.cumulative(), histogram.sum_ns) == ([0, 2, 2], 30)
