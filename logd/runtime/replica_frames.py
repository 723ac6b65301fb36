"""What a follower and a leader say to each other about partitions, and the ports for it.

    follower --position--> leader --chunk--> follower --position--> ...

A position is what the follower has made durable: an acknowledgement and a request in one. For each
position a leader sends one chunk, as soon as there is something to say; then it waits for the next
position. A partition in which nothing happens costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from logd_wire.errors import LogdError

from logd.model.ids import LeaderEpoch, NodeId, TopicPartitionId


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """Where a leader epoch ends in a log; `epoch` -1: the log has none so old."""

    epoch: int
    end_offset: int


@dataclass(frozen=True, slots=True)
class ReplicaPosition:
    """How far a replica is. `stop`: it is not followed any more, and the rest means nothing."""

    partition: TopicPartitionId
    leader_epoch: LeaderEpoch
    #: Of the registration of the follower's process.
    node_epoch: int
    #: End of what is durable there.
    end_offset: int
    #: Of the batch before `end_offset`; -1: there is none.
    last_epoch: int
    stop: bool = False


@dataclass(frozen=True, slots=True)
class ReplicaChunk:
    """What comes next in a partition: `records`, or why there are none."""

    partition: TopicPartitionId
    leader_epoch: LeaderEpoch
    #: Whole batches as the leader stores them.
    records: bytes = b""
    #: When the leader appended the first of them; -1: unknown.
    append_time_ms: int = -1
    high_watermark: int = 0
    log_start_offset: int = 0
    #: Every replica has what lies below, as far as the leader knows.
    replicated_end: int = 0
    #: Deletes below it may be missing from the leader's log.
    forgotten_end: int = 0
    #: The logs differ below the position.
    diverging: EpochEnd | None = None
    #: The position lies below the start of the leader's log.
    too_low: bool = False
    #: The leader cannot serve the partition now.
    error: LogdError | None = None


class ReplicaStream(Protocol):
    """The follower's end. Methods raise LogdError once the stream is broken."""

    async def write(self, positions: Sequence[ReplicaPosition]) -> None:
        """Say positions; waits while the leader does not read."""
        ...

    async def read(self) -> Sequence[ReplicaChunk] | None:
        """The next chunks; None: the leader ended the stream."""
        ...

    async def close(self) -> None:
        """Give the stream and its connection up."""
        ...


class ReplicaSource(Protocol):
    """The leader's end: where positions come from. Its methods end with the stream."""

    async def read(self) -> Sequence[ReplicaPosition] | None:
        """The next positions; None: the follower ended the stream."""
        ...

    async def write(self, chunks: Sequence[ReplicaChunk]) -> None:
        """Send chunks; waits while the follower does not read."""
        ...


class ReplicaServer(Protocol):
    """Answers the followers of the partitions that this node leads."""

    async def serve(self, follower: NodeId, source: ReplicaSource) -> None:
        """Serve one stream to its end."""
        ...
