"""The producer's engine: drives the sender over produce streams, on one event loop."""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from logd_proto.v1 import log_pb2
from logd_wire.errors import (
    BufferFullError,
    ClosedError,
    LogdError,
    TimeoutError,
    UnknownTopicError,
)

from logd_client._core.accumulator import Accumulator, BatchingConfig, queue_for
from logd_client._core.backoff import Backoff
from logd_client._core.batch import ProducerBatch, TopicQueues
from logd_client._core.ports import FreeLock, Lock
from logd_client._core.sender import Ack, Send, Sender
from logd_client._engine.cluster import Cluster, ClusterConfig
from logd_client._engine.ports import Clock, Rng
from logd_client._engine.produce_link import ProduceLink
from logd_client._transport.api import Transport
from logd_client._transport.methods import INIT_PRODUCER_ID

logger = logging.getLogger("logd.client.producer")

#: How long one round of looking for leaders or a producer id goes on before it is begun anew.
_PATIENCE_MS: Final = 5_000.0


@dataclass(frozen=True, slots=True)
class ProducerConfig:
    """`acks` is 0, 1 or -1 (all). Times in milliseconds, sizes in bytes."""

    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    batching: BatchingConfig = field(default_factory=BatchingConfig)
    acks: int = -1
    idempotent: bool = True
    max_block_ms: float = 60_000.0


