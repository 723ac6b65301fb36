"""What the consensus driver is given: who this node is in the log, and what the log drives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from logd.consensus import Identity, RaftTiming, StateMachine
from logd.model.ids import LogIndex


class SnapshotMachine(StateMachine, Protocol):
    """A state machine whose state can be put aside and taken up again."""

    def snapshot(self) -> Callable[[], bytes]:
        """What encodes the state of now; called on any thread, while the machine goes on."""
        ...

    def restore(self, index: LogIndex, contents: bytes) -> None:
        """Begin anew from the state below `index`. An exception stops the node."""
        ...


@dataclass(frozen=True, slots=True)
class LogMember:
    """How this node begins: `founder` of its cluster or not, under which peer address.

    `founder` counts only as long as nothing was saved.
    """

    identity: Identity
    founder: bool
    address: str
    timing: RaftTiming
