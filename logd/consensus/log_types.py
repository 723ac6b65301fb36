"""Values of the raft log: entries, hard state, roles."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from logd.model.ids import ClusterId, DirectoryId, LogIndex, NodeId, Term

#: What a leader appends first, to commit what earlier leaders left. It is not given to `on_apply`.
NO_OP: Final = b""


class Role(Enum):
    """A node's part in the quorum."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class Voter:
    """A node that votes. Its vote counts only when it comes from this data directory."""

    node_id: NodeId
    directory_id: DirectoryId
    #: `host:port` of its peer listener; empty: it has none yet.
    address: str


#: The voter set, sorted by node id.
Voters = tuple[Voter, ...]


class LogPoint(NamedTuple):
    """A place between two entries of the raft log: `term` is that of the entry before `index`.

    Points compare by freshness: a log is as fresh as its last point.
    """

    term: Term
    #: End index: everything below it is meant. It hides the method that tuples have.
    index: LogIndex  # type: ignore[assignment]


#: Where every log begins.
LOG_START: Final = LogPoint(Term(0), LogIndex(0))


@dataclass(frozen=True, slots=True)
class SnapshotMeta:
    """What a snapshot stands for: the state after everything below `point.index`."""

    point: LogPoint
    #: The voters at that point.
    voters: Voters


@dataclass(frozen=True, slots=True)
class Entry:
    """One atomic step of the raft log: a record batch with one record for each payload.

    `index` is the base offset of the batch, `term` its leader epoch. An entry is stored, cut and
    committed whole.
    """

    index: LogIndex
    term: Term
    payloads: tuple[bytes, ...]
    #: Set when the entry changes the voter set: the new one, as its only payload says. Whoever
    #: reads an entry from bytes fills it in; it is in force from the append on.
    voters: Voters | None = None

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
    #: Whether this node began the cluster: it is the only voter until its log says otherwise.
    founder: bool
