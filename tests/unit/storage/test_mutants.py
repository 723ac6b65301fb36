"""The planted bugs still fit the source; `make proof` runs the tests against each of them."""

from __future__ import annotations

import pytest

from tests.support.storage_mutant import Mutant
from tests.support.storage_mutants import MUTANTS, ROOT, source


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_anchor_is_there_once(mutant: Mutant) -> None:
    text = (ROOT / source(mutant.module)).read_text()
    assert text.count(mutant.anchor) == 1
    assert mutant.anchor != mutant.planted
