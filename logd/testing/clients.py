"""Producer and consumer over a simulated network: the names of `logd_client.aio`.

The clients of `logd_client` run on a thread of their own, which a virtual loop cannot have. These
are thin doors to the same engines on the caller's loop, with the same method names, so that code
that is handed a client runs against either. Values and keys are bytes or text.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from logd_client._core.accumulator import BatchingConfig
from logd_client._core.batch import ProducerBatch
from logd_client._core.fetch_state import FetchConfig
from logd_client._core.group_member import Subscription
from logd_client._core.partition_reader import Reset
from logd_client._engine.cluster import ClusterConfig
from logd_client._engine.consumer import ConsumerConfig, ConsumerEngine
from logd_client._engine.group_config import GroupConfig
from logd_client._engine.offsets import Spec
from logd_client._engine.producer import ProducerConfig, ProducerEngine
from logd_client._engine.status import status_of
from logd_client.rebalance import Callbacks, OnPartitions
from logd_client.values import ConsumerStatus, Record, RecordMetadata, TopicPartition

from logd.testing.clock import SimClock
from logd.testing.network import SimTransport
from logd.testing.rng import SimRng

Text = bytes | str


def to_bytes(value: Text | None) -> bytes | None:
    """Text is UTF-8; None stays null."""
    return value.encode() if isinstance(value, str) else value


class MemoryDelivery:
    """What `send` returns: await it for the outcome."""

    def __init__(
        self, engine: ProducerEngine, batch: ProducerBatch, index: int, timestamp_ms: int
    ) -> None:
        self._engine = engine
        self._batch = batch
        self._index = index
        self._timestamp_ms = timestamp_ms

    def done(self) -> bool:
        """Whether the record's fate is known."""
        return self._batch.done

    def __await__(self) -> Generator[Any, None, RecordMetadata]:
        return self._outcome().__await__()

    async def _outcome(self) -> RecordMetadata:
        batch = self._batch
        await self._engine.wait(batch)
        return RecordMetadata(
            batch.topic,
            batch.partition,
            batch.base_offset + self._index,
            self._timestamp_ms,
            batch.durable,
            batch.replicas,
        )


class MemoryProducer:
    """See `logd_client.aio.Producer`; `async with` flushes and closes."""

    def __init__(
        self,
        transport: SimTransport,
        clock: SimClock,
        rng: SimRng,
        address: str,
        *,
        linger_ms: float = 5.0,
        batch_size: int = 64 * 1024,
        delivery_timeout_ms: float = 120_000.0,
        max_block_ms: float = 60_000.0,
    ) -> None:
        batching = BatchingConfig(
            batch_bytes=batch_size, linger_ms=linger_ms, delivery_timeout_ms=delivery_timeout_ms
        )
        config = ProducerConfig(
            cluster=ClusterConfig(bootstrap_servers=(address,)),
            batching=batching,
            max_block_ms=max_block_ms,
        )
        self._clock = clock
        self.engine = ProducerEngine(transport, clock, rng, config)

    async def send(
        self,
        topic: str,
        value: Text | None = None,
        *,
        key: Text | None = None,
        partition: int | None = None,
        timestamp: int | None = None,
    ) -> MemoryDelivery:
        """Send one record without waiting for the answer. `timestamp` in ms since the epoch."""
        stamp = self._clock.wall_ms() if timestamp is None else timestamp
        batch, index = await self.engine.send(
            topic, to_bytes(value), key=to_bytes(key), partition=partition, timestamp_ms=stamp
        )
        return MemoryDelivery(self.engine, batch, index, stamp)

    async def send_and_wait(
        self,
        topic: str,
        value: Text | None = None,
        *,
        key: Text | None = None,
        partition: int | None = None,
        timestamp: int | None = None,
    ) -> RecordMetadata:
        """Send one record and wait for the answer; raises its error."""
        return await (
            await self.send(topic, value, key=key, partition=partition, timestamp=timestamp)
        )

    async def flush(self) -> None:
        """Wait until everything sent so far has its outcome; failures are in the handles."""
        await self.engine.flush()

    async def close(self) -> None:
        """Flush and close."""
        if not self.engine.closed:
            await self.engine.flush()
        await self.engine.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


