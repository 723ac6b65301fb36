"""A broker in memory, for tests of the edge: no disk, and answers only when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from logd_wire import decode_batch, iter_headers, stamp, verify_produced_batch
from logd_wire.errors import InvalidRequestError, LogdError, OffsetOutOfRangeError

from logd.metadata import (
    AddVoter,
    AlterTopic,
    ClusterImage,
    CreateTopic,
    DeleteTopic,
    FenceNode,
    FormCluster,
    MetadataMachine,
    MetadataSettings,
    PartitionImage,
    RegisterNode,
    TopicImage,
    UnfenceNode,
)
from logd.model.ids import ClusterId, LogIndex, NodeId, TopicId
from logd.model.node_config import load_node_config
from logd.runtime.broker import CopyStats
from logd.runtime.budget import ByteBudget, ConnectionBudget
from logd.runtime.cleaner import CompactionOutcome
from logd.runtime.consensus_driver import ConsensusStatus
from logd.runtime.quorum_view import StoredEntry
from tests.support.rpc_groups import FakeGroups
from tests.support.rpc_quorum import CLUSTER_ID, FakeQuorum, directory_of

__all__ = ["APPEND_TIME_MS", "CLUSTER_ID", "FakeBroker", "MemoryLog", "MemorySession", "frame"]

APPEND_TIME_MS = 1_700_000_000_000


@dataclass(slots=True)
class MemoryLog:
    """One partition: whole batches with their base offsets stamped."""

    batches: list[bytes] = field(default_factory=list)
    end_offset: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def append(self, records: bytes) -> int:
        header = verify_produced_batch(records)
        base_offset = self.end_offset
        self.batches.append(stamp(records, base_offset, 0))
        self.end_offset += header.records_count
        self.moved.set()
        return base_offset

    def read(self, offset: int, bytes_max: int) -> tuple[bytes, int]:
        if offset > self.end_offset:
            raise OffsetOutOfRangeError(f"offset {offset} is behind the end", next_offset=0)
        found, next_offset = b"", offset
        for batch in self.batches:
            header = next(iter_headers(batch))[1]
            if header.next_offset <= offset:
                continue
            if found and len(found) + len(batch) > bytes_max:
                break
            found += batch
            next_offset = header.next_offset
        return found, next_offset


@dataclass(slots=True)
class _Subscription:
    log: MemoryLog
    offset: int


def frame(
    number: int, records: bytes, high_watermark: int, next_offset: int, error: Any = None
) -> Any:
    """What `FetchSession.next_frames` returns one of."""
    return SimpleNamespace(
        subscription_id=number,
        error=error,
        records=records,
        high_watermark=high_watermark,
        log_start_offset=0,
        next_offset=next_offset,
        leader_epoch=0,
    )


class MemorySession:
    """A fetch session: frames of at most `FRAME_BYTES`, on the broker's account until sent."""

    FRAME_BYTES = 128 * 1024

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._subscriptions: dict[int, _Subscription] = {}
        self._credit = 0
        self._held = 0
        self._closed = False
        self._wake = asyncio.Event()
        self.configured: dict[str, int] = {}

    def configure(self, **settings: int) -> None:
        self.configured = settings

    def add(
        self, subscription_id: int, topic_id: bytes, partition: int, offset: int, epoch: int
    ) -> None:
        if subscription_id in self._subscriptions:
            raise InvalidRequestError("in use twice")
        log = self._broker.log(topic_id, partition)
        self._subscriptions[subscription_id] = _Subscription(log, offset)
        self._wake.set()

    def remove(self, subscription_id: int) -> None:
        self._subscriptions.pop(subscription_id, None)

    def grant(self, credit_bytes: int) -> None:
        self._credit += credit_bytes
        self._wake.set()

    async def next_frames(self) -> list[Any]:
        while not self._closed:
            self._wake.clear()
            for number, item in self._subscriptions.items():
                if self._credit > 0 and item.offset < item.log.end_offset:
                    return [self._frame(number, item)]
            await self._wake.wait()
        return []

    def _frame(self, number: int, item: _Subscription) -> Any:
        records, item.offset = item.log.read(item.offset, self.FRAME_BYTES)
        self._credit -= len(records)
        self._held = len(records)
        self._broker.fetch_held += self._held
        self._broker.fetch_held_peak = max(self._broker.fetch_held_peak, self._broker.fetch_held)
        return frame(number, records, item.log.end_offset, item.offset)

    def sent(self) -> None:
        self._broker.fetch_held -= self._held
        self._held = 0

    def close(self) -> None:
        self._closed = True
        self.sent()
        self._wake.set()


