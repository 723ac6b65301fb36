"""Runs the consensus core: save (fdatasync) -> send -> apply -> advance, on files of its own.

Implements `Consensus`. One task does all work on the core, except that proposals and reads enter it
where they are asked for. While a save is under way, the core takes in messages and the time, and
sends what promises nothing: a slow disk does not silence a leader.

An error in save stops the node, except a full disk: then the save waits for space. Meanwhile the
node says nothing to its peers, so that it neither leads nor votes; what is applied stays readable,
and callers that do not want to wait learn that the outcome is unknown.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from logd_wire.errors import (
    ErrorCode,
    NotLeaderError,
    OutcomeUnknownError,
    StorageFailedError,
    StorageFullError,
)

from logd.consensus import (
    Committed,
    Entry,
    PeerProgress,
    RaftCore,
    Ready,
    Role,
)
from logd.consensus.log_types import LogPoint, SnapshotMeta, Voters
from logd.consensus.messages import InstallSnapshot, Message
from logd.model.ids import NO_NODE, LogIndex, NodeId, Term
from logd.runtime.log_member import LogMember, SnapshotMachine
from logd.runtime.peers import ChunkTaken, PeerTransport, SnapshotChunk
from logd.runtime.pending import Pending, led_no_more, lost
from logd.runtime.ports import Clock, Disk, Rng, Spawn, Task
from logd.runtime.quorum_view import StoredEntry
from logd.runtime.raft_reading import read_view
from logd.runtime.raft_store import Found, RaftStore
from logd.runtime.signal import take_wake
from logd.runtime.snapshot_taker import SnapshotTaker
from logd.runtime.snapshot_transfer import SnapshotReceiver, SnapshotSender
from logd.runtime.snapshots import Snapshot

_logger = logging.getLogger("logd.consensus")

#: How long a save waits before it tries a full disk again.
FULL_DISK_RETRY_MS: Final = 250
#: Messages that wait while a save takes long; Raft gets over the loss of the others.
INBOX_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class ConsensusStatus:
    """The quorum as this node sees it; `progress` only where it leads."""

    role: Role
    term: Term
    #: Whom this node voted for in `term`, durably; NO_NODE: nobody.
    vote: NodeId
    leader_id: NodeId
    voters: Voters
    commit_index: LogIndex
    applied_index: LogIndex
    #: Whether what was committed when this node came to know a leader is applied here.
    caught_up: bool
    end_index: LogIndex
    #: The first entry that is stored; what lies below is only in the snapshot.
    first_index: LogIndex
    snapshot_point: LogPoint
    progress: tuple[PeerProgress, ...]


class ConsensusDriver:
    """One node's replicated log. `start` returns once the state of the snapshot is restored."""

    def __init__(
        self,
        *,
        member: LogMember,
        disk: Disk,
        clock: Clock,
        rng: Rng,
        open_store: Callable[[], tuple[RaftStore, Found]],
        machine: SnapshotMachine,
        on_fatal: Callable[[BaseException], None],
        transport: PeerTransport | None = None,
        address_of: Callable[[NodeId], str] = lambda _: "",
    ) -> None:
        """`address_of` says where a member's peer listener is."""
        self._member = member
        self._disk = disk
        self._clock = clock
        self._rng = rng
        self._open_store = open_store
        self._machine = machine
        self._on_fatal = on_fatal
        self._transport = transport
        self._address_of = address_of
        self._wake = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._inbox: deque[Message] = deque()
        self._pending = Pending()
        #: What the machine was told last, and whether this node could decide then.
        self._told: tuple[Role, Term, NodeId | None, bool] | None = None
        self._taking: Task | None = None
        #: A durable snapshot that the core does not know of yet.
        self._taken: SnapshotMeta | None = None
        self._applied_index = LogIndex(0)
        self._is_saving = False
        self._closing = False

    async def start(self, spawn: Spawn) -> None:
        """Open the log, restore the snapshot, begin. Raises StorageFailedError, ConfigError."""
        self._spawn = spawn
        self._store, found = await self._disk.write(self._open_store)
        self._core = self._make_core(found)
        self._taker = SnapshotTaker(self._store, self._disk, self._clock)
        if found.snapshot is not None:
            self._restore(found.snapshot)
        self._sender = SnapshotSender(
            self._transport, self._store.snapshots, self._disk, spawn, self._on_delivery
        )
        self._receiver = SnapshotReceiver(self._store.snapshots, self._disk)
        self._task = spawn(self._run(), "consensus")
        self._task.add_done_callback(lambda _: self._caught_up.set())

    def _make_core(self, found: Found) -> RaftCore:
        member = self._member
        return RaftCore(
            member.identity,
            hard_state=found.hard_state,
            snapshot=found.snapshot.meta if found.snapshot else None,
            entries=found.entries,
            founder=member.founder,
            address=member.address,
            timing=member.timing,
            random=self._rng.random,
            now_ms=self._clock.monotonic_ms(),
        )

    async def wait_caught_up(self) -> None:
        """Wait until everything that was committed before is applied here; that takes a leader.

        Raises what ended the driver.
        """
        await self._caught_up.wait()
        if self._task.done():
            # It ended before it caught up: by the error of the save, or by its own.
            await self._task
            raise StorageFailedError(
                "the metadata log could not be written at the start",
                hint="see the error before this one; check the disk",
            )

    # --- what is so --------------------------------------------------------------------------

    @property
    def role(self) -> Role:
        return self._core.role

    @property
    def leader_id(self) -> NodeId | None:
        return self._core.leader_id

    @property
    def term(self) -> Term:
        return self._core.term

    @property
    def voters(self) -> Voters:
        return self._core.voters

    @property
    def applied_index(self) -> LogIndex:
        """End index: everything below it is in the state machine."""
        return self._applied_index

    @property
    def leads(self) -> bool:
        """Whether this node leads and has applied everything of the leaders before it."""
        return self._core.role is Role.LEADER and self._core.has_caught_up

    @property
    def is_sole_voter(self) -> bool:
        """Whether nobody else's vote is needed for anything."""
        return [voter.node_id for voter in self._core.voters] == [self._member.identity.node_id]

    def status(self) -> ConsensusStatus:
        """What there is to tell about the quorum."""
        core = self._core
        return ConsensusStatus(
            role=core.role,
            term=core.term,
            vote=self._store.vote_in(core.term),
            leader_id=NO_NODE if core.leader_id is None else core.leader_id,
            voters=core.voters,
            commit_index=core.commit_index,
            applied_index=self.applied_index,
            caught_up=core.has_caught_up,
            end_index=core.end_index,
            first_index=LogIndex(self._store.view.start_offset),
            snapshot_point=core.snapshot_point,
            progress=core.progress() if core.role is Role.LEADER else (),
        )

    async def read_log(
        self, start: LogIndex, *, entries_max: int, bytes_max: int
    ) -> tuple[StoredEntry, ...]:
        """Durable entries for people to look at, as `raft_reading.read_view`."""
        read = partial(
            read_view, self._store.view, start, entries_max=entries_max, bytes_max=bytes_max
        )
        return await self._disk.read(read)

    # --- what callers ask for ----------------------------------------------------------------

    async def propose(self, payloads: Sequence[bytes], *, timeout_ms: int) -> Committed:
        proposal = self._core.propose(payloads)
        # Beside a save there may be nothing to do for it yet.
        if not self._is_saving or self._core.may_send_entries:
            self._wake.set()
        return await self._pending.proposal(proposal.index, proposal.term, timeout_ms=timeout_ms)

    async def propose_voters(self, voters: Voters, payload: bytes, *, timeout_ms: int) -> Committed:
        """As `propose`, of an entry that changes the voter set to `voters`.

        InvalidRequestError (retriable): another change is under way.
        """
        proposal = self._core.propose_voters(voters, payload)
        self._wake.set()
        return await self._pending.proposal(proposal.index, proposal.term, timeout_ms=timeout_ms)

    async def read_barrier(self, *, timeout_ms: int, patience_ms: int = 0) -> LogIndex:
        context = self._pending.new_read()
        self._core.read_index(context, patience_ms=patience_ms)
        self._wake.set()
        return await self._pending.read(context, timeout_ms=timeout_ms)

    async def wait_applied(self, index: LogIndex, *, timeout_ms: float) -> None:
        """Wait until everything below `index` is applied here. Raises TimeoutError."""
        if self._applied_index < index:
            await self._pending.reached(index, timeout_ms=timeout_ms)

    def transfer(self, to: NodeId) -> None:
        """Hand leadership over; it is tried for an election timeout.

        Raises NotLeaderError, InvalidRequestError.
        """
        self._core.transfer(to)
        self._wake.set()

    def set_observers(self, nodes: Collection[NodeId]) -> None:
        """Whom a leader here sends the log beside the voters."""
        self._core.set_observers(nodes)
        self._wake.set()

    # --- what peers say ----------------------------------------------------------------------

    def on_message(self, message: Message) -> None:
        """Take a message in; never waits. Who may speak is the caller's to judge."""
        if len(self._inbox) >= INBOX_MAX:
            self._inbox.popleft()
        self._inbox.append(message)
        self._wake.set()

    async def take_chunk(self, chunk: SnapshotChunk) -> ChunkTaken:
        """Take a part of a snapshot. Raises NotLeaderError, StorageFullError."""
        if chunk.term < self._core.term:
            raise NotLeaderError(
                f"term {chunk.term} is over, this is term {self._core.term}",
                code=ErrorCode.NOT_CONTROLLER,
            )
        if chunk.snapshot.point.index <= self.applied_index:
            return ChunkTaken(chunk.size_bytes)
        try:
            return await self._receiver.take(chunk)
        except OSError as error:
            self._fail(error)
            raise StorageFailedError(f"the snapshot could not be stored: {error}") from error

    def _on_delivery(self, message: Message, delivered: bool) -> None:
        """A snapshot reached its peer, or did not."""
        assert isinstance(message.body, InstallSnapshot)
        if self._core.role is not Role.LEADER or self._core.term != message.body.term:
            return
        if not delivered:
            self._core.snapshot_failed(message.to)
            self._wake.set()
        elif self._transport is not None:
            self._transport.send(message)

    # --- the loop ----------------------------------------------------------------------------

    async def close(self, *, clean: bool) -> None:
        """Finish what is under way and close the log."""
        self._closing = True
        self._wake.set()
        await self._task
        self._sender.close()
        if self._taking is not None:
            await self._taking
        await self._disk.write(partial(self._store.close, clean=clean))

    async def _run(self) -> None:
        while True:
            self._take_in()
            self._send(self._core.take_messages_now())  # Heartbeats, mostly: all there is to do.
            while self._core.has_ready():
                if not await self._process(self._core.ready()):
                    return
                self._take_in()
            if self._core.has_caught_up:
                self._caught_up.set()
            if self._closing:
                return
            self._look_after_snapshots()
            await self._pause()

    def _take_in(self) -> None:
        """Let the core know what has happened since: time, messages, snapshots."""
        now_ms = self._clock.monotonic_ms()
        self._core.tick(now_ms)
        self._tell_role()
        while self._inbox:
            message = self._inbox.popleft()
            body = message.body
            if isinstance(body, InstallSnapshot) and not self._receiver.has(body.snapshot):
                # Its contents are not here: the leader asks again, and learns how far they came.
                continue
            if isinstance(body, InstallSnapshot):
                self._receiver.hold()
            self._core.step(message, now_ms)
            self._tell_role()

    async def _pause(self) -> None:
        """Wait until there is something to do, or time has come."""
        await take_wake(self._wake, self._core.next_deadline_ms(), self._clock)

    async def _process(self, ready: Ready) -> bool:
        """One round in the driver's order; False: the driver is to end."""
        self._send(ready.messages_now)
        if ready.has_work and not await self._save(ready):
            return False
        self._send(ready.messages)
        if ready.snapshot is not None:
            self._restore(self._receiver.take_over(ready.snapshot))
        else:
            self._receiver.release()
        for entry in ready.committed:
            self._apply(entry)
        if ready.committed:
            self._machine.on_applied(self._applied_index)
        self._core.advance(ready)
        self._pending.move_to(self._applied_index)
        self._tell_role()
        for read in ready.reads:
            self._pending.confirmed(read.context, read.index)
        for context in ready.reads_failed:
            self._pending.not_confirmed(context, led_no_more(self._core.leader_id))
        return True

    def _send(self, messages: Sequence[Message]) -> None:
        if self._transport is None:
            return
        for message in messages:
            if isinstance(message.body, InstallSnapshot):
                self._sender.begin(message, self._address_of(message.to))
            else:
                self._transport.send(message)

    async def _save(self, ready: Ready) -> bool:
        """Make a ready durable; False: closing, and there is no room to, or the disk failed."""
        is_full = False
        while True:
            save = partial(
                self._store.save,
                ready.hard_state,
                ready.entries,
                self._clock.wall_ms(),
                install=ready.snapshot,
            )
            saving = asyncio.ensure_future(self._disk.write(save))
            try:
                await (saving if is_full else self._beside(saving))
                return True
            except StorageFullError as error:
                if self._closing:
                    return False
                if not is_full:
                    is_full = True
                    _logger.error("%s", error)
                await self._wait_for_space()
            except (OSError, StorageFailedError) as error:
                self._fail(error)
                return False

    async def _wait_for_space(self) -> None:
        """Let time pass, and nothing else: who leads without being heard gives way."""
        await self._clock.sleep_ms(FULL_DISK_RETRY_MS)
        self._core.tick(self._clock.monotonic_ms())
        self._tell_role()

    async def _beside(self, saving: asyncio.Future[None]) -> None:
        """Wait for a save, and say and hear what does not depend on it."""
        saving.add_done_callback(self._has_saved)
        self._is_saving = True
        while not saving.done():
            await self._pause()
            self._take_in()
            self._send(self._core.take_messages_now())
        self._is_saving = False
        await saving

    def _has_saved(self, saving: asyncio.Future[None]) -> None:
        # Its error is looked at even if the loop has been ended meanwhile.
        if not saving.cancelled():
            saving.exception()
        self._wake.set()

    def _fail(self, error: Exception) -> None:
        """The disk failed: whatever waits may or may not be on it."""
        self._pending.fail_all(
            OutcomeUnknownError(
                f"the node stopped on a storage error of the metadata log: {error}",
                hint="it may or may not have been kept; look before you try again",
            )
        )
        self._on_fatal(error)

    def _apply(self, entry: Entry) -> None:
        result = None
        if not entry.is_no_op:
            result = self._machine.on_apply(entry.index, entry.term, entry.payloads)
        self._applied_index = entry.next_index
        self._taker.applied(entry)
        self._pending.applied(entry, result)

    def _restore(self, snapshot: Snapshot) -> None:
        index = snapshot.meta.point.index
        self._machine.restore(index, snapshot.contents)
        self._applied_index = index
        self._taker.begin_anew()
        self._pending.fail_proposals(lost("this node fell behind"), below=index)
        self._pending.move_to(index)

    def _tell_role(self) -> None:
        """Tell the machine when the node's part changed, and callers when leadership is over."""
        core = self._core
        now = (core.role, core.term, core.leader_id, self.leads)
        before = self._told
        if now == before:
            return
        self._told = now
        if before is not None and before[0] is Role.LEADER and now[:2] != before[:2]:
            self._pending.fail_proposals(lost("this node does not lead any more"))
        self._machine.on_role(core.role, core.term, core.leader_id)

    # --- snapshots of our own ----------------------------------------------------------------

    def _look_after_snapshots(self) -> None:
        """Use the one that was taken; begin another, if it is time. Between two readies, when
        nothing is half-way.

        Not before the voters are known: whoever begins with it has to know them.
        """
        if self._taken is not None:
            self._core.compact(self._taken)
            self._taken = None
        if not self._taker.is_due or not (self._taking is None or self._taking.done()):
            return
        meta = self._core.applied_snapshot
        if meta.voters:
            self._taker.begin_anew()
            encode = self._machine.snapshot()
            self._taking = self._spawn(self._take_snapshot(meta, encode), "metadata snapshot")

    async def _take_snapshot(self, meta: SnapshotMeta, encode: Callable[[], bytes]) -> None:
        if self._closing:
            return
        try:
            taken = await self._taker.take(meta, encode)
        except (OSError, StorageFailedError) as error:
            self._fail(error)
            return
        if taken:
            self._taken = meta
            self._wake.set()
