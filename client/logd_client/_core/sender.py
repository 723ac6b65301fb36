"""When which batch is sent, and what becomes of it.

Order and exactly-once within a partition rest on these rules (`docs/architecture`):

* Batches get consecutive sequences when first sent and are always sent oldest first; at most
  `window` are in flight. The window is 1 until the leader has acknowledged something recently,
  because a node without state for a producer id accepts any sequence; then it is 5.
* A batch whose fate is unknown keeps its producer id and sequence, so that the leader recognises
  it. OUT_OF_ORDER_SEQUENCE for a batch with an older one unresolved is the consequence of that
  one's failure: it waits its turn. For the oldest it proves that the batch is not in the log (it
  would be among the five that the leader remembers): the partition goes on under a new id.
* A failed batch leaves a gap in the sequence. If nothing behind it was sent its sequence is used
  again; otherwise the leader's refusal of the next batch leads to a new id, as above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from logd_wire.errors import (
    ErrorCode,
    LogdError,
    OutcomeUnknownError,
    TimeoutError,
    error_for,
)
from logd_wire.limits import PRODUCER_WINDOW_BATCHES

from logd_client._core.accumulator import Accumulator
from logd_client._core.backoff import Backoff, RetryBudget
from logd_client._core.batch import PartitionQueue, ProducerBatch
from logd_client._core.metadata import Leader
from logd_client._core.ports import Rng

#: Batches in flight to one node above which an idle partition lingers like a busy one.
EAGER_BATCHES_MAX: Final = 8
#: Without an acknowledgement for so long the leader may have forgotten our producer id.
WINDOW_TRUST_MS: Final = 60_000.0
SEQUENCE_MASK: Final = 0x7FFFFFFF

#: Refusals after which the batch is certainly not in the log.
_NOT_APPENDED: Final = frozenset(
    {
        ErrorCode.NOT_LEADER,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_TOPIC,
        ErrorCode.UNKNOWN_PARTITION,
        ErrorCode.OVERLOADED,
        ErrorCode.STORAGE_FULL,
        ErrorCode.PRODUCER_ID_LIMIT,
        ErrorCode.OUT_OF_ORDER_SEQUENCE,
    }
)
#: Refusals that say our knowledge of the cluster is old.
STALE_METADATA: Final = frozenset(
    {
        ErrorCode.NOT_LEADER,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_TOPIC,
        ErrorCode.UNKNOWN_PARTITION,
        ErrorCode.NETWORK,
        ErrorCode.SHUTTING_DOWN,
    }
)


class Send(NamedTuple):
    """Have `batch` appended by `leader`."""

    leader: Leader
    batch: ProducerBatch


@dataclass(frozen=True, slots=True)
class Ack:
    """What the leader answered for one batch."""

    base_offset: int
    append_time_ms: int
    durable: bool
    replicas: int


class Sender:
    """The sending half of a producer. Every method runs on the I/O thread.

    After any call look at `wants_identity` and `wants_metadata`, and call `drain` again no later
    than `next_deadline_ms`. All times are monotonic milliseconds.
    """

    def __init__(
        self,
        accumulator: Accumulator,
        rng: Rng,
        leader_of: Callable[[str, int], Leader | None],
        *,
        idempotent: bool,
        backoff: Backoff | None = None,
    ) -> None:
        self._accumulator = accumulator
        self._rng = rng
        self._leader_of = leader_of
        self._idempotent = idempotent
        self._backoff = backoff or Backoff()
        self._budget = RetryBudget()
        self._linger_ms = accumulator.config.linger_ms
        self._look: dict[PartitionQueue, None] = {}
        self._lingering: dict[PartitionQueue, None] = {}
        self._blocked: dict[PartitionQueue, None] = {}
        self._waiting_identity: dict[PartitionQueue, None] = {}
        self._node_in_flight: dict[str, int] = {}
        self._identity: tuple[int, int] | None = None
        #: A producer id is needed: obtain one and call `on_identity`.
        self.wants_identity = False
        #: Topics whose metadata is needed: refresh and call `on_metadata`.
        self.wants_metadata: dict[str, None] = {}

    # ---- what to do ------------------------------------------------------------------------

    def drain(self, now_ms: float) -> list[Send]:
        """Return what is to be sent now; the batches count as in flight from here on."""
        self._expire(now_ms)
        look = dict.fromkeys(self._accumulator.take_work())
        look.update(self._look)
        self._look.clear()
        self._due(look, now_ms)
        sends: list[Send] = []
        for queue in look:
            self._drain_queue(queue, now_ms, sends)
        return sends

    def next_deadline_ms(self) -> float | None:
        """When `drain` must run next if nothing happens before; None: no need."""
        deadlines = [queue.blocked_until_ms for queue in self._blocked]
        for queue in self._lingering:
            batch = queue.open
            if batch is not None:
                deadlines.append(batch.created_ms + self._linger_ms)
                break
        by_age = self._accumulator.by_age
        if by_age:
            deadlines.append(by_age[0].deadline_ms)
        return min(deadlines, default=None)

    def _due(self, look: dict[PartitionQueue, None], now_ms: float) -> None:
        """Add the queues whose wait is over."""
        for queue in [each for each in self._blocked if each.blocked_until_ms <= now_ms]:
            del self._blocked[queue]
            look[queue] = None
        over: list[PartitionQueue] = []
        for queue in self._lingering:
            batch = queue.open
            if batch is not None and batch.created_ms + self._linger_ms > now_ms:
                break
            over.append(queue)
        for queue in over:
            del self._lingering[queue]
            look[queue] = None

    def _drain_queue(self, queue: PartitionQueue, now_ms: float, sends: list[Send]) -> None:
        if queue.blocked_until_ms > now_ms:
            self._blocked[queue] = None
            return
        if not queue.closed and queue.open is None:
            return
        leader = self._leader(queue, now_ms)
        if leader is None:
            return
        in_flight = queue.in_flight
        window = self._window(queue, now_ms)
        while len(in_flight) < window:
            batch = self._next(queue, leader, now_ms)
            if batch is None or not self._identify(queue, batch):
                return
            queue.closed.popleft()
            in_flight.append(batch)
            batch.address = leader.address
            batch.topic_id = leader.topic_id
            batch.leader_epoch = leader.epoch
            counts = self._node_in_flight
            counts[leader.address] = counts.get(leader.address, 0) + 1
            sends.append(Send(leader, batch))

    def _window(self, queue: PartitionQueue, now_ms: float) -> int:
        if not self._idempotent:
            return PRODUCER_WINDOW_BATCHES
        if now_ms - queue.last_ack_ms > WINDOW_TRUST_MS:
            return 1
        return queue.window

    def _leader(self, queue: PartitionQueue, now_ms: float) -> Leader | None:
        leader = self._leader_of(queue.topic.name, queue.partition)
        if leader is None:
            self.wants_metadata[queue.topic.name] = None
            self._block(queue, now_ms + self._backoff.ceiling_ms)
            where = f"{queue.topic.name}[{queue.partition}]"
            _note(queue, error_for(ErrorCode.NOT_LEADER, f"{where} has no leader now"))
            return None
        if leader.epoch != queue.leader_epoch or leader.topic_id != queue.topic_id:
            queue.leader_epoch = leader.epoch
            queue.topic_id = leader.topic_id
            queue.window = 1
        return leader

    def _next(self, queue: PartitionQueue, leader: Leader, now_ms: float) -> ProducerBatch | None:
        closed = queue.closed
        while closed and closed[0].done:
            closed.popleft()
        if closed:
            return closed[0]
        accumulator = self._accumulator
        with accumulator.lock:
            batch = queue.open
            if batch is None:
                # There is none, or a caller has filled and closed it just now.
                return closed[0] if closed else None
            if not self._lingers(queue, batch, leader, now_ms):
                accumulator.close(queue)
                accumulator.work.pop(queue, None)
                self._lingering.pop(queue, None)
                return batch
        self._lingering[queue] = None
        return None

    def _lingers(
        self, queue: PartitionQueue, batch: ProducerBatch, leader: Leader, now_ms: float
    ) -> bool:
        if queue.urgent or self._accumulator.space_waiters:
            return False
        if batch.created_ms + self._linger_ms <= now_ms:
            return False
        idle = not queue.in_flight
        return not (idle and self._node_in_flight.get(leader.address, 0) < EAGER_BATCHES_MAX)

    # ---- producer ids ------------------------------------------------------------------------

    def _identify(self, queue: PartitionQueue, batch: ProducerBatch) -> bool:
        """Give `batch` its sequence; False: it has to wait."""
        if not self._idempotent:
            return True
        if queue.needs_new_identity:
            if queue.in_flight:
                return False
            self._retire(queue)
        if batch.sequence >= 0:
            return True
        if queue.identity is None:
            if self._identity is None:
                self.wants_identity = True
                self._waiting_identity[queue] = None
                return False
            queue.identity = self._identity
            queue.next_sequence = 0
        batch.identify(*queue.identity, queue.next_sequence)
        queue.next_sequence = (queue.next_sequence + batch.count) & SEQUENCE_MASK
        return True

    def _retire(self, queue: PartitionQueue) -> None:
        """Nothing is in flight, nothing waiting is in the log: start over under another id."""
        queue.needs_new_identity = False
        if self._identity == queue.identity:
            self._identity = None
        queue.identity = None
        with self._accumulator.lock:
            for batch in queue.closed:
                batch.sequence = -1

    def on_identity(self, producer_id: int, producer_epoch: int) -> None:
        """A fresh producer id came."""
        self._identity = (producer_id, producer_epoch)
        self.wants_identity = False
        self._look.update(self._waiting_identity)
        self._waiting_identity.clear()

    # ---- outcomes --------------------------------------------------------------------------

    def on_ack(self, batch: ProducerBatch, ack: Ack, now_ms: float) -> None:
        """The leader has the batch (or nobody is asked: acks=0)."""
        queue = self._leave_flight(batch)
        queue.widen(now_ms)
        self._budget.success()
        if not batch.done:
            batch.base_offset = ack.base_offset
            batch.append_time_ms = ack.append_time_ms
            batch.durable = ack.durable
            batch.replicas = ack.replicas
            self._accumulator.finish(batch)

    def on_failure(
        self, batch: ProducerBatch, error: LogdError, now_ms: float, *, sent: bool
    ) -> None:
        """The batch was refused, or its fate is unknown. `sent`: it may have reached a node."""
        queue = self._leave_flight(batch)
        if sent and error.retriable and error.code not in _NOT_APPENDED:
            batch.maybe_appended = True
        if batch.done:
            return
        batch.last_error = error
        if self._idempotent and error.code is ErrorCode.OUT_OF_ORDER_SEQUENCE:
            self._on_out_of_order(queue, batch, now_ms)
        elif error.retriable:
            self._retry(queue, batch, error, now_ms)
        else:
            if error.code is ErrorCode.INVALID_PRODUCER_EPOCH:
                queue.needs_new_identity = True
            if batch.maybe_appended:
                # This try was refused; an earlier one, whose answer was lost, may not have been.
                error = OutcomeUnknownError(
                    f"{batch.count} records for {batch.topic}[{batch.partition}] may be in the log:"
                    f" an answer was lost, and when they were sent again: {error.message}",
                    hint=error.hint,
                    broker=error.broker,
                )
            self._fail(queue, batch, error)

    def _on_out_of_order(self, queue: PartitionQueue, batch: ProducerBatch, now_ms: float) -> None:
        with self._accumulator.lock:
            others = [*queue.in_flight, *queue.closed]
        oldest = all(other.order > batch.order for other in others if not other.done)
        if oldest:
            batch.maybe_appended = False
            queue.needs_new_identity = True
            queue.window = 1
            batch.attempts += 1
            if batch.attempts > 1:
                self._block(queue, now_ms + self._backoff.delay_ms(batch.attempts, self._rng))
        self._requeue(queue, batch)

    def _retry(
        self, queue: PartitionQueue, batch: ProducerBatch, error: LogdError, now_ms: float
    ) -> None:
        queue.window = 1
        if error.code in STALE_METADATA:
            self.wants_metadata[queue.topic.name] = None
        if not self._has_moved(batch):
            batch.attempts += 1
            # Batches that fail together wait together.
            if queue.blocked_until_ms <= now_ms:
                paced = self._budget.take()
                delay_ms = self._backoff.delay_ms(batch.attempts if paced else 30, self._rng)
                self._block(queue, now_ms + delay_ms)
        self._requeue(queue, batch)

    def _has_moved(self, batch: ProducerBatch) -> bool:
        """Whether a later leader is known than the one that had the batch: nothing need recover
        before that one is asked, and each leadership is asked so only once."""
        leader = self._leader_of(batch.topic, batch.partition)
        if leader is None:
            return False
        return leader.topic_id != batch.topic_id or leader.epoch > batch.leader_epoch

    def _block(self, queue: PartitionQueue, until_ms: float) -> None:
        queue.blocked_until_ms = max(queue.blocked_until_ms, until_ms)
        self._blocked[queue] = None

    def _requeue(self, queue: PartitionQueue, batch: ProducerBatch) -> None:
        """Put `batch` back before everything younger."""
        with self._accumulator.lock:
            older: list[ProducerBatch] = []
            while queue.closed and queue.closed[0].order < batch.order:
                older.append(queue.closed.popleft())
            queue.closed.appendleft(batch)
            queue.closed.extendleft(reversed(older))

    def _leave_flight(self, batch: ProducerBatch) -> PartitionQueue:
        queue = batch.queue
        queue.in_flight.remove(batch)
        self._node_in_flight[batch.address] -= 1
        self._look[queue] = None
        return queue

    def _fail(self, queue: PartitionQueue, batch: ProducerBatch, error: LogdError) -> None:
        """Final: tell who waits, and close the gap in the sequence where that is certain."""
        batch.error = error
        if batch.sequence >= 0 and not batch.maybe_appended:
            with self._accumulator.lock:
                others = [*queue.in_flight, *queue.closed]
            if batch not in queue.in_flight and all(
                other is batch or other.sequence < 0 for other in others
            ):
                queue.next_sequence = batch.sequence
        self._accumulator.finish(batch)

    def _expire(self, now_ms: float) -> None:
        """Fail every batch whose delivery deadline has passed."""
        accumulator = self._accumulator
        by_age = accumulator.by_age
        while by_age and (by_age[0].done or by_age[0].deadline_ms <= now_ms):
            with accumulator.lock:
                batch = by_age.popleft()
                if batch.queue.open is batch:
                    accumulator.close(batch.queue)
            if not batch.done:
                self._expire_batch(batch)

    def _expire_batch(self, batch: ProducerBatch) -> None:
        queue = batch.queue
        flying = batch in queue.in_flight
        seconds = self._accumulator.config.delivery_timeout_ms / 1000
        where = f"{batch.topic}[{batch.partition}]"
        cause = f"; last error: {batch.last_error}" if batch.last_error else ""
        error: LogdError
        if flying or batch.maybe_appended:
            error = OutcomeUnknownError(
                f"{batch.count} records for {where} were sent but not acknowledged within "
                f"{seconds:g} s{cause}",
                hint="they may be in the log; raise delivery_timeout_ms to wait longer",
            )
        else:
            error = TimeoutError(
                f"{batch.count} records for {where} could not be sent within {seconds:g} s{cause}",
                hint="they are not in the log; see delivery_timeout_ms",
            )
        self._fail(queue, batch, error)
        self._look[queue] = None

    def on_metadata(self, topics: Iterable[str]) -> None:
        """Leaders of `topics` may be known now: partitions that waited for that are looked at."""
        for name in topics:
            self.wants_metadata.pop(name, None)
        for queue in list(self._blocked):
            leader = self._leader_of(queue.topic.name, queue.partition)
            if leader is not None and (leader.epoch, leader.topic_id) != (
                queue.leader_epoch,
                queue.topic_id,
            ):
                queue.blocked_until_ms = 0.0
                del self._blocked[queue]
                self._look[queue] = None

    def note_cause(self, topic: str, error: LogdError) -> None:
        """Why records of `topic` cannot be sent now, should their deadline pass."""
        queues = self._accumulator.topics[topic].queues if topic in self._accumulator.topics else ()
        for queue in queues:
            _note(queue, error)

    def note_no_identity(self, error: LogdError) -> None:
        """Why there is no producer id yet."""
        for queue in self._waiting_identity:
            _note(queue, error)


def _note(queue: PartitionQueue, error: LogdError) -> None:
    """Why the oldest batch that waits is not sent."""
    batch = queue.closed[0] if queue.closed else queue.open
    if batch is not None:
        batch.last_error = error
