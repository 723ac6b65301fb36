"""Raft without I/O: messages and time in, work for a driver out.

    driver:   core.tick(now) when core.next_deadline_ms() is reached; core.step(message, now)
              send(core.take_messages_now())            # at any time, also during a save
              while core.has_ready():
                  ready = core.ready()
                  send(ready.messages_now)
                  save(ready.hard_state, ready.snapshot, ready.entries)   # fdatasync
                  send(ready.messages)
                  restore(ready.snapshot); apply(ready.committed)
                  core.advance(ready)
                  answer(ready.reads); fail(ready.reads_failed)

States, events and effects are in `roles`, those of a leader in `leader`.

Same calls, same results: nothing here depends on a clock, on chance but `random`, or on the order
of a set.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from logd_wire.errors import ErrorCode, InvalidRequestError, NotLeaderError

from logd.consensus.catch_up import CatchUp
from logd.consensus.checks import check_payloads, check_start, check_voters_change
from logd.consensus.leader import Leader
from logd.consensus.log import RaftLog
from logd.consensus.log_types import (
    LOG_START,
    Entry,
    HardState,
    Identity,
    LogPoint,
    Role,
    SnapshotMeta,
    Voter,
    Voters,
)
from logd.consensus.member import Member
from logd.consensus.messages import Message
from logd.consensus.reads import ReadQueue
from logd.consensus.ready import PeerProgress, Proposal, Ready
from logd.consensus.roles import Roles
from logd.consensus.timing import RaftTiming
from logd.model.ids import NO_NODE, LogIndex, NodeId, Term

#: Entries handed out in one ready to be applied: the driver looks at the clock in between.
_COMMITTED_BYTES_MAX: Final = 1024 * 1024


class RaftCore:
    """One member of a quorum. One thread at a time; proposals, reads, messages and ticks may come
    while a ready is being worked on."""

    def __init__(
        self,
        identity: Identity,
        *,
        hard_state: HardState | None,
        snapshot: SnapshotMeta | None,
        entries: Sequence[Entry],
        founder: bool,
        address: str,
        timing: RaftTiming,
        random: Callable[[], float],
        now_ms: int,
        commit_index: LogIndex = LogIndex(0),  # noqa: B008
    ) -> None:
        """Start from what is durable: `entries` behind `snapshot`, or the whole log.

        `hard_state` is None in a new folder only, and only then `founder` is looked at: the founder
        is the only voter until its log or snapshot holds a voter set, under `address`. `random`
        returns numbers from 0 to below 1. `commit_index`: known to be committed; it only lets the
        node apply before it hears of a leader. Raises ConfigError when the folder's promises were
        made under another identity, StorageFailedError when the log does not fit them.
        """
        check_start(identity, hard_state, snapshot, entries)
        state = hard_state or HardState(Term(0), NO_NODE, identity, founder)
        start = snapshot or SnapshotMeta(LOG_START, ())
        if state.founder and not start.voters:
            voter = Voter(identity.node_id, identity.directory_id, address)
            start = SnapshotMeta(start.point, (voter,))
        log = RaftLog(start, entries)
        self._member = Member(state, log, timing=timing, random=random, now_ms=now_ms)
        self._member.saved_hard_state = hard_state
        self._member.commit_to(commit_index)
        self._reads = ReadQueue()
        self._catch_up = CatchUp()
        self._roles = Roles(self._member, self._reads, self._catch_up)
        self._pending: Ready | None = None

    # --- what it is -----------------------------------------------------------------------------

    @property
    def role(self) -> Role:
        return self._roles.role

    @property
    def term(self) -> Term:
        return self._member.term

    @property
    def leader_id(self) -> NodeId | None:
        """The leader of this term, if known."""
        return self._member.leader_id

    @property
    def voters(self) -> Voters:
        """The voters in force: those of the last entry that has some, committed or not."""
        return self._member.voters

    @property
    def commit_index(self) -> LogIndex:
        """End index of what is known to be committed."""
        return self._member.commit_index

    @property
    def applied_index(self) -> LogIndex:
        """End index of what the driver has applied."""
        return self._member.applied_index

    @property
    def end_index(self) -> LogIndex:
        """The index of the next entry."""
        return self._member.log.end_index

    @property
    def snapshot_point(self) -> LogPoint:
        """Where the log begins."""
        return self._member.log.start.point

    @property
    def applied_snapshot(self) -> SnapshotMeta:
        """What a snapshot of the state machine stands for, taken now: between two readies."""
        member = self._member
        if member.snapshot_due is not None:
            raise RuntimeError("a snapshot is being installed, the state is behind the log")
        return member.log.snapshot_at(member.applied_index)

    @property
    def has_caught_up(self) -> bool:
        """Whether what was committed before this start, or this leadership, has been applied."""
        if self._roles.leader is not None:
            return self._member.applied_index > self._roles.leader.term_start
        self._look_whether_caught_up()
        return self._catch_up.is_done

    def _look_whether_caught_up(self) -> None:
        member = self._member
        applied_term = member.log.term_at(member.applied_index)
        if applied_term == member.term:
            self._catch_up.reach(member.applied_index)

    @property
    def may_send_entries(self) -> bool:
        """Whether an entry proposed now may leave before others have arrived."""
        return self._roles.leader is not None and self._roles.leader.may_send

    def progress(self) -> tuple[PeerProgress, ...]:
        """What a leader knows of voters and observers, by node id; of anybody else nothing."""
        return self._roles.leader.progress() if self._roles.leader is not None else ()

    # --- time and messages ----------------------------------------------------------------------

    def next_deadline_ms(self) -> int | None:
        """When to tick next; None: time alone changes nothing."""
        return self._roles.next_deadline_ms()

    def tick(self, now_ms: int) -> None:
        """Time has come to `now_ms`; a time before one that was told already counts as that."""
        self._roles.tick(now_ms)

    def step(self, message: Message, now_ms: int) -> None:
        """Take in one message. What makes no sense is dropped, whatever a peer sends."""
        self._roles.step(message, now_ms)

    # --- what a leader is asked for -------------------------------------------------------------

    def propose(self, payloads: Sequence[bytes]) -> Proposal:
        """Append one entry, all of it or nothing.

        Raises NotLeaderError (NOT_CONTROLLER), also while leadership is handed over, and
        InvalidRequestError for an entry that is empty or too large.
        """
        leader = self._check_appends()
        check_payloads(payloads)
        entry = leader.append(tuple(payloads))
        return Proposal(entry.index, entry.term)

    def propose_voters(self, voters: Voters, payload: bytes) -> Proposal:
        """Append a voter set, as `payload` says it: at most one added, removed or moved.

        It is in force at once. Raises NotLeaderError as `propose`, InvalidRequestError: retriable
        while another change, or the first entry of this term, is not committed yet.
        """
        leader = self._check_appends()
        check_payloads((payload,))
        member = self._member
        if not leader.has_committed_own_term or member.commit_index < member.log.voters_index:
            raise InvalidRequestError(
                "the voters cannot change before the change before is committed",
                hint="try again in a moment",
                retriable=True,
            )
        check_voters_change(member.voters, voters)
        entry = leader.append((payload,), voters)
        leader.maybe_commit()
        return Proposal(entry.index, entry.term)

    def read_index(self, context: int, *, patience_ms: int = 0) -> None:
        """Ask for a point to read at; it comes back in a ready's `reads` with `context`, or its
        `reads_failed`. With patience it may wait so long for the next heartbeat, which proves the
        same. Raises NotLeaderError (NOT_CONTROLLER)."""
        self._check_leads().read(context, patience_ms)

    def transfer(self, to: NodeId) -> None:
        """Let the voter `to` lead instead, as soon as it has the whole log.

        Given up after an election timeout. Raises NotLeaderError, InvalidRequestError.
        """
        leader = self._check_leads()
        member = self._member
        if to == member.node_id:
            return
        if all(voter.node_id != to for voter in member.voters):
            raise InvalidRequestError(f"node {to} is no voter, it cannot lead")
        leader.transfer(to)

    def _check_leads(self) -> Leader:
        if self._roles.leader is not None:
            return self._roles.leader
        raise self._not_leader("does not lead the metadata log", self._member.leader_id)

    def _check_appends(self) -> Leader:
        leader = self._check_leads()
        if leader.is_handing_over:
            raise self._not_leader("is handing the metadata log over", None)
        return leader

    def _not_leader(self, what: str, leader_id: NodeId | None) -> NotLeaderError:
        error = NotLeaderError(
            f"node {self._member.node_id} {what}",
            hint="try again in a moment" if leader_id is None else f"ask node {leader_id}",
            code=ErrorCode.NOT_CONTROLLER,
        )
        error.leader_id = NO_NODE if leader_id is None else leader_id
        return error

    # --- what the driver tells ------------------------------------------------------------------

    def set_observers(self, nodes: Collection[NodeId]) -> None:
        """Send the log to these nodes too, whenever this node leads; they count for nothing."""
        self._roles.observers = tuple(sorted(nodes))
        if self._roles.leader is not None:
            self._roles.leader.observe(self._roles.observers)

    def compact(self, snapshot: SnapshotMeta) -> None:
        """The driver has this snapshot durable: forget the entries below it.

        A point below the present one changes nothing. Raises ValueError for one that is no point
        of the log, or not applied, or with other voters.
        """
        member = self._member
        point = snapshot.point
        if point.index <= member.log.start.point.index:
            return
        if point.index > member.applied_index or member.log.snapshot_at(point.index) != snapshot:
            raise ValueError(f"{snapshot} is no applied point of this log")
        member.log.compact(snapshot)

    def snapshot_failed(self, to: NodeId) -> None:
        """The snapshot for `to` could not be delivered, or was and is long not acknowledged.

        It is sent again, if it is needed still, when the peer has answered another heartbeat.
        """
        if self._roles.leader is not None:
            self._roles.leader.snapshot_failed(to)

    # --- work for the driver --------------------------------------------------------------------

    def take_messages_now(self) -> tuple[Message, ...]:
        """Return what may be sent before any save, also while a ready is being worked on.

        So a slow disk does not silence a leader: heartbeats and appends go out beside its save.
        """
        if self._roles.leader is not None:
            self._roles.leader.flush()
        return self._member.outbox.take_now()

    def has_ready(self) -> bool:
        """Whether `ready` would return work. False while a ready is being worked on."""
        if self._pending is not None:
            return False
        if self._roles.leader is not None:
            self._roles.leader.flush()
        member = self._member
        return (
            bool(member.outbox)
            or member.log.stable_index < member.log.end_index
            or not member.is_durable
            or member.snapshot_due is not None
            or member.applied_index < self._committed_end()
            or self._reads.has_results(member.applied_index)
        )

    def ready(self) -> Ready:
        """Return the next work; `advance` has to follow before the next call."""
        if self._pending is not None:
            raise RuntimeError("ready() again before advance()")
        if self._roles.leader is not None:
            self._roles.leader.flush()
        member = self._member
        committed = self._committed()
        applied = committed[-1].next_index if committed else member.applied_index
        if member.snapshot_due is not None:
            applied = member.snapshot_due.point.index
        self._pending = Ready(
            hard_state=None if member.is_durable else member.hard_state,
            snapshot=member.snapshot_due,
            entries=member.log.unstable(),
            messages=member.outbox.take_saved(),
            messages_now=member.outbox.take_now(),
            committed=committed,
            reads=self._reads.take(applied),
            reads_failed=self._reads.take_failed(),
        )
        return self._pending

    def advance(self, ready: Ready) -> None:
        """The driver has saved, sent and applied all of `ready`."""
        if ready is not self._pending:
            raise RuntimeError("advance() with something else than the last ready()")
        self._pending = None
        member = self._member
        if ready.hard_state is not None:
            member.saved_hard_state = ready.hard_state
        # A snapshot that came meanwhile takes the place of the whole log, also of what was saved.
        if member.snapshot_due is ready.snapshot:
            member.log.mark_stable(ready.entries)
        if ready.snapshot is not None:
            member.applied_index = ready.snapshot.point.index
            if member.snapshot_due is ready.snapshot:
                member.snapshot_due = None
        if ready.committed:
            member.applied_index = ready.committed[-1].next_index
        self._look_whether_caught_up()
        if self._roles.election is not None:
            self._roles.tally(self._roles.election)
        if self._roles.leader is not None:
            self._roles.leader.maybe_commit()
            self._roles.maybe_leave()

    def _committed_end(self) -> LogIndex:
        """End index of what may be applied: committed, and durable here."""
        member = self._member
        if member.snapshot_due is not None:
            return member.applied_index
        return min(member.commit_index, member.log.stable_index)

    def _committed(self) -> tuple[Entry, ...]:
        member = self._member
        end = self._committed_end()
        if end <= member.applied_index:
            return ()
        return member.log.entries_from(
            member.applied_index, bytes_max=_COMMITTED_BYTES_MAX, end_index=end
        )
