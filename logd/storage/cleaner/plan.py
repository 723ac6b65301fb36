"""What of a log may be cleaned, whether it is worth a pass, and the pass as plain data.

    start        first dirty       cleanable end                    end
    | clean bytes | cleanable bytes | not cleanable: active segment, above the limit, too young |

A segment is cleanable as a whole: sealed, below the limit (the high watermark, and what the ledger
vouches for), its last append at least `min.compaction.lag.ms` ago; the first that is not ends it.
Lag is counted by append times, which cannot be chosen by whoever sends records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, NamedTuple

from logd.storage.access import LogContext, summarize
from logd.storage.cleaner.state import NO_HORIZON, CleanState
from logd.storage.config import LogConfig
from logd.storage.retention import Moment
from logd.storage.segment import Segment


class Verdict(Enum):
    """Whether a pass is due, and if not, what it waits for."""

    #: Something to do, for this reason.
    DIRTY_RATIO = "the dirty share is reached"
    MAX_LAG = "max.compaction.lag.ms has passed"
    TOMBSTONES = "deleted keys may be forgotten"
    ASKED = "somebody asked for it"
    #: Nothing to do, for this reason.
    NOT_COMPACTED = "the topic is not compacted"
    CLEAN = "everything below the active segment was looked at"
    YOUNG = "min.compaction.lag.ms has not passed"
    ABOVE_LIMIT = "the next segment reaches beyond the high watermark"
    BELOW_RATIO = "the dirty share is below min.cleanable.dirty.ratio"

    @property
    def is_due(self) -> bool:
        return self in (Verdict.DIRTY_RATIO, Verdict.MAX_LAG, Verdict.TOMBSTONES, Verdict.ASKED)


class CleaningStatus(NamedTuple):
    """One log as the cleaner sees it. Sizes in bytes, ranges half-open.

    `next_ms`: when time alone makes the next segment cleanable or a pass due; None: it does not.
    """

    verdict: Verdict
    first_dirty: int
    cleanable_end: int
    clean_bytes: int
    cleanable_bytes: int
    active_bytes: int
    cleaned_at_ms: int
    next_ms: int | None

    @property
    def dirty_ratio(self) -> float:
        total = self.clean_bytes + self.cleanable_bytes
        return self.cleanable_bytes / total if total else 0.0


class LogShape(NamedTuple):
    """What planning needs of a log; the last segment is the active one."""

    segments: Sequence[Segment]
    start_offset: int
    limit_offset: int
    state: CleanState


@dataclass(frozen=True, slots=True)
class Source:
    """A sealed segment that a pass reads."""

    base_offset: int
    next_offset: int
    size: int
    first_append_ms: int
    last_append_ms: int


@dataclass(frozen=True, slots=True)
class CleaningPlan:
    """One pass; plain data, so that it can be given to another process.

    Offsets `[first_dirty, end_offset)` are mapped, or as far as the map has room; everything from
    the log's start to there is rewritten. Tombstones at or above `tombstones_kept_from` stay
    whatever their horizon: not every replica has them yet. `kept_batches`: base offsets of batches
    in the windows of producers, ascending. `tag` makes file names unique.
    """

    directory: str
    identity: int
    tag: str
    generation: int
    start_offset: int
    first_dirty: int
    end_offset: int
    sources: tuple[Source, ...]
    epochs: tuple[int, ...]
    epoch_starts: tuple[int, ...]
    kept_batches: tuple[int, ...]
    now_ms: int
    tombstones_braked: bool
    tombstones_kept_from: int
    horizon_floor_ms: int
    delete_retention_ms: int
    segment_bytes: int
    index_interval: int
    map_bytes: int

    def to_plain(self) -> dict[str, Any]:
        """What JSON can carry."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> CleaningPlan:
        """The plan that `to_plain` was called on."""
        tuples = {name: tuple(plain[name]) for name in ("epochs", "epoch_starts", "kept_batches")}
        sources = tuple(Source(**source) for source in plain["sources"])
        return cls(**{**plain, **tuples, "sources": sources})


def cleaning_status(
    context: LogContext, shape: LogShape, config: LogConfig, moment: Moment, *, asked: bool
) -> CleaningStatus:
    """Look at a log; may read digests."""
    first_dirty = max(shape.state.first_dirty, shape.start_offset)
    sealed = shape.segments[:-1]
    clean_bytes = sum(segment.size for segment in sealed if segment.next_offset <= first_dirty)
    dirty = [segment for segment in sealed if segment.next_offset > first_dirty]
    cleanable, stopped = _cleanable(context, dirty, shape.limit_offset, config, moment)
    status = CleaningStatus(
        verdict=Verdict.CLEAN,
        first_dirty=first_dirty,
        cleanable_end=cleanable[-1].next_offset if cleanable else first_dirty,
        clean_bytes=clean_bytes,
        cleanable_bytes=sum(segment.size for segment in cleanable),
        active_bytes=shape.segments[-1].size,
        cleaned_at_ms=shape.state.cleaned_at_ms,
        next_ms=None,
    )
    if not config.compacts:
        return status._replace(verdict=Verdict.NOT_COMPACTED)
    if cleanable:
        return _weighed(status, cleanable[0], shape.state, config, moment, asked=asked)
    if clean_bytes and _horizon_passed(shape.state.horizon_ms, config, moment):
        return status._replace(verdict=Verdict.TOMBSTONES)
    return _waiting(status, stopped, shape.state)


