"""Putting cleaned files in the place of segments, so that a crash at any point loses nothing.

    <base>-<next>-<tag>.cleaned    written and synced by the pass, with sidecars beside it
 1  renamed to <base>-<next>.swap; directory synced            from here on it counts
 2  sidecars of the sources unlinked, sources renamed to <base>.log.<tag>.deleted; directory synced
 3  <base>-<next>.swap renamed to <base>.log, the new sidecars to their names; directory synced

A crash before 1 is durable leaves the sources as they were, and files that the next start removes.
After it, a start finds the `.swap`: it removes every segment with a base in `[base, next)`, with
sidecars, syncs the directory, and does step 3. Between: all of it may be done already, in part or
wholly, and doing it again changes nothing. The bytes of the `.swap` were synced before the name
was given, so wherever the name is, they are. No name of a source is used for the new file before
the sources' sidecars are gone for good, so that none of them can speak of other bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from logd.storage.access import LogContext
from logd.storage.cleaner.result import CleanedFile
from logd.storage.deletion import Deletion
from logd.storage.files import Files, join
from logd.storage.layout import CLEANED_SUFFIX, Layout, swap_name
from logd.storage.segment import SIDECAR_SUFFIXES, Segment, remove_segment_files


def begin_swap(context: LogContext, cleaned: CleanedFile) -> None:
    """Give the name of step 1. OSError: nothing has happened."""
    swap = join(context.directory, swap_name(cleaned.base_offset, cleaned.next_offset))
    context.files.rename(join(context.directory, cleaned.name), swap)


def swap_in(
    context: LogContext, deletion: Deletion, cleaned: CleanedFile, sources: Sequence[Segment]
) -> Segment:
    """Do what follows the name; return the new segment, sealed. OSError: only a start can go on."""
    files, directory = context.files, context.directory
    swap = join(directory, swap_name(cleaned.base_offset, cleaned.next_offset))
    files.sync_dir(directory)
    tag = cleaned.name.removesuffix(CLEANED_SUFFIX).rpartition("-")[2]
    deletion.rename(sources, tag=tag)
    segment = _segment_of(context, cleaned)
    files.rename(swap, segment.path)
    for suffix in SIDECAR_SUFFIXES:
        source = join(directory, cleaned.sidecar(suffix))
        if files.exists(source):
            files.rename(source, segment.sidecar(suffix))
    files.sync_dir(directory)
    return segment


def _segment_of(context: LogContext, cleaned: CleanedFile) -> Segment:
    segment = Segment(context.directory, cleaned.base_offset)
    segment.size = cleaned.size
    segment.sealed = True
    segment.take_counters(cleaned.counters, list(cleaned.epoch_starts))
    return segment


def finish_swaps(files: Files, directory: str, layout: Layout) -> list[str]:
    """After a crash: put every `.swap` in place; return the names of segments that went."""
    removed = []
    for base, next_offset in sorted(layout.swaps.items()):
        for other in sorted({base, *layout.segments}):
            if base <= other < next_offset:
                if other in layout.segments:
                    removed.append(f"{other:020d}.log")
                remove_segment_files(files, Segment(directory, other))
        files.sync_dir(directory)
        source = join(directory, swap_name(base, next_offset))
        files.rename(source, Segment(directory, base).path)
        files.sync_dir(directory)
    return removed


def discard(files: Files, directory: str, cleaned: Sequence[CleanedFile]) -> None:
    """Remove files that are not wanted any more."""
    for file in cleaned:
        for name in file.names:
            path = join(directory, name)
            if files.exists(path):
                files.unlink(path)
