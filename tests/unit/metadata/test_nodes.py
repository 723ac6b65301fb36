"""Registration, fencing, removal and replacement of nodes, with what becomes of partitions."""

from __future__ import annotations

import pytest
from logd_wire.errors import InvalidRequestError, StaleEpochError

from logd.metadata import (
    DeleteTopic,
    ElectLeaders,
    FenceNode,
    MetadataMachine,
    NodeRemoval,
    PartitionChanges,
    RemoveNode,
    ReplaceNode,
    UnfenceNode,
    find_problems,
)
from logd.metadata.records import (
    NodeFenced,
    NodeRegistered,
    NodeRemoved,
    NodeUnfenced,
    PartitionChanged,
    VotersChanged,
)
from logd.model.ids import NO_NODE, DirectoryId, NodeId
from tests.unit.metadata.samples import (
    NOW_MS,
    create,
    fence,
    id_of,
    machine_with_nodes,
    refused,
    registration,
    run,
    unfence,
)

N1, N2, N3 = NodeId(1), NodeId(2), NodeId(3)
INC1, INC2 = id_of("inc-1"), id_of("inc-2")


def settle(machine: MetadataMachine) -> None:
    while run(machine, ElectLeaders()) != PartitionChanges(0, more=False):
        pass


def leaders(machine: MetadataMachine, name: str = "t") -> list[int]:
    return [state.leader_id for state in machine.image.topic_named(name).partitions]


# --- registration --------------------------------------------------------------------------------


def test_a_node_begins_fenced_and_with_an_epoch_of_its_own() -> None:
    machine = machine_with_nodes()
    for node_id, epoch in ((1, 1), (2, 2)):
        node = run(machine, registration(node_id))
        assert isinstance(node, NodeRegistered)
        assert (node.fenced, node.node_epoch) == (True, epoch)
        assert machine.image.nodes[NodeId(node_id)] == node
    assert machine.image.nodes_in_service == frozenset()


def test_a_registration_sent_again_changes_nothing() -> None:
    machine = machine_with_nodes(1)
    outcome = machine.handle(registration(1), NOW_MS)
    assert outcome.records == ()
    assert outcome.reply == machine.image.nodes[N1]
    assert not outcome.reply.fenced, "it is the same process: it stays in service"


def test_a_node_registers_again_at_every_start() -> None:
    machine = machine_with_nodes(1, 2)
    restarted = registration(1, incarnation="2", address="elsewhere:1")
    node = run(machine, restarted)
    assert node == machine.image.nodes[N1]
    assert machine.image.nodes[N1].address == "elsewhere:1"
    assert machine.image.nodes[N1].node_epoch == 3, "the cluster's next, not the node's"
    assert machine.image.nodes_in_service == {2}, "a new process has not caught up yet"


def test_a_process_of_before_is_told_from_the_one_of_now() -> None:
    machine = machine_with_nodes(1)
    run(machine, registration(1, incarnation="2"))
    for command in (FenceNode(N1, INC1), UnfenceNode(N1, INC1)):
        error = refused(machine, command)
        assert isinstance(error, StaleEpochError)
        assert not error.retriable
    assert "node 9 is not registered" in refused(machine, UnfenceNode(NodeId(9), INC1)).message


def test_a_node_may_not_come_back_with_another_directory() -> None:
    error = refused(machine_with_nodes(1), registration(1, directory="emptied"))
    assert "registered with data directory" in error.message
    assert "`logd node replace 1`" in error.hint


def test_a_directory_belongs_to_one_node() -> None:
    error = refused(machine_with_nodes(1), registration(2, directory="dir-1"))
    assert "is that of node 1, not of node 2" in error.message


def test_registrations_are_checked() -> None:
    machine = machine_with_nodes()
    for bad in (
        registration(-1),
        registration(2**31),
        registration(1, address="a" * 301),
        registration(1, peer_address="a" * 301),
        registration(1, rack="r" * 256),
    ):
        assert isinstance(refused(machine, bad), InvalidRequestError)


