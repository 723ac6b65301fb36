"""Which role a member has, and what time and messages do to it.

| state | event | next state | effect |
| --- | --- | --- | --- |
| any | a message of a later term, but for pre-votes | follower | term raised, no vote yet |
| any | a request of an earlier term | same | refused with the own term, which frees its sender |
| follower, candidates | word of the leader of this term | follower | timer restarted |
| follower, candidates | a vote request of a later term while a live leader is known | same | none |
| follower, candidates | silence for an election timeout, and a voter | pre-candidate | asks all |
| follower, candidates | the only voter, at the start or later | candidate | at once |
| follower | TimeoutNow of the leader | candidate | asks all, against the live leader |
| pre-candidate | a majority would vote for it | candidate | term raised, own vote, asks all |
| candidate | a majority did, its own vote durable | leader | no-op of its term |
| candidates | so many refused that it is lost | follower | timer restarted |
| leader | no majority heard for an election timeout | follower | reads failed |
| leader | removed, and the removal committed | follower | TimeoutNow to the freshest |

Word of a leader: append, heartbeat, snapshot.

A process that stood still finds a clock far beyond its deadlines and messages that nobody read. A
leader first looks whether a majority answered what was asked within an election timeout, counted
from the question, and steps down before it says another word. A follower waits for one heartbeat
more before it campaigns, so that what had arrived is read first (`Member.is_time_to_campaign`).
"""

from __future__ import annotations

from logd.consensus import election, follower
from logd.consensus.catch_up import CatchUp
from logd.consensus.election import Election, Outcome
from logd.consensus.leader import Leader
from logd.consensus.log_types import Role
from logd.consensus.member import Member
from logd.consensus.messages import (
    AppendRejected,
    AppendRequest,
    AppendResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    InstallSnapshot,
    Message,
    TimeoutNow,
    VoteRequest,
    VoteResponse,
)
from logd.consensus.reads import ReadQueue
from logd.model.ids import LogIndex, NodeId, Term


