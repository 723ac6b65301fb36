"""What the writer and the readers of one partition log share, and the first look at a segment.

The first use of a segment after a start checks its two ends against the digest and brings its
index into memory. A digest that disagrees sends a walk over the whole segment: that finds damaged
ranges, or, if every batch is valid but they are not the batches that were sealed, a file that does
not belong here. A missing, cut, stale or foreign index is made anew by the same walk.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from logd_wire import read_header
from logd_wire.errors import CorruptBatchError
from logd_wire.limits import BATCH_HEADER_BYTES

from logd.storage.damage import Damage, DamageMap
from logd.storage.epochs import LeaderEpochs
from logd.storage.files import File, Files
from logd.storage.handles import Handle, HandleCache
from logd.storage.segment import Segment, SegmentIndex
from logd.storage.walk import Walker


@dataclass(slots=True)
class LogContext:
    """One partition's surroundings. `epochs` is replaced by the writer, never changed.

    `opened_ms` stands in for append times that a crash has lost: later than the truth, so that
    retention by time never deletes early.
    """

    files: Files
    directory: str
    identity: int
    handles: HandleCache
    index_interval: int
    epochs: LeaderEpochs
    opened_ms: int
    damage: DamageMap = field(default_factory=DamageMap)


def index_of(context: LogContext, handle: Handle) -> SegmentIndex:
    """Return the index of an open segment; the first call after a start checks the segment."""
    index = handle.segment.index
    if index is not None:
        return index
    with handle.lock:
        segment = handle.segment
        if segment.index is None:
            _load(context, segment, handle.file)
        assert segment.index is not None, "loading either takes the index or makes it"
        return segment.index


def summarize(context: LogContext, segment: Segment) -> None:
    """Have the counters of a segment (times, batches) in memory."""
    if segment.summarized or segment.load_digest(context.files, context.identity):
        return
    handle = context.handles.acquire(segment)
    try:
        with handle.lock:
            if not segment.summarized:
                _rebuild(context, segment, handle.file)
    finally:
        context.handles.release(handle)


def _load(context: LogContext, segment: Segment, file: File) -> None:
    has_digest = segment.summarized or segment.load_digest(context.files, context.identity)
    if (
        has_digest
        and ends_match(segment, file)
        and segment.load_index(context.files, context.identity)
    ):
        return
    sealed_crc = segment.header_crc if has_digest else None
    damaged = _rebuild(context, segment, file)
    if damaged:
        return
    if sealed_crc in (None, segment.header_crc):
        if segment.sealed:
            # They only save the next look some work: a reader does not fail for them.
            with contextlib.suppress(OSError):
                segment.write_sidecars(context.files, context.identity)
    else:
        context.damage.add(
            Damage(
                segment.base_offset,
                segment.next_offset,
                segment.base_offset,
                0,
                "the file holds other batches than were sealed here",
            )
        )


def ends_match(segment: Segment, file: File) -> bool:
    """Whether the first and the last batch are those that the counters speak of."""
    if not segment.batches:
        return segment.size == 0
    if file.size() < segment.size:
        return False
    for position, crc in ((0, segment.first_crc), (segment.last_position, segment.last_crc)):
        try:
            header = read_header(file.pread(BATCH_HEADER_BYTES, position))
        except CorruptBatchError:
            return False
        if header.crc != crc:
            return False
    return header.next_offset == segment.next_offset


def _rebuild(context: LogContext, segment: Segment, file: File) -> bool:
    """Walk the segment, replace counters and index; return whether damage was found."""
    fresh = Segment(segment.directory, segment.base_offset)
    fresh.index = SegmentIndex()
    known_ms = segment.last_append_ms if segment.summarized else -1
    append_ms = known_ms if known_ms >= 0 else context.opened_ms
    walker = Walker(
        file,
        segment_base=segment.base_offset,
        position=0,
        end_position=segment.size,
        expected=segment.base_offset,
        epochs=context.epochs,
        bound=segment.next_offset,
        resync=True,
    )
    damaged = False
    for item in walker:
        if isinstance(item, Damage):
            damaged = True
            context.damage.add(item)
        else:
            fresh.add_found(item, append_ms, context.index_interval)
    take_counters(segment, fresh)
    return damaged


_COUNTERS = (
    "batches",
    "epoch_starts",
    "first_append_ms",
    "first_crc",
    "header_crc",
    "indexed_position",
    "last_append_ms",
    "last_crc",
    "last_position",
    "max_timestamp",
)


def take_counters(segment: Segment, fresh: Segment) -> None:
    """Take what a walk counted; base, size and end of the segment stay."""
    for name in _COUNTERS:
        setattr(segment, name, getattr(fresh, name))
    segment.summarized = True
    segment.index = fresh.index
