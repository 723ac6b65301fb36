"""States that the seeds of a group must reach."""

from __future__ import annotations

STATES = (
    "all nodes lost power",
    "answer lost",
    "call doubled",
    "call late",
    "clean stop",
    "coordinator cut off",
    "coordinator killed",
    "coordinator lost with a slow disk",
    "coordinator moved",
    "coordinator stopped",
    "handler takes long",
    "member cut off",
    "member frozen",
    "member frozen past its session",
    "member joined again",
    "member killed",
    "member left",
    "partitions given up",
    "partitions lost",
    "power loss",
    "process killed",
    "producer gave a record up",
    "producer restarted",
    "record refused",
    "record unknown",
    "request lost",
    "slow disk",
    "static member came back",
    "static member fenced",
    "subscription changed",
    "twin of a static member",
)

#: Reached now and then.
RARE = frozenset({"producer gave a record up", "record refused", "record unknown"})
