"""What a node keeps through a crash: directory id, hard state, snapshot, entries.

A save is a list of steps in the order hard state, snapshot, truncation, entries. When it is through
all of them are durable; a crash or an error within it leaves the first so many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from logd.consensus import Entry, HardState, Ready
from logd.consensus.log_types import LogPoint, SnapshotMeta, Voters
from logd.model.ids import DirectoryId, LogIndex, Term


@dataclass(frozen=True, slots=True)
class Contents:
    """A snapshot: the state machine after everything below the point of `meta`."""

    meta: SnapshotMeta
    #: The running hash of everything applied.
    digest: int


Step = Callable[[], None]


class Disk:
    """The raft directory of one node, of one directory id."""

    def __init__(self, directory_id: DirectoryId) -> None:
        self.directory_id = directory_id
        self.hard_state: HardState | None = None
        self.snapshot: Contents | None = None
        #: Whole contents that came from a leader, before the core decided about them.
        self.received: dict[SnapshotMeta, Contents] = {}
        self.entries: list[Entry] = []
        #: The durable entries by their end index.
        self.by_end: dict[int, Entry] = {}
        #: Those of them that change the voters.
        self.changes: list[Entry] = []
        #: What is known to be committed; noted now and then, never promised.
        self.commit_index = LogIndex(0)

    @property
    def end_index(self) -> int:
        return self.entries[-1].next_index if self.entries else self.snapshot_index

    @property
    def snapshot_index(self) -> int:
        return self.snapshot.meta.point.index if self.snapshot else 0

    @property
    def term(self) -> int:
        return self.hard_state.term if self.hard_state else 0

    def holds(self, term: Term, index: LogIndex) -> bool:
        """Whether the log agrees with a log that has the point (term, index)."""
        if index <= self.snapshot_index or index == 0:
            return True
        entry = self.by_end.get(index)
        return entry is not None and entry.term == term

    def voters(self) -> Voters:
        """The voter set that this log puts in force; a founder before its first one has none."""
        if self.changes and self.changes[-1].next_index > self.snapshot_index:
            return self.changes[-1].voters or ()
        return self.snapshot.meta.voters if self.snapshot else ()

    def save_steps(self, ready: Ready) -> list[Step]:
        """The steps that make a ready durable, to be run in order."""
        steps: list[Step] = []
        if ready.hard_state is not None:
            hard_state = ready.hard_state
            steps.append(lambda: self._keep_hard_state(hard_state))
        if ready.snapshot is not None:
            contents = self.received[ready.snapshot]
            steps.append(lambda: self._keep_snapshot(contents))
            steps.append(lambda: self.cut(LogIndex(0)))
        if ready.entries:
            first = ready.entries[0].index
            steps.append(lambda: self.cut(first))
            steps.extend(self._append_step(entry) for entry in ready.entries)
        return steps

    def _append_step(self, entry: Entry) -> Step:
        return lambda: self.append((entry,))

    def append(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.entries.append(entry)
            self.by_end[entry.next_index] = entry
            if entry.voters is not None:
                self.changes.append(entry)

    def cut(self, index: LogIndex) -> None:
        """Drop the entries at and behind `index`."""
        while self.entries and self.entries[-1].index >= index:
            del self.by_end[self.entries.pop().next_index]
        while self.changes and self.changes[-1].index >= index:
            self.changes.pop()

    def compact(self, contents: Contents, *, trim: bool) -> None:
        """Keep a snapshot; with `trim`, forget the entries that it covers."""
        if contents.meta.point.index <= self.snapshot_index:
            return
        self.snapshot = contents
        if trim:
            self.trim()

    def trim(self) -> None:
        """Forget the entries below the snapshot."""
        below = self.snapshot_index
        kept = [entry for entry in self.entries if entry.next_index > below]
        if len(kept) < len(self.entries):
            self.entries = kept
            self.by_end = {entry.next_index: entry for entry in kept}
            self.changes = [entry for entry in kept if entry.voters is not None]

    def _keep_hard_state(self, hard_state: HardState) -> None:
        self.hard_state = hard_state

    def _keep_snapshot(self, contents: Contents) -> None:
        self.snapshot = contents
        index = contents.meta.point.index
        self.received = {m: c for m, c in self.received.items() if m.point.index > index}

    def recover(self) -> bool:
        """Repair after a crash; whether an old log lay beside a newer snapshot and was dropped.

        A log that does not contain the snapshot's point is from before the snapshot was installed.
        """
        self.received.clear()
        if self.snapshot is None or not self.entries:
            return False
        point = self.snapshot.meta.point
        if self._reaches(point):
            return False
        self.cut(LogIndex(0))
        return True

    def _reaches(self, point: LogPoint) -> bool:
        if self.entries[0].index == point.index:
            return True
        entry = self.by_end.get(point.index)
        return entry is not None and entry.term == point.term
