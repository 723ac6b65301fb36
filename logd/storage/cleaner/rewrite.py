"""One pass of the cleaner: two readings of sealed segments, and the files that replace them.

*First reading*, the dirty part: for each key its last offset, as far as the map has room. Where the
room ends, the pass ends: `mapped_end`, which may lie inside of a batch.

*Second reading*, from the start of the log to there, group by group of segments that together are
no larger than one. Of the records below `mapped_end`, these stay:

    the last of its key, as far as the map knows it, with a value
    the same without a value (a tombstone), until its delete horizon

and no record without a key, none below the start of the log. Everything at or above `mapped_end`
stays as it is. Offsets never change. A batch that loses records keeps base offset, last offset
delta, epoch and producer; one that loses all is left out, unless it is in the window of a producer:
then it stays without records. Where batches were left out, empty ones without a producer stand for
their offsets, so that each batch begins where the one before it ends, as everywhere in a log.

A tombstone goes in two steps, so that readers see it: the first pass that meets it writes the time
from which it may go into its batch (`delete horizon`), and a pass after that time drops it. What it
deleted is gone by then: the pass that wrote the horizon had it in its map, with everything below.

Whatever cannot be believed, or read, or made smaller ends the pass with CleaningError; nothing that
is in use was touched. Batches of transactions' markers are kept as they are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

from logd_wire import KeyMap, filter_batch, iter_keys
from logd_wire.errors import LogdError

from logd.storage.cleaner.output import GroupWriter
from logd.storage.cleaner.plan import CleaningPlan, Source
from logd.storage.cleaner.result import CleanedFile, CleaningError, CleaningResult
from logd.storage.cleaner.state import NO_HORIZON
from logd.storage.damage import Damage
from logd.storage.epochs import LeaderEpochs
from logd.storage.files import Files, is_no_space, join
from logd.storage.segment import LOG_SUFFIX, RELATIVE_OFFSET_MAX, segment_name
from logd.storage.walk import Found, Walker

#: Called with the bytes that were read or are about to be written; may wait, or raise to stop.
Pace = Callable[[int], None]


_HAS_VALUE = itemgetter(2)


class _Kept(NamedTuple):
    """What is to become of a batch's records, in their order."""

    verdicts: list[bool]
    has_tombstone: bool


def no_pace(size: int) -> None:
    """Do not wait."""


def clean(files: Files, plan: CleaningPlan, *, pace: Pace = no_pace) -> CleaningResult:
    """Run a pass. CleaningError: not possible, in words; what `pace` raises passes."""
    cleaning = _Cleaning(files, plan, pace)
    try:
        return cleaning.run()
    except OSError as error:
        cleaning.discard()
        if is_no_space(error):
            raise CleaningError(f"no space for the cleaned segments: {error}") from error
        raise CleaningError(f"reading or writing failed: {error}") from error
    except BaseException:
        cleaning.discard()
        raise


