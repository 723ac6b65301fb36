"""What the machines of a partition want done, in the order that they say it."""

from __future__ import annotations

from dataclasses import dataclass

from logd.model.ids import NodeId


@dataclass(frozen=True, slots=True)
class HighWatermarkMoved:
    """Everything below `offset` is committed; on a follower: and here. It goes back only before a
    `RestartAt`."""

    offset: int


# --- of the leader -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProposeIsr:
    """Ask the controller for another in-sync set; answered by `ProposalAnswered`."""

    partition_epoch: int
    #: Nodes and their node epochs, the leader first.
    isr: tuple[tuple[NodeId, int], ...]


LeaderEffect = HighWatermarkMoved | ProposeIsr


# --- of a follower -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendPosition:
    """Tell the leader how far the log is durable, and ask for what comes next."""

    end_offset: int
    last_epoch: int


@dataclass(frozen=True, slots=True)
class AppendChunk:
    """Append the records of the chunk just told; answered by `Appended` or `AppendFailed`."""

    #: Deletes below it may be missing from them, and so from this log; to be noted before.
    forgotten_end: int = 0


@dataclass(frozen=True, slots=True)
class TruncateTo:
    """Cut the log at `offset`; answered by `Truncated` or `AppendFailed`."""

    offset: int


@dataclass(frozen=True, slots=True)
class RestartAt:
    """Forget everything, go on empty at `offset`; answered by `Restarted` or `AppendFailed`."""

    offset: int


@dataclass(frozen=True, slots=True)
class TrimTo:
    """Let the log start at `offset`, as the leader's does. Not answered."""

    offset: int


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Send a `Tick` at `at_ms`."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that must not be: the partition is not copied any more in this leadership."""

    text: str


FollowerEffect = (
    SendPosition
    | AppendChunk
    | TruncateTo
    | RestartAt
    | TrimTo
    | HighWatermarkMoved
    | RetryAt
    | Alarm
)
