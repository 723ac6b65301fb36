"""The planted bugs still fit the source; `make proof` runs the tests against each of them."""

from __future__ import annotations

import pytest

from tests.support.codec_build import ROOT
from tests.support.codec_mutants import MUTANTS, Mutant, source


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_anchor_is_there_once(mutant: Mutant) -> None:
    text = (ROOT / source(mutant.file)).read_text()
    assert text.count(mutant.anchor) == 1
    assert mutant.anchor != mutant.planted
