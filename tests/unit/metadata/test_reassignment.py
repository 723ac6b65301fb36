"""Replicas that move to other nodes: who leaves when, what counts meanwhile, who may not come."""

from __future__ import annotations

import pytest
from logd_wire.errors import ErrorCode, InvalidConfigError, InvalidRequestError, UnknownTopicError

from logd.metadata import (
    BalanceLeaders,
    ChangePartition,
    CreateTopic,
    MetadataMachine,
    MetadataSettings,
    PartitionImage,
    ReassignPartition,
    ReplaceNode,
    find_problems,
)
from logd.model.ids import NO_NODE, NodeId
from tests.unit.metadata.samples import (
    NOW_MS,
    create,
    fence,
    machine_with_nodes,
    members,
    refused,
    run,
    topic_id,
    unfence,
)


def nodes(*node_ids: int) -> tuple[NodeId, ...]:
    return tuple(map(NodeId, node_ids))


def reassign(*node_ids: int, partition: int = 0) -> ReassignPartition:
    """No nodes: back to where the replicas were."""
    return ReassignPartition(topic_id("t"), partition, nodes(*node_ids) or None)


def state_of(machine: MetadataMachine, partition: int = 0) -> PartitionImage:
    assert find_problems(machine.image) == []
    return machine.image.topic_named("t").partitions[partition]


def in_sync(machine: MetadataMachine, *isr: int, partition: int = 0) -> PartitionImage:
    """The leader proposes this set, and it is taken."""
    state = state_of(machine, partition)
    command = ChangePartition(
        topic_id("t"),
        partition,
        members(machine, state.leader_id)[0],
        state.leader_epoch,
        state.partition_epoch,
        members(machine, *isr),
    )
    run(machine, command)
    return state_of(machine, partition)


@pytest.fixture
def machine() -> MetadataMachine:
    """One partition on nodes 1, 2 and 3 of five, everybody in sync."""
    machine = machine_with_nodes(1, 2, 3, 4, 5)
    create(machine, "t")
    assert state_of(machine).replicas == (1, 2, 3)
    return machine


def test_nobody_leaves_before_every_added_replica_is_in_sync(machine: MetadataMachine) -> None:
    run(machine, reassign(4, 5))
    state = state_of(machine)
    assert (state.replicas, state.isr) == ((1, 2, 3, 4, 5), (1, 2, 3))
    assert (state.adding, state.target, state.removing) == ((4, 5), (4, 5), (1, 2, 3))
    assert (state.leader_id, state.leader_epoch) == (1, 0)
    state = in_sync(machine, 1, 2, 3, 4)
    assert (state.replicas, state.isr) == ((1, 2, 3, 4, 5), (1, 2, 3, 4))
    state = in_sync(machine, 1, 2, 3, 4, 5)
    assert (state.replicas, state.isr, state.adding, state.target) == ((4, 5), (4, 5), (), ())
    assert (state.leader_id, state.leader_epoch) == (4, 1)


def test_a_leader_that_stays_leads_on(machine: MetadataMachine) -> None:
    run(machine, reassign(4, 5, 1))
    state = in_sync(machine, 1, 2, 3, 4, 5)
    assert (state.replicas, state.leader_id, state.leader_epoch) == ((4, 5, 1), 1, 0)
    run(machine, BalanceLeaders())
    assert state_of(machine).leader_id == 4, "the first of the target is preferred"


def test_who_stays_is_preferred_already_on_the_way(machine: MetadataMachine) -> None:
    run(machine, reassign(3, 4, 5))
    run(machine, BalanceLeaders())
    assert state_of(machine).leader_id == 3
    fence(machine, 3)
    assert state_of(machine).leader_id == 1, "nobody else of the target is in sync"


def test_what_was_acknowledged_does_not_become_rarer(machine: MetadataMachine) -> None:
    """Node 4 has come, nodes 2 and 3 have gone: on node 4 alone it would be safe no longer."""
    run(machine, reassign(4, 2, 3))
    state = in_sync(machine, 1, 4)
    assert state.replicas == (1, 2, 3, 4)
    state = in_sync(machine, 1, 4, 2)
    assert (state.replicas, state.isr) == ((4, 2, 3), (4, 2))


def test_it_is_called_off(machine: MetadataMachine) -> None:
    before = state_of(machine)
    run(machine, reassign(4, 5, 3))
    in_sync(machine, 1, 2, 3, 5)
    run(machine, reassign())
    after = state_of(machine)
    assert (after.replicas, after.isr, after.target) == (before.replicas, before.isr, ())
    assert (after.leader_id, after.leader_epoch) == (1, 0)
    assert machine.handle(reassign(), NOW_MS).records == (), "nothing is going on"


def test_calling_it_off_waits_for_who_holds_what_was_acknowledged(
    machine: MetadataMachine,
) -> None:
    run(machine, reassign(4, 5, 3))
    in_sync(machine, 1, 4)
    run(machine, reassign())
    state = state_of(machine)
    assert (state.replicas, state.target, state.removing) == ((1, 2, 3, 4), (1, 2, 3), (4,))
    state = in_sync(machine, 1, 4, 2)
    assert (state.replicas, state.isr, state.target) == ((1, 2, 3), (1, 2), ())


def test_another_target_takes_the_place_of_the_one_before(machine: MetadataMachine) -> None:
    run(machine, reassign(4, 2, 3))
    run(machine, reassign(5, 2, 3))
    state = state_of(machine)
    assert (state.replicas, state.adding) == ((1, 2, 3, 5), (5,)), "node 4 had nothing yet"
    in_sync(machine, 1, 2, 3)
    run(machine, reassign(1, 2, 3))
    assert (state_of(machine).replicas, state_of(machine).target) == ((1, 2, 3), ())


