"""The log of one partition: append, sync, roll, cut, expire.

One caller at a time may use the methods that write; views may be read by any thread. Three ends:
what is *written* (`view.written_end_offset`), what is *durable* (`view.durable_end_offset`), and,
outside of here, the high watermark.

A sync is in three steps, so that it can run beside the next writes: `prepare_sync` takes down which
files have unsynced bytes and up to which offset, `SyncPoint.run` syncs them on any thread,
`complete_sync` publishes exactly the offset that was taken down. After a failed sync nothing is
written any more.

The states that a crash can leave are described in `recovery`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from logd_wire import BatchHeader, stamped_parts
from logd_wire.errors import ErrorCode, InvalidRequestError, NotLeaderError

from logd.storage.access import LogContext
from logd.storage.cleaner.control import CleaningControl, CleaningInputs
from logd.storage.config import LogConfig
from logd.storage.deletion import Deletion
from logd.storage.epochs import LeaderEpochs, store_epochs
from logd.storage.files import Files, parent_of, write_plain
from logd.storage.handles import HandleCache
from logd.storage.inside import begin_inside
from logd.storage.reader import LogView
from logd.storage.recovery import Recovered, Recovery, RecoveryReport
from logd.storage.retention import (
    Bounds,
    DeletedSegment,
    Moment,
    RetentionStatus,
    expired,
    may_have_expired,
    retention_status,
)
from logd.storage.segment import Segment, SegmentIndex
from logd.storage.sidecar import identity_of
from logd.storage.snapshots import SnapshotFiles
from logd.storage.sync import SyncPoint, SyncState
from logd.storage.truncation import cut_segments, rebuild_producers
from logd.storage.writing import BatchWriter, is_full, roll_is_due


class Appended(NamedTuple):
    """Where a batch lies. A duplicate has the offset and time of the batch it repeats."""

    base_offset: int
    next_offset: int
    append_time_ms: int
    duplicate: bool


class PartitionLog:
    """See the module's text. Made by `create` or `open`; `close` ends it."""

    def __init__(self, context: LogContext, config: LogConfig, found: Recovered) -> None:
        self._context = context
        self._files = context.files
        self._config = config
        self._producers = found.producers
        self._snapshots = SnapshotFiles(context, found.snapshots, newest_is_end=found.report.clean)
        self._log_start = found.log_start
        self._segments: tuple[Segment, ...] = tuple(found.segments)
        self._active = self._segments[-1]
        self._end = self._active.next_offset
        self._durable_end = self._end
        self._sealed_bytes = sum(segment.size for segment in self._segments[:-1])
        self._deletion = Deletion(context, found.deleted)
        self._sync = SyncState(context)
        self._writer = BatchWriter(context, self._sync)
        self.cleaning = CleaningControl(context, self._deletion, self._sync, self)
        # Counts the changes; a view made of an older version is not kept.
        self._version = 0
        self._view: tuple[int, LogView] | None = None
        self.recovery: RecoveryReport = found.report

    @classmethod
    def create(
        cls,
        files: Files,
        path: str,
        config: LogConfig,
        *,
        handles: HandleCache | None = None,
        now_ms: int = 0,
    ) -> PartitionLog:
        """Make an empty log in a directory that may not hold one; durable on return."""
        if not files.exists(path):
            files.make_dir(path)
        elif files.list_dir(path):
            raise FileExistsError(17, "there is a log already", path)
        store_epochs(files, path, LeaderEpochs())
        log = cls.open(
            files, path, config, durable_end=None, clean=False, now_ms=now_ms, handles=handles
        )
        files.sync_dir(path)
        files.sync_dir(parent_of(path))
        return log

    @classmethod
    def open(
        cls,
        files: Files,
        path: str,
        config: LogConfig,
        *,
        durable_end: int | None,
        clean: bool,
        now_ms: int,
        handles: HandleCache | None = None,
    ) -> PartitionLog:
        """Open a log; `recovery` says what that took.

        `durable_end` is the ledger's end of this log, None if it has none. `clean`: the node's
        last process stopped cleanly. `handles` bounds the open files of several logs together.
        Raises OSError, StorageFullError.
        """
        context = LogContext(
            files=files,
            directory=path,
            identity=identity_of(path),
            handles=handles or HandleCache(files, open_max=8),
            index_interval=config.index_interval_bytes,
            epochs=LeaderEpochs(),
            opened_ms=now_ms,
        )
        # Made just before a kill, it is seen without its name being durable.
        files.sync_dir(parent_of(path))
        found = Recovery(context, config).run(durable_end=durable_end, clean=clean)
        return cls(context, config, found)

    @property
    def view(self) -> LogView:
        """What readers may see now. Any thread; the same object until something changes."""
        version, kept = self._version, self._view
        if kept is not None and kept[0] == version:
            return kept[1]
        # The end first: what is read after it can only be further.
        written_end, durable_end = self._end, self._durable_end
        view = LogView(
            # A copy: when the log is cut, older views keep the epochs and the damage they knew.
            replace(self._context),
            self._segments,
            start_offset=self.start_offset,
            durable_end_offset=durable_end,
            written_end_offset=written_end,
            size_bytes=self._sealed_bytes + self._active.size,
        )
        self._view = (version, view)
        return view

    @property
    def start_offset(self) -> int:
        return self._log_start.offset or 0

    @property
    def failed(self) -> bool:
        """Whether a write or sync failed; nothing is written any more."""
        return self._sync.failed

    @property
    def is_empty(self) -> bool:
        """Whether there is no batch, not even one that a trim has left below the start."""
        return not self._active.size and len(self._segments) == 1

    @property
    def leader_epoch(self) -> int:
        """The newest epoch, -1 before the first."""
        return self._context.epochs.latest

    @property
    def producer_ids(self) -> int:
        """How many producer ids are remembered."""
        return len(self._producers)

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        """Return (largest known epoch <= `epoch`, its end offset); (-1, -1) if there is none."""
        return self.view.end_offset_for_epoch(epoch)

    def begin_epoch(self, leader_epoch: int) -> None:
        """Let `leader_epoch` hold from the end of the log on; durable on return.

        The current epoch again is no change. NotLeaderError: it is older than the current one.
        """
        self._sync.check_usable()
        latest = self._context.epochs.latest
        if leader_epoch == latest:
            return
        if leader_epoch < latest:
            raise NotLeaderError(
                f"leader epoch {leader_epoch} is over: {self._context.directory} is at {latest}",
                code=ErrorCode.FENCED_LEADER_EPOCH,
            )
        epochs = self._context.epochs.begin(leader_epoch, self._end)
        self._replace_epochs(epochs)

    def _forget_empty_epochs(self) -> None:
        """Drop the epochs at the end that have no batch; durable on return."""
        epochs = self._context.epochs.cut_from(self._end)
        if epochs != self._context.epochs:
            self._replace_epochs(epochs)

    def _replace_epochs(self, epochs: LeaderEpochs) -> None:
        self._sync.guarded(lambda: store_epochs(self._files, self._context.directory, epochs))
        self._context.epochs = epochs
        self._version += 1

    def append(
        self, batch: bytes, header: BatchHeader, *, leader_epoch: int, now_ms: int
    ) -> Appended:
        """Append one verified batch: stamp it, write it, remember its producer. Not durable yet.

        Raises FencedError, OutOfOrderSequenceError, NotLeaderError (old epoch), StorageFullError
        (nothing was changed; may be tried again), StorageFailedError and OSError (the log writes
        no more).
        """
        if self._sync.failed or leader_epoch != self._context.epochs.latest:
            self.begin_epoch(leader_epoch)
        if header.producer_id >= 0 and header.base_sequence >= 0:
            known = self._producers.check(header)
            if known is not None:
                next_offset = known.base_offset + header.last_offset_delta + 1
                return Appended(known.base_offset, next_offset, known.append_time_ms, True)
        return self._store(batch, header, leader_epoch, now_ms)

    def append_stored(self, batch: bytes, header: BatchHeader, *, append_ms: int) -> None:
        """Append one verified batch as another replica has stored it, at the end of this log.

        Its producer is recorded, not judged. Epochs without a batch are forgotten first: nobody
        else has them. Raises as `append`.
        """
        assert header.base_offset == self._end, "the caller has checked that"
        if self._sync.failed or header.leader_epoch != self._context.epochs.latest:
            self.begin_stored_epoch(header.leader_epoch)
        self._store(batch, header, header.leader_epoch, append_ms)

    def begin_stored_epoch(self, leader_epoch: int) -> None:
        """Begin the epoch of the batch that `append_stored` gets next. Raises as `begin_epoch`."""
        self._sync.check_usable()
        self._forget_empty_epochs()
        self.begin_epoch(leader_epoch)

    def begin_inside(self, batch: bytes, header: BatchHeader, *, append_ms: int) -> None:
        """Take a verified batch that holds the start of this log, which is empty, as stored."""
        assert self.is_empty and header.base_offset < self._end < header.next_offset
        self._sync.check_usable()
        if self._context.epochs != LeaderEpochs((header.leader_epoch,), (header.base_offset,)):
            self._replace_epochs(LeaderEpochs().begin(header.leader_epoch, header.base_offset))
        self._writer.drop()
        self._sync.forget(self._segments)
        self._sync.guarded(lambda: self._take_first(batch, header, append_ms))

    def _take_first(self, batch: bytes, header: BatchHeader, append_ms: int) -> None:
        segment = begin_inside(self._context, self._active, batch, header, append_ms)
        self._segments = (segment,)
        self._active = segment
        self._end = segment.next_offset
        self._sync.names_changed()
        self._version += 1
        if header.producer_id >= 0 and header.base_sequence >= 0:
            self._producers.record(header, header.base_offset, append_ms)

    def _store(self, batch: bytes, header: BatchHeader, leader_epoch: int, now_ms: int) -> Appended:
        segment = self._active
        base_offset = self._end
        if segment.size and is_full(segment, header, self._end, self._config, now_ms):
            self._roll()
            segment = self._active
        append_ms = max(now_ms, segment.last_append_ms)
        self._writer.add(
            segment,
            header,
            stamped_parts(batch, base_offset, leader_epoch),
            base_offset=base_offset,
            leader_epoch=leader_epoch,
            append_ms=append_ms,
        )
        if header.producer_id >= 0 and header.base_sequence >= 0:
            self._producers.record(header, base_offset, append_ms)
        self._end = segment.next_offset
        self._version += 1
        return Appended(base_offset, segment.next_offset, append_ms, False)

    def prepare_sync(self) -> SyncPoint | None:
        """Take down what a sync must cover now; None: everything written is durable."""
        return self._sync.prepare(self._end)

    def complete_sync(self, point: SyncPoint) -> None:
        """Publish what `point` has made durable. Its `run` must have returned."""
        for handle in self._sync.complete(point):
            self._writer.release(handle)
        if point.generation == self._sync.generation and point.end_offset > self._durable_end:
            self._durable_end = point.end_offset
            self._version += 1

    def _sync_now(self) -> None:
        point = self.prepare_sync()
        if point is not None:
            point.run()
            self.complete_sync(point)

    def roll(self) -> None:
        """Seal the active segment if it holds anything, whatever its age."""
        self._sync.check_usable()
        if self._active.size:
            self._roll()

    def maybe_roll(self, now_ms: int) -> bool:
        """Seal the active segment if its first batch is `segment_ms` old; an idle log needs it."""
        if not roll_is_due(self._active, self._config, now_ms):
            return False
        self._sync.check_usable()
        self._roll()
        return True

    def _roll(self) -> None:
        """Begin a new active segment at the end. StorageFullError: the old one stays active."""
        old = self._active
        if old.size and old.index is None:
            self._writer.open(old)
        new = Segment(self._context.directory, self._end)
        new.index = SegmentIndex()
        self._sync.guarded(lambda: write_plain(self._files, new.path, b""))
        self._snapshots.write(self._producers, self._end)
        old.sealed = True
        old.write_sidecars(self._files, self._context.identity)
        self._writer.drop()
        self._segments = (*self._segments, new)
        self._sealed_bytes += old.size
        self._active = new
        self._sync.names_changed()
        self._version += 1
        self._sync.bound()

    def trim(self, offset: int) -> None:
        """Let the log start at `offset`; durable on return. Whole segments below are deleted.

        A lower offset than the start changes nothing. InvalidRequestError: beyond the end.
        """
        self._sync.check_usable()
        if offset > self._end:
            raise InvalidRequestError(
                f"cannot trim {self._context.directory} to {offset}: it ends at {self._end}",
                hint=f"trim to {self._end} at most",
            )
        if offset <= self.start_offset:
            return
        if offset == self._end and self._active.size:
            self._roll()
        keep = len(self._segments) - 1
        kept = next((i for i in range(keep) if self._segments[i + 1].base_offset > offset), keep)
        self._move_start(offset, kept)

    def needs_retention(self, moment: Moment, limit_offset: int) -> bool:
        """Whether `maybe_roll`, `enforce_retention` or `unlink_deleted` may find work.

        No I/O, and any thread may ask; what it says is of this moment only.
        """
        return (
            roll_is_due(self._active, self._config, moment.now_ms)
            or self._deletion.is_due(moment.now_ms)
            or may_have_expired(self._segments, self._config, self._bounds(limit_offset), moment)
        )

    def enforce_retention(
        self, now_ms: int, limit_offset: int, *, brake: str = "", trusted_since_ms: int = 0
    ) -> list[DeletedSegment]:
        """Delete the oldest segments that retention lets go, none that reaches past the limit.

        `limit_offset` is the high watermark; the rest is a `Moment`. The active segment is rolled
        when its turn comes.
        """
        self._sync.check_usable()
        moment = Moment(now_ms, brake, trusted_since_ms)
        bounds = self._bounds(limit_offset)
        deleted = expired(self._context, self._segments, self._config, bounds, moment)
        if len(deleted) == len(self._segments):
            self._roll()
        if deleted:
            self._move_start(deleted[-1].next_offset, len(deleted))
        return deleted

    def retention_status(self, moment: Moment, limit_offset: int) -> RetentionStatus:
        """What retention would do now; any thread. OSError: a segment cannot be looked at."""
        segments, bounds = self._segments, self._bounds(limit_offset)
        return retention_status(self._context, segments, self._config, bounds, moment)

    @property
    def is_summarized(self) -> bool:
        """Whether `retention_status` knows all that it needs without looking at the disk."""
        return all(segment.summarized or not segment.size for segment in self._segments)

    def _bounds(self, limit_offset: int) -> Bounds:
        return Bounds(self._sealed_bytes + self._active.size, self._end, limit_offset)

    def _move_start(self, offset: int, count: int) -> None:
        """Make the new start durable, then rename the first `count` segments away."""
        self._sync.guarded(lambda: self._log_start.write(offset))
        doomed, self._segments = self._segments[:count], self._segments[count:]
        self._sealed_bytes -= sum(segment.size for segment in doomed)
        self._version += 1
        self._sync.forget(doomed)
        self._deletion.rename(doomed)

    def unlink_deleted(self, now_ms: int) -> int:
        """Unlink renamed segments `file_delete_delay_ms` after the first call that met them.

        Returns how many were unlinked.
        """
        return self._deletion.unlink_due(now_ms, self._config.file_delete_delay_ms)

    def cleaning_inputs(self) -> CleaningInputs:
        """What the cleaner needs of this log now; any thread."""
        return CleaningInputs(
            self._segments,
            self._config,
            self.start_offset,
            self._durable_end,
            self._sync.generation,
            self._producers,
        )

    def replace_segments(self, sources: Sequence[Segment], segment: Segment) -> None:
        """Take a cleaned segment in the place of its sources; its file is where it belongs."""
        at = self._segments.index(sources[0])
        behind = self._segments[at + len(sources) :]
        self._sealed_bytes += segment.size - sum(source.size for source in sources)
        self._segments = (*self._segments[:at], segment, *behind)
        self._version += 1

    def truncate(self, offset: int) -> int:
        """Cut the log to whole batches below `offset`; durable on return. Returns the new end.

        Epochs without a batch are forgotten: at its end, the log loses those alone. The caller has
        made a ledger line at or below the new end durable before. Older points publish no more.
        """
        self._sync.check_usable()
        if offset > self._end:
            return self._end
        offset = max(offset, self.start_offset)
        self._sync_now()
        self._writer.drop()
        self._sync.reset()
        border = self.view.batch_border(offset)
        self._sync.guarded(lambda: self.cleaning.lower(border))
        try:
            segments = cut_segments(self._context, self._segments, self._snapshots.offsets, offset)
        except BaseException:
            self._sync.failed = True
            raise
        self._segments = tuple(segments)
        self._active = segments[-1]
        self._end = max(self._active.next_offset, self.start_offset)
        self._durable_end = min(self._durable_end, self._end)
        self._sealed_bytes = sum(segment.size for segment in segments[:-1])
        self._snapshots.newest_end = -1
        self._context.damage = self._context.damage.below(self._end)
        self._version += 1
        self._forget_empty_epochs()
        self._producers = rebuild_producers(
            self._context,
            self._segments,
            self._snapshots.offsets,
            self._config.producer_ids_max,
        )
        if self._active.next_offset < self._end:
            # The start lies inside of the batch that was cut: nothing of it is left.
            self._roll()
            self._move_start(self._end, len(self._segments) - 1)
            self._sync_now()
        return self._end

    def reconfigure(self, config: LogConfig) -> None:
        """Take other settings from now on."""
        self._config = config
        self._context.index_interval = config.index_interval_bytes
        self._producers.ids_max = config.producer_ids_max

    def close(self, *, clean: bool) -> None:
        """Close the files; `clean` syncs first and leaves what makes the next opening short.

        Not after an error: then nothing is written. Raises OSError if the last sync fails.
        """
        if clean and not self._sync.failed:
            self._sync_now()
            if self._active.sidecars_stale and self._active.size:
                self._active.write_sidecars(self._files, self._context.identity)
            self._snapshots.write(self._producers, self._end)
        self._writer.drop()
        self._sync.reset()
        self._sync.failed = True
        for segment in self._segments:
            self._context.handles.drop(segment)
