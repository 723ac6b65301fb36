"""The only voter against what Raft promises, with crashes between and within its steps."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from logd.consensus import Entry, Ready, Role
from logd.model.ids import LogIndex
from tests.unit.consensus.rig import Disk, Node, identity

sizes = st.lists(st.integers(1, 3), min_size=1, max_size=3)


class SoleVoterUnderCrashes(RuleBasedStateMachine):
    """`ready` is the work in hand: first saved, then applied and advanced, in separate steps."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk(identity(1))
        self.serial = 0
        #: Terms that had a leader; a start that came to nothing may leave its term to the next.
        self.terms: list[int] = []
        #: Everything ever committed, by index: what callers were told.
        self.told: dict[LogIndex, Entry] = {}
        self.start()

    def start(self) -> None:
        self.core = Node(self.disk, founder=True).core
        self.ready: Ready | None = None
        self.saved = False
        self.applied: list[Entry] = []
        self.asked: dict[int, int] = {}
        assert self.core.term > max(self.terms, default=0), "two leaders in one term"

    def fresh(self) -> bytes:
        self.serial += 1
        return b"%d" % self.serial

    @precondition(lambda self: self.core.role is Role.LEADER)
    @rule(several=sizes)
    def propose(self, several: list[int]) -> None:
        for count in several:
            end = self.core.end_index
            proposal = self.core.propose([self.fresh() for _ in range(count)])
            assert (proposal.index, proposal.term) == (end, self.core.term)
            assert self.core.end_index == end + count

    @precondition(lambda self: self.core.role is Role.LEADER)
    @rule()
    def ask_to_read(self) -> None:
        self.serial += 1
        # Everything that anybody was told before must be visible to this read.
        self.asked[self.serial] = max((entry.next_index for entry in self.told.values()), default=0)
        self.core.read_index(self.serial)

    @precondition(lambda self: self.core.has_ready())
    @rule()
    def take_ready(self) -> None:
        self.ready, self.saved = self.core.ready(), False
        on_disk = {entry.index: entry for entry in self.disk.entries}
        for entry in self.ready.committed:
            assert on_disk.get(entry.index) == entry, "committed before it was saved"
        if self.ready.committed:
            terms = [entry.term for entry in self.disk.entries]
            assert self.core.term in terms, "committed without an entry of the own term"
        for entry in self.ready.entries:
            assert self.disk.hard_state is not None
            assert entry.term <= self.disk.hard_state.term, "an entry before the vote is durable"

    @precondition(lambda self: self.ready is not None and not self.saved)
    @rule()
    def save(self) -> None:
        assert self.ready is not None
        self.disk.save(self.ready)
        self.saved = True

    @precondition(lambda self: self.saved)
    @rule()
    def apply_and_advance(self) -> None:
        ready = self.ready
        assert ready is not None
        for entry in ready.committed:
            expected = self.applied[-1].next_index if self.applied else 0
            assert entry.index == expected, "applied in order, each once"
            assert self.told.setdefault(entry.index, entry) == entry, "history was rewritten"
            self.applied.append(entry)
        self.core.advance(ready)
        if self.core.role is Role.LEADER and self.core.term not in self.terms:
            assert self.disk.hard_state is not None
            assert self.disk.hard_state.term == self.core.term
            self.terms.append(self.core.term)
        self.ready, self.saved = None, False
        for read in ready.reads:
            assert read.index >= self.asked.pop(read.context)
            assert self.core.applied_index >= read.index, "a read before its state"

    @rule()
    def drive_to_rest(self) -> None:
        while self.ready is not None or self.core.has_ready():
            if self.ready is None:
                self.take_ready()
            if not self.saved:
                self.save()
            self.apply_and_advance()
        assert self.core.has_caught_up
        assert self.core.applied_index == self.core.end_index
        assert self.asked == {}, "a read was forgotten"
        assert self.applied == self.disk.entries

    @rule(kept=st.integers(0, 3), hard_state_kept=st.booleans())
    def crash(self, kept: int, hard_state_kept: bool) -> None:
        """Within a save any first part of it may have come to the disk."""
        if (
            self.ready is not None
            and not self.saved
            and (hard_state_kept or self.ready.hard_state is None)
        ):
            self.disk.save(self.ready, kept)
        self.start()

    @invariant()
    def what_was_told_is_on_disk(self) -> None:
        on_disk = {entry.index: entry for entry in self.disk.entries}
        for index, entry in self.told.items():
            assert on_disk.get(index) == entry

    @invariant()
    def indexes_are_in_order(self) -> None:
        core = self.core
        assert 0 <= core.applied_index <= core.commit_index <= core.end_index
        assert (core.leader_id is not None) is (core.role is Role.LEADER)

    def teardown(self) -> None:
        self.drive_to_rest()
        self.start()
        self.drive_to_rest()
        assert {entry.index for entry in self.applied} >= set(self.told)


TestSoleVoterUnderCrashes = SoleVoterUnderCrashes.TestCase
TestSoleVoterUnderCrashes.settings = settings(stateful_step_count=50)


@pytest.mark.proof
def test_long_runs() -> None:
    run_state_machine_as_test(
        SoleVoterUnderCrashes, settings=settings(max_examples=300, stateful_step_count=300)
    )
