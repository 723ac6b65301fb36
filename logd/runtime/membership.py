"""This node as a member of its cluster: the metadata log, what stands on it, and its session.

begin      open the log, answer other nodes
register   until the cluster has taken this process in, and it knows what was committed before
serve      follow the metadata; until the controller counts on this node
hand_over  let another voter lead, before a stop
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Final

from logd_wire.errors import ConfigError, LogdError, NotLeaderError

from logd.consensus import Identity, RaftTiming, Role
from logd.consensus.log_types import Voters
from logd.metadata import (
    ClusterImage,
    FenceNode,
    FormCluster,
    MetadataMachine,
    RegisterNode,
    SessionTiming,
)
from logd.model.ids import ClusterId, DirectoryId, LogIndex, TopicPartitionId
from logd.model.node_config import NodeConfig
from logd.runtime.addresses import AddressBook
from logd.runtime.consensus_driver import ConsensusDriver
from logd.runtime.controller import Controller
from logd.runtime.formation import RETRY_MS, Formation, may_pass
from logd.runtime.leader_calls import LeaderCalls
from logd.runtime.log_bounds import LogBounds
from logd.runtime.log_member import LogMember
from logd.runtime.metadata_driver import MetadataDriver
from logd.runtime.partition import Partition
from logd.runtime.partitions import Partitions
from logd.runtime.peer_service import Member, PeerService
from logd.runtime.peers import Identified
from logd.runtime.ports import Spawn
from logd.runtime.raft_store import Found, RaftStore
from logd.runtime.replica_server import ReplicaService
from logd.runtime.session_keeper import SessionKeeper
from logd.runtime.signal import Signal, wait_until
from logd.runtime.voters import voters_of
from logd.runtime.waiting import Waiting
from logd.runtime.world import Ports
from logd.storage import DataDirectory

_logger = logging.getLogger("logd.node")

#: How long one attempt to register may take.
REGISTER_TIMEOUT_MS: Final = 5_000
#: How often a node asks that waits to be counted on.
FENCED_HEARTBEAT_MS: Final = 50


class Membership:
    """Puts the parts together; `begin` comes first."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        directory: DataDirectory,
        machine: MetadataMachine,
        partitions: Partitions,
        follow: Callable[[ClusterImage], None],
        formation: Formation | None,
        waiting: Waiting,
        ports: Ports,
        spawn: Spawn,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        """The directory belongs to a cluster by now. `follow` is told of every committed image."""
        meta = directory.meta
        assert meta.cluster_id is not None, "formation comes first"
        self.cluster_id = ClusterId(meta.cluster_id)
        self._directory_id = DirectoryId(meta.directory_id)
        self._config = config
        self._node_id = config.node.id
        self._directory = directory
        self._partitions = partitions
        self._follow = follow
        self._formation = formation
        self._waiting = waiting
        self._ports = ports
        self._spawn = spawn
        self.incarnation_id = ports.rng.randbytes(16)
        self._seen = ClusterImage()
        self._voters: Voters = ()
        self._leader_hint: Identified | None = None
        self._role_news = Signal()
        transport = ports.transport
        self.addresses = AddressBook(
            self._node_id,
            config.listeners.peer_advertised,
            config.cluster.peers,
            transport.set_addresses if transport is not None else lambda _: None,
        )
        self.metadata = MetadataDriver(
            machine=machine,
            clock=ports.clock,
            follow=partitions.follow,
            on_image=self._on_image,
            on_change=self._on_change,
        )
        self.consensus = ConsensusDriver(
            member=self._log_member(),
            disk=ports.metadata_disk,
            clock=ports.clock,
            rng=ports.rng,
            open_store=self._open_store,
            machine=self.metadata,
            on_fatal=on_fatal,
            transport=transport,
            address_of=self.addresses.of,
        )
        self._make_sessions()
        self.bounds = LogBounds(
            own_id=self._node_id,
            get=partitions.get,
            find=self._find_led,
            image=lambda: self.metadata.image,
            disk=ports.disk,
            transport=transport,
            address_of=self.addresses.of,
        )

    def _find_led(self, key: TopicPartitionId) -> Partition:
        """A partition whose end this node may name: it leads it, and is in service."""
        found = self._partitions.find(key, -1, self.metadata.image)
        if len(found.state.replicas) > 1 and not self.session.serving:
            raise NotLeaderError(f"node {self._node_id} is out of service", hint="try again")
        return found

    def _log_member(self) -> LogMember:
        raft = self._config.raft
        return LogMember(
            identity=Identity(self.cluster_id, self._node_id, self._directory_id),
            founder=self._directory.meta.founder,
            address=self._config.listeners.peer_advertised,
            timing=RaftTiming(
                raft.heartbeat_ms, raft.election_timeout_ms_min, raft.election_timeout_ms_max
            ),
        )

    def _make_sessions(self) -> None:
        config, ports = self._config, self._ports
        timing = SessionTiming(
            heartbeat_ms=config.node.heartbeat_ms,
            session_ms=config.node.session_ms,
            fenced_heartbeat_ms=min(FENCED_HEARTBEAT_MS, config.node.heartbeat_ms),
        )
        self.controller = Controller(
            node_id=self._node_id,
            incarnation_id=self.incarnation_id,
            voter_ids=[peer.node_id for peer in config.cluster.peers],
            timing=timing,
            consensus=self.consensus,
            metadata=self.metadata,
            clock=ports.clock,
            spawn=self._spawn,
        )
        self.session = SessionKeeper(
            node_id=self._node_id,
            incarnation_id=self.incarnation_id,
            timing=timing,
            image=lambda: self.metadata.image,
            consensus=self.consensus,
            controller=self.controller,
            transport=ports.transport,
            leader_address=self._leader_address,
            clock=ports.clock,
            spawn=self._spawn,
        )

    def _open_store(self) -> tuple[RaftStore, Found]:
        return RaftStore.open(
            self._ports.files,
            clean=self._directory.was_clean,
            now_ms=self._ports.clock.wall_ms(),
            voters_of=voters_of,
        )

    def node_epoch(self) -> int:
        """Of the registration of this process; 0: it is not registered."""
        node = self.metadata.image.nodes.get(self._node_id)
        if node is None or node.incarnation_id != self.incarnation_id:
            return 0
        return node.node_epoch

    # --- what changes ------------------------------------------------------------------------

    def _on_image(self, image: ClusterImage, index: LogIndex) -> None:
        before, self._seen = self._seen, image
        self._partitions.follow_leaders(before, image)
        self._follow(image)
        voters_before, self._voters = self._voters, self.consensus.voters
        voters = self._voters
        if before.has_same_members(image) and voters == voters_before:
            return
        self.addresses.follow(image, voters)
        counted = {voter.node_id for voter in voters} | {self._node_id}
        self.consensus.set_observers([each for each in sorted(image.nodes) if each not in counted])
        self.controller.on_image(image, index)
        self.session.on_change()

    def _on_change(self) -> None:
        self.controller.on_role()
        self.session.on_change()
        self._role_news.set()

    def _leader_address(self) -> str:
        hint, leader_id = self._leader_hint, self.consensus.leader_id
        if hint is not None and (leader_id is None or hint.term > self.consensus.term):
            return hint.leader_address
        return "" if leader_id is None else self.addresses.of(leader_id)

    # --- the way into the cluster ------------------------------------------------------------

    async def begin(self, peers: PeerService) -> None:
        """Open the log, and answer other nodes. Raises StorageFailedError, ConfigError."""
        await self.consensus.start(self._spawn)
        # Before anything is committed again, the log says where its voters are.
        self.addresses.follow(self.metadata.image, self.consensus.voters)
        self.metadata.start(
            self.consensus,
            LeaderCalls(self._ports.transport, self._leader_address, self._ports.clock),
        )
        self.controller.start()
        peers.join(
            Member(
                self.cluster_id,
                self.consensus,
                self.metadata,
                self.controller,
                self.addresses,
                ReplicaService(self._partitions.get, self._ports.disk, self._ports.clock),
                self.bounds,
            )
        )
        if self.consensus.is_sole_voter:
            # It elects itself: nobody else is asked.
            await self.consensus.wait_caught_up()

    async def register(self) -> None:
        """Register this process, and catch up. Waits as long as the cluster needs.

        Raises ConfigError when the cluster refuses, and what ended the log.
        """
        config = self._config
        command = RegisterNode(
            node_id=self._node_id,
            directory_id=self._directory_id,
            incarnation_id=self.incarnation_id,
            address=config.listeners.advertised,
            rack=config.node.rack,
            peer_address=config.listeners.peer_advertised,
        )
        if self._formation is not None:
            self._spawn(self._look_for_leader(self._formation), "leader search")
        asks = self.consensus.leader_id is None
        while not await self._try_register(command, asks=asks):
            # Nobody tells a node that is not registered yet that another one leads by now.
            asks = True
            await self._ports.clock.sleep_ms(RETRY_MS)
        self._waiting.over()
        await self.consensus.wait_caught_up()

    async def _find_leader(self, formation: Formation) -> Identified | None:
        return await formation.find_leader(self.cluster_id, self.addresses.known)

    async def _look_for_leader(self, formation: Formation) -> None:
        """Ask the peers where a leader is of which nothing here says it.

        It may be none of the peers of the configuration, and as long as it gets no answer, this
        node gets no log, which would say where it is.
        """
        while True:
            news = self._role_news.next
            leader_id = self.consensus.leader_id
            if leader_id is None or self.addresses.of(leader_id):
                await news.wait()
                continue
            found = await self._find_leader(formation)
            if found is not None:
                self.addresses.learn(found.leader_id, found.leader_address)
            await self._ports.clock.sleep_ms(RETRY_MS)

    async def _try_register(self, command: RegisterNode, *, asks: bool) -> bool:
        """`asks`: ask the peers who leads; the log of a node that nobody knows says nothing."""
        metadata = self.metadata
        if self._formation is not None and (asks or self.consensus.leader_id is None):
            self._leader_hint = await self._find_leader(self._formation)
            if self.consensus.leader_id is None and self._leader_hint is None:
                self._waiting(
                    "waiting to be taken into the cluster: nobody knows a leader",
                    remedy="start a majority of the voters; if the nodes of cluster.peers have all "
                    "left the cluster, name nodes there that are in it",
                )
                return False
        try:
            if self.consensus.leads and metadata.image.cluster_id is None:
                await metadata.submit(FormCluster(self.cluster_id), follow=False)
            await metadata.submit(command, follow=False, timeout_ms=REGISTER_TIMEOUT_MS)
        except LogdError as error:
            if not may_pass(error):
                raise ConfigError(
                    f"the cluster does not take node {self._node_id}: {error.message}",
                    hint=error.hint,
                ) from error
            self._waiting(
                "waiting to be taken into the cluster: its controller does not answer",
                remedy="see whether this node reaches the peer listeners of the others",
                detail=str(error),
            )
            return False
        return True

    async def serve(self) -> None:
        """Be counted on, and follow the metadata from here on; returns once the controller does.

        What the controller has to know of the logs here was told before.
        """
        self.controller.may_serve()
        self.session.start()
        self.metadata.begin_to_follow(self._spawn)
        await self.session.wait_serving()

    # --- the way out -------------------------------------------------------------------------

    async def hand_over(self) -> None:
        """Let another voter lead the metadata log, if this node does and there is one."""
        status = self.consensus.status()
        others = [each for each in status.progress if each.is_voter and each.active]
        if status.role is not Role.LEADER or not others:
            return
        freshest = max(others, key=lambda each: each.match_index)
        deadline_ms = self._ports.clock.monotonic_ms() + self._config.raft.election_timeout_ms_max
        with contextlib.suppress(LogdError):
            self.consensus.transfer(freshest.node_id)
        while self.consensus.leader_id in (None, self._node_id):
            if self._ports.clock.monotonic_ms() >= deadline_ms:
                _logger.info("node %d did not take the lead over", freshest.node_id)
                return
            await wait_until(self._role_news.next, deadline_ms, self._ports.clock)

    async def leave(self) -> None:
        """Have the controller count on this process no longer: others lead at once what it led.

        To be called after `hand_over`. A controller that is not told finds out by the session.
        """
        if self.consensus.role is Role.LEADER:
            # Nobody took the lead over: nobody is there who could be told.
            return
        await self.session.leave()
        command = FenceNode(self._node_id, self.incarnation_id)
        timeout_ms = self._config.node.session_ms
        try:
            await self.metadata.submit(command, follow=False, timeout_ms=timeout_ms)
        except LogdError as error:
            _logger.info("the controller was not told that this node stops: %s", error)
