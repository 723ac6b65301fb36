from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from logd_wire.errors import (
    ErrorCode,
    InvalidConfigError,
    InvalidRequestError,
    InvalidTopicNameError,
    TopicExistsError,
    UnknownTopicError,
)
from logd_wire.limits import PARTITIONS_PER_TOPIC_MAX

from logd.metadata import (
    AddVoter,
    AllocateProducerIds,
    AlterTopic,
    BalanceLeaders,
    ChangePartition,
    ClusterImage,
    Command,
    CreateTopic,
    DeleteTopic,
    ElectLeaders,
    FenceNode,
    FormCluster,
    Member,
    MetadataMachine,
    MetadataSettings,
    ProducerIdBlock,
    ReassignPartition,
    RemoveNode,
    ReplaceNode,
    ReportDamage,
    TopicImage,
    TransferLeader,
    UnfenceNode,
    UpdateVoter,
    find_problems,
    image_records,
    replay,
)
from logd.metadata.image import DELETIONS_KEPT
from logd.metadata.records import (
    ClusterFormed,
    PartitionsAdded,
    ProducerIdsAllocated,
    TopicConfigured,
)
from logd.model.ids import ClusterId, LeaderEpoch, NodeId, TopicId
from logd.model.units import INT64_MAX
from tests.unit.metadata.samples import (
    CLUSTER,
    NOW_MS,
    create,
    fence,
    id_of,
    machine_with_nodes,
    refused,
    registration,
    run,
    topic_id,
)

# --- the cluster ----------------------------------------------------------------------------------


def test_a_cluster_is_formed_once() -> None:
    machine = MetadataMachine(MetadataSettings())
    outcome = machine.handle(FormCluster(CLUSTER), NOW_MS)
    assert outcome.records == (ClusterFormed(CLUSTER),)
    assert machine.image.cluster_id is None, "deciding changes nothing"
    machine.replay(*outcome.records)
    again = machine.handle(FormCluster(CLUSTER), NOW_MS)
    assert (again.records, again.reply) == ((), CLUSTER)
    error = refused(machine, FormCluster(ClusterId(id_of("other"))))
    assert error.code is ErrorCode.CLUSTER_ID_MISMATCH


@pytest.mark.parametrize("cluster_id", [b"", b"short", bytes(16), bytes(17)])
def test_a_cluster_id_is_sixteen_bytes_and_not_zero(cluster_id: bytes) -> None:
    error = refused(MetadataMachine(MetadataSettings()), FormCluster(ClusterId(cluster_id)))
    assert isinstance(error, InvalidRequestError)


def test_nothing_else_comes_before_the_cluster_is_formed() -> None:
    machine = MetadataMachine(MetadataSettings())
    commands: list[Command] = [
        registration(1),
        CreateTopic(topic_id("t"), "t"),
        DeleteTopic("t"),
        AlterTopic("t"),
        AllocateProducerIds(NodeId(1)),
        ChangePartition(topic_id("t"), 0, Member(NodeId(1), 1), LeaderEpoch(0), 0, ()),
        TransferLeader(topic_id("t"), 0, NodeId(1)),
        ReassignPartition(topic_id("t"), 0, None),
        ReportDamage(NodeId(1), id_of("inc-1"), ()),
        AddVoter(NodeId(1)),
        UpdateVoter(NodeId(1)),
        RemoveNode(NodeId(1)),
        ReplaceNode(NodeId(1)),
        FenceNode(NodeId(1), id_of("inc-1")),
        UnfenceNode(NodeId(1), id_of("inc-1")),
        ElectLeaders(),
        BalanceLeaders(),
    ]
    assert {type(command) for command in commands} == set(get_args(Command)) - {FormCluster}
    for command in commands:
        assert "not formed" in refused(machine, command).message


# --- creating topics -----------------------------------------------------------------------------


