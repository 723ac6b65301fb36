"""Opening a partition log: what files a crash can leave, and why opening is right.

A partition directory holds segments (`<base>.log`) with sidecars, `log-start`, `leader-epochs`,
producer snapshots. E is the log's end in the ledger: everything below was synced. Nothing below E
is ever cut, and nothing at or above E counts before it was copied to a fresh file and synced.

**Roll.** `<end>.log` is made; the sync point of the next round syncs the old file, the new file
and then the directory before anything in the new file counts. A crash leaves: the old segment with
an unsynced tail and no new one; the new one without the old one's tail (a hole); an empty new one.
All of it lies at or above E: the tail is taken from E on as far as batches follow each other, and
files that do not continue it are removed. Sidecars are written unsynced: they verify or they are
made anew, and those of segments that reach beyond E are not believed.

**Tail copy.** From E on, batches are copied to `<base>.log.copy`, one for each file they lie in;
all copies are synced, then renamed over `<base>.log`, the directory is synced, then the segment
that holds E is cut at E and synced, then later files that are not part of the tail are unlinked.
A crash before a rename leaves copies, which the next opening removes and makes again from the
same sources. Between renames: each `<base>.log` holds either the source or its copy, and both are
the same batches. After the renames, before the cut: the bytes behind E are there twice; the file
that begins at E wins, and the cut is done again. In every case the next opening has the same E and
finds the same batches or, of what had not been synced, fewer.

**Trim and retention.** `log-start` is made durable first, then segments below it are renamed to
`<base>.log.deleted`, oldest first, and unlinked later. A crash in between leaves whole segments
below `log-start`, in any selection; opening removes them. A first segment *above* `log-start` is
therefore never a trace of retention, but a missing file: damage.

**Cleaning.** The steps, and why finishing them is right, are in `cleaner.swap`: it is done first,
before anything else is looked at. All of it lies below E. A cleaned segment is an ordinary one: its
batches follow each other, empty ones standing where others were, the batches in the windows of
producers among them, so that walking it gives the producer state that walking its sources gave.

**Truncation.** The caller first lowers the ledger (durably) to the new end or below: a line inside
of the batch that is cut would have its beginning missed. Segments above are unlinked, newest first,
the directory is synced, the file is cut and synced. Whatever a crash brings back lies at or above
the lowered E; it is a tail like any other.

**First batch of a copy.** Where a log begins inside of a batch: see `inside`. A log that is to be
copied from elsewhere is forgotten by the ledger (durably) before its directory is deleted, so that
an opening finds all of it beyond E, or none.

**Leader epochs.** `leader-epochs` is replaced durably before the first batch of an epoch is
written. Entries that begin behind the recovered end had no batch that survived; they are dropped.

**Create.** The directory, `log-start`, `leader-epochs` and the first segment are made, then
synced, before the log is used. A crash leaves any selection of them; opening adds what is missing.

**Clean stop.** With the node's clean-stop marker, the digest of the last segment and a snapshot at
its end stand for a walk; if either does not verify, or the ledger is ahead, the stop is treated as
unclean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from logd.storage.access import LogContext, take_counters
from logd.storage.checkpoint import OffsetCheckpoint
from logd.storage.cleaner.swap import finish_swaps
from logd.storage.config import LogConfig
from logd.storage.damage import Damage
from logd.storage.epochs import LeaderEpochs, epochs_from, load_epochs, store_epochs
from logd.storage.files import join
from logd.storage.layout import LOG_START, Layout, read_layout, snapshot_path
from logd.storage.producers import ProducerState, load_snapshot
from logd.storage.segment import Segment, SegmentIndex, remove_segment_files
from logd.storage.tail import Tail, TailBegin, find_tail, install_tail
from logd.storage.truncation import drop_snapshots
from logd.storage.walk import Found, Walker


@dataclass(slots=True)
class RecoveryReport:
    """What opening found and did. Sizes in bytes."""

    clean: bool = False
    scanned_bytes: int = 0
    cut_bytes: int = 0
    copied_bytes: int = 0
    damage: tuple[Damage, ...] = ()
    rebuilt: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(slots=True)
class Recovered:
    """A log as opening leaves it; the last segment is the active one."""

    segments: list[Segment]
    producers: ProducerState
    snapshots: list[int]
    deleted: list[str]
    log_start: OffsetCheckpoint
    report: RecoveryReport
    removed: list[str] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)


class _Walked(NamedTuple):
    """A walked segment: what was counted, whether damage was met, how far the walk came."""

    segment: Segment
    damaged: bool
    end_position: int


class Recovery:
    """One opening; `run` does it."""

    def __init__(self, context: LogContext, config: LogConfig) -> None:
        self._context = context
        self._config = config
        self._files = context.files
        self._directory = context.directory
        self._epochs_known = True
        self._producers = ProducerState(config.producer_ids_max)
        self._replayed_from = 0

    def run(self, *, durable_end: int | None, clean: bool) -> Recovered:
        """Bring the directory in order and return the log. Raises OSError."""
        layout, swapped = self._read_layout()
        log_start = OffsetCheckpoint(self._files, join(self._directory, LOG_START))
        found = Recovered(
            [],
            self._producers,
            sorted(layout.snapshots),
            layout.deleted,
            log_start,
            RecoveryReport(),
        )
        found.removed += swapped
        for name in layout.leftovers:
            self._files.unlink(join(self._directory, name))
            found.removed.append(name)
        self._load_start(found, layout, clean=clean)
        self._load_epochs(found)
        start = log_start.offset or 0
        ledger_end = max(start, durable_end or 0)
        if not (clean and self._open_clean(found, layout, start, durable_end)):
            self._open_unclean(found, layout, start, ledger_end)
        self._drop_from_behind(found)
        found.report.damage = self._context.damage.ranges
        found.report.removed = tuple(found.removed)
        found.report.rebuilt = tuple(found.rebuilt)
        return found

    def _read_layout(self) -> tuple[Layout, list[str]]:
        """The names there are once every swap is finished, and which segments went with that."""
        layout = read_layout(self._files.list_dir(self._directory))
        if not layout.swaps:
            return layout, []
        removed = finish_swaps(self._files, self._directory, layout)
        return read_layout(self._files.list_dir(self._directory)), removed

    def _load_start(self, found: Recovered, layout: Layout, *, clean: bool) -> None:
        if found.log_start.offset is not None:
            if not clean:
                # Read from a page cache that a failed sync may have left clean: written again,
                # so that what is served now is also what a power loss leaves.
                found.log_start.write(found.log_start.offset)
            return
        # Both slots gone: only before the first use, or damaged. Then no trim is remembered.
        found.log_start.write(min(layout.segments, default=0))
        found.rebuilt.append(LOG_START)

    def _load_epochs(self, found: Recovered) -> None:
        epochs = load_epochs(self._files, self._directory)
        self._epochs_known = epochs is not None
        self._context.epochs = epochs or LeaderEpochs()
        if epochs is None:
            found.rebuilt.append("leader-epochs")

    # -- after a clean stop ----------------------------------------------------------------

    def _open_clean(
        self, found: Recovered, layout: Layout, start: int, durable_end: int | None
    ) -> bool:
        if not layout.segments or not self._epochs_known:
            return False
        bases = _live_bases(layout, start)
        if bases[0] > start:
            return False
        segments = self._known_segments(layout, bases)
        active = segments[-1]
        active.sealed = False
        if active.size and not active.load_digest(self._files, self._context.identity):
            return False
        if not active.size:
            active.summarized = True
            active.index = SegmentIndex()
            active.sidecars_stale = False
        end = active.next_offset
        producers = self._snapshot(end)
        if producers is None or end < max(start, durable_end or 0):
            return False
        found.producers = producers
        found.segments = segments
        found.report.clean = True
        self._remove_below_start(found, layout, bases)
        return True

    def _snapshot(self, offset: int) -> ProducerState | None:
        return load_snapshot(
            self._files,
            snapshot_path(self._directory, offset),
            self._context.identity,
            offset,
            self._config.producer_ids_max,
        )

    def _known_segments(self, layout: Layout, bases: list[int]) -> list[Segment]:
        segments = []
        for base, next_base in zip(bases, [*bases[1:], *bases[-1:]], strict=True):
            segment = Segment(self._directory, base)
            segment.size = layout.segments[base]
            segment.next_offset = next_base
            segment.sealed = True
            segment.summarized = False
            segments.append(segment)
        return segments

    def _remove_below_start(self, found: Recovered, layout: Layout, bases: list[int]) -> None:
        for base in sorted(layout.segments):
            if base < bases[0]:
                self._remove(found, base)

    def _remove(self, found: Recovered, base: int) -> None:
        segment = Segment(self._directory, base)
        remove_segment_files(self._files, segment)
        found.removed.append(segment.path.rpartition("/")[2])

    # -- after anything else ---------------------------------------------------------------

    def _open_unclean(self, found: Recovered, layout: Layout, start: int, ledger_end: int) -> None:
        below = [base for base in _live_bases(layout, start) if base < ledger_end]
        first = below[0] if below else ledger_end
        if first > start:
            self._context.damage.add(
                Damage(start, first, start, 0, "the files of these offsets are missing")
            )
        self._choose_snapshot(found, first, below[-1] if below else ledger_end)
        sealed = self._known_segments(layout, below)
        if sealed:
            sealed[-1].next_offset = ledger_end
        for segment in sealed[:-1]:
            self._check_sealed(found, segment)
        last = self._walk_last(found, sealed[-1]) if sealed else None
        tail = find_tail(
            self._context.files,
            self._directory,
            layout,
            begin=TailBegin(
                max(ledger_end, last.segment.next_offset if last else 0),
                last.segment.base_offset if last else -1,
                last.end_position if last else 0,
            ),
            epochs=self._context.epochs if self._epochs_known else None,
            on_batch=self._count_tail,
        )
        found.report.scanned_bytes += tail.size
        if not self._epochs_known:
            ends = [last.segment] if last else []
            self._collect_epochs([*sealed[:-1], *ends, *(file.segment for file in tail.files)])
        self._settle(found, layout, sealed[:-1], last, tail)
        self._remove_below_start(found, layout, below or [start])

    def _choose_snapshot(self, found: Recovered, first: int, last: int) -> None:
        """Take the newest snapshot that the walk to come can continue.

        One from before the first segment is of no use: what lay between is gone, and state that
        lacks batches refuses what follows them, where no state takes any sequence.
        """
        for offset in reversed(found.snapshots):
            if first <= offset <= last:
                state = self._snapshot(offset)
                if state is not None:
                    self._producers = state
                    self._replayed_from = offset
                    break
        found.producers = self._producers

    def _check_sealed(self, found: Recovered, segment: Segment) -> None:
        """Believe a digest, or walk: also where producer state or epochs must be collected."""
        known = segment.load_digest(self._files, self._context.identity)
        if known and segment.next_offset <= self._replayed_from:
            return
        walked = self._walk(found, segment)
        if known:
            return
        take_counters(segment, walked.segment)
        found.rebuilt.append(segment.path.rpartition("/")[2])
        if not walked.damaged:
            segment.write_sidecars(self._files, self._context.identity)
        segment.index = None

    def _walk_last(self, found: Recovered, segment: Segment) -> _Walked:
        """Walk the segment that holds the end of the ledger; counters of what lies below it."""
        walked = self._walk(found, segment)
        if walked.damaged:
            # What is appended from now on must not lie behind bytes that cannot be believed.
            walked.segment.sealed = True
            walked.segment.size = segment.size
            walked.segment.next_offset = segment.next_offset
        return walked

    def _walk(self, found: Recovered, segment: Segment) -> _Walked:
        fresh = Segment(segment.directory, segment.base_offset)
        fresh.index = SegmentIndex()
        damaged = False
        with Walker.over(
            self._files,
            segment.path,
            segment_base=segment.base_offset,
            end_position=segment.size,
            expected=segment.base_offset,
            epochs=self._context.epochs if self._epochs_known else None,
            bound=segment.next_offset,
            resync=True,
        ) as walker:
            for item in walker:
                if isinstance(item, Damage):
                    damaged = True
                    self._context.damage.add(item)
                    if item.end_offset > self._replayed_from:
                        # Whose batches they were is unknown: see `_choose_snapshot`.
                        self._producers.clear()
                else:
                    fresh.add_found(item, self._context.opened_ms, self._context.index_interval)
                    self._replay(item)
        found.report.scanned_bytes += walker.bytes_read
        return _Walked(fresh, damaged, walker.position)

    def _count_tail(self, segment: Segment, item: Found) -> None:
        segment.add_found(item, self._context.opened_ms, self._context.index_interval)
        self._replay(item)

    def _replay(self, found: Found) -> None:
        header = found.header
        if (
            header.producer_id >= 0
            and header.base_sequence >= 0
            and header.base_offset >= self._replayed_from
            and self._config.producer_ids_max > 0
        ):
            self._producers.record(header, header.base_offset, self._context.opened_ms)

    def _collect_epochs(self, segments: list[Segment]) -> None:
        self._context.epochs = epochs_from(
            start for segment in segments for start in segment.epoch_starts
        )

    def _settle(
        self,
        found: Recovered,
        layout: Layout,
        sealed: list[Segment],
        last: _Walked | None,
        tail: Tail,
    ) -> None:
        """Put the tail into fresh files and decide where appending goes on."""
        kept = last.segment if last is not None else None
        cut_at = kept.size if kept is not None and not kept.sealed else None
        tail.removed = install_tail(
            self._files, self._directory, layout, tail, last=kept, cut_at=cut_at
        )
        found.report.copied_bytes = tail.size
        found.report.cut_bytes = tail.cut_bytes
        found.removed += tail.removed
        segments = sealed + ([kept] if kept is not None else [])
        segments += [file.segment for file in tail.files]
        if not segments or segments[-1].sealed:
            active = Segment(self._directory, tail.begin.offset)
            active.index = SegmentIndex()
            self._files.open(active.path, create=True).close()
            self._files.sync_dir(self._directory)
            segments.append(active)
        for segment in segments[len(sealed) : -1]:
            if not segment.sealed:
                segment.sealed = True
                segment.write_sidecars(self._files, self._context.identity)
        found.segments = segments

    def _drop_from_behind(self, found: Recovered) -> None:
        """Forget epochs and snapshots of what did not survive: other batches may come there."""
        end = found.segments[-1].next_offset
        if drop_snapshots(self._context, found.snapshots, end):
            self._files.sync_dir(self._directory)
        epochs = self._context.epochs.cut_behind(end)
        if epochs != self._context.epochs or not self._epochs_known:
            store_epochs(self._files, self._directory, epochs)
            self._context.epochs = epochs


def _live_bases(layout: Layout, start: int) -> list[int]:
    """Return the bases of segments that may hold offsets from `start` on."""
    bases = sorted(layout.segments)
    while len(bases) > 1 and bases[1] <= start:
        del bases[0]
    return bases
