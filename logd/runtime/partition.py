"""One partition on the node that leads it: the door for appends, the view for readers.

With one replica the in-sync set is this node, so the high watermark is the end of what is durable
here (of what is written, on topics that do not sync before they acknowledge).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from logd_wire import BatchHeader, verify_produced_batch
from logd_wire.errors import (
    ErrorCode,
    InvalidRecordError,
    LogdError,
    NotLeaderError,
    RecordTooLargeError,
)

from logd.metadata import PartitionImage
from logd.model.ids import NO_NODE, NodeId, TopicPartitionId
from logd.model.settings import FlushMode
from logd.model.topic_config import TopicConfig
from logd.observe import Traffic
from logd.runtime.disk_driver import DiskDriver
from logd.storage import Appended, LogKey, LogView, PartitionLog


@dataclass(frozen=True, slots=True)
class ProduceOutcome:
    """What was true of a batch when it was acknowledged."""

    base_offset: int
    leader_epoch: int
    append_time_ms: int
    synced: bool
    replicas: int
    log_start_offset: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole batches read once. `records` may begin below the offset that was asked for."""

    records: bytes
    next_offset: int
    high_watermark: int
    log_start_offset: int
    leader_epoch: int


class Partition:
    """Implements `WrittenLog` for one partition.

    `name` is "topic-partition", for messages only, and so is `topic`. What goes in and out is
    counted in `traffic`.
    """

    def __init__(
        self,
        *,
        key: TopicPartitionId,
        topic: str,
        log: PartitionLog,
        config: TopicConfig,
        state: PartitionImage,
        own_id: NodeId,
        driver: DiskDriver,
        wall_ms: Callable[[], int],
        traffic: Traffic,
    ) -> None:
        self.id = key
        self.key: LogKey = (key.topic_id, key.partition)
        self.topic = topic
        self.name = f"{topic}-{key.partition}"
        self.log = log
        self._own_id = own_id
        self.follow(state)
        self._driver = driver
        self._wall_ms = wall_ms
        self.traffic = traffic
        self.reconfigure(config)
        #: Grows with every byte appended; fetch sessions compare it to know what is waiting.
        self.appended_bytes = 0
        # A dict keeps the order in which listeners came.
        self._listeners: dict[Callable[[], None], None] = {}

    def reconfigure(self, config: TopicConfig) -> None:
        """Take a new configuration; the log itself is told by the writer."""
        self.config = config
        self.sync_before_ack = config.flush.mode is FlushMode.BATCH

    def follow(self, state: PartitionImage) -> None:
        """Take over who leads, and in which epoch; the log hears of it with the next append."""
        self._state = state
        self.leader_epoch = state.leader_epoch

    @property
    def view(self) -> LogView:
        return self.log.view

    @property
    def high_watermark(self) -> int:
        """End of what consumers may read."""
        view = self.log.view
        return view.durable_end_offset if self.sync_before_ack else view.written_end_offset

    def append(self, records: bytes, *, leader_epoch: int) -> asyncio.Future[ProduceOutcome]:
        """Check one encoded batch and queue it; raises LogdError when it is refused."""
        if self._state.leader_id != self._own_id:
            raise not_led_here(self.name, self._state)
        self.check_epoch(leader_epoch)
        header = self._check(records)
        self.appended_bytes += len(records)
        return self._driver.append(self, records, header, self.leader_epoch)

    def check_readable(self) -> None:
        """Refuse to read here what another node leads. Without a leader, what is here is served."""
        if self._state.leader_id not in (NO_NODE, self._own_id):
            raise not_led_here(self.name, self._state)

    def check_epoch(self, leader_epoch: int) -> None:
        """Refuse a client that addresses another leadership than this one; -1: unchecked."""
        if leader_epoch in (-1, self.leader_epoch):
            return
        error = NotLeaderError(
            f"{self.name} is led in epoch {self.leader_epoch}, the request names {leader_epoch}",
            code=ErrorCode.FENCED_LEADER_EPOCH,
            hint="refresh the metadata",
        )
        error.leader_epoch = self.leader_epoch
        raise error

    def _check(self, records: bytes) -> BatchHeader:
        if len(records) > self.config.max_message_bytes:
            raise RecordTooLargeError(
                f"batch of {len(records)} bytes for {self.name}, the topic takes"
                f" {self.config.max_message_bytes} (max.message.bytes)",
                code=ErrorCode.BATCH_TOO_LARGE,
                hint="send smaller batches, or raise max.message.bytes of the topic",
            )
        try:
            header = verify_produced_batch(records)
        except LogdError as error:
            error.message = f"batch for {self.name}: {error.message}"
            raise
        latest_ms = self._wall_ms() + self.config.message_timestamp_after_max_ms
        if header.max_timestamp > latest_ms:
            raise InvalidRecordError(
                f"batch for {self.name} carries the timestamp {header.max_timestamp}, more than"
                f" {self.config.message_timestamp_after_max_ms} ms in the future",
                code=ErrorCode.INVALID_TIMESTAMP,
                hint="check the producer's clock; message.timestamp.after.max.ms sets the bound",
            )
        return header

    def answer(self, appended: Appended, size_bytes: int) -> Any:
        if appended.duplicate:
            self.traffic.duplicates += 1
        else:
            self.traffic.produced(appended.next_offset - appended.base_offset, size_bytes)
        return ProduceOutcome(
            base_offset=appended.base_offset,
            leader_epoch=self.leader_epoch,
            append_time_ms=appended.append_time_ms,
            synced=self.sync_before_ack,
            replicas=1,
            log_start_offset=self.log.view.start_offset,
            duplicate=appended.duplicate,
        )

    def published(self) -> None:
        for listener in list(self._listeners):
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the view has moved."""
        self._listeners[listener] = None

    def unlisten(self, listener: Callable[[], None]) -> None:
        self._listeners.pop(listener, None)


def not_led_here(name: str, state: PartitionImage) -> NotLeaderError:
    """What a client is told that came to the wrong node, or at a bad time."""
    leader_id = state.leader_id
    where = f"by node {leader_id}" if leader_id != NO_NODE else "by nobody at the moment"
    error = NotLeaderError(f"{name} is led {where}", hint="refresh the metadata, then try again")
    error.leader_id = leader_id
    error.leader_epoch = state.leader_epoch
    return error
