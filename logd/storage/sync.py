"""Which files of a log have unsynced bytes, and the three steps of a sync."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from logd_wire.errors import StorageFailedError, StorageFullError

from logd.storage.access import LogContext
from logd.storage.files import is_no_space
from logd.storage.handles import Handle
from logd.storage.segment import Segment

#: Files with unsynced bytes that a log may have; beyond that a roll syncs the oldest itself.
UNSYNCED_FILES_MAX = 8


class SyncPoint:
    """What one sync has to cover: files and their sizes, names, and the end offset so far."""

    __slots__ = ("_handles", "_state", "done", "end_offset", "generation", "names_version", "sizes")

    def __init__(
        self, state: SyncState, handles: list[Handle], end_offset: int, names_version: int | None
    ) -> None:
        self._state = state
        self._handles = handles
        self.end_offset = end_offset
        self.generation = state.generation
        self.names_version = names_version
        self.sizes = [(handle.segment, handle.segment.size) for handle in handles]
        self.done = False

    def run(self) -> None:
        """Sync, once, on any thread. OSError: the bytes are lost, the log writes no more.

        Never try again: a second sync would report success for pages the kernel has dropped.
        """
        try:
            for handle in self._handles:
                handle.file.sync()
            if self.names_version is not None:
                self._state.sync_names()
        except BaseException:
            self._state.failed = True
            raise
        finally:
            self._state.unpin(self._handles)
        self.done = True


class SyncState:
    """Each dirty segment's handle is pinned until its bytes are synced.

    `failed`: a write or sync failed; the log writes no more. `generation` rises when bytes that a
    point speaks of may be gone.
    """

    def __init__(self, context: LogContext) -> None:
        self.failed = False
        self.generation = 0
        self.dirty: dict[Segment, Handle] = {}
        self._context = context
        self._names_version = 0
        self._names_synced = 0

    def check_usable(self) -> None:
        """Raise StorageFailedError once a write or sync has failed."""
        if self.failed:
            raise StorageFailedError(
                f"{self._context.directory} is closed for writing after a storage error",
                hint="check the disk, then start the node again",
            )

    def guarded(self, work: Callable[[], None]) -> None:
        """Do what may find the disk full, and nothing else that may fail harmlessly."""
        try:
            work()
        except OSError as error:
            if is_no_space(error):
                raise full_error(self._context.directory) from error
            self.failed = True
            raise

    def sync_names(self) -> None:
        """Sync the directory."""
        self._context.files.sync_dir(self._context.directory)

    def names_changed(self) -> None:
        """A file was made: its name counts only after a sync of the directory."""
        self._names_version += 1

    def prepare(self, end_offset: int) -> SyncPoint | None:
        """Take down what a sync must cover now; None: nothing."""
        stale = self._names_synced != self._names_version
        if not self.dirty and not stale:
            return None
        names = self._names_version if stale else None
        handles = list(self.dirty.values())
        for handle in handles:
            self._context.handles.pin(handle)
        return SyncPoint(self, handles, end_offset, names)

    def unpin(self, handles: list[Handle]) -> None:
        """A point has run: it needs its files no more."""
        for handle in handles:
            self._context.handles.release(handle)

    def complete(self, point: SyncPoint) -> list[Handle]:
        """Note what `point` has synced; return handles that are clean now, still pinned."""
        if not point.done:
            raise StorageFailedError(f"{self._context.directory}: a sync that never completed")
        if point.generation != self.generation:
            return []
        if point.names_version is not None:
            self._names_synced = max(self._names_synced, point.names_version)
        return [
            self.dirty.pop(segment)
            for segment, size in point.sizes
            if segment.size == size and segment in self.dirty
        ]

    def forget(self, segments: Iterable[Segment]) -> None:
        """Some segments are deleted: nothing of them needs a sync."""
        for segment in segments:
            handle = self.dirty.pop(segment, None)
            if handle is not None:
                self._context.handles.release(handle)

    def reset(self) -> None:
        """The log was cut or closed: forget all that is unsynced, void the points."""
        self.generation += 1
        self.forget(list(self.dirty))
        self._names_synced = self._names_version

    def bound(self) -> None:
        """Sync the oldest files while too many wait for it. OSError as in `SyncPoint.run`."""
        while len(self.dirty) > UNSYNCED_FILES_MAX:
            segment, handle = next(iter(self.dirty.items()))
            try:
                handle.file.sync()
            except BaseException:
                self.failed = True
                raise
            del self.dirty[segment]
            self._context.handles.release(handle)


def full_error(directory: str) -> StorageFullError:
    """What is raised when there is no room, and nothing was changed."""
    return StorageFullError(
        f"no space to write to {directory}",
        hint="free space, or lower retention.ms or retention.bytes; writing resumes by itself",
    )
