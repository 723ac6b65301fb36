"""One seed: nodes, network, faults and demands in virtual time, then peace and progress."""

from __future__ import annotations

import hashlib
import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TextIO

from logd.consensus import Entry, HardState, Identity, RaftCore
from logd.consensus.log_types import NO_OP, Voter, Voters
from logd.consensus.messages import InstallSnapshot, Message
from logd.model.ids import NO_NODE, ClusterId, DirectoryId, LogIndex, NodeId, Term
from tests.sim.raft.coverage import Sometimes
from tests.sim.raft.demands import Demands
from tests.sim.raft.disk import Contents, Disk
from tests.sim.raft.faults import Faults
from tests.sim.raft.network import Network
from tests.sim.raft.node import SimNode
from tests.sim.raft.oracle import Oracle, Violation
from tests.sim.raft.peace import Peace
from tests.sim.raft.profile import Profile, draw_profile

CLUSTER = ClusterId(b"raft simulation ")
TAIL = 400


@dataclass(slots=True)
class Outcome:
    """What came of one seed."""

    seed: int
    problem: str
    virtual_ms: float
    events: int
    messages: int
    faults: int
    committed: int
    terms: int
    digest: str
    counts: dict[str, int]
    profile: str
    tail: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {'FAILED ' + self.problem if self.problem else 'ok'}; "
            f"{self.virtual_ms:.0f} virtual ms, {self.events} events, {self.messages} messages, "
            f"{self.faults} faults, {self.committed} committed, {self.terms} terms"
        )


