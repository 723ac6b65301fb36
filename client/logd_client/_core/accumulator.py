"""Where records wait for their batch to be sent.

Callers append under a lock; the I/O thread takes batches out. The rule of when an open batch is
closed (adaptive linger): when it is full; when nothing of its partition is in flight and the node
is not busy; when somebody waits for it; when it is `linger_ms` old; when the buffer is full.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from logd_wire import Compression, Headers, partition_for_key
from logd_wire.errors import ErrorCode, UnknownTopicError

from logd_client._core.batch import (
    RECORD_OVERHEAD_BYTES,
    PartitionQueue,
    ProducerBatch,
    TopicQueues,
)
from logd_client._core.partitioner import next_sticky
from logd_client._core.ports import Lock, Rng


@dataclass(frozen=True, slots=True)
class BatchingConfig:
    """Sizes in bytes, times in milliseconds."""

    batch_bytes: int = 64 * 1024
    buffer_bytes: int = 32 * 2**20
    linger_ms: float = 5.0
    delivery_timeout_ms: float = 120_000.0
    compression: Compression = Compression.NONE


class Accumulator:
    """All topics of one producer, its memory, and the list of queues that need attention.

    `wake` is called, with the lock held, when the I/O thread has something to do; it must be
    cheap and must not wait.
    """

    def __init__(
        self,
        config: BatchingConfig,
        lock: Lock,
        rng: Rng,
        monotonic_ms: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self.config = config
        self.lock = lock
        self.topics: dict[str, TopicQueues] = {}
        self.used_bytes = 0
        #: Queues to look at, in the order in which they asked for it.
        self.work: dict[PartitionQueue, None] = {}
        #: Batches by age, for the delivery deadline; those at the front may be done.
        self.by_age: deque[ProducerBatch] = deque()
        #: Called once each when there is room again.
        self.space_waiters: deque[Callable[[], None]] = deque()
        self._rng = rng
        self._monotonic_ms = monotonic_ms
        self._wake = wake
        self._woken = False
        self._order = 0

    # ---- callers, with the lock held -------------------------------------------------------

    def append(  # noqa: PLR0917 (keywords would cost a tenth of a `send`)
        self,
        topic: TopicQueues,
        queue: PartitionQueue | None,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
    ) -> tuple[ProducerBatch, int]:
        """Add one record to `queue` (None: to the sticky one); return its batch and index there.

        The caller has seen that `has_room`. Raises RecordTooLargeError or InvalidRecordError.
        """
        target = queue or topic.sticky or self._move_sticky(topic)
        batch = target.open
        if batch is not None:
            index = batch.append(timestamp, key, value, headers)
            if index >= 0:
                size = RECORD_OVERHEAD_BYTES
                if value is not None:
                    size += len(value)
                if key is not None:
                    size += len(key)
                batch.charged_bytes += size
                self.used_bytes += size
                return batch, index
            self.close(target)
            if queue is None and topic.sticky is not None:
                target = topic.sticky
                if target.open is not None:
                    return self.append(topic, target, timestamp, key, value, headers)
        return self._append_first(target, timestamp, key, value, headers)

    def append_values(
        self, topic: TopicQueues, timestamp: int, values: Sequence[bytes]
    ) -> list[tuple[ProducerBatch, int, int]]:
        """Add records that are only a value to the sticky partition; return runs of (batch,
        first index, count). The same as `append` for each."""
        runs: list[tuple[ProducerBatch, int, int]] = []
        position, end = 0, len(values)
        while position < end:
            batch, first = self.append(topic, None, timestamp, None, values[position], ())
            position += 1
            builder = batch.builder
            assert builder is not None
            added = builder.extend(timestamp, values, position)
            size = sum(map(len, values[position : position + added]))
            size += added * RECORD_OVERHEAD_BYTES
            batch.charged_bytes += size
            self.used_bytes += size
            position += added
            runs.append((batch, first, added + 1))
        return runs

    def _append_first(
        self,
        queue: PartitionQueue,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
    ) -> tuple[ProducerBatch, int]:
        config = self.config
        now_ms = self._monotonic_ms()
        batch = ProducerBatch(
            queue,
            self._order,
            compression=config.compression,
            bytes_max=config.batch_bytes,
            created_ms=now_ms,
            deadline_ms=now_ms + config.delivery_timeout_ms,
        )
        index = batch.append(timestamp, key, value, headers)
        self._order += 1
        batch.charged_bytes = RECORD_OVERHEAD_BYTES + len(value or b"") + len(key or b"")
        self.used_bytes += batch.charged_bytes
        queue.open = batch
        if queue is queue.topic.sticky:
            self._open_intake(queue)
        self.by_age.append(batch)
        self.attend(queue)
        return batch, index

    def _move_sticky(self, topic: TopicQueues) -> PartitionQueue:
        current = topic.sticky.partition if topic.sticky is not None else -1
        chosen = next_sticky(current, topic.available, topic.partitions, self._rng)
        topic.sticky = topic.queues[chosen]
        self._open_intake(topic.sticky)
        return topic.sticky

    def _open_intake(self, sticky: PartitionQueue) -> None:
        """Values alone go to the open batch of `sticky`; while there is no room, by `append`."""
        sticky.topic.take_in(sticky.open if self.has_room() else None)

    def has_room(self) -> bool:
        """Whether one more record may be taken."""
        return self.used_bytes < self.config.buffer_bytes

    def attend(self, queue: PartitionQueue) -> None:
        """Have the I/O thread look at `queue`."""
        self.work[queue] = None
        if not self._woken:
            self._woken = True
            self._wake()

    def hurry(self, batch: ProducerBatch) -> None:
        """Somebody waits for `batch`: do not let it linger."""
        queue = batch.queue
        if queue.open is batch and not queue.urgent:
            queue.urgent = True
            self.attend(queue)

    def hurry_all(self) -> list[ProducerBatch]:
        """Let nothing linger; return every batch that is not done yet, oldest first."""
        pending = [batch for batch in self.by_age if not batch.done]
        for batch in pending:
            self.hurry(batch)
        return pending

    def close(self, queue: PartitionQueue) -> None:
        """Move the open batch of `queue` to those that can be sent."""
        batch = queue.open
        assert batch is not None and batch.builder is not None
        batch.count = batch.builder.close()
        # What the intake added is charged here.
        charged = batch.builder.size_estimate + batch.count * RECORD_OVERHEAD_BYTES
        self.used_bytes += charged - batch.charged_bytes
        batch.charged_bytes = charged
        queue.open = None
        queue.urgent = False
        queue.closed.append(batch)
        if queue.topic.sticky is queue:
            if queue.topic.partitions > 1:
                self._move_sticky(queue.topic)
            else:
                queue.topic.take_in(None)
        self.attend(queue)

    def set_partitions(self, name: str, partitions: int, available: Sequence[int]) -> TopicQueues:
        """Make `name` known with so many partitions; a topic never shrinks."""
        topic = self.topics.get(name)
        if topic is None:
            topic = TopicQueues(name, self)
        for partition in range(topic.partitions, partitions):
            topic.queues.append(PartitionQueue(topic, partition))
        topic.available = list(available)
        self.topics[name] = topic
        return topic

    # ---- the I/O thread ----------------------------------------------------------------------

    def take_work(self) -> list[PartitionQueue]:
        """Return the queues to look at and clear the list; takes the lock."""
        with self.lock:
            self._woken = False
            found = list(self.work)
            self.work.clear()
            by_age = self.by_age
            while by_age and by_age[0].done:
                by_age.popleft()
            return found

    def finish(self, batch: ProducerBatch) -> None:
        """`batch` has its outcome: release its memory and tell who waits. Takes the lock."""
        with self.lock:
            batch.done = True
            callbacks, batch.callbacks = batch.callbacks, []
            self.used_bytes -= batch.charged_bytes
            waiters: list[Callable[[], None]] = []
            if self.space_waiters and self.has_room():
                waiters = list(self.space_waiters)
                self.space_waiters.clear()
        batch.forget_records()
        batch.encoded = None
        for callback in callbacks:
            callback(batch)
        for waiter in waiters:
            waiter()


def queue_for(
    topic: TopicQueues,
    key: bytes | None,
    partition: int | None,
    partitioner: Callable[[str, bytes | None, int], int | None] | None = None,
) -> PartitionQueue | None:
    """The queue of a record: the partition named, that of its key, or None: the sticky one.

    Raises UnknownTopicError for a partition that the topic does not have.
    """
    queues = topic.queues
    if partition is None and partitioner is not None:
        partition = partitioner(topic.name, key, len(queues))
    if partition is None:
        if key is None:
            return None
        return queues[partition_for_key(key, len(queues))]
    if not 0 <= partition < len(queues):
        raise UnknownTopicError(
            f"topic {topic.name!r} has no partition {partition}",
            hint=f"it has 0 to {len(queues) - 1}",
            code=ErrorCode.UNKNOWN_PARTITION,
        )
    return queues[partition]