def test_the_same_again_changes_nothing(machine: MetadataMachine) -> None:
    first = run(machine, reassign(4, 5, 3))
    again = machine.handle(reassign(4, 5, 3), NOW_MS)
    assert (again.records, again.reply) == ((), first)
    in_sync(machine, 1, 2, 3, 4, 5)
    assert machine.handle(reassign(4, 5, 3), NOW_MS).records == ()


def test_another_order_of_the_same_replicas_is_done_at_once(machine: MetadataMachine) -> None:
    in_sync(machine, 1)
    run(machine, reassign(3, 2, 1))
    state = state_of(machine)
    assert (state.replicas, state.isr, state.eligible) == ((3, 2, 1), (1,), (3, 2))
    assert state.target == ()


def test_a_leaderless_partition_waits_for_who_holds_everything(machine: MetadataMachine) -> None:
    in_sync(machine, 1)
    fence(machine, 1, 2, 3)
    run(machine, reassign(4, 5))
    state = state_of(machine)
    assert (state.leader_id, state.eligible) == (NO_NODE, (1, 2, 3))
    unfence(machine, 2)
    assert state_of(machine).leader_id == NO_NODE or state_of(machine).leader_id in {1, 2}
    assert {*state_of(machine).isr, *state_of(machine).eligible} <= {1, 2, 3}


def test_a_lost_disk_leaves_those_that_had_most(machine: MetadataMachine) -> None:
    """Whoever accepts a loss does not go on with replicas that have just begun."""
    in_sync(machine, 1, 2)
    in_sync(machine, 1)
    run(machine, reassign(4, 2, 3))
    for lost in (2, 1):
        fence(machine, lost)
        command = ReplaceNode(NodeId(lost), accept_data_loss=True)
        while not getattr(run(machine, command), "done", True):
            pass
    state = state_of(machine)
    assert (state.isr, state.eligible) == ((3,), (2,))


def test_min_insync_replicas_follows_the_smaller_number(machine: MetadataMachine) -> None:
    """Three replicas have to be two in sync, one replica one: neither while they are on the way."""
    least = MetadataSettings().min_insync_replicas
    run(machine, CreateTopic(topic_id("u"), "u", replication_factor=1))
    u = machine.image.topic_named("u").partitions[0]
    others = [node for node in (1, 2, 3, 4, 5) if node != u.leader_id][:2]
    run(machine, ReassignPartition(topic_id("u"), 0, nodes(u.leader_id, *others)))
    assert least(machine.image.topic_named("u")) == 1
    leader = members(machine, u.leader_id)[0]
    isr = members(machine, u.leader_id, *others)
    run(machine, ChangePartition(topic_id("u"), 0, leader, u.leader_epoch, 1, isr))
    assert least(machine.image.topic_named("u")) == 2
    run(machine, ReassignPartition(topic_id("u"), 0, (u.leader_id,)))
    assert least(machine.image.topic_named("u")) == 1


def test_another_least_number_forgets_who_was_eligible() -> None:
    """Partition 1 has an eligible replica because two had to be in sync. With one it is enough
    that the leader has what is acknowledged from then on."""
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t", partitions=2)
    leader = state_of(machine, 1).leader_id
    in_sync(machine, leader, partition=1)
    assert len(state_of(machine, 1).eligible) == 2
    run(machine, reassign(1))
    assert state_of(machine, 0).replicas == (1,)
    assert MetadataSettings().min_insync_replicas(machine.image.topic_named("t")) == 1
    assert state_of(machine, 1).eligible == ()


# ---- who may not come ---------------------------------------------------------------------------


def test_refusals_say_why(machine: MetadataMachine) -> None:
    error = refused(machine, reassign(1, 9))
    assert isinstance(error, InvalidRequestError)
    assert error.message == ("partition t-0 cannot move to node 9: the cluster has no such node")
    assert error.hint == "its nodes are 1, 2, 3, 4, 5"
    assert "named twice" in refused(machine, reassign(1, 1)).message
    error = refused(machine, reassign(1, 2, 3, 4, 5, 6))
    assert error.code is ErrorCode.INVALID_REPLICATION_FACTOR
    assert "replication factor 6 with 5 nodes" in error.message
    nobody = ReassignPartition(topic_id("t"), 0, ())
    assert "needs a replica" in refused(machine, nobody).message
    for unknown in (reassign(1, partition=1), ReassignPartition(topic_id("u"), 0, nodes(1))):
        assert isinstance(refused(machine, unknown), UnknownTopicError)


def test_a_fenced_node_gets_nothing_and_keeps_what_it_has(machine: MetadataMachine) -> None:
    fence(machine, 3, 4)
    error = refused(machine, reassign(1, 4))
    assert "cannot move to node 4: fenced" in error.message
    run(machine, reassign(1, 3, 5))
    assert state_of(machine).adding == (5,)


def test_fewer_replicas_than_have_to_be_in_sync_are_refused(machine: MetadataMachine) -> None:
    create(machine, "u", config={"min.insync.replicas": "2"})
    error = refused(machine, ReassignPartition(topic_id("u"), 0, nodes(1)))
    assert isinstance(error, InvalidConfigError)
    assert error.message.startswith("partition u-0 on 1 nodes: min.insync.replicas is 2")
