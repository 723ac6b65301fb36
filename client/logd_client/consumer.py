"""The synchronous consumer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, Unpack, overload

from logd_wire.errors import (
    ClosedError,
    TimeoutError,
)

from logd_client._config import (
    AssignmentStrategy,
    AutoOffsetReset,
    ConsumerOptions,
    OnCorrupt,
    options_from,
)
from logd_client._consuming import (
    ReadingFront,
    only_of,
    spec_of,
    time_answers,
    time_questions,
)
from logd_client._core.fetcher import Fetcher
from logd_client._engine.offsets import Spec
from logd_client._group_calls import GroupCalls
from logd_client._grouping import GroupFront
from logd_client._io_thread import wait_event
from logd_client._runtime import Environment
from logd_client.values import (
    Deserializer,
    Offset,
    OffsetAndTimestamp,
    Record,
    Time,
    TopicPartition,
    time_to_ms,
)

#: How long `close` waits for the end of its streams.
CLOSE_SECONDS = 10.0

K_co = TypeVar("K_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)
K = TypeVar("K")
V = TypeVar("V")


class Consumer(GroupCalls[K_co, V_co]):
    """Reads records of all partitions of `topics`, or of those given to `assign`; with a
    `group_id` those that the group gives to this member of it.

    A partition begins at the position given by a seek, or where its group has committed; without
    both `auto_offset_reset` decides, and its default "error" raises NoOffsetError at the first
    read. Nothing happens before the first use. Times are in milliseconds, sizes in bytes, as the
    names say; `timeout` arguments are seconds.

    In a group what was returned is finished when the reader comes back for more, and only what is
    finished is committed by itself (`enable_auto_commit`), from time to time, when a partition
    goes, and at `close`. Whoever reads with several threads or tasks commits records instead. The
    heartbeat does not depend on the reader: a handler may take as long as it likes, and keeps its
    partitions; only when one of them has to go, it has `rebalance_timeout_ms` to come back.

    * `group_instance_id`: the name of a member that keeps its partitions over a restart.
    * `client_rack`: where this consumer runs; among members with equally few partitions the group
      prefers one in a rack of a partition's replicas.
    * `on_corrupt`: "stop" raises DataLossError or CorruptBatchError (with topic, partition,
      offset) before data that cannot be read; "skip" logs it and goes on behind it.
    * `fetch_max_bytes`: what one node may send ahead of the reader.
    * `consumer_timeout_ms`: iteration ends when so long no record came.
    """

    _environment: ClassVar[Environment] = Environment()

    @overload
    def __init__(
        self: Consumer[bytes, bytes],
        *topics: str,
        bootstrap_servers: str | Sequence[str] = ...,
        **options: Unpack[ConsumerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Consumer[K, bytes],
        *topics: str,
        bootstrap_servers: str | Sequence[str] = ...,
        key_deserializer: Deserializer[K],
        **options: Unpack[ConsumerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Consumer[bytes, V],
        *topics: str,
        bootstrap_servers: str | Sequence[str] = ...,
        value_deserializer: Deserializer[V],
        **options: Unpack[ConsumerOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Consumer[K, V],
        *topics: str,
        bootstrap_servers: str | Sequence[str] = ...,
        key_deserializer: Deserializer[K],
        value_deserializer: Deserializer[V],
        **options: Unpack[ConsumerOptions],
    ) -> None: ...
    def __init__(
        self,
        *topics: str,
        bootstrap_servers: str | Sequence[str] = "localhost:7171",
        client_id: str | None = None,
        group_id: str | None = None,
        group_instance_id: str | None = None,
        enable_auto_commit: bool = True,
        auto_commit_interval_ms: float = 5_000,
        session_timeout_ms: float = 45_000,
        rebalance_timeout_ms: float = 60_000,
        partition_assignment_strategy: AssignmentStrategy | None = None,
        client_rack: str | None = None,
        auto_offset_reset: AutoOffsetReset = "error",
        on_corrupt: OnCorrupt = "stop",
        fetch_max_wait_ms: float = 500,
        fetch_min_bytes: int = 1,
        fetch_max_bytes: int = 50 * 2**20,
        max_partition_fetch_bytes: int = 2**20,
        max_poll_records: int = 500,
        consumer_timeout_ms: float | None = None,
        request_timeout_ms: float = 30_000,
        metadata_max_age_ms: float = 300_000,
        key_deserializer: Deserializer[Any] | None = None,
        value_deserializer: Deserializer[Any] | None = None,
    ) -> None:
        self._front = ReadingFront(
            self._environment,
            topics,
            bootstrap_servers,
            client_id=client_id,
            grouping={
                "group_id": group_id,
                "group_instance_id": group_instance_id,
                "enable_auto_commit": enable_auto_commit,
                "auto_commit_interval_ms": auto_commit_interval_ms,
                "session_timeout_ms": session_timeout_ms,
                "rebalance_timeout_ms": rebalance_timeout_ms,
                "partition_assignment_strategy": partition_assignment_strategy,
                "client_rack": client_rack,
            },
            auto_offset_reset=auto_offset_reset,
            on_corrupt=on_corrupt,
            fetch_max_wait_ms=fetch_max_wait_ms,
            fetch_min_bytes=fetch_min_bytes,
            fetch_max_bytes=fetch_max_bytes,
            max_partition_fetch_bytes=max_partition_fetch_bytes,
            max_poll_records=max_poll_records,
            consumer_timeout_ms=consumer_timeout_ms,
            request_timeout_ms=request_timeout_ms,
            metadata_max_age_ms=metadata_max_age_ms,
            key_deserializer=key_deserializer,
            value_deserializer=value_deserializer,
        )
        self._life = self._front.life
        self._grouping = GroupFront(self._front)

    @classmethod
    def from_config(cls, conf: Mapping[str, Any], *topics: str) -> Consumer[Any, Any]:
        """Make one from Kafka's dotted names, such as `{"bootstrap.servers": "localhost:7171"}`."""
        made: Consumer[Any, Any] = cls(*topics, **options_from("Consumer", conf))
        return made

    # ---- reading ---------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Record[K_co, V_co]]:
        """Records as they come. Ends after `consumer_timeout_ms` without one (None: never), after
        `wakeup`, and when the consumer is closed meanwhile."""
        fetcher = self._front.fetcher
        seconds = self._front.iteration_seconds
        while True:
            try:
                record = fetcher.take_one()
                if record is None:
                    record = self._wait_one(None, seconds)
            except ClosedError:
                return
            if record is None:
                return
            yield record

    def getone(
        self, *partitions: TopicPartition, timeout: float | None = None
    ) -> Record[K_co, V_co] | None:
        """The next record (of `partitions`, if given); None after `timeout` seconds or `wakeup`."""
        record = self._reader().take_one(only_of(partitions))
        return self._wait_one(only_of(partitions), timeout) if record is None else record

    def getmany(
        self,
        *partitions: TopicPartition,
        timeout: float = 1.0,
        max_records: int | None = None,
    ) -> dict[TopicPartition, list[Record[K_co, V_co]]]:
        """What is there, at most `max_records` (None: `max_poll_records`), by partition.

        Waits up to `timeout` seconds for the first record; empty after that, or after `wakeup`.
        Raises ReadError (with topic, partition, offset) for a partition that cannot go on.
        """
        fetcher = self._reader()
        count = self._front.max_poll_records if max_records is None else max_records
        only = only_of(partitions)
        deadline = time.monotonic() + timeout
        while True:
            self._tell()
            found = fetcher.take(count, only)
            if found or not self._wait(fetcher, only, deadline):
                return found

    def _wait_one(
        self, only: frozenset[TopicPartition] | None, timeout: float | None
    ) -> Record[K_co, V_co] | None:
        fetcher = self._reader()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._tell()
            record = fetcher.take_one(only)
            if record is not None or not self._wait(fetcher, only, deadline):
                return record

    def _wait(
        self, fetcher: Fetcher, only: frozenset[TopicPartition] | None, deadline: float | None
    ) -> bool:
        """Wait for news; False: the time is over, or somebody called `wakeup`."""
        if fetcher.take_wakeup():
            return False
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return False
        news = threading.Event()
        waiter = news.set
        if fetcher.wait_nowait(waiter, only):
            try:
                wait_event(news, left, lambda: fetcher.woken_up)
            finally:
                fetcher.forget_waiter(waiter)
        return not fetcher.take_wakeup()

    def _reader(self) -> Fetcher:
        engine = self._life.use()
        if not self._front.started:
            front = self._grouping
            if front.configured:
                self._life.run(engine.join(front.subscription, front.callbacks.told), "joining")
            else:
                self._life.run(engine.start(), "metadata")
            self._front.started = True
        return engine.fetcher

    # ---- what is read ----------------------------------------------------------------------

    def assignment(self) -> set[TopicPartition]:
        """What is read."""
        return set(self._reader().assignment())

    # ---- positions -------------------------------------------------------------------------

    def seek(self, partition: TopicPartition, offset: int | Offset) -> None:
        """Hand out the record at `offset` next."""
        tp = self._front.known(partition)
        if isinstance(offset, Offset):
            self._seek_to({tp: spec_of(offset)})
        else:
            self._front.fetcher.seek(tp, offset)

    def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        """Go to the first offset there is now; without arguments in every partition."""
        self._seek_all(partitions, Spec.earliest())

    def seek_to_end(self, *partitions: TopicPartition) -> None:
        """Go behind the last record there is now; without arguments in every partition."""
        self._seek_all(partitions, Spec.latest())

    def seek_to_time(self, when: Time, *partitions: TopicPartition) -> None:
        """Go to the first record at or after `when`, or to the end where none is that late."""
        self._seek_all(partitions, Spec.at_time(time_to_ms(when)))

    def _seek_all(self, partitions: Sequence[TopicPartition], spec: Spec) -> None:
        if not partitions:
            self._reader()
        self._seek_to(dict.fromkeys(self._front.chosen(partitions), spec))

    def _seek_to(self, questions: Mapping[TopicPartition, Spec]) -> None:
        engine = self._life.use()
        for tp in questions:
            engine.fetcher.reader(tp)
        self._life.run(engine.seek_to(questions), "offsets")

    def position(self, partition: TopicPartition) -> int:
        """Offset of the next record that will be handed out. Raises NoOffsetError."""
        tp = self._front.known(partition)
        engine = self._life.use()
        known = engine.fetcher.position(tp)
        return self._life.run(engine.position(tp), "position") if known is None else known

    def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset that can be read, of any partitions."""
        return self._offsets(partitions, Spec.earliest())

    def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset behind the last readable record, of any partitions."""
        return self._offsets(partitions, Spec.latest())

    def _offsets(
        self, partitions: Iterable[TopicPartition], spec: Spec
    ) -> dict[TopicPartition, int]:
        questions = {TopicPartition(*tp): spec for tp in partitions}
        found = self._life.run(self._life.use().offsets(questions), "offsets")
        return {tp: answer.offset for tp, answer in found.items()}

    def offsets_for_times(
        self, times: Mapping[TopicPartition, Time]
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """The first record at or after a time; None where no record is that late."""
        engine = self._life.use()
        return time_answers(self._life.run(engine.offsets(time_questions(times)), "offsets"))

    def lag(self) -> dict[TopicPartition, int]:
        """Records between each position and the end, as of now."""
        partitions = self._reader().assignment()
        return self._life.run(self._life.use().lag(partitions), "lag")

    def partitions_for(self, topic: str) -> set[int]:
        """Partition numbers of `topic`. Raises UnknownTopicError."""
        return self._life.run(self._life.use().partitions_for(topic), f"metadata of {topic}")

    # ---- the end ---------------------------------------------------------------------------

    def close(self) -> None:
        """Stop reading; a read that waits ends. A group is told, what is finished committed, and
        partitions go to the other members at once. Idempotent."""
        try:
            self._hand_over()
        finally:
            engine = self._life.end()
            if engine is not None:
                engine.fetcher.close()
                # Bounded: a signal handler may have interrupted a thread that holds the lock.
                with contextlib.suppress(TimeoutError):
                    self._life.run(engine.close(), "closing the consumer", CLOSE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