def test_a_topic_on_one_node() -> None:
    machine = machine_with_nodes(1)
    topic = create(machine, "orders", partitions=3, config={"retention.ms": "7d"})
    assert machine.image.topic_named("orders") is machine.image.topic(topic.topic_id)
    assert machine.image.topic(topic.topic_id) == topic
    assert topic.config == {"retention.ms": "604800000"}
    assert topic.replication_factor == 1
    assert not topic.internal
    for number, state in enumerate(topic.partitions):
        assert (state.partition, state.leader_id, state.leader_epoch) == (number, 1, 0)
        assert state.replicas == state.isr == (1,)
        assert state is topic.partition(number)


def test_what_a_command_leaves_open_comes_from_the_settings() -> None:
    machine = machine_with_nodes(1, 2, 3, 4, partitions=5)
    assert len(create(machine, "a").partitions) == 5
    assert create(machine, "b").replication_factor == 3, "no more than three unless asked"
    assert create(machine, "c", replication_factor=0).replication_factor == 3
    assert create(machine, "d", replication_factor=4).replication_factor == 4
    assert create(machine_with_nodes(1, 2), "a").replication_factor == 2
    assert (
        create(machine_with_nodes(1, 2, 3, replication_factor_max=2), "a").replication_factor == 2
    )
    fixed = machine_with_nodes(1, 2, 3, replication_factor=2)
    assert create(fixed, "a").replication_factor == 2


def test_a_name_is_used_once_and_again_after_deletion() -> None:
    machine = machine_with_nodes(1)
    first = create(machine, "orders")
    again = CreateTopic(topic_id("again"), "orders")
    assert isinstance(refused(machine, again), TopicExistsError)
    assert run(machine, DeleteTopic("orders")) == first
    assert machine.image.topics == {} == machine.image.topic_ids
    run(machine, again)
    assert machine.image.topic_named("orders").topic_id == again.topic_id
    with pytest.raises(UnknownTopicError, match="no topic has the id"):
        machine.image.topic(first.topic_id)


def test_a_deletion_that_is_asked_for_again_is_done_once() -> None:
    machine = machine_with_nodes(1)
    first = create(machine, "orders")
    command = DeleteTopic("orders", id_of("request"))
    assert run(machine, command) == first
    run(machine, CreateTopic(topic_id("again"), "orders"))
    for image in (machine.image, replay(ClusterImage(), image_records(machine.image))):
        machine.reset(image)
        again = machine.handle(command, NOW_MS)
        assert again.records == (), "the topic of that name is another one by now"
        assert isinstance(again.reply, TopicImage)
        assert (again.reply.topic_id, again.reply.name) == (first.topic_id, "orders")
    assert "a request id is 16 bytes" in refused(machine, DeleteTopic("orders", b"x")).message
    other = DeleteTopic("orders", id_of("other"))
    assert run(machine, other) == TopicImage(topic_id("again"), "orders", first.partitions, ())
    assert find_problems(machine.image) == []


def test_a_creation_that_is_asked_for_again_does_not_undo_a_deletion() -> None:
    machine = machine_with_nodes(1)
    command = CreateTopic(topic_id("t"), "t")
    run(machine, command)
    run(machine, DeleteTopic("t", id_of("request")))
    again = machine.handle(command, NOW_MS)
    assert (again.records, again.reply) == ((), TopicImage(topic_id("t"), "t", (), ()))


def test_so_many_deletions_are_remembered() -> None:
    machine = machine_with_nodes(1)
    for number in range(DELETIONS_KEPT + 2):
        create(machine, f"t{number}")
        run(machine, DeleteTopic(f"t{number}", id_of(f"request-{number}")))
    deleted = machine.image.deleted
    assert len(deleted) == DELETIONS_KEPT
    assert next(iter(deleted)) == topic_id("t2"), "the oldest are forgotten first"
    assert find_problems(machine.image) == []


