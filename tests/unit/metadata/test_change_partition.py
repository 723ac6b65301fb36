"""What a leader may make of its in-sync set, and what comes too late."""

from __future__ import annotations

from dataclasses import replace

import pytest
from logd_wire.errors import (
    ErrorCode,
    IneligibleReplicaError,
    InvalidRequestError,
    NotLeaderError,
    StaleEpochError,
    UnknownTopicError,
)

from logd.metadata import (
    AlterTopic,
    ChangePartition,
    Member,
    MetadataMachine,
    PartitionImage,
    TransferLeader,
)
from logd.model.ids import LeaderEpoch, NodeId
from tests.unit.metadata.samples import (
    NOW_MS,
    create,
    fence,
    machine_with_nodes,
    members,
    refused,
    registration,
    run,
    topic_id,
    unfence,
)


def state_of(machine: MetadataMachine) -> PartitionImage:
    return machine.image.topic_named("t").partitions[0]


def proposal(machine: MetadataMachine, *isr: int) -> ChangePartition:
    """Return what the leader of now would propose."""
    state = state_of(machine)
    (leader,) = members(machine, state.leader_id)
    return ChangePartition(
        topic_id("t"),
        0,
        leader,
        state.leader_epoch,
        state.partition_epoch,
        members(machine, *isr),
    )


@pytest.fixture
def machine() -> MetadataMachine:
    """One partition, led by node 1, everybody in sync."""
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t")
    return machine


def test_a_follower_leaves_and_comes_back(machine: MetadataMachine) -> None:
    after = run(machine, proposal(machine, 1, 3))
    assert after == state_of(machine)
    assert isinstance(after, PartitionImage)
    assert (after.isr, after.leader_id, after.leader_epoch, after.partition_epoch) == (
        (1, 3),
        1,
        0,
        1,
    )
    run(machine, proposal(machine, 1, 2, 3))
    assert (state_of(machine).isr, state_of(machine).partition_epoch) == ((1, 2, 3), 2)


def test_who_leaves_a_set_that_is_too_small_stays_eligible(machine: MetadataMachine) -> None:
    run(machine, proposal(machine, 1))
    assert (state_of(machine).isr, state_of(machine).eligible) == ((1,), (2, 3))
    run(machine, proposal(machine, 1, 2))
    assert (state_of(machine).isr, state_of(machine).eligible) == ((1, 2), ())
    run(machine, proposal(machine, 1))
    assert state_of(machine).eligible == (2,), "node 3 left when two were enough to acknowledge"


def test_a_proposal_sent_again_changes_nothing(machine: MetadataMachine) -> None:
    command = proposal(machine, 1, 2)
    after = run(machine, command)
    again = machine.handle(command, NOW_MS)
    assert (again.records, again.reply) == ((), after)


@pytest.mark.parametrize("difference", [-1, 1])
def test_an_earlier_state_is_refused(machine: MetadataMachine, difference: int) -> None:
    run(machine, proposal(machine, 1, 2))
    command = proposal(machine, 1, 2, 3)
    stale = replace(command, partition_epoch=command.partition_epoch + difference)
    error = refused(machine, stale)
    assert isinstance(error, StaleEpochError)
    assert "is at partition epoch 1" in error.message


def test_an_earlier_leader_is_refused(machine: MetadataMachine) -> None:
    before = proposal(machine, 1)
    fence(machine, 1)
    error = refused(machine, before)
    assert isinstance(error, NotLeaderError)
    assert error.code is ErrorCode.FENCED_LEADER_EPOCH
    assert (error.leader_id, error.leader_epoch) == (2, 1)
    of_now = proposal(machine, 2)
    for difference in (-1, 1):
        other = replace(of_now, leader_epoch=LeaderEpoch(of_now.leader_epoch + difference))
        assert isinstance(refused(machine, other), NotLeaderError)


def test_an_earlier_process_of_the_leader_is_refused(machine: MetadataMachine) -> None:
    command = proposal(machine, 1, 2)
    old = replace(command, leader=Member(NodeId(1), command.leader.node_epoch - 1))
    error = refused(machine, old)
    assert isinstance(error, StaleEpochError)
    assert "node 1 has registered again" in error.message


