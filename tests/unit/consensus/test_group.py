"""Three members and a spare against what Raft promises: any order of messages, ticks and crashes.

Time is unbounded here: a rule may tick any member to its deadline, so every order of timeouts
happens. What must hold is safety; that the group gets somewhere is looked at in the end.
"""

from __future__ import annotations

from typing import NamedTuple

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
from logd_wire.errors import InvalidRequestError, NotLeaderError

from logd.consensus import Entry, InstallSnapshot, Message, Ready, Role
from logd.model.ids import LogIndex, NodeId
from tests.unit.consensus.rig import TIMING, Cluster, Disk, Node, identity, voter

NODES = (1, 2, 3, 4)
chances = st.integers(0, 1_000)
members = st.sampled_from(NODES)


class Asked(NamedTuple):
    """A read, and what was acknowledged to anybody before it."""

    node_id: int
    floor: int


class GroupUnderFaults(RuleBasedStateMachine):
    """`work` holds the ready that a node is saving."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(1, 2, 3)
        self.cluster.add(Disk(identity(4)))
        self.work: dict[int, Ready] = {}
        self.serial = 0
        self.leaders: dict[int, int] = {}
        #: Everything that was applied anywhere, by index.
        self.truth: dict[LogIndex, Entry] = {}
        self.end = 0
        self.asked: dict[int, Asked] = {}
        self.answered: dict[int, int] = dict.fromkeys(NODES, 0)

    # --- the driver, in steps

    def node(self, node_id: int) -> Node:
        return self.cluster[node_id]

    @rule(node_id=members)
    def take(self, node_id: int) -> None:
        node = self.node(node_id)
        self.cluster.post(node.core.take_messages_now())
        if node_id not in self.work and node.core.has_ready():
            ready = self.work[node_id] = node.core.ready()
            self.cluster.post(ready.messages_now)

    @rule(node_id=members)
    def save(self, node_id: int) -> None:
        ready = self.work.pop(node_id, None)
        if ready is None:
            return
        node = self.node(node_id)
        before = node.core.applied_index
        node.finish(ready)
        self.cluster.post(node.sent)
        node.sent.clear()
        for item in ready.committed:
            assert item.index == before, "applied in order, each once"
            assert item in node.disk.entries, "applied before it is durable"
            assert self.truth.setdefault(item.index, item) == item, "history was rewritten"
            before = item.next_index
            self.end = max(self.end, before)
        self.look_at_reads(node_id, node)

    def look_at_reads(self, node_id: int, node: Node) -> None:
        for read in node.reads[self.answered[node_id] :]:
            asked = self.asked.pop(read.context)
            assert asked.node_id == node_id
            assert asked.floor <= read.index <= node.core.applied_index
        self.answered[node_id] = len(node.reads)

    @rule(node_id=members, kept=st.integers(0, 3))
    def crash(self, node_id: int, kept: int) -> None:
        """Of a save that is under way some first part may have come to the disk."""
        node = self.node(node_id)
        ready = self.work.pop(node_id, None)
        if ready is not None and kept:
            node.disk.save(ready, kept - 1)
        node.now_ms = self.cluster.now_ms
        node.start()

    # --- the world

    @rule(node_id=members)
    def tick(self, node_id: int) -> None:
        core = self.node(node_id).core
        deadline = core.next_deadline_ms()
        if deadline is not None:
            self.cluster.now_ms = max(self.cluster.now_ms, deadline)
            core.tick(self.cluster.now_ms)

    @precondition(lambda self: self.cluster.mail)
    @rule(chance=chances, again=st.booleans())
    def deliver(self, chance: int, again: bool) -> None:
        """Any message may come next, or twice."""
        number = chance % len(self.cluster.mail)
        item = self.cluster.mail[number]
        if not again:
            del self.cluster.mail[number]
        self.cluster.core(item.to).step(item, self.cluster.now_ms)

    @precondition(lambda self: self.cluster.mail)
    @rule(chance=chances)
    def lose(self, chance: int) -> None:
        self.report(self.cluster.mail.pop(chance % len(self.cluster.mail)))

    def report(self, lost: Message) -> None:
        if isinstance(lost.body, InstallSnapshot):
            self.cluster.core(lost.sender).snapshot_failed(lost.to)

    @rule(count=st.integers(5, 60))
    def work_on(self, count: int) -> None:
        """A while in which all goes well."""
        for number in range(count):
            for node_id in NODES:
                self.take(node_id)
                self.save(node_id)
            if self.cluster.mail:
                self.deliver(0, False)
            elif number % 3 == 2:
                self.tick(NODES[number % len(NODES)])

    # --- demands

    @rule(node_id=members, count=st.integers(1, 3))
    def propose(self, node_id: int, count: int) -> None:
        core = self.node(node_id).core
        if core.role is Role.LEADER:
            self.serial += 1
            try:
                core.propose([b"%d.%d" % (self.serial, part) for part in range(count)])
            except NotLeaderError:
                return  # It is handing over.

    @rule(node_id=members, patience_ms=st.sampled_from((0, TIMING.heartbeat_ms)))
    def read(self, node_id: int, patience_ms: int) -> None:
        core = self.node(node_id).core
        if core.role is Role.LEADER:
            self.serial += 1
            self.asked[self.serial] = Asked(node_id, self.end)
            core.read_index(self.serial, patience_ms=patience_ms)

    @rule(node_id=members, to=members, observed=members)
    def change(self, node_id: int, to: int, observed: int) -> None:
        """Add or remove a voter."""
        core = self.node(node_id).core
        kept = [item for item in core.voters if item.node_id != to]
        if len(kept) == len(core.voters):
            kept.append(voter(to))
        core.set_observers([NodeId(observed)])
        try:
            core.propose_voters(tuple(sorted(kept, key=lambda item: item.node_id)), b"voters")
        except (NotLeaderError, InvalidRequestError):
            return

    @rule(node_id=members, to=members)
    def transfer(self, node_id: int, to: int) -> None:
        try:
            self.node(node_id).core.transfer(NodeId(to))
        except (NotLeaderError, InvalidRequestError):
            return

    @rule(node_id=members)
    def compact(self, node_id: int) -> None:
        node = self.node(node_id)
        if node_id in self.work or node.core.applied_index <= node.core.snapshot_point.index:
            return
        if node.core.has_ready():
            return  # A snapshot may be about to be installed.
        snapshot = node.core.applied_snapshot
        node.disk.snapshot = snapshot
        node.disk.entries = [
            item for item in node.disk.entries if item.index >= snapshot.point.index
        ]
        node.core.compact(snapshot)

    # --- what holds

    @invariant()
    def one_leader_a_term(self) -> None:
        for node_id, node in self.cluster.nodes.items():
            if node.core.role is Role.LEADER:
                assert self.leaders.setdefault(node.core.term, node_id) == node_id

    @invariant()
    def indexes_are_in_order(self) -> None:
        for node in self.cluster.nodes.values():
            core = node.core
            assert core.applied_index <= core.commit_index <= core.end_index
            assert (core.leader_id == node.node_id) is (core.role is Role.LEADER)

    @invariant()
    def equal_points_have_equal_histories(self) -> None:
        seen: dict[tuple[int, int], Entry] = {}
        for node in self.cluster.nodes.values():
            for item in node.disk.entries:
                assert seen.setdefault((item.term, item.index), item) == item

    def teardown(self) -> None:
        """Without faults the group finds a leader, and everybody applies the same."""
        for node_id in NODES:
            self.crash(node_id, 1)
        self.cluster.mail.clear()
        self.cluster.run(20 * TIMING.election_timeout_ms_max, step_ms=100)
        (leader,) = self.cluster.leaders()
        self.cluster.core(leader).set_observers([NodeId(node_id) for node_id in NODES])
        self.cluster.core(leader).propose([b"last"])
        self.cluster.run(10 * TIMING.heartbeat_ms)
        ends = {node.core.applied_index for node in self.cluster.nodes.values()}
        assert ends == {self.cluster.core(leader).end_index}
        assert all(node.core.has_caught_up for node in self.cluster.nodes.values())
        last = self.cluster[leader].disk.entries
        assert all(self.truth.get(item.index, item) == item for item in last)


TestGroupUnderFaults = GroupUnderFaults.TestCase
TestGroupUnderFaults.settings = settings(stateful_step_count=60, max_examples=60)


@pytest.mark.proof
def test_long_runs() -> None:
    run_state_machine_as_test(
        GroupUnderFaults, settings=settings(max_examples=1_000, stateful_step_count=300)
    )