# --- fencing -------------------------------------------------------------------------------------


def test_fencing_moves_leaders_and_unfencing_does_not_take_them_back() -> None:
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t", partitions=3)
    outcome = machine.handle(FenceNode(N1, INC1), NOW_MS)
    assert [type(record) for record in outcome.records] == [NodeFenced, *[PartitionChanged] * 3]
    assert outcome.reply.fenced
    machine.replay(*outcome.records)
    assert leaders(machine) == [2, 2, 3]
    for state in machine.image.topic_named("t").partitions:
        assert set(state.isr) == {2, 3}
        assert state.eligible == (), "two in sync are enough to acknowledge"
        assert state.partition_epoch == 1
    outcome = machine.handle(UnfenceNode(N1, INC1), NOW_MS)
    assert outcome.records == (NodeUnfenced(N1, INC1),)
    machine.replay(*outcome.records)
    assert leaders(machine) == [2, 2, 3]


@pytest.mark.parametrize("command", [FenceNode, UnfenceNode])
def test_fencing_twice_changes_nothing(command: type[FenceNode | UnfenceNode]) -> None:
    machine = machine_with_nodes(1)
    run(machine, command(N1, INC1))
    assert machine.handle(command(N1, INC1), NOW_MS).records == ()


def test_a_restart_moves_leaders_as_fencing_does() -> None:
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t", partitions=3)
    run(machine, registration(1, incarnation="2"))
    assert leaders(machine) == [2, 2, 3]
    epochs = [state.leader_epoch for state in machine.image.topic_named("t").partitions]
    assert epochs == [1, 0, 0]


def test_the_only_replica_leads_again_in_another_epoch() -> None:
    machine = machine_with_nodes(1)
    create(machine, "t")
    run(machine, registration(1, incarnation="2"))
    (state,) = machine.image.topic_named("t").partitions
    assert (state.leader_id, state.isr, state.eligible) == (NO_NODE, (), (1,))
    assert state.last_known_leader == 1
    unfence(machine, 1)
    (state,) = machine.image.topic_named("t").partitions
    assert (state.leader_id, state.leader_epoch, state.isr, state.eligible) == (1, 2, (1,), ())
    assert state.last_known_leader == NO_NODE


def test_a_folder_of_one_node_goes_on() -> None:
    """What version 1 wrote: not fenced, no epoch, no peer address."""
    machine = machine_with_nodes()
    machine.replay(
        NodeRegistered(N1, DirectoryId(id_of("dir-1")), INC1, "node1:7171", "a", "", 0, False)
    )
    topic = create(machine, "t")
    assert topic.partitions[0].leader_id == 1
    run(machine, registration(1, incarnation="2"))
    unfence(machine, 1)
    assert leaders(machine) == [1]
    assert machine.image.nodes[N1].node_epoch == 1


def test_what_one_entry_cannot_hold_is_left_to_the_next() -> None:
    machine = machine_with_nodes(1, 2, 3, changes_per_entry_max=4)
    create(machine, "t", partitions=10)
    outcome = machine.handle(FenceNode(N1, INC1), NOW_MS)
    assert len(outcome.records) == 1 + 4
    machine.replay(*outcome.records)
    replies = [run(machine, ElectLeaders()) for _ in range(3)]
    assert replies == [
        PartitionChanges(4, more=True),
        PartitionChanges(2, more=False),
        PartitionChanges(0, more=False),
    ]
    assert 1 not in leaders(machine)
    assert not any(1 in state.isr for state in machine.image.topic_named("t").partitions)


