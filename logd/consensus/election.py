"""One attempt to become the leader, and the answer to those of others.

    follower -- silence --> pre-candidate -- majority would --> candidate -- majority did --> leader
        ^                        |                                  |
        +------ refused by so many that it is lost, a leader, or a later term --------------+

A pre-vote [Raft thesis 9.6] asks before the term is raised, so that a member that was cut off does
not disturb the others when it comes back. It changes nothing on either side.
"""

from __future__ import annotations

from enum import Enum

from logd.consensus.log_types import Voters
from logd.consensus.member import Member
from logd.consensus.messages import VoteRequest, VoteResponse
from logd.consensus.quorum import is_lost, is_won
from logd.model.ids import NO_NODE, NodeId, Term


class Outcome(Enum):
    OPEN = "open"
    WON = "won"
    LOST = "lost"


class Election:
    """The votes of one attempt. Each voter counts once, by its first word."""

    def __init__(self, *, pre_vote: bool) -> None:
        self.pre_vote = pre_vote
        self._votes: dict[NodeId, bool] = {}

    def count(self, voter: NodeId, granted: bool) -> None:
        self._votes.setdefault(voter, granted)

    def outcome(self, voters: Voters) -> Outcome:
        votes = [self._votes.get(voter.node_id) for voter in voters]
        if is_won(votes.count(True), len(voters)):
            return Outcome.WON
        return Outcome.LOST if is_lost(votes.count(False), len(voters)) else Outcome.OPEN


def ask_for_votes(member: Member, *, pre_vote: bool, transfer: bool) -> None:
    """Ask every other voter, for the term of `member` or, before a vote, for the next one."""
    term = Term(member.term + 1) if pre_vote else member.term
    request = VoteRequest(term, member.log.last, pre_vote, transfer)
    for voter in member.voters:
        if voter.node_id != member.node_id:
            member.send(voter.node_id, request)


def answer_vote(member: Member, candidate: NodeId, request: VoteRequest) -> None:
    """Vote, or say what one would do. The request's term is not older than the member's."""
    if request.pre_vote:
        is_free = request.term > member.term
    else:
        is_free = member.vote == candidate or (member.vote == NO_NODE and member.leader_id is None)
    # Whoever leads has to have everything that is committed [Raft 5.4.1].
    if not is_free or request.last < member.log.last:
        refuse_vote(member, candidate, request)
        return
    if not request.pre_vote:
        member.vote_for(candidate)
        member.restart_election_timer()
    member.send(candidate, VoteResponse(request.term, True, request.pre_vote))


def refuse_vote(member: Member, candidate: NodeId, request: VoteRequest) -> None:
    member.send(candidate, VoteResponse(member.term, False, request.pre_vote))
