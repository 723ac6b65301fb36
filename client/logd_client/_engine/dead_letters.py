"""Sends records that could not be handled to a topic of their own, with the cause in headers."""

from __future__ import annotations

import traceback
from typing import Any, Final

from logd_client._core.accumulator import BatchingConfig
from logd_client._engine.cluster import ClusterConfig
from logd_client._engine.ports import Clock, Rng
from logd_client._engine.producer import ProducerConfig, ProducerEngine
from logd_client._transport.api import Transport
from logd_client.values import Record

#: The end of a traceback says more than its beginning.
TRACEBACK_CHARACTERS_MAX: Final = 8_000


class DeadLetters:
    """A producer that is made when first needed. On the I/O loop."""

    def __init__(
        self, transport: Transport, clock: Clock, rng: Rng, cluster: ClusterConfig
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self._cluster = cluster
        self._engine: ProducerEngine | None = None

    async def send(
        self, topic: str, record: Record[Any, Any], error: BaseException, failures: int
    ) -> None:
        """Return once all in-sync replicas have it; raises why not. `record` as it came."""
        if self._engine is None:
            config = ProducerConfig(cluster=self._cluster, batching=BatchingConfig(linger_ms=0))
            self._engine = ProducerEngine(self._transport, self._clock, self._rng, config)
        batch, _ = await self._engine.send(
            topic,
            record.value,
            key=record.key,
            headers=(*record.headers, *cause_headers(record, error, failures)),
            timestamp_ms=self._clock.wall_ms(),
        )
        await self._engine.wait(batch)

    async def close(self) -> None:
        if self._engine is not None:
            await self._engine.close()


def cause_headers(
    record: Record[Any, Any], error: BaseException, failures: int
) -> tuple[tuple[str, bytes], ...]:
    """What went wrong, and with which record."""
    trace = "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS_MAX:]
    kind = type(error)
    fields = {
        "reason": str(error),
        "exception": f"{kind.__module__}.{kind.__qualname__}",
        "traceback": trace,
        "attempts": failures,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
    }
    return tuple(
        (f"logd-dlq-{name}", str(value).encode("utf-8", "replace"))
        for name, value in fields.items()
    )
