"""Every bug planted into the groups' machine is seen by the test named for it."""

from __future__ import annotations

import pytest

from tests.support.group_mutants import MUTANTS, Mutant, pytest_name, seen_by, source
from tests.support.planting import ROOT

by_name = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)


@by_name
def test_the_anchor_is_there_once(mutant: Mutant) -> None:
    text = (ROOT / source(mutant.module)).read_text()
    assert text.count(mutant.anchor) == 1
    assert mutant.anchor != mutant.planted


def test_names_differ() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.slow
@by_name
def test_the_bug_is_seen(mutant: Mutant) -> None:
    test = pytest_name(mutant)
    assert seen_by(mutant, test).startswith(test), f"{mutant.name} is not seen by {test}"
