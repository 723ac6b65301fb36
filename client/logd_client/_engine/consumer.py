"""The consumer's engine: drives subscriptions over fetch streams, on one event loop."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from logd_proto.v1 import log_pb2
from logd_wire.errors import (
    BootstrapError,
    ClosedError,
    LogdError,
    RebalanceError,
    UnknownTopicError,
)

from logd_client._core.fetch_state import FetchConfig, FetchState, News
from logd_client._core.fetcher import Deserialize, Fetcher
from logd_client._core.group_member import Subscription
from logd_client._core.group_reading import GroupReading
from logd_client._core.partition_reader import Frame, PartitionReader, Reset
from logd_client._core.ports import FreeLock, Lock
from logd_client._core.subscriptions import Plan, Subscriptions, no_offset
from logd_client._engine.cluster import Cluster, ClusterConfig
from logd_client._engine.coordinator import passes
from logd_client._engine.dead_letters import DeadLetters
from logd_client._engine.fetch_link import FetchLink
from logd_client._engine.group import GroupSession
from logd_client._engine.group_config import GroupConfig
from logd_client._engine.offsets import Answer, Spec, list_offsets
from logd_client._engine.ports import Clock, Rng
from logd_client._engine.reading_watch import ReadingWatcher
from logd_client._transport.api import Transport
from logd_client._transport.errors import from_proto
from logd_client.read_errors import ReadUnknownTopicError, located
from logd_client.values import OffsetAndTimestamp, TopicPartition

logger = logging.getLogger("logd.client.consumer")

_SPECS = {Reset.EARLIEST: Spec.earliest(), Reset.LATEST: Spec.latest()}


@dataclass(frozen=True, slots=True)
class ConsumerConfig:
    """`topics`: all their partitions are read, those that come later included; with `group` what
    the group assigns of them."""

    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    fetch: FetchConfig = field(default_factory=FetchConfig)
    topics: tuple[str, ...] = ()
    group: GroupConfig | None = None


class ConsumerEngine:
    """One consumer.

    `fetcher` is for callers, from any thread; everything else runs on the loop. `call_on_loop`
    as with `ProducerEngine`. Make the engine on its loop.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        rng: Rng,
        config: ConsumerConfig,
        *,
        fetcher: Fetcher | None = None,
        lock: Lock | None = None,
        reading: Lock | None = None,
        deserialize: Deserialize | None = None,
        call_on_loop: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self._loop = asyncio.get_running_loop()
        self._call_on_loop = call_on_loop or self._loop.call_soon
        self.cluster = Cluster(transport, clock, rng, config.cluster)
        state = FetchState(config.fetch, lock or FreeLock(), self._wake)
        self.fetcher = fetcher or Fetcher(state, reading or FreeLock(), deserialize)
        self.subscriptions = Subscriptions(state, rng, self.cluster.metadata.leader)
        self.dead_letters = DeadLetters(transport, clock, rng, config.cluster)
        self.reading = GroupReading(self.fetcher)
        self.watcher = ReadingWatcher(state, clock, self._loop, config.cluster.request_timeout_ms)
        self.group = (
            GroupSession(
                config.group,
                self.cluster,
                clock,
                rng,
                reading=self.reading,
                reset=config.fetch.reset,
                call_on_loop=self._call_on_loop,
            )
            if config.group is not None
            else None
        )
        #: When a node sent something last; None: never.
        self.heard_ms: float | None = None
        self._links: dict[str, FetchLink] = {}
        self._streams = 0
        self._timer: asyncio.TimerHandle | None = None
        self._metadata_task: asyncio.Task[None] | None = None
        self._wanted_topics: dict[str, None] = {}
        self._lookups: list[tuple[PartitionReader, int, Reset]] = []
        self._lookup_task: asyncio.Task[None] | None = None
        self._refresh_timer: asyncio.TimerHandle | None = None
        self.closed = False

    # ---- the pump ----------------------------------------------------------------------------

    def _wake(self) -> None:
        """Called with the lock held, from any thread."""
        self._call_on_loop(self._pump)

    def _pump(self) -> None:
        if self.closed:
            return
        now_ms = self.clock.monotonic_ms()
        plan = self.subscriptions.plan(now_ms)
        self._carry_out(plan)
        self._wanted_topics.update(plan.topics)
        if self._wanted_topics and _idle(self._metadata_task):
            self._metadata_task = self._loop.create_task(
                self._obtain_metadata(), name="logd-client metadata"
            )
        self._lookups += plan.lookups
        if self._lookups and _idle(self._lookup_task):
            self._lookup_task = self._loop.create_task(
                self._look_up_positions(), name="logd-client positions"
            )
        self._set_timer(now_ms)
        self.watcher.keep_looking()

    def _set_timer(self, now_ms: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline_ms = self.subscriptions.next_deadline_ms()
        if deadline_ms is not None:
            # In whole milliseconds, as clocks may tick: a shorter wait could find itself early.
            delay_ms = max(0, math.ceil(deadline_ms - now_ms))
            self._timer = self._loop.call_later(delay_ms / 1000, self._pump)

    def _carry_out(self, plan: Plan) -> None:
        for address, subscription_id in plan.unsubscribe:
            link = self._links.get(address)
            if link is not None and not link.broken:
                link.unsubscribe(subscription_id)
        accounts = {link.account: link for link in self._links.values() if not link.broken}
        for account, size in plan.credit.items():
            if account in accounts:
                accounts[account].grant(size)
        for wanted in plan.subscribe:
            self._link(wanted.leader.address).subscribe(wanted)

    def _link(self, address: str) -> FetchLink:
        link = self._links.get(address)
        if link is None or link.broken:
            self._streams += 1
            link = FetchLink(
                self.cluster.connection(address),
                f"{address}/{self._streams}",
                self.config.fetch,
                self._on_frames,
                self._on_broken,
            )
            self._links[address] = link
        return link

    # ---- what comes in -----------------------------------------------------------------------

    def _on_frames(self, link: FetchLink, response: log_pb2.FetchResponse) -> None:
        self.heard_ms = self.clock.monotonic_ms()
        failed = False
        for part in response.partitions:
            if part.HasField("error"):
                failed = True
                self._on_error(part, link.connection.address)
                continue
            frame = Frame(part.records, part.next_offset, part.leader_epoch, link.account)
            self.subscriptions.on_frame(
                part.subscription_id, frame, part.high_watermark, part.log_start_offset
            )
        if failed:
            self._pump()

    def _on_error(self, part: log_pb2.FetchedPartition, address: str) -> None:
        error = from_proto(part.error, broker=address)
        reader = self.subscriptions.reader_of(part.subscription_id)
        news = reader is not None and self.cluster.apply_hint(
            reader.tp.topic, reader.topic_id, reader.tp.partition, error
        )
        self.subscriptions.on_error(part.subscription_id, error, self.clock.monotonic_ms())
        if news:
            self.subscriptions.on_metadata()

    def _on_broken(self, link: FetchLink, error: LogdError) -> None:
        if self.closed:
            return
        address = link.connection.address
        logger.info("fetch stream to %s ended: %s", address, error, extra={"broker": address})
        lost = LogdError(error.message, hint=error.hint, broker=address, code=error.code)
        # Whatever ended the stream: a new one may do better.
        lost.retriable = True
        self.subscriptions.on_link_lost(address, lost, self.clock.monotonic_ms())
        self._pump()

    # ---- metadata ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Learn the partitions of `config.topics` and assign those that are new.

        Raises UnknownTopicError, or BootstrapError when no node was ever reached.
        """
        names = self.config.topics
        if not names:
            return
        found = await self._partitions_of(names)
        first = self._refresh_timer is None
        # A partition that came later is new: nothing of it was missed yet.
        self.fetcher.add(found, self.config.fetch.reset if first else Reset.EARLIEST)
        max_age = self.config.cluster.metadata_max_age_ms / 1000
        self._refresh_timer = self._loop.call_later(max_age, self._refresh_topics)

    async def _partitions_of(self, names: Sequence[str]) -> list[TopicPartition]:
        self._check_open()
        timeout_ms = self.config.cluster.request_timeout_ms
        await self.cluster.refresh_until_heard(names, patience_ms=timeout_ms)
        self._check_open()
        found: list[TopicPartition] = []
        for name in names:
            state = self.cluster.metadata.topic(name)
            if state is None or state.error is not None:
                raise _unknown(name, None if state is None else state.error)
            found += [TopicPartition(name, number) for number in sorted(state.partitions)]
        return found

    async def join(self, subscription: Subscription, told: frozenset[News]) -> None:
        """Have the group assign partitions of what is subscribed to; errors as `start`."""
        assert self.group is not None
        await self._partitions_of(subscription.topics)
        self.group.subscribe(subscription, told)

    def _refresh_topics(self) -> None:
        self._wanted_topics.update(dict.fromkeys(self.config.topics))
        self._pump()

    async def _obtain_metadata(self) -> None:
        """Refresh what the subscriptions asked for."""
        names, self._wanted_topics = list(self._wanted_topics), {}
        try:
            if self._refresh_timer is not None and set(names) & set(self.config.topics):
                self._refresh_timer.cancel()
                await self.start()
            await self.cluster.refresh(names)
        except BootstrapError as error:
            if not self.cluster.metadata.cluster_id:
                self.subscriptions.fail(error)
            else:
                logger.info("no node answers, trying again: %s", error)
        except UnknownTopicError as error:
            logger.info("metadata: %s", error)
        except LogdError as error:
            if not error.retriable:
                self.subscriptions.fail(error)
            logger.info("metadata of %s could not be refreshed: %s", names, error)
        self._report_unknown(names)
        self.subscriptions.on_metadata()
        self._loop.call_soon(self._pump)

    def _report_unknown(self, names: Iterable[str]) -> None:
        for name in names:
            state = self.cluster.metadata.topic(name)
            if state is None:
                continue
            if state.error is None:
                count = len(state.partitions)
                error = located(
                    ReadUnknownTopicError,
                    f"topic {name!r} has only {count} partitions",
                    topic=name,
                    partition=-1,
                    offset=-1,
                    hint=f"they are 0 to {count - 1}",
                )
                self.subscriptions.on_unknown(name, count, error)
            elif isinstance(state.error, UnknownTopicError) or not state.error.retriable:
                self.subscriptions.on_unknown(name, 0, _unknown(name, state.error))

    # ---- offsets -----------------------------------------------------------------------------

    async def _look_up_positions(self) -> None:
        lookups, self._lookups = self._lookups, []
        committed, failures = await self._committed([reader for reader, _, _ in lookups])
        questions = {
            reader.tp: _SPECS[reset]
            for reader, _, reset in lookups
            if reader.tp not in committed and reader.tp not in failures and reset in _SPECS
        }
        answers: dict[TopicPartition, Answer] = {**failures}
        if questions:
            answers |= await list_offsets(
                self.cluster, questions, timeout_ms=self.config.cluster.request_timeout_ms
            )
        for reader, generation, _ in lookups:
            kept = committed.get(reader.tp)
            answer = answers.get(reader.tp) or no_offset(reader)
            if isinstance(answer, BootstrapError) and not self.cluster.metadata.cluster_id:
                self.subscriptions.fail(answer)
            if kept is not None:
                self.subscriptions.on_position(reader, generation, kept, kept)
            elif isinstance(answer, LogdError):
                now_ms = self.clock.monotonic_ms()
                self.subscriptions.on_lookup_failed(reader, generation, answer, now_ms)
            else:
                self.subscriptions.on_position(reader, generation, answer.offset)
                if self.group is not None:
                    # Whoever takes the partition over goes on from here, whatever the end is then.
                    self.group.commit_soon()
        self._loop.call_soon(self._pump)

    async def _committed(
        self, readers: Sequence[PartitionReader]
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, Answer]]:
        """What the group has committed of these, and why that is not known."""
        if self.group is None:
            return {}, {}
        tps = [reader.tp for reader in readers]
        try:
            return await self.group.offsets.fetch(tps), {}
        except LogdError as error:
            # Who is no member any more, or in another epoch by now, hears of that otherwise.
            error.retriable = passes(error) or isinstance(error, RebalanceError)
            return {}, dict.fromkeys(tps, error)

    async def offsets(
        self, questions: Mapping[TopicPartition, Spec]
    ) -> dict[TopicPartition, OffsetAndTimestamp]:
        """Answer each question, trying again where that helps; raises the first error."""
        self._check_open()
        deadline_ms = self.clock.monotonic_ms() + self.config.cluster.request_timeout_ms
        first = True
        while True:
            answers = await list_offsets(
                self.cluster, questions, timeout_ms=self.config.cluster.request_timeout_ms
            )
            errors = [each for each in answers.values() if isinstance(each, LogdError)]
            if not errors:
                return {tp: each for tp, each in answers.items() if not isinstance(each, LogdError)}
            final = [each for each in errors if not _passing(each)]
            if final or self.clock.monotonic_ms() > deadline_ms:
                raise (final or errors)[0]
            if not first:
                await self.clock.sleep_ms(50)
            first = False

    async def position(self, tp: TopicPartition) -> int:
        """The position of an assigned partition, looked up if it has none yet.

        Raises NoOffsetError when nothing says where to begin.
        """
        self._check_open()
        known = self.fetcher.position(tp)
        if known is not None:
            return known
        reader = self.fetcher.reader(tp)
        generation = reader.generation
        kept = None
        if self.group is not None:
            kept = (await self.group.offsets.fetch([tp])).get(tp)
        if kept is not None:
            offset = kept
        elif reader.reset is Reset.ERROR:
            raise no_offset(reader)
        else:
            offset = (await self.offsets({tp: _SPECS[reader.reset]}))[tp].offset
        self.subscriptions.on_position(reader, generation, offset, kept)
        position = self.fetcher.position(tp)
        return offset if position is None else position

    async def seek_to(self, questions: Mapping[TopicPartition, Spec]) -> None:
        """Move to the offsets that answer the questions; a time later than all: to the end."""
        found = await self.offsets(questions)
        late = [tp for tp, answer in found.items() if answer.offset < 0]
        if late:
            found.update(await self.offsets(dict.fromkeys(late, Spec.latest())))
        for tp, answer in found.items():
            self.fetcher.seek(tp, answer.offset)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Have the group keep these; errors as `GroupOffsets.commit`."""
        if self.group is not None:
            await self.group.offsets.commit(offsets)

    async def lag(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Records between the position and the end, as of now."""
        ends = await self.offsets(dict.fromkeys(partitions, Spec.latest()))
        lags: dict[TopicPartition, int] = {}
        for tp in partitions:
            lags[tp] = max(0, ends[tp].offset - await self.position(tp))
        return lags

    async def wait_readable(self, timeout_ms: float | None = None) -> bool:
        """Wait on this loop until a read may find something; False after `timeout_ms`."""
        news = asyncio.Event()
        if not self.fetcher.wait_nowait(news.set):
            return True
        try:
            async with asyncio.timeout(None if timeout_ms is None else timeout_ms / 1000):
                await news.wait()
        except TimeoutError:
            return False
        finally:
            self.fetcher.forget_waiter(news.set)
        return True

    async def partitions_for(self, topic: str) -> set[int]:
        """Partition numbers of `topic`, as of now. Raises UnknownTopicError."""
        self._check_open()
        await self.cluster.refresh([topic])
        state = self.cluster.metadata.topic(topic)
        if state is None or state.error is not None:
            raise _unknown(topic, None if state is None else state.error)
        return set(state.partitions)

    async def close(self) -> None:
        """Stop reading. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self.fetcher.close()
        if self.group is not None:
            await self.group.close()
        await self.dead_letters.close()
        self.watcher.close()
        for timer in (self._timer, self._refresh_timer):
            if timer is not None:
                timer.cancel()
        tasks = [task for task in (self._metadata_task, self._lookup_task) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in list(self._links.values()):
            await link.close()
        await self.cluster.close()

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedError("the consumer is closed")


def _idle(task: asyncio.Task[None] | None) -> bool:
    return task is None or task.done()


def _passing(error: LogdError) -> bool:
    """Whether asking again may help. A node that was told to us as a leader and does not know the
    topic is behind, or we are; that nobody knows it is said by the metadata, which name no node."""
    if isinstance(error, UnknownTopicError):
        return error.broker is not None
    return error.retriable and not isinstance(error, BootstrapError)


def _unknown(name: str, cause: LogdError | None) -> LogdError:
    if cause is not None and not isinstance(cause, UnknownTopicError):
        return cause
    return located(
        ReadUnknownTopicError,
        f"topic {name!r} does not exist",
        topic=name,
        partition=-1,
        offset=-1,
        cause=cause,
        hint=f"see `logd topic list`; create it with `logd topic create {name}`",
    )
