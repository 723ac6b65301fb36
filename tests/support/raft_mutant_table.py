"""The bugs that `tests.support.raft_mutants` plants into the consensus core and its driver."""

from __future__ import annotations

from typing import NamedTuple


class Patch(NamedTuple):
    """In `module`, `anchor` (there exactly once) becomes `planted`."""

    module: str
    anchor: str
    planted: str


class Mutant(NamedTuple):
    """A bug. `seed` found it last, with the faults and demands in `focus`; or the function
    `directed` of tests.sim.raft.directed finds it."""

    name: str
    patches: tuple[Patch, ...]
    seed: int = 0
    focus: tuple[str, ...] = ()
    directed: str = ""


def _in(module: str, anchor: str, planted: str) -> tuple[Patch, ...]:
    """One patch of a module of the core."""
    return (Patch(f"logd.consensus.{module}", anchor, planted),)


def _in_driver(anchor: str, planted: str) -> tuple[Patch, ...]:
    """One patch of what drives the core in the simulation."""
    return (Patch("tests.sim.raft.node", anchor, planted),)


ELECTIONS = (
    Mutant(
        "vote forgotten on restart",
        _in(
            "raft",
            "        state = hard_state or HardState(Term(0), NO_NODE, identity, founder)\n",
            "        state = hard_state or HardState(Term(0), NO_NODE, identity, founder)\n"
            "        state = HardState(state.term, NO_NODE, identity, state.founder)\n",
        ),
    ),
    Mutant(
        "term and vote forgotten on restart",
        _in(
            "raft",
            "        state = hard_state or HardState(Term(0), NO_NODE, identity, founder)\n",
            "        state = hard_state or HardState(Term(0), NO_NODE, identity, founder)\n"
            "        state = HardState(Term(0), NO_NODE, identity, state.founder)\n",
        ),
    ),
    Mutant(
        "vote not saved",
        _in(
            "raft",
            "            hard_state=None if member.is_durable else member.hard_state,\n",
            "            hard_state=None,\n",
        ),
    ),
    Mutant(
        "vote taken back on stepping down in the same term",
        _in(
            "roles",
            "        if term > member.term:\n            member.enter_term(term)\n",
            "        member.enter_term(term)\n",
        ),
    ),
    Mutant(
        "vote given twice in a term",
        _in(
            "election",
            "member.vote == candidate or (member.vote == NO_NODE and member.leader_id is None)",
            "member.leader_id is None",
        ),
        seed=8,
    ),
    Mutant(
        "vote in a term that is over",
        _in(
            "roles",
            "        if request.term < member.term:\n",
            "        if request.term < member.term and request.pre_vote:\n",
        ),
        directed="a_vote_request_of_a_past_term_is_refused",
    ),
    Mutant(
        "vote without a look at the log",
        _in("election", "if not is_free or request.last < member.log.last:", "if not is_free:"),
        seed=2,
    ),
    Mutant(
        "vote for the longer log, not the fresher one",
        _in(
            "election",
            "request.last < member.log.last:",
            "request.last.index < member.log.last.index:",
        ),
        seed=124,
    ),
    Mutant(
        "one vote counted twice",
        (
            *_in(
                "election",
                "        self._votes.setdefault(voter, granted)\n",
                "        self._votes.setdefault(voter, granted)\n        self.granted += granted\n",
            ),
            *_in(
                "election",
                "        self._votes: dict[NodeId, bool] = {}\n",
                "        self._votes: dict[NodeId, bool] = {}\n        self.granted = 0\n",
            ),
            *_in("election", "is_won(votes.count(True), ", "is_won(self.granted, "),
        ),
    ),
    Mutant(
        "vote of an earlier term counted",
        _in(
            "roles", "        if response.term == expected or (", "        if response.granted or ("
        ),
        directed="a_vote_of_a_past_term_does_not_count",
    ),
    Mutant(
        "half of the voters are a majority",
        _in("quorum", "return voters // 2 + 1", "return (voters + 1) // 2"),
        seed=4,
    ),
    Mutant(
        "no pre-vote",
        _in(
            "roles",
            "            self.campaign(pre_vote=not member.is_sole_voter)\n",
            "            self.campaign(pre_vote=False)\n",
        ),
        seed=1,
    ),
    Mutant(
        "pre-vote raises the term",
        _in("roles", "            if not request.pre_vote:\n", "            if request:\n"),
    ),
    Mutant(
        "a live leader is voted out",
        _in(
            "roles",
            "            if not request.transfer and (self.leader is not None or member.is_led):\n",
            "            if request is None:\n",
        ),
        seed=8,
    ),
    Mutant(
        "no check of the quorum",
        _in("roles", "        if leader.has_lost_quorum:\n", "        if leader is None:\n"),
        seed=13,
    ),
    Mutant(
        "word of the leader does not restart the timer",
        _in(
            "member",
            "        self.contact_ms = self.now_ms\n        self.restart_election_timer()\n",
            "        self.contact_ms = self.now_ms\n",
        ),
    ),
    Mutant(
        "a leader of an earlier term is not answered",
        _in(
            "roles",
            "            member.send(sender, AppendRejected(member.term, refused, member.log.last))\n",
            "",
        ),
        directed="a_past_leader_is_answered",
    ),
    Mutant(
        "a new leader appends nothing",
        _in("leader", "        self.append((NO_OP,))\n", ""),
        seed=1,
    ),
    Mutant(
        "a sole voter asks to be woken at once while its vote is saved",
        _in(
            "roles",
            "        return None if self._is_vote_on_its_way() else self.member.election",
            "        return self.member.election",
        ),
        seed=31,
    ),
)

