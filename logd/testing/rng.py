"""Seeded randomness: one stream for each purpose, so that a new draw in one moves no other."""

from __future__ import annotations

import hashlib
import random


class SimRng(random.Random):
    """A generator that satisfies the `Rng` port and can be split by name.

    The seed is text: the path of names from the root, so `SimRng("7").child("disk")` always
    draws the same numbers, however much was drawn from its parent.
    """

    def __init__(self, seed: str | int) -> None:
        self._path = str(seed)
        digest = hashlib.sha256(self._path.encode()).digest()
        super().__init__(int.from_bytes(digest, "big"))

    def child(self, name: str) -> SimRng:
        """An independent generator, the same for the same name."""
        return SimRng(f"{self._path}/{name}")

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def exponential(self, mean: float, maximum: float) -> float:
        """An exponentially distributed value with this mean, cut at `maximum`."""
        if mean <= 0:
            return 0.0
        return min(self.expovariate(1.0 / mean), maximum)
