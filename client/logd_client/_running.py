"""What both kinds of `run` share: taking batches, what of them is done, and what failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from logd_wire.errors import ConfigError

from logd_client._core.partition_reader import Hold, PartitionReader
from logd_client._engine.consumer import ConsumerEngine
from logd_client._runtime import Life
from logd_client.on_error import Action, DeadLetter, OnError, Retry, Skip, Stop
from logd_client.read_errors import ReadError
from logd_client.values import Record, TopicPartition

logger = logging.getLogger("logd.client.consumer")

K = TypeVar("K")
V = TypeVar("V")


class BatchView(Generic[K, V]):
    """Records of one partition, and how far the handler is with them.

    Whoever returns from the handler is done with all of them, unless it has called `resolve`, or
    was told to stop by `is_running` or `is_stale`: then with those that are resolved.
    """

    def __init__(
        self, life: Life[ConsumerEngine], reader: PartitionReader, records: Sequence[Record[K, V]]
    ) -> None:
        self._life = life
        self._engine = life.use()
        self._reader = reader
        self.records = records
        self.topic = reader.tp.topic
        self.partition = reader.tp.partition
        #: The end of the partition, as far as it can be read.
        self.high_watermark = reader.high_watermark
        #: Everything below is done with; None: nothing was resolved.
        self.resolved_offset: int | None = None
        self._behind = reader.position
        self.told_to_stop = False

    @property
    def topic_partition(self) -> TopicPartition:
        return self._reader.tp

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record[K, V]]:
        return iter(self.records)

    def resolve(self, record: Record[Any, Any] | int) -> None:
        """Done with this record (or offset) and those before it: it may be committed."""
        offset = record.offset if isinstance(record, Record) else record
        self.resolved_offset = offset + 1
        self._engine.reading.resolve(self._reader, offset + 1)

    def is_running(self) -> bool:
        """False once the run is to end: after `wakeup` and `close`."""
        state = self._engine.fetcher.state
        if state.closed or state.woken:
            self.told_to_stop = True
        return not (state.closed or state.woken)

    def is_stale(self) -> bool:
        """True once the partition goes, or has gone, to another member, or was sought elsewhere:
        what is left of the batch will be another's."""
        stale = not self._engine.reading.is_current(self._reader, self._behind)
        self.told_to_stop = self.told_to_stop or stale
        return stale

    def _to_commit(self) -> dict[TopicPartition, int]:
        """What is resolved; nothing when the partition has gone."""
        if self.resolved_offset is None or not self._engine.reading.is_held(self._reader):
            return {}
        return {self._reader.tp: self.resolved_offset}

    def _commit_is_due(self) -> bool:
        group = self._engine.group
        if group is None:
            return False
        age_ms = self._engine.clock.monotonic_ms() - group.offsets.committed_at_ms
        return age_ms >= group.config.auto_commit_interval_ms


@dataclass(slots=True)
class Work:
    """One call of a handler. `raw`: the records as they came; `error`: no handler is called."""

    reader: PartitionReader
    raw: Sequence[Record[Any, Any]]
    records: list[Record[Any, Any]]
    error: Exception | None = None
    #: Where the partition stood when they had been taken; elsewhere: somebody has sought.
    behind: int | None = field(init=False)

    def __post_init__(self) -> None:
        self.behind = self.reader.position


@dataclass(frozen=True, slots=True)
class Failure:
    """What to do about a record that failed."""

    action: Action
    record: Record[Any, Any]
    failures: int


