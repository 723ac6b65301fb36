"""Every bug planted into the consensus core is found by the simulation or by a directed test."""

from __future__ import annotations

import pytest

from tests.support.raft_mutant import Mutant
from tests.support.raft_mutant_table import MUTANTS
from tests.support.raft_mutants import search, seeds_near

#: Seeds around the one that found a bug last, and how many in the proof.
SEEDS, SEEDS_OF_PROOF = 100, 2000


def test_there_are_enough_of_them() -> None:
    assert len(MUTANTS) >= 32
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    found = search(mutant, seeds_near(mutant, SEEDS))
    assert found.by, f"{mutant.name}: not found; python -m tests.support.raft_mutants finds seeds"


@pytest.mark.proof
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found_from_the_first_seed_on(mutant: Mutant) -> None:
    """Without the hint, so that luck with one seed is not all there is."""
    assert search(mutant, range(SEEDS_OF_PROOF)).by