def test_a_create_tried_again_answers_the_topic() -> None:
    machine = machine_with_nodes(1)
    command = CreateTopic(topic_id("t"), "t")
    made = run(machine, command)
    again = machine.handle(command, NOW_MS)
    assert (again.records, again.reply) == ((), made)
    run(machine, AlterTopic("t", partitions=3))
    assert machine.handle(command, NOW_MS).reply == machine.image.topic_named("t")
    for other in (CreateTopic(topic_id("u"), "t"), replace(command, validate_only=True)):
        assert isinstance(refused(machine, other), TopicExistsError)


def test_nodes_in_service_get_the_replicas() -> None:
    machine = machine_with_nodes(1, 2, 3)
    fence(machine, 2)
    topic = create(machine, "t", partitions=6, replication_factor=2)
    assert {node for state in topic.partitions for node in state.replicas} == {1, 3}


def test_fenced_nodes_get_what_the_others_are_too_few_for() -> None:
    machine = machine_with_nodes(1, 2, 3)
    fence(machine, 2)
    topic = create(machine, "t", partitions=4)
    assert topic.replication_factor == 3
    for state in topic.partitions:
        assert {*state.replicas} == {1, 2, 3}
        assert ({*state.isr}, state.eligible) == ({1, 3}, ())
        assert state.leader_id == state.replicas[0] != 2
        assert state.replicas[-1] == 2
    assert {state.leader_id for state in topic.partitions} == {1, 3}
    assert find_problems(machine.image) == []
    grown = run(machine, AlterTopic("t", partitions=6))
    assert isinstance(grown, TopicImage)
    assert {*grown.partitions[5].isr} == {1, 3}
    fence(machine, 3)
    one = create(machine, "u").partitions[0]
    assert (one.leader_id, one.isr, {*one.replicas}) == (1, (1,), {1, 2, 3})


def test_more_replicas_than_nodes_are_refused() -> None:
    machine = machine_with_nodes(1, 2, 3)
    fence(machine, 2)
    error = refused(machine, CreateTopic(topic_id("u"), "u", replication_factor=4))
    assert error.code is ErrorCode.INVALID_REPLICATION_FACTOR
    assert error.message == "topic u: replication factor 4 with 3 nodes"
    assert error.hint == "choose from 1 to 3"
    assert not error.retriable


def test_nobody_in_service_is_said_in_words() -> None:
    machine = machine_with_nodes(1)
    fence(machine, 1)
    assert refused(machine, CreateTopic(topic_id("t"), "t")).hint == "no node is in service yet"
    assert "in service" in refused(machine, CreateTopic(topic_id("t"), "t")).message


def test_more_replicas_than_this_version_keeps_are_refused() -> None:
    machine = machine_with_nodes(1, 2, 3, replication_factor_max=1)
    assert create(machine, "t").replication_factor == 1
    error = refused(machine, CreateTopic(topic_id("u"), "u", replication_factor=3))
    assert error.code is ErrorCode.INVALID_REPLICATION_FACTOR
    assert str(error) == (
        "topic u: replication factor 3; this version keeps one replica of a partition (choose 1)"
    )
    machine = machine_with_nodes(1, 2, 3, replication_factor=3, replication_factor_max=2)
    assert "keeps at most 2 replicas" in refused(machine, CreateTopic(topic_id("u"), "u")).message


def test_names_that_collide() -> None:
    machine = machine_with_nodes(1)
    create(machine, "a.b")
    error = refused(machine, CreateTopic(topic_id("x"), "a_b"))
    assert isinstance(error, InvalidTopicNameError)
    assert "existing a.b" in error.message


def test_ids_are_used_once() -> None:
    machine = machine_with_nodes(1)
    create(machine, "a")
    assert "is in use" in refused(machine, CreateTopic(topic_id("a"), "b")).message
    for bad in (b"", bytes(16), bytes(15)):
        assert "topic id" in refused(machine, CreateTopic(TopicId(bad), "b")).message


