"""States that the seeds must reach: a simulation that never gets there proves nothing of them."""

from __future__ import annotations

from tests.sim import coverage
from tests.sim.raft import coverage as raft

STATES = (
    # commands
    "command acknowledged",
    "command refused",
    "command unknown",
    "linearizable read answered",
    "read barrier answered",
    # the log
    "leader crashed with uncommitted entries",
    "snapshot taken",
    "start from a snapshot",
    "start without a log",
    "two nodes lead at a time",
    # steps of the driver
    "crash at a file operation",
    "crash while starting",
    "crash within a save",
    # disks
    "disk full",
    "fsync failed",
    "full disk during a save",
    "power loss",
    "process killed",
    "save under way was kept",
    "save under way was lost",
    "short write",
    "stopped cleanly",
    "write failed",
    # clocks and links
    "connection reset",
    "connection stalled",
    "one-way cut",
    "wall clock jumped",
    # membership
    "node added",
    "node fenced",
    "node removed",
    "node replaced",
    "voter removed while it leads",
)

#: States of the core that the real nodes must come to as well.
OF_THE_CORE = (
    "asymmetric cut",
    "candidate without majority",
    "check-quorum step-down",
    "clock drifted",
    "crash between apply and advance",
    "crash between save and send",
    "crash between send and apply",
    "crash within sending",
    "earlier term committed by the own term",
    "leader met a higher term",
    "message delayed for several timeouts",
    "message delivered twice",
    "message dropped",
    "pre-vote lost",
    "snapshot installed",
    "symmetric cut",
    "uncommitted entry overwritten",
    "voter added",
    "voter removed",
)


class Sometimes(raft.Sometimes):
    """Counts how often each state was reached; of those of the core, some may be missing."""

    def __init__(self) -> None:
        rare = frozenset(raft.STATES).difference(OF_THE_CORE)
        coverage.Sometimes.__init__(self, (*STATES, *raft.STATES), rare)
