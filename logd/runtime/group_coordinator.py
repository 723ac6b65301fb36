"""Consumer groups on this node: which partition of `__consumer_offsets` a group belongs to, who
coordinates it, and the coordinators of the partitions that this node leads.

The topic is made when somebody first asks for a coordinator: with one replica for each configured
voter, three at most, and only when so many nodes are in service. What groups commit before would
otherwise have fewer copies for ever.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from logd_wire import partition_for_key
from logd_wire.errors import (
    CoordinatorLoadingError,
    ErrorCode,
    LogdError,
    NotCoordinatorError,
    TopicExistsError,
    UnknownTopicError,
)
from logd_wire.limits import BATCH_BYTES_MAX, MIB

from logd.groups import (
    Commit,
    Decision,
    Ends,
    GroupListing,
    Groups,
    GroupSettings,
    Heartbeat,
    HeartbeatReply,
    OffsetToCommit,
    Outcomes,
    Topics,
    TopicView,
)
from logd.metadata import ClusterImage, CreateTopic, PartitionImage, TopicImage
from logd.model.ids import NO_NODE, NodeId, TopicId, TopicPartitionId
from logd.model.names import GROUP_TOPIC
from logd.model.node_config import NodeConfig
from logd.runtime.group_driver import GroupDriver, GroupSurroundings
from logd.runtime.group_lag import Lag, Position, lags, positions, queries
from logd.runtime.group_watch import GroupWatch
from logd.runtime.log_bounds import LogBounds
from logd.runtime.metadata_driver import MetadataDriver
from logd.runtime.partition import Partition
from logd.runtime.patterns import compile_pattern
from logd.runtime.peers import Bounds, BoundsQuery
from logd.runtime.ports import Clock, Disk, Rng, Spawn
from logd.runtime.signal import Signal

T = TypeVar("T")

PARTITIONS: Final = 16
REPLICAS_MAX: Final = 3
#: How long a leader is waited for that says whether an offset may be committed.
COMMIT_TIMEOUT_MS: Final = 500
#: How often coordinators look at the clock.
TICK_MS: Final = 100
_TOPIC_CONFIG: Final[Mapping[str, str]] = {
    "cleanup.policy": "compact",
    # A decision about a large group is one batch.
    "max.message.bytes": str(BATCH_BYTES_MAX),
    # What was answered is kept, whatever the node's default is.
    "flush": "batch",
    # The log is read whole at a failover: the part that is not compacted yet stays small.
    "segment.bytes": str(8 * MIB),
}


def partition_of(group_id: str) -> int:
    """The partition of `__consumer_offsets` that a group belongs to."""
    return partition_for_key(group_id.encode(), PARTITIONS)


class GroupCoordinator:
    """All methods are called on the event loop. `start` comes first."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        serving: Callable[[], bool],
        metadata: MetadataDriver,
        bounds: LogBounds,
        disk: Disk,
        clock: Clock,
        rng: Rng,
        spawn: Spawn,
    ) -> None:
        self._config = config
        self._metadata = metadata
        self._bounds = bounds
        self._clock = clock
        self._rng = rng
        self._spawn = spawn
        settings = _settings(config)
        self._around = GroupSurroundings(
            new_machine=lambda: Groups(settings, new_pattern=compile_pattern),
            topics=lambda: self._topics,
            serving=serving,
            disk=disk,
            clock=clock,
        )
        #: By partition number.
        self._drivers: dict[int, GroupDriver] = {}
        self._topics: Topics = {}
        self._seen = ClusterImage()
        self._changed = Signal()
        self.watch = GroupWatch(
            self._drivers,
            metrics=config.metrics,
            bounds=bounds,
            image=lambda: metadata.image,
            clock=clock,
        )

    def start(self) -> None:
        """Begin to look at the clock."""
        self._spawn(self._tick_loop(), "groups")
        self._spawn(self.watch.run(), "group lags")

    async def _tick_loop(self) -> None:
        while True:
            changed = self._changed.next
            if not self._drivers:
                await changed.wait()
            await self._clock.sleep_ms(TICK_MS)
            now_ms = self._clock.monotonic_ms()
            for driver in list(self._drivers.values()):
                driver.tick(now_ms)

    # --- what changes ------------------------------------------------------------------------

    def led(self, found: Partition) -> None:
        """This node has begun to lead a partition; those of other topics are nothing to it."""
        if found.topic == GROUP_TOPIC:
            driver = self._drivers[found.id.partition] = GroupDriver(found, self._around)
            self._spawn(self._coordinate(driver), f"groups {found.name}")
            self._changed.set()

    async def _coordinate(self, driver: GroupDriver) -> None:
        await driver.run()
        number = driver.partition.id.partition
        if self._drivers.get(number) is driver:
            del self._drivers[number]

    def follow(self, image: ClusterImage) -> None:
        """The metadata changed."""
        before, self._seen = self._seen, image
        if before.nodes is image.nodes and image.has_same_partitions(before):
            return
        topics = _topics_of(image)
        if topics != self._topics:
            self._topics = topics
            for driver in self._drivers.values():
                driver.topics_changed()

    # --- who coordinates ---------------------------------------------------------------------

    async def find(self, group_id: str) -> PartitionImage:
        """The partition of a group, led by somebody; makes the topic.

        Raises CoordinatorLoadingError while there is nobody who could coordinate.
        """
        topic = await self._topic()
        state = topic.partition(partition_of(group_id))
        if state.leader_id == NO_NODE:
            raise CoordinatorLoadingError(
                f"{GROUP_TOPIC}-{state.partition}, to which the group belongs, is led by nobody at "
                "the moment",
                hint="try again; `logd cluster partitions` says which nodes are missing",
            )
        return state

    async def _topic(self) -> TopicImage:
        image = self._metadata.image
        if GROUP_TOPIC in image.topic_ids:
            return image.topic_named(GROUP_TOPIC)
        replicas = min(REPLICAS_MAX, max(len(self._config.cluster.peers), len(image.voters), 1))
        in_service = len(image.nodes_in_service)
        if in_service < replicas:
            raise CoordinatorLoadingError(
                f"groups are kept by {replicas} nodes, and {in_service} are in service: nobody "
                "coordinates yet",
                hint=f"start the others; later {GROUP_TOPIC} does with fewer",
            )
        command = CreateTopic(
            topic_id=TopicId(self._rng.randbytes(16)),
            name=GROUP_TOPIC,
            partitions=PARTITIONS,
            replication_factor=replicas,
            config=_TOPIC_CONFIG,
            internal=True,
        )
        try:
            return await self._metadata.submit(command)
        except TopicExistsError:
            # Somebody else was faster.
            await self._metadata.wait_followed()
            return self._metadata.image.topic_named(GROUP_TOPIC)
        except LogdError as error:
            if error.code is ErrorCode.INVALID_REPLICATION_FACTOR:
                # A node has gone since they were counted.
                raise CoordinatorLoadingError(error.message, hint="try again") from error
            raise

    def driver_of(self, group_id: str) -> GroupDriver:
        """The coordinator of a group on this node; raises NotCoordinatorError with who it is."""
        number = partition_of(group_id)
        driver = self._drivers.get(number)
        if driver is not None and driver.leads:
            return driver
        error = NotCoordinatorError(
            f"node {self._config.node.id} does not coordinate group {group_id[:64]!a}",
            hint="ask who does, by FindCoordinator",
        )
        try:
            state = self._metadata.image.topic_named(GROUP_TOPIC).partition(number)
        except UnknownTopicError:
            raise error from None
        error.leader_id, error.leader_epoch = state.leader_id, state.leader_epoch
        raise error

    async def heartbeat(self, said: Heartbeat, wait_ms: int) -> HeartbeatReply:
        """What a member is told; kept back up to `wait_ms` while there is nothing new."""
        return await self.driver_of(said.group_id).heartbeat(said, wait_ms)

    async def commit(self, request: Commit) -> Outcomes:
        """Store offsets; None for each that was. None beyond the end of its partition is."""
        driver = self.driver_of(request.group_id)
        ends = await self._ends(request.offsets)
        return await driver.decide(
            lambda groups, _now_ms, wall_ms: groups.commit(request, wall_ms, ends)
        )

    async def _ends(self, offsets: Iterable[OffsetToCommit]) -> Ends:
        """The ends of partitions that may be below their offsets: those of which this node has no
        copy that goes so far. Where the leader does not say, the offset is let through."""
        asked = []
        for each in offsets:
            partition = TopicPartitionId(each.topic_id, each.partition)
            if each.offset > self._bounds.own_end(partition):
                asked.append(BoundsQuery(partition))
        answers = await self._bounds.of(asked, timeout_ms=COMMIT_TIMEOUT_MS)
        return {
            query.partition: answer.high_watermark
            for query, answer in zip(asked, answers, strict=True)
            if isinstance(answer, Bounds)
        }

    async def lag(self, group_id: str) -> list[Lag]:
        """How far a group is behind, by topic and partition; raises GroupNotFoundError."""

        def look(groups: Groups) -> list[Position]:
            groups.describe(group_id, self._clock.monotonic_ms())
            return positions(groups, group_id)

        found = await self.read(group_id, look)
        answers = await self._bounds.of(queries(found))
        return lags(found, answers, self._clock.wall_ms())

    async def listing(self) -> list[GroupListing]:
        """The groups that this node coordinates, by id."""
        listed: list[GroupListing] = []
        for driver in list(self._drivers.values()):
            with contextlib.suppress(NotCoordinatorError):
                listed += await driver.read(Groups.listing)
        return sorted(listed, key=lambda each: each.group_id)

    async def read(self, group_id: str, look: Callable[[Groups], T]) -> T:
        """What the coordinator of the group says of it, once that is committed."""
        return await self.driver_of(group_id).read(look)

    async def decide(self, group_id: str, handle: Callable[[Groups, int, int], Decision[T]]) -> T:
        """As `GroupDriver.decide`, by the coordinator of the group, if that is here."""
        return await self.driver_of(group_id).decide(handle)


def _settings(config: NodeConfig) -> GroupSettings:
    groups = config.groups
    return GroupSettings(
        session_timeout_ms_default=groups.session_timeout_ms_default,
        session_timeout_ms_min=groups.session_timeout_ms_min,
        session_timeout_ms_max=groups.session_timeout_ms_max,
        members_max=groups.members_max,
        offsets_retention_ms=groups.offsets_retention_ms,
    )


def _topics_of(image: ClusterImage) -> Topics:
    racks = {node.node_id: node.rack for node in image.nodes.values() if node.rack}
    return {
        topic.name: TopicView(
            topic.topic_id,
            len(topic.partitions),
            tuple(_racks_of(state, racks) for state in topic.partitions) if racks else (),
        )
        for topic in image.topics.values()
    }


def _racks_of(state: PartitionImage, racks: Mapping[NodeId, str]) -> frozenset[str]:
    return frozenset(racks[node] for node in state.replicas if node in racks)
