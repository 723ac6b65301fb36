"""A node's part in the metadata quorum, as far as anyone outside of consensus has to know it."""

from __future__ import annotations

from dataclasses import dataclass

from logd.model.ids import LogIndex, NodeId, Term


@dataclass(frozen=True, slots=True)
class QuorumStatus:
    """How things stood at one moment. Indexes are end indexes."""

    #: `leader`, `follower`, `candidate` or `pre-candidate`.
    role: str
    term: Term
    #: None: no leader is known.
    leader_id: NodeId | None
    commit_index: LogIndex
    applied_index: LogIndex
    #: End of this node's log, committed or not.
    end_index: LogIndex
    #: Whether what was committed when this node came to know a leader is applied here.
    caught_up: bool
    voters: tuple[NodeId, ...]
    #: Entries that each node is known to lack; only the leader knows, others tell nothing.
    lags: tuple[tuple[NodeId, int], ...] = ()
