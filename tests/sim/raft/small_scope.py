"""Every history of a small cluster: three voters, a few elections, proposals and crashes.

Breadth first over the real core: in each state every message that is under way may arrive or be
left lying (which is a loss as long as it lies), any follower's patience may end, a leader may
speak, a client may propose, a node may crash. States that were seen are not looked at again. Saves
are one step here; what a crash leaves of half a save is the business of the random simulation.

Nodes that do not lead share one clock, which moves when one of them runs out of patience; a
leader's clock stands still but for its own heartbeats: it may lead on without noticing.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from logd.consensus import Entry, HardState, Identity, RaftCore, RaftTiming, Role
from logd.consensus.log_types import NO_OP, Voter, Voters
from logd.consensus.messages import Message
from logd.model.ids import NO_NODE, ClusterId, DirectoryId, LogIndex, NodeId, Term
from tests.sim.raft.oracle import Violation

TIMING = RaftTiming(100, 300, 600)
CLUSTER = ClusterId(b"c" * 16)
VOTERS: Voters = tuple(Voter(NodeId(n), DirectoryId(b"%016d" % n), "") for n in (1, 2, 3))
SEATED = tuple(
    Entry(LogIndex(n), Term(1), (b"%d" % n if n else NO_OP,), VOTERS[: n + 1] if n else None)
    for n in range(3)
)


class Budget(NamedTuple):
    """How often each of these may still happen."""

    timeouts: int = 2
    heartbeats: int = 1
    proposals: int = 2
    crashes: int = 1


class Node(NamedTuple):
    """One node between two steps. `core` is pickled; `key` says the same for comparison."""

    number: int
    core: bytes
    key: int
    hard_state: HardState
    entries: tuple[Entry, ...]
    applied: tuple[Entry, ...]
    role: Role
    term: Term
    deadline_ms: int | None


class State(NamedTuple):
    """`leaders` and `committed` are what the history has shown so far.

    `committed`: entries, and the term of who applied them first.
    """

    nodes: tuple[Node, ...]
    mail: frozenset[Message]
    budget: Budget
    clock_ms: int
    leaders: frozenset[tuple[Term, int]]
    committed: tuple[tuple[Entry, Term], ...]

    def key(self) -> int:
        nodes = tuple(node.key for node in self.nodes)
        return hash((nodes, self.mail, self.budget, self.leaders, self.committed))


@dataclass(slots=True)
class Result:
    """`problem` with the steps that lead to it; empty if there is none.

    `depth`: all states so many steps from the start were looked at.
    """

    states: int
    transitions: int
    depth: int
    problem: str = ""
    path: tuple[str, ...] = ()


def steady() -> float:
    """Chance has no part in this."""
    return 0.5


def canonical(value: object) -> object:
    """Everything that an object consists of, as nested tuples."""
    if isinstance(value, Role):
        return value.value
    if isinstance(value, int | str | bytes | float | None):
        return value
    if isinstance(value, dict):
        return tuple((canonical(key), canonical(item)) for key, item in value.items())
    if isinstance(value, list | tuple | deque):
        return tuple(canonical(item) for item in value)
    if type(value).__hash__ is not object.__hash__:
        return hash(value)
    parts = vars(value).items()
    return tuple((name, canonical(part)) for name, part in parts if not callable(part))


def boot(number: int, hard_state: HardState, entries: tuple[Entry, ...], now_ms: int) -> RaftCore:
    """A core over what is durable."""
    return RaftCore(
        hard_state.identity,
        hard_state=hard_state,
        snapshot=None,
        entries=entries,
        founder=False,
        address=VOTERS[number].address,
        timing=TIMING,
        random=steady,
        now_ms=now_ms,
    )


def settle(node: Node, core: RaftCore) -> tuple[Node, tuple[Message, ...]]:
    """Let a core do all its work; returns the node behind it, and what it said."""
    hard_state, entries, applied = node.hard_state, node.entries, node.applied
    sent: list[Message] = []
    while core.has_ready():
        ready = core.ready()
        hard_state = ready.hard_state or hard_state
        if ready.entries:
            kept = [entry for entry in entries if entry.index < ready.entries[0].index]
            entries = (*kept, *ready.entries)
        sent += [*ready.messages_now, *ready.messages]
        applied = (*applied, *ready.committed)
        core.advance(ready)
    behind = Node(
        node.number,
        pickle.dumps(core),
        hash((node.number, canonical(core), hard_state, entries, applied)),
        hard_state,
        entries,
        applied,
        core.role,
        core.term,
        core.next_deadline_ms(),
    )
    return behind, tuple(sent)


class Explorer:
    """What one node does in one situation is computed once, however many states share it."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._steps: dict[tuple[object, ...], tuple[Node, tuple[Message, ...]]] = {}

    def start(self) -> State:
        """Three voters, as if the first had founded the cluster; nobody leads."""
        nodes = []
        for number, voter in enumerate(VOTERS):
            identity = Identity(CLUSTER, voter.node_id, voter.directory_id)
            hard_state = HardState(Term(1), NO_NODE, identity, number == 0)
            empty = Node(number, b"", 0, hard_state, SEATED, (), Role.FOLLOWER, Term(1), None)
            nodes.append(settle(empty, boot(number, hard_state, SEATED, 0))[0])
        return State(tuple(nodes), frozenset(), self._budget, 0, frozenset(), ())

    def elected(self) -> State:
        """The first node leads, its first entry is committed, and nothing is under way."""
        state = self._lose_patience(self.start(), self.start().nodes[0])
        while state.mail:
            state = self._deliver(state, min(state.mail, key=repr))
        return state._replace(budget=self._budget)

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        """Everything that may happen next."""
        for message in state.mail:
            yield f"{message}", self._deliver(state, message)
        budget = state.budget
        for node in state.nodes:
            leads = node.role is Role.LEADER
            if budget.timeouts and not leads and node.deadline_ms is not None:
                yield f"{node.number + 1} loses patience", self._lose_patience(state, node)
            if budget.heartbeats and leads:
                yield f"{node.number + 1} speaks", self._speak(state, node)
            if budget.proposals and leads:
                yield f"{node.number + 1} proposes", self._propose(state, node)
            if budget.crashes:
                yield f"{node.number + 1} crashes", self._crash(state, node)

    def _deliver(self, state: State, message: Message) -> State:
        node = state.nodes[message.to - 1]
        clock_ms = 0 if node.role is Role.LEADER else state.clock_ms

        def step() -> tuple[Node, tuple[Message, ...]]:
            core: RaftCore = pickle.loads(node.core)
            core.step(message, clock_ms)
            return settle(node, core)

        left = state._replace(mail=state.mail - {message})
        return self._behind(left, node, (message, clock_ms), step)

    def _lose_patience(self, state: State, node: Node) -> State:
        deadline_ms = node.deadline_ms or 0

        def step() -> tuple[Node, tuple[Message, ...]]:
            core: RaftCore = pickle.loads(node.core)
            # The clock shows the very deadline: this node did not stand still.
            core.tick(deadline_ms)
            return settle(node, core)

        budget = state.budget._replace(timeouts=state.budget.timeouts - 1)
        left = state._replace(budget=budget, clock_ms=max(state.clock_ms, deadline_ms))
        return self._behind(left, node, ("patience",), step)

    def _speak(self, state: State, node: Node) -> State:
        def step() -> tuple[Node, tuple[Message, ...]]:
            core: RaftCore = pickle.loads(node.core)
            core.tick(node.deadline_ms or 0)
            return settle(node, core)

        budget = state.budget._replace(heartbeats=state.budget.heartbeats - 1)
        return self._behind(state._replace(budget=budget), node, ("heartbeat",), step)

    def _propose(self, state: State, node: Node) -> State:
        payload = b"proposal %d" % state.budget.proposals

        def step() -> tuple[Node, tuple[Message, ...]]:
            core: RaftCore = pickle.loads(node.core)
            core.propose([payload])
            return settle(node, core)

        budget = state.budget._replace(proposals=state.budget.proposals - 1)
        return self._behind(state._replace(budget=budget), node, (payload,), step)

    def _crash(self, state: State, node: Node) -> State:
        def step() -> tuple[Node, tuple[Message, ...]]:
            core = boot(node.number, node.hard_state, node.entries, state.clock_ms)
            return settle(node._replace(applied=()), core)

        budget = state.budget._replace(crashes=state.budget.crashes - 1)
        left = state._replace(budget=budget)
        return self._behind(left, node, ("crash", state.clock_ms), step)

    def _behind(
        self,
        state: State,
        node: Node,
        what: tuple[object, ...],
        step: Callable[[], tuple[Node, tuple[Message, ...]]],
    ) -> State:
        """The state behind a step of one node. Raises Violation."""
        situation = (node.key, *what)
        found = self._steps.get(situation)
        if found is None:
            found = self._steps[situation] = step()
        behind, sent = found
        nodes = list(state.nodes)
        nodes[node.number] = behind
        return state._replace(
            nodes=tuple(nodes),
            mail=state.mail.union(sent),
            leaders=leaders_behind(state, behind),
            committed=committed_behind(state, behind),
        )


