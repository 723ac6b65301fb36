"""What lies beyond the ledger after an unclean stop: finding it, and putting it into fresh files.

The crash windows are described in `recovery`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from logd_wire.errors import StorageFullError

from logd.storage.damage import Damage
from logd.storage.epochs import LeaderEpochs
from logd.storage.files import Files, is_no_space, join, pwrite_all
from logd.storage.layout import COPY_SUFFIX, Layout
from logd.storage.segment import (
    LOG_SUFFIX,
    SIDECAR_SUFFIXES,
    Segment,
    SegmentIndex,
    remove_segment_files,
    segment_name,
)
from logd.storage.walk import Found, Walker

_COPY_BYTES = 4 << 20


class TailBegin(NamedTuple):
    """The tail begins with the batch at `offset`.

    It lies at `position` in the segment `segment_base` (-1: there is none), or at the start of a
    file of its own.
    """

    offset: int
    segment_base: int
    position: int


class TailFile(NamedTuple):
    """A piece of the tail: bytes from `source_position` on, and the segment it will be."""

    source_base: int
    source_position: int
    segment: Segment


@dataclass(slots=True)
class Tail:
    """Pieces that follow each other from `begin` on, and how much behind them is dropped."""

    begin: TailBegin
    files: list[TailFile] = field(default_factory=list)
    cut_bytes: int = 0
    removed: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(file.segment.size for file in self.files)


def find_tail(
    files: Files,
    directory: str,
    layout: Layout,
    *,
    begin: TailBegin,
    epochs: LeaderEpochs | None,
    on_batch: Callable[[Segment, Found], None],
) -> Tail:
    """Follow valid batches from `begin` on, from file to file, up to the first that does not fit.

    `on_batch` counts each into its new segment.
    """
    tail = Tail(begin)
    source, position = begin.segment_base, begin.position
    if begin.offset in layout.segments and begin.offset != source:
        source, position = begin.offset, 0
    expected = begin.offset
    while source >= 0:
        size = layout.segments[source]
        segment = Segment(directory, expected)
        segment.index = SegmentIndex()
        with Walker.over(
            files,
            join(directory, segment_name(source) + LOG_SUFFIX),
            segment_base=source,
            position=position,
            end_position=size,
            expected=expected,
            epochs=epochs,
        ) as walker:
            for item in walker:
                assert not isinstance(item, Damage), "this walk ends at damage"
                on_batch(segment, item._replace(position=item.position - position))
        if segment.batches:
            tail.files.append(TailFile(source, position, segment))
        expected = walker.expected
        goes_on = walker.position >= size and expected in layout.segments and expected != source
        source, position = (expected, 0) if goes_on else (-1, 0)
    tail.cut_bytes = _bytes_beyond(layout, begin) - tail.size
    return tail


def _bytes_beyond(layout: Layout, begin: TailBegin) -> int:
    beyond = sum(size for base, size in layout.segments.items() if base >= begin.offset)
    if begin.segment_base >= 0:
        beyond += layout.segments[begin.segment_base] - begin.position
    return beyond


def install_tail(
    files: Files,
    directory: str,
    layout: Layout,
    tail: Tail,
    *,
    last: Segment | None,
    cut_at: int | None,
) -> list[str]:
    """Make the tail durable in fresh files and remove what is not part of it.

    `last` is the segment below the tail, cut to `cut_at` bytes (None: left as it is). Returns the
    names that were removed. Raises StorageFullError, with everything still as it was.
    """
    for piece in tail.files:
        _copy(files, directory, piece)
    for piece in tail.files:
        path = join(directory, segment_name(piece.segment.base_offset))
        files.rename(path + LOG_SUFFIX + COPY_SUFFIX, path + LOG_SUFFIX)
        _remove_sidecars(files, piece.segment)
    if tail.files:
        files.sync_dir(directory)
    if last is not None:
        _remove_sidecars(files, last)
        if cut_at is not None and layout.segments[last.base_offset] > cut_at:
            file = files.open(last.path)
            try:
                file.truncate(cut_at)
                file.sync()
            finally:
                file.close()
    removed = []
    kept = {piece.segment.base_offset for piece in tail.files}
    for base in sorted(layout.segments, reverse=True):
        if base >= tail.begin.offset and base not in kept:
            segment = Segment(directory, base)
            remove_segment_files(files, segment)
            removed.append(segment_name(base) + LOG_SUFFIX)
    if tail.files or removed or last is not None:
        files.sync_dir(directory)
    return removed


def _remove_sidecars(files: Files, segment: Segment) -> None:
    """A sidecar that speaks of other bytes of the same length must not come back later."""
    for suffix in SIDECAR_SUFFIXES:
        path = segment.sidecar(suffix)
        if files.exists(path):
            files.unlink(path)


def _no_room(directory: str, piece: TailFile) -> StorageFullError:
    return StorageFullError(
        f"no space to recover {piece.segment.size} bytes of {directory}",
        hint="free space on the data directory's disk; it is tried again by itself",
    )


def _copy(files: Files, directory: str, piece: TailFile) -> None:
    if files.free_bytes() < piece.segment.size:
        # Not begun, so that an attempt does not take the last room from everybody else.
        raise _no_room(directory, piece)
    source = files.open(
        join(directory, segment_name(piece.source_base) + LOG_SUFFIX), read_only=True
    )
    try:
        target = files.open(piece.segment.path + COPY_SUFFIX, create=True)
        try:
            target.truncate(0)
            for done in range(0, piece.segment.size, _COPY_BYTES):
                size = min(_COPY_BYTES, piece.segment.size - done)
                pwrite_all(target, source.pread(size, piece.source_position + done), done)
            target.sync()
        finally:
            target.close()
    except OSError as error:
        if not is_no_space(error):
            raise
        raise _no_room(directory, piece) from error
    finally:
        source.close()