class ProducerEngine:
    """One producer.

    `accumulator` may be appended to from any thread under `lock`; everything else runs on the
    loop. `call_on_loop` runs a callback on the loop from any thread; the default is for callers
    that are on the loop themselves. Make the engine on its loop.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        rng: Rng,
        config: ProducerConfig,
        *,
        lock: Lock | None = None,
        call_on_loop: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._call_on_loop = call_on_loop or self._loop.call_soon
        self.cluster = Cluster(transport, clock, rng, config.cluster)
        self.accumulator = Accumulator(
            config.batching, lock or FreeLock(), rng, clock.monotonic_ms, self._wake
        )
        # Without answers a gap in the sequence could not be noticed.
        idempotent = config.idempotent and config.acks != 0
        self.sender = Sender(
            self.accumulator, rng, self.cluster.metadata.leader, idempotent=idempotent
        )
        self._backoff = Backoff()
        self._links: dict[str, ProduceLink] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._pump_due = False
        self._metadata_task: asyncio.Task[None] | None = None
        self._identity_task: asyncio.Task[None] | None = None
        self._refresh_timer: asyncio.TimerHandle | None = None
        self.closed = False

    # ---- the pump ----------------------------------------------------------------------------

    def _wake(self) -> None:
        """Called with the lock held, from any thread."""
        self._call_on_loop(self._pump)

    def _pump_soon(self) -> None:
        if not self._pump_due:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        if self.closed:
            return
        now_ms = self.clock.monotonic_ms()
        self._dispatch(self.sender.drain(now_ms))
        self._look_for_silence(now_ms)
        if self.sender.wants_identity and _idle(self._identity_task):
            self._identity_task = self._spawn(self._obtain_identity(), "producer id")
        if self.sender.wants_metadata and _idle(self._metadata_task):
            self._metadata_task = self._spawn(self._obtain_metadata(), "metadata")
        self._set_timer(now_ms)

    def _spawn(self, coroutine: object, what: str) -> asyncio.Task[None]:
        return self._loop.create_task(coroutine, name=f"logd-client {what}")  # type: ignore[arg-type]

    def _dispatch(self, sends: list[Send]) -> None:
        by_address: dict[str, list[Send]] = {}
        for send in sends:
            by_address.setdefault(send.leader.address, []).append(send)
        for address, group in by_address.items():
            link = self._links.get(address)
            if link is None or link.broken:
                link = ProduceLink(
                    self.cluster.connection(address),
                    self.config.acks,
                    self.clock,
                    self._on_result,
                    self._pump_soon,
                )
                self._links[address] = link
            link.send(group)

    def _look_for_silence(self, now_ms: float) -> None:
        """Have others asked who leads what a silent node was sent."""
        for link in self._links.values():
            if link.suspect_at_ms is not None and link.suspect_at_ms <= now_ms:
                self.sender.wants_metadata.update(link.suspect(now_ms))

    def _move_from_silent(self) -> None:
        """What was sent to a silent node, and is led by another one now, is sent there."""
        for address, link in self._links.items():
            if link.silent:
                link.give_up(partial(self._is_led_elsewhere, address))

    def _is_led_elsewhere(self, address: str, batch: ProducerBatch) -> bool:
        leader = self.cluster.metadata.leader(batch.topic, batch.partition)
        return leader is not None and leader.address != address

    def _set_timer(self, now_ms: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadlines = [self.sender.next_deadline_ms()]
        deadlines += [link.suspect_at_ms for link in self._links.values()]
        deadline_ms = min((each for each in deadlines if each is not None), default=None)
        if deadline_ms is not None and not self.closed:
            delay = max(0.0, deadline_ms - now_ms) / 1000
            self._timer = self._loop.call_later(delay, self._pump)

    def _on_result(self, batch: ProducerBatch, answer: Ack | LogdError, sent: bool) -> None:
        now_ms = self.clock.monotonic_ms()
        if isinstance(answer, Ack):
            self.sender.on_ack(batch, answer, now_ms)
            return
        news = self.cluster.apply_hint(batch.topic, batch.topic_id, batch.partition, answer)
        self.sender.on_failure(batch, answer, now_ms, sent=sent)
        if news:
            self.sender.on_metadata([batch.topic])

    # ---- what the sender needs ---------------------------------------------------------------

    async def _obtain_metadata(self) -> None:
        names = list(self.sender.wants_metadata)
        try:
            await self.cluster.refresh(names)
        except LogdError as error:
            logger.info("metadata of %s could not be refreshed: %s", names, error)
            for name in names:
                self.sender.note_cause(name, error)
            await self.clock.sleep_ms(self._backoff.delay_ms(3, self._rng))
        else:
            self._note_vanished(names)
        for name in names:
            self._learn_partitions(name)
        self._move_from_silent()
        self.sender.on_metadata(names)
        self._pump_soon()

    def _note_vanished(self, names: Iterable[str]) -> None:
        for name in names:
            state = self.cluster.metadata.topic(name)
            if state is not None and state.error is not None:
                logger.info("topic %s cannot be written to: %s", name, state.error)
                self.sender.note_cause(name, state.error)

    def _learn_partitions(self, name: str) -> None:
        state = self.cluster.metadata.topic(name)
        if state is not None and state.error is None:
            with self.accumulator.lock:
                self.accumulator.set_partitions(
                    name, len(state.partitions), self.cluster.metadata.available(name)
                )
            if self._refresh_timer is None and not self.closed:
                max_age_ms = self.config.cluster.metadata_max_age_ms
                self._refresh_timer = self._loop.call_later(max_age_ms / 1000, self._refresh_all)

    def _refresh_all(self) -> None:
        """Metadata is old: partitions may have been added."""
        self._refresh_timer = None
        self.sender.wants_metadata.update(dict.fromkeys(self.accumulator.topics))
        self._pump()

    async def _obtain_identity(self) -> None:
        attempt = 0
        while not self.closed:
            try:
                answer = await self.cluster.ask(
                    INIT_PRODUCER_ID,
                    log_pb2.InitProducerIdRequest(),
                    timeout_ms=self.config.cluster.request_timeout_ms,
                )
            except LogdError as error:
                attempt += 1
                logger.info("no producer id yet: %s", error)
                self.sender.note_no_identity(error)
                await self.clock.sleep_ms(self._backoff.delay_ms(attempt, self._rng))
                continue
            self.sender.on_identity(answer.producer_id, answer.producer_epoch)
            self._pump_soon()
            return

    # ---- for facades and simulations, on the loop ----------------------------------------------

    async def topic(self, name: str) -> TopicQueues:
        """The queues of `name`, looked up if needed.

        Raises UnknownTopicError or InvalidTopicNameError as the node says, BootstrapError when no
        node was ever reached, TimeoutError after `max_block_ms`.
        """
        self._check_open()
        known = self.accumulator.topics.get(name)
        if known is not None:
            return known
        try:
            async with asyncio.timeout(self.config.max_block_ms / 1000):
                await self._look_up(name)
        except TimeoutError:
            raise
        except builtins.TimeoutError:
            raise TimeoutError(
                f"no metadata of topic {name!r} within {self.config.max_block_ms / 1000:g} s",
                hint="see max_block_ms",
            ) from None
        self._learn_partitions(name)
        return self.accumulator.topics[name]

    async def _look_up(self, name: str) -> None:
        attempt = 0
        while True:
            await self.cluster.refresh_until_heard(
                [name], allow_auto_create=True, patience_ms=self.config.max_block_ms
            )
            state = self.cluster.metadata.topic(name)
            error = state.error if state is not None else None
            if state is not None and error is None and state.partitions:
                return
            attempt += 1
            if isinstance(error, UnknownTopicError):
                raise UnknownTopicError(
                    f"topic {name!r} does not exist",
                    hint=f"create it (logd topic create {name}), or let the node create topics",
                    broker=error.broker,
                    retriable=True,
                )
            if error is not None and not error.retriable:
                raise error
            await self.clock.sleep_ms(self._backoff.delay_ms(attempt, self._rng))

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: tuple[tuple[str, bytes | None], ...] = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> tuple[ProducerBatch, int]:
        """Append one record, waiting for room; return its batch and its index there."""
        queues = await self.topic(topic)
        await self.wait_room()
        stamp = self.clock.wall_ms() if timestamp_ms is None else timestamp_ms
        with self.accumulator.lock:
            queue = queue_for(queues, key, partition)
            return self.accumulator.append(queues, queue, stamp, key, value, headers)

    async def wait_room(self) -> None:
        """Wait until the buffer takes another record; BufferFullError after `max_block_ms`."""
        deadline_ms = self.clock.monotonic_ms() + self.config.max_block_ms
        while True:
            self._check_open()
            room: asyncio.Future[None] = self._loop.create_future()
            if not self.register_for_room(lambda room=room: _resolve(room)):  # type: ignore[misc]
                return
            left_ms = deadline_ms - self.clock.monotonic_ms()
            try:
                async with asyncio.timeout(max(0.0, left_ms) / 1000):
                    await room
            except builtins.TimeoutError:
                raise self.buffer_full() from None

    def register_for_room(self, waiter: Callable[[], None]) -> bool:
        """False: there is room. Otherwise `waiter` is called when there is, and nothing lingers
        meanwhile. From any thread."""
        accumulator = self.accumulator
        with accumulator.lock:
            if accumulator.has_room():
                return False
            accumulator.space_waiters.append(waiter)
            accumulator.hurry_all()
            return True

    def buffer_full(self) -> BufferFullError:
        size = self.config.batching.buffer_bytes
        seconds = self.config.max_block_ms / 1000
        return BufferFullError(
            f"the send buffer of {size} bytes stayed full for {seconds:g} s",
            hint="the node is slower than the producer, or cannot be reached: see buffer_memory "
            "and max_block_ms",
        )

    async def wait(self, batch: ProducerBatch) -> None:
        """Wait until `batch` is done, without lingering; raises its error."""
        done: asyncio.Future[None] = self._loop.create_future()
        with self.accumulator.lock:
            self.accumulator.hurry(batch)
        batch.add_done_callback(lambda _: _resolve(done), self.accumulator.lock)
        await done
        if batch.error is not None:
            raise batch.error

    async def flush(self) -> None:
        """Wait until everything appended so far has its outcome; failures are not raised here."""
        with self.accumulator.lock:
            pending = self.accumulator.hurry_all()
        for batch in pending:
            done: asyncio.Future[None] = self._loop.create_future()
            batch.add_done_callback(lambda _, done=done: _resolve(done), self.accumulator.lock)  # type: ignore[misc]
            await done

    async def partitions_for(self, topic: str) -> set[int]:
        """Partition numbers of `topic`, as of now."""
        self._check_open()
        await self._look_up(topic)
        self._learn_partitions(topic)
        return set(range(self.accumulator.topics[topic].partitions))

    async def close(self) -> None:
        """Stop at once: what was not acknowledged fails with ClosedError. Idempotent."""
        if self.closed:
            return
        self.closed = True
        for timer in (self._timer, self._refresh_timer):
            if timer is not None:
                timer.cancel()
        tasks = [task for task in (self._metadata_task, self._identity_task) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in list(self._links.values()):
            await link.close()
        self._fail_rest()
        await self.cluster.close()

    def _fail_rest(self) -> None:
        with self.accumulator.lock:
            rest = [batch for batch in self.accumulator.by_age if not batch.done]
            self.accumulator.by_age.clear()
            waiters = list(self.accumulator.space_waiters)
            self.accumulator.space_waiters.clear()
        for batch in rest:
            batch.error = ClosedError(
                f"the producer was closed before {batch.topic}[{batch.partition}] answered",
                hint="flush() before close(), or give close() more time",
            )
            self.accumulator.finish(batch)
        for waiter in waiters:
            waiter()

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedError("the producer is closed")


def _idle(task: asyncio.Task[None] | None) -> bool:
    return task is None or task.done()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