def leaders_behind(state: State, node: Node) -> frozenset[tuple[Term, int]]:
    """One leader a term, who has everything that is committed. Raises Violation."""
    here = (node.term, node.number)
    if node.role is not Role.LEADER or here in state.leaders:
        return state.leaders
    if any(term == node.term for term, _ in state.leaders):
        raise Violation(f"two leaders in term {node.term}")
    # A leader that was elected late, in an earlier term, need not have what a later one committed.
    if any(entry not in node.entries for entry, term in state.committed if term < node.term):
        raise Violation(f"the leader of term {node.term} lacks what is committed")
    return state.leaders | {here}


def committed_behind(state: State, node: Node) -> tuple[tuple[Entry, Term], ...]:
    """Every node applies the same. Raises Violation."""
    known = state.committed
    for entry, (other, _) in zip(node.applied, known, strict=False):
        if entry != other:
            raise Violation(f"{entry} is applied where {other} was")
    return (*known, *((entry, node.term) for entry in node.applied[len(known) :]))


def explore(first: State, explorer: Explorer, states_max: int) -> Result:
    """Look at states in the order of their distance from the first."""
    came_from: dict[int, tuple[int, str]] = {first.key(): (0, "")}
    queue = deque([(first, 0)])
    result = Result(1, 0, 0)
    while queue:
        state, depth = queue.popleft()
        here = state.key()
        if len(came_from) < states_max:
            result.depth = depth
        try:
            for name, following in explorer.successors(state):
                result.transitions += 1
                key = following.key()
                if key not in came_from and len(came_from) < states_max:
                    came_from[key] = (here, name)
                    queue.append((following, depth + 1))
        except Exception as error:
            result.problem = f"{type(error).__name__}: {error}"
            result.path = _path(came_from, here)
            break
    result.states = len(came_from)
    return result


