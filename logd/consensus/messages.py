"""What the members of a quorum say to each other.

Indexes are end indexes (half-open): a `LogPoint` names the entry before it. What promises something
(a vote, an acknowledgement) leaves the node only after it is durable: see `Ready`.
"""

from __future__ import annotations

from dataclasses import dataclass

from logd.consensus.log_types import Entry, LogPoint, SnapshotMeta
from logd.model.ids import DirectoryId, LogIndex, NodeId, Term


@dataclass(frozen=True, slots=True)
class VoteRequest:
    """Please vote for me in `term`. With `pre_vote`: would you? Nothing is promised by either."""

    term: Term
    #: The end of the candidate's log.
    last: LogPoint
    pre_vote: bool
    #: The leader asked for this election: a live leader is no reason to refuse.
    transfer: bool = False


@dataclass(frozen=True, slots=True)
class VoteResponse:
    """`term`: of a granted pre-vote the term asked for, else the voter's own."""

    term: Term
    granted: bool
    pre_vote: bool


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """Entries that follow `previous`; none: where do the logs agree, or: so much is committed."""

    term: Term
    previous: LogPoint
    entries: tuple[Entry, ...]
    #: End index of what is committed.
    commit_index: LogIndex


@dataclass(frozen=True, slots=True)
class AppendResponse:
    """The follower's log agrees with the leader's below `match_index` and is durable there."""

    term: Term
    match_index: LogIndex


@dataclass(frozen=True, slots=True)
class AppendRejected:
    """The logs do not agree at `rejected`, or the sender's term is over."""

    term: Term
    #: The index of the request's `previous`.
    rejected_index: LogIndex
    #: The last point at which they still may agree.
    hint: LogPoint


@dataclass(frozen=True, slots=True)
class HeartbeatRequest:
    """The leader is alive. `commit_index` is at most what the follower is known to have."""

    term: Term
    commit_index: LogIndex
    #: Counts the rounds of this leader, for reads.
    round: int


@dataclass(frozen=True, slots=True)
class HeartbeatResponse:
    term: Term
    round: int


@dataclass(frozen=True, slots=True)
class InstallSnapshot:
    """The follower is to start over from this snapshot; it is answered by an AppendResponse.

    The contents travel beside the core: the driver steps this in when it has all of them durable.
    It comes again when the follower is long without it; the driver drops one to a peer to which
    it is sending a snapshot already.
    """

    term: Term
    snapshot: SnapshotMeta


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """Leadership is transferred to you: campaign at once."""

    term: Term


Body = (
    VoteRequest
    | VoteResponse
    | AppendRequest
    | AppendResponse
    | AppendRejected
    | HeartbeatRequest
    | HeartbeatResponse
    | InstallSnapshot
    | TimeoutNow
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message between two members."""

    sender: NodeId
    #: Of the sender: a voter whose directory is another one has lost what it promised.
    sender_directory: DirectoryId
    to: NodeId
    body: Body
