"""The raft log in memory: entries behind a snapshot point, and how much of them is durable.

    start          stable_index        end_index
      |== durable ==|== to be saved ====|

An entry spans as many indexes as it has payloads, so not every index is a border between entries.
Whatever takes an index here means a border; one that is none is not in the log.

The voters in force are those of the last entry with a voter set, committed or not; cutting that
entry off brings the ones before it back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

from logd.consensus.log_types import Entry, LogPoint, SnapshotMeta, Voters
from logd.model.ids import LogIndex, Term

#: What an entry and a payload are counted with beside their bytes.
_ENTRY_OVERHEAD_BYTES: Final = 64
_PAYLOAD_OVERHEAD_BYTES: Final = 16

_by_term = attrgetter("term")


def entry_bytes(entry: Entry) -> int:
    """Return about how many bytes the entry takes on the way to another member."""
    payloads = entry.payloads
    overhead = _ENTRY_OVERHEAD_BYTES + _PAYLOAD_OVERHEAD_BYTES * len(payloads)
    return overhead + sum(map(len, payloads))


class RaftLog:
    """Invariants: entries follow one another without holes, terms never go back,
    `start.point.index <= stable_index <= end_index`, and all three are borders."""

    def __init__(self, start: SnapshotMeta, entries: Sequence[Entry]) -> None:
        """`entries` follow `start` and are durable."""
        self._begin(start)
        self.append(entries)
        self._stable_index = self.end_index

    def _begin(self, start: SnapshotMeta) -> None:
        self._start = start
        self._entries: list[Entry] = []
        #: End index of each entry.
        self._ends: list[LogIndex] = []
        #: Bytes of all entries up to and with each, counted from some entry in the past.
        self._bytes: list[int] = []
        self._bytes_before = 0
        #: End index and voters of each entry that has a voter set.
        self._voter_sets: list[tuple[LogIndex, Voters]] = []
        self._stable_index = start.point.index

    @property
    def start(self) -> SnapshotMeta:
        return self._start

    @property
    def last(self) -> LogPoint:
        """The point behind the last entry."""
        if not self._entries:
            return self._start.point
        return LogPoint(self._entries[-1].term, self._ends[-1])

    @property
    def end_index(self) -> LogIndex:
        return self._ends[-1] if self._ends else self._start.point.index

    @property
    def stable_index(self) -> LogIndex:
        """End index of what is durable."""
        return self._stable_index

    @property
    def voters(self) -> Voters:
        """The voters in force."""
        return self._voter_sets[-1][1] if self._voter_sets else self._start.voters

    @property
    def voters_index(self) -> LogIndex:
        """End index of the entry that the voters in force come from."""
        return self._voter_sets[-1][0] if self._voter_sets else self._start.point.index

    @property
    def voters_before(self) -> Voters:
        """The voters that were in force before the last voter set of the log."""
        return self._voter_sets[-2][1] if len(self._voter_sets) > 1 else self._start.voters

    def term_at(self, index: LogIndex) -> Term | None:
        """Return the term of the entry that ends at `index`; None: no entry here ends there."""
        number = self._number(index)
        if number is None:
            return None
        return self._entries[number - 1].term if number else self._start.point.term

    def has(self, point: LogPoint) -> bool:
        """Whether this log and any other log with `point` are equal below it."""
        return self.term_at(point.index) == point.term

    def last_point_within(self, bound: LogPoint) -> LogPoint | None:
        """Return the last point with neither index nor term above `bound`.

        None: the log begins behind it.
        """
        number = bisect_right(self._ends, bound.index)
        number = bisect_right(self._entries, bound.term, hi=number, key=_by_term)
        if number:
            return LogPoint(self._entries[number - 1].term, self._ends[number - 1])
        start = self._start.point
        return start if start.index <= bound.index and start.term <= bound.term else None

    def entries_from(
        self, index: LogIndex, *, bytes_max: int, end_index: LogIndex | None = None
    ) -> tuple[Entry, ...]:
        """Return entries from `index` on, not beyond `end_index`: one, or as many as fit.

        Raises ValueError when one of the indexes is no border of this log.
        """
        first, last = self._border(index), len(self._entries)
        if end_index is not None:
            last = self._border(end_index)
        fitting = bisect_right(self._bytes, self._bytes_up_to(first) + bytes_max, lo=first)
        return tuple(self._entries[first : min(last, max(fitting, first + 1))])

    def size_bytes(self, index: LogIndex, end_index: LogIndex) -> int:
        """Return the bytes of the entries between two borders, as `entry_bytes` counts them."""
        first, last = self._border(index), self._border(end_index)
        return self._bytes_up_to(last) - self._bytes_up_to(first)

    def unstable(self) -> tuple[Entry, ...]:
        """Return what is to be made durable."""
        return tuple(self._entries[self._border(self._stable_index) :])

    def snapshot_at(self, index: LogIndex) -> SnapshotMeta:
        """Return what the state after everything below `index` stands for."""
        number = self._border(index)
        term = self._entries[number - 1].term if number else self._start.point.term
        voters = self._start.voters
        for end, changed in self._voter_sets:
            if end > index:
                break
            voters = changed
        return SnapshotMeta(LogPoint(term, index), voters)

    def append(self, entries: Iterable[Entry]) -> None:
        """Add entries that follow the last one."""
        end, size = self.end_index, self._bytes_up_to(len(self._entries))
        for entry in entries:
            if entry.index != end:
                raise ValueError(f"entry {entry.index} would follow {end}")
            end, size = entry.next_index, size + entry_bytes(entry)
            self._entries.append(entry)
            self._ends.append(end)
            self._bytes.append(size)
            if entry.voters is not None:
                self._voter_sets.append((end, entry.voters))

    def truncate(self, index: LogIndex) -> None:
        """Cut off everything from `index` on."""
        number = self._border(index)
        del self._entries[number:], self._ends[number:], self._bytes[number:]
        while self._voter_sets and self._voter_sets[-1][0] > index:
            self._voter_sets.pop()
        self._stable_index = min(self._stable_index, index)

    def mark_stable(self, saved: Sequence[Entry]) -> None:
        """These entries are durable, as far as they were not cut off meanwhile.

        What was saved and is still in the log must not be saved again: writing it again would mean
        to cut it first, and it may have been acknowledged.
        """
        for entry in reversed(saved):
            if self.has(LogPoint(entry.term, entry.next_index)):
                self._stable_index = max(self._stable_index, entry.next_index)
                return

    def compact(self, snapshot: SnapshotMeta) -> None:
        """Forget the entries below a point of this log."""
        number = self._border(snapshot.point.index)
        self._bytes_before = self._bytes_up_to(number)
        del self._entries[:number], self._ends[:number], self._bytes[:number]
        self._voter_sets = [item for item in self._voter_sets if item[0] > snapshot.point.index]
        self._start = snapshot
        self._stable_index = max(self._stable_index, snapshot.point.index)

    def restore(self, snapshot: SnapshotMeta) -> None:
        """Forget everything and begin behind `snapshot`."""
        self._begin(snapshot)

    def _number(self, index: LogIndex) -> int | None:
        """Return how many entries end at or below the border `index`; None: it is no border."""
        if index == self.end_index:
            return len(self._ends)
        if index == self._start.point.index:
            return 0
        found = bisect_left(self._ends, index)
        return found + 1 if found < len(self._ends) and self._ends[found] == index else None

    def _bytes_up_to(self, number: int) -> int:
        return self._bytes[number - 1] if number else self._bytes_before

    def _border(self, index: LogIndex) -> int:
        number = self._number(index)
        if number is None:
            raise ValueError(f"no entry of the raft log ends at {index}")
        return number
