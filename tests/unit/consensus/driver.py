"""A driver of the one-voter core over a list: what is on `Disk` survives, everything else not."""

from __future__ import annotations

from dataclasses import dataclass, field

from logd.consensus import Entry, HardState, Identity, OneVoter, ReadState, Ready
from logd.model.ids import ClusterId, DirectoryId, NodeId

IDENTITY = Identity(ClusterId(b"c" * 16), NodeId(1), DirectoryId(b"d" * 16))


@dataclass
class Disk:
    hard_state: HardState | None = None
    entries: list[Entry] = field(default_factory=list)

    def start(self) -> OneVoter:
        return OneVoter(IDENTITY, self.hard_state, list(self.entries))

    def save(self, ready: Ready, entries: int | None = None) -> None:
        """Save all of a ready, or the hard state and so many entries."""
        self.hard_state = ready.hard_state or self.hard_state
        self.entries.extend(ready.entries[:entries])


def drive(core: OneVoter, disk: Disk) -> tuple[list[Entry], list[ReadState]]:
    """Work until there is nothing to do; returns what was applied and which reads came back."""
    applied: list[Entry] = []
    reads: list[ReadState] = []
    while core.has_ready():
        ready = core.ready()
        disk.save(ready)
        applied.extend(ready.committed)
        core.advance(ready)
        reads.extend(ready.reads)
    return applied, reads
