"""What both sides of a consumer share: readers, what they need, what is ready.

Every method expects the lock to be held.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from logd_wire.errors import LogdError

from logd_client._core.partition_reader import PartitionReader, Reset
from logd_client._core.ports import Lock
from logd_client.values import TopicPartition

#: Consumed bytes are granted again in portions of this share of the window.
CREDIT_PORTION: Final = 8


@dataclass(frozen=True, slots=True)
class FetchConfig:
    """Sizes in bytes, times in milliseconds. `window_bytes` is what one node may send ahead."""

    window_bytes: int = 50 * 2**20
    min_bytes: int = 1
    max_wait_ms: int = 500
    partition_max_bytes: int = 2**20
    reset: Reset = Reset.ERROR
    skip_corrupt: bool = False
    #: Whether a partition begins at what the group has committed, if it has.
    committed_first: bool = False


class Lease:
    """How long partitions may be read: nothing is handed out at or after `until_ms`."""

    __slots__ = ("now_ms", "until_ms")

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self.now_ms = now_ms
        self.until_ms = math.inf

    def over(self) -> bool:
        return self.now_ms() >= self.until_ms


class News(Enum):
    """What became of partitions, as the application is told."""

    ASSIGNED = "assigned"
    REVOKED = "revoked"
    LOST = "lost"


@dataclass(slots=True, eq=False)
class Announcement:
    """One call to the application, made by whoever reads next, from within the read.

    `done` is called once the application has returned.
    """

    news: News
    partitions: tuple[TopicPartition, ...]
    done: Callable[[], None]


def _nothing() -> None:
    return None


class FetchState:
    """See the module. `wake` has the I/O thread look at `work`; it must be cheap."""

    def __init__(self, config: FetchConfig, lock: Lock, wake: Callable[[], None]) -> None:
        self.config = config
        self.lock = lock
        self._wake = wake
        self._wake_due = False
        self.readers: dict[TopicPartition, PartitionReader] = {}
        #: Subscription id -> its reader.
        self.subscribed: dict[int, PartitionReader] = {}
        #: Readers that need the I/O thread, in the order in which they asked.
        self.work: dict[PartitionReader, None] = {}
        #: Readers that wait until their `blocked_until_ms`.
        self.blocked: dict[PartitionReader, None] = {}
        #: Readers that have something for the caller; the next one first.
        self.ready: dict[PartitionReader, None] = {}
        #: (address, subscription id) of subscriptions to end.
        self.unsubscribe: list[tuple[str, int]] = []
        #: Stream -> bytes that came on it, were consumed, and are not yet granted again.
        self.freed: dict[str, int] = {}
        self.waiters: list[Callable[[], None]] = []
        self.woken = False
        #: A failure of no single partition; raised once by the next read.
        self.failure: LogdError | None = None
        #: One that every read raises.
        self.final_failure: LogdError | None = None
        self.closed = False
        #: Readers of which something was handed out that the application is not done with.
        self.in_hand: dict[PartitionReader, None] = {}
        #: Called when the application is done with something that is held.
        self.on_finished: Callable[[], None] = _nothing
        #: How often the application has asked for more; not for each record of a batch.
        self.reads = 0
        #: How long what is assigned may be handed out; None: for ever.
        self.lease: Lease | None = None
        #: What the application has to be told before it reads on.
        self.announcements: deque[Announcement] = deque()
        self.announcing: Announcement | None = None

    @property
    def has_announcements(self) -> bool:
        """Whether the application has to be told something before it reads on. Reads from within
        such a call go on."""
        return bool(self.announcements) and self.announcing is None

    def finish(self, readers: Iterable[PartitionReader]) -> None:
        """The application is done with what it was handed of these."""
        held = False
        for reader in readers:
            if reader not in self.in_hand:
                continue
            del self.in_hand[reader]
            if reader.position is not None:
                reader.finished = reader.position
            held = held or bool(reader.hold)
        if held:
            self.on_finished()

    def abandon(self, reader: PartitionReader) -> None:
        """Stop fetching `reader` and drop what it has; the caller decides where it goes on."""
        self.leave(reader)
        for frame in reader.frames:
            self.free(frame.account, len(frame.records))
        reader.drop_buffer()
        self.work.pop(reader, None)
        self.ready.pop(reader, None)
        self.blocked.pop(reader, None)

    def drop(self, reader: PartitionReader) -> None:
        """Read it no more."""
        self.abandon(reader)
        self.in_hand.pop(reader, None)
        self.readers.pop(reader.tp, None)

    def leave(self, reader: PartitionReader) -> None:
        """End the subscription of `reader`, if it has one; what was fetched stays."""
        if reader.subscription_id:
            self.unsubscribe.append((reader.address, reader.subscription_id))
            self.subscribed.pop(reader.subscription_id, None)
            reader.subscription_id = 0

    def free(self, account: str, size: int) -> None:
        self.freed[account] = self.freed.get(account, 0) + size

    def attend(self, reader: PartitionReader) -> None:
        """Have the I/O thread look at `reader`."""
        self.work[reader] = None
        self.wake()

    def attend_all(self) -> None:
        for reader in self.readers.values():
            if not reader.subscription_id:
                self.work[reader] = None
        self.wake()

    def wake(self) -> None:
        if not self._wake_due:
            self._wake_due = True
            self._wake()

    def awake(self) -> None:
        """The I/O thread looks now: the next `wake` calls it again."""
        self._wake_due = False

    def make_ready(self, reader: PartitionReader) -> None:
        """`reader` has something for the caller."""
        self.ready.setdefault(reader)
        if self.waiters and not reader.paused:
            self.notify()

    def notify(self) -> None:
        """End every wait."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter()

    def stop(self, reader: PartitionReader, error: LogdError) -> None:
        """`reader` cannot go on: once what it has is consumed, reads raise `error`."""
        self.leave(reader)
        reader.error = error
        self.make_ready(reader)