class Run:
    """See the module. For one caller; `clock_s` is monotonic, in seconds."""

    def __init__(
        self,
        engine: ConsumerEngine,
        on_error: OnError,
        max_records: int,
        clock_s: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._fetcher = engine.fetcher
        self._on_error = on_error
        self._max_records = max_records
        self._clock_s = clock_s
        #: Partitions that wait for another attempt, until when.
        self._resting: dict[TopicPartition, float] = {}
        #: The record that failed last, and how often in a row.
        self._failed: dict[TopicPartition, tuple[int, int]] = {}

    def take(self) -> Work | None:
        """What to handle next, if something is there. Raises what stops a partition for good."""
        self._wake_rested()
        found = self._fetcher.take_batch(self._max_records)
        if found is None:
            return None
        reader, raw, error = found
        if error is not None:
            raise error
        records: list[Record[Any, Any]] = []
        for record in raw:
            try:
                records.append(self._deserialized(record))
            except ReadError as problem:
                return Work(reader, raw, records, None if records else problem)
        return Work(reader, raw, records)

    def _deserialized(self, record: Record[Any, Any]) -> Record[Any, Any]:
        deserialize = self._fetcher.deserialize
        return record if deserialize is None else deserialize(record)

    def idle_at_s(self, idle_s: float | None) -> float | None:
        """When there will have been nothing for so long, None: never."""
        return None if idle_s is None else self._clock_s() + idle_s

    def wait_until_s(self, idle_at_s: float | None) -> float | None:
        """When to look again without news: a partition may be tried again, or that was all."""
        ends = [*self._resting.values(), *(() if idle_at_s is None else (idle_at_s,))]
        return min(ends, default=None)

    def is_over(self, waited_until_s: float | None, idle_at_s: float | None) -> bool:
        """Whether a wait without news was the last one: it was ended early, by `wakeup`, or there
        was nothing for too long."""
        now_s = self._clock_s()
        if waited_until_s is None or now_s < waited_until_s:
            return True
        return idle_at_s is not None and now_s >= idle_at_s

    def _wake_rested(self) -> None:
        now_s = self._clock_s()
        for tp in [tp for tp, until_s in self._resting.items() if until_s <= now_s]:
            del self._resting[tp]
            self._engine.reading.release([tp], Hold.RESTING)

    def end(self) -> None:
        """Nothing waits for this run any more."""
        self._engine.reading.release(list(self._resting), Hold.RESTING)
        self._resting.clear()

    # ---- what became of it ---------------------------------------------------------------------

    def done(self, work: Work, batch: BatchView[Any, Any]) -> None:
        """The handler returned."""
        self._failed.pop(work.reader.tp, None)
        partly = batch.resolved_offset is not None or batch.told_to_stop
        if partly and batch.resolved_offset != work.records[-1].offset + 1:
            self.put_back(work, batch)
        elif len(work.records) < len(work.raw):
            self._settle(work, work.raw[len(work.records)].offset)
        else:
            self._settle(work, None)

    def put_back(self, work: Work, batch: BatchView[Any, Any] | None) -> None:
        """Whatever is not resolved comes again."""
        resolved = None if batch is None else batch.resolved_offset
        self._settle(work, work.raw[0].offset if resolved is None else resolved)

    def failed(self, work: Work, batch: BatchView[Any, Any] | None, error: Exception) -> Failure:
        """The handler raised; the first record that is not resolved is the one that failed.

        The partition goes nowhere before `settle_failure`, except back for another attempt.
        """
        record = self._failing(work, batch)
        tp = work.reader.tp
        before = self._failed.get(tp)
        failures = before[1] + 1 if before is not None and before[0] == record.offset else 1
        self._failed[tp] = (record.offset, failures)
        action = self._on_error.decide(failures)
        where = f"{tp.topic}[{tp.partition}] at offset {record.offset}"
        match action:
            case Retry(seconds):
                logger.warning("handler failed on %s, again in %.3g s: %r", where, seconds, error)
                self._settle(work, record.offset)
                self._engine.reading.hold([tp], Hold.RESTING)
                self._resting[tp] = self._clock_s() + seconds
            case Stop():
                self._settle(work, record.offset)
            case Skip():
                logger.warning("skipped %s: the handler failed", where, exc_info=error)
                self._settle(work, record.offset + 1)
            case DeadLetter(topic):
                logger.warning("%s goes to %s: %r", where, topic, error)
        return Failure(action, record, failures)

    async def send_away(self, failure: Failure, error: Exception) -> None:
        """Send the record to the topic of dead letters; on the I/O thread."""
        assert isinstance(failure.action, DeadLetter)
        await self._engine.dead_letters.send(
            failure.action.topic, failure.record, error, failure.failures
        )

    def sent_away(self, work: Work, failure: Failure) -> None:
        """The record is in the topic of dead letters."""
        self._settle(work, failure.record.offset + 1)

    def is_stale(self, work: Work) -> bool:
        """Whether the partition has gone meanwhile; what failed with it is no failure of ours."""
        return not self._engine.reading.is_held(work.reader)

    def _failing(self, work: Work, batch: BatchView[Any, Any] | None) -> Record[Any, Any]:
        resolved = -1 if batch is None or batch.resolved_offset is None else batch.resolved_offset
        # Somebody who resolved more than there was: the last one it is.
        return next((each for each in work.raw if each.offset >= resolved), work.raw[-1])

    def _settle(self, work: Work, next_offset: int | None) -> None:
        self._engine.reading.settle(work.reader, next_offset, unless_moved=work.behind)


def check_handlers(
    each_record: Callable[[Any], object] | None, each_batch: Callable[[Any], object] | None
) -> None:
    """Raises ConfigError unless exactly one handler is given."""
    if (each_record is None) == (each_batch is None):
        raise ConfigError("run takes one handler", hint="each_record=... or each_batch=...")
