"""What one seed does: how many nodes, how long, and which faults how often (a swarm of them)."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from logd.consensus import RaftTiming

#: What happens to nodes and network, by name, with the mean time between two of them in ms.
FAULTS = {
    "cut": (900, 2500),
    "crash": (900, 3000),
    "pause": (1200, 3000),
    "drift": (1500, 4000),
    "slow_disk": (1500, 4000),
    "full_disk": (2000, 5000),
    "failing_save": (1500, 4000),
    "wipe": (2500, 5000),
    "crash_all": (4000, 8000),
    "links": (1200, 3000),
}

#: What is asked of the nodes, likewise.
DEMANDS = {
    "propose": (25, 60, 200),
    "read": (60, 200),
    "compact": (300, 900, 3000),
    "transfer": (700, 2500),
    "voters": (300, 900, 2500),
    "observers": (1500, 4000),
}

#: A fault is drawn into a profile with this probability.
FAULT_SHARE = 0.35
#: Likewise a demand; proposals and reads are in every profile.
DEMAND_SHARE = 0.5

#: Some seeds are drawn towards what seldom comes together by chance.
_FOCI = (("wipe", "voters"), ("cut", "compact"), ("compact", "crash"), ("formation",))
_FOCUS_SHARE = 0.08

_TIMINGS = ((100, 300, 600), (100, 300, 600), (100, 400, 600), (150, 600, 1200))


@dataclass(frozen=True, slots=True)
class Profile:
    """The parameters of one run; times in virtual ms."""

    voters: int
    #: Nodes beyond the first voters: observers and voters to be.
    spares: int
    #: The first node founds the cluster, the others are made voters one by one.
    formation: bool
    timing: RaftTiming
    horizon_ms: int
    drop: float = 0.0
    duplicate: float = 0.0
    delay_ms: int = 5
    #: Probability of a delay of several election timeouts.
    straggle: float = 0.0
    #: Whether messages between two nodes may overtake each other.
    reorder: bool = True
    #: Probability that a node crashes while it works on a ready.
    crash_at_work: float = 0.0
    #: Mean of the time that a save takes; 0: none.
    save_ms: int = 0
    down_ms: int = 400
    #: Clients give up after this time.
    patience_ms: int = 1000
    #: Whether nodes that are not voters are sent the log.
    observe: bool = True
    #: Mean time between two faults or demands of a name.
    every_ms: dict[str, int] = field(default_factory=dict)


def draw_profile(rng: Random, focus: tuple[str, ...] = ()) -> Profile:
    """Draw what a seed does; faults and demands named in `focus` are in it, and often."""
    for drawn in _FOCI:
        if rng.random() < _FOCUS_SHARE:
            focus = (*focus, *drawn)
    formation = "formation" in focus
    every_ms = _draw_intervals(rng, focus)
    heartbeat, low, high = rng.choice(_TIMINGS)
    timing = RaftTiming(heartbeat, low, high)
    voters = 1 if formation else rng.choice((1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5))
    if rng.random() < 0.02:
        voters = 7
    may_grow = formation or "voters" in every_ms
    spares = rng.choice((2, 2, 3, 4)) if formation else rng.choice((0, 1, 2)) if may_grow else 0
    if formation or (may_grow and voters + spares < 2):
        every_ms["voters"] = rng.choice((300, 600))
        spares = max(spares, 2)
    return Profile(
        voters=voters,
        spares=spares,
        formation=formation,
        timing=timing,
        horizon_ms=rng.choice((5, 10, 14)) * timing.election_timeout_ms_max,
        drop=rng.choice((0, 0, 0.02, 0.1, 0.3)),
        duplicate=rng.choice((0, 0, 0.05, 0.2)),
        delay_ms=rng.choice((1, 5, 20, 60)),
        straggle=rng.choice((0, 0, 0.01, 0.05)),
        reorder=rng.random() < 0.7,
        crash_at_work=rng.choice((0, 0, 0.005, 0.02)),
        save_ms=rng.choice((0, 0, 3, 15, 60)),
        down_ms=rng.choice((50, 400, 1500)),
        patience_ms=rng.choice((300, 1000, 4000)),
        observe=rng.random() < 0.7,
        every_ms=every_ms,
    )


def _draw_intervals(rng: Random, focus: tuple[str, ...]) -> dict[str, int]:
    every_ms = {}
    for names, share in ((FAULTS, FAULT_SHARE), (DEMANDS, DEMAND_SHARE)):
        for name, choices in names.items():
            drawn = rng.random() < share or name in ("propose", "read")
            interval = rng.choice(choices)
            if name in focus:
                every_ms[name] = choices[0]
            elif drawn:
                every_ms[name] = interval
    return every_ms
