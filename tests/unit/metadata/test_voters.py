from __future__ import annotations

from logd.metadata import (
    AddVoter,
    ClusterImage,
    NodeRemoval,
    RemoveNode,
    ReplaceNode,
    UpdateVoter,
    VoterImage,
    VotersChanged,
    VoterSet,
    image_records,
    replay,
    stale_voters,
)
from logd.model.ids import DirectoryId, NodeId
from tests.unit.metadata.samples import (
    NOW_MS,
    fence,
    id_of,
    machine_with_nodes,
    refused,
    registration,
    run,
    unfence,
)

N1, N2, N3 = NodeId(1), NodeId(2), NodeId(3)


def voter(node_id: int, address: str | None = None) -> VoterImage:
    directory_id = DirectoryId(id_of(f"dir-{node_id}"))
    where = f"node{node_id}:7172" if address is None else address
    return VoterImage(NodeId(node_id), directory_id, where)


def test_the_founder_adds_itself_whatever_its_state() -> None:
    machine = machine_with_nodes()
    run(machine, registration(1, peer_address=""))
    outcome = machine.handle(AddVoter(N1), NOW_MS)
    assert outcome.records == (VotersChanged((voter(1, ""),)),)
    assert outcome.reply == VoterSet((voter(1, ""),))


def test_voters_are_added_one_by_one_and_kept_in_order() -> None:
    machine = machine_with_nodes(2)
    for node_id in (3, 1):
        run(machine, registration(node_id))
        unfence(machine, node_id)
        outcome = machine.handle(AddVoter(NodeId(node_id)), NOW_MS)
        assert len(outcome.records) == 1, "alone in its entry"
        machine.replay(*outcome.records)
    assert machine.image.voters == (voter(1), voter(2), voter(3))
    again = machine.handle(AddVoter(N3), NOW_MS)
    assert (again.records, again.reply) == ((), VoterSet(machine.image.voters))


def test_who_may_vote() -> None:
    machine = machine_with_nodes(1)
    assert refused(machine, AddVoter(N2)).message == "node 2 is not registered"
    run(machine, registration(2, peer_address=""))
    error = refused(machine, AddVoter(N2))
    assert "node 2 is fenced" in error.message
    assert error.retriable
    unfence(machine, 2)
    error = refused(machine, AddVoter(N2))
    assert "node 2 has no peer address" in error.message
    assert not error.retriable
    run(machine, registration(2, incarnation="2"))
    unfence(machine, 2)
    run(machine, AddVoter(N2))


def test_a_founder_without_an_address_stays_alone() -> None:
    machine = machine_with_nodes()
    run(machine, registration(1, peer_address=""))
    run(machine, AddVoter(N1))
    run(machine, registration(2))
    unfence(machine, 2)
    assert "node 1 has no peer address" in refused(machine, AddVoter(N2)).message
    run(machine, registration(1, incarnation="2"))
    run(machine, UpdateVoter(N1))
    run(machine, AddVoter(N2))
    assert machine.image.voters == (voter(1), voter(2))


def test_a_voter_that_moved_is_updated() -> None:
    machine = machine_with_nodes(1, 2)
    assert stale_voters(machine.image) == ()
    assert machine.handle(UpdateVoter(N2), NOW_MS).records == ()
    run(machine, registration(2, incarnation="2", peer_address="moved:1"))
    assert stale_voters(machine.image) == (2,)
    outcome = machine.handle(UpdateVoter(N2), NOW_MS)
    assert outcome.records == (VotersChanged((voter(1), voter(2, "moved:1"))),)
    machine.replay(*outcome.records)
    assert stale_voters(machine.image) == ()
    run(machine, registration(3))
    assert refused(machine, UpdateVoter(N3)).message == "node 3 is not a voter"


def test_the_last_voter_stays() -> None:
    machine = machine_with_nodes(1)
    error = refused(machine, RemoveNode(N1))
    assert "node 1 is the only voter" in error.message
    assert "logd node add" in error.hint
    fence(machine, 1)
    assert "is the only voter" in refused(machine, ReplaceNode(N1)).message


def test_a_majority_of_those_that_stay_is_in_service() -> None:
    machine = machine_with_nodes(1, 2, 3)
    fence(machine, 3)
    error = refused(machine, RemoveNode(N2))
    assert "the voters would be 1, 3" in error.message
    assert error.retriable
    run(machine, RemoveNode(N3))
    assert [voter.node_id for voter in machine.image.voters] == [1, 2]
    fence(machine, 2)
    assert "the voters would be 2" in refused(machine, RemoveNode(N1)).message
    run(machine, ReplaceNode(N2))
    assert [voter.node_id for voter in machine.image.voters] == [1]


def test_a_vote_that_was_taken_away_stays_away_until_it_is_given_back() -> None:
    machine = machine_with_nodes(1, 2, 3)
    assert not machine.image.nodes[N3].vote_withdrawn
    assert run(machine, RemoveNode(N3)) == NodeRemoval(N3, done=False)
    assert [node.vote_withdrawn for node in machine.image.nodes.values()] == [False, False, True]
    machine.reset(replay(ClusterImage(), image_records(machine.image)))
    run(machine, registration(3, incarnation="2"))
    assert machine.image.nodes[N3].vote_withdrawn, "another process of the same node"
    run(machine, UpdateVoter(N2))
    unfence(machine, 3)
    assert machine.image.nodes[N3].vote_withdrawn
    run(machine, AddVoter(N3))
    assert not machine.image.nodes[N3].vote_withdrawn


def test_an_empty_directory_under_the_id_of_a_removed_node_has_lost_no_vote() -> None:
    machine = machine_with_nodes(1, 2, 3)
    for _ in range(2):
        run(machine, RemoveNode(N3))
    run(machine, registration(3, directory="new"))
    assert not machine.image.nodes[N3].vote_withdrawn
