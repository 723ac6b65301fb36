"""What retention and compaction do with a partition, and why not, as a person would say it."""

from __future__ import annotations

from logd.model.topic_config import TopicConfig
from logd.model.units import rough_duration, rough_size
from logd.storage import Moment, RetentionStatus


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


def _when(in_ms: int) -> str:
    if in_ms <= 0:
        return "with the next check"
    return f"in {rough_duration(in_ms + 999)}"
