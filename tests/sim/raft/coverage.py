"""States that the seeds must reach: a simulation that never gets there proves nothing of them."""

from __future__ import annotations

from tests.sim import coverage

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


class Sometimes(coverage.Sometimes):
    """Counts how often each of these states was reached; none of them may be missing."""

    def __init__(self) -> None:
        super().__init__(STATES, rare=())
