from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sim.raft.directed import SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_script(script: Callable[[], None]) -> None:
    script()  # raises AssertionError
