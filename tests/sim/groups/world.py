"""What the parts of one simulation of a group share, and what is noted of its members."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from logd_client._core.group_member import Subscription
from logd_client.values import TopicPartition

from logd.model.ids import TopicPartitionId
from logd.testing.clock import WALL_START_MS
from logd.testing.loop import VirtualLoop
from tests.sim.groups.freezing import FreezingLoop
from tests.sim.world import World

ALL_TOPICS = Subscription(("events", "orders"))


class Delivery(NamedTuple):
    """Records `first` to `last` of a partition, handed out at once.

    `partition`: of the topic that they were read from, whatever has its name by now.
    """

    at_ms: int
    member_id: str
    tp: TopicPartition
    partition: TopicPartitionId
    first: int
    last: int


class Heard(NamedTuple):
    """What a heartbeat was answered. `assignment`: (topic id, partition) pairs; None: unchanged."""

    at_ms: int
    member_id: str
    epoch: int
    assignment: frozenset[tuple[bytes, int]] | None


class Kept(NamedTuple):
    """An offset that a member was told is stored."""

    at_ms: int
    topic_id: bytes
    partition: int
    offset: int


class Seek(NamedTuple):
    """A member has said itself where to go on with a partition."""

    at_ms: int
    member_id: str
    partition: TopicPartitionId
    offset: int


@dataclass(slots=True)
class GroupNotes:
    """Times are virtual milliseconds, the same for all nodes and members."""

    delivered: list[Delivery] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    seeks: list[Seek] = field(default_factory=list)
    #: When a member was done with a record first, or chose to leave it out.
    processed: dict[tuple[TopicPartitionId, int], int] = field(default_factory=dict)
    #: Member id -> when the session ends that it has by its newest answered heartbeat.
    deadlines: dict[str, float] = field(default_factory=dict)

    def done_with(self, partition: TopicPartitionId, offsets: Iterable[int], at_ms: int) -> None:
        for offset in offsets:
            self.processed.setdefault((partition, offset), at_ms)

    def done_to(self, partition: TopicPartitionId) -> int:
        """Somebody was done with everything below."""
        offset = 0
        while (partition, offset) in self.processed:
            offset += 1
        return offset


@dataclass(frozen=True, slots=True)
class CallFaults:
    """How the calls of members to their coordinator go wrong: chances, and a mean in ms."""

    lost: float = 0.0
    late: float = 0.0
    doubled: float = 0.0
    late_ms_mean: float = 0.0


@dataclass(slots=True)
class GroupWorld(World):
    """A world with one group in it."""

    group_id: str = "readers"
    session_ms: int = 2_000
    rebalance_ms: int = 3_000
    commit_interval_ms: float = 500.0
    calls: CallFaults = field(default_factory=CallFaults)
    #: The chance that a member seeks in a partition when it is told of it.
    seek_on_assign: float = 0.0
    #: What members begin with, and have in the end: all topics.
    subscription: Subscription = ALL_TOPICS
    notes: GroupNotes = field(default_factory=GroupNotes)

    @property
    def freezer(self) -> FreezingLoop:
        loop: VirtualLoop = self.loop
        assert isinstance(loop, FreezingLoop)
        return loop

    def now_ms(self) -> int:
        """Virtual milliseconds, as the clocks of nodes and members have them."""
        return self.client_clock.monotonic_ms()


def wall_to_virtual_ms(wall_ms: int) -> int:
    """What a node's wall clock said, as virtual time: no wall clock jumps here."""
    return wall_ms - WALL_START_MS
