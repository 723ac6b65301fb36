"""Values for tests of the metadata machine: short ids, any record, a machine with nodes."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from logd_wire.errors import LogdError

from logd.metadata import (
    AddVoter,
    ClusterImage,
    Command,
    CreateTopic,
    FenceNode,
    FormCluster,
    Member,
    MetadataMachine,
    MetadataRecord,
    MetadataSettings,
    PartitionImage,
    RegisterNode,
    Reply,
    TopicImage,
    UnfenceNode,
)
from logd.metadata.records import (
    ClusterFormed,
    NodeFenced,
    NodeRegistered,
    NodeRemoved,
    NodeUnfenced,
    PartitionChanged,
    PartitionsAdded,
    ProducerIdsAllocated,
    TopicConfigured,
    TopicCreated,
    TopicDeleted,
    VoterImage,
    VotersChanged,
)
from logd.model.ids import ClusterId, DirectoryId, LeaderEpoch, NodeId, TopicId
from logd.model.units import INT64_MAX

NOW_MS = 1_790_000_000_000
_INT32_MAX = 2**31 - 1


def id_of(text: str) -> bytes:
    """Return 16 bytes that begin with the text."""
    return text.encode().ljust(16, b".")


CLUSTER = ClusterId(id_of("cluster"))


def registration(node_id: int, incarnation: str = "1", **changes: str) -> RegisterNode:
    return RegisterNode(
        NodeId(node_id),
        DirectoryId(id_of(changes.get("directory", f"dir-{node_id}"))),
        id_of(f"inc-{incarnation}"),
        changes.get("address", f"node{node_id}:7171"),
        changes.get("rack", "a"),
        changes.get("peer_address", f"node{node_id}:7172"),
    )


def run(machine: MetadataMachine, command: Command) -> Reply:
    """Decide and replay, as a leader does."""
    outcome = machine.handle(command, NOW_MS)
    machine.replay(*outcome.records)
    return outcome.reply


def machine_with_nodes(*node_ids: int, **settings: object) -> MetadataMachine:
    machine = MetadataMachine(MetadataSettings(**settings))  # type: ignore[arg-type]
    run(machine, FormCluster(CLUSTER))
    for node_id in node_ids:
        join(machine, node_id)
    return machine


def join(machine: MetadataMachine, node_id: int, incarnation: str = "1", **changes: str) -> None:
    """Register, unfence and let vote."""
    run(machine, registration(node_id, incarnation, **changes))
    unfence(machine, node_id)
    run(machine, AddVoter(NodeId(node_id)))


def fence(machine: MetadataMachine, *node_ids: int) -> None:
    for node_id in node_ids:
        node = machine.image.nodes[NodeId(node_id)]
        run(machine, FenceNode(node.node_id, node.incarnation_id))


def unfence(machine: MetadataMachine, *node_ids: int) -> None:
    for node_id in node_ids:
        node = machine.image.nodes[NodeId(node_id)]
        run(machine, UnfenceNode(node.node_id, node.incarnation_id))


def members(machine: MetadataMachine, *node_ids: int) -> tuple[Member, ...]:
    """Return the nodes as the processes that they are now."""
    nodes = (machine.image.nodes[NodeId(node_id)] for node_id in node_ids)
    return tuple(Member(node.node_id, node.node_epoch) for node in nodes)


def create(machine: MetadataMachine, name: str, **options: object) -> TopicImage:
    made = run(machine, CreateTopic(topic_id(name), name, **options))  # type: ignore[arg-type]
    assert isinstance(made, TopicImage)
    return made


def refused(machine: MetadataMachine, command: Command) -> LogdError:
    """Return the refusal; nothing else has changed."""
    before = machine.image
    with pytest.raises(LogdError) as caught:
        machine.handle(command, NOW_MS)
    assert machine.image is before
    return caught.value


def topic_id(text: str) -> TopicId:
    return TopicId(id_of(text))


def image_with_topic(partitions: int = 2) -> ClusterImage:
    machine = machine_with_nodes(1)
    states = tuple(state(number) for number in range(partitions))
    machine.replay(TopicCreated(topic_id("t"), "t", states, ()))
    return machine.image


def state(partition: int = 0, **changes: object) -> PartitionImage:
    fields: dict[str, object] = {
        "leader_id": NodeId(1),
        "leader_epoch": LeaderEpoch(0),
        "replicas": (NodeId(1),),
        "isr": (NodeId(1),),
        "partition_epoch": 0,
        **changes,
    }
    return PartitionImage(partition, **fields)  # type: ignore[arg-type]


ids = st.binary(min_size=16, max_size=16)
_node_ids = st.integers(-1, _INT32_MAX).map(NodeId)
_counts = st.integers(0, _INT32_MAX)
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
_states = st.builds(
    PartitionImage,
    _counts,
    _node_ids,
    _counts.map(LeaderEpoch),
    st.lists(_node_ids, max_size=4).map(tuple),
    st.lists(_node_ids, max_size=4).map(tuple),
    _counts,
    st.lists(_node_ids, max_size=4).map(tuple),
    _node_ids,
    st.lists(_node_ids, max_size=4).map(tuple),
    st.lists(_node_ids, max_size=4).map(tuple),
    st.lists(_node_ids, max_size=4).map(tuple),
)
_partitions = st.lists(_states, max_size=4).map(tuple)
_overrides = st.dictionaries(_texts, _texts, max_size=4).map(lambda d: tuple(sorted(d.items())))
_topic_ids = ids.map(TopicId)
_directory_ids = ids.map(DirectoryId)
_epochs = st.integers(0, INT64_MAX)
_voters = st.builds(VoterImage, _node_ids, _directory_ids, _texts)

#: Any record that fits its types, whether it makes sense or not.
records: st.SearchStrategy[MetadataRecord] = st.one_of(
    st.builds(ClusterFormed, ids.map(ClusterId)),
    st.builds(
        NodeRegistered,
        _node_ids,
        _directory_ids,
        ids,
        _texts,
        _texts,
        _texts,
        _epochs,
        st.booleans(),
        st.booleans(),
    ),
    st.builds(TopicCreated, _topic_ids, _texts, _partitions, _overrides),
    st.builds(TopicConfigured, _topic_ids, _overrides),
    st.builds(PartitionsAdded, _topic_ids, _partitions),
    st.builds(TopicDeleted, _topic_ids, ids | st.just(b"")),
    st.builds(ProducerIdsAllocated, _node_ids, st.integers(0, INT64_MAX), _counts),
    st.builds(PartitionChanged, _topic_ids, _states),
    st.builds(NodeFenced, _node_ids, ids),
    st.builds(NodeUnfenced, _node_ids, ids),
    st.builds(NodeRemoved, _node_ids, _directory_ids, _epochs),
    st.builds(VotersChanged, st.lists(_voters, max_size=4).map(tuple)),
)
