"""Values of the raft log: entries, hard state, roles."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from logd.model.ids import ClusterId, DirectoryId, LogIndex, NodeId, Term

#: What a leader appends first, to commit what earlier leaders left. It is not given to `on_apply`.
NO_OP: Final = b""


class Role(Enum):
    """A node's part in the quorum."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class Entry:
    """One atomic step of the raft log: a record batch with one record for each payload.

    `index` is the base offset of the batch, `term` its leader epoch. An entry is stored, cut and
    committed whole.
    """

    index: LogIndex
    term: Term
    payloads: tuple[bytes, ...]

    @property
    def next_index(self) -> LogIndex:
        """The index of the entry behind this one."""
        return LogIndex(self.index + len(self.payloads))

    @property
    def is_no_op(self) -> bool:
        return self.payloads == (NO_OP,)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who votes. A node whose folder was emptied must not vote under its old name."""

    cluster_id: ClusterId
    node_id: NodeId
    directory_id: DirectoryId


@dataclass(frozen=True, slots=True)
class HardState:
    """What a voter has promised; durable before anyone hears of it."""

    term: Term
    #: Whom this node voted for in `term`; -1: nobody yet.
    vote: NodeId
    identity: Identity
