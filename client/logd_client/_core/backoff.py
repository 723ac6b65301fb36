"""How long to wait before trying again."""

from __future__ import annotations

from dataclasses import dataclass

from logd_client._core.ports import Rng


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter. Times in milliseconds."""

    base_ms: float = 20.0
    ceiling_ms: float = 1_000.0

    def delay_ms(self, attempt: int, rng: Rng) -> float:
        """Wait before attempt number `attempt` (1: the first one after a failure).

        Uniform between 0 and min(ceiling, base * 2**attempt); never exactly 0, so that a retry
        never runs in the same instant as the failure.
        """
        bound = min(self.ceiling_ms, self.base_ms * 2.0 ** min(attempt, 30))
        return 1.0 + rng.random() * (bound - 1.0)


class RetryBudget:
    """Keeps retries a small share of the work: each success pays in `ratio`, each retry takes 1.

    A retry that finds the budget empty is not given up, it waits the backoff's ceiling.
    """

    __slots__ = ("_capacity", "_ratio", "_tokens")

    def __init__(self, capacity: float = 20.0, ratio: float = 0.1) -> None:
        self._capacity = capacity
        self._ratio = ratio
        self._tokens = capacity

    def success(self) -> None:
        tokens = self._tokens + self._ratio
        self._tokens = tokens if tokens < self._capacity else self._capacity

    def take(self) -> bool:
        """Whether a retry may go at the usual pace."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
