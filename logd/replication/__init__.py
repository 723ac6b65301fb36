"""Leaders and followers of partitions: they decide, and do no I/O.

leader     who is in sync and what is committed
follower   what to ask the leader for, append, cut
divergence where two logs part
"""

from __future__ import annotations

from logd.replication.divergence import (
    Diverges,
    EndOffsetFor,
    Fits,
    TooLow,
    check_position,
    truncation_offset,
)
from logd.replication.follower import (
    Alarm,
    AppendChunk,
    Chunk,
    Committed,
    Connected,
    Disconnected,
    FollowerEffect,
    FollowerEvent,
    PartitionFollower,
    RestartAt,
    Retry,
    RetryAt,
    SendPosition,
    TrimTo,
    TruncateTo,
    WriteFailed,
    Written,
)
from logd.replication.leader import (
    Assigned,
    Assignment,
    FollowerAt,
    HighWatermarkMoved,
    LeaderEffect,
    LeaderEvent,
    OwnEnd,
    PartitionLeader,
    ProposalAnswered,
    ProposeIsr,
    Tick,
)

__all__ = [
    "Alarm",
    "AppendChunk",
    "Assigned",
    "Assignment",
    "Chunk",
    "Committed",
    "Connected",
    "Disconnected",
    "Diverges",
    "EndOffsetFor",
    "Fits",
    "FollowerAt",
    "FollowerEffect",
    "FollowerEvent",
    "HighWatermarkMoved",
    "LeaderEffect",
    "LeaderEvent",
    "OwnEnd",
    "PartitionFollower",
    "PartitionLeader",
    "ProposalAnswered",
    "ProposeIsr",
    "RestartAt",
    "Retry",
    "RetryAt",
    "SendPosition",
    "Tick",
    "TooLow",
    "TrimTo",
    "TruncateTo",
    "WriteFailed",
    "Written",
    "check_position",
    "truncation_offset",
]
