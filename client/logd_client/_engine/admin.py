"""The admin's engine: calls that change or describe topics and the cluster."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message
from logd_proto.v1 import admin_pb2
from logd_wire.errors import (
    BootstrapError,
    ErrorCode,
    LogdError,
    NetworkError,
    OutcomeUnknownError,
    TimeoutError,
    TopicExistsError,
)

from logd_client._core.backoff import Backoff
from logd_client._engine.cluster import Cluster, ClusterConfig
from logd_client._engine.ports import Clock, Rng
from logd_client._transport import methods
from logd_client._transport.api import Transport
from logd_client._transport.errors import from_proto
from logd_client.values import (
    ClusterInfo,
    CompactedPartition,
    ConfigEntry,
    NodeInfo,
    PartitionInfo,
    TopicInfo,
)

#: How long one call waits for the end of a compaction; less than a request may take.
_COMPACT_WAIT_MS = 10_000
#: Refusals after which a change may be sent again: it has certainly not happened.
_NOT_DONE = frozenset({ErrorCode.OVERLOADED, ErrorCode.NOT_CONTROLLER, ErrorCode.SHUTTING_DOWN})


class AdminEngine:
    """One admin client. Runs on the loop; raises what the node answers."""

    def __init__(self, transport: Transport, clock: Clock, rng: Rng, config: ClusterConfig) -> None:
        self.clock = clock
        self._rng = rng
        self._config = config
        self._backoff = Backoff()
        self.cluster = Cluster(transport, clock, rng, config)

    async def close(self) -> None:
        await self.cluster.close()

    # ---- asking ----------------------------------------------------------------------------

    async def _read(self, method: str, request: Message) -> Any:
        """A call that changes nothing: repeated while that helps."""
        return await self._patiently(
            lambda left_ms: self.cluster.ask(method, request, timeout_ms=left_ms)
        )

    async def _change(self, method: str, request: Message) -> Any:
        """A call that changes something: repeated only where it has certainly not happened."""

        async def once(left_ms: float) -> Any:
            connection = await self.cluster.any_connection()
            try:
                return await connection.call(method, request, timeout_ms=left_ms)
            except (NetworkError, TimeoutError) as error:
                what = method.rpartition("/")[2]
                raise OutcomeUnknownError(
                    f"outcome unknown: {what} was sent, and no answer came ({error.message})",
                    hint="look whether it happened before trying again",
                    broker=error.broker,
                    retriable=False,
                ) from error

        return await self._patiently(once)

    async def _patiently(self, call: Any) -> Any:
        deadline_ms = self.clock.monotonic_ms() + self._config.request_timeout_ms
        attempt = 0
        while True:
            left_ms = deadline_ms - self.clock.monotonic_ms()
            try:
                return await call(max(1.0, left_ms))
            except LogdError as error:
                attempt += 1
                delay_ms = self._backoff.delay_ms(attempt, self._rng)
                if error.code not in _NOT_DONE or delay_ms >= left_ms:
                    raise
            except BootstrapError:
                raise
            await self.clock.sleep_ms(delay_ms)

    # ---- topics ----------------------------------------------------------------------------

    async def create_topic(
        self,
        name: str,
        *,
        partitions: int,
        replication_factor: int,
        config: Mapping[str, str],
        exist_ok: bool,
        validate_only: bool,
    ) -> TopicInfo:
        request = admin_pb2.CreateTopicRequest(
            name=name,
            partitions=partitions,
            replication_factor=replication_factor,
            config=dict(config),
            validate_only=validate_only,
        )
        try:
            response = await self._change(methods.CREATE_TOPIC, request)
        except TopicExistsError:
            if not exist_ok:
                raise
            return (await self.describe_topics([name]))[0]
        return topic_info(response.topic)

    async def delete_topic(self, name: str) -> None:
        await self._change(methods.DELETE_TOPIC, admin_pb2.DeleteTopicRequest(name=name))

    async def alter_topic(
        self,
        name: str,
        *,
        set_config: Mapping[str, str],
        delete_config: Iterable[str],
        partitions: int,
        validate_only: bool,
    ) -> TopicInfo:
        request = admin_pb2.AlterTopicRequest(
            name=name,
            set_config=dict(set_config),
            delete_config=list(delete_config),
            partitions=partitions,
            validate_only=validate_only,
        )
        return topic_info((await self._change(methods.ALTER_TOPIC, request)).topic)

    async def describe_topics(
        self, names: Sequence[str], *, include_internal: bool = False
    ) -> list[TopicInfo]:
        """Describe `names` (none: all topics); raises the error of the first that has one."""
        request = admin_pb2.DescribeTopicsRequest(
            names=list(names), include_internal=include_internal
        )
        response = await self._read(methods.DESCRIBE_TOPICS, request)
        return [topic_info(topic) for topic in response.topics]

    async def delete_records(self, name: str, before: Mapping[int, int]) -> dict[int, int]:
        """Trim partitions; raises the first partition's error after all were tried."""
        request = admin_pb2.TrimTopicRequest(name=name)
        for partition, offset in before.items():
            request.partitions.add(partition=partition, before_offset=offset)
        response = await self._read(methods.TRIM_TOPIC, request)
        for part in response.partitions:
            if part.HasField("error"):
                raise from_proto(part.error, broker=None)
        return {part.partition: part.start_offset for part in response.partitions}

    async def compact_topic(
        self, name: str, partitions: Iterable[int], *, now: bool, wait: bool
    ) -> dict[int, CompactedPartition]:
        """Compact partitions (none named: all), perhaps to the end; raises the first error."""
        found: dict[int, CompactedPartition] = {}
        open_partitions = list(partitions)
        while True:
            request = admin_pb2.CompactTopicRequest(
                name=name,
                partitions=open_partitions,
                now=now,
                wait_ms=_COMPACT_WAIT_MS if wait else 0,
            )
            response = await self._read(methods.COMPACT_TOPIC, request)
            for part in response.partitions:
                if part.HasField("error"):
                    raise from_proto(part.error, broker=None)
                found[part.partition] = _compacted(part)
            open_partitions = [number for number, part in found.items() if not part.done]
            if not (wait and open_partitions):
                return found
            # The segments were closed by the first call; what came since is not waited for.
            now = False

    # ---- the cluster -----------------------------------------------------------------------

    async def describe_cluster(self) -> ClusterInfo:
        answer = await self._read(methods.DESCRIBE_CLUSTER, admin_pb2.DescribeClusterRequest())
        return ClusterInfo(
            cluster_id=answer.cluster_id,
            controller_id=_known(answer.controller_id),
            node_id=answer.node_id,
            version=answer.version,
            nodes=tuple(NodeInfo(node.id, node.address, node.rack) for node in answer.nodes),
        )

    async def describe_configs(self) -> list[ConfigEntry]:
        answer = await self._read(methods.DESCRIBE_CONFIG, admin_pb2.DescribeConfigRequest())
        return [_entry(entry) for entry in answer.entries]


