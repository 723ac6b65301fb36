"""What tools see and change of the metadata quorum, as the answering node knows it.

`QuorumView` is implemented by whoever runs the consensus core; `QuorumAdmin` is what the edges
call. Neither decides anything: a change of the members is a command like any other, so it may be
given to every node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from logd_wire.errors import InvalidRequestError

from logd.consensus.log_types import Entry, LogPoint, Role, Voters
from logd.metadata import (
    AddVoter,
    Command,
    NodeRemoval,
    RemoveNode,
    ReplaceNode,
    Reply,
)
from logd.model.ids import DirectoryId, LogIndex, NodeId, Term

#: Steps after which a removal that is not done is given back to the caller.
REMOVAL_STEPS_MAX: Final = 8

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
    #: What the newest snapshot stands for; LOG_START: there is none.
    snapshot: LogPoint
    #: The first entry that is stored; what lies below is only in the snapshot.
    first_index: LogIndex
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

    def __init__(self, view: QuorumView, submit: Callable[[Command], Awaitable[Reply]]) -> None:
        self._view = view
        self._submit = submit

    def status(self) -> QuorumStatus:
        return self._view.status()

    async def read_log(
        self, start: LogIndex, *, entries_max: int, bytes_max: int
    ) -> tuple[StoredEntry, ...]:
        """As `QuorumView.read_log`."""
        return await self._view.read_log(start, entries_max=entries_max, bytes_max=bytes_max)

    async def add_node(self, node_id: NodeId) -> None:
        """Make a registered node a voter. May be repeated."""
        await self._submit(AddVoter(node_id))

    async def remove_node(self, node_id: NodeId, directory_id: DirectoryId) -> None:
        """Let a node go for good. May be repeated with the same directory."""
        await self._in_steps(RemoveNode(node_id, directory_id))

    async def replace_node(
        self, node_id: NodeId, directory_id: DirectoryId, *, accept_data_loss: bool
    ) -> None:
        """Strike out a lost directory. May be repeated with the same directory."""
        await self._in_steps(ReplaceNode(node_id, directory_id, accept_data_loss=accept_data_loss))

    async def _in_steps(self, command: RemoveNode | ReplaceNode) -> None:
        for _ in range(REMOVAL_STEPS_MAX):
            reply = await self._submit(command)
            if not isinstance(reply, NodeRemoval):
                raise TypeError(f"{type(command).__name__} was answered by {type(reply).__name__}")
            if reply.done:
                return
        raise InvalidRequestError(
            f"node {command.node_id} is not gone yet: its removal takes more steps",
            hint="ask again",
            retriable=True,
        )