def _cleanable(
    context: LogContext,
    dirty: Sequence[Segment],
    limit_offset: int,
    config: LogConfig,
    moment: Moment,
) -> tuple[list[Segment], tuple[Verdict, int | None]]:
    """Return the segments, and what stopped them: a verdict and when time ends it."""
    cleanable: list[Segment] = []
    for segment in dirty:
        if segment.next_offset > limit_offset:
            return cleanable, (Verdict.ABOVE_LIMIT, None)
        summarize(context, segment)
        old_enough_ms = segment.last_append_ms + config.min_compaction_lag_ms
        if config.min_compaction_lag_ms and moment.now_ms < old_enough_ms:
            return cleanable, (Verdict.YOUNG, old_enough_ms)
        cleanable.append(segment)
    return cleanable, (Verdict.CLEAN, None)


def _weighed(
    status: CleaningStatus,
    oldest: Segment,
    state: CleanState,
    config: LogConfig,
    moment: Moment,
    *,
    asked: bool,
) -> CleaningStatus:
    latest_ms = oldest.first_append_ms + config.max_compaction_lag_ms
    if asked:
        verdict = Verdict.ASKED
    elif status.dirty_ratio >= config.min_cleanable_dirty_ratio:
        verdict = Verdict.DIRTY_RATIO
    elif moment.now_ms >= latest_ms:
        verdict = Verdict.MAX_LAG
    elif _horizon_passed(state.horizon_ms, config, moment):
        verdict = Verdict.TOMBSTONES
    else:
        return status._replace(verdict=Verdict.BELOW_RATIO, next_ms=latest_ms)
    return status._replace(verdict=verdict)


def _waiting(
    status: CleaningStatus, stopped: tuple[Verdict, int | None], state: CleanState
) -> CleaningStatus:
    verdict, next_ms = stopped
    if verdict is Verdict.CLEAN and state.horizon_ms != NO_HORIZON and status.clean_bytes:
        next_ms = state.horizon_ms
    return status._replace(verdict=verdict, next_ms=next_ms)


def _horizon_passed(horizon_ms: int, config: LogConfig, moment: Moment) -> bool:
    if horizon_ms == NO_HORIZON or moment.brake:
        return False
    return moment.now_ms >= max(horizon_ms, horizon_floor_ms(config, moment))


def horizon_floor_ms(config: LogConfig, moment: Moment) -> int:
    """No tombstone may go before: the clock was set anew, horizons of before may be anything."""
    if not moment.trusted_since_ms:
        return 0
    return moment.trusted_since_ms + config.delete_retention_ms


class Surroundings(NamedTuple):
    """What a plan takes from the log beside its shape."""

    generation: int
    kept_batches: tuple[int, ...]
    tag: str
    map_bytes: int
    #: From here on not every replica has what is there.
    replicated_end: int


def plan_cleaning(
    context: LogContext,
    shape: LogShape,
    config: LogConfig,
    moment: Moment,
    status: CleaningStatus,
    *,
    around: Surroundings,
) -> CleaningPlan:
    """Make the pass that `status` calls for; may read digests."""
    sources = []
    for segment in shape.segments[:-1]:
        if segment.next_offset <= status.cleanable_end:
            summarize(context, segment)
            sources.append(
                Source(
                    segment.base_offset,
                    segment.next_offset,
                    segment.size,
                    segment.first_append_ms,
                    segment.last_append_ms,
                )
            )
    return CleaningPlan(
        directory=context.directory,
        identity=context.identity,
        tag=around.tag,
        generation=around.generation,
        start_offset=shape.start_offset,
        first_dirty=status.first_dirty,
        end_offset=status.cleanable_end,
        sources=tuple(sources),
        epochs=context.epochs.epochs,
        epoch_starts=context.epochs.starts,
        kept_batches=around.kept_batches,
        now_ms=moment.now_ms,
        tombstones_braked=bool(moment.brake),
        tombstones_kept_from=around.replicated_end,
        horizon_floor_ms=horizon_floor_ms(config, moment),
        delete_retention_ms=config.delete_retention_ms,
        segment_bytes=config.segment_bytes,
        index_interval=config.index_interval_bytes,
        map_bytes=around.map_bytes,
    )
