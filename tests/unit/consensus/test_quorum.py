from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logd.consensus.quorum import is_lost, is_won, majority, reached_by_majority


def naive_reached(values: list[int]) -> int:
    """Try every value: how many have it, or more?"""
    reached = [
        value for value in values if sum(other >= value for other in values) * 2 > len(values)
    ]
    return max(reached, default=-1)


@pytest.mark.parametrize(
    ("voters", "expected"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)]
)
def test_majority(voters: int, expected: int) -> None:
    assert majority(voters) == expected


@pytest.mark.parametrize("voters", range(1, 8))
def test_any_two_majorities_overlap(voters: int) -> None:
    members = range(voters)
    for one in combinations(members, majority(voters)):
        for other in combinations(members, majority(voters)):
            assert set(one) & set(other)


@pytest.mark.parametrize("voters", range(1, 7))
def test_majorities_of_neighbouring_sets_overlap(voters: int) -> None:
    """With one voter more: what makes a change of one voter at a time safe."""
    for one in combinations(range(voters), majority(voters)):
        for other in combinations(range(voters + 1), majority(voters + 1)):
            assert set(one) & set(other)


@given(st.lists(st.integers(0, 12), max_size=9))
def test_reached_by_majority(values: list[int]) -> None:
    assert reached_by_majority(values) == naive_reached(values)
    assert reached_by_majority(sorted(values)) == reached_by_majority(values)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9))
def test_an_election_is_won_or_lost_or_open(votes_for: int, against: int, voters: int) -> None:
    if votes_for + against > voters:
        return
    assert is_won(votes_for, voters) is (votes_for * 2 > voters)
    # Lost: even with every vote that is still out it is not won.
    assert is_lost(against, voters) is (not is_won(voters - against, voters))
    assert not (is_won(votes_for, voters) and is_lost(against, voters))


def test_nobody_wins_without_voters() -> None:
    assert not is_won(0, 0)
    assert is_lost(0, 0)
