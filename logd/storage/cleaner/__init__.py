"""Key compaction of a partition log.

    plan      what may be cleaned, whether it is worth it, and why not; then one pass as plain data
    rewrite   the pass: sealed segments in, fewer and smaller files out; nothing of the log changes
    swap      putting those files in the place of the segments, and finishing that after a crash
    state     how far the log is clean

`plan` and `swap` run with the log's writer, `rewrite` anywhere: it only reads what no longer
changes and writes files that nobody knows.
"""

from __future__ import annotations

from logd.storage.cleaner.plan import CleaningPlan, CleaningStatus, Verdict
from logd.storage.cleaner.result import CleanedFile, CleaningError, CleaningResult
from logd.storage.cleaner.rewrite import clean

__all__ = [
    "CleanedFile",
    "CleaningError",
    "CleaningPlan",
    "CleaningResult",
    "CleaningStatus",
    "Verdict",
    "clean",
]
