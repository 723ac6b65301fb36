"""A Raft group of one voter, without I/O: the smallest case of the protocol, not another one.

It follows Raft to the letter, so that the same log and hard state can be opened by a group of
several voters: a start is an election in a new term, a new leader appends a no-op, and entries of
earlier terms commit only together with one of the leader's own.

    driver:   while core.has_ready():
                  ready = core.ready()
                  save(ready.hard_state, ready.entries)     # fdatasync; an error stops the node
                  apply(ready.committed)
                  core.advance(ready)
                  answer(ready.reads)

`propose` and `read_index` may be called while a ready is being worked on. One thread at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from logd_wire.errors import ErrorCode, NotLeaderError

from logd.consensus.checks import check_payloads, check_start
from logd.consensus.log_types import NO_OP, Entry, HardState, Identity, Role
from logd.consensus.ready import Proposal, ReadState, Ready
from logd.model.ids import LogIndex, NodeId, Term


class OneVoter:
    """The core. Begins as a candidate; the first `advance` makes it the leader."""

    def __init__(
        self, identity: Identity, hard_state: HardState | None, entries: Sequence[Entry]
    ) -> None:
        """Start from what is durable; `entries` is the whole log, from index 0.

        `hard_state` is None in a new folder only. Raises ConfigError when the folder's promises
        were made under another identity, or the log does not fit them.
        """
        check_start(identity, hard_state, None, entries)
        self._identity = identity
        self._term = Term((hard_state.term if hard_state else 0) + 1)
        self._role = Role.CANDIDATE
        self._unsaved: deque[Entry] = deque()
        #: Saved, and not yet handed out as committed.
        self._saved: deque[Entry] = deque(entries)
        self._end_index = entries[-1].next_index if entries else LogIndex(0)
        self._commit_index = LogIndex(0)
        self._applied_index = LogIndex(0)
        self._hard_state_due = True
        #: Index of this term's no-op; None before the election is through.
        self._term_start: LogIndex | None = None
        self._reads: deque[int] = deque()
        self._pending: Ready | None = None

    @property
    def role(self) -> Role:
        return self._role

    @property
    def leader_id(self) -> NodeId | None:
        return self._identity.node_id if self._role is Role.LEADER else None

    @property
    def term(self) -> Term:
        return self._term

    @property
    def end_index(self) -> LogIndex:
        """The index of the next entry."""
        return self._end_index

    @property
    def commit_index(self) -> LogIndex:
        """End index of what is committed."""
        return self._commit_index

    @property
    def applied_index(self) -> LogIndex:
        """End index of what the driver has applied."""
        return self._applied_index

    @property
    def has_caught_up(self) -> bool:
        """Whether everything that was committed before this start has been applied."""
        return self._term_start is not None and self._applied_index > self._term_start

    def propose(self, payloads: Sequence[bytes]) -> Proposal:
        """Append one entry, all of it or nothing.

        Raises NotLeaderError (NOT_CONTROLLER) before the election is through,
        InvalidRequestError for an entry that is empty or too large.
        """
        self._check_leader()
        check_payloads(payloads)
        return self._append(tuple(payloads))

    def read_index(self, context: int) -> None:
        """Ask for a point to read at; it comes back in a ready's `reads` with `context`.

        Raises NotLeaderError (NOT_CONTROLLER) before the election is through.
        """
        self._check_leader()
        self._reads.append(context)

    def has_ready(self) -> bool:
        """Whether `ready` would return work. False while a ready is being worked on."""
        if self._pending is not None:
            return False
        work = self._hard_state_due or self._unsaved or self._applied_index < self._commit_index
        return bool(work) or (bool(self._reads) and self._reads_are_safe())

    def ready(self) -> Ready:
        """Return the next work; `advance` has to follow before the next call."""
        if self._pending is not None:
            raise RuntimeError("ready() again before advance()")
        hard_state = None
        if self._hard_state_due:
            hard_state = HardState(self._term, self._identity.node_id, self._identity, True)
        committed = tuple(entry for entry in self._saved if entry.index < self._commit_index)
        reads: tuple[ReadState, ...] = ()
        if self._reads_are_safe():
            reads = tuple(ReadState(context, self._commit_index) for context in self._reads)
            self._reads.clear()
        self._pending = Ready(hard_state, None, tuple(self._unsaved), (), (), committed, reads, ())
        return self._pending

    def advance(self, ready: Ready) -> None:
        """The driver has saved and applied all of `ready`."""
        if ready is not self._pending:
            raise RuntimeError("advance() with something else than the last ready()")
        self._pending = None
        for entry in ready.entries:
            self._saved.append(entry)
            self._unsaved.popleft()
        for entry in ready.committed:
            self._saved.popleft()
            self._applied_index = entry.next_index
        self._maybe_commit()
        if ready.hard_state is not None:
            self._hard_state_due = False
            self._win_election()

    def _win_election(self) -> None:
        """The vote for itself is durable, and it is the majority."""
        self._role = Role.LEADER
        self._term_start = self._append((NO_OP,)).index

    def _append(self, payloads: tuple[bytes, ...]) -> Proposal:
        entry = Entry(self._end_index, self._term, payloads)
        self._unsaved.append(entry)
        self._end_index = entry.next_index
        return Proposal(entry.index, entry.term)

    def _maybe_commit(self) -> None:
        """What is saved here is saved on a majority; earlier terms need one of this term."""
        if self._saved and self._saved[-1].term == self._term:
            self._commit_index = self._saved[-1].next_index

    def _reads_are_safe(self) -> bool:
        """Before an entry of this term is committed, the commit index may be too low."""
        return self._term_start is not None and self._commit_index > self._term_start

    def _check_leader(self) -> None:
        if self._role is not Role.LEADER:
            raise NotLeaderError(
                f"node {self._identity.node_id} does not lead the metadata log yet",
                hint="try again in a moment",
                code=ErrorCode.NOT_CONTROLLER,
            )
