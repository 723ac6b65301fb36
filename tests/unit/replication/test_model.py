"""Any history of three replicas: what is committed stays, everywhere, and all come to agree."""

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

from logd.model.ids import NodeId
from tests.unit.replication.world import World

which = st.sampled_from([NodeId(1), NodeId(2), NodeId(3)])
some = st.integers(0, 30)


class Replication(RuleBasedStateMachine):
    @initialize(min_isr=st.sampled_from([1, 2, 2, 3]))
    def begin(self, min_isr: int) -> None:
        self.world = World(min_isr)

    # --- records ---------------------------------------------------------------------------------

    @rule(count=st.integers(1, 5), durable=st.booleans())
    def produce(self, count: int, durable: bool) -> None:
        for node in self.world.nodes.values():
            for _ in range(count):
                self.world.produce(node)
            if durable and node.leader is not None:
                self.world.sync(node)

    @rule(node_id=which)
    def sync(self, node_id: NodeId) -> None:
        self.world.sync(self.world.nodes[node_id])

    @rule(node_id=which)
    def trim(self, node_id: NodeId) -> None:
        self.world.trim(self.world.nodes[node_id])

    @rule(node_id=which)
    def compact(self, node_id: NodeId) -> None:
        self.world.compact(self.world.nodes[node_id])

    @rule(node_id=which, end=st.integers(0, 20))
    def roll_back(self, node_id: NodeId, end: int) -> None:
        self.world.roll_back(self.world.nodes[node_id], end)

    @rule(node_id=which, end=st.integers(0, 12), count=st.integers(0, 8), rounds=st.integers(0, 6))
    def fall_behind(self, node_id: NodeId, end: int, count: int, rounds: int) -> None:
        """Everybody has much, one is away and loses some of it, the others forget; it comes back,
        and is copied from one leader or two, who go on forgetting."""
        world, node = self.world, self.world.nodes[node_id]
        others = {*world.nodes} - {node_id}
        for each in world.nodes.values():
            for _ in range(count):
                world.produce(each)
        self.calm({*world.nodes}, 8)
        world.crash(node, 0)
        world.fence(node_id)
        self.calm(others, 6)
        world.roll_back(node, end)
        for other in sorted(others):
            world.compact(world.nodes[other])
        self.calm({*world.nodes}, rounds)
        self.crash_leader(0)
        self.calm(others, 2)
        for other in sorted(others):
            world.compact(world.nodes[other])
        self.calm({*world.nodes}, 6)

    @rule(node_id=which)
    def store(self, node_id: NodeId) -> None:
        self.world.store(self.world.nodes[node_id])

    # --- the network -----------------------------------------------------------------------------

    @precondition(lambda self: self.world.positions)
    @rule(back=some)
    def deliver(self, back: int) -> None:
        positions = self.world.positions
        self.world.deliver(positions[max(len(positions) - 1 - back // 4, 0)])

    @rule(node_id=which)
    def receive(self, node_id: NodeId) -> None:
        self.world.receive(self.world.nodes[node_id])

    @rule(node_id=which)
    def connect(self, node_id: NodeId) -> None:
        self.world.connect(self.world.nodes[node_id])

    @rule(node_id=which, rounds=st.integers(1, 4))
    def copy(self, node_id: NodeId, rounds: int) -> None:
        """A follower and its leader go on without trouble."""
        node = self.world.nodes[node_id]
        for _ in range(rounds):
            for position in [p for p in self.world.positions if p.sender == node_id][-1:]:
                self.world.deliver(position)
            self.world.receive(node)
            self.world.sync(node)

    @rule(reached=st.sets(which, min_size=2), rounds=st.integers(1, 6))
    def calm(self, reached: set[NodeId], rounds: int) -> None:
        for node_id in sorted(reached):
            self.world.restart(self.world.nodes[node_id])
            self.world.unfence(node_id)
        for _ in range(rounds):
            self.world.calm_round(reached)

    @rule(kept=st.integers(0, 3))
    def crash_leader(self, kept: int) -> None:
        """Its records were written on the way, and it is fenced when it is gone."""
        for node in self.world.nodes.values():
            if node.leader is not None:
                self.world.crash(node, kept)
                self.world.fence(node.node_id)

    # --- the controller --------------------------------------------------------------------------

    @precondition(lambda self: self.world.copies)
    @rule(index=some)
    def decide(self, index: int) -> None:
        self.world.decide(self.world.copies[-1 - index % len(self.world.copies)])

    @precondition(lambda self: self.world.copies)
    @rule(index=some)
    def lose_answer(self, index: int) -> None:
        self.world.lose_answer(self.world.copies[-1 - index % len(self.world.copies)])

    @precondition(lambda self: self.world.copies)
    @rule()
    def refuse(self) -> None:
        self.world.refuse(self.world.copies[-1])

    @rule(node_id=which, everything=st.booleans())
    def learn(self, node_id: NodeId, everything: bool) -> None:
        self.world.learn(self.world.nodes[node_id], everything=everything)

    @rule(node_id=which)
    def fence(self, node_id: NodeId) -> None:
        self.world.fence(node_id)

    @rule(node_id=which)
    def unfence(self, node_id: NodeId) -> None:
        self.world.unfence(node_id)

    # --- time and crashes ------------------------------------------------------------------------

    @rule(ms=st.sampled_from([50, 200, 1_000, 3_000]))
    def pass_time(self, ms: int) -> None:
        self.world.pass_time(ms)

    @rule(node_id=which, kept=st.integers(0, 3), comes_back=st.booleans())
    def crash(self, node_id: NodeId, kept: int, comes_back: bool) -> None:
        node = self.world.nodes[node_id]
        self.world.crash(node, kept)
        if comes_back:
            self.world.restart(node)

    @rule(node_id=which)
    def restart(self, node_id: NodeId) -> None:
        self.world.restart(self.world.nodes[node_id])

    @invariant()
    def what_is_committed_stays(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.calm_down()


TestReplication = Replication.TestCase
TestReplication.settings = settings(max_examples=300, stateful_step_count=60)


@pytest.mark.proof
def test_long_runs() -> None:
    run_state_machine_as_test(
        Replication, settings=settings(max_examples=2_000, stateful_step_count=200)
    )
