"""Open segment files: few at a time, opened when used.

A handle is pinned while it is read or has bytes that are not synced; handles that nobody pins are
closed, the longest unused first, beyond `open_max`. One cache may serve all logs of a node.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from logd.storage.files import File, Files
from logd.storage.segment import Segment


class Handle:
    """An open segment file. `lock` guards the first look at the segment."""

    __slots__ = ("dropped", "file", "lock", "pins", "segment")

    def __init__(self, segment: Segment, file: File) -> None:
        self.segment = segment
        self.file = file
        self.pins = 0
        self.dropped = False
        self.lock = threading.Lock()


class HandleCache:
    """Any thread may call."""

    def __init__(self, files: Files, open_max: int = 256) -> None:
        self._files = files
        self._open_max = open_max
        self._lock = threading.Lock()
        self._handles: OrderedDict[Segment, Handle] = OrderedDict()

    def __len__(self) -> int:
        return len(self._handles)

    def acquire(self, segment: Segment) -> Handle:
        """Return the open file of a segment, pinned. OSError where it cannot be opened."""
        with self._lock:
            handle = self._handles.get(segment)
            if handle is None:
                handle = Handle(segment, self._open(segment))
                self._handles[segment] = handle
            handle.pins += 1
            self._handles.move_to_end(segment)
            if len(self._handles) > self._open_max:
                self._close_idle()
            return handle

    def pin(self, handle: Handle) -> None:
        """Pin an acquired handle once more."""
        with self._lock:
            handle.pins += 1

    def release(self, handle: Handle) -> None:
        """Give a pin back."""
        with self._lock:
            handle.pins -= 1
            if handle.dropped and not handle.pins:
                handle.file.close()

    def drop(self, segment: Segment) -> None:
        """Close a segment's file as soon as nobody reads it: it was deleted or replaced."""
        with self._lock:
            handle = self._handles.pop(segment, None)
            if handle is not None:
                handle.dropped = True
                if not handle.pins:
                    handle.file.close()

    def close(self) -> None:
        """Close everything; readers in flight keep their file until they are done."""
        for segment in list(self._handles):
            self.drop(segment)

    def rename(self, segment: Segment, suffix: str) -> None:
        """Give a segment's file another name; nobody opens it in between. Raises OSError."""
        with self._lock:
            before, path = segment.suffix, segment.path
            segment.suffix = suffix
            try:
                self._files.rename(path, segment.path)
            except BaseException:
                segment.suffix = before
                raise

    def _open(self, segment: Segment) -> File:
        return self._files.open(segment.path, read_only=segment.sealed)

    def _close_idle(self) -> None:
        for segment, handle in list(self._handles.items()):
            if len(self._handles) <= self._open_max:
                return
            if not handle.pins:
                del self._handles[segment]
                handle.file.close()
                if segment.sealed:
                    segment.index = None
