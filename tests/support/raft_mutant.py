"""What a planted bug of the consensus core is made of."""

from __future__ import annotations

from typing import NamedTuple


class Patch(NamedTuple):
    """In `module`, `anchor` (there exactly once) becomes `planted`."""

    module: str
    anchor: str
    planted: str


class Mutant(NamedTuple):
    """A bug. `seed` found it last, with the faults and demands in `focus`; or the function
    `directed` of tests.sim.raft.directed finds it."""

    name: str
    patches: tuple[Patch, ...]
    seed: int = 0
    focus: tuple[str, ...] = ()
    directed: str = ""


def in_core(module: str, anchor: str, planted: str) -> tuple[Patch, ...]:
    """One patch of a module of the core."""
    return (Patch(f"logd.consensus.{module}", anchor, planted),)


def in_driver(anchor: str, planted: str) -> tuple[Patch, ...]:
    """One patch of what drives the core in the simulation."""
    return (Patch("tests.sim.raft.node", anchor, planted),)