LOGS = (
    Mutant(
        "entry of an earlier term committed by counting",
        _in(
            "leader",
            "if index <= member.commit_index or member.log.term_at(index) != member.term:",
            "if index <= member.commit_index or member.log.term_at(index) is None:",
        ),
        seed=4,
    ),
    Mutant(
        "acknowledges its whole log, not what matched",
        _in(
            "follower",
            "    member.send(leader_id, AppendResponse(member.term, end))\n",
            "    member.send(leader_id, AppendResponse(member.term, member.log.end_index))\n",
        ),
        directed="only_what_matched_is_acknowledged",
    ),
    Mutant(
        "cuts without a conflict",
        _in(
            "follower",
            "    new = _not_in_log(member, body.entries)\n",
            "    new = body.entries\n",
        ),
    ),
    Mutant(
        "acknowledgement of an earlier term counted",
        _in(
            "roles",
            "        elif message.body.term == self.member.term and self.leader is not None:\n",
            "        elif self.leader is not None:\n",
        ),
        directed="an_acknowledgement_is_of_its_term",
    ),
    Mutant(
        "logs are not matched",
        _in(
            "follower",
            "    elif member.log.has(previous):\n",
            "    elif member.log.term_at(previous.index) is not None:\n",
        ),
        seed=43,
    ),
    Mutant(
        "commits as far as the leader, whatever it confirmed",
        _in(
            "follower",
            "    member.commit_to(min(body.commit_index, end))\n",
            "    member.commit_to(min(body.commit_index, member.log.end_index))\n",
        ),
        directed="only_what_matched_is_acknowledged",
    ),
    Mutant(
        "heartbeats commit what was never confirmed",
        (
            *_in(
                "leader",
                "            commit_index = min(peer.match_index, member.commit_index)\n",
                "            commit_index = member.commit_index\n",
            ),
            *_in(
                "follower",
                "    if index <= member.agreed_index or member.log.term_at(index) == body.term:\n",
                "    if index:\n",
            ),
        ),
        seed=43,
    ),
    Mutant(
        "a leader counts what it has not saved",
        _in(
            "leader",
            "self._majority(member.log.stable_index, ",
            "self._majority(member.log.end_index, ",
        ),
        seed=1,
    ),
    Mutant(
        "promises leave before the save",
        _in(
            "member",
            "after_save=_is_promise(body) or not self.is_durable",
            "after_save=not self.is_durable",
        ),
    ),
    Mutant(
        "the word of a term leaves before the term is saved",
        _in(
            "member",
            "after_save=_is_promise(body) or not self.is_durable",
            "after_save=_is_promise(body)",
        ),
    ),
    Mutant(
        "the driver sends before it saves",
        _in_driver(
            "        for message in ready.messages_now:\n",
            "        for message in (*ready.messages_now, *ready.messages):\n",
        ),
    ),
    Mutant(
        "a save that was overtaken counts for nothing",
        _in(
            "log",
            "        for entry in reversed(saved):\n",
            "        for entry in saved[-1:]:\n",
        ),
        directed="what_was_saved_is_not_saved_again",
    ),
    Mutant(
        "an acknowledgement outlives its term",
        _in("member", "        self.outbox.forget_acknowledgements()\n", ""),
        directed="an_acknowledgement_does_not_outlive_its_term",
    ),
    Mutant(
        "nothing is asked for again",
        _in(
            "progress",
            "        return self.state is PeerState.SNAPSHOT or bool(self._in_flight)\n",
            "        return False\n",
        ),
        seed=1,
    ),
    Mutant(
        "a probe waits for ever",
        _in(
            "progress",
            "            self._is_waiting = False\n            return False\n",
            "            return False\n",
        ),
    ),
    Mutant(
        "a restarted follower never says that it has caught up",
        _in(
            "catch_up",
            "        if self._target is None and self._heartbeats > 1:\n",
            "        if self._target is None and self._heartbeats > 10**6:\n",
        ),
    ),
)

