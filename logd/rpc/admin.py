"""Administration of topics, and what a node tells about its configuration."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from logd_proto.v1 import admin_pb2
from logd_wire.errors import (
    ErrorCode,
    InvalidConfigError,
    InvalidRequestError,
    LogdError,
    NotLeaderError,
    UnknownTopicError,
    error_for,
)
from logd_wire.limits import PARTITIONS_PER_TOPIC_MAX, TOPIC_NAME_CHARACTERS_MAX

from logd.metadata import ReassignPartition, TransferLeader
from logd.metadata.image import TopicImage
from logd.metadata.records import PartitionImage
from logd.model.ids import NodeId, TopicId
from logd.model.names import check_topic_name
from logd.model.node_settings import SETTINGS_BY_NAME
from logd.model.topic_config import (
    TopicConfigEntry,
    durability_in_words,
    parse_topic_config,
    topic_config_entries,
)
from logd.rpc.api import Connection
from logd.rpc.checks import (
    INT32_MAX,
    INT64_MAX,
    check_count,
    check_drawn_id,
    check_name,
    check_partition,
    check_range,
)
from logd.rpc.edge import Edge, Operation
from logd.rpc.errors import presentable, to_proto
from logd.runtime.cleaner import CompactionOutcome
from logd.runtime.partition_stats import PartitionStats

DESCRIBE: Final = "/logd.v1.Admin/DescribeTopics"
TRIM: Final = "/logd.v1.Admin/TrimTopic"
COMPACT: Final = "/logd.v1.Admin/CompactTopic"
#: Shorter than clients wait for an answer; they ask again.
COMPACT_WAIT_MS_MAX: Final = 20_000
REASSIGN: Final = "/logd.v1.Admin/ReassignPartitions"
TOPICS_MAX: Final = 10_000
#: Partitions that one call moves.
REASSIGNED_MAX: Final = 1_000
CONFIG_ENTRIES_MAX: Final = 100
CONFIG_KEY_CHARACTERS_MAX: Final = 100
CONFIG_VALUE_CHARACTERS_MAX: Final = 4_096
#: Replicas are held by nodes, whose number is far below this.
REPLICATION_FACTOR_MAX: Final = 100


class AdminHandlers:
    """The calls of this family."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def create_topic(
        self, request: admin_pb2.CreateTopicRequest, connection: Connection
    ) -> admin_pb2.CreateTopicResponse:
        """Create one topic, or only check that it could be."""
        check_topic_name(request.name)
        self._edge.authorize_topic(connection, Operation.CREATE, request.name)
        _check_partitions(request.partitions)
        _check_replication_factor(request.replication_factor)
        _check_config(request.config)
        check_drawn_id("topic_id", request.topic_id)
        topic = await self._edge.broker.create_topic(
            request.name,
            partitions=request.partitions,
            replication_factor=request.replication_factor or -1,
            config=dict(request.config),
            validate_only=request.validate_only,
            topic_id=request.topic_id,
        )
        described = await self._changed(topic, request.validate_only)
        return admin_pb2.CreateTopicResponse(topic=described)

    async def delete_topic(
        self, request: admin_pb2.DeleteTopicRequest, connection: Connection
    ) -> admin_pb2.DeleteTopicResponse:
        """Delete one topic."""
        check_name(request.name)
        self._edge.authorize_topic(connection, Operation.DELETE, request.name)
        check_drawn_id("request_id", request.request_id)
        broker = self._edge.broker
        topic_id = await broker.delete_topic(request.name, request_id=request.request_id)
        return admin_pb2.DeleteTopicResponse(topic_id=topic_id)

    async def alter_topic(
        self, request: admin_pb2.AlterTopicRequest, connection: Connection
    ) -> admin_pb2.AlterTopicResponse:
        """Change configuration or add partitions, all or nothing."""
        check_name(request.name)
        self._edge.authorize_topic(connection, Operation.ALTER, request.name)
        _check_partitions(request.partitions)
        _check_config(request.set_config)
        _check_config(dict.fromkeys(request.delete_config, ""))
        both = sorted(set(request.set_config) & set(request.delete_config))
        if both:
            raise InvalidRequestError(
                f"{both[0]} is both set and given back to its default", hint="ask for one of them"
            )
        topic = await self._edge.broker.alter_topic(
            request.name,
            set_config=dict(request.set_config),
            delete_config=list(request.delete_config),
            partitions=request.partitions,
            validate_only=request.validate_only,
        )
        described = await self._changed(topic, request.validate_only)
        return admin_pb2.AlterTopicResponse(topic=described)

    async def describe_topics(
        self, request: admin_pb2.DescribeTopicsRequest, connection: Connection
    ) -> admin_pb2.DescribeTopicsResponse:
        """Describe the named topics in the order asked, or all by name."""
        check_count("topics", len(request.names), TOPICS_MAX)
        self._edge.authorize_cluster(connection, Operation.DESCRIBE)
        names = list(request.names) or [
            topic.name
            for topic in self._edge.image.topics_by_name()
            if request.include_internal or not topic.internal
        ]
        return admin_pb2.DescribeTopicsResponse(
            topics=[
                await self._described(name, connection, copies=request.copies) for name in names
            ]
        )

    async def trim_topic(
        self, request: admin_pb2.TrimTopicRequest, connection: Connection
    ) -> admin_pb2.TrimTopicResponse:
        """Trim prefixes, each partition on its own."""
        topic = self._edge.topic(connection, Operation.DELETE, request.name)
        check_count("partitions", len(request.partitions), PARTITIONS_PER_TOPIC_MAX)
        before: dict[int, int] = {}
        for wanted in request.partitions:
            check_partition(wanted.partition)
            check_range("before_offset", wanted.before_offset, -1, INT64_MAX)
            if wanted.partition in before:
                raise InvalidRequestError(f"partition {wanted.partition} is named twice")
            before[wanted.partition] = wanted.before_offset
        if not before:
            raise InvalidRequestError("no partitions", hint="name the partitions to trim")
        results = await self._edge.broker.trim(topic.name, before)
        return admin_pb2.TrimTopicResponse(
            partitions=[_trimmed(number, results[number]) for number in before]
        )

    async def compact_topic(
        self, request: admin_pb2.CompactTopicRequest, connection: Connection
    ) -> admin_pb2.CompactTopicResponse:
        """Compact partitions, each on its own."""
        topic = self._edge.topic(connection, Operation.ALTER, request.name)
        check_count("partitions", len(request.partitions), PARTITIONS_PER_TOPIC_MAX)
        for partition in request.partitions:
            check_partition(partition)
        if len(set(request.partitions)) < len(request.partitions):
            raise InvalidRequestError("a partition is named twice")
        check_range("wait_ms", request.wait_ms, 0, INT64_MAX)
        outcomes = await self._edge.broker.compact(
            topic.name,
            list(request.partitions),
            now=request.now,
            wait_ms=min(request.wait_ms, COMPACT_WAIT_MS_MAX),
        )
        return admin_pb2.CompactTopicResponse(
            partitions=[_compacted(number, outcome) for number, outcome in outcomes.items()]
        )

    async def transfer_leader(
        self, request: admin_pb2.TransferLeaderRequest, connection: Connection
    ) -> admin_pb2.TransferLeaderResponse:
        """Let another in-sync replica lead a partition."""
        topic = self._edge.topic(connection, Operation.ALTER, request.name)
        check_partition(request.partition)
        check_range("node_id", request.node_id, 0, INT32_MAX)
        command = TransferLeader(topic.topic_id, request.partition, NodeId(request.node_id))
        state = await self._edge.broker.submit(command)
        if not isinstance(state, PartitionImage):
            raise TypeError(f"TransferLeader was answered by {type(state).__name__}")
        return admin_pb2.TransferLeaderResponse(partition=_placed(state))

    async def reassign_partitions(
        self, request: admin_pb2.ReassignPartitionsRequest, connection: Connection
    ) -> admin_pb2.ReassignPartitionsResponse:
        """Move replicas, each partition on its own."""
        check_count("partitions", len(request.partitions), REASSIGNED_MAX)
        if not request.partitions:
            raise InvalidRequestError("no partitions", hint="name the partitions to move")
        named = [(wanted.name, wanted.partition) for wanted in request.partitions]
        if len(set(named)) < len(named):
            raise InvalidRequestError("a partition is named twice")
        decided = (self._reassigned(wanted, connection) for wanted in request.partitions)
        return admin_pb2.ReassignPartitionsResponse(partitions=await asyncio.gather(*decided))

    async def _reassigned(
        self, wanted: admin_pb2.PartitionReassignment, connection: Connection
    ) -> admin_pb2.ReassignedPartition:
        name = wanted.name[:TOPIC_NAME_CHARACTERS_MAX]
        try:
            topic = self._edge.topic(connection, Operation.ALTER, wanted.name)
            check_partition(wanted.partition)
            check_count("replicas", len(wanted.replicas), REPLICATION_FACTOR_MAX)
            for node_id in wanted.replicas:
                check_range("node_id", node_id, 0, INT32_MAX)
            replicas = tuple(map(NodeId, wanted.replicas)) or None
            command = ReassignPartition(topic.topic_id, wanted.partition, replicas)
            state = await self._edge.broker.submit(command)
        except Exception as error:
            failure = to_proto(presentable(error, REASSIGN))
            return admin_pb2.ReassignedPartition(error=failure, name=name)
        if not isinstance(state, PartitionImage):
            raise TypeError(f"ReassignPartition was answered by {type(state).__name__}")
        return admin_pb2.ReassignedPartition(name=name, partition=_placed(state))

    async def describe_config(
        self, _request: admin_pb2.DescribeConfigRequest, connection: Connection
    ) -> admin_pb2.DescribeConfigResponse:
        """This node's configuration."""
        self._edge.authorize_cluster(connection, Operation.DESCRIBE)
        entries = []
        for entry in sorted(self._edge.broker.config_entries):
            name, value, source = entry
            setting = SETTINGS_BY_NAME.get(name)
            entries.append(
                admin_pb2.ConfigEntry(
                    name=name,
                    value=value,
                    source=source,
                    dynamic=setting is not None and setting.dynamic,
                    doc="" if setting is None else setting.doc,
                )
            )
        return admin_pb2.DescribeConfigResponse(entries=entries)

    async def _described(
        self, name: str, connection: Connection, *, copies: bool
    ) -> admin_pb2.TopicDescription:
        try:
            topic = self._edge.topic(connection, Operation.DESCRIBE, name)
            described = await self._description(topic)
            if copies:
                await self._add_copies(topic, described)
            return described
        except Exception as error:
            failure = to_proto(presentable(error, DESCRIBE))
            return admin_pb2.TopicDescription(error=failure, name=name[:TOPIC_NAME_CHARACTERS_MAX])

    async def _changed(self, topic: TopicImage, validate_only: bool) -> admin_pb2.TopicDescription:
        """A topic just changed; of one that was only planned, or that somebody else has deleted or
        leads since, no partition can be measured."""
        if not topic.partitions:
            # Asked for before, and deleted since: there is nothing else to tell.
            return admin_pb2.TopicDescription(name=topic.name, topic_id=topic.topic_id)
        if not validate_only:
            # The change holds, whatever else can be said of the topic.
            with contextlib.suppress(UnknownTopicError):
                return await self._description(topic)
        partitions = [_placed(state) for state in topic.partitions]
        return self._with_config(topic, partitions)

    async def _description(self, topic: TopicImage) -> admin_pb2.TopicDescription:
        partitions = []
        for state in topic.partitions:
            described = _placed(state)
            partitions.append(described)
            stats = await self._measured(topic.topic_id, state)
            if stats is None:
                # Asked from its leader, by whoever wants to know.
                described.start_offset = described.end_offset = -1
                continue
            described.start_offset = stats.start_offset
            described.end_offset = stats.end_offset
            described.size_bytes = stats.size_bytes
            described.segments = stats.segments
            described.damage.extend(str(damage) for damage in stats.damage)
            described.retention = stats.retention
            described.compaction = stats.compaction
            described.progress.extend(
                admin_pb2.ReplicaProgress(
                    node_id=each.node_id,
                    end_offset=each.end_offset,
                    records_left=each.records_left,
                    bytes_left=each.bytes_left,
                )
                for each in stats.progress
            )
        return self._with_config(topic, partitions)

    async def _measured(self, topic_id: TopicId, state: PartitionImage) -> PartitionStats | None:
        """What this node can say of a partition; None: nothing, or nothing yet."""
        if not self._edge.broker.measures(state):
            return None
        try:
            return await self._edge.broker.describe_partition(topic_id, state.partition)
        except NotLeaderError:
            return None

    async def _add_copies(self, topic: TopicImage, described: admin_pb2.TopicDescription) -> None:
        """How this node's own copies stand."""
        for partition in described.partitions:
            stats = await self._edge.broker.describe_copy(topic.topic_id, partition.partition)
            if stats is not None:
                node_id = self._edge.broker.identity.node_id
                partition.copies.add(node_id=node_id, **stats._asdict())

    def _with_config(
        self, topic: TopicImage, partitions: Iterable[admin_pb2.PartitionDescription]
    ) -> admin_pb2.TopicDescription:
        defaults = self._edge.broker.config.topic_defaults
        replicas = topic.replication_factor
        config = parse_topic_config(topic.config, defaults=defaults, replication_factor=replicas)
        entries = topic_config_entries(topic.config, defaults=defaults, replication_factor=replicas)
        return admin_pb2.TopicDescription(
            name=topic.name,
            topic_id=topic.topic_id,
            internal=topic.internal,
            partitions=partitions,
            config=map(_entry, entries),
            durability=durability_in_words(config, replicas),
        )