class _Cleaning:
    def __init__(self, files: Files, plan: CleaningPlan, pace: Pace) -> None:
        self._files = files
        self._plan = plan
        self._pace = pace
        self._epochs = LeaderEpochs(plan.epochs, plan.epoch_starts)
        self._map = KeyMap(plan.map_bytes)
        self._mapped_end = plan.end_offset
        self._writer: GroupWriter | None = None
        self._done: list[CleanedFile] = []
        self._horizon_ms = NO_HORIZON
        self._forgotten_end = 0
        self._bytes_read = 0
        self._records = [0, 0]

    def run(self) -> CleaningResult:
        plan = self._plan
        self._read_keys()
        before = after = 0
        wanted = [source for source in plan.sources if source.base_offset < self._mapped_end]
        for group in grouped(wanted, plan.segment_bytes):
            cleaned = self._rewrite(group)
            size = sum(source.size for source in group)
            before += size
            after += size if cleaned is None else cleaned.size
            if cleaned is not None:
                self._done.append(cleaned)
        return CleaningResult(
            generation=plan.generation,
            tag=plan.tag,
            mapped_end=self._mapped_end,
            horizon_ms=self._horizon_ms,
            forgotten_end=self._forgotten_end,
            now_ms=plan.now_ms,
            files=tuple(self._done),
            bytes_read=self._bytes_read,
            bytes_before=before,
            bytes_after=after,
            records_before=self._records[0],
            records_after=self._records[1],
            keys=len(self._map),
        )

    def discard(self) -> None:
        """Remove what was written; a name that cannot be removed goes with the next start."""
        names = [name for cleaned in self._done for name in cleaned.names]
        if self._writer is not None:
            names += self._writer.abandon()
        for name in names:
            path = join(self._plan.directory, name)
            try:
                if self._files.exists(path):
                    self._files.unlink(path)
            except OSError:
                continue

    # -- first reading ---------------------------------------------------------------------

    def _read_keys(self) -> None:
        plan, put = self._plan, self._map.put
        first = max(plan.first_dirty, plan.start_offset)
        for source in plan.sources:
            if source.next_offset <= first:
                continue
            for found in self._batches(source):
                header = found.header
                if header.next_offset <= first or not header.records_count or header.is_control:
                    continue
                for offset, key, _ in _keys(found):
                    if key is not None and offset >= first and not put(key, offset):
                        self._mapped_end = offset
                        return

    def _batches(self, source: Source) -> Iterator[Found]:
        """Every batch of a segment; CleaningError at the first that cannot be believed."""
        path = join(self._plan.directory, segment_name(source.base_offset) + LOG_SUFFIX)
        with Walker.over(
            self._files,
            path,
            segment_base=source.base_offset,
            end_position=source.size,
            expected=source.base_offset,
            epochs=self._epochs,
            bound=source.next_offset,
            resync=True,
        ) as walker:
            for item in walker:
                if isinstance(item, Damage):
                    raise CleaningError(f"it is damaged: {item}")
                self._bytes_read += item.header.size
                self._pace(item.header.size)
                yield item

    # -- second reading --------------------------------------------------------------------

    def _rewrite(self, group: Sequence[Source]) -> CleanedFile | None:
        """Write what is left of a group; None: all of it is left, in one segment."""
        writer = GroupWriter(self._files, self._plan, self._epochs, group, self._pace)
        self._writer = writer
        for source in group:
            for found in self._batches(source):
                writer.saw(found)
                self._rewrite_batch(writer, found, source)
        cleaned = writer.finish()
        self._writer = None
        return cleaned

    def _rewrite_batch(self, writer: GroupWriter, found: Found, source: Source) -> None:
        header = found.header
        self._records[0] += header.records_count
        if header.base_offset >= self._mapped_end or header.is_control:
            self._records[1] += header.records_count
            self._note_horizon(found, self._has_tombstone(found))
            writer.copy(found, source.last_append_ms)
            return
        if not header.records_count and header.producer_id < 0:
            return
        kept = self._judge(found)
        survivors = sum(kept.verdicts)
        self._records[1] += survivors
        if not survivors and not self._is_in_a_window(header.base_offset):
            return
        horizon_ms = self._new_horizon(found, kept)
        self._note_horizon(found, kept.has_tombstone, horizon_ms)
        if survivors == header.records_count and horizon_ms is None:
            writer.copy(found, source.last_append_ms)
        else:
            writer.put(_filtered(found, kept.verdicts, horizon_ms), source.last_append_ms)

    def _judge(self, found: Found) -> _Kept:
        """The rules of the module's text; first for the usual batch, where few of them matter."""
        plan, get, header = self._plan, self._map.get, found.header
        records = list(_keys(found))
        is_mapped = (
            header.base_offset >= plan.start_offset and header.next_offset <= self._mapped_end
        )
        if is_mapped and all(map(_HAS_VALUE, records)):
            return _Kept([key is not None and get(key) <= at for at, key, _ in records], False)
        return self._judge_one_by_one(found, records)

    def _judge_one_by_one(
        self, found: Found, records: list[tuple[int, bytes | None, bool]]
    ) -> _Kept:
        plan, get, mapped_end = self._plan, self._map.get, self._mapped_end
        may_drop_tombstones = self._horizon_has_passed(found)
        verdicts: list[bool] = []
        has_tombstone = False
        for offset, key, has_value in records:
            if offset >= mapped_end:
                keeps = True
            elif offset < plan.start_offset or key is None or get(key) > offset:
                keeps = False
            elif has_value:
                keeps = True
            else:
                keeps = not may_drop_tombstones or offset >= plan.tombstones_kept_from
                if not keeps:
                    self._forgotten_end = offset + 1
            if keeps and not has_value:
                has_tombstone = True
            verdicts.append(keeps)
        return _Kept(verdicts, has_tombstone)

    def _horizon_has_passed(self, found: Found) -> bool:
        header, plan = found.header, self._plan
        if not header.has_delete_horizon or plan.tombstones_braked:
            return False
        return plan.now_ms >= max(header.base_timestamp, plan.horizon_floor_ms)

    def _new_horizon(self, found: Found, kept: _Kept) -> int | None:
        """The horizon to write into a batch: its first tombstones were met, all of it is mapped."""
        header = found.header
        if not kept.has_tombstone or header.has_delete_horizon:
            return None
        if header.next_offset > self._mapped_end:
            return None
        return self._plan.now_ms + self._plan.delete_retention_ms

    def _note_horizon(
        self, found: Found, has_tombstone: bool, horizon_ms: int | None = None
    ) -> None:
        if not has_tombstone:
            return
        if horizon_ms is None:
            if not found.header.has_delete_horizon:
                return
            horizon_ms = found.header.base_timestamp
        if horizon_ms <= self._plan.now_ms:
            # It stays for another reason than its time: not to be looked at again at once.
            horizon_ms = self._plan.now_ms + max(self._plan.delete_retention_ms, 1000)
        if self._horizon_ms == NO_HORIZON or horizon_ms < self._horizon_ms:
            self._horizon_ms = horizon_ms

    @staticmethod
    def _has_tombstone(found: Found) -> bool:
        header = found.header
        if not header.has_delete_horizon or header.is_control:
            return False
        return any(not has_value for _, _, has_value in _keys(found))

    def _is_in_a_window(self, base_offset: int) -> bool:
        kept = self._plan.kept_batches
        at = bisect_left(kept, base_offset)
        return at < len(kept) and kept[at] == base_offset


