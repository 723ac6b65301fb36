"""Settings of one partition log."""

from __future__ import annotations

from dataclasses import dataclass

_DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Sizes in bytes, times in milliseconds; -1 means without bound where it says so.

    A segment is rolled before a batch that would make it larger than `segment_bytes`, and when its
    first batch was appended `segment_ms` ago or earlier. `retention_ms`, `retention_bytes` and
    `retention_records` may be -1: keep forever. `producer_ids_max` bounds the producer ids
    remembered at a time; 0 refuses idempotent batches.

    With `compacts` only the newest record of each key is kept; `cleaner.plan` has what the settings
    between mean.
    """

    segment_bytes: int = 64 * 1024 * 1024
    segment_ms: int = 7 * _DAY_MS
    retention_ms: int = 7 * _DAY_MS
    retention_bytes: int = -1
    retention_records: int = -1
    index_interval_bytes: int = 4096
    file_delete_delay_ms: int = 60_000
    compacts: bool = False
    min_cleanable_dirty_ratio: float = 0.5
    min_compaction_lag_ms: int = 0
    max_compaction_lag_ms: int = 7 * _DAY_MS
    delete_retention_ms: int = _DAY_MS
    producer_ids_max: int = 10_000

    @property
    def roll_ms(self) -> int:
        """The age at which a segment is closed; only closed ones are compacted."""
        return (
            min(self.segment_ms, self.max_compaction_lag_ms) if self.compacts else self.segment_ms
        )
