"""The first states of every small history; `make proof` looks at many more."""

from __future__ import annotations

import importlib

import pytest

from tests.sim.raft.small_scope import SCOPES, Budget, explore_scope
from tests.support.raft_mutant_table import MUTANTS
from tests.support.raft_mutants import planted

STATES = 5_000


@pytest.mark.parametrize(("name", "is_led", "budget"), SCOPES, ids=[name for name, *_ in SCOPES])
def test_no_short_history_breaks_a_rule(name: str, is_led: bool, budget: Budget) -> None:
    result = explore_scope(is_led, budget, STATES)
    assert not result.problem, f"{name}: {result.problem}\n" + "\n".join(result.path)
    assert result.states == STATES


def test_a_small_scope_is_looked_at_to_its_end() -> None:
    result = explore_scope(False, Budget(timeouts=1, heartbeats=0, proposals=0, crashes=0), 10_000)
    assert not result.problem
    assert 1_000 < result.states < 10_000


@pytest.mark.parametrize(
    ("name", "is_led", "counts", "said"),
    [
        ("vote given twice in a term", False, (2, 0, 0, 0), "two leaders"),
        ("vote without a look at the log", True, (1, 0, 1, 0), "lacks what is committed"),
    ],
)
def test_a_planted_bug_is_found(
    name: str, is_led: bool, counts: tuple[int, int, int, int], said: str
) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    # States are pickled, so the planted modules have to stay in place.
    with planted(mutant):
        small_scope = importlib.import_module("tests.sim.raft.small_scope")
        result = small_scope.explore_scope(is_led, small_scope.Budget(*counts), 200_000)
    assert said in result.problem
    assert result.path
