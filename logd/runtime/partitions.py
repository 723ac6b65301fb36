"""All partitions on this node: opened at the start, then kept in step with the metadata image."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from logd_wire.errors import ErrorCode, LogdError, StorageFullError, UnknownTopicError

from logd.metadata import ClusterImage, PartitionImage, TopicImage
from logd.model.ids import TopicId, TopicPartitionId
from logd.model.node_config import NodeConfig
from logd.model.settings import FlushMode
from logd.model.topic_config import TopicConfig, parse_topic_config
from logd.observe import TrafficTable
from logd.runtime.disk_driver import DiskDriver
from logd.runtime.partition import Partition, not_led_here
from logd.runtime.ports import Clock, Disk, Spawn
from logd.storage import (
    FORGOTTEN,
    DataDirectory,
    HandleCache,
    Ledger,
    LogConfig,
    LogKey,
    PartitionLog,
    RecoveryReport,
)

_logger = logging.getLogger("logd.partitions")

#: Logs that are opened side by side.
OPENING_MAX = 64
#: Beyond what unsynced writes and reads under way hold open.
OPEN_SEGMENTS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class PartitionStats:
    """One partition as its node sees it; `damage` says in words what cannot be read."""

    start_offset: int
    end_offset: int
    size_bytes: int
    segments: int
    damage: tuple[str, ...]


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
        spawn: Spawn,
        traffic: TrafficTable,
    ) -> None:
        self._config = config
        self._directory = directory
        self._ledger = ledger
        self._driver = driver
        self._disk = disk
        self._clock = clock
        self._spawn = spawn
        self._traffic = traffic
        # Segment files open at one time, of all partitions together.
        self._handles = HandleCache(directory.files, OPEN_SEGMENTS_MAX)
        self._partitions: dict[TopicPartitionId, Partition] = {}
        #: The newest image: a log that took long to open is led as it says.
        self._newest = ClusterImage()

    def get(self, key: TopicPartitionId) -> Partition | None:
        return self._partitions.get(key)

    def all(self) -> list[Partition]:
        return list(self._partitions.values())

    def topic_config(self, topic: TopicImage) -> TopicConfig:
        """The configuration in force for a topic."""
        return parse_topic_config(
            topic.config,
            defaults=self._config.topic_defaults,
            replication_factor=topic.replication_factor,
        )

    async def open_all(self, image: ClusterImage) -> None:
        """Open the log of every partition in `image`; set aside what it does not know."""
        node_id = self._config.node.id
        wanted = dict(image.partitions_of(node_id))
        keys: set[LogKey] = {(key.topic_id, key.partition) for key in wanted}
        unknown = await self._driver.call(
            partial(self._directory.quarantine_unknown, keys, self._clock.wall_ms())
        )
        for name in unknown:
            _logger.warning("partition directory set aside: the metadata does not know %s", name)
        try:
            await self._open_missing(image)
        except StorageFullError as error:
            # Some need room to recover. They are tried again; the others serve meanwhile.
            _logger.error("not all partitions could be opened: %s", error)

    def follow_leaders(self, before: ClusterImage, after: ClusterImage) -> None:
        """Take over who leads what is here; at once, whatever becomes of the rest."""
        self._newest = after
        if not self._partitions:
            return
        for topic_id, topic in after.topics.items():
            if before.topics.get(topic_id) is topic:
                continue
            for state in topic.partitions:
                found = self._partitions.get(TopicPartitionId(topic_id, state.partition))
                if found is not None:
                    found.follow(state)

    async def follow(self, before: ClusterImage, after: ClusterImage) -> None:
        """Make, reconfigure and drop logs for what changed; safe to repeat after an error."""
        await self._open_missing(after)
        for key in list(self._partitions):
            if key.topic_id not in after.topics:
                await self._drop(self._partitions.pop(key))
        for topic_id, topic in after.topics.items():
            # Topics that did not change are the same objects in both images.
            if before.topics.get(topic_id) is not topic:
                await self._reconfigure(topic)

    async def _open_missing(self, image: ClusterImage) -> None:
        """Open or make logs side by side: each waits mostly for the disk, and nobody uses them
        yet, so they need not queue for the writer."""
        missing = list(self._missing(image))
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

    def _missing(self, image: ClusterImage) -> Iterator[_Missing]:
        for topic in image.topics_by_name():
            config: TopicConfig | None = None
            for state in topic.partitions:
                key = TopicPartitionId(topic.topic_id, state.partition)
                if key not in self._partitions and self._config.node.id in state.replicas:
                    config = config or self.topic_config(topic)
                    yield _Missing(key, topic.name, config, state)

    def _wrap(self, opened: _Missing, log: PartitionLog) -> Partition:
        topic = self._newest.topics.get(TopicId(opened.key.topic_id))
        found = Partition(
            key=opened.key,
            topic=opened.topic,
            log=log,
            config=opened.config,
            state=topic.partition(opened.key.partition) if topic is not None else opened.state,
            own_id=self._config.node.id,
            driver=self._driver,
            wall_ms=self._clock.wall_ms,
            traffic=self._traffic.join(opened.topic),
        )
        # What recovery found beyond the ledger is durable now, and must not be cut next time.
        self._driver.note_durable(found)
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
                now_ms=self._clock.wall_ms(),
                handles=self._handles,
            )
            _report(one.name, log.recovery)
        else:
            log = PartitionLog.create(
                files,
                path,
                log_config,
                handles=self._handles,
                now_ms=self._clock.wall_ms(),
            )
        return log

    def _log_config(self, config: TopicConfig) -> LogConfig:
        deletes = config.deletes
        return LogConfig(
            segment_bytes=config.segment_bytes,
            segment_ms=config.segment_ms,
            retention_ms=config.retention_ms if deletes else -1,
            retention_bytes=config.retention_bytes if deletes else -1,
            index_interval_bytes=config.index_interval_bytes,
            file_delete_delay_ms=config.file_delete_delay_ms,
            producer_ids_max=self._config.log.producer_ids_max,
        )

    async def _reconfigure(self, topic: TopicImage) -> None:
        config = self.topic_config(topic)
        for state in topic.partitions:
            found = self._partitions.get(TopicPartitionId(topic.topic_id, state.partition))
            if found is None or found.config == config:
                continue
            # What was acknowledged under the old flush mode is synced before the new one holds.
            log_config = self._log_config(config)
            await self._driver.call(partial(found.log.reconfigure, log_config), found, sync=True)
            found.reconfigure(config)
            self._flush_by_interval(found)

    async def _drop(self, found: Partition) -> None:
        """Take a deleted partition out of use now, its files after the delay."""
        self._traffic.leave(found.topic, found.traffic)
        await self._driver.call(partial(found.log.close, clean=False))
        found.published()
        delay_ms = found.config.file_delete_delay_ms
        self._spawn(self._delete_later(found, delay_ms), f"delete {found.name}")

    async def _delete_later(self, found: Partition, delay_ms: int) -> None:
        await self._clock.sleep_ms(delay_ms)
        await self._driver.call(partial(self._delete, found.key))

    def _delete(self, key: LogKey) -> None:
        """On the writer."""
        self._directory.delete_partition(key)
        self._ledger.append({key: FORGOTTEN})

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
        found = self._partitions.get(key)
        if found is None:
            # Says which of topic and partition does not exist.
            topic = image.topic(TopicId(key.topic_id))
            state = topic.partition(key.partition)
            if self._config.node.id not in state.replicas:
                raise not_led_here(f"{topic.name}-{key.partition}", state)
            raise UnknownTopicError(
                f"partition {key} is not on this node yet",
                code=ErrorCode.UNKNOWN_PARTITION,
                hint="try again in a moment",
            )
        found.check_readable()
        found.check_epoch(leader_epoch)
        return found

    def stats(self, key: TopicPartitionId, image: ClusterImage) -> PartitionStats:
        """Sizes and offsets of a partition on this node; raises LogdError when it is not here."""
        found = self.find(key, -1, image)
        view = found.view
        return PartitionStats(
            start_offset=view.start_offset,
            end_offset=found.high_watermark,
            size_bytes=view.size_bytes,
            segments=view.segment_count,
            damage=tuple(str(damage) for damage in view.damage),
        )

    async def trim(self, key: TopicPartitionId, offset: int, image: ClusterImage) -> int:
        """Drop what lies below `offset` (-1: the high watermark); returns the new start."""
        found = self.find(key, -1, image)
        target = found.high_watermark if offset == -1 else offset
        await self._driver.call(partial(found.log.trim, target))
        found.published()
        return found.view.start_offset

    async def enforce_retention(self) -> None:
        """One round of retention over every partition; the writer serves appends in between."""
        for found in self.all():
            if self._partitions.get(found.id) is not found:
                continue
            now_ms = self._clock.wall_ms()
            removed = await self._driver.call(partial(_retain, found, now_ms, found.high_watermark))
            if removed:
                _logger.info("%s: %d segments removed by retention", found.name, removed)
                found.published()
            if found.view.written_end_offset > found.view.durable_end_offset:
                # A topic that never syncs is synced now and then all the same: a start after a
                # crash has to copy what lies beyond the ledger.
                await self._driver.call(lambda: None, found, sync=True)
        await self._driver.call(partial(self._directory.purge_quarantine, self._clock.wall_ms()))

    async def close_all(self) -> None:
        """Sync and close every log, with everything that a fast start needs."""
        partitions = self.all()
        # Queued together, so that the syncs share rounds.
        for done in [self._driver.call(lambda: None, found, sync=True) for found in partitions]:
            await done
        for found in partitions:
            await self._driver.call(partial(found.log.close, clean=True))
        self._partitions.clear()


def _report(name: str, recovery: RecoveryReport) -> None:
    """Log what opening a log took, where that is worth knowing."""
    if recovery.cut_bytes or recovery.copied_bytes or recovery.rebuilt or recovery.removed:
        _logger.info(
            "%s: recovered; %d bytes scanned, %d kept from beyond the ledger, %d of a torn tail"
            " cut, rebuilt: %s",
            name,
            recovery.scanned_bytes,
            recovery.copied_bytes,
            recovery.cut_bytes,
            ", ".join(recovery.rebuilt) or "nothing",
        )
    for damage in recovery.damage:
        _logger.error("%s: damaged: %s", name, damage)


def _retain(found: Partition, now_ms: int, limit_offset: int) -> int:
    """On the writer: roll, remove, unlink what was removed long enough ago."""
    found.log.maybe_roll(now_ms)
    removed = found.log.enforce_retention(now_ms, limit_offset)
    found.log.unlink_deleted(now_ms)
    return len(removed)
