"""Every history of a small cluster: three voters, a few elections, proposals and crashes.

Breadth first over the real core: in each state every message that is under way may arrive or be
left lying (which is a loss as long as it lies), any follower's patience may end, a leader may
speak, a client may propose, a node may crash. States that were seen are not looked at again. Saves
are one step here; what a crash leaves of half a save is the business of the random simulation.

Nodes that do not lead share one clock, which moves when one of them runs out of patience; a
leader's clock stands still but for its own heartbeats: it may lead on without noticing.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from logd_wire.errors import NotLeaderError

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


@dataclass(frozen=True, slots=True)
class Budget:
    """How often each of these may still happen."""

    timeouts: int = 3
    heartbeats: int = 1
    proposals: int = 2
    crashes: int = 1


@dataclass(frozen=True, slots=True)
class Node:
    """One node between two steps. `core` is pickled; `key` says the same for comparison."""

    core: bytes
    key: int
    hard_state: HardState
    entries: tuple[Entry, ...]
    applied: tuple[Entry, ...]
    role: Role
    term: Term
    commit_index: LogIndex
    deadline_ms: int | None


@dataclass(frozen=True, slots=True)
class State:
    """`leaders` and `committed` are what the history has shown so far."""

    nodes: tuple[Node, ...]
    mail: tuple[Message, ...]
    budget: Budget
    clock_ms: int
    leaders: tuple[tuple[Term, int], ...]
    committed: tuple[Entry, ...]

    def key(self) -> int:
        nodes = tuple(node.key for node in self.nodes)
        mail = frozenset(self.mail)
        return hash((nodes, mail, self.budget, self.leaders, self.committed))


@dataclass(slots=True)
class Result:
    """`problem` with the steps that lead to it; empty if there is none."""

    states: int
    transitions: int
    depth: int
    problem: str
    path: tuple[str, ...]


def steady() -> float:
    """Chance has no part in this."""
    return 0.5


def canonical(value: object) -> object:
    """Everything that an object consists of, as nested tuples."""
    if isinstance(value, int | str | bytes | None | float):
        return value
    if isinstance(value, dict):
        return tuple((canonical(key), canonical(item)) for key, item in value.items())
    if isinstance(value, list | tuple | deque):
        return tuple(canonical(item) for item in value)
    if isinstance(value, Role):
        return value.value
    try:
        return hash(value) if type(value).__hash__ is not object.__hash__ else _parts(value)
    except TypeError:
        return _parts(value)


def _parts(value: object) -> object:
    names = getattr(value, "__dict__", None)
    if names is None:
        return repr(type(value))
    return tuple((name, canonical(item)) for name, item in names.items() if not callable(item))


def identity(number: int) -> Identity:
    voter = VOTERS[number]
    return Identity(CLUSTER, voter.node_id, voter.directory_id)


def boot(number: int, hard_state: HardState, entries: tuple[Entry, ...], now_ms: int) -> RaftCore:
    """A core over what is durable."""
    return RaftCore(
        identity(number),
        hard_state=hard_state,
        snapshot=None,
        entries=entries,
        founder=False,
        address="",
        timing=TIMING,
        random=steady,
        now_ms=now_ms,
    )


class Step:
    """One node does one thing, and all the work that follows from it."""

    def __init__(self, state: State, number: int) -> None:
        self.state = state
        self.number = number
        node = state.nodes[number]
        self.hard_state, self.entries, self.applied = node.hard_state, node.entries, node.applied
        self.mail = list(state.mail)
        self.committed = list(state.committed)

    def finish(
        self, core: RaftCore, budget: Budget | None = None, clock_ms: int | None = None
    ) -> State:
        """Work, look at what came of it, and return the state behind."""
        while core.has_ready():
            ready = core.ready()
            self.hard_state = ready.hard_state or self.hard_state
            if ready.entries:
                kept = [entry for entry in self.entries if entry.index < ready.entries[0].index]
                self.entries = (*kept, *ready.entries)
            for message in (*ready.messages_now, *ready.messages):
                if message not in self.mail:
                    self.mail.append(message)
            for entry in ready.committed:
                self._apply(entry)
            core.advance(ready)
        return self._state(core, budget, clock_ms)

    def _apply(self, entry: Entry) -> None:
        self.applied = (*self.applied, entry)
        position = len(self.applied) - 1
        if position < len(self.committed):
            if self.committed[position] != entry:
                raise Violation(f"{entry} and {self.committed[position]} are committed")
        else:
            self.committed.append(entry)

    def _state(self, core: RaftCore, budget: Budget | None, clock_ms: int | None) -> State:
        before = self.state
        node = Node(
            core=pickle.dumps(core),
            key=hash((canonical(core), self.hard_state, self.entries, self.applied)),
            hard_state=self.hard_state,
            entries=self.entries,
            applied=self.applied,
            role=core.role,
            term=core.term,
            commit_index=core.commit_index,
            deadline_ms=core.next_deadline_ms(),
        )
        nodes = list(before.nodes)
        nodes[self.number] = node
        return State(
            tuple(nodes),
            tuple(self.mail),
            budget or before.budget,
            before.clock_ms if clock_ms is None else clock_ms,
            self._leaders(core),
            tuple(self.committed),
        )

    def _leaders(self, core: RaftCore) -> tuple[tuple[Term, int], ...]:
        """One leader a term, who has everything that is committed."""
        leaders = self.state.leaders
        if core.role is not Role.LEADER or (core.term, self.number) in leaders:
            return leaders
        if any(term == core.term for term, _ in leaders):
            raise Violation(f"two leaders in term {core.term}")
        if any(entry not in self.entries for entry in self.committed):
            raise Violation(f"the leader of term {core.term} lacks what is committed")
        return tuple(sorted((*leaders, (core.term, self.number))))


def start(budget: Budget) -> State:
    """Three voters, as if the first had founded the cluster; nobody leads."""
    nodes: tuple[Node, ...] = ()
    for number in range(3):
        hard_state = HardState(Term(1), NO_NODE, identity(number), number == 0)
        core = boot(number, hard_state, SEATED, 0)
        nodes = (
            *nodes,
            Node(
                pickle.dumps(core),
                hash(canonical(core)),
                hard_state,
                SEATED,
                (),
                core.role,
                core.term,
                core.commit_index,
                core.next_deadline_ms(),
            ),
        )
    return State(nodes, (), budget, 0, (), ())


def successors(state: State) -> Iterator[tuple[str, State]]:
    """Everything that may happen next."""
    for position, message in enumerate(state.mail):
        number = message.to - 1
        core: RaftCore = pickle.loads(state.nodes[number].core)
        step = Step(state, number)
        del step.mail[position]
        core.step(message, state.clock_ms if core.role is not Role.LEADER else 0)
        yield f"{message}", step.finish(core)
    for number in range(3):
        yield from _own_steps(state, number)


def _own_steps(state: State, number: int) -> Iterator[tuple[str, State]]:
    node, budget = state.nodes[number], state.budget
    timeouts, heartbeats, proposals, crashes = (
        budget.timeouts,
        budget.heartbeats,
        budget.proposals,
        budget.crashes,
    )
    if node.role is not Role.LEADER and timeouts and node.deadline_ms is not None:
        core: RaftCore = pickle.loads(node.core)
        clock_ms = max(state.clock_ms, node.deadline_ms)
        # The clock shows the very deadline: this node did not stand still.
        core.tick(node.deadline_ms)
        spent = Budget(timeouts - 1, heartbeats, proposals, crashes)
        yield f"{number + 1} loses patience", Step(state, number).finish(core, spent, clock_ms)
    if node.role is Role.LEADER and heartbeats and node.deadline_ms is not None:
        core = pickle.loads(node.core)
        core.tick(node.deadline_ms)
        spent = Budget(timeouts, heartbeats - 1, proposals, crashes)
        yield f"{number + 1} speaks", Step(state, number).finish(core, spent)
    if node.role is Role.LEADER and proposals:
        core = pickle.loads(node.core)
        try:
            core.propose([b"proposal %d" % proposals])
        except NotLeaderError:
            return
        spent = Budget(timeouts, heartbeats, proposals - 1, crashes)
        yield f"{number + 1} proposes", Step(state, number).finish(core, spent)
    if crashes:
        step = Step(state, number)
        step.applied = ()
        core = boot(number, node.hard_state, node.entries, state.clock_ms)
        spent = Budget(timeouts, heartbeats, proposals, crashes - 1)
        yield f"{number + 1} crashes", step.finish(core, spent)


def explore(budget: Budget, states_max: int) -> Result:
    """Look at states in the order of their distance from the start."""
    first = start(budget)
    seen = {first.key()}
    came_from: dict[int, tuple[int, str]] = {}
    queue = deque([(first, 0)])
    transitions = depth = 0
    while queue:
        state, depth = queue.popleft()
        here = state.key()
        following = successors(state)
        while True:
            try:
                name, next_state = next(following)
            except StopIteration:
                break
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                return Result(len(seen), transitions, depth, problem, _path(came_from, here))
            transitions += 1
            key = next_state.key()
            if key not in seen and len(seen) < states_max:
                seen.add(key)
                came_from[key] = (here, name)
                queue.append((next_state, depth + 1))
    return Result(len(seen), transitions, depth, "", ())


def _path(came_from: dict[int, tuple[int, str]], key: int) -> tuple[str, ...]:
    steps: list[str] = []
    while key in came_from:
        key, name = came_from[key]
        steps.append(name)
    return tuple(reversed(steps))
