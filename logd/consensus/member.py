"""What a member of the quorum is in every role: promises, log, clock, messages on their way out."""

from __future__ import annotations

from collections.abc import Callable

from logd.consensus.log import RaftLog
from logd.consensus.log_types import HardState, Identity, LogPoint, SnapshotMeta, Voters
from logd.consensus.messages import AppendResponse, Body, Message, VoteResponse
from logd.consensus.outbox import Outbox
from logd.consensus.timing import RaftTiming
from logd.model.ids import NO_NODE, LogIndex, NodeId, Term


class Member:
    """Shared by the roles; each of them changes only what its module says.

    Invariant: `applied_index <= commit_index <= log.end_index`, except that a snapshot on its way
    to the disk (`snapshot_due`) lies ahead of what is applied.
    """

    def __init__(
        self,
        hard_state: HardState,
        log: RaftLog,
        *,
        timing: RaftTiming,
        random: Callable[[], float],
        now_ms: int,
    ) -> None:
        self.hard_state = hard_state
        #: The hard state that is on the disk; None: there is none yet.
        self.saved_hard_state: HardState | None = None
        self.log = log
        self.timing = timing
        self.now_ms = now_ms
        self.commit_index = log.start.point.index
        self.applied_index = log.start.point.index
        #: A snapshot that the log begins with now and the disk does not yet.
        self.snapshot_due: SnapshotMeta | None = None
        self.leader_id: NodeId | None = None
        #: Below it the log is known to equal that of the leader of this term.
        self.agreed_index = self.commit_index
        #: When the leader of this term was heard of last.
        self.contact_ms: int | None = None
        self.outbox = Outbox()
        #: The voters of whom it was asked last whether this node is one, and the answer.
        self._looked_at: Voters | None = None
        self._votes = False
        self._random = random
        self.restart_election_timer()

    @property
    def identity(self) -> Identity:
        return self.hard_state.identity

    @property
    def node_id(self) -> NodeId:
        return self.hard_state.identity.node_id

    @property
    def term(self) -> Term:
        return self.hard_state.term

    @property
    def vote(self) -> NodeId:
        return self.hard_state.vote

    @property
    def is_durable(self) -> bool:
        """Whether term and vote are on the disk."""
        saved, state = self.saved_hard_state, self.hard_state
        return saved is state or saved == state

    @property
    def voters(self) -> Voters:
        return self.log.voters

    @property
    def is_voter(self) -> bool:
        """Whether this node votes, from this directory."""
        voters = self.log.voters
        if voters is not self._looked_at:
            self._looked_at, self._votes = voters, self._is_among(voters)
        return self._votes

    @property
    def may_campaign(self) -> bool:
        """Whether this node is a voter, or may turn out to be one still.

        As long as its own removal is not known to be committed, it may be the only one whose log
        is fresh enough to win [Raft thesis 4.2.2]. Its own vote does not count then.
        """
        log = self.log
        is_open = log.voters_index > self.commit_index
        return self.is_voter or (is_open and self._is_among(log.voters_before))

    def _is_among(self, voters: Voters) -> bool:
        identity = self.identity
        return any(
            voter.node_id == identity.node_id and voter.directory_id == identity.directory_id
            for voter in voters
        )

    @property
    def is_sole_voter(self) -> bool:
        return len(self.log.voters) == 1 and self.is_voter

    @property
    def commit_point(self) -> LogPoint:
        term = self.log.term_at(self.commit_index)
        assert term is not None, "what is committed ends at a border"
        return LogPoint(term, self.commit_index)

    @property
    def election_deadline_ms(self) -> int | None:
        """When to campaign; None: this node does not."""
        return self._election_deadline_ms if self.may_campaign else None

    @property
    def is_led(self) -> bool:
        """Whether a live leader is known: no vote is given against it."""
        if self.leader_id is None or self.contact_ms is None:
            return False
        return self.now_ms - self.contact_ms < self.timing.election_timeout_ms_min

    def send(self, to: NodeId, body: Body) -> None:
        identity = self.identity
        message = Message(identity.node_id, identity.directory_id, to, body)
        self.outbox.put(message, after_save=_is_promise(body) or not self.is_durable)

    def enter_term(self, term: Term, vote: NodeId = NO_NODE) -> None:
        """Begin a new term; in the same one a vote is never taken back."""
        self.hard_state = HardState(term, vote, self.identity, self.hard_state.founder)
        self.leader_id = None
        self.contact_ms = None
        self.agreed_index = self.commit_index
        self.outbox.forget_acknowledgements()

    def vote_for(self, candidate: NodeId) -> None:
        self.hard_state = HardState(self.term, candidate, self.identity, self.hard_state.founder)

    def hear_leader(self, leader_id: NodeId) -> None:
        """The leader of this term has spoken."""
        self.leader_id = leader_id
        self.contact_ms = self.now_ms
        self.restart_election_timer()

    def commit_to(self, index: LogIndex) -> None:
        """Everything below `index` is committed; what is not in the log is left for later."""
        if index > self.commit_index and self.log.term_at(index) is not None:
            self.commit_index = index

    def restart_election_timer(self) -> None:
        """Wait for a leader; the only voter has nobody to wait for, unless one leads already."""
        timing = self.timing
        spread = timing.election_timeout_ms_max - timing.election_timeout_ms_min
        wait = timing.election_timeout_ms_min + int(self._random() * spread)
        is_alone = self.leader_id is None and self.is_sole_voter
        self._election_deadline_ms = self.now_ms if is_alone else self.now_ms + wait
        self._was_late = False

    def is_time_to_campaign(self) -> bool:
        """Whether the silence has lasted long enough.

        A clock that comes much later than the deadline means that this process stood still: what
        arrived meanwhile was not read yet. It gets one heartbeat of time, once.
        """
        deadline = self.election_deadline_ms
        if deadline is None or self.now_ms < deadline:
            return False
        is_late = self.now_ms - deadline > self.timing.heartbeat_ms
        if is_late and not self._was_late and not self.is_sole_voter:
            self._was_late = True
            self._election_deadline_ms = self.now_ms + self.timing.heartbeat_ms
            return False
        return True


def _is_promise(body: Body) -> bool:
    """Whether the body tells of something that has to be durable first."""
    match body:
        case AppendResponse():
            return True
        case VoteResponse(granted=granted, pre_vote=pre_vote):
            return granted and not pre_vote
        case _:
            return False