@pytest.mark.parametrize("partitions", [-1, PARTITIONS_PER_TOPIC_MAX + 1])
def test_impossible_numbers_of_partitions(partitions: int) -> None:
    error = refused(machine_with_nodes(1), CreateTopic(topic_id("t"), "t", partitions))
    assert error.code is ErrorCode.INVALID_PARTITIONS
    assert error.hint == "choose from 1 to 10000"


@pytest.mark.parametrize("factor", [-2, 2, 100])
def test_impossible_numbers_of_replicas(factor: int) -> None:
    command = CreateTopic(topic_id("t"), "t", replication_factor=factor)
    error = refused(machine_with_nodes(1), command)
    assert error.code is ErrorCode.INVALID_REPLICATION_FACTOR
    assert refused(machine_with_nodes(), command).hint == "no node is registered yet"


def test_bad_configuration_is_refused() -> None:
    machine = machine_with_nodes(1)
    for config in ({"retention.mss": "1"}, {"retention.ms": "x"}, {"min.insync.replicas": "2"}):
        error = refused(machine, CreateTopic(topic_id("t"), "t", config=config))
        assert isinstance(error, InvalidConfigError)


def test_a_default_of_the_node_counts_when_relations_are_checked() -> None:
    machine = machine_with_nodes(1, topic_defaults={"min.insync.replicas": "2"})
    create(machine, "t")
    assert machine.image.topic_named("t").config == {}


def test_validation_only_plans() -> None:
    machine = machine_with_nodes(1)
    plan = CreateTopic(TopicId(b""), "t", 2, config={"retention.ms": "1s"}, validate_only=True)
    outcome = machine.handle(plan, NOW_MS)
    assert outcome.records == ()
    assert outcome.reply.topic_id == b""
    assert len(outcome.reply.partitions) == 2
    assert outcome.reply.config == {"retention.ms": "1000"}
    wrong = CreateTopic(TopicId(b""), "..", validate_only=True)
    assert isinstance(refused(machine, wrong), InvalidTopicNameError)


# --- deleting and altering -----------------------------------------------------------------------


@pytest.mark.parametrize("command", [DeleteTopic("nope"), AlterTopic("nope")])
def test_an_unknown_topic_is_final_here(command: Command) -> None:
    error = refused(machine_with_nodes(1), command)
    assert isinstance(error, UnknownTopicError)
    assert not error.retriable


def test_configuration_is_set_and_given_back() -> None:
    machine = machine_with_nodes(1)
    topic = create(machine, "t", config={"retention.ms": "1d", "segment.ms": "1d"})
    command = AlterTopic("t", {"flush": "none"}, ("segment.ms", "segment.bytes"))
    outcome = machine.handle(command, NOW_MS)
    expected = (("flush", "none"), ("retention.ms", "86400000"))
    assert outcome.records == (TopicConfigured(topic.topic_id, expected),)
    machine.replay(*outcome.records)
    assert machine.image.topic_named("t") == outcome.reply
    assert outcome.reply.overrides == expected


def test_an_alteration_that_changes_nothing_writes_nothing() -> None:
    machine = machine_with_nodes(1)
    create(machine, "t", partitions=2, config={"retention.ms": "1d"})
    for command in (
        AlterTopic("t"),
        AlterTopic("t", {"retention.ms": "24h"}, partitions=2),
        AlterTopic("t", delete_config=("flush",)),
    ):
        assert machine.handle(command, NOW_MS).records == ()


def test_partitions_grow() -> None:
    machine = machine_with_nodes(1, 2)
    topic = create(machine, "t", partitions=2, replication_factor=1)
    outcome = machine.handle(AlterTopic("t", partitions=5), NOW_MS)
    (record,) = outcome.records
    assert isinstance(record, PartitionsAdded)
    assert [state.partition for state in record.partitions] == [2, 3, 4]
    machine.replay(record)
    assert machine.image.topic_named("t") == outcome.reply
    assert outcome.reply.partitions[:2] == topic.partitions
    leaders = [state.leader_id for state in outcome.reply.partitions]
    assert leaders == [1, 2, 1, 2, 1], "the new ones go on where the old ones ended"


