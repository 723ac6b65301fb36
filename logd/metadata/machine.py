"""The metadata machine: judges commands against the image, and replays what was decided.

`handle` decides and changes nothing; only `replay` changes the image. The leader replays records
as it appends them, so that the next command is judged against what is already on its way; on the
loss of leadership `reset` drops what was not committed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, assert_never, overload

from logd_wire.errors import (
    ErrorCode,
    InvalidConfigError,
    InvalidRequestError,
    InvalidTopicNameError,
    LogdError,
    TopicExistsError,
    UnknownTopicError,
)
from logd_wire.limits import PARTITIONS_PER_TOPIC_MAX

from logd.metadata.commands import (
    AllocateProducerIds,
    AlterTopic,
    Command,
    CreateTopic,
    DeleteTopic,
    FormCluster,
    Outcome,
    ProducerIdBlock,
    RegisterNode,
    Reply,
)
from logd.metadata.image import ClusterImage, NodeImage, TopicImage
from logd.metadata.placement import place_partitions
from logd.metadata.records import (
    ClusterFormed,
    MetadataRecord,
    NodeRegistered,
    Overrides,
    PartitionsAdded,
    ProducerIdsAllocated,
    TopicConfigured,
    TopicCreated,
    TopicDeleted,
)
from logd.metadata.replay import replay
from logd.model.ids import ID_BYTES, NODE_ID_MAX, ClusterId, TopicId, format_id
from logd.model.names import check_topic_name, collision_key
from logd.model.topic_config import (
    canonical_topic_config,
    check_topic_setting_name,
    parse_topic_config,
)
from logd.model.units import INT64_MAX

PRODUCER_IDS_PER_BLOCK_MAX: Final = 1_000_000
#: A new topic gets so many replicas where there are so many nodes and nothing else is said.
REPLICATION_FACTOR_AIM: Final = 3
_EMPTY: Final = ClusterImage()
_ADDRESS_CHARACTERS_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class MetadataSettings:
    """What new topics get where a command does not say; from the node's configuration."""

    partitions: int = 1
    #: -1: one for each node, at most 3.
    replication_factor: int = -1
    topic_defaults: Mapping[str, str] = field(default_factory=dict)


