"""Consensus: an agreed log, as a pure core and the seam that the runtime implements."""

from __future__ import annotations

from logd.consensus.api import Committed, Consensus, StateMachine
from logd.consensus.log_types import NO_OP, Entry, HardState, Identity, Role
from logd.consensus.one_voter import ENTRY_BYTES_MAX, OneVoter, Proposal, ReadState, Ready

__all__ = [
    "ENTRY_BYTES_MAX",
    "NO_OP",
    "Committed",
    "Consensus",
    "Entry",
    "HardState",
    "Identity",
    "OneVoter",
    "Proposal",
    "ReadState",
    "Ready",
    "Role",
    "StateMachine",
]