def grouped(sources: Sequence[Source], segment_bytes: int) -> Iterator[list[Source]]:
    """Split into runs that are no larger than one segment each, in bytes and in offsets."""
    group: list[Source] = []
    size = 0
    for source in sources:
        span = source.next_offset - group[0].base_offset if group else 0
        if group and (size + source.size > segment_bytes or span > RELATIVE_OFFSET_MAX):
            yield group
            group, size = [], 0
        group.append(source)
        size += source.size
    if group:
        yield group


def _keys(found: Found) -> Iterator[tuple[int, bytes | None, bool]]:
    """The keys of a batch, of which the checksum is right already."""
    try:
        return iter_keys(found.buffer, found.at, verify=False)
    except LogdError as error:
        raise _unreadable(found, error) from error


def _filtered(found: Found, verdicts: list[bool], horizon_ms: int | None) -> bytes:
    following = iter(verdicts).__next__
    try:
        return filter_batch(
            found.buffer,
            found.at,
            lambda _offset, _key, _has_value: following(),
            delete_horizon=horizon_ms,
            verify=False,
        )
    except LogdError as error:
        raise _unreadable(found, error) from error


def _unreadable(found: Found, error: LogdError) -> CleaningError:
    hint = f" ({error.hint})" if error.hint else ""
    return CleaningError(f"the batch at offset {found.header.base_offset}: {error.message}{hint}")
