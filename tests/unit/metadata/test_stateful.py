"""Topics and producer ids against a naive model, with lost leaderships and restarts in between.

Every node is in service here; `test_controller_stateful` is about those that are not.

The model is written for reading: names to plain values, each rule spelled out once more.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from logd_wire.errors import ErrorCode, LogdError

from logd.metadata import (
    AddVoter,
    AllocateProducerIds,
    AlterTopic,
    ClusterImage,
    Command,
    CreateTopic,
    DeleteTopic,
    MetadataMachine,
    MetadataRecord,
    MetadataSettings,
    ProducerIdBlock,
    TopicImage,
    UnfenceNode,
    find_problems,
    replay,
)
from logd.metadata.records import ClusterFormed, ProducerIdsAllocated
from logd.model.ids import NodeId, TopicId
from logd.runtime.record_codec import decode_metadata_record, encode_metadata_record
from tests.unit.metadata.samples import CLUSTER, NOW_MS, registration

NAMES = ["a", "b", "a.b", "a_b", "..", "__x"]
BAD_NAMES = {"..", "__x"}
#: Text as a user writes it -> what is stored; None: refused.
VALUES: dict[tuple[str, str], str | None] = {
    ("retention.ms", "7d"): "604800000",
    ("retention.ms", "604800000"): "604800000",
    ("retention.ms", "-2"): None,
    ("flush", "interval:1000"): "interval:1s",
    ("min.insync.replicas", "1"): "1",
    ("min.insync.replicas", "2"): "2",
    ("retention", "1"): None,
}
KEYS = sorted({name for name, _ in VALUES})
UNKNOWN_KEYS = {"retention"}

names = st.sampled_from(NAMES)
deletions = st.lists(st.sampled_from(KEYS), max_size=2)
configs = st.lists(st.sampled_from(sorted(VALUES)), max_size=2).map(dict)


@dataclass
class Topic:
    topic_id: bytes
    partitions: int
    replicas: int
    config: dict[str, str]


@dataclass
class Model:
    """What the cluster should be."""

    nodes: dict[int, str] = field(default_factory=dict)
    topics: dict[str, Topic] = field(default_factory=dict)
    next_producer_id: int = 0

    def create(
        self, name: str, topic_id: bytes, partitions: int, replicas: int, config: dict[str, str]
    ) -> ErrorCode | None:
        if name in BAD_NAMES:
            return ErrorCode.INVALID_TOPIC_NAME
        if name in self.topics:
            return ErrorCode.TOPIC_ALREADY_EXISTS
        if {name, *self.topics} >= {"a.b", "a_b"}:
            return ErrorCode.INVALID_TOPIC_NAME
        if partitions < 0:
            return ErrorCode.INVALID_PARTITIONS
        if replicas in (0, -1):
            replicas = min(3, len(self.nodes))
        if not 1 <= replicas <= len(self.nodes):
            return ErrorCode.INVALID_REPLICATION_FACTOR
        stored = self.stored({}, config, replicas)
        if stored is None:
            return ErrorCode.INVALID_CONFIG
        self.topics[name] = Topic(topic_id, partitions or 2, replicas, stored)
        return None

    def alter(
        self, name: str, changes: dict[str, str], delete: list[str], partitions: int
    ) -> ErrorCode | None:
        topic = self.topics.get(name)
        if topic is None:
            return ErrorCode.UNKNOWN_TOPIC
        if set(changes) & set(delete) or set(delete) & UNKNOWN_KEYS:
            return ErrorCode.INVALID_CONFIG
        kept = {key: value for key, value in topic.config.items() if key not in delete}
        stored = self.stored(kept, changes, topic.replicas)
        if stored is None:
            return ErrorCode.INVALID_CONFIG
        if partitions != 0 and partitions < topic.partitions:
            return ErrorCode.INVALID_PARTITIONS
        topic.config = stored
        topic.partitions = partitions or topic.partitions
        return None

    @staticmethod
    def stored(
        base: dict[str, str], changes: dict[str, str], replicas: int
    ) -> dict[str, str] | None:
        result = dict(base)
        for item in changes.items():
            value = VALUES[item]
            if value is None:
                return None
            result[item[0]] = value
        return None if int(result.get("min.insync.replicas", "1")) > replicas else result


class MetadataMachineAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.settings = MetadataSettings(partitions=2)
        self.machine = MetadataMachine(self.settings)
        self.log: list[MetadataRecord] = []
        self.model = Model()
        #: After so many records of the log: the image and the model.
        self.points: list[tuple[int, ClusterImage, Model]] = []
        self.committed = 0
        self.serial = 0
        self.append((ClusterFormed(CLUSTER),))
        self.register(1, "x:1")
        self.commit()

    def append(self, records: tuple[MetadataRecord, ...]) -> None:
        self.machine.replay(*records)
        self.log.extend(records)
        self.points.append((len(self.log), self.machine.image, copy.deepcopy(self.model)))

    def command(self, command: Command, expected: ErrorCode | None) -> object:
        before = self.machine.image
        try:
            outcome = self.machine.handle(command, NOW_MS)
        except LogdError as error:
            assert error.code is expected, f"{error!r} instead of {expected!r}"
            assert self.machine.image is before
            return None
        assert expected is None, f"{command} was not refused with {expected!r}"
        assert self.machine.image is before, "deciding changes nothing"
        self.append(outcome.records)
        return outcome.reply

    @rule(node_id=st.integers(1, 4), address=st.sampled_from(["x:1", "y:1"]))
    def register(self, node_id: int, address: str) -> None:
        """A node takes part as far as it can: registered, in service, a voter."""
        self.model.nodes[node_id] = address
        command = registration(node_id, address=address)
        self.command(command, None)
        self.command(UnfenceNode(NodeId(node_id), command.incarnation_id), None)
        self.command(AddVoter(NodeId(node_id)), None)

    @rule(node_id=st.integers(1, 4))
    def register_with_another_directory(self, node_id: int) -> None:
        if node_id in self.model.nodes:
            self.command(registration(node_id, directory="new"), ErrorCode.INVALID_REQUEST)

    @rule(
        name=names,
        partitions=st.integers(-1, 4),
        replicas=st.integers(-2, 4),
        config=configs,
        only_validate=st.booleans(),
    )
    def create(
        self,
        name: str,
        partitions: int,
        replicas: int,
        config: dict[str, str],
        only_validate: bool,
    ) -> None:
        self.serial += 1
        topic_id = TopicId(self.serial.to_bytes(16, "big"))
        model = copy.deepcopy(self.model) if only_validate else self.model
        expected = model.create(name, topic_id, partitions, replicas, config)
        command = CreateTopic(topic_id, name, partitions, replicas, config, only_validate)
        reply = self.command(command, expected)
        if reply is not None and not only_validate:
            assert reply == self.machine.image.topic_named(name)

    @rule(name=st.sampled_from(["a", "b", "a.b", "a_b"]), partitions=st.integers(0, 3))
    def create_plain(self, name: str, partitions: int) -> None:
        """Most creates should work, or there is little to delete and to alter."""
        self.create(name, partitions, -1, {}, False)

    @precondition(lambda self: self.model.topics)
    @rule(data=st.data(), changes=configs, delete=deletions, more=st.integers(0, 3))
    def alter_existing(
        self, data: st.DataObject, changes: dict[str, str], delete: list[str], more: int
    ) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.topics)))
        self.alter(name, changes, delete, self.model.topics[name].partitions + more, False)

    @precondition(lambda self: self.model.topics)
    @rule(data=st.data())
    def delete_existing(self, data: st.DataObject) -> None:
        self.delete(data.draw(st.sampled_from(sorted(self.model.topics))))

    @rule(name=names)
    def delete(self, name: str) -> None:
        expected = None if name in self.model.topics else ErrorCode.UNKNOWN_TOPIC
        self.model.topics.pop(name, None)
        self.command(DeleteTopic(name), expected)

    @rule(
        name=names,
        changes=configs,
        delete=deletions,
        partitions=st.integers(0, 6),
        only_validate=st.booleans(),
    )
    def alter(
        self,
        name: str,
        changes: dict[str, str],
        delete: list[str],
        partitions: int,
        only_validate: bool,
    ) -> None:
        model = copy.deepcopy(self.model) if only_validate else self.model
        expected = model.alter(name, changes, delete, partitions)
        command = AlterTopic(name, changes, tuple(delete), partitions, only_validate)
        reply = self.command(command, expected)
        if isinstance(reply, TopicImage):
            assert as_model(reply) == model.topics[name]

    @rule(node_id=st.integers(1, 4))
    def allocate(self, node_id: int) -> None:
        known = node_id in self.model.nodes
        first = self.model.next_producer_id
        self.model.next_producer_id += 1_000 if known else 0
        expected = None if known else ErrorCode.INVALID_REQUEST
        reply = self.command(AllocateProducerIds(NodeId(node_id)), expected)
        assert reply == (ProducerIdBlock(first, 1_000) if known else None)

    @rule()
    def commit(self) -> None:
        self.committed = len(self.log)

    @precondition(lambda self: self.committed < len(self.log))
    @rule()
    def lose_leadership(self) -> None:
        del self.log[self.committed :]
        self.points = [point for point in self.points if point[0] <= self.committed]
        _, image, model = self.points[-1]
        self.model = copy.deepcopy(model)
        self.machine.reset(image)

    @rule(piece=st.integers(1, 5))
    def restart(self, piece: int) -> None:
        stored = [encode_metadata_record(record) for record in self.log]
        fresh = MetadataMachine(self.settings)
        for start in range(0, len(stored), piece):
            fresh.replay(*map(decode_metadata_record, stored[start : start + piece]))
        assert fresh.image == self.machine.image, "replaying gives the same image"
        self.machine = fresh

    @invariant()
    def image_is_sound_and_as_the_model_says(self) -> None:
        image = self.machine.image
        assert find_problems(image) == []
        assert {node.node_id: node.address for node in image.nodes.values()} == self.model.nodes
        topics = {topic.name: as_model(topic) for topic in image.topics.values()}
        assert topics == self.model.topics
        assert image.next_producer_id == self.model.next_producer_id

    @invariant()
    def no_producer_id_is_in_two_committed_blocks(self) -> None:
        blocks = [r for r in self.log[: self.committed] if isinstance(r, ProducerIdsAllocated)]
        handed = [n for block in blocks for n in (block.first_id, block.first_id + block.count)]
        assert handed == sorted(handed)
        assert all(block.count == 1_000 for block in blocks)

    def teardown(self) -> None:
        assert replay(ClusterImage(), self.log) == self.machine.image
        for length, image, _ in self.points:
            assert replay(ClusterImage(), self.log[:length]) == image


def as_model(topic: TopicImage) -> Topic:
    assert all(len(state.replicas) == topic.replication_factor for state in topic.partitions)
    return Topic(
        topic.topic_id, len(topic.partitions), topic.replication_factor, dict(topic.overrides)
    )


TestMetadataMachineAgainstModel = MetadataMachineAgainstModel.TestCase
TestMetadataMachineAgainstModel.settings = settings(stateful_step_count=40)


@pytest.mark.proof
def test_long_runs() -> None:
    run_state_machine_as_test(
        MetadataMachineAgainstModel, settings=settings(max_examples=300, stateful_step_count=300)
    )
