"""The reading side of a member: taking partitions up and giving them up, what is finished, and
what the application is told of it.

The I/O thread and callers meet here under the fetcher's lock. *In hand* is what a read has
returned and no later read has come back for; *finished* is everything before that, and the only
thing that is committed by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from logd_wire.errors import ErrorCode, LogdError, RebalanceError

from logd_client._core.fetch_state import Announcement, Lease, News
from logd_client._core.fetcher import Fetcher
from logd_client._core.partition_reader import Hold, PartitionReader, Reset
from logd_client._core.stall_watch import AtHand
from logd_client.values import Record, TopicPartition


class GroupReading:
    """See the module. Every method takes the lock itself."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._state = fetcher.state
        self._lock = fetcher.lock
        #: Why a partition was lost last.
        self._lost: dict[TopicPartition, str] = {}

    # ---- partitions come and go ----------------------------------------------------------------

    def take_up(self, partitions: Mapping[TopicPartition, tuple[bytes, Reset]], hold: Hold) -> None:
        """Read these too, of the topics with these ids, each from what was committed or from its
        reset."""
        state = self._state
        with self._lock:
            for tp, (topic_id, reset) in partitions.items():
                reader = state.readers[tp] = PartitionReader(tp, reset, topic_id)
                reader.hold = hold
            state.attend_all()

    def hold(self, partitions: Iterable[TopicPartition], why: Hold) -> None:
        """Hand out nothing of these from now on."""
        with self._lock:
            self._fetcher.forget_current()
            for reader in self._readers(partitions):
                reader.hold |= why

    def release(self, partitions: Iterable[TopicPartition], why: Hold) -> None:
        """This is no reason any more to hold these."""
        state = self._state
        with self._lock:
            for reader in self._readers(partitions):
                reader.hold &= ~why
                if reader.has_data:
                    state.make_ready(reader)
                state.attend(reader)

    def in_hand(self, partitions: Iterable[TopicPartition]) -> bool:
        """Whether the application has something of these that it is not done with."""
        with self._lock:
            return any(reader in self._state.in_hand for reader in self._readers(partitions))

    def lose(self, partitions: Iterable[TopicPartition], why: str) -> None:
        """Another member may have these already."""
        self._lost.update(dict.fromkeys(partitions, why))
        self.drop(partitions)

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these no more."""
        with self._lock:
            self._fetcher.forget_current()
            for reader in self._readers(partitions):
                self._state.drop(reader)
            self._state.wake()

    def drop_all(self) -> None:
        self.drop(list(self._state.readers))

    def _readers(self, partitions: Iterable[TopicPartition]) -> list[PartitionReader]:
        readers = self._state.readers
        return [readers[tp] for tp in partitions if tp in readers]

    def may_read_until(self, until_ms: float) -> None:
        """What is assigned may be handed out until then, and no longer."""
        with self._lock:
            assert self._state.lease is not None
            self._state.lease.until_ms = until_ms

    def begin(self, lease: Lease, on_finished: Callable[[], None]) -> None:
        """From now on the group says what is read, as long as the lease lasts."""
        with self._lock:
            self._state.lease = lease
            self._state.on_finished = on_finished

    def end(self) -> None:
        """The group says nothing any more."""
        with self._lock:
            self._state.lease = None
            self._state.announcements.clear()

    def fail(self, error: LogdError) -> None:
        """Every read raises `error` from now on."""
        with self._lock:
            self._state.final_failure = error
            self._state.notify()

    # ---- what the application is told ----------------------------------------------------------

    def announce(
        self, news: News, partitions: tuple[TopicPartition, ...], done: Callable[[], None]
    ) -> None:
        """Have the next read tell the application; `done` is called after that."""
        with self._lock:
            self._fetcher.forget_current()
            self._state.announcements.append(Announcement(news, partitions, done))
            self._state.notify()

    def next_announcement(self) -> Announcement | None:
        """What the caller has to tell the application now; `announced` when that is done."""
        state = self._state
        if not state.announcements:
            return None
        with self._lock:
            if not state.announcements or state.announcing is not None:
                return None
            state.announcing = state.announcements.popleft()
            return state.announcing

    def announced(self, announcement: Announcement) -> None:
        """The application has returned, or failed: it was told either way."""
        with self._lock:
            self._state.announcing = None
            self._state.notify()
        if announcement.news is News.ASSIGNED:
            self.release(announcement.partitions, Hold.ASSIGNING)
        announcement.done()

    def withdraw(self, news: News, partitions: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Do not tell `news` of these; returns those of which it had not been told yet."""
        gone = set(partitions)
        withdrawn: set[TopicPartition] = set()
        state = self._state
        with self._lock:
            for each in [each for each in state.announcements if each.news is news]:
                withdrawn |= gone & set(each.partitions)
                each.partitions = tuple(tp for tp in each.partitions if tp not in gone)
                if not each.partitions:
                    state.announcements.remove(each)
        return withdrawn

    def being_told_of(self, partitions: Iterable[TopicPartition]) -> bool:
        """Whether the application is inside of a call about any of these."""
        with self._lock:
            announcing = self._state.announcing
            return announcing is not None and not set(partitions).isdisjoint(announcing.partitions)

    def at_hand(self) -> list[AtHand]:
        """What the application has, or could have; nothing while it waits for more."""
        state = self._state
        with self._lock:
            if state.waiters:
                return []
            told = () if state.announcing is None else state.announcing.partitions
            readers = [*self._readers(told), *state.in_hand, *state.ready]
            return sorted({AtHand(each.tp, each.position, each.finished) for each in readers})

    # ---- what is finished ----------------------------------------------------------------------

    def finished(
        self, partitions: Iterable[TopicPartition] | None = None
    ) -> dict[TopicPartition, int]:
        """What may be committed by itself and is not yet: the offsets to go on from."""
        with self._lock:
            readers = self._state.readers
            return {
                reader.tp: reader.finished
                for reader in self._readers(list(readers) if partitions is None else partitions)
                if reader.finished is not None and reader.finished != reader.settled
            }

    def finish_all(self) -> dict[TopicPartition, int]:
        """The application is done with everything it was handed; the offsets to go on from."""
        with self._lock:
            state = self._state
            for reader in state.readers.values():
                if reader.position is not None:
                    reader.finished = reader.position
            return {
                tp: reader.finished
                for tp, reader in state.readers.items()
                if reader.finished is not None and reader.finished != reader.settled
            }

    def finish_records(self, records: Iterable[Record[Any, Any]]) -> dict[TopicPartition, int]:
        """The application is done with these, and with what came before them.

        Raises RebalanceError for a record of a partition that is not, or not any more, ours.
        """
        found: dict[TopicPartition, int] = {}
        with self._lock:
            for record in records:
                tp = record.topic_partition
                reader = self._state.readers.get(tp)
                if reader is None or record.offset < reader.first_offset:
                    raise self.not_ours(tp, record.offset)
                found[tp] = max(found.get(tp, -1), record.offset + 1)
                reader.finished = max(reader.finished or 0, record.offset + 1)
        return found

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """The group keeps these."""
        with self._lock:
            for tp, offset in offsets.items():
                reader = self._state.readers.get(tp)
                if reader is not None:
                    reader.committed = offset
                    # Whoever committed more than is finished said where to go on: that stays.
                    reader.settled = (
                        offset if reader.finished is None else min(offset, reader.finished)
                    )

    def not_ours(self, tp: TopicPartition, offset: int | None = None) -> RebalanceError:
        """The error of a commit for what another member may have by now."""
        where = "" if offset is None else f" at offset {offset}"
        why = self._lost.get(tp)
        because = "" if why is None else f"; it was lost: {why}"
        return RebalanceError(
            f"{tp.topic}[{tp.partition}]{where} is not this member's, or not any more{because}",
            hint="whoever has the partition now begins at the committed offset; handle again what "
            "comes again, and read no more of what was returned before",
            code=ErrorCode.STALE_MEMBER_EPOCH,
        )

    # ---- handlers ------------------------------------------------------------------------------

    def is_held(self, reader: PartitionReader) -> bool:
        """Whether the partition is ours still, in the same assignment."""
        with self._lock:
            lease = self._state.lease
            over = lease is not None and lease.over()
            return self._state.readers.get(reader.tp) is reader and not over

    def is_current(self, reader: PartitionReader, position: int | None) -> bool:
        """Whether it is, stays so for now, and nobody has sought elsewhere meanwhile."""
        going = bool(reader.hold & Hold.REVOKING)
        return self.is_held(reader) and not going and reader.position == position

    def resolve(self, reader: PartitionReader, next_offset: int) -> None:
        """The handler is done with everything below `next_offset`."""
        with self._lock:
            reader.finished = next_offset

    def settle(
        self, reader: PartitionReader, next_offset: int | None, *, unless_moved: int | None
    ) -> None:
        """The handler has nothing of `reader` in hand any more.

        `next_offset`: where it goes on if not behind what it was handed, which is `unless_moved`;
        where somebody has sought meanwhile, that counts.
        """
        state = self._state
        with self._lock:
            if state.readers.get(reader.tp) is not reader:
                return
            if next_offset is not None and reader.position == unless_moved:
                state.abandon(reader)
                reader.move_to(next_offset)
                state.attend(reader)
            state.finish([reader])
