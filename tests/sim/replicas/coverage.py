"""States that the seeds of three nodes must reach."""

from __future__ import annotations

STATES = (
    "acknowledged by all in sync",
    "acknowledged by the leader alone",
    "all nodes lost power",
    "clean stop",
    "dedup hit",
    "disk full",
    "eligible replica elected",
    "fsync failed",
    "in-sync set grown",
    "in-sync set shrunk",
    "leadership moved",
    "node cut off",
    "one way cut",
    "power loss",
    "process killed",
    "producer gave a record up",
    "producer restarted",
    "record refused",
    "record unknown",
    "refused below min.insync.replicas",
    "replica cut",
    "slow disk",
)

RARE = frozenset({"record refused"})
