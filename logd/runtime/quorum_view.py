"""What tools see and change of the metadata quorum, as the answering node knows it.

`QuorumView` is implemented by whoever runs the consensus core; `QuorumAdmin` is what the edges
call. Neither decides anything: a change of the members is a command like any other, so it may be
given to every node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from logd.consensus.log_types import Entry, LogPoint, Role, Voters
from logd.metadata import Command
from logd.model.ids import LogIndex, NodeId, Term

#: How a leader sends to a member: finding out where the logs agree, streaming, or a snapshot.
ProgressState = Literal["probe", "replicate", "snapshot"]


@dataclass(frozen=True, slots=True)
class MemberProgress:
    """How far a leader knows one voter or observer to be."""

    node_id: NodeId
    #: End index up to which its log is the leader's, durably.
    match_index: LogIndex
    next_index: LogIndex
    is_voter: bool
    #: Whether it was heard of since the leader last counted.
    active: bool
    state: ProgressState


@dataclass(frozen=True, slots=True)
class QuorumStatus:
    """One moment of a node's part in the quorum. Indexes are end indexes."""

    role: Role
    term: Term
    #: Whom this node voted for in `term`; NO_NODE: nobody.
    vote: NodeId
    #: NO_NODE: unknown.
    leader_id: NodeId
    commit_index: LogIndex
    applied_index: LogIndex
    end_index: LogIndex
    #: Entries below are only in the snapshot; LOG_START: there is none.
    snapshot: LogPoint
    voters: Voters
    #: The other members, by node id; empty on nodes that do not lead.
    progress: tuple[MemberProgress, ...]


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry of this node's raft log, and the wall-clock time at which it was stored here."""

    entry: Entry
    time_ms: int


class QuorumView(Protocol):
    """Reading access to one node's raft state."""

    def status(self) -> QuorumStatus: ...

    async def read_log(
        self, start: LogIndex, *, entries_max: int, bytes_max: int
    ) -> tuple[StoredEntry, ...]:
        """Durable entries in order, the first being the one that holds `start`, at most
        `entries_max`, and no more once their payloads reach `bytes_max`.

        Empty at the end of the log. A `start` below the snapshot begins behind it.
        """
        ...


class QuorumAdmin:
    """The quorum as a broker offers it to the edges."""

    def __init__(self, view: QuorumView, submit: Callable[[Command], Awaitable[object]]) -> None:
        self._view = view
        self._submit = submit

    def status(self) -> QuorumStatus:
        return self._view.status()

    async def read_log(
        self, start: LogIndex, *, entries_max: int, bytes_max: int
    ) -> tuple[StoredEntry, ...]:
        """As `QuorumView.read_log`."""
        return await self._view.read_log(start, entries_max=entries_max, bytes_max=bytes_max)
