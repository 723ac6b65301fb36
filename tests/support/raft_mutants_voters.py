"""Bugs to be planted into membership and snapshots of the consensus core."""

from __future__ import annotations

from tests.support.raft_mutant import Mutant, in_core

MEMBERSHIP: tuple[Mutant, ...] = (
    Mutant(
        "two changes of voters at once",
        in_core(
            "raft",
            "        if not leader.has_committed_own_term or member.commit_index < "
            "member.log.voters_index:\n",
            "        if not leader.has_committed_own_term:\n",
        ),
        focus=("voters", "crash"),
    ),
    Mutant(
        "voters change before the first commit of the term",
        in_core(
            "raft",
            "        if not leader.has_committed_own_term or member.commit_index < "
            "member.log.voters_index:\n",
            "        if member.commit_index < member.log.voters_index:\n",
        ),
        directed="a_new_leader_changes_no_voters",
    ),
    Mutant(
        "several voters change in one entry",
        in_core("checks", "    if changed + moved > 1:\n", "    if changed + moved > 9:\n"),
        directed="voter_sets_are_checked",
    ),
    Mutant(
        "majority of the old voters",
        in_core(
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
        focus=("voters", "crash"),
    ),
    Mutant(
        "votes of an emptied directory count",
        in_core(
            "roles",
            "            case _ if self._is_impostor(message):\n",
            "            case None:\n",
        ),
        seed=13,
        focus=("wipe", "voters"),
    ),
    Mutant(
        "acknowledgements of an emptied directory count",
        (
            *in_core(
                "roles",
                "            case _ if self._is_impostor(message):\n",
                "            case None:\n",
            ),
            *in_core(
                "leader",
                "        if peer.is_voter:\n            return None\n",
                "        if peer.is_voter:\n            return peer\n",
            ),
        ),
        focus=("wipe", "voters"),
    ),
    Mutant(
        "an observer counts for commits",
        (
            *in_core(
                "leader",
                "        index = LogIndex(self._majority(member.log.stable_index, "
                "lambda peer: peer.match_index))\n",
                "        matches = [peer.match_index for peer in self._peers.values()]\n"
                "        index = LogIndex("
                "reached_by_majority([member.log.stable_index, *matches]))\n",
            ),
        ),
        focus=("voters", "crash"),
    ),
    Mutant(
        "a leader leaves before its removal is committed",
        in_core(
            "leader",
            "return not member.is_voter and member.commit_index >= member.log.voters_index\n",
            "return not member.is_voter\n",
        ),
        seed=1,
        focus=("wipe", "voters"),
    ),
    Mutant(
        "a removed leader leads on",
        in_core(
            "leader",
            "return not member.is_voter and member.commit_index >= member.log.voters_index\n",
            "return False\n",
        ),
        seed=18,
        focus=("formation",),
    ),
    Mutant(
        "a change of voters that was cut stays in force",
        in_core(
            "log",
            "        while self._voter_sets and self._voter_sets[-1][0] > index:\n"
            "            self._voter_sets.pop()\n",
            "",
        ),
        focus=("formation",),
    ),
    Mutant(
        "whoever cuts its own removal never campaigns",
        in_core(
            "member",
            "        return self.is_voter or (is_open and self._is_among(log.voters_before))\n",
            "        return self.is_voter or (is_open and log is None)\n",
        ),
        directed="whoever_holds_its_own_removal_campaigns",
    ),
    Mutant(
        "leadership cannot be transferred past a live leader",
        in_core("roles", "            if not request.transfer and (", "            if ("),
        seed=2,
        focus=("wipe", "voters"),
    ),
)

SNAPSHOTS: tuple[Mutant, ...] = (
    Mutant(
        "a snapshot over committed entries",
        in_core("follower", "    if point.index > member.commit_index:\n", "    if point.index:\n"),
        seed=8,
        focus=("compact", "crash"),
    ),
    Mutant(
        "the voters of a snapshot are ignored",
        in_core(
            "log",
            'and begin behind `snapshot`."""\n        self._begin(snapshot)\n',
            'and begin behind `snapshot`."""\n'
            "        self._begin(SnapshotMeta(snapshot.point, self.voters))\n",
        ),
        seed=2,
        focus=("wipe", "voters"),
    ),
    Mutant(
        "compaction forgets the voters",
        in_core(
            "log",
            "        self._start = snapshot\n",
            "        self._start = SnapshotMeta(snapshot.point, self._start.voters)\n",
        ),
        seed=2,
    ),
    Mutant(
        "compaction beyond what is applied",
        in_core(
            "raft",
            "        if point.index > member.applied_index or member",
            "        if member",
        ),
        directed="compaction_is_checked",
    ),
    Mutant(
        "entries behind a snapshot are kept though they do not follow it",
        in_core(
            "log",
            'and begin behind `snapshot`."""\n        self._begin(snapshot)\n',
            'and begin behind `snapshot`."""\n'
            "        at = snapshot.point.index\n"
            "        kept = [entry for entry in self._entries if entry.index >= at]\n"
            "        self._begin(snapshot)\n"
            "        if kept and kept[0].index == at:\n"
            "            self.append(kept)\n",
        ),
        seed=153,
        focus=("compact", "cut"),
    ),
    Mutant(
        "a failed snapshot is not sent again",
        in_core(
            "progress",
            "        self.probe(self.match_index)\n        self._is_waiting = True\n",
            "",
        ),
        seed=140,
    ),
    Mutant(
        "a snapshot that was delivered and lost is not sent again",
        in_core("leader", " > patience_ms:\n", " > 10**9:\n"),
        directed="a_lost_snapshot_is_sent_again",
    ),
)