def test_a_fenced_member_is_refused(machine: MetadataMachine) -> None:
    fence(machine, 3)
    error = refused(machine, proposal(machine, 1, 2, 3))
    assert isinstance(error, IneligibleReplicaError)
    assert "node 3 is fenced" in error.message
    assert error.retriable
    unfence(machine, 3)
    run(machine, proposal(machine, 1, 2, 3))


def test_a_process_of_before_does_not_come_back_in_sync(machine: MetadataMachine) -> None:
    """The leader saw node 3 catch up, as it was before it was started again."""
    run(machine, proposal(machine, 1, 2))
    caught_up = proposal(machine, 1, 2, 3)
    run(machine, registration(3, incarnation="2"))
    unfence(machine, 3)
    error = refused(machine, caught_up)
    assert isinstance(error, IneligibleReplicaError)
    assert "as a process of before" in error.message
    assert state_of(machine).isr == (1, 2)


def test_a_member_that_is_no_node_is_refused(machine: MetadataMachine) -> None:
    command = proposal(machine, 1, 2)
    stranger = replace(command, isr=(*command.isr, Member(NodeId(9), 1)))
    assert "is no set of replicas" in refused(machine, stranger).message
    twice = replace(command, isr=command.isr * 2)
    assert "is no set of replicas" in refused(machine, twice).message
    without_leader = replace(command, isr=command.isr[1:])
    assert "needs its leader" in refused(machine, without_leader).message
    assert isinstance(refused(machine, replace(command, isr=())), InvalidRequestError)


def test_what_is_not_there_is_refused(machine: MetadataMachine) -> None:
    command = proposal(machine, 1)
    assert isinstance(refused(machine, replace(command, topic_id=topic_id("u"))), UnknownTopicError)
    error = refused(machine, replace(command, partition=1))
    assert error.code is ErrorCode.UNKNOWN_PARTITION


# ---- planned transfers --------------------------------------------------------------------------


def transfer(node_id: int) -> TransferLeader:
    return TransferLeader(topic_id("t"), 0, NodeId(node_id))


def test_a_leadership_is_transferred_in_an_epoch_of_its_own(machine: MetadataMachine) -> None:
    before = state_of(machine)
    run(machine, transfer(3))
    after = state_of(machine)
    assert after == replace(
        before,
        leader_id=NodeId(3),
        leader_epoch=LeaderEpoch(before.leader_epoch + 1),
        partition_epoch=before.partition_epoch + 1,
    )
    outcome = machine.handle(transfer(3), NOW_MS)
    assert (outcome.records, outcome.reply) == ((), after), "it leads already"


def test_nobody_is_made_the_leader_who_may_lack_something(machine: MetadataMachine) -> None:
    before = state_of(machine)
    error = refused(machine, transfer(4))
    assert isinstance(error, InvalidRequestError)
    assert "node 4 has no replica of partition t-0" in error.message
    run(machine, proposal(machine, 1, 2))
    error = refused(machine, transfer(3))
    assert "node 3 is not in sync with partition t-0" in error.message
    assert error.hint == "in sync are nodes 1, 2"
    assert not error.retriable
    run(machine, proposal(machine, 1))
    assert state_of(machine).eligible == (2,)
    assert "node 2 is not in sync" in refused(machine, transfer(2)).message
    assert state_of(machine).leader_epoch == before.leader_epoch


def test_who_is_eligible_stays_so_over_a_transfer(machine: MetadataMachine) -> None:
    run(machine, AlterTopic("t", {"min.insync.replicas": "3"}))
    run(machine, proposal(machine, 1, 2))
    run(machine, transfer(2))
    state = state_of(machine)
    assert (state.leader_id, state.isr, state.eligible) == (2, (1, 2), (3,))


def test_a_transfer_names_a_partition_that_there_is(machine: MetadataMachine) -> None:
    for unknown in (
        replace(transfer(2), partition=7),
        replace(transfer(2), topic_id=topic_id("u")),
    ):
        assert isinstance(refused(machine, unknown), UnknownTopicError)