class Roles:
    """At most one of `election` and `leader` is set; neither: a follower."""

    def __init__(self, member: Member, reads: ReadQueue, catch_up: CatchUp) -> None:
        """Begin as a follower, or, as the only voter, with an election."""
        self.member = member
        self.reads = reads
        self.election: Election | None = None
        self.leader: Leader | None = None
        self.observers: tuple[NodeId, ...] = ()
        self._catch_up = catch_up
        if member.is_sole_voter:
            self.campaign(pre_vote=False)

    @property
    def role(self) -> Role:
        if self.leader is not None:
            return Role.LEADER
        if self.election is not None:
            return Role.PRE_CANDIDATE if self.election.pre_vote else Role.CANDIDATE
        return Role.FOLLOWER

    def tick(self, now_ms: int) -> None:
        """Time has come to `now_ms`; a time before one that was told already counts as that."""
        member = self.member
        member.now_ms = max(member.now_ms, now_ms)
        if self.leader is not None:
            self._tick_leader(self.leader)
        elif self._is_vote_on_its_way():
            # The disk decides first: without the own vote no term can be won.
            member.restart_election_timer()
        elif member.is_time_to_campaign():
            self.campaign(pre_vote=not member.is_sole_voter)

    def next_deadline_ms(self) -> int | None:
        """When to tick next; None: time alone changes nothing."""
        if self.leader is not None:
            return self.leader.next_deadline_ms()
        return None if self._is_vote_on_its_way() else self.member.election_deadline_ms

    def _is_vote_on_its_way(self) -> bool:
        """Whether this is a candidate whose vote for itself is not durable yet."""
        return self.role is Role.CANDIDATE and not self.member.is_durable

    def _tick_leader(self, leader: Leader) -> None:
        if leader.has_lost_quorum:
            self._follow(self.member.term)
        else:
            leader.tick()

    # --- messages -------------------------------------------------------------------------------

    def step(self, message: Message, now_ms: int) -> None:
        """Take in one message. What makes no sense is dropped, whatever a peer sends."""
        member = self.member
        member.now_ms = max(member.now_ms, now_ms)
        if self.leader is not None and self.leader.is_overdue:
            self._tick_leader(self.leader)
        if message.to != member.node_id or message.sender == member.node_id:
            return
        match message.body:
            case AppendRequest() | HeartbeatRequest() | InstallSnapshot() as body:
                self._take_word_of_leader(message, body)
            case _ if self._is_impostor(message):
                return
            case VoteRequest() as body:
                self._take_vote_request(message.sender, body)
            case VoteResponse() as body:
                self._take_vote(message.sender, body)
            case AppendResponse() | AppendRejected() | HeartbeatResponse():
                self._take_answer(message)
            case TimeoutNow() as body:
                self._take_timeout_now(message.sender, body)

    def _is_impostor(self, message: Message) -> bool:
        """Whether the sender's name votes here under another directory than the sender's.

        Its promises may be lost, so it neither votes nor acknowledges under that name. The word of
        a leader is taken from any directory: a majority elected it in its term, and a member whose
        own log is behind may not know yet that the voter was replaced.
        """
        return any(
            voter.node_id == message.sender and voter.directory_id != message.sender_directory
            for voter in self.member.voters
        )

    def _take_word_of_leader(
        self, message: Message, body: AppendRequest | HeartbeatRequest | InstallSnapshot
    ) -> None:
        member, sender = self.member, message.sender
        if body.term < member.term:
            refused = body.previous.index if isinstance(body, AppendRequest) else LogIndex(0)
            member.send(sender, AppendRejected(member.term, refused, member.log.last))
            return
        if body.term == member.term and member.leader_id not in {None, sender}:
            return  # A term has one leader.
        if body.term > member.term or self.election is not None:
            self._follow(body.term)
        member.hear_leader(sender)
        match body:
            case AppendRequest():
                self._catch_up.hear_append(body.commit_index)
                follower.take_append(member, sender, body)
            case HeartbeatRequest():
                self._catch_up.hear_heartbeat(body.commit_index)
                follower.take_heartbeat(member, sender, body)
            case InstallSnapshot():
                follower.take_snapshot(member, sender, body)

    def _take_vote_request(self, sender: NodeId, request: VoteRequest) -> None:
        member = self.member
        if request.term > member.term:
            if not request.transfer and (self.leader is not None or member.is_led):
                return  # A live leader is not voted out [Raft thesis 4.2.3].
            if not request.pre_vote:
                self._follow(request.term)
        if request.term < member.term:
            election.refuse_vote(member, sender, request)
        else:
            election.answer_vote(member, sender, request)

    def _take_vote(self, sender: NodeId, response: VoteResponse) -> None:
        member = self.member
        is_pre_grant = response.pre_vote and response.granted
        if response.term > member.term and not is_pre_grant:
            self._follow(response.term)
            return
        attempt = self.election
        if attempt is None or attempt.pre_vote != response.pre_vote:
            return
        # A granted pre-vote carries the term that was asked for, a refused one the voter's own.
        expected = member.term + 1 if is_pre_grant else member.term
        if response.term == expected or (response.pre_vote and not response.granted):
            attempt.count(sender, response.granted)
            self.tally(attempt)

    def _take_answer(self, message: Message) -> None:
        if message.body.term > self.member.term:
            self._follow(message.body.term)
        elif message.body.term == self.member.term and self.leader is not None:
            self.leader.take_answer(message)
            self.maybe_leave()

    def _take_timeout_now(self, sender: NodeId, body: TimeoutNow) -> None:
        member = self.member
        if body.term > member.term:
            self._follow(body.term)
        is_asked = body.term == member.term and member.leader_id == sender
        if is_asked and self.role is Role.FOLLOWER and member.may_campaign:
            self.campaign(pre_vote=False, transfer=True)

    # --- roles ----------------------------------------------------------------------------------

    def _follow(self, term: Term) -> None:
        """Be a follower in `term`, of a leader that is not known yet."""
        member = self.member
        if term > member.term:
            member.enter_term(term)
        member.leader_id = None
        self.leader = None
        self.election = None
        self.reads.lose_leadership()
        member.restart_election_timer()

    def campaign(self, *, pre_vote: bool, transfer: bool = False) -> None:
        member = self.member
        self._follow(member.term)
        if not pre_vote:
            member.enter_term(Term(member.term + 1), vote=member.node_id)
        self.election = Election(pre_vote=pre_vote)
        election.ask_for_votes(member, pre_vote=pre_vote, transfer=transfer)
        self.tally(self.election)

    def tally(self, attempt: Election) -> None:
        member = self.member
        # The own vote is a promise like any other: it counts when it is durable.
        if member.is_voter and (attempt.pre_vote or member.is_durable):
            attempt.count(member.node_id, True)
        match attempt.outcome(member.voters):
            case Outcome.WON if attempt.pre_vote:
                self.campaign(pre_vote=False)
            case Outcome.WON:
                self._lead()
            case Outcome.LOST:
                self._follow(member.term)
            case Outcome.OPEN:
                return

    def _lead(self) -> None:
        member = self.member
        self.election = None
        member.leader_id = member.node_id
        self.leader = Leader(member, self.reads, self.observers)

    def maybe_leave(self) -> None:
        if self.leader is not None and self.leader.has_left:
            self.leader.leave()
            self._follow(self.member.term)
