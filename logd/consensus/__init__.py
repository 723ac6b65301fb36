"""Consensus: an agreed log, as a pure core and the seam that the runtime implements."""

from __future__ import annotations

from logd.consensus.api import Committed, Consensus, StateMachine
from logd.consensus.checks import ENTRY_BYTES_MAX
from logd.consensus.log_types import (
    LOG_START,
    NO_OP,
    Entry,
    HardState,
    Identity,
    LogPoint,
    Role,
    SnapshotMeta,
    Voter,
    Voters,
)
from logd.consensus.messages import (
    AppendRejected,
    AppendRequest,
    AppendResponse,
    Body,
    HeartbeatRequest,
    HeartbeatResponse,
    InstallSnapshot,
    Message,
    TimeoutNow,
    VoteRequest,
    VoteResponse,
)
from logd.consensus.progress import PeerState
from logd.consensus.raft import RaftCore
from logd.consensus.ready import PeerProgress, Proposal, ReadState, Ready
from logd.consensus.timing import RaftTiming

__all__ = [
    "ENTRY_BYTES_MAX",
    "LOG_START",
    "NO_OP",
    "AppendRejected",
    "AppendRequest",
    "AppendResponse",
    "Body",
    "Committed",
    "Consensus",
    "Entry",
    "HardState",
    "HeartbeatRequest",
    "HeartbeatResponse",
    "Identity",
    "InstallSnapshot",
    "LogPoint",
    "Message",
    "PeerProgress",
    "PeerState",
    "Proposal",
    "RaftCore",
    "RaftTiming",
    "ReadState",
    "Ready",
    "Role",
    "SnapshotMeta",
    "StateMachine",
    "TimeoutNow",
    "VoteRequest",
    "VoteResponse",
    "Voter",
    "Voters",
]
