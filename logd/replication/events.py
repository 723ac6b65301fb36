"""What the machines of a partition are told. Offsets are ends: the first one that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from logd.model.ids import LeaderEpoch, NodeId
from logd.replication.divergence import Diverges


@dataclass(frozen=True, slots=True)
class Assignment:
    """A partition as the controller committed it."""

    leader_epoch: LeaderEpoch
    partition_epoch: int
    replicas: tuple[NodeId, ...]
    isr: tuple[NodeId, ...]
    #: Of the nodes in service, as they registered.
    node_epochs: Mapping[NodeId, int]
    min_isr: int


@dataclass(frozen=True, slots=True)
class Tick:
    """It is `now_ms`, by the monotonic clock as everywhere here."""

    now_ms: int


# --- to the leader -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OwnEnd:
    """The leader's own log is durable so far."""

    end_offset: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class FollowerAt:
    """A follower's log fits the leader's and is durable up to `end_offset`.

    Positions of another leader epoch, and those that do not fit, say nothing and do not come here.
    """

    node_id: NodeId
    #: The process that says so.
    node_epoch: int
    end_offset: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class FollowerGone:
    """The follower's stream ended. It may be back at once, and what it has counts."""

    node_id: NodeId
    now_ms: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """The partition, or the nodes in service, changed within the same leader epoch."""

    assignment: Assignment
    now_ms: int


@dataclass(frozen=True, slots=True)
class ProposalAnswered:
    """A proposal from `partition_epoch` was answered, or will not be.

    `refused`: it was not taken, and no copy of it that is still on its way can be. Otherwise it was
    taken or nobody knows, and the next `Assigned` decides.
    """

    partition_epoch: int
    refused: bool
    now_ms: int


LeaderEvent = OwnEnd | FollowerAt | FollowerGone | Assigned | ProposalAnswered | Tick


# --- to a follower -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """Start to copy, as soon as the leader is connected."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Connected:
    """There is a stream to the leader."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The stream ended; nothing more that came with it is told."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The leader's answer to the last position. Who tells of it keeps its records."""

    leader_epoch: LeaderEpoch
    #: Of its records; 0: there are none.
    size_bytes: int
    high_watermark: int
    log_start_offset: int
    append_time_ms: int
    #: Deletes below it may be missing from the leader's log.
    forgotten_end: int
    diverging: Diverges | None
    #: What comes next is gone: the leader's log starts at `log_start_offset`.
    too_low: bool
    #: The leader cannot serve now.
    refused: bool
    now_ms: int


@dataclass(frozen=True, slots=True)
class Appended:
    """The records of the chunk are durable: `AppendChunk` is done."""

    end_offset: int
    last_epoch: int


@dataclass(frozen=True, slots=True)
class AppendFailed:
    """What was asked of the log was not done, and may be tried again."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Truncated:
    """`TruncateTo` is done, durably; batches are cut whole."""

    end_offset: int
    last_epoch: int


@dataclass(frozen=True, slots=True)
class Restarted:
    """`RestartAt` is done, durably."""

    offset: int


FollowerEvent = (
    Begin
    | Connected
    | Disconnected
    | Chunk
    | Appended
    | AppendFailed
    | Truncated
    | Restarted
    | Tick
)
