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
    AppendRejected,
    AppendRequest,
    AppendResponse,
    Body,
    HeartbeatRequest,
    HeartbeatResponse,
    InstallSnapshot,
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
        self.failed: list[int] = []
        #: What `deliver` loses, whomever it is for.
        self.swallow: tuple[type[Body], ...] = ()
        self.swallowed: list[Message] = []
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
            self.failed += ready.reads_failed
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
                if isinstance(message.body, self.swallow):
                    self.swallowed.append(message)
                elif message.to in nodes and (not kinds or isinstance(message.body, kinds)):
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


def a_vote_request_of_a_past_term_is_refused() -> None:
    """In a term that is over nobody votes any more, whatever became of its vote."""
    table = Table(3)
    last = LogPoint(Term(1), LogIndex(3))
    table.step(2, 1, VoteRequest(Term(2), last, pre_vote=False))
    assert VoteResponse(Term(2), True, False) in table.bodies(1)
    table.step(2, 1, AppendRejected(Term(3), LogIndex(0), last))
    assert table.cores[NodeId(2)].term == 3
    table.mail.clear()
    table.step(2, 3, VoteRequest(Term(2), last, pre_vote=False))
    granted = [body for body in table.bodies() if isinstance(body, VoteResponse) and body.granted]
    assert not granted, f"a second vote in term 2: {granted}"


def a_vote_of_a_past_term_does_not_count() -> None:
    """A vote that comes after the candidate has gone on to the next term is no vote for that."""
    table = Table(3)
    core = table.cores[NodeId(1)]
    for term in (2, 3):
        table.now_ms = core.next_deadline_ms() or 0
        core.tick(table.now_ms)
        table.work(1)
        table.step(1, 2, VoteResponse(Term(term), granted=True, pre_vote=True))
        assert (role_of(core), core.term) == (Role.CANDIDATE, term)
    table.step(1, 2, VoteResponse(Term(2), granted=True, pre_vote=False))
    assert role_of(core) is Role.CANDIDATE, "elected in term 3 by a vote in term 2"
    table.step(1, 2, VoteResponse(Term(3), granted=True, pre_vote=False))
    assert role_of(core) is Role.LEADER


def whoever_holds_its_own_removal_campaigns() -> None:
    """Nobody else may have the fresh log that the others need."""
    table = Table(2)
    leader = table.elect(1)
    leader.propose_voters((voter(2),), b"without 1")
    table.work(1)
    assert leader.voters == (voter(2),)
    table.mail.clear()
    at = LogPoint(Term(1), LogIndex(2))
    table.step(1, 2, AppendRejected(Term(leader.term + 1), LogIndex(0), at))
    assert role_of(leader) is Role.FOLLOWER
    deadline = leader.next_deadline_ms()
    assert deadline is not None, "it waits for ever"
    table.now_ms = deadline
    leader.tick(table.now_ms)
    table.work(1)
    table.deliver((1, 2))
    assert role_of(leader) is Role.FOLLOWER, "it is removed now, and knows it"
    other = table.cores[NodeId(2)]
    assert (role_of(other), other.voters) == (Role.LEADER, (voter(2),))