class MemoryConsumer:
    """See `logd_client.aio.Consumer`. `topics`: all their partitions are read; with a `group_id`
    those that the group assigns. Times in milliseconds."""

    def __init__(
        self,
        transport: SimTransport,
        clock: SimClock,
        rng: SimRng,
        address: str,
        topics: Sequence[str] = (),
        *,
        auto_offset_reset: str = "error",
        group_id: str | None = None,
        group_instance_id: str | None = None,
        enable_auto_commit: bool = True,
        auto_commit_interval_ms: float = 5_000.0,
        session_timeout_ms: int = 45_000,
        rebalance_timeout_ms: int = 60_000,
        partition_assignment_strategy: str | None = None,
    ) -> None:
        group = None
        if group_id is not None:
            group = GroupConfig(
                group_id,
                instance_id=group_instance_id,
                session_timeout_ms=session_timeout_ms,
                rebalance_timeout_ms=rebalance_timeout_ms,
                assignor=partition_assignment_strategy,
                auto_commit=enable_auto_commit,
                auto_commit_interval_ms=auto_commit_interval_ms,
            )
        config = ConsumerConfig(
            cluster=ClusterConfig(bootstrap_servers=(address,)),
            fetch=FetchConfig(reset=Reset(auto_offset_reset), committed_first=group is not None),
            topics=tuple(topics),
            group=group,
        )
        self.engine = ConsumerEngine(transport, clock, rng, config)
        self._subscription = Subscription(tuple(topics))
        self._callbacks = Callbacks()
        self._started = group is not None and not topics

    async def _start(self) -> None:
        if self._started:
            return
        if self.engine.group is not None:
            await self.engine.join(self._subscription, self._callbacks.told)
        else:
            await self.engine.start()
        self._started = True

    def subscribe(
        self,
        topics: Iterable[str] = (),
        *,
        pattern: str | None = None,
        on_assign: OnPartitions | None = None,
        on_revoke: OnPartitions | None = None,
        on_lost: OnPartitions | None = None,
    ) -> None:
        """Have the group share out these, with the next read. The callables are plain ones."""
        self._subscription = Subscription(tuple(topics), pattern or "")
        self._callbacks = Callbacks(on_assign, on_revoke, on_lost)
        self._started = False

    async def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        """Commit these, or where reading has come to."""
        await self.engine.commit(self.engine.reading.finish_all() if offsets is None else offsets)

    async def committed(self, partition: TopicPartition) -> int | None:
        """What the group has committed; None: nothing."""
        assert self.engine.group is not None, "without group_id"
        return (await self.engine.group.offsets.fetch([partition])).get(partition)

    def status(self) -> ConsumerStatus:
        """How it stands."""
        return status_of(self.engine)

    def _tell(self) -> None:
        reading = self.engine.reading
        while (announcement := reading.next_announcement()) is not None:
            callback = self._callbacks.of(announcement.news)
            if callback is not None:
                callback(list(announcement.partitions))
            reading.announced(announcement)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read exactly these."""
        self.engine.fetcher.assign(partitions)

    def assignment(self) -> list[TopicPartition]:
        """What is read."""
        return self.engine.fetcher.assignment()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Hand out the record at `offset` next."""
        self.engine.fetcher.seek(partition, offset)

    async def seek_to_time(self, when_ms: int, *partitions: TopicPartition) -> None:
        """Move to the first record at or after `when_ms` (ms since the epoch)."""
        wanted = partitions or tuple(self.assignment())
        await self.engine.seek_to(dict.fromkeys(wanted, Spec.at_time(when_ms)))

    async def position(self, partition: TopicPartition) -> int:
        """Offset of the next record that will be handed out."""
        return await self.engine.position(partition)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offsets behind the last records."""
        found = await self.engine.offsets(dict.fromkeys(partitions, Spec.latest()))
        return {partition: answer.offset for partition, answer in found.items()}

    async def getmany(
        self, *, timeout: float = 1.0, max_records: int = 500
    ) -> dict[TopicPartition, list[Record[bytes, bytes]]]:
        """What is there, or comes within `timeout` virtual seconds; may be empty."""
        await self._start()
        fetcher = self.engine.fetcher
        try:
            async with asyncio.timeout(timeout):
                while True:
                    self._tell()
                    if found := fetcher.take(max_records):
                        return found
                    await self._wait_for_news()
        except TimeoutError:
            return {}

    async def getone(self, *, timeout: float = 1.0) -> Record[bytes, bytes] | None:
        """The next record; None when there was none within `timeout` virtual seconds."""
        found = await self.getmany(timeout=timeout, max_records=1)
        for records in found.values():
            return records[0]
        return None

    async def _wait_for_news(self) -> None:
        news = asyncio.Event()
        if self.engine.fetcher.wait_nowait(news.set):
            try:
                await news.wait()
            finally:
                self.engine.fetcher.forget_waiter(news.set)

    async def __aiter__(self) -> AsyncIterator[Record[bytes, bytes]]:
        while True:
            record = await self.getone(timeout=3600.0)
            if record is not None:
                yield record

    async def close(self) -> None:
        """Stop reading; leave the group."""
        group = self.engine.group
        if group is not None and group.subscribed and not self.engine.closed:
            going = await group.stop_reading()
            self._tell()
            if going and self._callbacks.on_revoke is not None:
                self._callbacks.on_revoke(list(going))
        await self.engine.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