def test_a_node_is_not_let_in_while_it_counts_as_who_it_was() -> None:
    machine = machine_with_nodes(1, 2, 3, changes_per_entry_max=2)
    create(machine, "t", partitions=5)
    run(machine, registration(1, incarnation="2"))
    for fenced in (True, True, False):
        node = run(machine, UnfenceNode(N1, INC2))
        assert isinstance(node, NodeRegistered)
        assert node.fenced is fenced
        assert machine.image.nodes[N1] == node
    assert not any(1 in state.isr for state in machine.image.topic_named("t").partitions)


# --- removal -------------------------------------------------------------------------------------


def test_a_voter_is_removed_in_two_steps() -> None:
    machine = machine_with_nodes(1, 2, 3)
    outcome = machine.handle(RemoveNode(N3), NOW_MS)
    (changed,) = outcome.records
    assert isinstance(changed, VotersChanged)
    assert [voter.node_id for voter in changed.voters] == [1, 2]
    assert outcome.reply == NodeRemoval(N3, done=False)
    machine.replay(*outcome.records)
    assert 3 in machine.image.nodes
    epoch = machine.image.nodes[N3].node_epoch
    outcome = machine.handle(RemoveNode(N3), NOW_MS)
    assert outcome.records == (NodeRemoved(N3, DirectoryId(id_of("dir-3")), epoch),)
    assert outcome.reply == NodeRemoval(N3, done=True)
    machine.replay(*outcome.records)
    assert 3 not in machine.image.nodes
    again = machine.handle(RemoveNode(N3), NOW_MS)
    assert (again.records, again.reply) == ((), NodeRemoval(N3, done=True))


def remove(machine: MetadataMachine, command: RemoveNode | ReplaceNode) -> None:
    for _ in range(5):
        reply = run(machine, command)
        assert isinstance(reply, NodeRemoval)
        if reply.done:
            return
    raise AssertionError("the removal does not end")


def test_a_removed_directory_never_comes_back_but_the_id_may() -> None:
    machine = machine_with_nodes(1, 2, 3)
    remove(machine, RemoveNode(N3))
    for node_id in (3, 4):
        error = refused(machine, registration(node_id, incarnation="9", directory="dir-3"))
        assert "was removed from the cluster as that of node 3" in error.message
        assert error.hint == "start the node with an empty data folder"
    before = machine.image.last_node_epoch
    run(machine, registration(3, directory="new"))
    assert machine.image.nodes[N3].node_epoch == before + 1, "epochs go on over removals"


def test_a_command_that_comes_late_does_not_remove_the_next_node() -> None:
    machine = machine_with_nodes(1, 2, 3)
    named = RemoveNode(N3, DirectoryId(id_of("dir-3")))
    remove(machine, named)
    run(machine, registration(3, directory="new"))
    assert machine.handle(named, NOW_MS).reply == NodeRemoval(N3, done=True)
    assert machine.handle(named, NOW_MS).records == ()
    replaced = ReplaceNode(N3, DirectoryId(id_of("dir-3")))
    assert machine.handle(replaced, NOW_MS).records == ()
    other = ReplaceNode(N3, DirectoryId(id_of("dir-9")))
    assert "is registered with data directory" in refused(machine, other).message


def test_a_node_with_replicas_is_not_removed() -> None:
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "orders", partitions=7)
    error = refused(machine, RemoveNode(N3))
    assert error.message == (
        "node 3 has replicas of orders-0, orders-1, orders-2, orders-3, orders-4 and 2 more"
    )
    assert "logd cluster drain 3" in error.hint
    run(machine, DeleteTopic("orders"))
    remove(machine, RemoveNode(N3))
    assert find_problems(machine.image) == []


def test_a_node_that_never_was_is_not_removed() -> None:
    machine = machine_with_nodes(1)
    for command in (RemoveNode(N2), ReplaceNode(N2)):
        assert refused(machine, command).message == "node 2 is not registered"


# --- replacement ---------------------------------------------------------------------------------


