"""What the edges see of a node: produce, fetch, offsets, administration."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Literal, NamedTuple
from weakref import WeakValueDictionary

from logd_wire.errors import (
    LogdError,
    NotLeaderError,
    ShuttingDownError,
    TopicExistsError,
    UnknownTopicError,
)

from logd.metadata import (
    AllocateProducerIds,
    AlterTopic,
    ClusterImage,
    Command,
    CreateTopic,
    DeleteTopic,
    PartitionImage,
    ProducerIdPool,
    Reply,
    TopicImage,
)
from logd.model.ids import ClusterId, LogIndex, NodeId, TopicId, TopicPartitionId
from logd.model.node_config import NodeConfig, NodeConfigEntry
from logd.observe import Meters
from logd.runtime.budget import ByteBudget, ConnectionBudget
from logd.runtime.cleaner import Cleaner, CompactionOutcome
from logd.runtime.consensus_driver import ConsensusDriver, ConsensusStatus
from logd.runtime.fetch_session import FetchSession
from logd.runtime.group_coordinator import GroupCoordinator
from logd.runtime.metadata_driver import MetadataDriver
from logd.runtime.outcomes import Chunk, ProduceOutcome
from logd.runtime.partition import Partition
from logd.runtime.partition_stats import PartitionStats
from logd.runtime.partitions import Partitions
from logd.runtime.ports import Clock, Disk, Rng
from logd.runtime.quorum_view import StoredEntry
from logd.storage import ReadResult

READ_WAIT_MS_MAX = 30_000


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Who answers."""

    cluster_id: ClusterId
    node_id: NodeId
    version: str


class CopyStats(NamedTuple):
    """One copy of a partition; `compaction` says what compaction does with it, in words."""

    size_bytes: int
    segments: int
    compaction: str


class Operation(StrEnum):
    """What a caller wants to do; every edge asks `authorize` before it does it."""

    READ = "read"
    WRITE = "write"
    DESCRIBE = "describe"
    CREATE = "create"
    ALTER = "alter"
    DELETE = "delete"


