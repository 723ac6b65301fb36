"""One node, from an empty or used data directory to serving and back.

    start:  lock, identity -> metadata log (election, replay) -> partition logs -> loops -> broker
    stop:   refuse what is new -> finish the writer's queue -> close logs -> clean-stop marker

A start over a data directory that was not stopped cleanly recovers each log before it serves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from logd.consensus import Identity
from logd.metadata import FormCluster, MetadataMachine, MetadataSettings, RegisterNode
from logd.model.ids import ClusterId, DirectoryId
from logd.model.node_config import NodeConfig, NodeConfigEntry
from logd.observe import Meters
from logd.runtime.broker import Broker, NodeIdentity
from logd.runtime.consensus_driver import ConsensusDriver
from logd.runtime.disk_driver import DiskDriver
from logd.runtime.gauges import Gauges, measure
from logd.runtime.metadata_driver import MetadataDriver
from logd.runtime.partitions import Partitions
from logd.runtime.ports import Clock, Disk, Rng, Spawn
from logd.runtime.raft_store import RaftStore
from logd.storage import DataDirectory, Files, Ledger

_logger = logging.getLogger("logd.node")


@dataclass(frozen=True, slots=True)
class Ports:
    """The world as this node is given it. The metadata log has a disk of its own, so that a burst
    of records delays no metadata."""

    files: Files
    disk: Disk
    metadata_disk: Disk
    clock: Clock
    rng: Rng
    spawn: Callable[[Callable[[BaseException], None]], Spawn]


class Node:
    """`broker` is there once `start` has returned; `failed` is set by the first fatal error."""

    broker: Broker

    def __init__(
        self,
        config: NodeConfig,
        config_entries: Sequence[NodeConfigEntry],
        ports: Ports,
        *,
        version: str,
    ) -> None:
        self.config = config
        self._config_entries = config_entries
        self.ports = ports
        self._version = version
        self._spawn = ports.spawn(self._on_fatal)
        self.failed = asyncio.Event()
        self.failure: BaseException | None = None
        metrics = config.metrics
        self.meters = Meters(topics_max=metrics.partitions_max if metrics.per_partition else 0)

    def _on_fatal(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error
            _logger.critical("the node stops: %s", error, exc_info=error)
        self.failed.set()

    async def start(self) -> None:
        """Recover and serve. Raises ConfigError, StorageFailedError or OSError in words."""
        ports, config = self.ports, self.config
        self._directory = await ports.disk.write(self._open_directory)
        try:
            self._ledger = await ports.disk.write(partial(Ledger.open, ports.files, "ledger"))
            self._driver = DiskDriver(
                disk=ports.disk,
                ledger=self._ledger,
                clock=ports.clock,
                free_bytes=ports.files.free_bytes,
                free_bytes_min=config.log.free_bytes_min,
                on_fatal=self._on_fatal,
            )
            self._driver.start(self._spawn, "disk")
            self._partitions = Partitions(
                config=config,
                directory=self._directory,
                ledger=self._ledger,
                driver=self._driver,
                disk=ports.disk,
                clock=ports.clock,
                spawn=self._spawn,
                traffic=self.meters.traffic,
            )
            await self._start_metadata()
        except BaseException:
            await self._spawn.cancel_all()
            await ports.disk.write(partial(self._directory.close, clean=False))
            raise
        self._spawn(self._retention_loop(), "retention")

    def _open_directory(self) -> DataDirectory:
        return DataDirectory.open_or_create(
            self.ports.files,
            node_id=self.config.node.id,
            cluster_id=self.config.cluster.id or None,
            new_ids=partial(self.ports.rng.randbytes, 16),
        )

    async def _start_metadata(self) -> None:
        ports, config, meta = self.ports, self.config, self._directory.meta
        settings = MetadataSettings(
            partitions=config.topics.partitions,
            replication_factor=config.topics.replication_factor,
            topic_defaults=config.topic_defaults,
        )
        self._metadata = MetadataDriver(
            machine=MetadataMachine(settings), clock=ports.clock, follow=self._partitions.follow
        )
        cluster_id = ClusterId(meta.cluster_id)
        directory_id = DirectoryId(meta.directory_id)
        self._consensus = ConsensusDriver(
            identity=Identity(cluster_id, config.node.id, directory_id),
            disk=ports.metadata_disk,
            clock=ports.clock,
            open_store=self._open_store,
            machine=self._metadata,
            on_fatal=self._on_fatal,
        )
        await self._consensus.start(self._spawn)
        await self._partitions.open_all(self._metadata.image)
        self._metadata.start(self._consensus, self._spawn)
        register = RegisterNode(
            node_id=config.node.id,
            directory_id=directory_id,
            incarnation_id=ports.rng.randbytes(16),
            address=config.listeners.advertised,
            rack=config.node.rack,
        )
        now_ms = ports.clock.wall_ms()
        await self._metadata.submit(lambda machine: machine.handle(FormCluster(cluster_id), now_ms))
        # Not waited for: a partition that cannot be opened yet does not keep the others waiting.
        await self._metadata.submit(lambda machine: machine.handle(register, now_ms), follow=False)
        self.broker = Broker(
            identity=NodeIdentity(cluster_id, config.node.id, self._version),
            config=config,
            config_entries=self._config_entries,
            metadata=self._metadata,
            partitions=self._partitions,
            disk=ports.disk,
            clock=ports.clock,
            rng=ports.rng,
            meters=self.meters,
        )

    def gauges(self) -> Gauges:
        """How things stand at this moment; only once `broker` is there."""
        return measure(self.broker, self._partitions, self._driver, self._consensus.status)

    def _open_store(self) -> RaftStore:
        return RaftStore.open(
            self.ports.files,
            clean=self._directory.was_clean,
            now_ms=self.ports.clock.wall_ms(),
        )

    async def _retention_loop(self) -> None:
        while True:
            await self.ports.clock.sleep_ms(self.config.log.retention_check_interval_ms)
            await self._partitions.enforce_retention()

    async def stop(self) -> None:
        """Stop in good order; after a fatal error without the clean-stop marker."""
        self.broker.begin_stop()
        clean = self.failure is None
        if clean:
            await self._partitions.close_all()
            await self._driver.close()
            await self._consensus.close(clean=True)
        await self._spawn.cancel_all()
        await self.ports.disk.write(partial(self._close_directory, clean))

    def _close_directory(self, clean: bool) -> None:
        self._ledger.close()
        if not clean:
            self._directory.mark_failed()
        self._directory.close(clean=clean)
