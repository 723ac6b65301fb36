"""Bugs to be planted into elections and timing of the consensus core."""

from __future__ import annotations

from tests.support.raft_mutant import Mutant, in_core

ELECTIONS: tuple[Mutant, ...] = (
    Mutant(
        "vote forgotten on restart",
        in_core(
            "raft",
            "        state = hard_state or HardState(Term(0), NO_NODE, identity, founder)\n",
            "        state = hard_state or HardState(Term(0), NO_NODE, identity, founder)\n"
            "        state = HardState(state.term, NO_NODE, identity, state.founder)\n",
        ),
    ),
    Mutant(
        "term and vote forgotten on restart",
        in_core(
            "raft",
            "        state = hard_state or HardState(Term(0), NO_NODE, identity, founder)\n",
            "        state = hard_state or HardState(Term(0), NO_NODE, identity, founder)\n"
            "        state = HardState(Term(0), NO_NODE, identity, state.founder)\n",
        ),
    ),
    Mutant(
        "vote not saved",
        in_core(
            "raft",
            "            hard_state=None if member.is_durable else member.hard_state,\n",
            "            hard_state=None,\n",
        ),
    ),
    Mutant(
        "vote taken back on stepping down in the same term",
        in_core(
            "roles",
            "        if term > member.term:\n            member.enter_term(term)\n",
            "        member.enter_term(term)\n",
        ),
    ),
    Mutant(
        "vote given twice in a term",
        in_core(
            "election",
            "member.vote == candidate or (member.vote == NO_NODE and member.leader_id is None)",
            "member.leader_id is None",
        ),
        seed=8,
    ),
    Mutant(
        "vote in a term that is over",
        in_core(
            "roles",
            "        if request.term < member.term:\n",
            "        if request.term < member.term and request.pre_vote:\n",
        ),
        directed="a_vote_request_of_a_past_term_is_refused",
    ),
    Mutant(
        "vote without a look at the log",
        in_core("election", "if not is_free or request.last < member.log.last:", "if not is_free:"),
        focus=("compact", "crash"),
    ),
    Mutant(
        "vote for the longer log, not the fresher one",
        in_core(
            "election",
            "request.last < member.log.last:",
            "request.last.index < member.log.last.index:",
        ),
        seed=245,
        focus=("cut", "crash"),
    ),
    Mutant(
        "one vote counted twice",
        (
            *in_core(
                "election",
                "        self._votes.setdefault(voter, granted)\n",
                "        self._votes.setdefault(voter, granted)\n        self.granted += granted\n",
            ),
            *in_core(
                "election",
                "        self._votes: dict[NodeId, bool] = {}\n",
                "        self._votes: dict[NodeId, bool] = {}\n        self.granted = 0\n",
            ),
            *in_core("election", "is_won(votes.count(True), ", "is_won(self.granted, "),
        ),
        seed=1,
    ),
    Mutant(
        "vote of an earlier term counted",
        in_core(
            "roles", "        if response.term == expected or (", "        if response.granted or ("
        ),
        directed="a_vote_of_a_past_term_does_not_count",
    ),
    Mutant(
        "half of the voters are a majority",
        in_core("quorum", "return voters // 2 + 1", "return (voters + 1) // 2"),
        seed=2,
    ),
    Mutant(
        "no pre-vote",
        in_core(
            "roles",
            "            self.campaign(pre_vote=not member.is_sole_voter)\n",
            "            self.campaign(pre_vote=False)\n",
        ),
        seed=1,
    ),
    Mutant(
        "pre-vote raises the term",
        in_core("roles", "            if not request.pre_vote:\n", "            if request:\n"),
    ),
    Mutant(
        "a live leader is voted out",
        in_core(
            "roles",
            "            if not request.transfer and (self.leader is not None or member.is_led):\n",
            "            if request is None:\n",
        ),
        seed=8,
    ),
    Mutant(
        "no check of the quorum",
        in_core("roles", "        if leader.has_lost_quorum:\n", "        if leader is None:\n"),
        focus=("formation",),
    ),
    Mutant(
        "word of the leader does not restart the timer",
        in_core(
            "member",
            "        self.contact_ms = self.now_ms\n        self.restart_election_timer()\n",
            "        self.contact_ms = self.now_ms\n",
        ),
    ),
    Mutant(
        "a leader of an earlier term is not answered",
        in_core(
            "roles",
            "            member.send(sender, AppendRejected(member.term, refused, member",
            "            repr((sender, refused, member",
        ),
        directed="a_past_leader_is_answered",
    ),
    Mutant(
        "a new leader appends nothing",
        in_core("leader", "        self.append((NO_OP,))\n", ""),
        seed=1,
    ),
    Mutant(
        "a sole voter asks to be woken at once while its vote is saved",
        in_core(
            "roles",
            "        return None if self._is_vote_on_its_way() else self.member.election",
            "        return self.member.election",
        ),
        seed=1,
        focus=("formation",),
    ),
)

TIMING: tuple[Mutant, ...] = (
    Mutant(
        "a leader that stood still speaks before it looks around",
        in_core(
            "roles",
            "        if self.leader is not None and self.leader.is_overdue:\n"
            "            self._tick_leader(self.leader)\n",
            "",
        ),
        directed="a_leader_that_stood_still_is_silent",
    ),
    Mutant(
        "an answer proves the moment of its arrival",
        in_core(
            "leader",
            "        if peer.answered_heartbeat(round_, begun_ms):\n",
            "        if peer.answered_heartbeat(round_, self._member.now_ms):\n",
        ),
        directed="a_late_answer_proves_nothing",
    ),
    Mutant(
        "a follower that stood still campaigns at once",
        in_core(
            "member",
            "        if is_late and not self._was_late and not",
            "        if not is_late and not",
        ),
        directed="a_follower_that_stood_still_waits",
    ),
)
