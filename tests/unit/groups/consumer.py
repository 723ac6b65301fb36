"""A member as it should be: what it says, what it delivers, and when it stops by itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from logd.groups import (
    JOINING,
    Commit,
    FetchOffsets,
    Heartbeat,
    HeartbeatReply,
    OffsetToCommit,
    Partitions,
)
from logd.model.ids import TopicPartitionId
from tests.unit.groups.rig import GROUP, REBALANCE_MS, SESSION_MS


@dataclass
class Consumer:
    """One process. It knows its own clock, and what it was told."""

    member_id: str
    topics: tuple[str, ...]
    instance_id: str | None = None
    epoch: int = JOINING
    #: What it was given and has not been told to give up.
    held: set[TopicPartitionId] = field(default_factory=set)
    #: What it has to give up and works on still: it delivers nothing new of it.
    giving: set[TopicPartitionId] = field(default_factory=set)
    #: Where it goes on, of what it holds and is giving up; without: not read yet.
    positions: dict[TopicPartitionId, int] = field(default_factory=dict)
    #: When its last answered heartbeat was sent; -1: none was.
    answered_ms: int = -1
    #: When it first said the epoch that told it to give up; -1: it did not.
    said_ms: int = -1
    sequence: int = 0
    #: The call whose answer it waits for; answers to those before are thrown away.
    call: int = -1
    says_everything: bool = True
    frozen: bool = False

    def delivering(self, now_ms: int) -> set[TopicPartitionId]:
        """What it may deliver from now."""
        if self.frozen or self.lapsed(now_ms):
            return set()
        return {each for each in self.held if each in self.positions}

    def working_on(self, now_ms: int) -> set[TopicPartitionId]:
        """What it may deliver from, or has not given up: nobody else may have that."""
        giving = set() if self.frozen or self.lapsed(now_ms) else self.giving
        return self.delivering(now_ms) | giving

    def lapsed(self, now_ms: int) -> bool:
        """Whether it may be taken for gone, or has taken too long to give up."""
        silent = self.answered_ms >= 0 and now_ms >= self.answered_ms + SESSION_MS
        slow = bool(self.giving) and 0 <= self.said_ms <= now_ms - REBALANCE_MS
        return silent or slow

    def lose_everything(self) -> None:
        self.epoch = JOINING
        self.held.clear()
        self.giving.clear()
        self.positions.clear()
        self.answered_ms = self.said_ms = self.call = -1
        self.says_everything = True

    def look_at_clock(self, now_ms: int) -> None:
        if not self.frozen and self.lapsed(now_ms):
            self.lose_everything()

    # --- what it says ----------------------------------------------------------------------------

    def heartbeat(self, call: int, now_ms: int) -> Heartbeat:
        everything = self.says_everything or self.call >= 0
        self.call = call
        if self.giving and self.said_ms < 0:
            self.said_ms = now_ms
        joining = self.epoch == JOINING
        return Heartbeat(
            GROUP,
            self.member_id,
            self.epoch,
            instance_id=self.instance_id,
            rebalance_timeout_ms=REBALANCE_MS,
            session_timeout_ms=SESSION_MS,
            topics=self.topics if everything else None,
            owned=self.owned() if everything and not joining else None,
        )

    def owned(self) -> Partitions:
        """What it has taken up and not given up. What it was given and has not read the offset of
        is not in it: a late copy of what it says must not be taken for giving that up."""
        return frozenset(self.positions)

    def commit(self) -> Commit:
        self.sequence += 1
        offsets = (OffsetToCommit(*each, offset) for each, offset in sorted(self.positions.items()))
        return Commit(GROUP, self.member_id, self.epoch, tuple(offsets), self.sequence)

    def fetch(self) -> FetchOffsets:
        return FetchOffsets(GROUP, self.member_id, self.epoch)

    # --- what it is told -------------------------------------------------------------------------

    def told(self, reply: HeartbeatReply, sent_ms: int) -> None:
        self.call = -1
        self.answered_ms = sent_ms
        self.says_everything = False
        if reply.assignment is None:
            assert reply.member_epoch == self.epoch
            return
        lost = (self.held - reply.assignment) & self.positions.keys()
        self.giving |= lost
        self.held = set(reply.assignment)
        self.epoch = reply.member_epoch
        self.says_everything = True
        if lost:
            self.said_ms = -1

    def fetched(self, epoch: int, offsets: dict[TopicPartitionId, int]) -> None:
        if epoch == self.epoch:
            for each in self.held:
                self.positions.setdefault(each, offsets.get(each, 0))

    def give_up(self) -> None:
        """Done with what it was told to give up."""
        for each in self.giving:
            self.positions.pop(each, None)
        self.giving.clear()
        self.says_everything = True
