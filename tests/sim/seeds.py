"""Seeds as they are named on a command line."""

from __future__ import annotations


def parse_seeds(text: str) -> range:
    """`7` is one seed, `0:50` the half-open range."""
    first, colon, end = text.partition(":")
    return range(int(first), int(end) if colon else int(first) + 1)
