"""A leader: it appends, replicates, commits, proves that it still leads, and hands over.

| event | effect |
| --- | --- |
| elected | no-op of the own term; each peer is probed at the end of the log before it |
| entries to send, room on the way | appends, made when the driver looks for work (`flush`) |
| a majority acknowledged an entry of the own term | committed; told with the next append |
| heartbeat due, or reads that do not wait for it | a round of heartbeats |
| round answered by a majority | the reads that waited for it are confirmed |
| no majority answers what was asked within an election timeout | it steps down |
| a voter set appended | in force at once: peers come and go |
| committed, and this node is no voter any more | the freshest voter is told to campaign |

Only answers of voters count, only under the directory they vote from. The own log counts as far as
it is durable: appends leave before the own save, so a majority may have an entry that the leader
has not saved yet, and then it is committed all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from logd.consensus.log_types import NO_OP, Entry, LogPoint, Voters
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
)
from logd.consensus.progress import MESSAGE_BYTES_MAX, Peer, PeerState
from logd.consensus.quorum import reached_by_majority
from logd.consensus.reads import ReadQueue
from logd.consensus.ready import PeerProgress
from logd.consensus.rounds import HeartbeatRounds
from logd.model.ids import DirectoryId, LogIndex, NodeId

#: Parts of a heartbeat to which the times of rounds are kept.
_ROUND_TIMES_PER_HEARTBEAT: Final = 4
#: Election timeouts after which a snapshot that the peer says it does not have is sent again: it
#: was delivered and then lost, which the driver here does not see.
_SNAPSHOT_PATIENCE: Final = 3


class Leader:
    def __init__(self, member: Member, reads: ReadQueue, observers: Sequence[NodeId]) -> None:
        """Lead from now on; `member` is in the term that it was elected for, and its vote saved."""
        self._member = member
        self._reads = reads
        self._observers = tuple(observers)
        timing = member.timing
        self._rounds = HeartbeatRounds(
            resolution_ms=max(1, timing.heartbeat_ms // _ROUND_TIMES_PER_HEARTBEAT),
            memory_ms=timing.election_timeout_ms_max,
        )
        self._round_confirmed = 0
        self._next_heartbeat_ms = member.now_ms + timing.heartbeat_ms
        #: Whom leadership is transferred to, and when that has failed.
        self._transfer: tuple[NodeId, int] | None = None
        self._peers: dict[NodeId, Peer] = {}
        #: Until then the quorum cannot be lost: of the answers so far. More of them only add to it.
        self._safe_until_ms = -1
        self._follow_voters()
        #: Index of this term's no-op.
        self.term_start = member.log.end_index
        self.append((NO_OP,))

    # --- what it is asked for -------------------------------------------------------------------

    def append(self, payloads: tuple[bytes, ...], voters: Voters | None = None) -> Entry:
        member = self._member
        entry = Entry(member.log.end_index, member.term, payloads, voters)
        member.log.append((entry,))
        if voters is not None:
            self._follow_voters()
        return entry

    def observe(self, nodes: Sequence[NodeId]) -> None:
        """Send the log to `nodes` too, beside the voters."""
        self._observers = tuple(nodes)
        self._follow_voters()

    def read(self, context: int, patience_ms: int) -> None:
        """A round of its own is not begun for a read that can wait for the next heartbeat."""
        left_ms = self._next_heartbeat_ms - self._member.now_ms
        self._reads.ask(context, urgent=not self._peers or left_ms > patience_ms)
        self._begin_round_for_reads()

    def transfer(self, to: NodeId) -> None:
        """Hand over to a voter as soon as it has the whole log; no entries are taken meanwhile."""
        member = self._member
        self._transfer = (to, member.now_ms + member.timing.election_timeout_ms_max)
        self._maybe_hand_over(to)

    def snapshot_failed(self, to: NodeId) -> None:
        peer = self._peers.get(to)
        if peer is not None and peer.state is PeerState.SNAPSHOT:
            peer.snapshot_failed()

    # --- what it is -----------------------------------------------------------------------------

    @property
    def has_committed_own_term(self) -> bool:
        """Before, the commit index may be lower than that of the leader before."""
        return self._member.commit_index > self.term_start

    @property
    def may_send(self) -> bool:
        """Whether a small entry appended now may leave before others have arrived."""
        return any(peer.may_send(0) for peer in self._peers.values())

    @property
    def is_handing_over(self) -> bool:
        return self._transfer is not None

    @property
    def has_left(self) -> bool:
        """Whether this node was removed from the voters, and that is committed."""
        member = self._member
        return not member.is_voter and member.commit_index >= member.log.voters_index

    @property
    def has_lost_quorum(self) -> bool:
        """Whether no majority answered what it was asked within the last election timeout."""
        member = self._member
        if member.now_ms > self._safe_until_ms:
            heard_ms = self._majority(member.now_ms, lambda peer: peer.heard_ms)
            self._safe_until_ms = heard_ms + member.timing.election_timeout_ms_max
        return member.now_ms > self._safe_until_ms

    @property
    def is_overdue(self) -> bool:
        """Whether a tick is missing: this process stood still, or its driver sleeps."""
        late_ms = self._member.now_ms - self._next_heartbeat_ms
        return late_ms > self._member.timing.heartbeat_ms

    def next_deadline_ms(self) -> int | None:
        """None: without peers time changes nothing."""
        return self._next_heartbeat_ms if self._peers else None

    def progress(self) -> tuple[PeerProgress, ...]:
        member = self._member
        since_ms = member.now_ms - member.timing.election_timeout_ms_max
        return tuple(
            PeerProgress(
                node_id,
                peer.match_index,
                peer.next_index,
                peer.is_voter,
                peer.round_answered > 0 and peer.heard_ms >= since_ms,
                peer.state,
            )
            for node_id, peer in self._peers.items()
        )

    # --- time -----------------------------------------------------------------------------------

    def tick(self) -> None:
        """Do what is due. The caller has looked at `has_lost_quorum` before."""
        now_ms = self._member.now_ms
        if self._transfer is not None and now_ms >= self._transfer[1]:
            self._transfer = None
        if now_ms >= self._next_heartbeat_ms:
            self._begin_round()

    def _begin_round(self) -> None:
        member = self._member
        round_ = self._rounds.begin(member.now_ms)
        self._next_heartbeat_ms = member.now_ms + member.timing.heartbeat_ms
        if self.has_committed_own_term:
            self._reads.begin(member.commit_index, round_)
        for node_id, peer in self._peers.items():
            commit_index = min(peer.match_index, member.commit_index)
            peer.commit_told = max(peer.commit_told, commit_index)
            member.send(node_id, HeartbeatRequest(member.term, commit_index, round_))
        self._confirm_rounds()

    def _begin_round_for_reads(self) -> None:
        """Reads share rounds: the next one begins when the one before is answered, or is due."""
        is_idle = self._round_confirmed == self._rounds.last
        if self._reads.is_urgent and self.has_committed_own_term and is_idle:
            self._begin_round()

    def _confirm_rounds(self) -> None:
        round_ = self._majority(self._rounds.last, lambda peer: peer.round_answered)
        if round_ > self._round_confirmed:
            self._round_confirmed = round_
            self._reads.confirm(round_)
            self._begin_round_for_reads()

    # --- answers --------------------------------------------------------------------------------

    def take_answer(self, message: Message) -> None:
        """Take an answer of this term."""
        peer = self._peer_of(message)
        if peer is None:
            return
        match message.body:
            case AppendResponse(match_index=match_index):
                self._take_acknowledgement(message.sender, peer, match_index)
            case AppendRejected() as rejected:
                self._take_rejection(message.sender, peer, rejected)
            case HeartbeatResponse(round=round_):
                self._take_heartbeat_answer(message.sender, peer, round_)
            case _:
                return

    def _peer_of(self, message: Message) -> Peer | None:
        peer = self._peers.get(message.sender)
        if peer is None or peer.directory_id == message.sender_directory:
            return peer
        if peer.is_voter:
            return None
        if peer.directory_id is not None:
            # An observer that begins anew, with an empty folder.
            peer = self._peers[message.sender] = self._new_peer(None, is_voter=False)
        peer.directory_id = message.sender_directory
        return peer

    def _take_acknowledgement(self, sender: NodeId, peer: Peer, match_index: LogIndex) -> None:
        log = self._member.log
        is_below = match_index <= log.start.point.index
        if not is_below and log.term_at(match_index) is None:
            return
        if peer.acknowledged(match_index):
            if peer.state is PeerState.SNAPSHOT and log.term_at(match_index) is not None:
                # An older snapshot, or entries, came first; from there on the log goes on.
                peer.probe(match_index)
            self.maybe_commit()
            self._maybe_hand_over(sender)

    def _take_rejection(self, sender: NodeId, peer: Peer, rejected: AppendRejected) -> None:
        hint = rejected.hint
        below = LogIndex(min(hint.index, rejected.rejected_index - 1))
        if below < 0 or not peer.accepts_rejection(rejected.rejected_index):
            return
        if peer.state is PeerState.SNAPSHOT:
            self._lose_patience(peer)
            return
        if below <= peer.match_index:
            peer.probe(peer.match_index)
            return
        agreed = self._member.log.last_point_within(LogPoint(hint.term, below))
        if agreed is None:
            self._send_snapshot(sender, peer)
        else:
            peer.probe(agreed.index)

    def _lose_patience(self, peer: Peer) -> None:
        """A peer does not have the snapshot that is on its way to it."""
        member = self._member
        patience_ms = _SNAPSHOT_PATIENCE * member.timing.election_timeout_ms_max
        if member.now_ms - peer.snapshot_ms > patience_ms:
            peer.snapshot_failed()

    def _take_heartbeat_answer(self, sender: NodeId, peer: Peer, round_: int) -> None:
        begun_ms = self._rounds.begun_ms(round_)
        if begun_ms is None:
            return
        if peer.answered_heartbeat(round_, begun_ms):
            self._ask(sender, peer)
        if peer.is_voter:
            self._confirm_rounds()
        self._maybe_hand_over(sender)

    def _ask(self, sender: NodeId, peer: Peer) -> None:
        """Ask whether what was sent has arrived: an empty append behind it tells."""
        at = peer.snapshot or self._point_at(peer.next_index)
        if at is None:
            # The log was compacted meanwhile: nothing behind which to ask.
            self._send_snapshot(sender, peer)
        else:
            self._send_append(sender, peer, at, ())

    def maybe_commit(self) -> bool:
        """Commit what a majority has saved, up to an entry of the own term [Raft 5.4.2]."""
        member = self._member
        index = LogIndex(self._majority(member.log.stable_index, lambda peer: peer.match_index))
        if index <= member.commit_index or member.log.term_at(index) != member.term:
            return False
        member.commit_to(index)
        self._begin_round_for_reads()
        return True

    def _majority(self, own: int, of_peer: Callable[[Peer], int]) -> int:
        """Return what a majority of the voters has reached; `own` is this node's value.

        A voter of this node's id under another directory is not this node.
        """
        member = self._member
        values = []
        for voter in member.voters:
            if voter.node_id != member.node_id:
                values.append(of_peer(self._peers[voter.node_id]))
            elif voter.directory_id == member.identity.directory_id:
                values.append(own)
            else:
                values.append(-1)
        return reached_by_majority(values)

    # --- sending --------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send each peer what it lacks and may be sent; calling it again sends nothing more."""
        for node_id, peer in self._peers.items():
            while self._has_news_for(peer) and peer.may_send(self._waiting_bytes(peer)):
                self._send_next(node_id, peer)

    def _has_news_for(self, peer: Peer) -> bool:
        """Entries, a commit that it was not told of, or the question where the logs agree."""
        member = self._member
        return (
            peer.next_index != member.log.end_index
            or peer.commit_told < member.commit_index
            or peer.state is PeerState.PROBE
        )

    def _waiting_bytes(self, peer: Peer) -> int:
        log = self._member.log
        if peer.next_index == log.end_index or log.term_at(peer.next_index) is None:
            return 0
        return log.size_bytes(peer.next_index, log.end_index)

    def _send_next(self, to: NodeId, peer: Peer) -> None:
        at = self._point_at(peer.next_index)
        if at is None:
            self._send_snapshot(to, peer)
        else:
            entries = self._member.log.entries_from(at.index, bytes_max=MESSAGE_BYTES_MAX)
            self._send_append(to, peer, at, entries)

    def _point_at(self, index: LogIndex) -> LogPoint | None:
        term = self._member.log.term_at(index)
        return None if term is None else LogPoint(term, index)

    def _send_append(
        self, to: NodeId, peer: Peer, at: LogPoint, entries: tuple[Entry, ...]
    ) -> None:
        member = self._member
        end = entries[-1].next_index if entries else at.index
        size_bytes = member.log.size_bytes(at.index, end) if entries else 0
        peer.sent(end, size_bytes, self._rounds.last)
        peer.commit_told = max(peer.commit_told, member.commit_index)
        member.send(to, AppendRequest(member.term, at, entries, member.commit_index))

    def _send_snapshot(self, to: NodeId, peer: Peer) -> None:
        member = self._member
        snapshot = member.log.start
        peer.sent_snapshot(snapshot.point, self._rounds.last, member.now_ms)
        member.send(to, InstallSnapshot(member.term, snapshot))

    # --- handing over ---------------------------------------------------------------------------

    def _maybe_hand_over(self, node_id: NodeId) -> None:
        """Tell the one whom leadership is transferred to, once it has everything.

        Told again after each heartbeat: the message may be lost.
        """
        if self._transfer is not None and self._transfer[0] == node_id:
            peer = self._peers[node_id]
            if peer.match_index == self._member.log.end_index:
                self._member.send(node_id, TimeoutNow(self._member.term))

    def leave(self) -> None:
        """Tell everyone what is committed, and the freshest voter to campaign."""
        self.flush()
        voters = [node_id for node_id, peer in self._peers.items() if peer.is_voter]
        if voters:
            freshest = max(voters, key=lambda node_id: self._peers[node_id].match_index)
            self._member.send(freshest, TimeoutNow(self._member.term))

    # --- peers ----------------------------------------------------------------------------------

    def _follow_voters(self) -> None:
        """Make the peers those of the voters in force and the observers, in order of their ids."""
        member = self._member
        directories: dict[NodeId, DirectoryId | None] = dict.fromkeys(self._observers)
        for voter in member.voters:
            directories[voter.node_id] = voter.directory_id
        directories.pop(member.node_id, None)
        votes = {voter.node_id for voter in member.voters}
        self._safe_until_ms = -1
        before, self._peers = self._peers, {}
        for node_id in sorted(directories):
            self._peers[node_id] = self._kept_peer(
                before.get(node_id), directories[node_id], is_voter=node_id in votes
            )
        if self._transfer is not None and self._transfer[0] not in votes:
            self._transfer = None
        # Those that answered already may be a majority now; a sole voter is, and hears of nobody.
        self._confirm_rounds()

    def _kept_peer(
        self, peer: Peer | None, directory_id: DirectoryId | None, *, is_voter: bool
    ) -> Peer:
        """Return `peer` unless it has to begin anew: under a directory that it was not under."""
        if peer is None or (is_voter and peer.directory_id != directory_id):
            return self._new_peer(directory_id, is_voter=is_voter)
        if is_voter and not peer.is_voter:
            peer.heard_ms = self._member.now_ms
        peer.is_voter = is_voter
        return peer

    def _new_peer(self, directory_id: DirectoryId | None, *, is_voter: bool) -> Peer:
        member = self._member
        return Peer(
            member.log.end_index,
            directory_id=directory_id,
            is_voter=is_voter,
            now_ms=member.now_ms,
        )