def test_a_lost_disk_is_replaced() -> None:
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t", partitions=3)
    assert "is in service" in refused(machine, ReplaceNode(N3)).message
    fence(machine, 3)
    outcome = machine.handle(ReplaceNode(N3), NOW_MS)
    assert [type(record) for record in outcome.records] == [VotersChanged]
    remove(machine, ReplaceNode(N3))
    assert 3 not in machine.image.nodes
    assert all(3 in state.replicas for state in machine.image.topic_named("t").partitions)
    refused(machine, registration(3, incarnation="2"))
    run(machine, registration(3, incarnation="2", directory="new"))
    unfence(machine, 3)
    assert find_problems(machine.image) == []
    assert not any(3 in state.isr for state in machine.image.topic_named("t").partitions)


def test_a_replaced_node_is_not_eligible_any_more() -> None:
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t")
    fence(machine, 1, 2, 3)
    (state,) = machine.image.topic_named("t").partitions
    assert (state.isr, state.eligible, state.last_known_leader) == ((), (2, 3), 3)
    unfence(machine, 1, 2)
    fence(machine, 2)
    (state,) = machine.image.topic_named("t").partitions
    assert (state.eligible, state.last_known_leader) == ((2, 3), 2)
    unfence(machine, 2)
    remove(machine, ReplaceNode(N3))
    (state,) = machine.image.topic_named("t").partitions
    assert (state.leader_id, state.isr, state.eligible) == (2, (2,), ())


def test_the_only_copy_is_not_given_up_unasked() -> None:
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t", partitions=3, replication_factor=1)
    fence(machine, 3)
    error = refused(machine, ReplaceNode(N3))
    assert error.message == "node 3 has the only full copy of t-2"
    assert "--accept-data-loss" in error.hint
    remove(machine, ReplaceNode(N3, accept_data_loss=True))
    assert leaders(machine) == [1, 2, NO_NODE]
    run(machine, registration(3, incarnation="2", directory="new"))
    assert leaders(machine) == [1, 2, NO_NODE], "not before it has caught up"
    unfence(machine, 3)
    assert leaders(machine) == [1, 2, 3]
    assert machine.image.topic_named("t").partitions[2].leader_epoch == 2


def test_an_accepted_loss_goes_on_with_what_is_left() -> None:
    machine = machine_with_nodes(1, 2, 3)
    create(machine, "t", config={"min.insync.replicas": "1"})
    fence(machine, 1, 2, 3)
    (state,) = machine.image.topic_named("t").partitions
    assert (state.leader_id, state.eligible) == (NO_NODE, (3,))
    unfence(machine, 1, 2)
    assert leaders(machine) == [NO_NODE], "nobody in service has everything"
    remove(machine, ReplaceNode(N3, accept_data_loss=True))
    (state,) = machine.image.topic_named("t").partitions
    assert (state.leader_id, state.isr, state.eligible) == (1, (1,), ())
    assert state.last_known_leader == NO_NODE


def test_every_partition_knows_before_the_registration_ends() -> None:
    machine = machine_with_nodes(1, 2, 3, changes_per_entry_max=2)
    create(machine, "t", partitions=5)
    fence(machine, 2)
    settle(machine)
    fence(machine, 1)
    settle(machine)
    unfence(machine, 2)
    counts = []
    while 1 in machine.image.nodes:
        states = machine.image.topic_named("t").partitions
        counts.append(sum(1 in (*state.isr, *state.eligible) for state in states))
        run(machine, ReplaceNode(N1))
    assert counts == [5, 5, 3, 1], "first its vote, then two partitions at a time"
    assert all(state.eligible == () for state in machine.image.topic_named("t").partitions)


def test_nothing_is_removed_before_there_are_voters() -> None:
    machine = machine_with_nodes()
    run(machine, registration(1))
    for command in (RemoveNode(N1), ReplaceNode(N1)):
        error = refused(machine, command)
        assert error.message == "the cluster has no voter set yet"
        assert error.retriable
