"""All partitions on this node: opened at the start, then kept in step with the metadata image."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

from logd_wire.errors import (
    InvalidRequestError,
    LogdError,
    StorageFullError,
)

from logd.metadata import ClusterImage, PartitionImage, TopicImage
from logd.model.ids import NO_NODE, NodeId, TopicId, TopicPartitionId
from logd.model.node_config import NodeConfig
from logd.model.settings import FlushMode
from logd.model.topic_config import TopicConfig, parse_topic_config
from logd.observe import TrafficTable
from logd.runtime.disk_driver import DiskDriver
from logd.runtime.housekeeping import report_recovery, report_removed, retain
from logd.runtime.marks import Marks
from logd.runtime.partition import Partition, Surroundings
from logd.runtime.partition_stats import PartitionStats, stats_of
from logd.runtime.ports import Clock, Disk, Spawn
from logd.runtime.refusals import not_led_here, not_open_yet
from logd.runtime.replica_fetcher import ReplicaFetcher
from logd.runtime.signal import Signal
from logd.runtime.steady_clock import SteadyClock
from logd.storage import (
    DataDirectory,
    HandleCache,
    Ledger,
    LogConfig,
    LogKey,
    Moment,
    PartitionLog,
    create_log_at,
    forget_partition,
)

_logger = logging.getLogger("logd.partitions")

#: Logs that are opened side by side.
OPENING_MAX = 64
#: How often leaders look for followers that are out of time, so many of them without a pause:
#: requests would wait for all 10 000 of a node.
TICK_MS = 250
TICK_PORTION = 500
#: Beyond what unsynced writes and reads under way hold open.
OPEN_SEGMENTS_MAX = 1_000


class _Missing(NamedTuple):
    """A partition of this node whose log is not open."""

    key: TopicPartitionId
    topic: str
    config: TopicConfig
    state: PartitionImage

    @property
    def name(self) -> str:
        """For messages only."""
        return f"{self.topic}-{self.key.partition}"


class Partitions:
    """Owns the logs of every partition on this node."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        directory: DataDirectory,
        ledger: Ledger,
        driver: DiskDriver,
        disk: Disk,
        clock: Clock,
        steady: SteadyClock,
        spawn: Spawn,
        traffic: TrafficTable,
    ) -> None:
        self._config = config
        self._directory = directory
        self._ledger = ledger
        self._driver = driver
        self._disk = disk
        self._clock = clock
        self._steady = steady
        self._spawn = spawn
        self._traffic = traffic
        # Segment files open at one time, of all partitions together.
        self._handles = HandleCache(directory.files, OPEN_SEGMENTS_MAX)
        self._partitions: dict[TopicPartitionId, Partition] = {}
        self._around: Surroundings | None = None
        self._fetcher: ReplicaFetcher | None = None
        self._marks = Marks(directory.files, driver, clock)
        self._nodes: dict[NodeId, int] = {}
        #: A partition is led or copied otherwise than before.
        self._changed = Signal()
        self._config_of: tuple[TopicImage, TopicConfig] | None = None
        #: The newest image: a log that took long to open is led as it says.
        self._newest = ClusterImage()
        #: What `open_all` or `follow` came to the end with.
        self._in_step_with = ClusterImage()

    def take_part(self, around: Surroundings, fetcher: ReplicaFetcher | None) -> None:
        """Lead and copy from now on; comes before any log is opened.

        `fetcher` is None where there are no other nodes.
        """
        self._fetcher = fetcher
        self._around = around

    def get(self, key: TopicPartitionId) -> Partition | None:
        return self._partitions.get(key)

    def all(self) -> list[Partition]:
        return list(self._partitions.values())

    def topic_config(self, topic: TopicImage) -> TopicConfig:
        """The configuration in force for a topic.

        That of the topic asked for last is kept: partitions are opened one after the other, and
        each would look at all the others of its topic.
        """
        if self._config_of is None or self._config_of[0] is not topic:
            config = parse_topic_config(
                topic.config,
                defaults=self._config.topic_defaults,
                replication_factor=topic.replication_factor,
            )
            self._config_of = (topic, config)
        return self._config_of[1]

    async def open_all(self, image: ClusterImage) -> None:
        """Open the log of every partition in `image`; set aside what it does not know."""
        node_id = self._config.node.id
        self._in_step_with = image
        wanted = dict(image.partitions_of(node_id))
        keys: set[LogKey] = {(key.topic_id, key.partition) for key in wanted}
        unknown = await self._driver.call(
            partial(self._directory.quarantine_unknown, keys, self._steady.wall_ms())
        )
        await self._marks.load()
        for name in unknown:
            _logger.warning("partition directory set aside: the metadata does not know %s", name)
        try:
            await self._open_missing(image.topics_by_name())
        except StorageFullError as error:
            # Some need room to recover. They are tried again; the others serve meanwhile.
            _logger.error("not all partitions could be opened: %s", error)

    def follow_leaders(self, before: ClusterImage, after: ClusterImage) -> None:
        """Take over who leads what is here; at once, whatever becomes of the rest."""
        self._newest = after
        nodes = {
            node_id: node.node_epoch for node_id, node in after.nodes.items() if not node.fenced
        }
        same_nodes, self._nodes = nodes == self._nodes, nodes
        if not self._partitions:
            return
        for topic_id, topic in after.topics.items():
            changed = before.topics.get(topic_id) is not topic
            if same_nodes and not changed:
                continue
            # With the in-sync sets, at once: the controller takes who leaves a set that is too
            # small for somebody who misses nothing that is acknowledged from then on.
            min_isr = self.topic_config(topic).min_insync_replicas if changed else None
            for state in topic.partitions:
                found = self._partitions.get(TopicPartitionId(topic_id, state.partition))
                if found is not None:
                    self._lead_or_copy(found, state, min_isr)

    def _lead_or_copy(self, found: Partition, state: PartitionImage, min_isr: int | None) -> None:
        found.follow(state, self._nodes, min_isr)
        self._changed.set()
        if self._fetcher is None:
            return
        own_id = self._config.node.id
        if state.leader_id in (NO_NODE, own_id) or own_id not in state.replicas:
            self._fetcher.stop(found.id)
        else:
            self._fetcher.follow(found, state.leader_id, state.leader_epoch)

    async def follow(self, before: ClusterImage, after: ClusterImage) -> None:
        """Make, reconfigure and drop logs for what changed; safe to repeat after an error."""
        # Topics that did not change are the same objects in both images.
        known = before.topics
        changed = [each for key, each in after.topics.items() if known.get(key) is not each]
        changed.sort(key=lambda each: each.name)
        if not after.has_same_partitions(before):
            await self._forget_left(changed)
            await self._open_missing(changed)
            for key in list(self._partitions):
                if key.topic_id not in after.topics:
                    await self._drop(self._partitions.pop(key))
                elif not self._is_replica(key, after):
                    await self._let_go(self._partitions.pop(key))
        await self._reconfigure(changed)
        self._in_step_with = after

    def _is_replica(self, key: TopicPartitionId, image: ClusterImage) -> bool:
        topic = image.topics.get(TopicId(key.topic_id))
        if topic is None or key.partition >= len(topic.partitions):
            return False
        return self._config.node.id in topic.partitions[key.partition].replicas

    async def _forget_left(self, topics: Iterable[TopicImage]) -> None:
        """A replica that comes to this node anew begins empty, whatever the ledger says of one
        that was here earlier. One that could only not be opened yet is not new."""
        for one in list(self._missing(topics)):
            key = (one.key.topic_id, one.key.partition)
            if key in self._ledger.ends and not self._is_replica(one.key, self._in_step_with):
                await self._driver.call(partial(self._delete, key))

    async def _open_missing(self, topics: Iterable[TopicImage]) -> None:
        """Open or make logs side by side: each waits mostly for the disk, and nobody uses them
        yet, so they need not queue for the writer."""
        missing = list(self._missing(topics))
        for first in range(0, len(missing), OPENING_MAX):
            some = missing[first : first + OPENING_MAX]
            logs = [self._disk.sync(partial(self._open_log, one)) for one in some]
            failure: BaseException | None = None
            for one, log in zip(some, logs, strict=True):
                try:
                    self._partitions[one.key] = self._wrap(one, await log)
                except (LogdError, OSError) as error:
                    failure = failure or error
            if failure is not None:
                raise failure

    def _missing(self, topics: Iterable[TopicImage]) -> Iterator[_Missing]:
        for topic in topics:
            config: TopicConfig | None = None
            for state in topic.partitions:
                key = TopicPartitionId(topic.topic_id, state.partition)
                if key not in self._partitions and self._config.node.id in state.replicas:
                    config = config or self.topic_config(topic)
                    yield _Missing(key, topic.name, config, state)

    def _wrap(self, opened: _Missing, log: PartitionLog) -> Partition:
        topic = self._newest.topics.get(TopicId(opened.key.topic_id))
        state = topic.partition(opened.key.partition) if topic is not None else opened.state
        min_isr = self.topic_config(topic).min_insync_replicas if topic is not None else None
        assert self._around is not None, "take_part comes first"
        found = Partition(
            key=opened.key,
            topic=opened.topic,
            log=log,
            config=opened.config,
            high_watermark=self._marks.of((opened.key.topic_id, opened.key.partition)),
            around=self._around,
            traffic=self._traffic.join(opened.topic),
        )
        # What recovery found beyond the ledger is durable now, and must not be cut next time.
        self._driver.note_durable(found)
        self._lead_or_copy(found, state, min_isr)
        self._flush_by_interval(found)
        return found

    def _open_log(self, one: _Missing) -> PartitionLog:
        """On a thread of the disk."""
        log_key = (one.key.topic_id, one.key.partition)
        path = self._directory.partition_path(log_key)
        log_config = self._log_config(one.config)
        files, durable_end = self._directory.files, self._ledger.ends.get(log_key)
        if durable_end is not None and not files.exists(path):
            # It was here and is gone. An empty directory opens as what it is: damage.
            files.make_dir(path)
        if files.exists(path):
            log = PartitionLog.open(
                files,
                path,
                log_config,
                durable_end=durable_end,
                clean=self._directory.was_clean,
                now_ms=self._steady.wall_ms(),
                handles=self._handles,
            )
            report_recovery(one.name, log.recovery)
        else:
            log = PartitionLog.create(
                files,
                path,
                log_config,
                handles=self._handles,
                now_ms=self._steady.wall_ms(),
            )
        return log

    def _log_config(self, config: TopicConfig) -> LogConfig:
        deletes = config.deletes
        return LogConfig(
            segment_bytes=config.segment_bytes,
            segment_ms=config.segment_ms,
            retention_ms=config.retention_ms if deletes else -1,
            retention_bytes=config.retention_bytes if deletes else -1,
            retention_records=config.retention_records if deletes else -1,
            compacts=config.compacts,
            min_cleanable_dirty_ratio=config.min_cleanable_dirty_ratio,
            min_compaction_lag_ms=config.min_compaction_lag_ms,
            max_compaction_lag_ms=config.max_compaction_lag_ms,
            delete_retention_ms=config.delete_retention_ms,
            index_interval_bytes=config.index_interval_bytes,
            file_delete_delay_ms=config.file_delete_delay_ms,
            producer_ids_max=self._config.log.producer_ids_max,
        )

    async def _reconfigure(self, topics: Iterable[TopicImage]) -> None:
        """Let all of them take their configuration in one round of the writer."""
        changes: list[tuple[Partition, TopicConfig, asyncio.Future[None]]] = []
        for topic in topics:
            config = self.topic_config(topic)
            log_config = self._log_config(config)
            for state in topic.partitions:
                found = self._partitions.get(TopicPartitionId(topic.topic_id, state.partition))
                if found is not None and found.config != config:
                    # What was acknowledged under another flush mode is synced before this holds.
                    sync = found.config.flush != config.flush
                    work = partial(found.log.reconfigure, log_config)
                    told = self._driver.between_rounds(work, found, sync=sync)
                    changes.append((found, config, told))
        await asyncio.gather(*(told for _, _, told in changes))
        for found, config, _ in changes:
            found.reconfigure(config)
            self._flush_by_interval(found)

    async def _drop(self, found: Partition) -> None:
        """Take a deleted partition out of use now, its files after the delay."""
        await self._close(found)
        delay_ms = found.config.file_delete_delay_ms
        self._spawn(self._delete_later(found, delay_ms), f"delete {found.name}")

    async def _let_go(self, found: Partition) -> None:
        """Delete a replica that was moved to another node. At once: it may come back any time."""
        _logger.info("%s has no replica here any more, its log is deleted", found.name)
        await self._close(found)
        await self._driver.call(partial(self._delete, found.key))

    async def _close(self, found: Partition) -> None:
        self._traffic.leave(found.topic, found.traffic)
        if self._fetcher is not None:
            self._fetcher.stop(found.id)
        await self._driver.call(partial(found.log.close, clean=False))
        found.published()

    async def _delete_later(self, found: Partition, delay_ms: int) -> None:
        await self._clock.sleep_ms(delay_ms)
        await self._driver.call(partial(self._delete, found.key))

    def restart(self, found: Partition, offset: int) -> asyncio.Future[None]:
        """Forget everything of a copied partition, and go on empty at `offset`."""
        return self._driver.call(partial(self._make_anew, found, offset), found, sync=True)

    def _make_anew(self, found: Partition, offset: int) -> None:
        """On the writer. A crash in between leaves an old log, or none: it is done again."""
        found.log.close(clean=False)
        self._delete(found.key)
        found.log = create_log_at(
            self._directory.files,
            self._directory.partition_path(found.key),
            self._log_config(found.config),
            start_offset=offset,
            now_ms=self._steady.wall_ms(),
            handles=self._handles,
        )

    def _delete(self, key: LogKey) -> None:
        """On the writer."""
        forget_partition(self._directory, self._ledger, key)

    def _flush_by_interval(self, found: Partition) -> None:
        """Start the timer of a partition with flush=interval; it ends with this configuration."""
        if found.config.flush.mode is FlushMode.INTERVAL:
            self._spawn(self._flush_loop(found, found.config), f"flush {found.name}")

    async def _flush_loop(self, found: Partition, config: TopicConfig) -> None:
        while found.config is config and self._partitions.get(found.id) is found:
            await self._clock.sleep_ms(config.flush.interval_ms)
            if found.view.written_end_offset > found.view.durable_end_offset:
                await self._driver.call(lambda: None, found, sync=True)

    def find(self, key: TopicPartitionId, leader_epoch: int, image: ClusterImage) -> Partition:
        """The partition, if it may be read here in that epoch; raises LogdError otherwise."""
        found = self.copy_of(key, image)
        found.check_readable()
        found.check_epoch(leader_epoch)
        return found

    def copy_of(self, key: TopicPartitionId, image: ClusterImage) -> Partition:
        """This node's copy of a partition, whoever leads it; raises LogdError where it has none."""
        found = self._partitions.get(key)
        if found is not None:
            return found
        # Says which of topic and partition does not exist.
        topic = image.topic(TopicId(key.topic_id))
        state = topic.partition(key.partition)
        if self._config.node.id not in state.replicas:
            raise not_led_here(f"{topic.name}-{key.partition}", state)
        raise not_open_yet(f"{topic.name}-{key.partition}")

    async def stats(self, key: TopicPartitionId, image: ClusterImage) -> PartitionStats:
        """Sizes and offsets of a partition on this node; raises LogdError when it is not here."""
        return await stats_of(self.find(key, -1, image), self._steady.check(), self._disk)

    async def trim(self, key: TopicPartitionId, offset: int, image: ClusterImage) -> int:
        """Drop what lies below `offset` (-1: the high watermark); returns the new start. Raises
        NotLeaderError unless this node leads, InvalidRequestError beyond the high watermark."""
        found = self.find(key, -1, image)
        found.check_led_here()
        limit = found.removal_limit
        if offset > limit:
            raise InvalidRequestError(
                f"cannot trim {found.name} to {offset}: its high watermark is {limit}",
                hint=f"trim to {limit} at most",
            )
        await self._driver.call(partial(found.log.trim, limit if offset == -1 else offset))
        found.published()
        return found.view.start_offset

    async def enforce_retention(self) -> None:
        """One round of retention over every partition; the writer serves appends in between."""
        moment = self._steady.check()
        for found in self.all():
            limit = found.removal_limit
            if self._partitions.get(found.id) is not found:
                continue
            if found.log.needs_retention(moment, limit):
                removed = await self._driver.call(partial(retain, found, moment, limit))
                report_removed(found.name, removed)
                if removed:
                    found.published()
            if found.view.written_end_offset > found.view.durable_end_offset:
                # A topic that never syncs is synced now and then all the same: a start after a
                # crash has to copy what lies beyond the ledger.
                await self._driver.call(lambda: None, found, sync=True)
        await self._driver.call(partial(self._finish_retention, moment))

    def _finish_retention(self, moment: Moment) -> None:
        """On the writer."""
        self._steady.save()
        if not moment.brake:
            self._directory.purge_quarantine(moment.now_ms, moment.trusted_since_ms)

    def start(self) -> None:
        """Begin what goes on in the background while the node serves."""
        self._spawn(self._tick_loop(), "replicas")
        self._spawn(self._marks.run(self.all), "high watermarks")

    async def _tick_loop(self) -> None:
        while True:
            changed = self._changed.next
            if not any(map(_needs_ticks, self._partitions.values())):
                await changed.wait()
            await self._clock.sleep_ms(TICK_MS)
            every = self.all()
            for first in range(0, len(every), TICK_PORTION):
                if first:
                    await self._clock.sleep_ms(0)
                now_ms = self._clock.monotonic_ms()
                for found in every[first : first + TICK_PORTION]:
                    found.tick(now_ms)

    async def close_all(self) -> None:
        """Sync and close every log, with everything that a fast start needs."""
        if self._fetcher is not None:
            await self._fetcher.close()
        await self._marks.store(self.all())
        partitions = self.all()
        # Queued together, so that they share rounds.
        for done in [self._driver.call(lambda: None, found, sync=True) for found in partitions]:
            await done
        closing = [self._driver.call(partial(found.log.close, clean=True)) for found in partitions]
        for done in closing:
            await done
        self._partitions.clear()


def _needs_ticks(found: Partition) -> bool:
    """Whether time alone changes anything: for the only replica, which leads, it does not."""
    return len(found.state.replicas) > 1 or found.may_begin_to_lead(found.leader_epoch)