def _path(came_from: dict[int, tuple[int, str]], key: int) -> tuple[str, ...]:
    steps: list[str] = []
    while came_from[key][1]:
        key, name = came_from[key]
        steps.append(name)
    return tuple(reversed(steps))


#: What may happen, and whether the first node leads already.
SCOPES: tuple[tuple[str, bool, Budget], ...] = (
    ("elections", False, Budget(timeouts=2, heartbeats=0, proposals=0, crashes=1)),
    ("replication", True, Budget(timeouts=0, heartbeats=0, proposals=3, crashes=1)),
    ("succession", True, Budget(timeouts=1, heartbeats=0, proposals=1, crashes=1)),
    ("everything", True, Budget(timeouts=3, heartbeats=1, proposals=3, crashes=2)),
)


def explore_scope(is_led: bool, budget: Budget, states_max: int) -> Result:
    """Explore one scope, up to so many states."""
    explorer = Explorer(budget)
    return explore(explorer.elected() if is_led else explorer.start(), explorer, states_max)


def main(arguments: list[str] | None = None) -> int:
    """`python -m tests.sim.raft.small_scope --states 1000000`; exit 1 if a rule is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.raft.small_scope")
    parser.add_argument("--states", type=int, default=50_000, help="of each scope")
    options = parser.parse_args(arguments)
    failed = 0
    for name, is_led, budget in SCOPES:
        result = explore_scope(is_led, budget, options.states)
        ended = "all of them" if result.states < options.states else f"to depth {result.depth}"
        print(f"{name}, {budget}: {result.states} states ({ended}), {result.transitions} steps")
        if result.problem:
            failed += 1
            print(result.problem, *result.path, sep="\n  ")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
