"""The I/O thread's side of a consumer: who pushes which partition, and from where.

`plan` says what to ask of the nodes; frames, errors and losses of connections come in. Times are
monotonic milliseconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from logd_wire.errors import DataLossError, LogdError, OffsetOutOfRangeError

from logd_client._core.backoff import Backoff
from logd_client._core.fetch_state import FetchState
from logd_client._core.metadata import Leader
from logd_client._core.partition_reader import Frame, PartitionReader, Reset
from logd_client._core.ports import Rng
from logd_client._core.sender import STALE_METADATA
from logd_client.read_errors import (
    ReadDataLossError,
    ReadError,
    ReadNoOffsetError,
    ReadOffsetOutOfRangeError,
    ReadUnknownTopicError,
    located,
)

logger = logging.getLogger("logd.client.consumer")


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Have `leader` push a partition from `offset` on."""

    leader: Leader
    subscription_id: int
    partition: int
    offset: int


@dataclass(slots=True)
class Plan:
    """What the I/O thread has to do now."""

    subscribe: list[Subscribe] = field(default_factory=list)
    #: (address, subscription id)
    unsubscribe: list[tuple[str, int]] = field(default_factory=list)
    #: Stream -> bytes to grant.
    credit: dict[str, int] = field(default_factory=dict)
    #: Positions to be asked for: (reader, its generation, where).
    lookups: list[tuple[PartitionReader, int, Reset]] = field(default_factory=list)
    #: Topics whose leaders are not known.
    topics: dict[str, None] = field(default_factory=dict)


