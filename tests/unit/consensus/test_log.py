"""The log beside a naive twin: a list that is searched from the front."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from logd.consensus import Entry, LogPoint, SnapshotMeta, Voters
from logd.consensus.log import RaftLog, entry_bytes
from logd.model.ids import LogIndex, Term
from tests.unit.consensus.rig import entry, point, voters

START = SnapshotMeta(point(0, 0), voters(9))


class Twin:
    """What a log means, without regard to time."""

    def __init__(self, start: SnapshotMeta, entries: list[Entry]) -> None:
        self.start = start
        self.entries = list(entries)
        self.stable = self.points()[-1].index

    def points(self) -> list[LogPoint]:
        return [
            self.start.point,
            *(LogPoint(item.term, item.next_index) for item in self.entries),
        ]

    def sets(self) -> list[tuple[int, Voters]]:
        first = (int(self.start.point.index), self.start.voters)
        found = [(int(item.next_index), item.voters) for item in self.entries if item.voters]
        return [first, *found]

    def term_at(self, index: int) -> int | None:
        return next((at.term for at in self.points() if at.index == index), None)

    def last_within(self, bound: LogPoint) -> LogPoint | None:
        fitting = [at for at in self.points() if at.index <= bound.index and at.term <= bound.term]
        return fitting[-1] if fitting else None

    def between(self, first: int, end: int) -> list[Entry]:
        return [item for item in self.entries if item.index >= first and item.next_index <= end]


entries_of = st.lists(
    st.tuples(
        st.integers(0, 2), st.lists(st.binary(min_size=1, max_size=4), min_size=1, max_size=3)
    ),
    max_size=4,
)


class LogBesideTwin(RuleBasedStateMachine):
    @initialize(index=st.integers(0, 5), term=st.integers(0, 2), several=entries_of)
    def begin(self, index: int, term: int, several: list[tuple[int, list[bytes]]]) -> None:
        start = SnapshotMeta(point(term, index), voters(9))
        self.serial = 0
        self.twin = Twin(start, [])
        made = self.make(several)
        self.log = RaftLog(start, made)
        self.twin = Twin(start, made)

    def make(self, several: list[tuple[int, list[bytes]]]) -> list[Entry]:
        made: list[Entry] = []
        at = self.twin.points()[-1]
        for more, payloads in several:
            self.serial += 1
            changed = voters(self.serial) if self.serial % 3 == 0 else None
            term = max(1, at.term + more // 2)
            made.append(Entry(at.index, Term(term), tuple(payloads), changed))
            at = LogPoint(Term(term), made[-1].next_index)
        return made

    def border(self, number: int) -> LogPoint:
        points = self.twin.points()
        return points[number % len(points)]

    @rule(several=entries_of)
    def append(self, several: list[tuple[int, list[bytes]]]) -> None:
        made = self.make(several)
        self.log.append(made)
        self.twin.entries += made

    @rule(number=st.integers(0, 20))
    def truncate(self, number: int) -> None:
        at = self.border(number)
        self.log.truncate(at.index)
        self.twin.entries = self.twin.between(0, at.index)
        self.twin.stable = min(self.twin.stable, at.index)

    @rule(number=st.integers(0, 20), stale=st.booleans())
    def mark_stable(self, number: int, stale: bool) -> None:
        end = self.border(number).index
        saved = self.twin.between(self.twin.stable, end)
        if stale:
            # Behind what is still in the log there was something that was cut off meanwhile.
            last = saved[-1].next_index if saved else self.twin.stable
            saved = [*saved, entry(last, 99, b"gone")]
        self.log.mark_stable(saved)
        kept = [item for item in saved if item.term != 99]
        if kept:
            self.twin.stable = max(self.twin.stable, kept[-1].next_index)

    @rule(number=st.integers(0, 20))
    def compact(self, number: int) -> None:
        at = self.border(number)
        if at.index > self.twin.stable:
            return
        snapshot = self.log.snapshot_at(at.index)
        in_force = [members for end, members in self.twin.sets() if end <= at.index][-1]
        assert snapshot == SnapshotMeta(at, in_force)
        self.log.compact(snapshot)
        self.twin.start = snapshot
        self.twin.entries = [item for item in self.twin.entries if item.index >= at.index]

    @precondition(lambda self: self.serial > 6)
    @rule(index=st.integers(0, 40), term=st.integers(1, 9))
    def restore(self, index: int, term: int) -> None:
        snapshot = SnapshotMeta(point(term, index), voters(8))
        self.log.restore(snapshot)
        self.twin = Twin(snapshot, [])

    @rule(first=st.integers(0, 20), last=st.integers(0, 20), bytes_max=st.integers(0, 400))
    def read(self, first: int, last: int, bytes_max: int) -> None:
        begin, end = sorted((self.border(first).index, self.border(last).index))
        expected = self.twin.between(begin, end)
        assert self.log.size_bytes(begin, end) == sum(map(entry_bytes, expected))
        got = self.log.entries_from(begin, bytes_max=bytes_max, end_index=end)
        assert list(got) == expected[: len(got)]
        assert bool(got) is bool(expected), "at least one"
        size = sum(map(entry_bytes, got))
        assert size <= bytes_max or len(got) == 1 or not got
        if len(got) < len(expected):
            assert size + entry_bytes(expected[len(got)]) > bytes_max, "as many as fit"

    @rule(index=st.integers(-1, 60), term=st.integers(0, 9))
    def look(self, index: int, term: int) -> None:
        assert self.log.term_at(LogIndex(index)) == self.twin.term_at(index)
        assert self.log.has(point(term, index)) is (self.twin.term_at(index) == term)
        bound = point(term, index)
        assert self.log.last_point_within(bound) == self.twin.last_within(bound)

    @invariant()
    def same(self) -> None:
        log, twin = self.log, self.twin
        assert log.start == twin.start
        assert log.last == twin.points()[-1]
        assert log.end_index == log.last.index
        assert log.stable_index == twin.stable
        assert list(log.unstable()) == twin.between(twin.stable, log.end_index)
        sets = twin.sets()
        assert (log.voters_index, log.voters) == sets[-1]
        assert log.voters_before == sets[-2 if len(sets) > 1 else -1][1]


TestLogBesideTwin = LogBesideTwin.TestCase
TestLogBesideTwin.settings = settings(stateful_step_count=40)


@pytest.mark.proof
def test_long_runs() -> None:
    run_state_machine_as_test(
        LogBesideTwin, settings=settings(max_examples=500, stateful_step_count=200)
    )


def test_an_index_within_an_entry_is_no_border() -> None:
    log = RaftLog(START, [entry(0, 1, b"a", b"b", b"c"), entry(3, 2, b"d")])
    assert [log.term_at(LogIndex(index)) for index in range(6)] == [0, None, None, 1, 2, None]
    for refused in (
        lambda: log.truncate(LogIndex(1)),
        lambda: log.snapshot_at(LogIndex(2)),
        lambda: log.entries_from(LogIndex(5), bytes_max=1),
        lambda: log.entries_from(LogIndex(0), bytes_max=1, end_index=LogIndex(2)),
        lambda: log.compact(SnapshotMeta(point(1, 2), ())),
    ):
        with pytest.raises(ValueError, match="no entry of the raft log ends at"):
            refused()
    with pytest.raises(ValueError, match="entry 5 would follow 4"):
        log.append([entry(5, 2)])


def test_cutting_off_a_voter_set_brings_the_one_before_back() -> None:
    log = RaftLog(START, [entry(0, 1), entry(1, 1, b"v", voters=voters(1, 2))])
    log.append([entry(2, 1), entry(3, 1, b"w", voters=voters(1, 2, 3))])
    assert (log.voters, log.voters_index) == (voters(1, 2, 3), 4)
    log.truncate(LogIndex(3))
    assert (log.voters, log.voters_index) == (voters(1, 2), 2)
    assert log.voters_before == START.voters
    log.truncate(LogIndex(1))
    assert (log.voters, log.voters_index) == (START.voters, 0)


def test_a_hint_skips_whole_terms() -> None:
    entries = [entry(index, term) for index, term in enumerate([1, 1, 2, 4, 4, 4, 5])]
    log = RaftLog(START, entries)
    assert log.last_point_within(point(3, 100)) == point(2, 3)
    assert log.last_point_within(point(4, 5)) == point(4, 5)
    assert log.last_point_within(point(9, 2)) == point(1, 2)
    log.compact(log.snapshot_at(LogIndex(3)))
    assert log.last_point_within(point(1, 100)) is None
    assert log.last_point_within(point(9, 2)) is None
