from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from logd.observe import ApiMeter, RequestMeters, Traffic, TrafficTable

TOPICS_MAX = 3


def test_traffic_adds_up() -> None:
    traffic = Traffic()
    traffic.produced(3, 100)
    traffic.produced(2, 50)
    traffic.fetched(4, 120)
    assert (traffic.produced_batches, traffic.produced_records) == (2, 5)
    assert (traffic.produced_bytes, traffic.duplicates) == (150, 0)
    assert (traffic.fetched_records, traffic.fetched_bytes) == (4, 120)


class Table(RuleBasedStateMachine):
    """Partitions come, produce and go; every sample is one that a scraper can make a rate of."""

    def __init__(self) -> None:
        super().__init__()
        self.table = TrafficTable(TOPICS_MAX)
        self.partitions: list[tuple[str, Traffic]] = []
        self.produced: Counter[str] = Counter()
        self.seen: dict[str, tuple[Traffic, int]] = {}

    @rule(topic=st.sampled_from("abcdef"))
    def join(self, topic: str) -> None:
        self.partitions.append((topic, self.table.join(topic)))

    @rule(number=st.integers(0, 20), records=st.integers(1, 9))
    def produce(self, number: int, records: int) -> None:
        if self.partitions:
            topic, traffic = self.partitions[number % len(self.partitions)]
            traffic.produced(records, 1)
            self.produced[topic] += records

    @rule(number=st.integers(0, 20))
    def leave(self, number: int) -> None:
        if self.partitions:
            self.table.leave(*self.partitions.pop(number % len(self.partitions)))

    @invariant()
    def names_are_few_and_unique(self) -> None:
        names = [topic for topic, _ in self.table.all()]
        assert names[0] == ""
        assert len(names) == len(set(names)) <= TOPICS_MAX + 1
        assert names == sorted(names)
        present = {topic for topic, _ in self.partitions}
        assert set(names[1:]) <= present
        if len(names) <= TOPICS_MAX:
            # There is room: only those that came when there was none have no place.
            without = [t for t, traffic in self.partitions if traffic is self._others()]
            assert present <= set(names) | set(without)

    @invariant()
    def nothing_goes_back_and_nothing_jumps(self) -> None:
        """A series only grows, and by no more than was produced: what one topic had before is
        never added to another series."""
        for topic, traffic in self.table.all():
            before = self.seen.get(topic)
            if before is not None and before[0] is traffic:
                assert traffic.produced_records >= before[1]
            self.seen[topic] = (traffic, traffic.produced_records)
        assert sum(t.produced_records for _, t in self.table.all()) <= self.produced.total()
        for topic, traffic in self.partitions:
            if traffic is not self._others():
                assert traffic.produced_records <= self.produced[topic]

    def _others(self) -> Traffic:
        return next(iter(self.table.all()))[1]


TestTable = Table.TestCase


def test_partitions_of_one_topic_count_together_and_outlive_each_other() -> None:
    table = TrafficTable(1)
    first, second = table.join("a"), table.join("a")
    assert first is second
    table.leave("a", first)
    assert dict(table.all())["a"] is first
    late = table.join("b")
    assert late is dict(table.all())[""]
    table.leave("a", second)
    assert [topic for topic, _ in table.all()] == [""]
    # It came when there was no place, and stays where it is: its rate does not jump.
    table.leave("b", late)
    assert table.join("b") is not late


def test_without_places_everything_counts_together() -> None:
    table = TrafficTable(0)
    assert table.join("a") is table.join("b")
    assert [topic for topic, _ in table.all()] == [""]


def test_requests_by_method_and_code() -> None:
    requests = RequestMeters()
    meter = requests.of("Produce")
    assert requests.of("Produce") is meter
    meter.succeeded(5)
    meter.failed("STORAGE_FULL", 7)
    meter.failed("STORAGE_FULL")
    requests.of("Fetch")
    assert [api for api, _ in requests.all()] == ["Fetch", "Produce"]
    assert (meter.ok, meter.failures) == (1, {"STORAGE_FULL": 2})
    assert (sum(meter.ok_durations.counts), meter.ok_durations.sum_ns) == (1, 5)
    assert (sum(meter.failed_durations.counts), meter.failed_durations.sum_ns) == (1, 7)
    assert ApiMeter().failures == {}
