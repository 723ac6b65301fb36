"""Who and what the model of replication moves about: records, messages, proposals and nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from logd.model.ids import NodeId
from logd.replication import Chunk, FollowerEvent, PartitionFollower, PartitionLeader, ProposeIsr
from tests.unit.replication.rig import epochs

#: The epoch and the number of a record; None below the start of a log that was restarted.
Record = tuple[int, int] | None
CHUNK_RECORDS = 3
#: The number of a record that was compacted.
GONE: Final = 0


def key_of(record: Record) -> int:
    """-1: it has none, because it is not there any more."""
    return -1 if record is None or record[1] == GONE else record[1] % 3


def deletes(record: Record) -> bool:
    return record is not None and record[1] % 2 == 0


def newest(log: list[Record], start: int, end: int) -> dict[int, int]:
    """The offset of the newest record of each key."""
    return {key_of(log[at]): at for at in range(start, end) if key_of(log[at]) >= 0}


@dataclass(frozen=True)
class Position:
    sender: NodeId
    stream: int
    leader_epoch: int
    node_epoch: int
    end_offset: int
    last_epoch: int


@dataclass(frozen=True)
class Answer:
    chunk: Chunk
    records: tuple[Record, ...]
    replicated_end: int


@dataclass(frozen=True)
class Copy:
    """A proposal on its way to the controller."""

    leader: NodeId
    node_epoch: int
    leader_epoch: int
    effect: ProposeIsr


@dataclass
class Node:
    node_id: NodeId
    log: list[Record] = field(default_factory=list)
    start: int = 0
    durable: int = 0
    high_watermark: int = 0
    #: What was stored of the high watermark last.
    stored: int = 0
    node_epoch: int = 0
    is_up: bool = True
    #: How much of the controller's history it knows.
    known: int = 0
    leader: PartitionLeader | None = None
    follower: PartitionFollower | None = None
    leader_epoch: int = -1
    stream: int = 0
    answers: list[Answer] = field(default_factory=list)
    #: Deletes below it may be missing.
    forgotten_end: int = 0
    #: What the leader said every replica has.
    told_end: int = 0
    #: Of the chunk that is being appended.
    appending: tuple[Record, ...] = ()
    pending: FollowerEvent | None = None

    def end_offset_for(self, epoch: int) -> tuple[int, int]:
        starts: dict[int, int] = {}
        for offset, record in enumerate(self.log):
            if record is not None and offset >= self.start:
                starts.setdefault(record[0], offset)
        return epochs(starts, len(self.log))(epoch)

    @property
    def last_epoch(self) -> int:
        last = self.log[-1] if len(self.log) > self.start else None
        return -1 if last is None else last[0]
