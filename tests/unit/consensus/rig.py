"""Cores on disks that are lists, and a network that is a list: nothing happens by itself.

What is on a `Disk` survives, everything else does not. A `Node` works like the driver does. A
`Cluster` carries messages between nodes when told to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from logd.consensus import (
    LOG_START,
    NO_OP,
    Body,
    Entry,
    HardState,
    Identity,
    LogPoint,
    Message,
    RaftCore,
    RaftTiming,
    ReadState,
    Ready,
    Role,
    SnapshotMeta,
    Voter,
    Voters,
)
from logd.model.ids import NO_NODE, ClusterId, DirectoryId, LogIndex, NodeId, Term

TIMING = RaftTiming(heartbeat_ms=100, election_timeout_ms_min=600, election_timeout_ms_max=1200)
CLUSTER = ClusterId(b"c" * 16)


def directory(node_id: int, letter: str = "a") -> DirectoryId:
    return DirectoryId(f"{node_id}{letter}".encode().ljust(16, b"."))


def identity(node_id: int, letter: str = "a") -> Identity:
    return Identity(CLUSTER, NodeId(node_id), directory(node_id, letter))


def voter(node_id: int, letter: str = "a") -> Voter:
    return Voter(NodeId(node_id), directory(node_id, letter), f"n{node_id}:1")


def voters(*node_ids: int) -> Voters:
    return tuple(voter(node_id) for node_id in node_ids)


def point(term: int, index: int) -> LogPoint:
    return LogPoint(Term(term), LogIndex(index))


def entry(index: int, term: int, *payloads: bytes, voters: Voters | None = None) -> Entry:
    return Entry(LogIndex(index), Term(term), payloads or (b"x",), voters)


def seated(members: Voters) -> list[Entry]:
    """The log of a cluster in term 1: a no-op, then its voters."""
    return [entry(0, 1, NO_OP), entry(1, 1, b"voters", voters=members)]


def message(sender: int, to: int, body: Body, letter: str = "a") -> Message:
    return Message(NodeId(sender), directory(sender, letter), NodeId(to), body)


@dataclass
class Disk:
    identity: Identity
    hard_state: HardState | None = None
    snapshot: SnapshotMeta | None = None
    entries: list[Entry] = field(default_factory=list)
    commit_index: LogIndex = LOG_START.index

    @classmethod
    def of(cls, node_id: int, log: Iterable[Entry], *, term: int = 1, vote: int = NO_NODE) -> Disk:
        """A member in `term` with a log."""
        name = identity(node_id)
        return cls(name, HardState(Term(term), NodeId(vote), name, False), None, list(log))

    @property
    def end_index(self) -> LogIndex:
        if self.entries:
            return self.entries[-1].next_index
        return self.snapshot.point.index if self.snapshot else LogIndex(0)

    def save(self, ready: Ready, entries: int | None = None) -> None:
        """Save all of a ready, or what comes before its entries and so many of them."""
        self.hard_state = ready.hard_state or self.hard_state
        if ready.snapshot is not None:
            self.snapshot, self.entries = ready.snapshot, []
        if ready.entries:
            first = ready.entries[0].index
            assert first <= self.end_index, "a hole"
            self.entries = [item for item in self.entries if item.index < first]
            self.entries += ready.entries[:entries]


class Node:
    """One core and its driver."""

    def __init__(
        self,
        disk: Disk,
        *,
        now_ms: int = 0,
        founder: bool = False,
        random: Callable[[], float] = lambda: 0.0,
        timing: RaftTiming = TIMING,
    ) -> None:
        self.disk = disk
        self.now_ms = now_ms
        self.founder = founder
        self.random = random
        self.timing = timing
        self.sent: list[Message] = []
        self.reads: list[ReadState] = []
        self.reads_failed: list[int] = []
        self.start()

    def start(self) -> None:
        """Start from the disk; what was in memory is gone."""
        self.sent.clear()
        self.applied: list[Entry] = []
        node_id = self.disk.identity.node_id
        self.core = RaftCore(
            self.disk.identity,
            hard_state=self.disk.hard_state,
            snapshot=self.disk.snapshot,
            entries=list(self.disk.entries),
            founder=self.founder,
            address=f"n{node_id}:1",
            timing=self.timing,
            random=self.random,
            now_ms=self.now_ms,
            commit_index=self.disk.commit_index,
        )

    @property
    def node_id(self) -> NodeId:
        return self.disk.identity.node_id

    def role(self) -> Role:
        """The role as it is now: a method, for a type checker takes an attribute to last."""
        return self.core.role

    def settle(self) -> list[Message]:
        """Work until there is nothing to do; returns what was sent since the last call."""
        while self.core.has_ready():
            ready = self.core.ready()
            self.sent += ready.messages_now
            self.finish(ready)
        sent, self.sent = self.sent, []
        return sent

    def finish(self, ready: Ready) -> None:
        """Save, send, apply, advance."""
        self.disk.save(ready)
        self.sent += ready.messages
        if ready.snapshot is not None:
            self.applied.clear()
        self.applied += ready.committed
        self.core.advance(ready)
        self.reads += ready.reads
        self.reads_failed += ready.reads_failed

    def tick(self, after_ms: int = 0) -> list[Message]:
        self.now_ms += after_ms
        self.core.tick(self.now_ms)
        return self.settle()

    def receive(self, sender: int, *bodies: Body, letter: str = "a") -> list[Body]:
        """Take messages in; returns the bodies of what was sent in answer."""
        for body in bodies:
            self.core.step(message(sender, self.node_id, body, letter), self.now_ms)
        return [item.body for item in self.settle()]

    def payloads(self) -> list[bytes]:
        """What was applied, but for no-ops and voters."""
        return [
            payload
            for item in self.applied
            if not item.is_no_op and item.voters is None
            for payload in item.payloads
        ]


class Cluster:
    """Nodes whose messages wait in `mail`; links that are cut lose them."""

    def __init__(self, *node_ids: int, log: Sequence[Entry] | None = None, term: int = 1) -> None:
        """Nodes 1 ... with the same log; timeouts grow with the node id, so that 1 is first."""
        if log is None:
            log = seated(voters(*node_ids))
        self.now_ms = 0
        self.mail: list[Message] = []
        self.cut: set[tuple[int, int]] = set()
        self.nodes: dict[int, Node] = {}
        for node_id in node_ids:
            self.add(Disk.of(node_id, log, term=term))

    def add(self, disk: Disk, *, founder: bool = False) -> Node:
        node_id = disk.identity.node_id
        node = Node(
            disk,
            now_ms=self.now_ms,
            founder=founder,
            random=lambda: node_id / 10 - 0.1,
        )
        self.nodes[node_id] = node
        return node

    def __getitem__(self, node_id: int) -> Node:
        return self.nodes[node_id]

    def core(self, node_id: int) -> RaftCore:
        return self.nodes[node_id].core

    def isolate(self, *node_ids: int) -> None:
        """Cut the links between these and the others, both ways."""
        for one in node_ids:
            for other in self.nodes:
                if other not in node_ids:
                    self.cut |= {(one, other), (other, one)}

    def heal(self) -> None:
        self.cut.clear()

    def post(self, messages: Iterable[Message]) -> None:
        self.mail += [item for item in messages if (item.sender, item.to) not in self.cut]

    def deliver(self, only: Callable[[Message], bool] = lambda _: True) -> None:
        """Carry messages, in order, until none is left that `only` lets pass."""
        while self.step(only):
            pass

    def step(self, only: Callable[[Message], bool] = lambda _: True) -> bool:
        """Carry one round: what waits now."""
        for node in self.nodes.values():
            self.post(node.settle())
        passing = [item for item in self.mail if only(item)]
        self.mail = [item for item in self.mail if not only(item)]
        for item in passing:
            if item.to in self.nodes and (item.sender, item.to) not in self.cut:
                self.nodes[item.to].core.step(item, self.now_ms)
        return bool(passing)

    def run(self, duration_ms: int, step_ms: int = 50) -> None:
        """Let time pass for all nodes, and carry everything."""
        for _ in range(0, duration_ms, step_ms):
            self.now_ms += step_ms
            for node in self.nodes.values():
                self.post(node.settle())
                node.now_ms = self.now_ms
                deadline = node.core.next_deadline_ms()
                if deadline is not None and deadline <= self.now_ms:
                    node.core.tick(self.now_ms)
            self.deliver()

    def elect(self, node_id: int, only: Callable[[Message], bool] = lambda _: True) -> Node:
        """Make a node the leader: the others do not stand in its way."""
        for _ in range(20):
            if self.nodes[node_id].core.role is Role.LEADER:
                self.deliver(only)
                return self.nodes[node_id]
            self.now_ms += TIMING.election_timeout_ms_max
            for node in self.nodes.values():
                node.now_ms = self.now_ms
            for _ in range(2):
                # A clock that is far beyond the deadline is believed the second time.
                self.now_ms += TIMING.heartbeat_ms
                self.nodes[node_id].core.tick(self.now_ms)
            self.deliver(only)
        raise AssertionError(f"node {node_id} does not get elected")

    def leaders(self) -> list[int]:
        return [key for key, node in self.nodes.items() if node.core.role is Role.LEADER]
