"""Cutting the end of a log, and the producer state of what is left."""

from __future__ import annotations

from collections.abc import Sequence

from logd.storage.access import LogContext
from logd.storage.damage import Damage
from logd.storage.layout import snapshot_path
from logd.storage.producers import ProducerState, load_snapshot
from logd.storage.segment import (
    SIDECAR_SUFFIXES,
    Segment,
    SegmentIndex,
    remove_segment_files,
)
from logd.storage.walk import Walker


def cut_segments(
    context: LogContext, segments: Sequence[Segment], snapshots: list[int], offset: int
) -> list[Segment]:
    """Keep whole batches below `offset`; return the segments, of which the last is active.

    Producer snapshots from behind the new end are removed too: the same offsets may come to hold
    other batches. Durable on return. The order is described in `recovery`.
    """
    files = context.files
    kept = [segment for segment in segments if segment.base_offset < offset] or [segments[0]]
    for segment in segments:
        context.handles.drop(segment)
    for segment in reversed(segments[len(kept) :]):
        remove_segment_files(files, segment)
        files.sync_dir(context.directory)
    old = kept.pop()
    active = _recount(context, old, offset)
    drop_snapshots(context, snapshots, active.next_offset)
    for suffix in SIDECAR_SUFFIXES:
        if files.exists(old.sidecar(suffix)):
            files.unlink(old.sidecar(suffix))
    file = files.open(old.path)
    try:
        file.truncate(active.size)
        file.sync()
    finally:
        file.close()
    files.sync_dir(context.directory)
    return [*kept, active]


def drop_snapshots(context: LogContext, snapshots: list[int], end_offset: int) -> bool:
    """Unlink snapshots behind `end_offset`; return whether there were any, to be synced."""
    dropped = [offset for offset in snapshots if offset > end_offset]
    for offset in dropped:
        path = snapshot_path(context.directory, offset)
        if context.files.exists(path):
            context.files.unlink(path)
        snapshots.remove(offset)
    return bool(dropped)


def _recount(context: LogContext, old: Segment, offset: int) -> Segment:
    """Walk a segment up to `offset` and return fresh counters."""
    fresh = Segment(old.directory, old.base_offset)
    fresh.index = SegmentIndex()
    append_ms = old.last_append_ms if old.last_append_ms >= 0 else context.opened_ms
    with Walker.over(
        context.files,
        old.path,
        segment_base=old.base_offset,
        end_position=old.size,
        expected=old.base_offset,
        epochs=context.epochs,
        bound=min(offset, old.next_offset),
        resync=True,
    ) as walker:
        for item in walker:
            if isinstance(item, Damage):
                context.damage.add(item)
                fresh.next_offset = item.end_offset
            elif item.header.next_offset <= offset:
                fresh.add_found(item, append_ms, context.index_interval)
    return fresh


def rebuild_producers(
    context: LogContext, segments: Sequence[Segment], snapshots: list[int], ids_max: int
) -> ProducerState:
    """Return the producer state at the end of `segments`."""
    state, start = ProducerState(ids_max), 0
    for offset in reversed([each for each in snapshots if each >= segments[0].base_offset]):
        path = snapshot_path(context.directory, offset)
        found = load_snapshot(context.files, path, context.identity, offset, ids_max)
        if found is not None:
            state, start = found, offset
            break
    for segment in segments:
        if segment.next_offset > start and ids_max > 0:
            _replay(context, segment, state, start)
    return state


def _replay(context: LogContext, segment: Segment, state: ProducerState, start: int) -> None:
    with Walker.over(
        context.files,
        segment.path,
        segment_base=segment.base_offset,
        end_position=segment.size,
        expected=segment.base_offset,
        epochs=context.epochs,
        bound=segment.next_offset,
        resync=True,
    ) as walker:
        for item in walker:
            if isinstance(item, Damage):
                if item.end_offset > start:
                    state.clear()
                continue
            header = item.header
            if header.producer_id >= 0 <= header.base_sequence and header.base_offset >= start:
                state.record(header, header.base_offset, context.opened_ms)
