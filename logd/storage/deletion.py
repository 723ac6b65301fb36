"""Retention: which segments may go, and taking them away in two steps.

Oldest first, stopping at the first that must stay. A segment is renamed to `.deleted`, so that
readers of older views can still open it, and unlinked after a delay. On a disk so full that not
even a name can be changed it is unlinked at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from logd.storage.access import LogContext, summarize
from logd.storage.config import LogConfig
from logd.storage.files import is_no_space, join
from logd.storage.layout import DELETED_SUFFIX
from logd.storage.segment import LOG_SUFFIX, SIDECAR_SUFFIXES, Segment


class DeletedSegment(NamedTuple):
    """Offsets `[base_offset, next_offset)` of `size` bytes, and the setting that let them go."""

    base_offset: int
    next_offset: int
    size: int
    reason: str


def expired(
    context: LogContext,
    segments: Sequence[Segment],
    config: LogConfig,
    *,
    size: int,
    end_offset: int,
    now_ms: int,
    limit_offset: int,
) -> list[DeletedSegment]:
    """Return the oldest segments that retention lets go; `size` is that of the whole log.

    By size the log stays at or above `retention_bytes`; by time a segment goes once its newest
    record is older than `retention_ms`.
    """
    result: list[DeletedSegment] = []
    for segment, following in zip(segments, [*segments[1:], None], strict=True):
        next_offset = following.base_offset if following is not None else end_offset
        if next_offset > limit_offset or (following is None and not segment.size):
            break
        reason = _reason(context, segment, config, size, now_ms)
        if reason is None:
            break
        result.append(DeletedSegment(segment.base_offset, next_offset, segment.size, reason))
        size -= segment.size
    return result


def _reason(
    context: LogContext, segment: Segment, config: LogConfig, size: int, now_ms: int
) -> str | None:
    if config.retention_bytes >= 0 and size - config.retention_bytes >= segment.size:
        return "retention.bytes"
    if config.retention_ms >= 0:
        try:
            summarize(context, segment)
        except FileNotFoundError:
            return "missing"
        if now_ms - retention_time_ms(segment) > config.retention_ms:
            return "retention.ms"
    return None


def retention_time_ms(segment: Segment) -> int:
    """Return the largest record time or, where that is absent or in the future, the append time.

    A stamp is in the future if it is later than the time the segment was last appended to.
    """
    if 0 <= segment.max_timestamp <= segment.last_append_ms:
        return segment.max_timestamp
    return segment.last_append_ms


class Deletion:
    """Segments on their way out. `leftovers` are names that an earlier process left."""

    def __init__(self, context: LogContext, leftovers: Sequence[str]) -> None:
        self._context = context
        self._due: list[tuple[int | None, str, Segment | None]] = [
            (0, join(context.directory, name), None) for name in leftovers
        ]

    def rename(self, segments: Sequence[Segment]) -> None:
        """Take segments away: renamed now, unlinked some time after."""
        files = self._context.files
        for segment in segments:
            path = segment.path
            suffix = LOG_SUFFIX + DELETED_SUFFIX
            target = path.removesuffix(LOG_SUFFIX) + suffix
            try:
                files.rename(path, target)
                segment.suffix = suffix
                self._due.append((None, target, segment))
            except FileNotFoundError:
                continue
            except OSError as error:
                if not is_no_space(error):
                    raise
                files.unlink(path)
                self._context.handles.drop(segment)
            for sidecar in SIDECAR_SUFFIXES:
                if files.exists(segment.sidecar(sidecar)):
                    files.unlink(segment.sidecar(sidecar))
        if segments:
            files.sync_dir(self._context.directory)

    def unlink_due(self, now_ms: int, delay_ms: int) -> int:
        """Unlink what is due; return how many files. The delay begins with the first call."""
        due = [item for item in self._due if item[0] is not None and item[0] <= now_ms]
        self._due = [
            (now_ms + delay_ms if since is None else since, path, segment)
            for since, path, segment in self._due
            if since is None or since > now_ms
        ]
        for _, path, segment in due:
            if segment is not None:
                self._context.handles.drop(segment)
            if self._context.files.exists(path):
                self._context.files.unlink(path)
        return len(due)
