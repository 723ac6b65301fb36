"""What the core hands to its driver, and what it tells about itself."""

from __future__ import annotations

from dataclasses import dataclass

from logd.consensus.log_types import Entry, HardState, SnapshotMeta
from logd.consensus.messages import Message
from logd.consensus.progress import PeerState
from logd.model.ids import LogIndex, NodeId, Term


@dataclass(frozen=True, slots=True)
class Proposal:
    """Where a proposed entry will be, unless leadership is lost first."""

    index: LogIndex
    term: Term


@dataclass(frozen=True, slots=True)
class ReadState:
    """A read that may be answered once everything below `index` has been applied.

    It is handed out when that is so: with the ready whose `committed` reach it, or a later one.
    """

    context: int
    index: LogIndex


@dataclass(frozen=True, slots=True)
class Ready:
    """Work for the driver: save -> send -> apply -> advance.

    `hard_state`, `snapshot` and `entries` are saved together, in this order, and synced once.
    """

    #: Set when it changed; to be durable together with, or before, what follows.
    hard_state: HardState | None
    #: The log begins anew behind this; its contents are with the driver, the state machine is
    #: restored from them.
    snapshot: SnapshotMeta | None
    #: To be appended. The first may lie below the end of the stored log: cut there first.
    entries: tuple[Entry, ...]
    #: They promise something: to be sent when all of the above is durable.
    messages: tuple[Message, ...]
    #: They promise nothing that is not durable already: may be sent before the save.
    messages_now: tuple[Message, ...]
    #: To be applied in order; all of them were in an earlier ready's `entries` or on disk.
    committed: tuple[Entry, ...]
    #: To be answered after `committed` was applied.
    reads: tuple[ReadState, ...]
    #: Contexts of reads that will not be answered: leadership was lost.
    reads_failed: tuple[int, ...]

    @property
    def has_work(self) -> bool:
        """Whether there is something to save."""
        return bool(self.hard_state or self.snapshot or self.entries)


@dataclass(frozen=True, slots=True)
class PeerProgress:
    """What a leader knows of another member."""

    node_id: NodeId
    #: Durable there and equal to the leader's log; end index.
    match_index: LogIndex
    #: The index of the entry that is sent next.
    next_index: LogIndex
    is_voter: bool
    #: Whether it answered a heartbeat of the last election timeout.
    active: bool
    state: PeerState
