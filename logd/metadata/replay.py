"""The only code that changes an image: one record after the other, without judging it.

Decisions are made before a record is written (`logd.metadata.machine`). Replay refuses only what
contradicts the log so far; that means the log is damaged or was written by something else, and
the node must not go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Generic, TypeVar, assert_never

from logd_wire.errors import StorageFailedError

from logd.metadata.image import DELETIONS_KEPT, REQUESTS_KEPT, ClusterImage, TopicImage
from logd.metadata.records import (
    ClusterFormed,
    MetadataRecord,
    NodeFenced,
    NodeRegistered,
    NodeRemoved,
    NodeUnfenced,
    PartitionChanged,
    PartitionImage,
    PartitionsAdded,
    ProducerIdsAllocated,
    RequestDone,
    TopicConfigured,
    TopicCreated,
    TopicDeleted,
    VotersChanged,
)
from logd.model.ids import NodeId, TopicId, format_id
from logd.model.units import INT64_MAX

K = TypeVar("K")
V = TypeVar("V")


class InconsistentLogError(StorageFailedError):
    """A metadata record contradicts the records before it. Not retriable; the node stops."""

    def __init__(self, message: str) -> None:
        super().__init__(
            f"metadata log: {message}",
            hint="the log is damaged or was written by something else; restore it from a copy",
            retriable=False,
        )


def replay(image: ClusterImage, records: Iterable[MetadataRecord]) -> ClusterImage:
    """Return the image after the records; `image` stays as it is.

    A mapping that changes is copied once for each call, so replay many records in one call where
    many are at hand. Raises InconsistentLogError.
    """
    draft = _Draft(image)
    for record in records:
        draft.apply(record)
    return draft.freeze()


class _Table(Generic[K, V]):
    """A mapping of an image, copied before it is changed for the first time."""

    __slots__ = ("_own", "now")

    def __init__(self, mapping: Mapping[K, V]) -> None:
        self.now = mapping
        self._own: dict[K, V] | None = None

    @property
    def own(self) -> dict[K, V]:
        """The copy, to be changed."""
        if self._own is None:
            now = self.now
            # Every change to the cluster comes here: item by item is thirty times as slow.
            self._own = now.copy() if isinstance(now, MappingProxyType) else dict(now)
            self.now = MappingProxyType(self._own)
        return self._own

    def remember(self, key: K, value: V, most: int) -> None:
        """Add the newest of `most` that are kept."""
        own = self.own
        own[key] = value
        if len(own) > most:
            del own[next(iter(own))]


class _Draft:
    """An image that is being changed."""

    def __init__(self, image: ClusterImage) -> None:
        self._cluster_id = image.cluster_id
        self._nodes = _Table(image.nodes)
        self._topics = _Table(image.topics)
        self._topic_ids = _Table(image.topic_ids)
        self._next_producer_id = image.next_producer_id
        self._voters = image.voters
        self._removed = _Table(image.removed)
        self._deleted = _Table(image.deleted)
        self._requests = _Table(image.requests)
        #: Partitions of topics in which some have changed, until something asks for the topic: one
        #: entry may change thousands of one topic.
        self._changed: dict[TopicId, list[PartitionImage]] = {}

    def freeze(self) -> ClusterImage:
        for topic_id in tuple(self._changed):
            self._topic(topic_id)
        return ClusterImage(
            self._cluster_id,
            self._nodes.now,
            self._topics.now,
            self._topic_ids.now,
            self._next_producer_id,
            self._voters,
            self._removed.now,
            self._deleted.now,
            self._requests.now,
        )

    def apply(self, record: MetadataRecord) -> None:  # noqa: C901, PLR0912 - dispatch
        if (self._cluster_id is None) is not isinstance(record, ClusterFormed):
            raise InconsistentLogError(f"{type(record).__name__} is out of place")
        match record:
            case ClusterFormed():
                self._cluster_id = record.cluster_id
            case NodeRegistered():
                self._register(record)
            case NodeFenced():
                self._fence(record.node_id, record.incarnation_id, True)
            case NodeUnfenced():
                self._fence(record.node_id, record.incarnation_id, False)
            case NodeRemoved():
                self._remove(record)
            case VotersChanged():
                self._change_voters(record)
            case TopicCreated():
                self._create(record)
            case TopicConfigured():
                topic = self._topic(record.topic_id)
                self._topics.own[topic.topic_id] = replace(topic, overrides=record.overrides)
            case PartitionsAdded():
                self._add_partitions(record)
            case TopicDeleted():
                self._delete(record)
            case ProducerIdsAllocated():
                self._allocate(record)
            case PartitionChanged():
                self._change_partition(record)
            case RequestDone():
                self._note(record)
            case _:
                assert_never(record)

    def _register(self, record: NodeRegistered) -> None:
        if record.directory_id in self._removed.now:
            raise InconsistentLogError(f"node {record.node_id} came back from a removed directory")
        before = self._nodes.now.get(record.node_id)
        if before is not None and 0 < record.node_epoch <= before.node_epoch:
            raise InconsistentLogError(f"node epoch of node {record.node_id} went back")
        self._nodes.own[record.node_id] = record

    def _fence(self, node_id: NodeId, incarnation_id: bytes, fenced: bool) -> None:
        node = self._nodes.now.get(node_id)
        if node is None or node.incarnation_id != incarnation_id:
            raise InconsistentLogError(f"node {node_id} is not registered as this incarnation")
        self._nodes.own[node_id] = replace(node, fenced=fenced)

    def _remove(self, record: NodeRemoved) -> None:
        """End the registration, if it is not long gone: a snapshot lists what was removed."""
        node = self._nodes.now.get(record.node_id)
        if record.directory_id in self._removed.now or (
            node is not None and node.directory_id != record.directory_id
        ):
            raise InconsistentLogError(f"node {record.node_id} was removed out of turn")
        self._nodes.own.pop(record.node_id, None)
        self._removed.own[record.directory_id] = record

    def _change_voters(self, record: VotersChanged) -> None:
        """Note with the nodes who has lost a vote: only a command gives it back."""
        before = {voter.directory_id for voter in self._voters}
        after = {voter.directory_id for voter in record.voters}
        self._voters = record.voters
        for node in tuple(self._nodes.now.values()):
            if node.directory_id in before ^ after:
                withdrawn = node.directory_id in before
                self._nodes.own[node.node_id] = replace(node, vote_withdrawn=withdrawn)

    def _topic(self, topic_id: TopicId) -> TopicImage:
        topic = self._topics.now.get(topic_id)
        if topic is None:
            raise InconsistentLogError(f"there is no topic {format_id(topic_id)}")
        changed = self._changed.pop(topic_id, None)
        if changed is not None:
            topic = self._topics.own[topic_id] = replace(topic, partitions=tuple(changed))
        return topic

    def _create(self, record: TopicCreated) -> None:
        is_used = record.topic_id in self._topics.now or record.topic_id in self._deleted.now
        if is_used or record.name in self._topic_ids.now:
            raise InconsistentLogError(f"topic {record.name} was created twice")
        _check_in_a_row(record.name, record.partitions)
        self._topics.own[record.topic_id] = TopicImage(
            record.topic_id, record.name, record.partitions, record.overrides
        )
        self._topic_ids.own[record.name] = record.topic_id

    def _delete(self, record: TopicDeleted) -> None:
        """End the topic, if it is not long gone: a snapshot lists the deletions that are
        remembered."""
        if record.topic_id in self._deleted.now:
            raise InconsistentLogError(f"topic {format_id(record.topic_id)} was deleted twice")
        if not record.request_id or record.topic_id in self._topics.now:
            topic = self._topic(record.topic_id)
            del self._topics.own[topic.topic_id]
            del self._topic_ids.own[topic.name]
        if record.request_id:
            self._deleted.remember(record.topic_id, record, DELETIONS_KEPT)

    def _note(self, record: RequestDone) -> None:
        if record.request_id in self._requests.now:
            raise InconsistentLogError(f"request {record.request_id.hex()} was carried out twice")
        self._requests.remember(record.request_id, record, REQUESTS_KEPT)

    def _add_partitions(self, record: PartitionsAdded) -> None:
        topic = self._topic(record.topic_id)
        partitions = topic.partitions + record.partitions
        _check_in_a_row(topic.name, partitions)
        self._topics.own[topic.topic_id] = replace(topic, partitions=partitions)

    def _allocate(self, record: ProducerIdsAllocated) -> None:
        if record.first_id < self._next_producer_id or record.count < 1:
            raise InconsistentLogError(f"producer ids from {record.first_id} were handed out twice")
        end = record.first_id + record.count
        if end > INT64_MAX + 1:
            raise InconsistentLogError(f"producer ids up to {end - 1} were handed out")
        self._next_producer_id = end

    def _change_partition(self, record: PartitionChanged) -> None:
        partitions = self._changed.get(record.topic_id)
        if partitions is None:
            partitions = list(self._topic(record.topic_id).partitions)
            self._changed[record.topic_id] = partitions
        name = self._topics.now[record.topic_id].name
        number = record.state.partition
        if not 0 <= number < len(partitions):
            raise InconsistentLogError(f"topic {name} has no partition {number}")
        before = partitions[number]
        if record.state.partition_epoch <= before.partition_epoch:
            raise InconsistentLogError(f"partition epoch of {name}-{number} went back")
        if record.state.leader_epoch < before.leader_epoch:
            raise InconsistentLogError(f"leader epoch of {name}-{number} went back")
        partitions[number] = record.state


def _check_in_a_row(name: str, partitions: tuple[PartitionImage, ...]) -> None:
    if [state.partition for state in partitions] != list(range(len(partitions))):
        raise InconsistentLogError(f"partitions of topic {name} are not in a row")
