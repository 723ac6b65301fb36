"""What the client believes about the cluster, ordered by how new it is.

Answers of different nodes, and hints inside errors, arrive in any order, and a node may lag behind
others. So:

* An answer says how far its node has followed the metadata log. One that is older than what is
  known of the nodes, or of a topic, changes nothing about them; not that a topic is gone, nor that
  it is another one. Nodes that do not say how far they are, are believed.
* Within one topic id a partition's leader is replaced only by knowledge of the same or a newer
  leader epoch: a hint may be ahead of every answer.
* A topic made again under its name has another id, and its epochs begin anew. A newer answer
  replaces all that was known of the earlier one; a hint counts only for the id it is about.
* The controller is ordered by its own epoch, the term.
"""

from __future__ import annotations

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
    #: `Snapshot.index` of the answer that this was heard in; set by the cache.
    index: int = 0


@dataclass(slots=True)
class Snapshot:
    """One metadata answer in plain values."""

    cluster_id: str
    controller_id: int
    nodes: tuple[NodeInfo, ...]
    topics: tuple[TopicState, ...]
    #: How far the answering node has followed the metadata log; 0: not said.
    index: int = 0
    controller_epoch: int = 0


@dataclass(slots=True)
class MetadataCache:
    """The merged belief."""

    cluster_id: str = ""
    controller_id: int = -1
    controller_epoch: int = 0
    #: `Snapshot.index` of the answer that `nodes` come from.
    index: int = 0
    nodes: dict[int, NodeInfo] = field(default_factory=dict)
    topics: dict[str, TopicState] = field(default_factory=dict)

    def update(self, snapshot: Snapshot) -> bool:
        """Merge one answer; whether it is newer than every answer before it."""
        self.cluster_id = snapshot.cluster_id
        self._hear_of_controller(snapshot.controller_id, snapshot.controller_epoch)
        newer = snapshot.index > self.index
        if not _is_older(snapshot.index, self.index):
            self.index = snapshot.index
            self.nodes = {node.id: node for node in snapshot.nodes}
        for topic in snapshot.topics:
            self._merge(topic, snapshot.index)
        return newer

    def _hear_of_controller(self, node_id: int, epoch: int) -> bool:
        """Whether that was news."""
        if epoch < self.controller_epoch or (epoch == self.controller_epoch and node_id < 0):
            return False
        news = (node_id, epoch) != (self.controller_id, self.controller_epoch)
        self.controller_id, self.controller_epoch = node_id, epoch
        return news

    def _merge(self, heard: TopicState, index: int) -> None:
        known = self.topics.get(heard.name)
        if known is not None and _is_older(index, known.index):
            return
        heard.index = index
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

    @property
    def controller_address(self) -> str:
        """Where the controller is; empty while that is not known."""
        node = self.nodes.get(self.controller_id)
        return node.address if node is not None else ""

    def apply_controller_hint(self, node_id: int, epoch: int, address: str) -> str:
        """Take over who is the controller, as an error said.

        Returns the address to go to; empty: the hint names none, or is older than what is known.
        """
        if node_id < 0 or epoch < self.controller_epoch:
            return ""
        self._hear_of_controller(node_id, epoch)
        return address or self.controller_address

    def apply_hint(
        self,
        topic: str,
        topic_id: bytes,
        partition: int,
        *,
        leader_id: int,
        leader_epoch: int,
        address: str,
    ) -> bool:
        """Take over who leads, as an error about `topic_id` said; whether that was news."""
        state = self.topics.get(topic)
        if state is None or state.error is not None or leader_id < 0:
            return False
        if state.topic_id != topic_id:
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

    def addresses(self) -> list[str]:
        """The nodes' addresses by id, those that the controller does not count on last."""
        nodes = sorted(self.nodes.values(), key=lambda node: (node.fenced, node.id))
        return [node.address for node in nodes if node.address]


def _is_older(index: int, known: int) -> bool:
    """Whether an answer at `index` is older than one at `known`; one that says nothing is not."""
    return 0 < index < known
