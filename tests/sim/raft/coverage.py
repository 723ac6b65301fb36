"""States that the seeds must reach: a simulation that never gets there proves nothing of them."""

from __future__ import annotations

from collections.abc import Mapping

STATES = (
    # clients
    "acknowledged",
    "acknowledged after a change of leader",
    "entry of several payloads applied",
    "proposal lost with leadership",
    "proposal timed out",
    "read answered",
    "read refused at leadership loss",
    "read waited for the first commit of a term",
    # elections
    "candidate without majority",
    "check-quorum step-down",
    "leader met a higher term",
    "pre-vote lost",
    "progress of a majority",
    "single voter elected itself",
    "two nodes believe they lead",
    "vote asked by a stranger",
    "vote refused for a stale log",
    "vote refused for wrong directory",
    "vote request ignored while a leader lives",
    # logs
    "answer of another directory",
    "append refused with a hint",
    "earlier term committed by the own term",
    "stale leader answered",
    "uncommitted entry overwritten",
    # snapshots
    "compacted",
    "restart from a snapshot",
    "restart with a log that reaches below the snapshot",
    "restart with an old log beside a new snapshot",
    "snapshot could not be delivered",
    "snapshot installed",
    "snapshot installed over a divergent tail",
    "snapshot lost where it was received",
    "snapshot with other voters installed",
    # membership
    "address changed",
    "founder grew to three",
    "leader removed itself",
    "observer became voter",
    "observer caught up",
    "removed node campaigned",
    "second change refused",
    "voter added",
    "voter change rolled back",
    "voter removed",
    "voter replaced",
    "voters written down as they are",
    # transfers
    "transfer done",
    "transfer given up",
    # faults
    "asymmetric cut",
    "clock drifted",
    "crash between apply and advance",
    "crash between save and send",
    "crash between send and apply",
    "crash within a save",
    "crash within sending",
    "directory emptied",
    "message delayed for several timeouts",
    "message delivered twice",
    "message dropped",
    "message overtaken",
    "node cut off",
    "node paused",
    "save failed",
    "save waited for space",
    "saving while messages come",
    "symmetric cut",
    "torn save",
)

#: Reached now and then, not in every set of some hundred seeds.
RARE: frozenset[str] = frozenset()


class Sometimes:
    """Counts how often each state was reached."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = dict.fromkeys(STATES, 0)

    def __call__(self, state: str) -> None:
        self.counts[state] += 1

    def add(self, counts: Mapping[str, int]) -> None:
        """Add the counts of another run."""
        for state, count in counts.items():
            self.counts[state] += count

    def missing(self) -> list[str]:
        """States that were never reached although they must be."""
        return [state for state, count in self.counts.items() if not count and state not in RARE]