class MetadataMachine:
    """Owns the newest image, committed or not. One caller at a time."""

    def __init__(self, settings: MetadataSettings, image: ClusterImage = _EMPTY) -> None:
        self._settings = settings
        self._image = image

    @property
    def image(self) -> ClusterImage:
        """The image after everything replayed so far."""
        return self._image

    def replay(self, *records: MetadataRecord) -> None:
        """Take in records, all or none; raises InconsistentLogError."""
        self._image = replay(self._image, records)

    def reset(self, image: ClusterImage) -> None:
        """Go back to `image`: what was replayed beyond it will not be committed."""
        self._image = image

    @overload
    def handle(self, command: FormCluster, now_ms: int) -> Outcome[ClusterId]: ...

    @overload
    def handle(self, command: RegisterNode, now_ms: int) -> Outcome[NodeImage]: ...

    @overload
    def handle(
        self, command: CreateTopic | DeleteTopic | AlterTopic, now_ms: int
    ) -> Outcome[TopicImage]: ...

    @overload
    def handle(self, command: AllocateProducerIds, now_ms: int) -> Outcome[ProducerIdBlock]: ...

    @overload
    def handle(self, command: Command, now_ms: int) -> Outcome[Reply]: ...

    def handle(self, command: Command, now_ms: int) -> Outcome[Reply]:
        """Decide. Raises a LogdError to refuse; the image is the same afterwards either way.

        `now_ms` is the time of the decision; no command of today depends on it.
        """
        if self._image.cluster_id is None and not isinstance(command, FormCluster):
            raise InvalidRequestError("the cluster is not formed yet", retriable=True)
        outcome: Outcome[Reply]
        match command:
            case FormCluster():
                outcome = self._form(command)
            case RegisterNode():
                outcome = self._register(command)
            case CreateTopic():
                outcome = self._create(command)
            case DeleteTopic():
                topic = self._topic(command.name)
                outcome = Outcome((TopicDeleted(topic.topic_id),), topic)
            case AlterTopic():
                outcome = self._alter(command)
            case AllocateProducerIds():
                outcome = self._allocate(command)
            case _:
                assert_never(command)
        return outcome

    def _form(self, command: FormCluster) -> Outcome[ClusterId]:
        _check_id(command.cluster_id, "cluster id")
        formed = self._image.cluster_id
        if formed is None:
            return Outcome((ClusterFormed(command.cluster_id),), command.cluster_id)
        if formed != command.cluster_id:
            raise LogdError(
                f"this is cluster {format_id(formed)}, not {format_id(command.cluster_id)}",
                hint="the data folder belongs to another cluster: check cluster.id and data_dir",
                code=ErrorCode.CLUSTER_ID_MISMATCH,
            )
        return Outcome((), formed)

    def _register(self, command: RegisterNode) -> Outcome[NodeImage]:
        _check_id(command.directory_id, "directory id")
        _check_id(command.incarnation_id, "incarnation id")
        if not 0 <= command.node_id <= NODE_ID_MAX:
            raise InvalidRequestError(f"{command.node_id} is not a node id")
        if len(command.address) > _ADDRESS_CHARACTERS_MAX or len(command.rack) > 255:
            raise InvalidRequestError(f"address or rack of node {command.node_id} is too long")
        node = NodeRegistered(
            command.node_id,
            command.directory_id,
            command.incarnation_id,
            command.address,
            command.rack,
        )
        before = self._image.nodes.get(command.node_id)
        if before is not None and before.directory_id != command.directory_id:
            raise InvalidRequestError(
                f"node {command.node_id} is registered with data directory "
                f"{format_id(before.directory_id)}, not {format_id(command.directory_id)}",
                hint="a new data folder needs a new node.id",
            )
        return Outcome(() if before == node else (node,), node)

    def _create(self, command: CreateTopic) -> Outcome[TopicImage]:
        check_topic_name(command.name)
        self._check_free(command.name)
        partitions = command.partitions or self._settings.partitions
        if not 1 <= partitions <= PARTITIONS_PER_TOPIC_MAX:
            raise _invalid_partitions(command.name, partitions)
        nodes = sorted(self._image.nodes)
        replicas = self._replication_factor(command, len(nodes))
        overrides = canonical_topic_config(command.config)
        self._check_config(overrides, replicas)
        placed = place_partitions(
            nodes, replicas, first=0, end=partitions, start=len(self._image.topics) % len(nodes)
        )
        if command.validate_only:
            return Outcome((), TopicImage(TopicId(b""), command.name, placed, overrides))
        _check_id(command.topic_id, "topic id")
        if command.topic_id in self._image.topics:
            raise InvalidRequestError(f"the topic id {format_id(command.topic_id)} is in use")
        record = TopicCreated(command.topic_id, command.name, placed, overrides)
        return Outcome((record,), TopicImage(command.topic_id, command.name, placed, overrides))

    def _check_free(self, name: str) -> None:
        if name in self._image.topic_ids:
            raise TopicExistsError(f"topic {name} already exists")
        key = collision_key(name)
        for other in self._image.topic_ids:
            if collision_key(other) == key:
                raise InvalidTopicNameError(
                    f"topic name {name} differs from the existing {other} only in . and _",
                    hint="such names collide in the names of metrics; choose another",
                )

    def _replication_factor(self, command: CreateTopic, nodes: int) -> int:
        wanted = command.replication_factor
        if wanted in {0, -1}:
            wanted = self._settings.replication_factor
        if wanted == -1:
            wanted = min(REPLICATION_FACTOR_AIM, nodes)
        if not 1 <= wanted <= nodes:
            raise InvalidRequestError(
                f"topic {command.name}: replication factor {wanted} with {nodes} "
                f"{'node' if nodes == 1 else 'nodes'}",
                hint=f"choose from 1 to {nodes}" if nodes else "no node is registered yet",
                code=ErrorCode.INVALID_REPLICATION_FACTOR,
            )
        return wanted

    def _alter(self, command: AlterTopic) -> Outcome[TopicImage]:
        topic = self._topic(command.name)
        records: list[MetadataRecord] = []
        overrides = self._altered_config(command, topic)
        if overrides != topic.overrides:
            records.append(TopicConfigured(topic.topic_id, overrides))
        if command.partitions not in {0, len(topic.partitions)}:
            records.append(self._more_partitions(topic, command.partitions))
        after = replay(self._image, records).topics[topic.topic_id]
        return Outcome(() if command.validate_only else tuple(records), after)

    def _altered_config(self, command: AlterTopic, topic: TopicImage) -> Overrides:
        both = sorted(set(command.set_config) & set(command.delete_config))
        if both:
            raise InvalidConfigError(f"topic {topic.name}: {both[0]} is both set and deleted")
        config = topic.config
        for name in command.delete_config:
            # What is set can be given back, also when this version would not take it any more.
            if name not in config:
                check_topic_setting_name(name)
            config.pop(name, None)
        config.update(canonical_topic_config(command.set_config))
        overrides = tuple(sorted(config.items()))
        if overrides != topic.overrides:
            self._check_config(overrides, topic.replication_factor)
        return overrides

    def _more_partitions(self, topic: TopicImage, wanted: int) -> PartitionsAdded:
        if not len(topic.partitions) < wanted <= PARTITIONS_PER_TOPIC_MAX:
            raise _invalid_partitions(topic.name, wanted, now=len(topic.partitions))
        nodes = sorted(self._image.nodes)
        first_leader = topic.partitions[0].replicas[0]
        added = place_partitions(
            nodes,
            topic.replication_factor,
            first=len(topic.partitions),
            end=wanted,
            start=nodes.index(first_leader),
        )
        return PartitionsAdded(topic.topic_id, added)

    def _allocate(self, command: AllocateProducerIds) -> Outcome[ProducerIdBlock]:
        if command.node_id not in self._image.nodes:
            raise InvalidRequestError(f"node {command.node_id} is not registered")
        if not 1 <= command.count <= PRODUCER_IDS_PER_BLOCK_MAX:
            raise InvalidRequestError(f"{command.count} producer ids cannot make a block")
        first = self._image.next_producer_id
        if first > INT64_MAX - command.count:
            raise LogdError(
                "all producer ids are used up", code=ErrorCode.PRODUCER_ID_LIMIT, retriable=False
            )
        record = ProducerIdsAllocated(command.node_id, first, command.count)
        return Outcome((record,), ProducerIdBlock(first, command.count))

    def _topic(self, name: str) -> TopicImage:
        try:
            return self._image.topic_named(name)
        except UnknownTopicError as error:
            # For a reader the topic may be about to appear; here, this is the place that knows.
            error.retriable = False
            raise

    def _check_config(self, overrides: Overrides, replication_factor: int) -> None:
        parse_topic_config(
            dict(overrides),
            defaults=self._settings.topic_defaults,
            replication_factor=replication_factor,
        )


def _check_id(value: bytes, what: str) -> None:
    if len(value) != ID_BYTES or not any(value):
        raise InvalidRequestError(f"a {what} is {ID_BYTES} bytes and not all zero")


def _invalid_partitions(name: str, wanted: int, now: int = 0) -> LogdError:
    has, rule = (f" and it has {now}", "; partitions only grow") if now else ("", "")
    return InvalidRequestError(
        f"topic {name}: {wanted} partitions were asked for{has}",
        hint=f"choose from {now + 1} to {PARTITIONS_PER_TOPIC_MAX}{rule}",
        code=ErrorCode.INVALID_PARTITIONS,
    )
