"""After the faults: a leader, progress, everything applied everywhere, and then quiet.

A stable cluster stays stable: no election without a reason, no term disturbed by a node that
restarts, comes back from a long cut, or was removed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from logd.consensus import RaftCore, Role
from logd.consensus.log_types import Voters
from logd.model.ids import NodeId
from tests.sim.raft.demands import with_voter, without
from tests.sim.raft.node import SimNode
from tests.sim.raft.oracle import Violation, is_among

if TYPE_CHECKING:
    from tests.sim.raft.simulation import Simulation

#: Bounds of what peace may take, in longest election timeouts.
ELECTION = 25
PROGRESS = 8
QUIET = 4

_CHANGES = {1: "voter added", -1: "voter removed", 0: "address changed"}
_NO_CHANGE = "voters written down as they are"


class Peace:
    """The last part of a run."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._timeout = world.profile.timing.election_timeout_ms_max
        #: Nodes that the others have to do without.
        self._down: set[NodeId] = set()

    def keep(self) -> None:
        """Heal everything and see that the cluster does its work. Raises Violation."""
        world = self._world
        self._heal()
        if world.rng.random() < 0.3:
            self._do_without_some()
        self._wait(self._is_settled, ELECTION, "a leader whom everybody follows")
        self._replace_lost()
        self._make_progress()
        if len(self._voters()) >= 3 and world.profile.formation:
            world.sometimes("founder grew to three")
        self._stay_quiet("nothing happens")
        if world.rng.random() < 0.4:
            self._restart_one()
        if world.rng.random() < 0.3:
            self._cut_one_off()
        if world.rng.random() < 0.3:
            self._transfer()
        self._close()

    # --- what is looked at

    def _leader(self) -> SimNode | None:
        """The only leader, if there is exactly one and no higher term among the members."""
        leaders = [node for node in self._world.nodes.values() if node.is_leader]
        return leaders[0] if len(leaders) == 1 else None

    def _leading(self) -> tuple[SimNode, RaftCore]:
        node = self._leader()
        if node is None or node.core is None:
            raise Violation("the leader is gone again")
        return node, node.core

    def _voters(self) -> Voters:
        return self._leading()[1].voters

    def _members(self, core: RaftCore) -> list[SimNode]:
        """Who has to follow: voters with their directories, and who is sent the log."""
        world = self._world
        healthy = {voter.node_id for voter in core.voters if world.is_healthy(voter)}
        lost = {voter.node_id for voter in core.voters} - healthy
        return [
            node
            for node in world.nodes.values()
            if node.node_id not in self._down
            and (node.node_id in healthy or (world.observe and node.node_id not in lost))
        ]

    def _is_settled(self) -> bool:
        """Whether one leads, everybody follows and has applied all there is."""
        leader = self._leader()
        if leader is None or leader.core is None:
            return False
        core = leader.core
        if not is_among(leader.voter, core.voters):
            return False
        if core.applied_index != core.end_index or not core.has_caught_up:
            return False
        return all(self._follows(node, leader, core) for node in self._members(core))

    def _follows(self, node: SimNode, leader: SimNode, leading: RaftCore) -> bool:
        core = node.core
        return (
            core is not None
            and core.term == leading.term
            and core.leader_id == leader.node_id
            and (node is leader or core.role is Role.FOLLOWER)
            and core.applied_index == leading.end_index
            and core.has_caught_up
        )

    def _wait(self, reached: Callable[[], bool], timeouts: int, what: str) -> None:
        world = self._world
        limit = world.now_ms + timeouts * self._timeout
        while not reached():
            if world.now_ms >= limit:
                raise Violation(f"no progress: {what}, after {timeouts} timeouts; {self._sight()}")
            world.run_until(world.now_ms + 20)

    def _sight(self) -> str:
        """What every node looks like."""
        return "; ".join(
            f"{node.node_id}: "
            + (
                "down"
                if node.core is None
                else f"{node.core.role.value} of {node.core.leader_id} in {node.core.term}, "
                f"{node.core.applied_index}/{node.core.commit_index}/{node.core.end_index}, "
                f"voters {[voter.node_id for voter in node.core.voters]}"
            )
            for node in self._world.nodes.values()
        )

    # --- what is done

    def _heal(self) -> None:
        world = self._world
        world.trace("peace", 0)
        world.faulty = False
        world.network.heal()
        for node in world.nodes.values():
            node.full_until_ms, node.save_ms, node.next_save_fails = 0.0, 0, False
            node.drift(world.rng.choice((0.95, 1.0, 1.05)))
            if node.core is None:
                node.start()
            else:
                node.resume()
        for node in world.nodes.values():
            if node.is_leader:
                node.observers_changed()

    def _do_without_some(self) -> None:
        """As long as every voter set has a majority left, there is progress; then all come back."""
        world = self._world
        for node in world.rng.sample(list(world.nodes.values()), len(world.nodes)):
            if self._is_dispensable(node):
                self._down.add(node.node_id)
                node.crash()
        if self._down:
            world.sometimes("progress of a majority")
            self._wait(self._is_settled, ELECTION, f"a leader without {self._down}")
            self._make_progress()
        for node_id in sorted(self._down):
            world.nodes[node_id].start()
        self._down.clear()

    def _is_dispensable(self, node: SimNode) -> bool:
        """Whether every voter set in force anywhere has a majority of nodes that still run."""
        world = self._world
        gone = self._down | {node.node_id}
        return all(
            2 * sum(world.is_healthy(v) and v.node_id not in gone for v in voters) > len(voters)
            for voters in world.voter_sets()
        )

    def _replace_lost(self) -> None:
        """Voters that lost their directories are removed, and added as they are now."""
        world = self._world
        while True:
            lost = [voter for voter in self._voters() if not world.is_healthy(voter)]
            if not lost:
                return
            node = world.nodes[lost[0].node_id]
            self._change(without(self._voters(), lost[0]))
            self._change(with_voter(self._voters(), node.voter))
            world.sometimes("voter replaced")

    def _change(self, voters: Voters) -> None:
        propose = self._world.demands.propose_voters
        # A transfer of leadership may still be under way.
        self._wait(
            lambda: self._is_settled() and propose(self._leading()[0], voters),
            PROGRESS,
            f"a leader takes {voters}",
        )
        self._wait(self._is_settled, PROGRESS, f"new voters {voters}")

    def _make_progress(self) -> None:
        """A proposal and a read, by whoever leads."""
        demands = self._world.demands
        before = self._leading()[1].end_index
        self._wait(
            lambda: self._is_settled() and demands.propose_to(self._leading()[0]) is not None,
            PROGRESS,
            "a leader takes a proposal",
        )
        demands.read()
        self._wait(self._is_settled, PROGRESS, "a proposal")
        if self._leading()[1].applied_index <= before:
            raise Violation("a proposal was lost in peace")

    def _stay_quiet(self, what: str) -> None:
        """For several timeouts nobody's term changes, and the leader stays."""
        world = self._world
        leader, core = self._leading()
        term, before = core.term, self._terms()
        members = {node.node_id for node in self._members(core)}
        world.run_until(world.now_ms + QUIET * self._timeout)
        now = self._terms()
        disturbed = any(
            now[one] != before[one] if one in members else now[one] > max(term, before[one])
            for one in now
        )
        if self._leader() is not leader or disturbed:
            raise Violation(f"no quiet although {what}: {before} before; {self._sight()}")

    def _terms(self) -> dict[int, int]:
        return {
            node.node_id: node.core.term if node.core else -1 for node in self._world.nodes.values()
        }

    def _restart_one(self) -> None:
        world = self._world
        leader, _ = self._leading()
        others = [node for node in world.nodes.values() if node is not leader]
        if not others:
            return
        node = world.rng.choice(others)
        node.crash()
        node.start()
        self._stay_quiet(f"node {node.node_id} restarted")
        self._wait(self._is_settled, PROGRESS, "the restarted node")

    def _cut_one_off(self) -> None:
        """A node that a majority can do without is cut off for several timeouts."""
        world = self._world
        leader, core = self._leading()
        if len(core.voters) < 3:
            return
        others = [node for node in world.nodes.values() if node is not leader]
        one = world.rng.choice(others).node_id
        world.network.blocked = {link for link in self._links() if one in link}
        world.run_until(world.now_ms + QUIET * self._timeout)
        world.network.blocked = set()
        world.trace("rejoins", one)
        self._stay_quiet(f"node {one} was cut off and came back")
        self._wait(self._is_settled, PROGRESS, "the node that was cut off")

    def _links(self) -> list[tuple[int, int]]:
        ids = sorted(self._world.nodes)
        return [(a, b) for a in ids for b in ids if a != b]

    def _transfer(self) -> None:
        world = self._world
        leader, core = self._leading()
        others = [voter.node_id for voter in core.voters if voter.node_id != leader.node_id]
        if not others:
            return
        to = world.nodes[world.rng.choice(others)]
        leader.ask(lambda core: core.transfer(to.node_id))
        self._wait(lambda: self._leader() is to and self._is_settled(), 2, "a transfer")
        world.sometimes("transfer done")

    def _close(self) -> None:
        """Nobody waits for a read, and the voters hold everything on their disks."""
        world = self._world
        for node in world.nodes.values():
            if node.reads:
                raise Violation(f"node {node.node_id} has forgotten the reads {node.reads}")
        end, (_, core) = world.oracle.end, self._leading()
        if any(not is_among(node.voter, core.voters) for node in self._members(core)):
            world.sometimes("observer caught up")
        for before, now in world.oracle.changes:
            change = _CHANGES[(len(now) > len(before)) - (len(now) < len(before))]
            world.sometimes(_NO_CHANGE if now == before else change)
        for voter in self._voters():
            if not world.disks[voter.directory_id].holds(end.term, end.index):
                raise Violation(f"{voter} does not hold {end}")
