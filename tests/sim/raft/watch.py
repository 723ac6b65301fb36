"""Compares what a core says of itself before and after each call."""

from __future__ import annotations

from typing import Any, Protocol

from logd.consensus import RaftCore, Role
from logd.consensus.log_types import Voter, Voters
from logd.model.ids import LogIndex, NodeId, Term
from tests.sim.raft.clock import DriftingClock
from tests.sim.raft.coverage import Sometimes
from tests.sim.raft.oracle import Oracle, Violation, is_among
from tests.sim.raft.profile import Profile


class Watched(Protocol):
    """The node that the core belongs to."""

    @property
    def node_id(self) -> NodeId: ...

    @property
    def voter(self) -> Voter: ...

    @property
    def clock(self) -> DriftingClock: ...


class Surroundings(Protocol):
    """What a look needs of the run."""

    @property
    def now_ms(self) -> float: ...

    @property
    def oracle(self) -> Oracle: ...

    @property
    def sometimes(self) -> Sometimes: ...

    @property
    def profile(self) -> Profile: ...

    def trace(self, kind: str, node_id: int, *values: object) -> None: ...

    def on_leader(self, node: Any) -> None: ...


class Watch:
    """The last look at a core. One for each time that a node runs."""

    def __init__(self, world: Surroundings) -> None:
        self._world = world
        self.role = Role.FOLLOWER
        self.term = Term(0)
        self._commit = LogIndex(0)
        self._voters: Voters = ()
        #: A leader whose log was not looked at yet.
        self.unproved = False
        #: When it began to lead these voters, by the node's clock.
        self._led_since_ms = 0
        #: When the others were heard of last, by the node's clock.
        self.heard: dict[NodeId, int] = {}

    def begin(self, core: RaftCore) -> None:
        """A first look."""
        self.role, self.term = core.role, core.term
        self._commit, self._voters = core.commit_index, core.voters

    def look(self, node: Watched, core: RaftCore, cause: str) -> bool:
        """Look again, after a call; whether it leads since then, or leads other voters.

        `cause` names the call.
        """
        role, term, commit, voters = core.role, core.term, core.commit_index, core.voters
        if commit != self._commit:
            self._check_commit(node, role, term, commit, voters)
        leads = role is Role.LEADER and voters is not self._voters
        if role is not self.role or term != self.term:
            self._check_role(node, cause, role, term)
            leads |= role is Role.LEADER
        if leads:
            self._led_since_ms = node.clock.at(self._world.now_ms)
            self.heard.clear()
        self.role, self.term, self._commit, self._voters = role, term, commit, voters
        return leads

    def _check_commit(
        self, node: Watched, role: Role, term: Term, commit: LogIndex, voters: Voters
    ) -> None:
        oracle = self._world.oracle
        if commit < self._commit:
            raise Violation(f"node {node.node_id}: commit went from {self._commit} to {commit}")
        led = self.role is Role.LEADER and self.term == term
        if led or (role is Role.LEADER and commit > oracle.commit_index):
            oracle.on_commit_of_leader(node.node_id, term, commit, self._voters, voters)
        else:
            oracle.on_commit_of_follower(node.node_id, commit)

    def _check_role(self, node: Watched, cause: str, role: Role, term: Term) -> None:
        world, sometimes = self._world, self._world.sometimes
        world.trace("role", node.node_id, role.value, term)
        if term < self.term:
            raise Violation(f"node {node.node_id}: its term went from {self.term} to {term}")
        if self.role is Role.LEADER:
            if term > self.term:
                sometimes("leader met a higher term")
            elif cause == "tick":
                sometimes("check-quorum step-down")
            else:
                sometimes("leader removed itself")
        elif self.role is Role.CANDIDATE and role is not Role.LEADER:
            sometimes("candidate without majority")
        elif self.role is Role.PRE_CANDIDATE and role is Role.FOLLOWER:
            sometimes("pre-vote lost")
        if role is Role.PRE_CANDIDATE and not is_among(node.voter, world.oracle.end.voters):
            sometimes("removed node campaigned")
        if role is Role.LEADER:
            world.oracle.on_leader(node.node_id, term)
            self.unproved = True
            world.on_leader(node)

    def check_quorum(self, node: Watched, core: RaftCore, now_ms: int) -> None:
        """A leader that hears of no majority does not lead for long."""
        since_ms = now_ms - 2 * self._world.profile.timing.election_timeout_ms_max
        heard = sum(
            voter.node_id == node.node_id
            or self.heard.get(voter.node_id, self._led_since_ms) > since_ms
            for voter in core.voters
        )
        if 2 * heard <= len(core.voters) and self._led_since_ms < since_ms:
            raise Violation(f"node {node.node_id} leads {core.term} without a majority")
