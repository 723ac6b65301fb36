"""States that the seeds of a group must reach."""

from __future__ import annotations

STATES = (
    "all nodes lost power",
    "answer lost",
    "call doubled",
    "call late",
    "commit goes back after a seek",
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
    "member sought ahead",
    "member sought back",
    "member sought in on_assign",
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
    "subscribed by a pattern",
    "subscription changed",
    "topic deleted",
    "topic grew",
    "topic made again",
    "twin of a static member",
)

#: Reached now and then.
RARE = frozenset({"producer gave a record up", "record refused", "record unknown"})