class Broker:
    """The facade of one running node. All methods are called on its event loop."""

    def __init__(
        self,
        *,
        identity: NodeIdentity,
        config: NodeConfig,
        config_entries: Sequence[NodeConfigEntry],
        metadata: MetadataDriver,
        partitions: Partitions,
        serving: Callable[[], bool],
        consensus: ConsensusDriver,
        cleaner: Cleaner,
        groups: GroupCoordinator,
        disk: Disk,
        clock: Clock,
        rng: Rng,
        meters: Meters,
    ) -> None:
        self.identity = identity
        self.config = config
        self.config_entries = tuple(config_entries)
        self._metadata = metadata
        self._partitions = partitions
        self._serving = serving
        self._consensus = consensus
        self._cleaner = cleaner
        #: Consumer groups, as far as this node coordinates them.
        self.groups = groups
        self._disk = disk
        self._clock = clock
        self._rng = rng
        self._meters = meters
        self._produce_budget = ByteBudget(config.limits.produce_bytes)
        # Streams of one connection share its budget, which goes when the last of them does.
        self._connection_budgets: WeakValueDictionary[str, ConnectionBudget] = WeakValueDictionary()
        self._fetch_budget = ByteBudget(config.limits.fetch_bytes)
        self._producer_ids = ProducerIdPool()
        self._producer_ids_lock = asyncio.Lock()
        self._stopping = False

    @property
    def image(self) -> ClusterImage:
        """The committed metadata."""
        return self._metadata.image

    @property
    def quorum(self) -> ConsensusStatus:
        """The quorum of the metadata log as this node sees it."""
        return self._consensus.status()

    @property
    def serving(self) -> bool:
        """Whether the controller counts on this node: else it leads and acknowledges nothing."""
        return self._serving()

    async def submit(self, command: Command) -> Reply:
        """Have the cluster decide on a command, for tools; raises what it is refused with."""
        self.check_running()
        return await self._metadata.submit(command)

    async def read_raft_log(
        self, start: LogIndex, *, entries_max: int, bytes_max: int
    ) -> tuple[StoredEntry, ...]:
        """Durable entries of the metadata log from `start` on, as this node stores them."""
        return await self._consensus.read_log(start, entries_max=entries_max, bytes_max=bytes_max)

    @property
    def stopping(self) -> bool:
        """Whether what is new is refused."""
        return self._stopping

    @property
    def budgets(self) -> dict[str, ByteBudget]:
        """What all connections together hold in memory, by what it is for."""
        return {"produce": self._produce_budget, "fetch": self._fetch_budget}

    def begin_stop(self) -> None:
        """Refuse what is new from here on; what was accepted is finished."""
        self._stopping = True

    def authorize(self, principal: str, operation: Operation, resource: str) -> None:
        """Raise AuthError when `principal` may not. Everybody may, until there are identities."""

    def check_running(self) -> None:
        """Raise ShuttingDownError once the node is stopping."""
        if self._stopping:
            raise ShuttingDownError(
                f"node {self.identity.node_id} is stopping", hint="try again, or another node"
            )

    def _check_serving(self) -> None:
        """Raise NotLeaderError while the controller does not count on this node."""
        if not self.serving:
            raise NotLeaderError(
                f"node {self.identity.node_id} is out of service: it has no contact to the cluster",
                hint="try again, or another node",
            )

    # --- produce and fetch -------------------------------------------------------------------

    def produce_budget(self, peer: str) -> ConnectionBudget:
        """The budget of the connection from `peer`; the edge holds on to it."""
        budget = self._connection_budgets.get(peer)
        if budget is None:
            budget = ConnectionBudget(
                self._produce_budget, self.config.limits.produce_bytes_per_connection
            )
            self._connection_budgets[peer] = budget
        return budget

    def produce(
        self, topic_id: bytes, partition: int, records: bytes, *, leader_epoch: int, acks: int
    ) -> asyncio.Future[ProduceOutcome]:
        """Check and queue one encoded batch; the future raises LogdError.

        It is done when the batch is as durable as `acks` asks for: -1 (all in-sync replicas), 1
        (the leader; 0 likewise, and nobody is told).
        """
        try:
            self.check_running()
            self._check_serving()
            key = TopicPartitionId(TopicId(topic_id), partition)
            found = self._partitions.find(key, -1, self.image)
            return found.append(records, leader_epoch=leader_epoch, acks=acks)
        except LogdError as error:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(error)
            return future

    def fetch_session(self, peer: str) -> FetchSession:
        """The reading state of one new stream from `peer`."""
        return FetchSession(
            find=self._find,
            check=self._check_readable,
            disk=self._disk,
            clock=self._clock,
            budget=self._fetch_budget,
            meter=self._meters.requests.of("Fetch"),
        )

    def _check_readable(self, found: Partition) -> None:
        found.check_readable()
        self._check_contact(found)

    def _check_contact(self, found: Partition) -> None:
        if len(found.state.replicas) > 1:
            # Another node may lead by now, and acknowledge what is not here.
            self._check_serving()

    async def read(
        self, topic_id: bytes, partition: int, offset: int, *, bytes_max: int, wait_ms: int
    ) -> Chunk:
        """Read once; waits up to `wait_ms` for a first record at the end of the log."""
        found = self._find(TopicPartitionId(TopicId(topic_id), partition), -1)
        if found.high_watermark <= offset <= found.view.written_end_offset and wait_ms > 0:
            await self._wait_for_records(found, offset, min(wait_ms, READ_WAIT_MS_MAX))
            self._check_readable(found)
        limit = found.high_watermark
        if limit < offset <= found.view.written_end_offset:
            # It is there, and not committed yet.
            result = ReadResult(b"", offset)
        else:
            work = partial(found.view.read, offset, bytes_max=bytes_max, limit_offset=limit)
            try:
                result = await self._disk.read(work)
            except LogdError as error:
                raise found.read_failed(error) from error
        found.traffic.fetched(result.next_offset - offset, len(result.records))
        return Chunk(
            records=result.records,
            next_offset=result.next_offset,
            high_watermark=limit,
            log_start_offset=found.view.start_offset,
            leader_epoch=found.leader_epoch,
        )

    async def _wait_for_records(self, found: Partition, offset: int, wait_ms: int) -> None:
        moved = asyncio.Event()
        found.listen(moved.set)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1000):
                    while found.high_watermark <= offset:
                        moved.clear()
                        await moved.wait()
        finally:
            found.unlisten(moved.set)

    async def list_offset(
        self, topic_id: bytes, partition: int, spec: Literal["earliest", "latest"] | int
    ) -> tuple[int, int, int]:
        """Offset, timestamp and leader epoch of the first record, of the end, or of the first
        record at or after a time in ms; -1 where there is none."""
        found = self._find(TopicPartitionId(TopicId(topic_id), partition), -1)
        view, end = found.view, found.high_watermark
        if spec == "latest":
            found.check_latest()
            return end, -1, found.leader_epoch
        if spec == "earliest":
            return view.start_offset, -1, found.leader_epoch
        hit = await self._disk.read(partial(view.offset_for_time, spec, end))
        offset, timestamp_ms = hit if hit is not None else (-1, -1)
        return offset, timestamp_ms, found.leader_epoch

    def _find(self, key: TopicPartitionId, leader_epoch: int) -> Partition:
        found = self._partitions.find(key, leader_epoch, self.image)
        self._check_contact(found)
        return found

    async def init_producer_id(self) -> tuple[int, int]:
        """A producer id that nobody was given before, and its epoch."""
        self.check_running()
        async with self._producer_ids_lock:
            producer_id = self._producer_ids.take()
            if producer_id is None:
                command = AllocateProducerIds(self.identity.node_id)
                block = await self._metadata.submit(command, follow=False)
                self._producer_ids.add(block)
                producer_id = self._producer_ids.take()
            assert producer_id is not None, "a fresh block has ids"
            return producer_id, 0

    # --- topics ------------------------------------------------------------------------------

    async def metadata_for(
        self, names: Sequence[str], allow_auto_create: bool
    ) -> list[TopicImage | LogdError]:
        """The topics of these names, made where that is asked for and the node is configured to."""
        found: list[TopicImage | LogdError] = []
        for name in names:
            try:
                found.append(await self._topic(name, allow_auto_create))
            except LogdError as error:
                found.append(error)
        return found

    async def _topic(self, name: str, allow_auto_create: bool) -> TopicImage:
        try:
            return self.image.topic_named(name)
        except UnknownTopicError:
            if not (allow_auto_create and self.config.topics.auto_create):
                raise
        try:
            made = await self.create_topic(name)
        except TopicExistsError:
            # Somebody else was faster.
            await self._metadata.wait_followed()
        else:
            if made.partitions:
                return made
            # Made, and deleted before its maker knew.
        return self.image.topic_named(name)

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
        """Create a topic; it can be produced to when this returns.

        `topic_id`: drawn by whoever may ask again; then the topic is found that was made before.
        """
        self.check_running()
        command = CreateTopic(
            topic_id=TopicId(topic_id or self._rng.randbytes(16)),
            name=name,
            partitions=partitions,
            replication_factor=replication_factor,
            config=config or {},
            validate_only=validate_only,
        )
        return await self._submit_topic(command)

    async def delete_topic(self, name: str, *, request_id: bytes = b"") -> TopicId:
        """Delete a topic; returns the id that it had.

        `request_id`: drawn by whoever may ask again; then it is found that it was done before.
        """
        command = DeleteTopic(name, request_id or self._rng.randbytes(16))
        return (await self._submit_topic(command)).topic_id

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
        """Change configuration, add partitions, all or nothing; returns the topic afterwards.

        `request_id`: as with `delete_topic`.
        """
        return await self._submit_topic(
            AlterTopic(
                name=name,
                set_config=set_config,
                delete_config=tuple(delete_config),
                partitions=partitions,
                validate_only=validate_only,
                request_id=request_id or self._rng.randbytes(16),
            )
        )

    async def _submit_topic(self, command: CreateTopic | DeleteTopic | AlterTopic) -> TopicImage:
        self.check_running()
        return await self._metadata.submit(command)

    async def trim(self, name: str, offsets: Mapping[int, int]) -> dict[int, int | LogdError]:
        """Drop what lies below an offset (-1: the high watermark), partition by partition."""
        self.check_running()
        topic = self.image.topic_named(name)
        starts: dict[int, int | LogdError] = {}
        for partition, offset in offsets.items():
            try:
                starts[partition] = await self._partitions.trim(
                    TopicPartitionId(topic.topic_id, partition), offset, self.image
                )
            except LogdError as error:
                starts[partition] = error
        return starts

    async def compact(
        self, name: str, partitions: Sequence[int], *, now: bool, wait_ms: int
    ) -> dict[int, CompactionOutcome | LogdError]:
        """Compact this node's copies of a topic's partitions (none named: all that it has), led
        here or not; waits for the end up to `wait_ms`.

        `now`: close the segments that are written to first, so that everything is looked at.
        """
        self.check_running()
        topic = self.image.topic_named(name)
        wanted = list(partitions) or [
            state.partition for state in topic.partitions if self.identity.node_id in state.replicas
        ]
        deadline_ms = self._clock.monotonic_ms() + wait_ms
        outcomes: dict[int, CompactionOutcome | LogdError] = {}
        for partition in wanted:
            left_ms = max(deadline_ms - self._clock.monotonic_ms(), 0)
            try:
                key = TopicPartitionId(topic.topic_id, partition)
                found = self._partitions.copy_of(key, self.image)
                outcomes[partition] = await self._cleaner.compact(found, now=now, wait_ms=left_ms)
            except LogdError as error:
                outcomes[partition] = error
        return outcomes

    def measures(self, state: PartitionImage) -> bool:
        """Whether this node can say how large a partition is: it leads it, or has the only copy."""
        own_id = self.identity.node_id
        return state.leader_id == own_id or state.replicas == (own_id,)

    async def describe_partition(self, topic_id: TopicId, partition: int) -> PartitionStats:
        """Sizes and offsets on this node; raises UnknownTopicError when it has no replica."""
        key = TopicPartitionId(topic_id, partition)
        stats = await self._partitions.stats(key, self.image)
        words = await self._cleaner.in_words(self._find(key, -1))
        return replace(stats, compaction=words)

    async def describe_copy(self, topic_id: TopicId, partition: int) -> CopyStats | None:
        """How this node's copy stands, led here or not; None: it has none."""
        found = self._partitions.get(TopicPartitionId(topic_id, partition))
        if found is None:
            return None
        words = await self._cleaner.in_words(found)
        return CopyStats(found.view.size_bytes, found.view.segment_count, words)