READS = (
    Mutant(
        "read without a round",
        _in(
            "reads",
            "        self._waiting.extend((round_, ReadState(context, index)) for context in self._early)\n",
            "        self._confirmed.extend(ReadState(context, index) for context in self._early)\n",
        ),
        directed="a_read_waits_for_a_round",
    ),
    Mutant(
        "read before the first commit of the term",
        (
            *_in(
                "leader",
                "        if self.has_committed_own_term:\n            self._reads.begin(",
                "        if self.term_start >= 0:\n            self._reads.begin(",
            ),
            *_in(
                "leader",
                "if self._reads.has_early and self.has_committed_own_term and is_idle:",
                "if self._reads.has_early and is_idle:",
            ),
        ),
        seed=1,
    ),
    Mutant(
        "round acknowledged by an observer",
        (
            *_in(
                "leader",
                "        round_ = self._majority(self._rounds.last, lambda peer: peer.round_answered)\n",
                "        answered = [peer.round_answered for peer in self._peers.values()]\n"
                "        round_ = reached_by_majority([self._rounds.last, *answered])\n",
            ),
            *_in(
                "leader",
                "        if peer.is_voter:\n            self._confirm_rounds()\n",
                "        self._confirm_rounds()\n",
            ),
        ),
        directed="a_round_needs_voters",
    ),
    Mutant(
        "an earlier round confirms a read",
        _in(
            "reads",
            "        while self._waiting and self._waiting[0][0] <= round_:\n",
            "        while self._waiting:\n",
        ),
        directed="an_earlier_round_confirms_nothing",
    ),
    Mutant(
        "reads are answered although leadership was lost",
        _in(
            "reads",
            "        self._failed += [read.context for _, read in self._waiting]\n",
            "        self._confirmed.extend(read for _, read in self._waiting)\n",
        ),
        directed="reads_end_with_leadership",
    ),
    Mutant(
        "reads are forgotten when leadership is lost",
        _in("reads", "        self._failed += self._early\n", ""),
        seed=2,
    ),
    Mutant(
        "read answered before its state is there",
        _in(
            "reads",
            "        while self._confirmed and self._confirmed[0].index <= applied_index:\n",
            "        while self._confirmed:\n",
        ),
        seed=18,
    ),
)

MEMBERSHIP = (
    Mutant(
        "two changes of voters at once",
        _in(
            "raft",
            "        if not leader.has_committed_own_term or member.commit_index < "
            "member.log.voters_index:\n",
            "        if not leader.has_committed_own_term:\n",
        ),
        seed=7,
    ),
    Mutant(
        "voters change before the first commit of the term",
        _in(
            "raft",
            "        if not leader.has_committed_own_term or member.commit_index < "
            "member.log.voters_index:\n",
            "        if member.commit_index < member.log.voters_index:\n",
        ),
        directed="a_new_leader_changes_no_voters",
    ),
    Mutant(
        "several voters change in one entry",
        _in("checks", "    if changed + moved != 1:\n", "    if changed + moved == 0:\n"),
        directed="voter_sets_are_checked",
    ),
    Mutant(
        "majority of the old voters",
        _in(
            "leader",
            "        for voter in member.voters:\n            if voter.node_id != member.node_id:\n"
            "                values.append(of_peer(self._peers[voter.node_id]))\n",
            "        log = member.log\n"
            "        is_open = member.commit_index < log.voters_index\n"
            "        for voter in log.voters_before if is_open else log.voters:\n"
            "            if voter.node_id != member.node_id:\n"
            "                peer = self._peers.get(voter.node_id)\n"
            "                values.append(-1 if peer is None else of_peer(peer))\n",
        ),
        seed=2,
    ),
    Mutant(
        "votes of an emptied directory count",
        _in(
            "roles",
            "            case _ if self._is_impostor(message):\n",
            "            case None:\n",
        ),
        seed=32,
    ),
    Mutant(
        "acknowledgements of an emptied directory count",
        (
            *_in(
                "roles",
                "            case _ if self._is_impostor(message):\n",
                "            case None:\n",
            ),
            *_in(
                "leader",
                "        if peer.is_voter:\n            return None\n",
                "        if peer.is_voter:\n            return peer\n",
            ),
        ),
        seed=13,
    ),
    Mutant(
        "an observer counts for commits",
        (
            *_in(
                "leader",
                "        index = LogIndex(self._majority(member.log.stable_index, "
                "lambda peer: peer.match_index))\n",
                "        matches = [peer.match_index for peer in self._peers.values()]\n"
                "        index = LogIndex(reached_by_majority([member.log.stable_index, *matches]))\n",
            ),
        ),
        seed=7,
    ),
    Mutant(
        "a leader leaves before its removal is committed",
        _in(
            "leader",
            "        return not member.is_voter and member.commit_index >= member.log.voters_index\n",
            "        return not member.is_voter\n",
        ),
        seed=43,
    ),
    Mutant(
        "a removed leader leads on",
        _in(
            "leader",
            "        return not member.is_voter and member.commit_index >= member.log.voters_index\n",
            "        return False\n",
        ),
        seed=30,
    ),
    Mutant(
        "a change of voters that was cut stays in force",
        _in(
            "log",
            "        while self._voter_sets and self._voter_sets[-1][0] > index:\n"
            "            self._voter_sets.pop()\n",
            "",
        ),
        seed=59,
    ),
    Mutant(
        "whoever cuts its own removal never campaigns",
        _in(
            "member",
            "        return self.is_voter or (is_open and self._is_among(log.voters_before))\n",
            "        return self.is_voter or (is_open and log is None)\n",
        ),
        seed=26,
        focus=("voters", "crash"),
    ),
    Mutant(
        "leadership cannot be transferred past a live leader",
        _in("roles", "            if not request.transfer and (", "            if ("),
    ),
)

