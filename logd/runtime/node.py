"""One node, from an empty or used data directory to serving and back.

    start:  lock, identity -> (cluster: founded or found) -> metadata log -> registered, caught up
            -> partition logs -> counted on by the controller -> loops -> broker
    stop:   refuse what is new -> hand the metadata log over -> have the controller fence the node
            -> finish the writer's queue -> close logs -> clean-stop marker

A start over a data directory that was not stopped cleanly recovers each log before it serves. A
start of one node of several takes as long as the cluster needs to let it take part; `peers` answers
the other nodes meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

from logd_wire.errors import StorageFailedError

from logd.metadata import MetadataMachine, MetadataSettings
from logd.model.ids import ClusterId, DirectoryId
from logd.model.node_config import NodeConfig, NodeConfigEntry
from logd.observe import Meters
from logd.runtime.broker import Broker, NodeIdentity
from logd.runtime.cleaner import Cleaner, InlineCleaning
from logd.runtime.damage_reports import DamageReports
from logd.runtime.disk_driver import DiskDriver
from logd.runtime.formation import Formation
from logd.runtime.gauges import Gauges, measure
from logd.runtime.group_coordinator import GroupCoordinator
from logd.runtime.isr_proposals import IsrProposals
from logd.runtime.membership import Membership
from logd.runtime.partition import Surroundings
from logd.runtime.partitions import Partitions
from logd.runtime.peer_service import PeerService
from logd.runtime.peers import PeerIdentity
from logd.runtime.replica_fetcher import FollowerSurroundings, ReplicaFetcher
from logd.runtime.steady_clock import SteadyClock
from logd.runtime.waiting import Waiting
from logd.runtime.world import Ports
from logd.storage import DataDirectory, Ledger

_logger = logging.getLogger("logd.node")


class Node:
    """`broker` is there once `start` has returned; `failed` is set by the first fatal error.

    `peers` is what a peer listener hands messages and calls to, from before `start` until after
    `stop`.
    """

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
        self.peers = PeerService(config.node.id)
        self.failed = asyncio.Event()
        self.failure: BaseException | None = None
        #: Whether the start has come to where it needs the other nodes.
        self.joining = False
        self.waiting = Waiting(ports.clock)
        metrics = config.metrics
        self.meters = Meters(topics_max=metrics.partitions_max if metrics.per_partition else 0)

    def _on_fatal(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error
            _logger.critical("the node stops: %s", error, exc_info=error)
        self.failed.set()

    async def start(self) -> None:
        """Recover and serve. Raises ConfigError, StorageFailedError or OSError in words."""
        ports = self.ports
        self._directory = await ports.disk.write(self._open_directory)
        try:
            await self._unless_failed(self._start())
        except BaseException:
            await self._spawn.cancel_all()
            if ports.transport is not None:
                await ports.transport.close()
            # What the metadata log has begun to write is written before the lock is given back.
            await ports.metadata_disk.write(lambda: None)
            await ports.disk.write(partial(self._directory.close, clean=False))
            raise
        self._partitions.start()
        self._spawn(self._retention_loop(), "retention")
        self._cleaner.start(self._spawn)
        self._groups.start()

    async def _start(self) -> None:
        ports, config = self.ports, self.config
        self._ledger = await ports.disk.write(partial(Ledger.open, ports.files, "ledger"))
        self._steady = await ports.disk.write(partial(SteadyClock, ports.clock, ports.files))
        self._driver = DiskDriver(
            disk=ports.disk,
            ledger=self._ledger,
            clock=self._steady,
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
            steady=self._steady,
            spawn=self._spawn,
            traffic=self.meters.traffic,
        )
        self._cleaner = Cleaner(
            config=config.cleaner,
            partitions=self._partitions,
            driver=self._driver,
            ledger=self._ledger,
            disk=ports.disk,
            clock=ports.clock,
            steady=self._steady,
            rng=ports.rng,
            cleaning=ports.cleaning or InlineCleaning(ports.files, ports.disk),
        )
        self.joining = True
        formation = self._formation()
        await self._come_to_cluster(formation)
        await self._take_part(formation)

    async def _unless_failed(self, start: Coroutine[Any, Any, None]) -> None:
        """Run the start, which may wait for other nodes; a fatal error ends it."""
        loop = asyncio.get_running_loop()
        starting = loop.create_task(start, name="start")
        watch = loop.create_task(self._cancel_if_failed(starting), name="start watch")
        try:
            await starting
        except asyncio.CancelledError:
            if self.failure is None:
                raise
            raise StorageFailedError(
                f"the node could not start: {self.failure}",
                hint="see the error before this one; check the disk",
            ) from self.failure
        finally:
            watch.cancel()

    async def _cancel_if_failed(self, starting: asyncio.Task[None]) -> None:
        await self.failed.wait()
        starting.cancel()

    # --- the cluster -------------------------------------------------------------------------

    def _open_directory(self) -> DataDirectory:
        node, cluster = self.config.node, self.config.cluster
        return DataDirectory.open_or_create(
            self.ports.files,
            node_id=node.id,
            cluster_id=cluster.id or None,
            new_ids=partial(self.ports.rng.randbytes, 16),
            founds=all(peer.node_id == node.id for peer in cluster.peers),
        )

    def _formation(self) -> Formation | None:
        transport, peers = self.ports.transport, self.config.cluster.peers
        if transport is None:
            return None
        return Formation(
            node_id=self.config.node.id,
            peers=peers,
            transport=transport,
            clock=self.ports.clock,
            waiting=self.waiting,
        )

    async def _come_to_cluster(self, formation: Formation | None) -> None:
        """Belong to a cluster: that of the directory, that of the peers, or a new one."""
        self._introduce()
        cluster = self._directory.meta.cluster_id
        if cluster is not None:
            if formation is not None:
                await formation.check_cluster(ClusterId(cluster))
            return
        assert formation is not None, "without peers a new directory founds its cluster"
        configured = self.config.cluster.id
        found = await formation.find_cluster(configured)
        cluster_id = found or configured or self.ports.rng.randbytes(16)
        join = partial(self._directory.join, cluster_id, founder=found is None)
        await self.ports.disk.write(join)
        self._introduce()

    def _introduce(self) -> None:
        meta = self._directory.meta
        cluster_id = None if meta.cluster_id is None else ClusterId(meta.cluster_id)
        directory_id = DirectoryId(meta.directory_id)
        self.peers.introduce(directory_id, cluster_id)
        if self.ports.transport is not None:
            identity = PeerIdentity(cluster_id, self.config.node.id, directory_id)
            self.ports.transport.introduce(identity)

    async def _take_part(self, formation: Formation | None) -> None:
        ports, config = self.ports, self.config
        settings = MetadataSettings(
            partitions=config.topics.partitions,
            replication_factor=config.topics.replication_factor,
            topic_defaults=config.topic_defaults,
        )
        member = self._membership = Membership(
            config=config,
            directory=self._directory,
            machine=MetadataMachine(settings),
            partitions=self._partitions,
            follow=lambda image: self._groups.follow(image),  # noqa: PLW0108 - made below
            formation=formation,
            waiting=self.waiting,
            ports=ports,
            spawn=self._spawn,
            on_fatal=self._on_fatal,
        )
        self._groups = GroupCoordinator(
            config=config,
            serving=lambda: member.session.serving,
            metadata=member.metadata,
            bounds=member.bounds,
            disk=ports.disk,
            clock=ports.clock,
            rng=ports.rng,
            spawn=self._spawn,
        )
        self._replicate(member)
        await member.begin(self.peers)
        await member.register()
        await self._partitions.open_all(member.metadata.image)
        # Before the controller counts on this node, and may let it lead.
        await self._damage.all_of(self._partitions.all())
        await member.serve()
        self.broker = Broker(
            identity=NodeIdentity(member.cluster_id, config.node.id, self._version),
            config=config,
            config_entries=self._config_entries,
            metadata=member.metadata,
            partitions=self._partitions,
            serving=lambda: member.session.serving,
            consensus=member.consensus,
            cleaner=self._cleaner,
            groups=self._groups,
            disk=ports.disk,
            clock=ports.clock,
            rng=ports.rng,
            meters=self.meters,
        )

    def _replicate(self, member: Membership) -> None:
        """Let partitions be led and copied here, as this member of the cluster."""
        ports, transport = self.ports, self.ports.transport
        proposals = IsrProposals(
            own_id=self.config.node.id,
            node_epoch=member.node_epoch,
            metadata=member.metadata,
            clock=ports.clock,
            spawn=self._spawn,
        )
        self._damage = DamageReports(
            own_id=self.config.node.id,
            incarnation_id=member.incarnation_id,
            metadata=member.metadata,
            clock=ports.clock,
            spawn=self._spawn,
        )
        fetcher = None
        if transport is not None:
            fetcher = ReplicaFetcher(
                transport=transport,
                address_of=member.addresses.of,
                around=FollowerSurroundings(
                    driver=self._driver,
                    clock=ports.clock,
                    node_epoch=member.node_epoch,
                    restart=self._partitions.restart,
                    report_damage=self._damage,
                ),
                spawn=self._spawn,
            )
        around = Surroundings(
            own_id=self.config.node.id,
            driver=self._driver,
            latest_ms=lambda: max(ports.clock.wall_ms(), self._steady.wall_ms()),
            monotonic_ms=ports.clock.monotonic_ms,
            lag_ms_max=self.config.replication.lag_ms_max,
            propose=proposals,
            report_damage=self._damage,
            serving=lambda: member.session.serving,
            led=self._groups.led,
        )
        self._partitions.take_part(around, fetcher)

    def gauges(self) -> Gauges:
        """How things stand at this moment; only once `broker` is there."""
        return measure(self.broker, self._partitions, self._driver)

    async def _retention_loop(self) -> None:
        while True:
            await self.ports.clock.sleep_ms(self.config.log.retention_check_interval_ms)
            await self._partitions.enforce_retention()

    # --- the end -----------------------------------------------------------------------------

    async def stop(self) -> None:
        """Stop in good order; after a fatal error without the clean-stop marker."""
        self.broker.begin_stop()
        clean = self.failure is None
        await self._cleaner.stop()
        if clean:
            await self._membership.hand_over()
            await self._membership.leave()
            await self._partitions.close_all()
            await self._driver.close()
        self.peers.leave()
        if clean:
            await self._membership.consensus.close(clean=True)
        await self._spawn.cancel_all()
        if self.ports.transport is not None:
            await self.ports.transport.close()
        await self.ports.disk.write(partial(self._close_directory, clean))

    def _close_directory(self, clean: bool) -> None:
        self._ledger.close()
        if clean:
            self._steady.save()
        if not clean:
            self._directory.mark_failed()
        self._directory.close(clean=clean)
