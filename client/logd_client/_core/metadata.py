"""What the client believes about the cluster, ordered by leader epoch.

Answers of different nodes, and hints inside errors, arrive in any order. For one topic id a
partition's leader is replaced only by knowledge of the same or a newer epoch; another topic id
under the same name replaces everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from logd_wire.errors import LogdError

from logd_client.values import NodeInfo


@dataclass(frozen=True, slots=True)
class Leader:
    """Where to send what concerns one partition."""

    topic_id: bytes
    node_id: int
    epoch: int
    address: str


@dataclass(slots=True)
class PartitionState:
    """`leader_id` -1: none. `address` is set only by a hint about a node not yet known."""

    leader_id: int
    leader_epoch: int
    address: str = ""


@dataclass(slots=True)
class TopicState:
    """One topic as last heard of; `error` set: it cannot be used now."""

    name: str
    topic_id: bytes
    partitions: dict[int, PartitionState]
    error: LogdError | None = None
    internal: bool = False


@dataclass(slots=True)
class Snapshot:
    """One metadata answer in plain values."""

    cluster_id: str
    controller_id: int
    nodes: tuple[NodeInfo, ...]
    topics: tuple[TopicState, ...]


@dataclass(slots=True)
class MetadataCache:
    """The merged belief."""

    cluster_id: str = ""
    controller_id: int = -1
    nodes: dict[int, NodeInfo] = field(default_factory=dict)
    topics: dict[str, TopicState] = field(default_factory=dict)

    def update(self, snapshot: Snapshot) -> None:
        """Merge one answer."""
        self.cluster_id = snapshot.cluster_id
        self.controller_id = snapshot.controller_id
        self.nodes = {node.id: node for node in snapshot.nodes}
        for topic in snapshot.topics:
            self._merge(topic)

    def _merge(self, heard: TopicState) -> None:
        known = self.topics.get(heard.name)
        if known is not None and heard.error is None and known.topic_id == heard.topic_id:
            for number, partition in known.partitions.items():
                new = heard.partitions.get(number)
                if new is None or new.leader_epoch < partition.leader_epoch:
                    heard.partitions[number] = partition
        self.topics[heard.name] = heard

    def topic(self, name: str) -> TopicState | None:
        return self.topics.get(name)

    def leader(self, topic: str, partition: int) -> Leader | None:
        """The leader of a partition; None: unknown, or there is none."""
        state = self.topics.get(topic)
        if state is None or state.error is not None:
            return None
        found = state.partitions.get(partition)
        if found is None or found.leader_id < 0:
            return None
        node = self.nodes.get(found.leader_id)
        address = found.address or (node.address if node is not None else "")
        if not address:
            return None
        return Leader(state.topic_id, found.leader_id, found.leader_epoch, address)

    def available(self, topic: str) -> list[int]:
        """Numbers of the partitions that have a leader, ascending."""
        state = self.topics.get(topic)
        if state is None:
            return []
        return [
            number for number, found in sorted(state.partitions.items()) if found.leader_id >= 0
        ]

    def apply_hint(
        self, topic: str, partition: int, leader_id: int, leader_epoch: int, address: str
    ) -> bool:
        """Take over who leads, as an error said; whether that was news."""
        state = self.topics.get(topic)
        if state is None or state.error is not None or leader_id < 0:
            return False
        found = state.partitions.get(partition)
        if found is None or leader_epoch <= found.leader_epoch:
            return False
        node = self.nodes.get(leader_id)
        known_address = node.address if node is not None else ""
        state.partitions[partition] = PartitionState(
            leader_id, leader_epoch, address if address != known_address else ""
        )
        return True

    def addresses(self, bootstrap: Iterable[str]) -> list[str]:
        """Every address worth asking: known nodes by id, then the configured ones."""
        known = [node.address for _, node in sorted(self.nodes.items()) if node.address]
        return list(dict.fromkeys([*known, *bootstrap]))