def topic_info(topic: admin_pb2.TopicDescription) -> TopicInfo:
    """The description in plain values; raises its error if it has one."""
    if topic.HasField("error"):
        raise from_proto(topic.error, broker=None)
    return TopicInfo(
        name=topic.name,
        id=str(uuid.UUID(bytes=topic.topic_id)) if len(topic.topic_id) == 16 else "",
        internal=topic.internal,
        partitions=tuple(_partition(each) for each in topic.partitions),
        config={entry.name: entry.value for entry in topic.config},
        config_entries=tuple(_entry(entry) for entry in topic.config),
        durability=topic.durability,
    )


def _partition(part: admin_pb2.PartitionDescription) -> PartitionInfo:
    return PartitionInfo(
        partition=part.partition,
        leader=_known(part.leader_id),
        leader_epoch=part.leader_epoch,
        replicas=tuple(part.replicas),
        isr=tuple(part.isr),
        start_offset=part.start_offset,
        end_offset=part.end_offset,
        size_bytes=part.size_bytes,
        segments=part.segments,
        damage=tuple(part.damage),
        retention=part.retention,
        compaction=part.compaction,
    )


def _compacted(part: admin_pb2.CompactedPartition) -> CompactedPartition:
    return CompactedPartition(
        partition=part.partition,
        done=part.done,
        bytes_before=part.bytes_before,
        bytes_after=part.bytes_after,
        records_before=part.records_before,
        records_after=part.records_after,
        outcome=part.outcome,
    )


def _entry(entry: admin_pb2.ConfigEntry) -> ConfigEntry:
    return ConfigEntry(entry.name, entry.value, entry.source, entry.dynamic, entry.doc)


def _known(node_id: int) -> int | None:
    return None if node_id < 0 else node_id