#: The same few entries, mostly defaults, describe most topics. The message takes copies.
@lru_cache(maxsize=1_024)
def _entry(entry: TopicConfigEntry) -> admin_pb2.ConfigEntry:
    return admin_pb2.ConfigEntry(**entry._asdict())


def _placed(state: PartitionImage) -> admin_pb2.PartitionDescription:
    return admin_pb2.PartitionDescription(
        partition=state.partition,
        leader_id=state.leader_id,
        leader_epoch=state.leader_epoch,
        replicas=state.replicas,
        isr=state.isr,
        eligible=state.eligible,
        partition_epoch=state.partition_epoch,
        adding=state.adding,
        target=state.target,
        damaged=state.damaged,
    )


def _trimmed(partition: int, result: int | LogdError) -> admin_pb2.TrimmedPartition:
    if isinstance(result, LogdError):
        failure = to_proto(presentable(result, TRIM))
        return admin_pb2.TrimmedPartition(error=failure, partition=partition, start_offset=-1)
    return admin_pb2.TrimmedPartition(partition=partition, start_offset=result)


def _compacted(
    partition: int, outcome: CompactionOutcome | LogdError
) -> admin_pb2.CompactedPartition:
    if isinstance(outcome, LogdError):
        failure = to_proto(presentable(outcome, COMPACT))
        return admin_pb2.CompactedPartition(error=failure, partition=partition, done=True)
    return admin_pb2.CompactedPartition(
        partition=partition,
        bytes_before=outcome.bytes_before,
        bytes_after=outcome.bytes_after,
        records_before=outcome.records_before,
        records_after=outcome.records_after,
        outcome=outcome.words,
        done=outcome.done,
    )


def _check_partitions(partitions: int) -> None:
    if not 0 <= partitions <= PARTITIONS_PER_TOPIC_MAX:
        raise error_for(
            ErrorCode.INVALID_PARTITIONS,
            f"a topic cannot have {partitions} partitions",
            hint=f"ask for 1 to {PARTITIONS_PER_TOPIC_MAX}",
        )


def _check_replication_factor(replication_factor: int) -> None:
    if not -1 <= replication_factor <= REPLICATION_FACTOR_MAX:
        raise error_for(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"a topic cannot have {replication_factor} replicas",
            hint="ask for as many as there are nodes, or for 0, the default",
        )


def _check_config(config: Mapping[str, str]) -> None:
    """Refuse what no setting can be by its size alone; the names and values the broker checks."""
    check_count("settings", len(config), CONFIG_ENTRIES_MAX)
    for name, value in config.items():
        if len(name) > CONFIG_KEY_CHARACTERS_MAX or not name.isprintable():
            raise InvalidConfigError(
                f"{name[:64]!a} is no setting", hint="docs/settings.md lists every setting"
            )
        if len(value) > CONFIG_VALUE_CHARACTERS_MAX:
            raise InvalidConfigError(f"{name}: {len(value)} characters are too many")
