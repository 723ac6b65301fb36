"""States that the seeds of three nodes must reach."""

from __future__ import annotations

STATES = (
    "acknowledged by all in sync",
    "acknowledged by the leader alone",
    "all nodes lost power",
    "clean stop",
    "copy started over",
    "damaged copy made anew",
    "dedup hit",
    "delete forgotten",
    "disk full",
    "eligible replica elected",
    "follower compacted",
    "fsync failed",
    "in-sync set grown",
    "in-sync set shrunk",
    "leader compacted",
    "leadership handed over",
    "leadership moved",
    "node cut off",
    "node drained",
    "older disk",
    "one way cut",
    "power loss",
    "process killed",
    "producer gave a record up",
    "producer restarted",
    "reassignment called off",
    "record refused",
    "record unknown",
    "refused below min.insync.replicas",
    "replica cut",
    "replica moved away",
    "replica moved in",
    "replicas reassigned",
    "slow disk",
    "stored range damaged",
)

RARE = frozenset({"record refused"})
