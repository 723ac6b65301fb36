"""One record batch on its way to the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from crc32c import crc32c
from logd_wire import BatchBuilder, Compression
from logd_wire.batch import CRC_POSITION, HEADER, BatchHeader
from logd_wire.errors import LogdError

from logd_client._core.ports import Lock

if TYPE_CHECKING:
    from logd_client._core.accumulator import PartitionQueue

#: What one record costs beside its bytes, as far as `buffer_memory` counts it.
RECORD_OVERHEAD_BYTES: Final = 40

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
        "maybe_appended",
        "order",
        "partition",
        "producer_epoch",
        "producer_id",
        "queue",
        "replicas",
        "sequence",
        "topic",
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