class Subscriptions:
    """See the module. Takes the lock itself."""

    def __init__(
        self,
        state: FetchState,
        rng: Rng,
        leader_of: Callable[[str, int], Leader | None],
        backoff: Backoff | None = None,
    ) -> None:
        self._state = state
        self._rng = rng
        self._leader_of = leader_of
        self._backoff = backoff or Backoff()
        self._next_id = 1
        self._stale_topics: dict[str, None] = {}

    # ---- what to do ------------------------------------------------------------------------

    def plan(self, now_ms: float) -> Plan:
        """Everything that has to be asked for; each thing is said once."""
        state = self._state
        plan = Plan()
        with state.lock:
            state.awake()
            for reader in [each for each in state.blocked if each.blocked_until_ms <= now_ms]:
                del state.blocked[reader]
                state.work[reader] = None
            work, state.work = list(state.work), {}
            for reader in work:
                self._plan_reader(reader, now_ms, plan)
            plan.unsubscribe, state.unsubscribe = state.unsubscribe, []
            plan.credit, state.freed = state.freed, {}
            plan.topics.update(self._stale_topics)
            self._stale_topics.clear()
        return plan

    def next_deadline_ms(self) -> float | None:
        with self._state.lock:
            return min((each.blocked_until_ms for each in self._state.blocked), default=None)

    def _plan_reader(self, reader: PartitionReader, now_ms: float, plan: Plan) -> None:
        if (
            self._state.readers.get(reader.tp) is not reader
            or reader.paused
            or reader.hold
            or reader.error is not None
            or reader.subscription_id
            or reader.looking_up
        ):
            return
        if reader.blocked_until_ms > now_ms:
            self._state.blocked[reader] = None
            return
        if reader.position is None:
            if reader.reset is Reset.ERROR and not self._state.config.committed_first:
                self._state.stop(reader, no_offset(reader))
            else:
                reader.looking_up = True
                plan.lookups.append((reader, reader.generation, reader.reset))
            return
        leader = self._leader_of(*reader.tp)
        if leader is None:
            reader.trouble = None
            plan.topics[reader.tp.topic] = None
            self._block(reader, now_ms + self._backoff.ceiling_ms)
            return
        if reader.topic_id not in (b"", leader.topic_id):
            self._on_made_again(reader, now_ms, plan)
            return
        reader.subscription_id = self._next_id
        self._next_id += 1
        reader.address = leader.address
        reader.leader_epoch = leader.epoch
        reader.topic_id = leader.topic_id
        self._state.subscribed[reader.subscription_id] = reader
        plan.subscribe.append(
            Subscribe(leader, reader.subscription_id, reader.tp.partition, reader.fetch_offset)
        )

    def _on_made_again(self, reader: PartitionReader, now_ms: float, plan: Plan) -> None:
        """Another topic has the name by now: where `reader` stood means nothing in it."""
        error = located(
            ReadUnknownTopicError,
            f"topic {reader.tp.topic!r} was deleted, and made again",
            topic=reader.tp.topic,
            partition=reader.tp.partition,
            offset=reader.fetch_offset,
            hint="seek(...) says where to begin in the new one",
        )
        if reader.assigned_id:
            # The group takes it away, and assigns the new one.
            reader.trouble = error
            plan.topics[reader.tp.topic] = None
            self._block(reader, now_ms + self._backoff.ceiling_ms)
        elif self._state.config.reset is Reset.ERROR:
            self._state.stop(reader, error)
        else:
            logger.warning("%s: going on at its beginning", error.message)
            self._state.abandon(reader)
            reader.move_to(None)
            reader.topic_id = b""
            # Nothing of it was missed yet.
            reader.reset = Reset.EARLIEST
            self._state.attend(reader)

    def _block(self, reader: PartitionReader, until_ms: float) -> None:
        reader.blocked_until_ms = until_ms
        self._state.blocked[reader] = None

    # ---- what came -------------------------------------------------------------------------

    def reader_of(self, subscription_id: int) -> PartitionReader | None:
        return self._state.subscribed.get(subscription_id)

    def on_frame(
        self,
        subscription_id: int,
        frame: Frame,
        high_watermark: int,
        log_start_offset: int,
    ) -> None:
        """Batches of a subscription, or only a new high watermark."""
        state = self._state
        with state.lock:
            reader = state.subscribed.get(subscription_id)
            if reader is None:
                # Given up meanwhile: its bytes go back to the node's credit.
                state.free(frame.account, len(frame.records))
                return
            reader.high_watermark = high_watermark
            reader.log_start_offset = log_start_offset
            reader.attempts = 0
            reader.heard_id = subscription_id
            reader.trouble = None
            if not frame.records:
                return
            reader.fetch_offset = frame.next_offset
            reader.frames.append(frame)
            state.make_ready(reader)

    def on_error(self, subscription_id: int, error: LogdError, now_ms: float) -> None:
        """A subscription ended in an error."""
        state = self._state
        with state.lock:
            reader = state.subscribed.pop(subscription_id, None)
            if reader is None:
                return
            reader.subscription_id = 0
            if isinstance(error, OffsetOutOfRangeError):
                self._on_out_of_range(reader, error)
            elif isinstance(error, DataLossError):
                self._on_data_loss(reader, error)
            elif error.retriable:
                self._retry(reader, error, now_ms)
            else:
                state.stop(reader, _at(ReadError, reader, error))

    def _retry(self, reader: PartitionReader, error: LogdError, now_ms: float) -> None:
        reader.attempts += 1
        reader.trouble = error
        if error.code in STALE_METADATA:
            self._stale_topics[reader.tp.topic] = None
        self._block(reader, now_ms + self._backoff.delay_ms(reader.attempts, self._rng))

    def _on_out_of_range(self, reader: PartitionReader, error: LogdError) -> None:
        if self._state.config.reset is Reset.ERROR:
            hint = "seek(...) somewhere, or choose auto_offset_reset='earliest' or 'latest'"
            if error.next_offset >= 0:
                hint = f"the first offset there is {error.next_offset}: " + hint
            self._state.stop(reader, _at(ReadOffsetOutOfRangeError, reader, error, hint=hint))
            return
        logger.warning(
            "%s is out of range, going on at the %s offset",
            f"{reader.tp.topic}[{reader.tp.partition}] at {reader.fetch_offset}",
            self._state.config.reset.value,
        )
        self._state.abandon(reader)
        reader.move_to(None)
        reader.reset = self._state.config.reset
        self._state.attend(reader)

    def _on_data_loss(self, reader: PartitionReader, error: LogdError) -> None:
        if not self._state.config.skip_corrupt or error.next_offset < 0:
            hint = error.hint or (
                f"go on with seek(..., {error.next_offset}) or on_corrupt='skip'"
                if error.next_offset >= 0
                else ""
            )
            self._state.stop(reader, _at(ReadDataLossError, reader, error, hint=hint))
            return
        logger.warning(
            "offsets %d to %d of %s[%d] are lost, skipped: %s",
            reader.fetch_offset,
            error.next_offset,
            *reader.tp,
            error,
        )
        reader.fetch_offset = error.next_offset
        if not reader.has_data:
            reader.position = error.next_offset
        self._state.attend(reader)

    def on_link_lost(self, address: str, error: LogdError, now_ms: float) -> None:
        """The fetch stream to `address` broke: its subscriptions are made again."""
        state = self._state
        with state.lock:
            state.unsubscribe = [each for each in state.unsubscribe if each[0] != address]
            for reader in [each for each in state.subscribed.values() if each.address == address]:
                del state.subscribed[reader.subscription_id]
                reader.subscription_id = 0
                self._retry(reader, error, now_ms)

    def on_position(
        self, reader: PartitionReader, generation: int, offset: int, committed: int | None = None
    ) -> None:
        """A lookup was answered. `committed`: what the group has, if it has."""
        with self._state.lock:
            reader.looking_up = False
            if reader.committed is None:
                reader.committed = reader.settled = committed
            if reader.generation == generation and reader.position is None:
                reader.move_to(offset)
                reader.begin_at(offset)
            self._state.attend(reader)

    def on_lookup_failed(
        self, reader: PartitionReader, generation: int, error: LogdError, now_ms: float
    ) -> None:
        """A lookup failed: it is tried again, unless the error is final."""
        with self._state.lock:
            reader.looking_up = False
            if reader.generation != generation or reader.position is not None:
                self._state.attend(reader)
            elif error.retriable:
                self._retry(reader, error, now_ms)
            elif isinstance(error, ReadError):
                self._state.stop(reader, error)
            else:
                self._state.stop(reader, _at(ReadError, reader, error))

    def on_metadata(self) -> None:
        """Something about leaders is new: readers that wait are looked at."""
        state = self._state
        with state.lock:
            for reader in list(state.blocked):
                leader = self._leader_of(*reader.tp)
                if leader is not None and reader.assigned_id not in (b"", leader.topic_id):
                    continue
                if leader is not None and (leader.epoch, leader.topic_id) != (
                    reader.leader_epoch,
                    reader.topic_id,
                ):
                    del state.blocked[reader]
                    reader.blocked_until_ms = 0.0
                    state.work[reader] = None

    def on_unknown(self, topic: str, partitions: int, error: LogdError) -> None:
        """A node that knows says: `topic` has only so many partitions (0: does not exist). What a
        group has assigned it takes away by itself."""
        state = self._state
        with state.lock:
            for tp, reader in state.readers.items():
                if reader.error is not None or reader.assigned_id:
                    continue
                if tp.topic == topic and tp.partition >= partitions:
                    state.blocked.pop(reader, None)
                    state.stop(reader, error)

    def fail(self, error: LogdError) -> None:
        """Raise `error` from the next read."""
        with self._state.lock:
            self._state.failure = error
            self._state.notify()


def no_offset(reader: PartitionReader) -> ReadError:
    """The error of a partition that nobody said where to begin."""
    return located(
        ReadNoOffsetError,
        f"{reader.tp.topic}[{reader.tp.partition}] has no position",
        topic=reader.tp.topic,
        partition=reader.tp.partition,
        offset=-1,
        hint="choose auto_offset_reset='earliest' or 'latest', or seek first: seek(), "
        "seek_to_beginning(), seek_to_end(), seek_to_time()",
    )


def _at(
    cls: type[ReadError], reader: PartitionReader, cause: LogdError, *, hint: str = ""
) -> ReadError:
    return located(
        cls,
        f"{reader.tp.topic}[{reader.tp.partition}] at offset {reader.fetch_offset}: "
        f"{cause.message}",
        topic=reader.tp.topic,
        partition=reader.tp.partition,
        offset=reader.fetch_offset,
        cause=cause,
        hint=hint or cause.hint,
    )
