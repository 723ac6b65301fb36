"""Record batches on their way to the log, and the queues of partitions and topics they are in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from crc32c import crc32c
from logd_wire import CODEC, BatchBuilder, Compression, Headers, Intake, Receipt
from logd_wire.batch import CRC_POSITION, HEADER, BatchHeader
from logd_wire.errors import LogdError
from logd_wire.limits import PRODUCER_WINDOW_BATCHES

from logd_client._core.ports import Lock

#: What one record costs beside its bytes, as far as `buffer_memory` counts it.
RECORD_OVERHEAD_BYTES: Final = 40

#: A compiled builder adds a record, or refuses it once it is closed, without letting go of the
#: interpreter's lock: that needs no other lock.
ATOMIC_APPENDS: Final = CODEC == "compiled"

R = TypeVar("R", bound=Receipt)

DoneCallback = Callable[["ProducerBatch"], None]


class ProducerBatch:
    """Records of one partition that share a fate.

    It fills (`builder`), is closed, gets its producer id and sequence when it is first sent, and
    ends once: `done` with `error` None and `base_offset` set, or with an error. Fields below
    "sending" belong to the I/O thread alone.
    """

    __slots__ = (
        "address",
        "append",
        "append_time_ms",
        "attempts",
        "base_offset",
        "builder",
        "callbacks",
        "charged_bytes",
        "compression",
        "count",
        "created_ms",
        "deadline_ms",
        "done",
        "durable",
        "encoded",
        "error",
        "last_error",
        "leader_epoch",
        "maybe_appended",
        "order",
        "partition",
        "producer_epoch",
        "producer_id",
        "queue",
        "replicas",
        "sequence",
        "topic",
        "topic_id",
        "waiter",
    )

    def __init__(
        self,
        queue: PartitionQueue,
        order: int,
        *,
        compression: Compression,
        bytes_max: int,
        created_ms: float,
        deadline_ms: float,
    ) -> None:
        self.queue = queue
        self.topic = queue.topic.name
        self.partition = queue.partition
        self.order = order
        self.compression = compression
        self.builder: BatchBuilder | None = BatchBuilder(compression, bytes_max)
        self.append = self.builder.append
        self.charged_bytes = 0
        self.created_ms = created_ms
        self.deadline_ms = deadline_ms
        # outcome
        self.done = False
        self.error: LogdError | None = None
        self.base_offset = -1
        self.append_time_ms = -1
        self.durable = False
        self.replicas = 0
        self.callbacks: list[DoneCallback] = []
        #: Whatever a facade keeps to wait with; one for all its waiting threads.
        self.waiter: object = None
        # sending
        self.address = ""
        self.topic_id = b""
        self.leader_epoch = -1
        self.count = 0
        self.encoded: bytes | None = None
        self.producer_id = -1
        self.producer_epoch = -1
        self.sequence = -1
        self.attempts = 0
        self.maybe_appended = False
        self.last_error: LogdError | None = None

    def encode(self) -> bytes:
        """The batch with the identity it has now; the records' own objects are let go."""
        builder = self.builder
        if builder is not None:
            self.encoded = builder.build(
                producer_id=self.producer_id,
                producer_epoch=self.producer_epoch,
                base_sequence=self.sequence,
            )
            self.forget_records()
        assert self.encoded is not None
        return self.encoded

    def identify(self, producer_id: int, producer_epoch: int, sequence: int) -> None:
        """Give the batch its place in a producer's sequence; bytes made before are corrected."""
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.sequence = sequence
        if self.encoded is not None:
            self.encoded = with_identity(self.encoded, producer_id, producer_epoch, sequence)

    def forget_records(self) -> None:
        self.builder = None
        self.append = _refuse

    def add_done_callback(self, callback: DoneCallback, lock: Lock) -> None:
        """Call `callback` once, when the batch is done: now, or later on the I/O thread."""
        with lock:
            if not self.done:
                self.callbacks.append(callback)
                return
        callback(self)


