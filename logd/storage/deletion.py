"""Taking segments away in two steps.

A segment is renamed to `.deleted`, so that readers of older views can still open it, and unlinked
after a delay. On a disk so full that not even a name can be changed it is unlinked at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from logd.storage.access import LogContext
from logd.storage.files import is_no_space, join
from logd.storage.layout import DELETED_SUFFIX
from logd.storage.segment import LOG_SUFFIX, SIDECAR_SUFFIXES, Segment


class Deletion:
    """Segments on their way out. `leftovers` are names that an earlier process left."""

    def __init__(self, context: LogContext, leftovers: Sequence[str]) -> None:
        self._context = context
        self._due: list[tuple[int | None, str, Segment | None]] = [
            (0, join(context.directory, name), None) for name in leftovers
        ]

    def rename(self, segments: Sequence[Segment], *, tag: str = "") -> None:
        """Take segments away: renamed now, unlinked some time after.

        `tag` is for names of which another file with the same base offset may want one, too.
        """
        files = self._context.files
        suffix = f"{LOG_SUFFIX}.{tag}{DELETED_SUFFIX}" if tag else LOG_SUFFIX + DELETED_SUFFIX
        for segment in segments:
            path = segment.path
            try:
                self._context.handles.rename(segment, suffix)
                self._due.append((None, segment.path, segment))
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

    def is_due(self, now_ms: int) -> bool:
        """Whether `unlink_due` has something to do."""
        return any(since is None or since <= now_ms for since, _, _ in self._due)

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
