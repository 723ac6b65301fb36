"""What the synchronous and the asyncio consumer share: everything but the waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from logd_wire.errors import ConfigError

from logd_client._config import cluster_config, consumer_config, group_config, integer, number
from logd_client._core.fetcher import Deserialize, Fetcher
from logd_client._engine.consumer import ConsumerEngine
from logd_client._engine.group import GroupSession
from logd_client._engine.offsets import Spec
from logd_client._io_thread import IoThread
from logd_client._runtime import Environment, Life
from logd_client.read_errors import ReadSerializationError, located
from logd_client.values import (
    Offset,
    OffsetAndTimestamp,
    Record,
    Time,
    TopicPartition,
    time_to_ms,
)


class ReadingFront:
    """Options and the engine of one consumer."""

    def __init__(
        self,
        environment: Environment,
        topics: tuple[str, ...],
        bootstrap_servers: str | Sequence[str],
        *,
        client_id: str | None,
        request_timeout_ms: float,
        metadata_max_age_ms: float,
        max_poll_records: int,
        consumer_timeout_ms: float | None,
        key_deserializer: Any,
        value_deserializer: Any,
        grouping: Mapping[str, Any],
        **fetching: Any,
    ) -> None:
        cluster = cluster_config(
            bootstrap_servers, client_id, request_timeout_ms, metadata_max_age_ms
        )
        group = group_config(**grouping)
        config = consumer_config(cluster, topics, group=group, **fetching)
        self.config = config
        self.max_poll_records = integer("max_poll_records", max_poll_records, 1)
        self.iteration_seconds: float | None = None
        if consumer_timeout_ms is not None:
            milliseconds = number("consumer_timeout_ms", consumer_timeout_ms, 0)
            self.iteration_seconds = milliseconds / 1000
        deserialize = deserializer(key_deserializer, value_deserializer)

        def make(io: IoThread) -> ConsumerEngine:
            return ConsumerEngine(
                environment.transport(),
                environment.clock,
                environment.rng(),
                config,
                lock=threading.Lock(),
                reading=threading.Lock(),
                deserialize=deserialize,
                call_on_loop=io.call_soon,
            )

        self.life: Life[ConsumerEngine] = Life("consumer", make)
        #: Whether the partitions of `config.topics` are assigned, or the group is joined.
        self.started = not topics
        #: Whether partitions were assigned by hand.
        self.assigned = False

    @property
    def fetcher(self) -> Fetcher:
        """The engine's, made now if needed; ForkError or ClosedError where it cannot be used."""
        return self.life.use().fetcher

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        wanted = [checked(tp) for tp in partitions]
        if self.config.topics:
            raise ConfigError(
                "this consumer was made for topics, whose partitions it reads all",
                hint="leave the topics out of Consumer(...) to assign partitions",
            )
        engine = self.life.use()
        if engine.group is not None:
            self._check_unsubscribed(engine.group)
            self.life.call_soon(engine.group.keep_committing)
        self.assigned = bool(wanted)
        engine.fetcher.assign(wanted)

    def _check_unsubscribed(self, group: GroupSession) -> None:
        if group.subscribed or not self.started:
            raise ConfigError(
                "the group says what this consumer reads", hint="unsubscribe() first, then assign"
            )

    def known(self, tp: TopicPartition) -> TopicPartition:
        """`tp` as one of ours; a partition of our topics need not have been looked up yet."""
        partition = checked(tp)
        ours = partition.topic in self.config.topics and self.config.group is None
        if ours and not self.started:
            self.fetcher.add([partition], self.config.fetch.reset)
        return partition

    def chosen(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        """`partitions`, or all that are assigned when there are none."""
        if partitions:
            return [self.known(tp) for tp in partitions]
        return self.fetcher.assignment()


def checked(tp: TopicPartition) -> TopicPartition:
    """`tp` as a TopicPartition; ConfigError for anything else."""
    try:
        topic, partition = tp
    except (TypeError, ValueError):
        topic, partition = "", -1
    if not isinstance(topic, str) or not isinstance(partition, int) or partition < 0 or not topic:
        raise ConfigError(f"{tp!r} is not a partition", hint='TopicPartition("topic", 0)')
    return TopicPartition(topic, partition)


def only_of(partitions: Sequence[TopicPartition]) -> frozenset[TopicPartition] | None:
    """What a read is restricted to; None: nothing."""
    return frozenset(checked(tp) for tp in partitions) if partitions else None


def spec_of(offset: Offset) -> Spec:
    return Spec.earliest() if offset is Offset.BEGINNING else Spec.latest()


def time_questions(times: Mapping[TopicPartition, Time]) -> dict[TopicPartition, Spec]:
    return {checked(tp): Spec.at_time(time_to_ms(when)) for tp, when in times.items()}


def time_answers(
    found: Mapping[TopicPartition, OffsetAndTimestamp],
) -> dict[TopicPartition, OffsetAndTimestamp | None]:
    """None where no record is that late."""
    return {tp: None if answer.offset < 0 else answer for tp, answer in found.items()}


def deserializer(
    of_key: Callable[[bytes], Any] | None, of_value: Callable[[bytes], Any] | None
) -> Deserialize | None:
    """One function over a record for both; None when there is nothing to do."""
    if of_key is None and of_value is None:
        return None

    def deserialize(record: Record[Any, Any]) -> Record[Any, Any]:
        key, value = record.key, record.value
        what = "key"
        try:
            if of_key is not None and key is not None:
                key = of_key(key)
            what = "value"
            if of_value is not None and value is not None:
                value = of_value(value)
        except Exception as problem:
            error = located(
                ReadSerializationError,
                f"{what}_deserializer failed at {record.topic}[{record.partition}], offset "
                f"{record.offset}: {problem}",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                hint=f"skip it with seek(..., {record.offset + 1})",
            )
            assert isinstance(error, ReadSerializationError)
            error.record = record
            raise error from problem
        return record._replace(key=key, value=value)

    return deserialize
