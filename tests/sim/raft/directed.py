"""Short scripts for what random histories seldom show. Each raises AssertionError.

They are functions and not tests, so that `tests.support.raft_mutants` can run them over a core with
a planted bug too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from logd_wire.errors import InvalidRequestError

from logd.consensus import Entry, HardState, Identity, RaftCore, RaftTiming, Role
from logd.consensus.log_types import NO_OP, LogPoint, SnapshotMeta, Voter, Voters
from logd.consensus.messages import (
    AppendRequest,
    Body,
    HeartbeatRequest,
    HeartbeatResponse,
    Message,
    TimeoutNow,
    VoteRequest,
    VoteResponse,
)
from logd.model.ids import NO_NODE, ClusterId, DirectoryId, LogIndex, NodeId, Term

CLUSTER = ClusterId(b"c" * 16)
TIMING = RaftTiming(100, 300, 600)


def voter(node_id: int) -> Voter:
    return Voter(NodeId(node_id), DirectoryId(b"%016d" % node_id), f"n{node_id}:1")


class Table:
    """Some voters in one room: saves are instant, messages go where a test lets them go."""

    def __init__(self, count: int) -> None:
        self.now_ms = 1000
        voters: Voters = tuple(voter(number) for number in range(1, count + 1))
        log = [Entry(LogIndex(0), Term(1), (NO_OP,))]
        for number in range(2, count + 1):
            log.append(Entry(LogIndex(number - 1), Term(1), (b"%d" % number,), voters[:number]))
        self.mail: list[Message] = []
        self.applied: dict[int, list[Entry]] = {one.node_id: [] for one in voters}
        self.reads: list[int] = []
        self.cores = {one.node_id: self._core(one, log) for one in voters}

    def _core(self, one: Voter, log: list[Entry]) -> RaftCore:
        identity = Identity(CLUSTER, one.node_id, one.directory_id)
        return RaftCore(
            identity,
            hard_state=HardState(Term(1), NO_NODE, identity, one.node_id == 1),
            snapshot=None,
            entries=log,
            founder=False,
            address=one.address,
            timing=TIMING,
            random=lambda: 0.5,
            now_ms=self.now_ms,
        )

    def work(self, node_id: int) -> None:
        """Let one node do all its work."""
        core = self.cores[NodeId(node_id)]
        while core.has_ready():
            ready = core.ready()
            self.mail += [*ready.messages_now, *ready.messages]
            self.applied[node_id] += ready.committed
            self.reads += [read.context for read in ready.reads]
            core.advance(ready)

    def step(self, node_id: int, sender: int, body: Body) -> None:
        """Bring one message to a node."""
        who = voter(sender)
        message = Message(who.node_id, who.directory_id, NodeId(node_id), body)
        self.cores[NodeId(node_id)].step(message, self.now_ms)
        self.work(node_id)

    def deliver(self, to: Iterable[int], kinds: tuple[type[Body], ...] = ()) -> None:
        """Deliver until nothing is left for these nodes; everything else is lost."""
        nodes = set(to)
        while self.mail:
            mail, self.mail = self.mail, []
            for message in mail:
                if message.to in nodes and (not kinds or isinstance(message.body, kinds)):
                    self.cores[message.to].step(message, self.now_ms)
                    self.work(message.to)

    def elect(self, node_id: int) -> RaftCore:
        """Make a node the leader of all, with its first entry committed everywhere."""
        core = self.cores[NodeId(node_id)]
        self.now_ms = max(self.now_ms + 300, core.next_deadline_ms() or 0)
        core.tick(self.now_ms)
        self.work(node_id)
        self.deliver(self.cores)
        self.beat(node_id)
        assert role_of(core) is Role.LEADER
        return core

    def beat(self, node_id: int) -> None:
        """One round of heartbeats, with everything that follows."""
        self.now_ms += TIMING.heartbeat_ms
        self.cores[NodeId(node_id)].tick(self.now_ms)
        self.work(node_id)
        self.deliver(self.cores)

    def bodies(self, to: int | None = None) -> list[Body]:
        return [message.body for message in self.mail if to in (None, message.to)]


def role_of(core: RaftCore) -> Role:
    """The role now; to a type checker an attribute that was looked at stays as it was."""
    return core.role


def refused(action: Callable[[], object]) -> bool:
    """Whether a request was refused, and nothing else."""
    try:
        action()
    except InvalidRequestError:
        return True
    return False


def compaction_is_checked() -> None:
    """Entries that are not applied are never forgotten."""
    table = Table(3)
    leader = table.elect(1)
    proposal = leader.propose([b"not committed"])
    point = LogPoint(proposal.term, LogIndex(proposal.index + 1))
    try:
        leader.compact(SnapshotMeta(point, leader.voters))
    except ValueError:
        assert leader.snapshot_point.index == 0
    else:
        raise AssertionError("compacted beyond what is applied")


def a_leader_that_stood_still_is_silent() -> None:
    """After a pause of many timeouts the first message finds a leader that does not lead."""
    table = Table(3)
    leader = table.elect(1)
    table.now_ms += 10 * TIMING.election_timeout_ms_max
    table.step(1, 2, HeartbeatResponse(leader.term, 1))
    assert role_of(leader) is Role.FOLLOWER, "it leads on without having looked"
    said = [body for body in table.bodies() if isinstance(body, HeartbeatRequest | AppendRequest)]
    assert not said, f"it spoke as a leader: {said}"


def a_late_answer_proves_nothing() -> None:
    """An answer that lay unread for long is as old as its question."""
    table = Table(3)
    leader = table.elect(1)
    table.now_ms += TIMING.heartbeat_ms
    leader.tick(table.now_ms)
    table.work(1)
    rounds = [body.round for body in table.bodies(2) if isinstance(body, HeartbeatRequest)]
    table.mail.clear()
    for _ in range(5):
        table.now_ms += TIMING.heartbeat_ms
        leader.tick(table.now_ms)
        table.work(1)
    table.mail.clear()
    table.step(1, 2, HeartbeatResponse(leader.term, rounds[0]))
    for _ in range(2):
        table.now_ms += TIMING.heartbeat_ms
        leader.tick(table.now_ms)
        table.work(1)
    assert role_of(leader) is Role.FOLLOWER, "an old answer kept it in office"


def a_follower_that_stood_still_waits() -> None:
    """What arrived during a pause is read before anybody campaigns."""
    table = Table(3)
    table.elect(1)
    follower = table.cores[NodeId(2)]
    table.now_ms += 10 * TIMING.election_timeout_ms_max
    follower.tick(table.now_ms)
    assert role_of(follower) is Role.FOLLOWER, "it campaigned before it read"
    deadline = follower.next_deadline_ms()
    assert deadline is not None
    assert deadline > table.now_ms
    table.now_ms = deadline
    follower.tick(table.now_ms)
    assert role_of(follower) is Role.PRE_CANDIDATE, "the leader is gone all the same"


def a_removed_leader_leads_to_the_end() -> None:
    """It commits its own removal, tells so, and asks the freshest voter to campaign."""
    table = Table(3)
    leader = table.elect(1)
    leader.propose_voters((voter(2), voter(3)), b"without 1")
    table.work(1)
    assert role_of(leader) is Role.LEADER, "it left before its removal was committed"
    end = leader.end_index
    table.deliver((1, 2), (AppendRequest, HeartbeatRequest, HeartbeatResponse))
    table.beat(1)
    assert role_of(leader) is Role.FOLLOWER
    assert leader.commit_index >= end
    new = [core for core in table.cores.values() if role_of(core) is Role.LEADER]
    assert len(new) == 1, "nobody was asked to campaign"
    assert new[0].voters == (voter(2), voter(3))


def votes_of_strangers_do_not_count() -> None:
    """Whoever is no voter grants what it likes."""
    table = Table(3)
    core = table.cores[NodeId(1)]
    table.now_ms = core.next_deadline_ms() or 0
    core.tick(table.now_ms)
    table.work(1)
    assert any(isinstance(body, VoteRequest) for body in table.bodies())
    table.mail.clear()
    for stranger in (7, 8, 9):
        table.step(1, stranger, VoteResponse(Term(2), granted=True, pre_vote=True))
    assert role_of(core) is Role.PRE_CANDIDATE
    assert core.term == 1


def only_the_leader_hands_over() -> None:
    """A request to campaign is obeyed when the leader of the term sends it."""
    table = Table(3)
    leader = table.elect(1)
    table.step(2, 3, TimeoutNow(leader.term))
    assert table.cores[NodeId(2)].role is Role.FOLLOWER
    table.step(2, 1, TimeoutNow(Term(leader.term - 1)))
    assert table.cores[NodeId(2)].role is Role.FOLLOWER
    table.step(2, 1, TimeoutNow(leader.term))
    assert table.cores[NodeId(2)].role is Role.CANDIDATE


def voter_sets_are_checked() -> None:
    """No change of more than one voter, none while another one is open, never nobody."""
    table = Table(3)
    leader = table.elect(1)
    five = (*leader.voters, voter(4), voter(5))
    assert refused(lambda: leader.propose_voters(five, b"two more"))
    assert refused(lambda: leader.propose_voters((), b"nobody"))
    other = (voter(1), voter(2), Voter(NodeId(3), DirectoryId(b"x" * 16), ""))
    assert refused(lambda: leader.propose_voters(other, b"another directory"))
    leader.propose_voters((*leader.voters, voter(4)), b"one more")
    assert refused(lambda: leader.propose_voters(leader.voters[:3], b"back again"))


SCRIPTS: tuple[Callable[[], None], ...] = (
    compaction_is_checked,
    a_leader_that_stood_still_is_silent,
    a_late_answer_proves_nothing,
    a_follower_that_stood_still_waits,
    a_removed_leader_leads_to_the_end,
    votes_of_strangers_do_not_count,
    only_the_leader_hands_over,
    voter_sets_are_checked,
)
