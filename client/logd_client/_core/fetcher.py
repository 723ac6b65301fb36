"""The callers' side of a consumer: assignment, positions, and taking records.

Callers may be on any thread. They meet the I/O thread under one lock that is held only for
moments: decoding happens outside of it, and a `generation` tells whether it was in vain.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from logd_wire.errors import (
    ClosedError,
    ConfigError,
    ErrorCode,
    LogdError,
    RebalanceError,
)

from logd_client._core.fetch_state import CREDIT_PORTION, FetchState
from logd_client._core.partition_reader import (
    PartitionReader,
    Reset,
    corrupt_error,
    decode_next,
)
from logd_client._core.ports import Lock
from logd_client.read_errors import ReadError
from logd_client.values import Record, TopicPartition

logger = logging.getLogger("logd.client.consumer")

#: Batches from this size on are decoded away from an application's event loop.
HEAVY_BATCH_BYTES: Final = 256 * 1024

Records = dict[TopicPartition, list[Record[Any, Any]]]
#: Returns the record with key and value as the application wants them; raises ReadError.
Deserialize = Callable[[Record[Any, Any]], Record[Any, Any]]


class Fetcher:
    """See the module. `reading` makes takes by several threads take turns."""

    def __init__(
        self, state: FetchState, reading: Lock, deserialize: Deserialize | None = None
    ) -> None:
        self.state = state
        self.lock = state.lock
        self._reading = reading
        #: What makes of a record what the application wants.
        self.deserialize = deserialize
        #: Whose decoded records `take_one` goes through.
        self._current: PartitionReader | None = None

    # ---- assignment and positions ----------------------------------------------------------

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read exactly these; what was assigned before keeps its position."""
        wanted = dict.fromkeys(partitions)
        state = self.state
        with self.lock:
            for tp in [tp for tp in state.readers if tp not in wanted]:
                state.drop(state.readers[tp])
            for tp in wanted:
                if tp not in state.readers:
                    state.readers[tp] = PartitionReader(tp, state.config.reset)
            state.attend_all()

    def add(self, partitions: Iterable[TopicPartition], reset: Reset) -> None:
        """Read these too; those that are new begin at `reset`."""
        state = self.state
        with self.lock:
            for tp in partitions:
                if tp not in state.readers:
                    state.readers[tp] = PartitionReader(tp, reset)
            state.attend_all()

    def assignment(self) -> list[TopicPartition]:
        with self.lock:
            return list(self.state.readers)

    def reader(self, tp: TopicPartition) -> PartitionReader:
        """The reader of an assigned partition; ConfigError for another one."""
        found = self.state.readers.get(tp)
        if found is None and self.state.lease is not None:
            raise RebalanceError(
                f"{tp[0]}[{tp[1]}] is not assigned to this member of the group now",
                hint="what is assigned changes with the members; act in on_assign",
                code=ErrorCode.STALE_MEMBER_EPOCH,
            )
        if found is None:
            raise ConfigError(
                f"{tp[0]}[{tp[1]}] is not assigned to this consumer",
                hint="assign([...]) it first",
            )
        return found

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Hand out the record at `offset` next."""
        if offset < 0:
            raise ConfigError(
                f"offset {offset} is negative", hint="use seek_to_end() or Offset.END"
            )
        with self.lock:
            self._move(self.reader(tp), offset)

    def _move(self, reader: PartitionReader, offset: int) -> None:
        self.state.abandon(reader)
        reader.move_to(offset)
        reader.topic_id = reader.assigned_id
        reader.begin_at(offset)
        self.state.attend(reader)

    def position(self, tp: TopicPartition) -> int | None:
        """Offset of the next record that will be handed out; None: not known yet."""
        with self.lock:
            return self.reader(tp).position

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Hand out nothing of these until they are resumed; what was fetched ahead is dropped."""
        state = self.state
        with self.lock:
            for reader in [self.reader(tp) for tp in partitions]:
                if reader.paused:
                    continue
                reader.paused = True
                error = reader.error
                state.abandon(reader)
                reader.move_to(reader.position)
                reader.error = error
            state.wake()

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Go on with these from their positions."""
        state = self.state
        with self.lock:
            for reader in [self.reader(tp) for tp in partitions]:
                if reader.paused:
                    reader.paused = False
                    if reader.error is not None:
                        state.make_ready(reader)
                    state.attend(reader)

    def paused(self) -> set[TopicPartition]:
        with self.lock:
            return {tp for tp, reader in self.state.readers.items() if reader.paused}

    # ---- reading ---------------------------------------------------------------------------

    def take(self, max_records: int, only: frozenset[TopicPartition] | None = None) -> Records:
        """What can be handed out now, at most `max_records`; may be empty.

        Whoever calls this is done with all it was handed before (of `only`). Raises what stopped a
        partition, but only when there is nothing else: records before an error are never lost.
        """
        found: Records = {}
        left = max_records
        with self._reading:
            self._check()
            with self.lock:
                self._came_back(only)
                if self.state.has_announcements:
                    return found
                ready = [reader for reader in self.state.ready if _wanted(reader, only)]
            for reader in ready:
                records, error = self._take_from(reader, left, self.deserialize)
                if records:
                    found[reader.tp] = records
                    left -= len(records)
                elif error is not None and not found:
                    raise error
                if left <= 0:
                    break
        return found

    def take_one(self, only: frozenset[TopicPartition] | None = None) -> Record[Any, Any] | None:
        """The next record, if there is one now; errors as `take`."""
        if only is None:
            record = self.take_decoded()
            if record is not None:
                return record
        for tp, records in self.take(1, only).items():
            if self.deserialize is None and only is None:
                self._current = self.state.readers.get(tp)
            return records[0]
        return None

    def take_decoded(self) -> Record[Any, Any] | None:
        """The next record of the batch that `take_one` goes through; never decodes.

        None for the last one of the batch too: that and all else that is rare goes the long way.
        """
        with self.lock:
            reader = self._current
            if self.state.closed or reader is None or reader.cursor >= len(reader.decoded) - 1:
                return None
            lease = self.state.lease
            if lease is not None and lease.over():
                return None
            # The one before came from here too, and whoever asks for the next is done with it.
            reader.finished = reader.position
            record = reader.decoded[reader.cursor]
            reader.cursor += 1
            reader.position = record.offset + 1
            return record

    def heavy(self, only: frozenset[TopicPartition] | None = None) -> bool:
        """Whether the next `take` has to decode a batch so large that it would be felt."""
        with self.lock:
            for reader in self.state.ready:
                if _wanted(reader, only):
                    return not reader.decoded and reader.next_batch_bytes() >= HEAVY_BATCH_BYTES
        return False

    def prepare(self, only: frozenset[TopicPartition] | None = None) -> None:
        """Do that decoding, hand out nothing. From any thread."""
        with self._reading:
            with self.lock:
                ready = [reader for reader in self.state.ready if _wanted(reader, only)]
            if ready and not ready[0].decoded:
                self._decode(ready[0])

    def _check(self) -> None:
        state = self.state
        if state.closed:
            raise ClosedError("the consumer is closed")
        if state.final_failure is not None:
            raise state.final_failure
        failure = state.failure
        if failure is not None:
            with self.lock:
                state.failure = None
                state.attend_all()
            raise failure

    def _came_back(self, only: frozenset[TopicPartition] | None) -> None:
        self._current = None
        self.state.reads += 1
        in_hand = self.state.in_hand
        if in_hand:
            self.state.finish([each for each in in_hand if only is None or each.tp in only])

    def _take_from(
        self, reader: PartitionReader, count: int, deserialize: Deserialize | None
    ) -> tuple[list[Record[Any, Any]], LogdError | None]:
        taken: list[Record[Any, Any]] = []
        state = self.state
        while True:
            with self.lock:
                if reader.hold or (state.lease is not None and state.lease.over()):
                    return taken, None
                if reader.cursor < len(reader.decoded):
                    state.in_hand[reader] = None
                    records, error = _hand_out(reader, count - len(taken), deserialize)
                    taken = taken + records if taken else records
                    if error is not None:
                        return taken, error
                    if len(taken) >= count:
                        self._served(reader)
                        return taken, None
                if not reader.frames:
                    if reader.error is None:
                        state.ready.pop(reader, None)
                    return taken, reader.error
            self._decode(reader)

    def _served(self, reader: PartitionReader) -> None:
        """The others first, next time; `reader` is out when it has nothing more."""
        ready = self.state.ready
        if not reader.has_data:
            ready.pop(reader, None)
        elif len(ready) > 1 and reader in ready:
            del ready[reader]
            ready[reader] = None

    def _decode(self, reader: PartitionReader) -> None:
        """Decode the next batch of `reader`, without the lock while it lasts."""
        with self.lock:
            if not reader.frames:
                return
            frame, begin = reader.frames[0], reader.frame_position
            generation, position = reader.generation, reader.position or 0
        result = decode_next(reader, frame, begin, position)
        with self.lock:
            if reader.generation != generation:
                return
            if result.error is not None and not self._pass_over(
                reader, result.error, result.next_offset
            ):
                return
            reader.decoded = result.records
            reader.cursor = 0
            reader.decoded_next_offset = result.next_offset
            if not result.records:
                reader.position = max(position, result.next_offset)
            reader.frame_position = begin + result.size
            if reader.frame_position >= len(frame.records):
                self._finish_frame(reader)

    def _finish_frame(self, reader: PartitionReader) -> None:
        state = self.state
        frame = reader.frames.popleft()
        reader.frame_position = 0
        if reader.decoded:
            reader.decoded_next_offset = max(reader.decoded_next_offset, frame.next_offset)
        else:
            reader.position = max(reader.position or 0, frame.next_offset)
        state.free(frame.account, len(frame.records))
        if state.freed[frame.account] >= state.config.window_bytes // CREDIT_PORTION:
            state.wake()

    def _pass_over(self, reader: PartitionReader, cause: LogdError, next_offset: int) -> bool:
        """A batch cannot be decoded: skip it where that was chosen, else stop the partition."""
        if self.state.config.skip_corrupt:
            logger.warning("skipped to offset %d in %s: %s", next_offset, reader.where(), cause)
            return True
        error = corrupt_error(reader, cause, next_offset)
        position = reader.position
        self.state.abandon(reader)
        reader.move_to(position)
        self.state.stop(reader, error)
        self.state.wake()
        return False

    def take_batch(
        self, max_records: int
    ) -> tuple[PartitionReader, list[Record[Any, Any]], LogdError | None] | None:
        """Records of one partition as they came, without the deserializer, or what stopped it.

        Whoever takes them says itself what is finished (`finish`); other takes say nothing here.
        """
        with self._reading:
            self._check()
            with self.lock:
                self._current = None
                self.state.reads += 1
                if self.state.has_announcements:
                    return None
                ready = [reader for reader in self.state.ready if _wanted(reader, None)]
            for reader in ready:
                records, error = self._take_from(reader, max_records, None)
                if records or error is not None:
                    return reader, records, None if records else error
        return None

    def forget_current(self) -> None:
        """The next read goes the long way; called with the lock held."""
        self._current = None

    # ---- waiting -----------------------------------------------------------------------------

    def wait_nowait(
        self, waiter: Callable[[], None], only: frozenset[TopicPartition] | None = None
    ) -> bool:
        """Have `waiter` called once when a read may find something; False: it may already."""
        state = self.state
        with self.lock:
            if state.woken or state.closed or state.failure is not None:
                return False
            if state.has_announcements or state.final_failure is not None:
                return False
            over = state.lease is not None and state.lease.over()
            if not over and any(_wanted(reader, only) for reader in state.ready):
                return False
            if state.freed:
                # Everything was consumed: do not keep credit back while the caller waits.
                state.wake()
            state.waiters.append(waiter)
            return True

    def forget_waiter(self, waiter: Callable[[], None]) -> None:
        with self.lock:
            if waiter in self.state.waiters:
                self.state.waiters.remove(waiter)

    def wakeup(self) -> None:
        """End the wait that is going on, or the next one.

        Takes no lock, so that a signal handler may call it; a waiter that registers in the same
        moment sees `woken_up` at the end of its slice.
        """
        self.state.woken = True
        for waiter in list(self.state.waiters):
            waiter()

    @property
    def woken_up(self) -> bool:
        """Whether `wakeup` was called and not yet taken."""
        return self.state.woken

    def take_wakeup(self) -> bool:
        """Whether `wakeup` was called since the last time."""
        woken, self.state.woken = self.state.woken, False
        return woken

    def close(self) -> None:
        """Every read from now on raises ClosedError. Takes no lock, as `wakeup`."""
        self.state.closed = True
        for waiter in list(self.state.waiters):
            waiter()


def _wanted(reader: PartitionReader, only: frozenset[TopicPartition] | None) -> bool:
    return not (reader.paused or reader.hold) and (only is None or reader.tp in only)


def _hand_out(
    reader: PartitionReader, count: int, deserialize: Deserialize | None
) -> tuple[list[Record[Any, Any]], LogdError | None]:
    if deserialize is None:
        return reader.hand_out(count), None
    records: list[Record[Any, Any]] = []
    while len(records) < count and reader.cursor < len(reader.decoded):
        try:
            records.append(deserialize(reader.decoded[reader.cursor]))
        except ReadError as error:
            return records, error
        reader.hand_out(1)
    return records, None