class Simulation:
    """The world of one run; what nodes, faults and demands share."""

    def __init__(
        self,
        seed: int,
        *,
        focus: tuple[str, ...] = (),
        sink: TextIO | None = None,
        digest: bool = False,
    ) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.profile: Profile = draw_profile(self.rng, focus)
        self.now_ms = 0.0
        self.faulty = True
        self.observe = self.profile.observe
        self.sometimes = Sometimes()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._serial = 0
        self.events = 0
        self._tail: deque[tuple[float, str, int, tuple[object, ...]]] = deque(maxlen=TAIL)
        self._sink = sink
        self._digest = hashlib.sha256() if digest else None
        self.disks: dict[DirectoryId, Disk] = {}
        self.network = Network(
            self.rng,
            self.profile,
            schedule=self.schedule,
            deliver=self._deliver,
            lost=self._lost,
            sometimes=self.sometimes,
        )
        self._make_nodes()
        self.demands = Demands(self)
        self.faults = Faults(self)

    # --- the start

    def _make_nodes(self) -> None:
        profile = self.profile
        self.nodes: dict[NodeId, SimNode] = {}
        disks = [self._new_disk(number) for number in range(1, profile.voters + profile.spares + 1)]
        founder = Voter(NodeId(1), disks[0].directory_id, "n1:1")
        self.oracle = Oracle(self.sometimes, self.disks, (founder,))
        for number, disk in enumerate(disks, 1):
            founded = number == 1 and profile.voters == 1
            self.nodes[NodeId(number)] = SimNode(self, NodeId(number), disk, founder=founded)
        if profile.voters > 1:
            self._seat(list(self.nodes.values())[: profile.voters])

    def _new_disk(self, number: int) -> Disk:
        self._serial += 1
        directory_id = DirectoryId(b"%08d%08d" % (number, self._serial))
        disk = self.disks[directory_id] = Disk(directory_id)
        return disk

    def _seat(self, nodes: list[SimNode]) -> None:
        """As if the first node had founded the cluster and made the others voters."""
        voters: Voters = (nodes[0].voter,)
        log = [Entry(LogIndex(0), Term(1), (NO_OP,))]
        for node in nodes[1:]:
            voters = (*voters, node.voter)
            log.append(Entry(LogIndex(len(log)), Term(1), (b"seat %d" % node.node_id,), voters))
        for node in nodes:
            first = node is nodes[0]
            vote = node.node_id if first else NO_NODE
            node.disk.hard_state = HardState(Term(1), vote, self.identity_of(node), first)
            node.disk.append(log)
        # A voter is made only after the one before it is committed.
        self.oracle.commit_index = log[-1].index

    def identity_of(self, node: SimNode) -> Identity:
        return Identity(CLUSTER, node.node_id, node.disk.directory_id)

    def make_core(self, node: SimNode) -> RaftCore:
        """A core over what is on the node's disk."""
        disk = node.disk
        snapshot = disk.snapshot.meta if disk.snapshot else None
        entries = list(disk.entries)
        if entries and entries[0].index < disk.snapshot_index:
            self.sometimes("restart with a log that reaches below the snapshot")
            entries = [entry for entry in entries if entry.index >= disk.snapshot_index]
        return RaftCore(
            self.identity_of(node),
            hard_state=disk.hard_state,
            snapshot=snapshot,
            entries=entries,
            founder=node.founder,
            address=node.address,
            timing=self.profile.timing,
            random=self.rng.random,
            now_ms=node.clock.at(self.now_ms),
            commit_index=disk.commit_index if self.rng.random() < 0.5 else LogIndex(0),
        )

    def new_directory(self, node: SimNode) -> None:
        """The node's directory is gone; it gets an empty one under another id."""
        node.disk = self._new_disk(node.node_id)
        node.founder = False
        node.old_snapshot = None
        self.trace("wiped", node.node_id)

    # --- what nodes, faults and demands ask

    def serial(self) -> int:
        self._serial += 1
        return self._serial

    def schedule(self, at_ms: float, event: Callable[[], None], /) -> None:
        """Call back at a time; equal times in the order of the calls."""
        self._sequence += 1
        heapq.heappush(self._queue, (at_ms, self._sequence, event))

    def trace(self, kind: str, node_id: int, *values: object) -> None:
        """Remember what happened."""
        self._tail.append((self.now_ms, kind, node_id, values))
        if self._digest is not None or self._sink is not None:
            line = _line(self._tail[-1])
            if self._digest is not None:
                self._digest.update(line.encode())
            if self._sink is not None:
                self._sink.write(line + "\n")

    def observers_of(self, node: SimNode) -> tuple[NodeId, ...]:
        """Every node that is no voter of this leader, and at times voters too."""
        if not self.observe or node.core is None:
            return ()
        voters = {voter.node_id for voter in node.core.voters}
        both = self.rng.random() < 0.3
        return tuple(other for other in self.nodes if both or other not in voters)

    def on_leader(self, node: SimNode) -> None:
        """A node has become leader."""
        for other in self.nodes.values():
            if other is not node and other.is_leader:
                self.sometimes("two nodes believe they lead")
        if node.core is not None and len(node.core.voters) == 1:
            self.sometimes("single voter elected itself")
        if self.demands.transfers.pop(node.node_id, 0.0) > self.now_ms:
            self.sometimes("transfer done")

    def restart_later(self, node: SimNode) -> None:
        """Boot a node that is down, after a while."""
        delay = 1 + self.rng.randrange(2 * self.profile.down_ms) if self.faulty else 1

        def boot() -> None:
            if node.core is None:
                node.start()

        self.schedule(self.now_ms + delay, boot)

    def is_healthy(self, voter: Voter) -> bool:
        """Whether this voter still has the directory it was made a voter with."""
        node = self.nodes.get(voter.node_id)
        return node is not None and node.disk.directory_id == voter.directory_id

    def is_sane(self, voters: Voters) -> bool:
        """Whether a majority of these voters can answer, when all nodes run."""
        return 2 * sum(map(self.is_healthy, voters)) > len(voters)

    def voter_sets(self) -> list[Voters]:
        """Every voter set that is in force on a node, or on its disk."""
        sets = []
        for node in self.nodes.values():
            sets += [node.disk.voters() or self.oracle.start.voters]
            if node.core is not None and node.core.voters:
                sets.append(node.core.voters)
        return sets

    def _deliver(self, message: Message, contents: Contents | None) -> None:
        node = self.nodes.get(message.to)
        if node is None or node.core is None:
            self._lost(message)
        else:
            node.receive(message, contents)

    def _lost(self, message: Message) -> None:
        """A transfer that ends early is noticed by who sends; other messages are just lost."""
        if isinstance(message.body, InstallSnapshot):
            sender = self.nodes[message.sender]
            if sender.core is not None:
                sender.later(50, lambda: sender.snapshot_failed(message.to))

    # --- the run

    def run(self) -> str:
        """Run the seed; returns what went wrong, or nothing."""
        try:
            for node in self.nodes.values():
                if self.rng.random() < 0.8 or node.node_id == 1:
                    node.start()
                else:
                    self.restart_later(node)
            self._begin_trouble()
            self.run_until(self.profile.horizon_ms)
            Peace(self).keep()
        except Violation as violation:
            return str(violation)
        return ""

    def _begin_trouble(self) -> None:
        actions = self.faults.actions | self.demands.actions
        for name in sorted(self.profile.every_ms):
            self._repeat(name, actions[name], self.profile.every_ms[name])
        self._repeat("give up", self.demands.give_up, 200)

    def _repeat(self, name: str, action: Callable[[], None], every_ms: int) -> None:
        is_fault = name in self.faults.actions

        def again() -> None:
            if self.faulty:
                self.faults.count += is_fault
                action()
                wait()

        def wait() -> None:
            self.schedule(self.now_ms + 1 + int(self.rng.expovariate(1 / every_ms)), again)

        wait()

    def run_until(self, end_ms: float) -> None:
        """Let everything happen that is due before `end_ms`."""
        queue = self._queue
        while queue and queue[0][0] < end_ms:
            self.now_ms, _, event = heapq.heappop(queue)
            self.events += 1
            event()
        self.now_ms = end_ms

    def outcome(self, problem: str) -> Outcome:
        """Sum the run up."""
        return Outcome(
            seed=self.seed,
            problem=problem,
            virtual_ms=self.now_ms,
            events=self.events,
            messages=self.network.sent,
            faults=self.faults.count,
            committed=len(self.oracle.committed),
            terms=len(self.oracle.leaders),
            digest=self._digest.hexdigest() if self._digest else "",
            counts=self.sometimes.counts,
            profile=str(self.profile),
            tail=[_line(event) for event in self._tail] if problem else [],
        )


def _line(event: tuple[float, str, int, tuple[object, ...]]) -> str:
    now_ms, kind, node_id, values = event
    return f"{now_ms:9.1f} {kind:8} {node_id} {' '.join(map(str, values))}"


def run_seed(
    seed: int,
    *,
    focus: tuple[str, ...] = (),
    sink: TextIO | None = None,
    digest: bool = False,
) -> Outcome:
    """Run one seed from beginning to end."""
    simulation = Simulation(seed, focus=focus, sink=sink, digest=digest)
    return simulation.outcome(simulation.run())