SNAPSHOTS = (
    Mutant(
        "a snapshot over committed entries",
        _in("follower", "    if point.index > member.commit_index:\n", "    if point.index:\n"),
        seed=44,
        focus=("compact", "links"),
    ),
    Mutant(
        "the voters of a snapshot are ignored",
        _in(
            "log",
            '        """Forget everything and begin behind `snapshot`."""\n        self._begin(snapshot)\n',
            '        """Forget everything and begin behind `snapshot`."""\n'
            "        self._begin(SnapshotMeta(snapshot.point, self.voters))\n",
        ),
        seed=15,
    ),
    Mutant(
        "compaction forgets the voters",
        _in(
            "log",
            "        self._start = snapshot\n",
            "        self._start = SnapshotMeta(snapshot.point, self._start.voters)\n",
        ),
        seed=2,
    ),
    Mutant(
        "compaction beyond what is applied",
        _in(
            "raft",
            "        if point.index > member.applied_index or member",
            "        if member",
        ),
        directed="compaction_is_checked",
    ),
    Mutant(
        "entries behind a snapshot are kept though they do not follow it",
        _in(
            "log",
            '        """Forget everything and begin behind `snapshot`."""\n        self._begin(snapshot)\n',
            '        """Forget everything and begin behind `snapshot`."""\n'
            "        kept = [entry for entry in self._entries if entry.index >= snapshot.point.index]\n"
            "        self._begin(snapshot)\n"
            "        if kept and kept[0].index == snapshot.point.index:\n"
            "            self.append(kept)\n",
        ),
        seed=15,
    ),
    Mutant(
        "a failed snapshot is not sent again",
        _in(
            "progress",
            "        self.probe(self.match_index)\n        self._is_waiting = True\n",
            "",
        ),
        seed=10,
    ),
    Mutant(
        "a snapshot that was delivered and lost is not sent again",
        _in("leader", " > patience_ms:\n", " > 10**9:\n"),
        seed=268,
        focus=("compact", "crash"),
    ),
)

TIMING = (
    Mutant(
        "a leader that stood still speaks before it looks around",
        _in(
            "roles",
            "        if self.leader is not None and self.leader.is_overdue:\n"
            "            self._tick_leader(self.leader)\n",
            "",
        ),
        directed="a_leader_that_stood_still_is_silent",
    ),
    Mutant(
        "an answer proves the moment of its arrival",
        _in(
            "leader",
            "        if peer.answered_heartbeat(round_, begun_ms):\n",
            "        if peer.answered_heartbeat(round_, self._member.now_ms):\n",
        ),
        directed="a_late_answer_proves_nothing",
    ),
    Mutant(
        "a follower that stood still campaigns at once",
        _in(
            "member",
            "        if is_late and not self._was_late and not",
            "        if not is_late and not",
        ),
        directed="a_follower_that_stood_still_waits",
    ),
)

MUTANTS: tuple[Mutant, ...] = (*ELECTIONS, *LOGS, *READS, *MEMBERSHIP, *SNAPSHOTS, *TIMING)
