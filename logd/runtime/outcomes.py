"""What a partition answers to those who append and read."""

from __future__ import annotations

from dataclasses import dataclass


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
