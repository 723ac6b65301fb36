"""The seam between consensus and everything that stands on an agreed log.

The runtime implements it over the raft core. Callers see neither terms
nor votes, only: agreed, not the leader, or *outcome unknown*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from logd.consensus.log_types import Role
from logd.model.ids import LogIndex, NodeId, Term


@dataclass(frozen=True, slots=True)
class Committed:
    """An entry that is committed and was applied on this node."""

    #: Of the entry's first payload.
    index: LogIndex
    term: Term
    #: What `on_apply` returned.
    result: object


class Consensus(Protocol):
    """One replicated log as seen from one node."""

    @property
    def role(self) -> Role: ...

    @property
    def leader_id(self) -> NodeId | None:
        """The leader as far as this node knows."""
        ...

    @property
    def term(self) -> Term: ...

    @property
    def applied_index(self) -> LogIndex:
        """End index: everything below has been applied here."""
        ...

    async def propose(self, payloads: Sequence[bytes], *, timeout_ms: int) -> Committed:
        """Append one entry, all of it or nothing; returns after it was applied here.

        Raises NotLeaderError (NOT_CONTROLLER: nothing was appended), OutcomeUnknownError (time-out
        or leadership lost: the entry may still commit), InvalidRequestError (too large).
        """
        ...

    async def read_barrier(self, *, timeout_ms: int, patience_ms: int = 0) -> LogIndex:
        """Wait until the local state holds everything committed before the call.

        What can wait `patience_ms` longer shares the next heartbeat, if that is due by then.

        Returns the end index that was reached. Raises NotLeaderError, OutcomeUnknownError.
        """
        ...


class StateMachine(Protocol):
    """What a replicated log drives. Called in log order, never two calls at a time."""

    def on_apply(self, index: LogIndex, term: Term, payloads: Sequence[bytes]) -> object:
        """Take in one committed entry; the result goes to the proposer, if it is waiting here.

        No-op entries are left out. An exception stops the node.
        """
        ...

    def on_applied(self, index: LogIndex) -> None:
        """Everything below `index` has been taken in, and nothing more comes at the moment."""
        ...

    def on_role(self, role: Role, term: Term, leader_id: NodeId | None) -> None:
        """The node's part in the quorum changed.

        When a leader becomes a follower, what was replayed but not applied has to be dropped.
        """
        ...