@pytest.mark.parametrize("partitions", [-1, 1, PARTITIONS_PER_TOPIC_MAX + 1])
def test_partitions_never_shrink(partitions: int) -> None:
    machine = machine_with_nodes(1)
    create(machine, "t", partitions=2)
    error = refused(machine, AlterTopic("t", partitions=partitions))
    assert error.code is ErrorCode.INVALID_PARTITIONS
    assert "it has 2" in error.message


def test_an_alteration_is_all_or_nothing() -> None:
    machine = machine_with_nodes(1)
    create(machine, "t", partitions=2)
    assert refused(machine, AlterTopic("t", {"retention.ms": "x"}, partitions=3))
    assert refused(machine, AlterTopic("t", {"retention.ms": "1"}, partitions=1))
    outcome = machine.handle(AlterTopic("t", {"retention.ms": "1"}, partitions=3), NOW_MS)
    assert [type(record) for record in outcome.records] == [TopicConfigured, PartitionsAdded]
    plan = AlterTopic("t", {"retention.ms": "1"}, partitions=3, validate_only=True)
    planned = machine.handle(plan, NOW_MS)
    assert (planned.records, planned.reply) == ((), outcome.reply)


@pytest.mark.parametrize(
    "command",
    [
        AlterTopic("t", {"retention.mss": "1"}),
        AlterTopic("t", delete_config=("retention.mss",)),
        AlterTopic("t", {"retention.ms": "1"}, ("retention.ms",)),
        AlterTopic("t", {"min.insync.replicas": "2"}),
    ],
)
def test_bad_alterations(command: Command) -> None:
    machine = machine_with_nodes(1)
    create(machine, "t")
    assert isinstance(refused(machine, command), InvalidConfigError)


def test_configuration_of_another_time_can_be_given_back() -> None:
    machine = machine_with_nodes(1)
    topic = create(machine, "t")
    machine.replay(TopicConfigured(topic.topic_id, (("old.setting", "x"),)))
    refused(machine, AlterTopic("t", {"retention.ms": "1"}))
    assert len(machine.handle(AlterTopic("t", partitions=2), NOW_MS).reply.partitions) == 2
    altered = machine.handle(AlterTopic("t", {"retention.ms": "1"}, ("old.setting",)), NOW_MS)
    assert altered.reply.config == {"retention.ms": "1"}


# --- producer ids --------------------------------------------------------------------------------


def test_blocks_of_producer_ids_follow_each_other() -> None:
    machine = machine_with_nodes(1, 2)
    blocks = [run(machine, AllocateProducerIds(NodeId(node_id))) for node_id in (1, 2, 1)]
    assert blocks == [ProducerIdBlock(first, 1_000) for first in (0, 1_000, 2_000)]


def test_producer_ids_end() -> None:
    machine = machine_with_nodes(1)
    machine.replay(ProducerIdsAllocated(NodeId(1), INT64_MAX - 1_500, 1_000))
    block = run(machine, AllocateProducerIds(NodeId(1), 500))
    assert block == ProducerIdBlock(INT64_MAX - 500, 500)
    error = refused(machine, AllocateProducerIds(NodeId(1), 1))
    assert error.code is ErrorCode.PRODUCER_ID_LIMIT
    assert not error.retriable


@pytest.mark.parametrize(("node_id", "count"), [(2, 1), (1, 0), (1, -1), (1, 1_000_001)])
def test_bad_allocations(node_id: int, count: int) -> None:
    command = AllocateProducerIds(NodeId(node_id), count)
    assert isinstance(refused(machine_with_nodes(1), command), InvalidRequestError)


# --- speculation ---------------------------------------------------------------------------------


def test_reset_drops_what_will_not_be_committed() -> None:
    machine = machine_with_nodes(1)
    committed = machine.image
    create(machine, "t")
    machine.reset(committed)
    create(machine, "t", partitions=7)
    assert len(machine.image.topic_named("t").partitions) == 7
    assert committed.topics == {}
