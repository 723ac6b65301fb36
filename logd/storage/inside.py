"""The first batch of a log that starts inside of it.

A trim may leave a log that starts at any offset; the batch that holds it stays whole. A replica
that begins there gets that batch first, and it belongs into a segment that begins below the start.

    <base>.log.copy written and synced -> renamed -> <start>.log unlinked -> directory synced

A crash keeps any of the names. While `<start>.log` is there, opening takes what lies below for a
remainder of retention and removes it: an empty log, as with none of the two. With `<base>.log`
alone the batch is there, and whole: it was synced before it had that name.
"""

from __future__ import annotations

from crc32c import crc32c
from logd_wire import BatchHeader

from logd.storage.access import LogContext
from logd.storage.files import write_synced
from logd.storage.layout import COPY_SUFFIX
from logd.storage.segment import HEAD_BYTES, Segment, SegmentIndex, remove_segment_files


def begin_inside(
    context: LogContext, empty: Segment, batch: bytes, header: BatchHeader, append_ms: int
) -> Segment:
    """Return the segment that holds `batch` and takes the place of `empty`.

    It counts after a sync of the directory, which is left to the next sync point.
    After OSError for want of space the log is as before, and it may be tried again.
    """
    files = context.files
    segment = Segment(context.directory, header.base_offset)
    segment.index = SegmentIndex()
    write_synced(files, segment.path + COPY_SUFFIX, batch)
    files.rename(segment.path + COPY_SUFFIX, segment.path)
    context.handles.drop(empty)
    remove_segment_files(files, empty)
    segment.add(
        header,
        header.base_offset,
        header.leader_epoch,
        position=0,
        append_ms=append_ms,
        header_crc=crc32c(batch[:HEAD_BYTES]),
        index_interval=context.index_interval,
    )
    return segment
