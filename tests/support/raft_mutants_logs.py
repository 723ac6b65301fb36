"""Bugs to be planted into replication, commits and reads of the consensus core."""

from __future__ import annotations

from tests.support.raft_mutant import Mutant, in_core, in_driver

LOGS: tuple[Mutant, ...] = (
    Mutant(
        "entry of an earlier term committed by counting",
        in_core(
            "leader",
            "if index <= member.commit_index or member.log.term_at(index) != member.term:",
            "if index <= member.commit_index or member.log.term_at(index) is None:",
        ),
        seed=2,
    ),
    Mutant(
        "acknowledges its whole log, not what matched",
        in_core(
            "follower",
            "    member.send(leader_id, AppendResponse(member.term, end))\n",
            "    member.send(leader_id, AppendResponse(member.term, member.log.end_index))\n",
        ),
        directed="only_what_matched_is_acknowledged",
    ),
    Mutant(
        "cuts without a conflict",
        in_core(
            "follower",
            "    new = _not_in_log(member, body.entries)\n",
            "    new = body.entries\n",
        ),
    ),
    Mutant(
        "acknowledgement of an earlier term counted",
        in_core(
            "roles",
            "        elif message.body.term == self.member.term and self.leader is not None:\n",
            "        elif self.leader is not None:\n",
        ),
        directed="an_acknowledgement_is_of_its_term",
    ),
    Mutant(
        "logs are not matched",
        in_core(
            "follower",
            "    elif member.log.has(previous):\n",
            "    elif member.log.term_at(previous.index) is not None:\n",
        ),
        seed=2,
        focus=("formation",),
    ),
    Mutant(
        "commits as far as the leader, whatever it confirmed",
        in_core(
            "follower",
            "    member.commit_to(min(body.commit_index, end))\n",
            "    member.commit_to(min(body.commit_index, member.log.end_index))\n",
        ),
        directed="only_what_matched_is_acknowledged",
    ),
    Mutant(
        "heartbeats commit what was never confirmed",
        (
            *in_core(
                "leader",
                "            commit_index = min(peer.match_index, member.commit_index)\n",
                "            commit_index = member.commit_index\n",
            ),
            *in_core(
                "follower",
                "    if index <= member.agreed_index or member.log.term_at(index) == body.term:\n",
                "    if index:\n",
            ),
        ),
        seed=23,
        focus=("wipe", "voters"),
    ),
    Mutant(
        "a leader counts what it has not saved",
        in_core(
            "leader",
            "self._majority(member.log.stable_index, ",
            "self._majority(member.log.end_index, ",
        ),
        seed=1,
    ),
    Mutant(
        "promises leave before the save",
        in_core(
            "member",
            "after_save=_is_promise(body) or not self.is_durable",
            "after_save=not self.is_durable",
        ),
    ),
    Mutant(
        "the word of a term leaves before the term is saved",
        in_core(
            "member",
            "after_save=_is_promise(body) or not self.is_durable",
            "after_save=_is_promise(body)",
        ),
    ),
    Mutant(
        "the driver sends before it saves",
        in_driver(
            "        for message in ready.messages_now:\n",
            "        for message in (*ready.messages_now, *ready.messages):\n",
        ),
    ),
    Mutant(
        "a save that was overtaken counts for nothing",
        in_core(
            "log",
            "        for entry in reversed(saved):\n",
            "        for entry in saved[-1:]:\n",
        ),
        directed="what_was_saved_is_not_saved_again",
    ),
    Mutant(
        "an acknowledgement outlives its term",
        in_core("member", "        self.outbox.forget_acknowledgements()\n", ""),
        directed="an_acknowledgement_does_not_outlive_its_term",
    ),
    Mutant(
        "nothing is asked for again",
        in_core(
            "progress",
            "        return self.state is PeerState.SNAPSHOT or bool(self._in_flight)\n",
            "        return False\n",
        ),
        seed=1,
    ),
    Mutant(
        "a probe waits for ever",
        in_core(
            "progress",
            "            self._is_waiting = False\n            return False\n",
            "            return False\n",
        ),
    ),
    Mutant(
        "a restarted follower never says that it has caught up",
        in_core(
            "catch_up",
            "        if self._target is None and self._heartbeats > 1:\n",
            "        if self._target is None and self._heartbeats > 10**6:\n",
        ),
        seed=4,
    ),
)

READS: tuple[Mutant, ...] = (
    Mutant(
        "read without a round",
        in_core(
            "reads",
            "        self._waiting.extend((round_, ReadState(context, index)) for ",
            "        self._confirmed.extend(ReadState(context, index) for ",
        ),
        directed="a_read_waits_for_a_round",
    ),
    Mutant(
        "read before the first commit of the term",
        (
            *in_core(
                "leader",
                "        if self.has_committed_own_term:\n            self._reads.begin(",
                "        if self.term_start >= 0:\n            self._reads.begin(",
            ),
            *in_core(
                "leader",
                "if self._reads.is_urgent and self.has_committed_own_term and is_idle:",
                "if self._reads.is_urgent and is_idle:",
            ),
        ),
        seed=1,
    ),
    Mutant(
        "round acknowledged by an observer",
        (
            *in_core(
                "leader",
                "        round_ = self._majority(self._rounds.last, lambda peer: peer.round_"
                "answered)\n",
                "        answered = [peer.round_answered for peer in self._peers.values()]\n"
                "        round_ = reached_by_majority([self._rounds.last, *answered])\n",
            ),
            *in_core(
                "leader",
                "        if peer.is_voter:\n            self._confirm_rounds()\n",
                "        self._confirm_rounds()\n",
            ),
        ),
        directed="a_round_needs_voters",
    ),
    Mutant(
        "an earlier round confirms a read",
        in_core(
            "reads",
            "        while self._waiting and self._waiting[0][0] <= round_:\n",
            "        while self._waiting:\n",
        ),
        directed="an_earlier_round_confirms_nothing",
    ),
    Mutant(
        "reads are answered although leadership was lost",
        in_core(
            "reads",
            "        self._failed += [read.context for _, read in self._waiting]\n",
            "        self._confirmed.extend(read for _, read in self._waiting)\n",
        ),
        directed="reads_end_with_leadership",
    ),
    Mutant(
        "reads are forgotten when leadership is lost",
        in_core("reads", "        self._failed += self._early\n", ""),
        seed=1,
        focus=("wipe", "voters"),
    ),
    Mutant(
        "read answered before its state is there",
        in_core(
            "reads",
            "        while self._confirmed and self._confirmed[0].index <= applied_index:\n",
            "        while self._confirmed:\n",
        ),
        seed=10,
    ),
)
