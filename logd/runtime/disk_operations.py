"""What waits for the writer of a data directory, and in which order it may be done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from logd_wire import BatchHeader

from logd.storage import Appended, LogKey, PartitionLog


class WrittenLog(Protocol):
    """A log under this driver, as its owner presents it."""

    key: LogKey
    log: PartitionLog
    #: Whether a batch is answered only after its sync.
    sync_before_ack: bool

    def check_records(self, batch: bytes) -> None:
        """Refuse a batch for what its records are; on the writer. Raises LogdError."""
        ...

    def settle(self, queued: QueuedAppend, appended: Appended) -> None:
        """Answer the caller of `append`, now or later; called on the loop once the batch is as
        durable here as the topic promises."""
        ...

    def written(self) -> None:
        """The log may have grown; what is new is not durable yet."""
        ...

    def published(self) -> None:
        """The log's view has moved."""
        ...


@dataclass(slots=True)
class QueuedAppend:
    """A batch on its way to the disk. `future` is answered by `target.settle`."""

    target: WrittenLog
    batch: bytes
    header: BatchHeader
    leader_epoch: int
    acks: int
    future: asyncio.Future[Any]
    result: Appended | None = None

    @property
    def size(self) -> int:
        return len(self.batch)


@dataclass(slots=True)
class QueuedCall:
    """Work on the writer's thread; `target`: the log that it touches, None: any."""

    work: Callable[[], Any]
    target: WrittenLog | None
    sync: bool
    future: asyncio.Future[Any]
    #: Bytes of records that `work` appends.
    size: int = 0
    #: It touches the log of `target` alone, and mostly waits for the disk.
    apart: bool = False
    performed: bool = False
    result: Any = None


Operation = QueuedAppend | QueuedCall


def waits_for_sync(operation: Operation) -> bool:
    if isinstance(operation, QueuedAppend):
        return operation.target.sync_before_ack
    return operation.sync


def first_of_their_logs(operations: list[Operation]) -> list[QueuedCall]:
    """Calls that may run apart now: nothing that is queued before them has to be done before."""
    found: list[QueuedCall] = []
    touched: set[int] = set()
    for operation in operations:
        if operation.target is None:
            # It may touch any log.
            break
        if (
            isinstance(operation, QueuedCall)
            and operation.apart
            and id(operation.target) not in touched
        ):
            found.append(operation)
        touched.add(id(operation.target))
    return found
