"""States that the seeds must reach: a simulation that never gets there proves nothing of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

STATES = (
    "acknowledged",
    "crash at a file operation",
    "crash in a cleaning",
    "crash while starting",
    "dedup hit",
    "disk full",
    "fsync failed",
    "ledger compaction",
    "log compacted",
    "power loss",
    "process killed",
    "producer gave a record up",
    "producer restarted",
    "quarantine",
    "record refused",
    "record unknown",
    "reset between append and ack",
    "resumed after a full disk",
    "retention",
    "rot below the ledger",
    "segment rolled",
    "short write",
    "stopped cleanly",
    "tail beyond the ledger recovered",
    "topic altered",
    "topic deleted",
    "torn tail repaired",
    "trim",
    "wall clock jumped",
    "write failed",
)

#: Reached now and then, not in every set of fifty seeds.
RARE = frozenset({"quarantine"})


class Sometimes:
    """Counts how often each state was reached."""

    def __init__(self, states: Collection[str] = STATES, rare: Collection[str] = RARE) -> None:
        self.counts: dict[str, int] = dict.fromkeys(states, 0)
        self._rare = rare

    def __call__(self, state: str) -> None:
        self.counts[state] += 1

    def add(self, counts: Mapping[str, int]) -> None:
        """Add the counts of another run."""
        for state, count in counts.items():
            self.counts[state] += count

    def missing(self) -> list[str]:
        """States that were never reached although they must be."""
        return [
            state for state, count in self.counts.items() if not count and state not in self._rare
        ]
