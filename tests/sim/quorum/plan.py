"""What one seed does: nodes, faults, links, disks, clocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from logd.testing.disk import DiskLatency
from logd.testing.network import LinkProfile
from logd.testing.rng import SimRng

#: Mean virtual seconds between two faults of a kind.
FAULTS: Mapping[str, float] = {
    "crash": 2.5,
    "crash_at_step": 2.0,
    "crash_at_operation": 2.0,
    "stop": 4.0,
    "full_disk": 3.0,
    "failed_sync": 3.0,
    "failed_write": 3.0,
    "short_writes": 2.0,
    "cut": 2.5,
    "one_way": 2.5,
    "lossy": 1.5,
    "reset": 1.0,
    "stall": 1.5,
    "drift": 1.5,
    "wall_jump": 2.0,
}
#: What an operator does, likewise.
DEMANDS: Mapping[str, float] = {"add": 2.5, "remove": 3.0, "replace": 4.0}
SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Plan:
    """Times in virtual seconds; `every` has the faults and demands of the seed."""

    voters: int
    every: Mapping[str, float]
    link: LinkProfile
    latency: DiskLatency
    phase: float
    down_max: float
    workers: int
    snapshot_entries: int


def draw_plan(rng: SimRng, focus: tuple[str, ...] = ()) -> Plan:
    """Draw the plan of a seed; what `focus` names is in it, and nothing else."""
    drawn = [name for name in (*FAULTS, *DEMANDS) if rng.chance(SHARE)]
    every = {**FAULTS, **DEMANDS}
    slow_disk = rng.chance(0.25)
    voters = rng.choice((1, 3, 3, 3, 3, 5))
    return Plan(
        voters=3 if focus else voters,
        every={name: every[name] for name in focus or drawn},
        link=LinkProfile(
            delay_ms_mean=rng.choice((0.3, 0.3, 2.0, 15.0)),
            detect_ms_max=rng.choice((20.0, 200.0)),
        ),
        latency=DiskLatency(write_ms=1.0, sync_ms=10.0) if slow_disk else DiskLatency(),
        phase=rng.choice((4.0, 6.0, 8.0)),
        down_max=rng.choice((0.05, 0.5, 2.0)),
        workers=rng.randint(1, 3),
        snapshot_entries=rng.choice((6, 12, 40)),
    )