class PartitionQueue:
    """Batches of one partition, oldest first: in flight, closed, open.

    `open` belongs to whoever holds the lock, everything else to the I/O thread.
    """

    __slots__ = (
        "blocked_until_ms",
        "closed",
        "identity",
        "in_flight",
        "last_ack_ms",
        "leader_epoch",
        "needs_new_identity",
        "next_sequence",
        "open",
        "partition",
        "topic",
        "topic_id",
        "urgent",
        "window",
    )

    def __init__(self, topic: TopicQueues, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.open: ProducerBatch | None = None
        self.urgent = False
        self.closed: deque[ProducerBatch] = deque()
        self.in_flight: list[ProducerBatch] = []
        self.blocked_until_ms = 0.0
        self.window = 1
        self.last_ack_ms = float("-inf")
        self.leader_epoch = -1
        self.topic_id = b""
        self.identity: tuple[int, int] | None = None
        self.needs_new_identity = False
        self.next_sequence = 0

    def widen(self, now_ms: float) -> None:
        """An acknowledgement: the leader knows our sequence, the full window may be used."""
        self.window = PRODUCER_WINDOW_BATCHES
        self.last_ack_ms = now_ms


class TopicQueues:
    """One topic: a queue for each partition, and the sticky one for records without key.

    `add(value, receipt, time_ns)` is for records that are only a value: see `Intake.add`. What it
    adds is charged for when the batch is closed: up to a batch of a topic is not counted as used.
    """

    __slots__ = ("_intake", "accumulator", "add", "available", "name", "queues", "sticky")

    add: Callable[[object, type[R], Callable[[], int]], R | None]

    def __init__(self, name: str, accumulator: Batching) -> None:
        self._intake = Intake()
        # Taking the lock would cost a fifth of a `send`.
        self.add = self._intake.add if ATOMIC_APPENDS else self._add_locked
        self.name = name
        self.accumulator = accumulator
        self.queues: list[PartitionQueue] = []
        self.available: list[int] = []
        self.sticky: PartitionQueue | None = None

    @property
    def partitions(self) -> int:
        return len(self.queues)

    def take_in(self, batch: ProducerBatch | None) -> None:
        """From now on `add` adds to `batch`, the open one of the sticky partition; None: to none.
        With the lock held."""
        self._intake.put(None if batch is None else batch.builder, batch)

    def _add_locked(self, value: object, receipt: type[R], time_ns: Callable[[], int]) -> R | None:
        with self.accumulator.lock:
            return self._intake.add(value, receipt, time_ns)


class Batching(Protocol):
    """What holders of a batch or topic use of the accumulator that made it."""

    lock: Lock
    used_bytes: int

    def hurry(self, batch: ProducerBatch) -> None: ...

    def append(  # noqa: PLR0917 (as the accumulator's)
        self,
        topic: TopicQueues,
        queue: PartitionQueue | None,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
    ) -> tuple[ProducerBatch, int]: ...

    def append_values(
        self, topic: TopicQueues, timestamp: int, values: Sequence[bytes]
    ) -> list[tuple[ProducerBatch, int, int]]: ...


def _refuse(timestamp: int, key: object, value: object, headers: object = ()) -> int:
    """Stands where a closed batch had its builder: full."""
    return -1


def with_identity(batch: bytes, producer_id: int, producer_epoch: int, sequence: int) -> bytes:
    """Return `batch` with another producer id, epoch and base sequence, and the CRC to match."""
    header = BatchHeader(*HEADER.unpack_from(batch))._replace(
        producer_id=producer_id, producer_epoch=producer_epoch, base_sequence=sequence
    )
    records = memoryview(batch)[HEADER.size :]
    fixed = HEADER.pack(*header)
    crc = crc32c(records, crc32c(fixed[CRC_POSITION:]))
    return HEADER.pack(*header._replace(crc=crc)) + bytes(records)
