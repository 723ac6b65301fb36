"""Requests that are sent again because their answer was lost: carried out once."""

from __future__ import annotations

import pytest
from logd_wire.errors import InvalidRequestError, UnknownTopicError

from logd.metadata import (
    AlterTopic,
    ClusterImage,
    Command,
    DeleteTopic,
    InconsistentLogError,
    MetadataMachine,
    ReassignPartition,
    TopicImage,
    TransferLeader,
    find_problems,
    image_records,
    replay,
)
from logd.metadata.image import REQUESTS_KEPT
from logd.metadata.records import RequestDone
from logd.model.ids import NodeId
from tests.unit.metadata.samples import (
    NOW_MS,
    create,
    fence,
    id_of,
    machine_with_nodes,
    refused,
    run,
    topic_id,
)

REQUEST = id_of("request")


@pytest.fixture
def machine() -> MetadataMachine:
    """One partition of t on nodes 1 to 3, led by node 1."""
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t")
    return machine


def nodes(*ids: int) -> tuple[NodeId, ...]:
    return tuple(map(NodeId, ids))


CHANGES: list[tuple[Command, Command]] = [
    (AlterTopic("t", partitions=2, request_id=REQUEST), AlterTopic("t", partitions=4)),
    (
        AlterTopic("t", {"retention.ms": "1000"}, request_id=REQUEST),
        AlterTopic("t", {"retention.ms": "2000"}),
    ),
    (
        TransferLeader(topic_id("t"), 0, NodeId(2), REQUEST),
        TransferLeader(topic_id("t"), 0, NodeId(3)),
    ),
    (
        ReassignPartition(topic_id("t"), 0, nodes(2, 3), REQUEST),
        ReassignPartition(topic_id("t"), 0, nodes(3, 2, 1)),
    ),
]


@pytest.mark.parametrize(("command", "since"), CHANGES)
def test_what_others_did_since_stays(
    machine: MetadataMachine, command: Command, since: Command
) -> None:
    first = machine.handle(command, NOW_MS)
    assert first.records[-1] == RequestDone(REQUEST, topic_id("t"))
    machine.replay(*first.records)
    again = machine.handle(command, NOW_MS)
    assert (again.records, again.reply) == ((), first.reply)
    latest = machine.handle(since, NOW_MS)
    machine.replay(*latest.records)
    for image in (machine.image, replay(ClusterImage(), image_records(machine.image))):
        machine.reset(image)
        again = machine.handle(command, NOW_MS)
        assert (again.records, again.reply) == ((), latest.reply), "as things are now"
    assert find_problems(machine.image) == []


@pytest.mark.parametrize("command", [command for command, _ in CHANGES])
def test_it_is_not_judged_a_second_time(machine: MetadataMachine, command: Command) -> None:
    """By now it would be refused: too few nodes are in service."""
    run(machine, command)
    fence(machine, 2, 3)
    assert machine.handle(command, NOW_MS).records == ()


def test_a_topic_that_was_deleted_since(machine: MetadataMachine) -> None:
    alter = AlterTopic("t", partitions=2, request_id=REQUEST)
    run(machine, alter)
    run(machine, DeleteTopic("t"))
    create(machine, "u")
    again = machine.handle(alter, NOW_MS)
    assert (again.records, again.reply) == ((), TopicImage(topic_id("t"), "t", (), ()))
    moved = TransferLeader(topic_id("t"), 0, NodeId(2), REQUEST)
    assert isinstance(refused(machine, moved), UnknownTopicError)


def test_what_changes_nothing_is_not_remembered(machine: MetadataMachine) -> None:
    for command in (
        AlterTopic("t", partitions=1, request_id=REQUEST),
        AlterTopic("t", partitions=2, validate_only=True, request_id=REQUEST),
        TransferLeader(topic_id("t"), 0, NodeId(1), REQUEST),
        ReassignPartition(topic_id("t"), 0, None, REQUEST),
    ):
        assert machine.handle(command, NOW_MS).records == ()
    assert machine.image.requests == {}


@pytest.mark.parametrize("request_id", [b"x", bytes(16), bytes(17)])
def test_a_request_id_is_sixteen_bytes_and_not_zero(
    machine: MetadataMachine, request_id: bytes
) -> None:
    error = refused(machine, AlterTopic("t", partitions=2, request_id=request_id))
    assert isinstance(error, InvalidRequestError)
    assert "a request id is 16 bytes" in error.message


def test_so_many_are_remembered(machine: MetadataMachine) -> None:
    done = [
        RequestDone(id_of(f"request-{number}"), topic_id("t"))
        for number in range(REQUESTS_KEPT + 2)
    ]
    machine.replay(*done)
    assert list(machine.image.requests.values()) == done[2:], "the oldest are forgotten first"
    assert find_problems(machine.image) == []
    with pytest.raises(InconsistentLogError, match="carried out twice"):
        machine.replay(done[-1])
