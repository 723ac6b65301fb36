"""The bugs that `tests.support.raft_mutants` plants into the consensus core and its driver."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """In `module`, each anchor (there exactly once) becomes what stands beside it.

    `seed` found it last, with these faults and demands in `focus`; or the function `directed` of
    tests.sim.raft.directed finds it.
    """

    name: str
    module: str
    patches: tuple[tuple[str, str], ...]
    seed: int = 0
    focus: tuple[str, ...] = ()
    directed: str = ""


MUTANTS: tuple[Mutant, ...] = ()
