"""The producer for asyncio."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Iterable, Mapping, Sequence
from time import time_ns
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar, Unpack, overload

from logd_wire.errors import TimeoutError

from logd_client import _fork
from logd_client._config import Acks, CompressionName, ProducerOptions, options_from
from logd_client._core.batch import TopicQueues
from logd_client._delivery import AsyncBulkDelivery, AsyncDelivery, OnDelivery, report
from logd_client._engine.producer import ProducerEngine
from logd_client._producing import Front, Runs, chunks_of
from logd_client._runtime import Environment
from logd_client.values import (
    HeadersLike,
    Partitioner,
    ProducerRecord,
    RecordMetadata,
    Serializer,
    Time,
)

K_contra = TypeVar("K_contra", contravariant=True)
V_contra = TypeVar("V_contra", contravariant=True)
K = TypeVar("K")
V = TypeVar("V")

#: What can be sent without a serializer.
Text = bytes | str


class Producer(Generic[K_contra, V_contra]):
    """Sends records; may be used by several tasks at once.

    Nothing happens before the first use, so a producer made before a fork and first used in the
    child works. `async with` flushes and closes. Times are in milliseconds, sizes in bytes, as the
    names say; `timeout` arguments are seconds.

    * `acks`: "all" (every in-sync replica has it durably), 1 (the leader has), 0 (nobody answers).
    * `enable_idempotence`: no duplicates and no reordering through retries (needs answers, so it
      is off with acks=0).
    * `linger_ms`: how long a record may wait for company while its partition is busy; an idle
      partition sends at once.
    * `buffer_memory`: records not yet acknowledged; when full, `send` waits `max_block_ms`, then
      raises BufferFullError.
    * `delivery_timeout_ms`: how long a record is tried.
    """

    _environment: ClassVar[Environment] = Environment()

    @overload
    def __init__(
        self: Producer[Text, Text],
        bootstrap_servers: str | Sequence[str] = ...,
        **options: Unpack[ProducerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Producer[K, Text],
        bootstrap_servers: str | Sequence[str] = ...,
        *,
        key_serializer: Serializer[K],
        **options: Unpack[ProducerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Producer[Text, V],
        bootstrap_servers: str | Sequence[str] = ...,
        *,
        value_serializer: Serializer[V],
        **options: Unpack[ProducerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Producer[K, V],
        bootstrap_servers: str | Sequence[str] = ...,
        *,
        key_serializer: Serializer[K],
        value_serializer: Serializer[V],
        **options: Unpack[ProducerOptions],
    ) -> None: ...
    def __init__(
        self,
        bootstrap_servers: str | Sequence[str] = "localhost:7171",
        *,
        client_id: str | None = None,
        acks: Acks = "all",
        enable_idempotence: bool = True,
        compression_type: CompressionName = "none",
        linger_ms: float = 5,
        batch_size: int = 64 * 1024,
        buffer_memory: int = 32 * 2**20,
        max_block_ms: float = 60_000,
        delivery_timeout_ms: float = 120_000,
        request_timeout_ms: float = 30_000,
        metadata_max_age_ms: float = 300_000,
        key_serializer: Serializer[Any] | None = None,
        value_serializer: Serializer[Any] | None = None,
        partitioner: Partitioner | None = None,
    ) -> None:
        self._front = Front(
            self._environment,
            bootstrap_servers,
            client_id=client_id,
            acks=acks,
            enable_idempotence=enable_idempotence,
            compression_type=compression_type,
            linger_ms=linger_ms,
            batch_size=batch_size,
            buffer_memory=buffer_memory,
            max_block_ms=max_block_ms,
            delivery_timeout_ms=delivery_timeout_ms,
            request_timeout_ms=request_timeout_ms,
            metadata_max_age_ms=metadata_max_age_ms,
            key_serializer=key_serializer,
            value_serializer=value_serializer,
            partitioner=partitioner,
        )
        self._life = self._front.life

    @classmethod
    def from_config(cls, conf: Mapping[str, Any]) -> Producer[Any, Any]:
        """Make one from Kafka's dotted names, such as `{"bootstrap.servers": "localhost:7171"}`."""
        made: Producer[Any, Any] = cls(**options_from("Producer", conf))
        return made

    # ---- sending ---------------------------------------------------------------------------

    async def send(
        self,
        topic: str,
        value: V_contra | None = None,
        *,
        key: K_contra | None = None,
        headers: HeadersLike | None = None,
        partition: int | None = None,
        timestamp: Time | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> AsyncDelivery:
        """Send one record without waiting for the answer; awaiting the handle does.

        Waits only for the topic's metadata and for room in the buffer, `max_block_ms` at most.
        `on_delivery(error, metadata)` is called on the I/O thread: be short. Raises
        UnknownTopicError, BufferFullError, SerializationError, RecordTooLargeError,
        BootstrapError.
        """
        front = self._front
        queues = front.topics.get(topic)
        if queues is None or self._life.generation != _fork.current.number:
            queues = await self._topic(topic)
        delivery = None
        if key is partition is timestamp is None and headers is None and front.plain_values:
            # The most frequent case. Loaded first: a slot called at once takes longer.
            add = queues.add
            delivery = add(value, AsyncDelivery, time_ns)
        if delivery is None:
            if front.full(queues):
                await self._wait_room()
            batch, index, stamp = front.append(queues, value, key, headers, partition, timestamp)
            delivery = AsyncDelivery(batch, index, stamp)
        if on_delivery is not None:
            report(on_delivery, delivery)
        return delivery

    async def send_and_wait(
        self,
        topic: str,
        value: V_contra | None = None,
        *,
        key: K_contra | None = None,
        headers: HeadersLike | None = None,
        partition: int | None = None,
        timestamp: Time | None = None,
        timeout: float | None = None,
    ) -> RecordMetadata:
        """Send one record and wait for the answer. TimeoutError means *outcome unknown*."""
        delivery = await self.send(
            topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp
        )
        try:
            async with asyncio.timeout(timeout):
                return await delivery
        except builtins.TimeoutError:
            if delivery.done():
                raise
            raise TimeoutError(
                f"outcome unknown: {topic} did not answer within {timeout:g} s; the record stays "
                "under way",
                hint="see delivery_timeout_ms",
            ) from None

    async def send_many(
        self, topic: str, values: Iterable[V_contra | ProducerRecord[K_contra, V_contra]]
    ) -> AsyncBulkDelivery:
        """Send records in order; one handle for all: awaited, a list of RecordMetadata.

        A ProducerRecord carries key, headers, partition or timestamp. When one of them cannot be
        sent, those before it are.
        """
        queues = await self._topic(topic)
        runs: Runs = []
        stamps: list[int] = []
        for chunk in chunks_of(values):
            if self._front.full(queues):
                await self._wait_room()
            found, times = self._front.append_chunk(queues, chunk)
            runs += found
            stamps += times
        return AsyncBulkDelivery(runs, stamps)

    async def _topic(self, topic: str) -> TopicQueues:
        engine = self._front.use()
        known = engine.accumulator.topics.get(topic)
        if known is not None:
            return known
        return await self._life.arun(engine.topic(topic))

    async def _wait_room(self) -> None:
        await self._life.arun(self._front.use().wait_room())

    # ---- the rest --------------------------------------------------------------------------

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until everything sent so far has its outcome; failures are in the handles.

        Raises TimeoutError after `timeout` seconds; the records stay under way.
        """
        engine = self._started()
        if engine is not None:
            try:
                async with asyncio.timeout(timeout):
                    await self._life.arun(engine.flush())
            except builtins.TimeoutError:
                raise TimeoutError(f"flush: not done within {timeout:g} s") from None

    async def partitions_for(self, topic: str) -> set[int]:
        """Partition numbers of `topic`. Raises UnknownTopicError."""
        engine = self._front.use()
        return await self._life.arun(engine.partitions_for(topic))

    async def close(self, timeout: float | None = None) -> None:
        """Flush, for `timeout` seconds at most (None: as long as it takes), and close.

        What is not acknowledged by then fails with ClosedError. Idempotent.
        """
        life = self._life
        if life.closed:
            return
        try:
            await self.flush(timeout)
        finally:
            engine = life.end()
            if engine is not None:
                await life.arun(engine.close())

    def _started(self) -> ProducerEngine | None:
        """The engine; None when the producer was never used, so that there is nothing to do."""
        if self._life.engine is None and not self._life.closed:
            return None
        return self._front.use()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        life = getattr(self, "_life", None)
        if life is not None:
            life.dropped()
