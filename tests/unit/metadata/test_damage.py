"""Logs that were found damaged: they stand for election no more until they are in sync again."""

from __future__ import annotations

import pytest
from logd_wire.errors import InvalidRequestError, StaleEpochError

from logd.metadata import (
    ChangePartition,
    MetadataMachine,
    NodeRemoval,
    PartitionImage,
    ReassignPartition,
    ReplaceNode,
    ReportDamage,
    find_problems,
)
from logd.model.ids import NO_NODE, NodeId, TopicPartitionId
from tests.unit.metadata.samples import (
    NOW_MS,
    create,
    fence,
    id_of,
    machine_with_nodes,
    members,
    refused,
    registration,
    run,
    topic_id,
    unfence,
)


def damage(
    node_id: int, incarnation: str = "1", topic: str = "t", *, leads_on: bool = False
) -> ReportDamage:
    key = TopicPartitionId(topic_id(topic), 0)
    return ReportDamage(NodeId(node_id), id_of(f"inc-{incarnation}"), (key,), leads_on)


def state_of(machine: MetadataMachine) -> PartitionImage:
    assert find_problems(machine.image) == []
    return machine.image.topic_named("t").partitions[0]


def in_sync(machine: MetadataMachine, *isr: int) -> PartitionImage:
    state = state_of(machine)
    (leader,) = members(machine, state.leader_id)
    command = ChangePartition(
        topic_id("t"), 0, leader, state.leader_epoch, state.partition_epoch, members(machine, *isr)
    )
    run(machine, command)
    return state_of(machine)


@pytest.fixture
def machine() -> MetadataMachine:
    """One partition, led by node 1, everybody in sync."""
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t")
    return machine


def test_a_damaged_leader_gives_way(machine: MetadataMachine) -> None:
    run(machine, damage(1))
    state = state_of(machine)
    assert (state.leader_id, state.leader_epoch) == (2, 1)
    assert (state.isr, state.eligible, state.damaged) == ((2, 3), (), (1,))
    assert machine.handle(damage(1), NOW_MS).records == ()


def test_a_leader_gives_way_only_to_somebody() -> None:
    """Its report arrives after the others have left the in-sync set: it serves what is intact."""
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t", config={"min.insync.replicas": "1"})
    before = in_sync(machine, 1)
    assert (before.isr, before.eligible) == ((1,), ())
    assert machine.handle(damage(1, leads_on=True), NOW_MS).records == ()
    in_sync(machine, 1, 3)
    run(machine, damage(1, leads_on=True))
    state = state_of(machine)
    assert (state.leader_id, state.isr, state.damaged) == (3, (3,), (1,))


def test_a_leader_gives_way_to_an_eligible_replica(machine: MetadataMachine) -> None:
    in_sync(machine, 1)
    assert state_of(machine).eligible == (2, 3)
    run(machine, damage(1, leads_on=True))
    state = state_of(machine)
    assert (state.leader_id, state.damaged) == (2, (1,))


def test_only_a_leader_leads_on(machine: MetadataMachine) -> None:
    """Who does not lead and has the only full copy may lack what others would be cut down to."""
    in_sync(machine, 1)
    fence(machine, 2, 3, 1)
    run(machine, damage(2, leads_on=True))
    run(machine, damage(3, leads_on=True))
    run(machine, damage(1, leads_on=True))
    state = state_of(machine)
    assert (state.leader_id, state.eligible, {*state.damaged}) == (NO_NODE, (), {1, 2, 3})


def test_a_damaged_copy_wins_no_election(machine: MetadataMachine) -> None:
    """It is the last known leader, eligible, and back before anybody else."""
    in_sync(machine, 1)
    assert state_of(machine).eligible == (2, 3)
    fence(machine, 2, 3, 1)
    assert (state_of(machine).last_known_leader, state_of(machine).leader_id) == (1, NO_NODE)
    run(machine, registration(1, incarnation="2"))
    run(machine, damage(1, "2"))
    unfence(machine, 1)
    state = state_of(machine)
    assert (state.leader_id, state.isr, state.damaged) == (NO_NODE, (), (1,))
    unfence(machine, 3)
    assert state_of(machine).leader_id == 3


def test_it_counts_again_once_it_is_in_sync(machine: MetadataMachine) -> None:
    run(machine, damage(1))
    state = in_sync(machine, 2, 3, 1)
    assert (state.isr, state.damaged) == ((1, 2, 3), ())
    fence(machine, 2)
    assert state_of(machine).leader_id in {1, 3}


def test_the_last_full_copy_is_not_replaced_by_another(machine: MetadataMachine) -> None:
    in_sync(machine, 1)
    run(machine, damage(2))
    run(machine, damage(3))
    run(machine, damage(1))
    state = state_of(machine)
    assert (state.leader_id, state.isr, state.eligible) == (NO_NODE, (), ())
    assert {*state.damaged} == {1, 2, 3}
    before = state.replicas
    run(machine, ReassignPartition(topic_id("t"), 0, before[1:]))
    assert state_of(machine).replicas == before, "nothing that may be repaired is dropped"


def test_going_on_without_it_has_to_be_asked_for(machine: MetadataMachine) -> None:
    in_sync(machine, 1, 2)
    in_sync(machine, 1)
    run(machine, damage(2))
    run(machine, damage(1))
    assert state_of(machine).damaged == (2, 1)
    fence(machine, 1)
    error = refused(machine, ReplaceNode(NodeId(1)))
    assert isinstance(error, InvalidRequestError)
    assert "has the only full copy of t-0" in error.message
    command = ReplaceNode(NodeId(1), accept_data_loss=True)
    while not isinstance(reply := run(machine, command), NodeRemoval) or not reply.done:
        pass
    state = state_of(machine)
    assert state.leader_id in {2, 3}
    assert state.damaged == ()


def test_the_loss_of_another_disk_accepts_nothing(machine: MetadataMachine) -> None:
    """Node 3 never held everything since; that its disk goes too says nothing of node 1's log."""
    in_sync(machine, 1, 2)
    in_sync(machine, 1)
    run(machine, damage(2))
    run(machine, damage(1))
    fence(machine, 3)
    while not getattr(run(machine, ReplaceNode(NodeId(3))), "done", False):
        pass
    state = state_of(machine)
    assert (state.leader_id, state.isr, state.eligible) == (NO_NODE, (), ())


def test_the_only_replica_is_led_on(machine: MetadataMachine) -> None:
    create(machine, "u", replication_factor=1)
    leader = machine.image.topic_named("u").partitions[0].leader_id
    assert machine.handle(damage(leader, topic="u"), NOW_MS).records == ()


def test_what_is_not_there_any_more_is_no_matter(machine: MetadataMachine) -> None:
    assert machine.handle(damage(1, topic="gone"), NOW_MS).records == ()
    assert isinstance(refused(machine, damage(1, incarnation="0")), StaleEpochError)
