"""What retention and compaction do with a partition, and why not, as a person would say it; what
opening a log took, and what retention took away."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from logd.model.topic_config import TopicConfig
from logd.model.units import rough_duration, rough_size
from logd.runtime.partition import Partition
from logd.storage import (
    CleaningStatus,
    DeletedSegment,
    Moment,
    RecoveryReport,
    RetentionStatus,
    Verdict,
)

_logger = logging.getLogger("logd.partitions")


def retention_in_words(config: TopicConfig, status: RetentionStatus, moment: Moment) -> str:
    """What is deletable now, else what goes next and when."""
    if not config.deletes:
        return "no segment is deleted: cleanup.policy is " + (config.cleanup_policy or "empty")
    if config.retention_ms < 0 and config.retention_bytes < 0 and config.retention_records < 0:
        return "no segment is deleted: retention.ms, .bytes and .records are all -1"
    parts = []
    if status.deletable:
        size = sum(segment.size for segment in status.deletable)
        reasons = ", ".join(sorted({segment.reason for segment in status.deletable}))
        parts.append(
            f"offsets below {status.deletable[-1].next_offset} ({rough_size(size)}) go with the"
            f" next check: {reasons}"
        )
    elif status.held_back:
        parts.append("nothing to delete: the oldest segment reaches beyond the high watermark")
    else:
        parts.append("nothing to delete")
    if config.retention_ms >= 0 and moment.brake:
        parts.append(moment.brake)
    elif status.due_ms is not None:
        parts.append(f"the oldest segment goes by age {_when(status.due_ms - moment.now_ms)}")
    return "; ".join(parts)


def compaction_in_words(config: TopicConfig, status: CleaningStatus, moment: Moment) -> str:
    """How far a compacted log is clean, and what the next pass waits for."""
    if status.first_dirty:
        clean = f"compacted below offset {status.first_dirty}"
        if status.cleaned_at_ms:
            ago_ms = max(moment.now_ms - status.cleaned_at_ms, 0)
            clean += f", {rough_duration(ago_ms)} ago"
    else:
        clean = "not compacted yet"
    return f"{clean}; {_next_pass(config, status, moment)}"


def _next_pass(config: TopicConfig, status: CleaningStatus, moment: Moment) -> str:
    share = f"{status.dirty_ratio:.2f} of it ({rough_size(status.cleanable_bytes)}) is dirty"
    when = "" if status.next_ms is None else _when(status.next_ms - moment.now_ms)
    active = f"the segment that is written to ({rough_size(status.active_bytes)}) is not compacted"
    verdict = status.verdict
    if verdict.is_due:
        what = share if status.cleanable_bytes else "nothing is dirty"
        return f"a pass is due: {verdict.value}; {what}"
    if verdict is Verdict.BELOW_RATIO:
        return (
            f"{share}, a pass begins at {config.min_cleanable_dirty_ratio:g}"
            f" (min.cleanable.dirty.ratio), or {when} (max.compaction.lag.ms)"
        )
    if verdict is Verdict.YOUNG:
        return f"the next segment is cleanable {when}: {verdict.value}"
    if verdict is Verdict.CLEAN and when:
        return f"nothing is cleanable, {active}; deleted keys may be forgotten {when}"
    if verdict is Verdict.CLEAN:
        return f"nothing is cleanable, {active}"
    return f"nothing is cleanable: {verdict.value}"


def _when(in_ms: int) -> str:
    if in_ms <= 0:
        return "with the next check"
    return f"in {rough_duration(in_ms + 999)}"


def report_recovery(name: str, recovery: RecoveryReport) -> None:
    """Log what opening a log took, where that is worth knowing."""
    if recovery.cut_bytes or recovery.copied_bytes or recovery.rebuilt or recovery.removed:
        _logger.info(
            "%s: recovered; %d bytes scanned, %d kept from beyond the ledger, %d of a torn tail"
            " cut, rebuilt: %s",
            name,
            recovery.scanned_bytes,
            recovery.copied_bytes,
            recovery.cut_bytes,
            ", ".join(recovery.rebuilt) or "nothing",
        )
    for damage in recovery.damage:
        _logger.error("%s: damaged: %s", name, damage)


def report_removed(name: str, removed: Sequence[DeletedSegment]) -> None:
    """Log what retention took away, with the reasons."""
    if removed:
        _logger.info(
            "%s: %d segments removed, offsets below %d: %s",
            name,
            len(removed),
            removed[-1].next_offset,
            ", ".join(sorted({segment.reason for segment in removed})),
        )


def retain(found: Partition, moment: Moment, limit_offset: int) -> list[DeletedSegment]:
    """On the writer: roll, remove, unlink what was removed long enough ago."""
    now_ms, brake, trusted_since_ms = moment
    found.log.maybe_roll(now_ms)
    removed = found.log.enforce_retention(
        now_ms, limit_offset, brake=brake, trusted_since_ms=trusted_since_ms
    )
    found.log.unlink_deleted(now_ms)
    return removed
