"""What the synchronous and the asyncio producer share: everything but the waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

from logd_wire import Headers
from logd_wire.errors import ConfigError

from logd_client._config import cluster_config, producer_config
from logd_client._core.accumulator import queue_for
from logd_client._core.batch import ProducerBatch, TopicQueues
from logd_client._engine.producer import ProducerEngine
from logd_client._io_thread import IoThread
from logd_client._runtime import Environment, Life
from logd_client.serializers import plain_bytes, serialized, wire_headers
from logd_client.values import HeadersLike, ProducerRecord, Time, time_to_ms

#: Records of one `send_many` that are appended without letting go of the lock.
CHUNK_RECORDS: Final = 512

_BYTES_ONLY: Final = {bytes}

Runs = list[tuple[ProducerBatch, int, int]]


class Front:
    """Options, serializers and the engine of one producer.

    Call `check` first, then `topic` (None: not known yet, look it up with the engine), then wait
    for room while `full`, then append.
    """

    def __init__(
        self,
        environment: Environment,
        bootstrap_servers: str | Sequence[str],
        *,
        client_id: str | None,
        request_timeout_ms: float,
        metadata_max_age_ms: float,
        key_serializer: Any,
        value_serializer: Any,
        partitioner: Any,
        **batching: Any,
    ) -> None:
        cluster = cluster_config(
            bootstrap_servers, client_id, request_timeout_ms, metadata_max_age_ms
        )
        config = producer_config(cluster, **batching)
        self.config = config
        self.partitioner = partitioner
        self._key_serializer = key_serializer
        self._value_serializer = value_serializer
        #: A value of bytes is a record as it is, and may go to the sticky partition.
        self.plain_values = value_serializer is None and partitioner is None
        lock = threading.Lock()
        self.lock = lock

        def make(io: IoThread) -> ProducerEngine:
            return ProducerEngine(
                environment.transport(),
                environment.clock,
                environment.rng(),
                config,
                lock=lock,
                call_on_loop=io.call_soon,
            )

        self.life: Life[ProducerEngine] = Life("producer", make)
        self.topics: Mapping[str, TopicQueues] = {}
        self.buffer_bytes = config.batching.buffer_bytes

    # ---- before a record is appended -------------------------------------------------------

    def use(self) -> ProducerEngine:
        """The engine; ForkError or ClosedError where it cannot be used."""
        engine = self.life.use()
        self.topics = engine.accumulator.topics
        return engine

    def full(self, topic: TopicQueues) -> bool:
        return topic.accumulator.used_bytes >= self.buffer_bytes

    def value_bytes(self, value: object) -> bytes | None:
        if value is None:
            return None
        if self._value_serializer is None:
            return plain_bytes("value", value)
        return serialized("value", self._value_serializer, value)

    def key_bytes(self, key: object) -> bytes | None:
        if key is None:
            return None
        if self._key_serializer is None:
            return plain_bytes("key", key)
        return serialized("key", self._key_serializer, key)

    # ---- appending -------------------------------------------------------------------------

    def append(  # noqa: PLR0917 (keywords would cost a tenth of a `send`)
        self,
        topic: TopicQueues,
        value: Any,
        key: Any,
        headers: HeadersLike | None,
        partition: int | None,
        timestamp: Time | None,
    ) -> tuple[ProducerBatch, int, int]:
        """Append one record; return its batch, its index there, and its time."""
        if value.__class__ is not bytes or self._value_serializer is not None:
            value = self.value_bytes(value)
        queue = None
        if key is not None:
            key = self.key_bytes(key)
        if key is not None or partition is not None or self.partitioner is not None:
            queue = queue_for(topic, key, partition, self.partitioner)
        stamp = time.time_ns() // 1_000_000 if timestamp is None else time_to_ms(timestamp)
        wire: Headers = wire_headers(headers) if headers else ()
        with self.lock:
            batch, index = topic.accumulator.append(
                topic,
                queue,
                stamp,
                key,
                value,
                wire,
            )
        return batch, index, stamp

    def append_chunk(self, topic: TopicQueues, values: Sequence[object]) -> tuple[Runs, list[int]]:
        """Append records of one `send_many`; return runs, and the time of each record."""
        stamp = time.time_ns() // 1_000_000
        if self.plain_values and set(map(type, values)) == _BYTES_ONLY:
            with self.lock:
                runs = topic.accumulator.append_values(topic, stamp, values)  # type: ignore[arg-type]
            return runs, [stamp] * len(values)
        found: Runs = []
        stamps: list[int] = []
        for value in values:
            record = value if isinstance(value, ProducerRecord) else ProducerRecord(value)
            batch, index, at = self.append(
                topic,
                record.value,
                record.key,
                record.headers,
                record.partition,
                stamp if record.timestamp is None else record.timestamp,
            )
            stamps.append(at)
            if found and found[-1][0] is batch and found[-1][1] + found[-1][2] == index:
                found[-1] = (batch, found[-1][1], found[-1][2] + 1)
            else:
                found.append((batch, index, 1))
        return found, stamps


def chunks_of(values: Iterable[object]) -> Iterable[Sequence[object]]:
    """`values` in sequences of at most `CHUNK_RECORDS`; what is read lazily stays lazy."""
    if isinstance(values, list | tuple):
        for begin in range(0, len(values), CHUNK_RECORDS):
            yield values[begin : begin + CHUNK_RECORDS]
        return
    if isinstance(values, str | bytes | Mapping):
        _refuse_values(values)
    chunk: list[object] = []
    for value in values:
        chunk.append(value)
        if len(chunk) == CHUNK_RECORDS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _refuse_values(values: object) -> NoReturn:
    raise ConfigError(
        f"send_many takes several values, not one {type(values).__name__}",
        hint="pass a list, or use send()",
    )
