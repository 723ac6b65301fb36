"""How a consumer stands, in plain values; for callers, from any thread."""

from __future__ import annotations

import math

from logd_client._core.partition_reader import PartitionReader
from logd_client._engine.consumer import ConsumerEngine
from logd_client.values import ConsumerStatus, PartitionStatus


def status_of(engine: ConsumerEngine) -> ConsumerStatus:
    now_ms = engine.clock.monotonic_ms()
    with engine.fetcher.lock:
        partitions = {
            tp: _partition(reader, engine.watcher.unserved_for_ms(tp))
            for tp, reader in engine.fetcher.state.readers.items()
        }
    group = engine.group
    fetch_age_ms = None if engine.heard_ms is None else now_ms - engine.heard_ms
    if group is None:
        return ConsumerStatus("assigned", partitions, fetch_age_ms)
    member = group.member
    left_ms = member.deadline_ms - now_ms
    return ConsumerStatus(
        state=member.phase.value if group.subscribed else "assigned",
        partitions=partitions,
        fetch_age_ms=fetch_age_ms,
        group_id=group.config.group_id,
        member_id=member.member_id,
        member_epoch=member.epoch,
        coordinator=group.coordinator.address or None,
        heartbeat_age_ms=None if group.heard_ms is None else now_ms - group.heard_ms,
        session_left_ms=max(0.0, left_ms) if math.isfinite(left_ms) else None,
    )


def _partition(reader: PartitionReader, unserved_ms: float | None) -> PartitionStatus:
    high_watermark = reader.high_watermark if reader.high_watermark >= 0 else None
    lag = None
    if high_watermark is not None and reader.position is not None:
        lag = max(0, high_watermark - reader.position)
    return PartitionStatus(
        position=reader.position,
        committed=reader.committed,
        high_watermark=high_watermark,
        lag=lag,
        paused=reader.paused,
        error=str(reader.error) if reader.error is not None else "",
        unserved_ms=unserved_ms,
    )