class FakeBroker:
    """Has the surface of `logd.runtime.broker.Broker`.

    `hold`: produced batches wait in `held` until `answer_held`. `failures`: what a method raises,
    by its name.
    """

    def __init__(self, *, produce_bytes: int | None = None) -> None:
        self.config, self.config_entries = load_node_config()
        self.identity = SimpleNamespace(cluster_id=CLUSTER_ID, node_id=1, version="0.0.0-test")
        self._machine = MetadataMachine(MetadataSettings())
        #: The metadata quorum: this node leads it.
        self.view = FakeQuorum()
        self._submit(FormCluster(ClusterId(CLUSTER_ID)))
        self.register(1, "127.0.0.1:7171")
        self._submit(AddVoter(NodeId(1)))
        self._logs: dict[tuple[bytes, int], MemoryLog] = {}
        self._topics_made = 0
        limits = self.config.limits
        self.budget = ByteBudget(produce_bytes or limits.produce_bytes)
        self.budget_peak = 0
        self._connections: dict[str, ConnectionBudget] = {}
        self.hold = False
        self.held: list[tuple[asyncio.Future[Any], Any]] = []
        self.failures: dict[str, BaseException] = {}
        self.authorized: list[tuple[str, str, str]] = []
        self.fetch_held = 0
        self.fetch_held_peak = 0
        self.sessions: list[MemorySession] = []
        self._producer_id = 0
        self.groups = FakeGroups(lambda: self.image)

    @property
    def image(self) -> ClusterImage:
        return self._machine.image

    def _submit(self, command: Any) -> Any:
        outcome = self._machine.handle(command, 0)
        self._machine.replay(*outcome.records)
        self.view.append(outcome.records, self._machine.image)
        return outcome.reply

    @property
    def quorum(self) -> ConsensusStatus:
        return self.view.state

    async def read_raft_log(
        self, start: LogIndex, *, entries_max: int, bytes_max: int
    ) -> tuple[StoredEntry, ...]:
        return await self.view.read_log(start, entries_max=entries_max, bytes_max=bytes_max)

    async def submit(self, command: Any) -> Any:
        self._fail(type(command).__name__)
        return self._submit(command)

    def register(self, number: int, address: str, *, rack: str = "", fenced: bool = False) -> None:
        """Have one more node take part, with the directory and incarnation `number`."""
        node_id, directory = NodeId(number), directory_of(number)
        incarnation = number.to_bytes(16, "big")
        peer = f"peer-{number}:7172"
        self._submit(RegisterNode(node_id, directory, incarnation, address, rack, peer))
        if not fenced:
            self._submit(UnfenceNode(node_id, incarnation))

    def fence(self, number: int) -> None:
        self._submit(FenceNode(NodeId(number), number.to_bytes(16, "big")))

    def _fail(self, method: str) -> None:
        if (failure := self.failures.get(method)) is not None:
            raise failure

    def log(self, topic_id: bytes, partition: int) -> MemoryLog:
        self.image.topic(TopicId(topic_id)).partition(partition)
        return self._logs.setdefault((topic_id, partition), MemoryLog())

    def authorize(self, principal: str, operation: str, resource: str) -> None:
        self.authorized.append((principal, str(operation), resource))
        self._fail("authorize")

    # --- produce and fetch

    def produce_budget(self, peer: str) -> ConnectionBudget:
        per_connection = self.config.limits.produce_bytes_per_connection
        return self._connections.setdefault(peer, ConnectionBudget(self.budget, per_connection))

    def produce(
        self, topic_id: bytes, partition: int, records: bytes, *, leader_epoch: int, acks: int
    ) -> asyncio.Future[Any]:
        self._fail("produce")
        self.budget_peak = max(self.budget_peak, self.budget.held)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            base_offset = self.log(topic_id, partition).append(records)
        except LogdError as error:
            future.set_exception(error)
            return future
        outcome = SimpleNamespace(
            base_offset=base_offset,
            leader_epoch=0,
            append_time_ms=APPEND_TIME_MS,
            synced=True,
            replicas=1,
            log_start_offset=0,
            duplicate=False,
        )
        if self.hold:
            self.held.append((future, outcome))
        else:
            future.set_result(outcome)
        return future

    def answer_held(self, failure: BaseException | None = None) -> None:
        held, self.held = self.held, []
        for future, outcome in held:
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(outcome)

    def fetch_session(self, peer: str) -> MemorySession:
        self._fail("fetch_session")
        self.sessions.append(MemorySession(self))
        return self.sessions[-1]

    async def read(
        self, topic_id: bytes, partition: int, offset: int, *, bytes_max: int, wait_ms: int
    ) -> Any:
        self._fail("read")
        log = self.log(topic_id, partition)
        if wait_ms and offset == log.end_offset:
            log.moved.clear()
            await asyncio.wait_for(log.moved.wait(), wait_ms / 1000)
        records, next_offset = log.read(offset, bytes_max)
        return SimpleNamespace(
            records=records,
            next_offset=next_offset,
            high_watermark=log.end_offset,
            log_start_offset=0,
            leader_epoch=0,
        )

    async def list_offset(
        self, topic_id: bytes, partition: int, spec: str | int
    ) -> tuple[int, int, int]:
        self._fail("list_offset")
        log = self.log(topic_id, partition)
        if spec == "earliest":
            return 0, -1, 0
        if spec == "latest":
            return log.end_offset, -1, 0
        for batch in log.batches:
            for record in decode_batch(batch):
                if record.timestamp >= int(spec):
                    return record.offset, record.timestamp, 0
        return -1, -1, 0

    async def init_producer_id(self) -> tuple[int, int]:
        self._fail("init_producer_id")
        self._producer_id += 1
        return self._producer_id, 0

    # --- topics

    async def metadata_for(
        self, names: Sequence[str], allow_auto_create: bool
    ) -> list[TopicImage | LogdError]:
        self._fail("metadata_for")
        found: list[TopicImage | LogdError] = []
        for name in names:
            try:
                found.append(self.image.topic_named(name))
            except LogdError as error:
                found.append(error)
        return found

    async def create_topic(
        self,
        name: str,
        *,
        partitions: int = 0,
        replication_factor: int = -1,
        config: Mapping[str, str] | None = None,
        validate_only: bool = False,
        topic_id: bytes = b"",
    ) -> TopicImage:
        self._fail("create_topic")
        self._topics_made += 1
        made_id = TopicId(topic_id or self._topics_made.to_bytes(16, "big"))
        command = CreateTopic(
            made_id, name, partitions, replication_factor, config or {}, validate_only
        )
        topic: TopicImage = self._submit(command)
        return topic

    async def delete_topic(self, name: str, *, request_id: bytes = b"") -> TopicId:
        topic: TopicImage = self._submit(DeleteTopic(name, request_id))
        return topic.topic_id

    async def alter_topic(
        self,
        name: str,
        *,
        set_config: Mapping[str, str],
        delete_config: Sequence[str],
        partitions: int = 0,
        validate_only: bool = False,
        request_id: bytes = b"",
    ) -> TopicImage:
        deleted = tuple(delete_config)
        topic: TopicImage = self._submit(
            AlterTopic(name, set_config, deleted, partitions, validate_only, request_id)
        )
        return topic

    async def trim(self, name: str, offsets: Mapping[int, int]) -> dict[int, int | LogdError]:
        topic = self.image.topic_named(name)
        starts: dict[int, int | LogdError] = {}
        for partition, offset in offsets.items():
            try:
                end_offset = self.log(topic.topic_id, partition).end_offset
            except LogdError as error:
                starts[partition] = error
            else:
                starts[partition] = end_offset if offset == -1 else offset
        return starts

    def measures(self, _state: PartitionImage) -> bool:
        return True

    async def describe_partition(self, topic_id: TopicId, partition: int) -> Any:
        self._fail("describe_partition")
        log = self.log(topic_id, partition)
        size = sum(map(len, log.batches))
        return SimpleNamespace(
            start_offset=0,
            end_offset=log.end_offset,
            size_bytes=size,
            segments=1,
            damage=(),
            retention="nothing to delete",
            compaction="not compacted",
            progress=(),
        )

    async def describe_copy(self, topic_id: TopicId, partition: int) -> CopyStats | None:
        log = self.log(topic_id, partition)
        return CopyStats(sum(map(len, log.batches)), 1, "nothing is cleanable")

    async def compact(
        self, name: str, partitions: Sequence[int], *, now: bool, wait_ms: int
    ) -> dict[int, CompactionOutcome | LogdError]:
        topic = self.image.topic_named(name)
        outcomes: dict[int, CompactionOutcome | LogdError] = {}
        for partition in partitions or [state.partition for state in topic.partitions]:
            try:
                self.log(topic.topic_id, partition)
            except LogdError as error:
                outcomes[partition] = error
            else:
                words = f"now={now} wait_ms={wait_ms}"
                outcomes[partition] = CompactionOutcome(wait_ms > 0, 4, 3, 2, 1, words)
        return outcomes
