"""The arithmetic of majorities."""

from __future__ import annotations

from collections.abc import Iterable


def majority(voters: int) -> int:
    """Return how many of `voters` any two majorities overlap with. Of none it is one: nobody."""
    return voters // 2 + 1


def reached_by_majority(values: Iterable[int]) -> int:
    """Return the largest value that a majority has reached; `values` holds one for each voter.

    Without voters nothing was reached: -1.
    """
    ordered = sorted(values, reverse=True)
    return ordered[majority(len(ordered)) - 1] if ordered else -1


def is_won(votes_for: int, voters: int) -> bool:
    return votes_for >= majority(voters)


def is_lost(votes_against: int, voters: int) -> bool:
    """Whether so many refused that a majority can no longer be had."""
    return voters - votes_against < majority(voters)
