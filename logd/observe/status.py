"""A node's part in the metadata quorum, as far as anyone outside of consensus has to know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from logd.model.ids import LogIndex, NodeId, Term


class NodeStatus(Protocol):
    """What metrics and readiness ask of whatever runs consensus."""

    @property
    def role(self) -> str:
        """`leader`, `follower`, `candidate` or `pre-candidate`."""
        ...

    @property
    def term(self) -> Term: ...

    @property
    def leader_id(self) -> NodeId | None:
        """None: no leader is known."""
        ...

    @property
    def commit_index(self) -> LogIndex: ...

    @property
    def applied_index(self) -> LogIndex: ...

    @property
    def end_index(self) -> LogIndex:
        """End of this node's log, committed or not."""
        ...

    @property
    def caught_up(self) -> bool:
        """Whether what was committed when this node came to know a leader is applied here."""
        ...

    @property
    def voters(self) -> tuple[NodeId, ...]: ...


@dataclass(frozen=True, slots=True)
class QuorumStatus:
    """Implements `NodeStatus`: how things stood at one moment."""

    role: str
    term: Term
    leader_id: NodeId | None
    commit_index: LogIndex
    applied_index: LogIndex
    end_index: LogIndex
    caught_up: bool
    voters: tuple[NodeId, ...]