def a_lost_snapshot_is_sent_again() -> None:
    """A member that has lost the snapshot it was given says so, and is given it again."""
    table = Table(3)
    leader = table.elect(1)
    leader.propose([b"x"])
    table.work(1)
    table.deliver((1, 2))
    leader.compact(leader.applied_snapshot)
    table.swallow = (InstallSnapshot,)
    for _ in range(10 * TIMING.election_timeout_ms_max // TIMING.heartbeat_ms):
        table.beat(1)
    sent = len(table.swallowed)
    assert 2 <= sent <= 10, f"it was sent {sent} times"


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


def a_round_needs_voters() -> None:
    """Observers do not prove that a leader still leads, nor do earlier rounds or earlier terms."""
    table = Table(3)
    leader = table.elect(1)
    leader.set_observers([NodeId(4), NodeId(5)])
    table.beat(1)
    leader.read_index(7)
    table.work(1)
    rounds = [body.round for body in table.bodies(2) if isinstance(body, HeartbeatRequest)]
    table.mail.clear()
    for observer in (4, 5):
        table.step(1, observer, HeartbeatResponse(leader.term, rounds[-1]))
    assert not table.reads, "read by word of observers"
    table.step(1, 2, HeartbeatResponse(leader.term, rounds[-1] - 1))
    table.step(1, 2, HeartbeatResponse(Term(leader.term - 1), rounds[-1]))
    assert not table.reads, "read by word of the past"
    table.step(1, 2, HeartbeatResponse(leader.term, rounds[-1]))
    assert table.reads == [7]


def a_read_waits_for_a_round() -> None:
    """A leader that nobody answers does not know whether it still leads."""
    table = Table(3)
    leader = table.elect(1)
    leader.read_index(7)
    table.work(1)
    assert not table.reads, "read without having asked anybody"


def reads_end_with_leadership() -> None:
    """Whoever is a leader no more answers no read that was not confirmed before."""
    table = Table(3)
    leader = table.elect(1)
    leader.read_index(7)
    last = LogPoint(Term(1), LogIndex(3))
    table.step(1, 2, AppendRejected(Term(leader.term + 1), LogIndex(0), last))
    assert role_of(leader) is Role.FOLLOWER
    assert not table.reads, "read after leadership was lost"
    assert table.failed == [7]


def an_earlier_round_confirms_nothing() -> None:
    """An answer to a round that began before the read does not answer the read."""
    table = Table(3)
    leader = table.elect(1)
    rounds = []
    for _ in range(2):
        table.mail.clear()
        table.now_ms += TIMING.heartbeat_ms
        leader.tick(table.now_ms)
        table.work(1)
        rounds += [body.round for body in table.bodies(2) if isinstance(body, HeartbeatRequest)]
        if len(rounds) == 1:
            leader.read_index(7)
    assert len(rounds) == 2
    table.step(1, 2, HeartbeatResponse(leader.term, rounds[0]))
    assert not table.reads, "read by a round that was older than it"
    table.step(1, 2, HeartbeatResponse(leader.term, rounds[1]))
    assert table.reads == [7]


def a_new_leader_changes_no_voters() -> None:
    """Before its first entry is committed another change may be open that it does not know of."""
    table = Table(3)
    table.elect(1)
    core = table.cores[NodeId(2)]
    table.now_ms = core.next_deadline_ms() or 0
    core.tick(table.now_ms)
    table.work(2)
    table.deliver((2, 3), (VoteRequest, VoteResponse))
    assert role_of(core) is Role.LEADER
    table.mail.clear()
    assert refused(lambda: core.propose_voters((*core.voters, voter(4)), b"one more"))


def an_acknowledgement_is_of_its_term() -> None:
    """What a follower had in an earlier term says nothing about the leader's log of now."""
    table = Table(3)
    leader = table.elect(1)
    proposal = leader.propose([b"x"])
    table.work(1)
    table.mail.clear()
    before = leader.commit_index
    end = LogIndex(proposal.index + 1)
    table.step(1, 2, AppendResponse(Term(leader.term - 1), end))
    assert leader.commit_index == before, "committed by an old acknowledgement"
    table.step(1, 2, AppendResponse(leader.term, end))
    assert leader.commit_index == end


def _with_a_tail(table: Table) -> tuple[RaftCore, LogPoint]:
    """A follower that has entries of a leader that is gone; the point before them."""
    follower = table.cores[NodeId(2)]
    at = LogPoint(Term(1), LogIndex(3))
    tail = tuple(Entry(LogIndex(3 + n), Term(2), (b"tail %d" % n,)) for n in range(3))
    table.step(2, 1, AppendRequest(Term(2), at, tail, LogIndex(3)))
    assert follower.end_index == 6
    table.mail.clear()
    return follower, at


def only_what_matched_is_acknowledged() -> None:
    """The tail of another leader is neither acknowledged nor committed."""
    table = Table(3)
    follower, at = _with_a_tail(table)
    table.step(2, 3, AppendRequest(Term(3), at, (), LogIndex(5)))
    said = [body.match_index for body in table.bodies(3) if isinstance(body, AppendResponse)]
    assert said == [3], f"acknowledged {said}, where only 3 matched"
    assert follower.commit_index == 3, "committed what the leader never confirmed"


def an_acknowledgement_does_not_outlive_its_term() -> None:
    """Entries that are cut before they were saved are not acknowledged after the save."""
    table = Table(3)
    follower = table.cores[NodeId(2)]
    at = LogPoint(Term(1), LogIndex(3))
    for sender, term, count in ((1, 2, 3), (3, 3, 1)):
        entries = tuple(Entry(LogIndex(3 + n), Term(term), (b"%d" % n,)) for n in range(count))
        body = AppendRequest(Term(term), at, entries, LogIndex(3))
        who = voter(sender)
        follower.step(Message(who.node_id, who.directory_id, NodeId(2), body), table.now_ms)
    table.work(2)
    said = [body for body in table.bodies() if isinstance(body, AppendResponse)]
    assert said == [AppendResponse(Term(3), LogIndex(4))], f"it acknowledges {said}"


def what_was_saved_is_not_saved_again() -> None:
    """A save that ends after the log was cut counts for what is left of it."""
    table = Table(3)
    follower = table.cores[NodeId(2)]
    at = LogPoint(Term(1), LogIndex(3))
    entries = tuple(Entry(LogIndex(3 + n), Term(2), (b"%d" % n,)) for n in range(3))
    sender = voter(1)
    body = AppendRequest(Term(2), at, entries, LogIndex(3))
    follower.step(Message(sender.node_id, sender.directory_id, NodeId(2), body), table.now_ms)
    ready = follower.ready()
    other, point = voter(3), LogPoint(Term(2), LogIndex(4))
    new = (Entry(LogIndex(4), Term(3), (b"new",)),)
    cut = AppendRequest(Term(3), point, new, LogIndex(3))
    follower.step(Message(other.node_id, other.directory_id, NodeId(2), cut), table.now_ms)
    follower.advance(ready)
    again = follower.ready().entries
    assert again == new, f"it would cut what it has acknowledged: {again}"


def a_past_leader_is_answered() -> None:
    """Otherwise a member of a later term and a leader of an earlier one never come together."""
    table = Table(3)
    table.step(2, 3, AppendRejected(Term(9), LogIndex(0), LogPoint(Term(1), LogIndex(3))))
    table.mail.clear()
    table.step(2, 1, HeartbeatRequest(Term(2), LogIndex(0), 1))
    assert [body.term for body in table.bodies(1)] == [9], "the past leader is left alone"


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
    a_vote_request_of_a_past_term_is_refused,
    a_vote_of_a_past_term_does_not_count,
    whoever_holds_its_own_removal_campaigns,
    a_lost_snapshot_is_sent_again,
    votes_of_strangers_do_not_count,
    only_the_leader_hands_over,
    a_round_needs_voters,
    a_read_waits_for_a_round,
    reads_end_with_leadership,
    an_earlier_round_confirms_nothing,
    a_new_leader_changes_no_voters,
    an_acknowledgement_is_of_its_term,
    only_what_matched_is_acknowledged,
    an_acknowledgement_does_not_outlive_its_term,
    what_was_saved_is_not_saved_again,
    a_past_leader_is_answered,
    voter_sets_are_checked,
)
