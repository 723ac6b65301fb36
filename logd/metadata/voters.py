"""Decisions about who votes on the metadata log.

The set changes by one voter at a time, and each VotersChanged is alone in its entry. The consensus
below refuses a change while another one is under way.
"""

from __future__ import annotations

from logd_wire.errors import InvalidRequestError

from logd.metadata.commands import AddVoter, Outcome, UpdateVoter, VoterSet
from logd.metadata.image import ClusterImage, NodeImage
from logd.metadata.records import VoterImage, VotersChanged
from logd.model.ids import NodeId


def add_voter(image: ClusterImage, command: AddVoter) -> Outcome[VoterSet]:
    """Let one more node vote; it must be in service and within reach of the others."""
    node = _node(image, command.node_id)
    if image.voter(node.node_id) is not None:
        return Outcome((), VoterSet(image.voters))
    if image.voters:
        # Else this is the founder that adds itself: it is the only voter anyway.
        _check_candidate(image, node)
    added = VoterImage(node.node_id, node.directory_id, node.peer_address)
    return _changed((*image.voters, added))


def _check_candidate(image: ClusterImage, node: NodeImage) -> None:
    if node.fenced:
        raise InvalidRequestError(
            f"node {node.node_id} is fenced: it has not caught up, or does not answer",
            hint="it can vote once it is in service",
            retriable=True,
        )
    addresses = {voter.node_id: voter.address for voter in image.voters}
    addresses[node.node_id] = node.peer_address
    for node_id, address in sorted(addresses.items()):
        if not address:
            raise InvalidRequestError(
                f"node {node_id} has no peer address: other voters could not reach it",
                hint="configure listeners.peer of that node, and restart it",
            )


def update_voter(image: ClusterImage, command: UpdateVoter) -> Outcome[VoterSet]:
    """Take over the peer address that a voter has registered with."""
    node = _node(image, command.node_id)
    voter = image.voter(node.node_id)
    if voter is None:
        raise InvalidRequestError(f"node {node.node_id} is not a voter")
    updated = VoterImage(node.node_id, voter.directory_id, node.peer_address)
    if updated == voter:
        return Outcome((), VoterSet(image.voters))
    others = (other for other in image.voters if other.node_id != node.node_id)
    return _changed((*others, updated))


def without_voter(image: ClusterImage, node_id: NodeId) -> VotersChanged | None:
    """Return the change that takes a node's vote away; None when it has none.

    Raises InvalidRequestError when those that stay could decide nothing.
    """
    if not image.voters:
        raise InvalidRequestError("the cluster has no voter set yet", retriable=True)
    if image.voter(node_id) is None:
        return None
    rest = tuple(voter for voter in image.voters if voter.node_id != node_id)
    if not rest:
        raise InvalidRequestError(
            f"node {node_id} is the only voter: without it the cluster could decide nothing",
            hint="add another voter first: `logd node add`",
        )
    alive = image.nodes_in_service.intersection(voter.node_id for voter in rest)
    if 2 * len(alive) <= len(rest):
        names = ", ".join(str(voter.node_id) for voter in rest)
        raise InvalidRequestError(
            f"without node {node_id} the voters would be {names}, and too few of them are in "
            "service to decide anything",
            hint="bring the others back first, or add a voter",
            retriable=True,
        )
    return VotersChanged(rest)


def stale_voters(image: ClusterImage) -> tuple[NodeId, ...]:
    """Return the voters that have registered with another peer address: `UpdateVoter` is due."""
    return tuple(
        voter.node_id
        for voter in image.voters
        if image.nodes[voter.node_id].peer_address != voter.address
    )


def _changed(voters: tuple[VoterImage, ...]) -> Outcome[VoterSet]:
    ordered = tuple(sorted(voters, key=lambda voter: voter.node_id))
    return Outcome((VotersChanged(ordered),), VoterSet(ordered))


def _node(image: ClusterImage, node_id: NodeId) -> NodeImage:
    node = image.nodes.get(node_id)
    if node is None:
        raise InvalidRequestError(
            f"node {node_id} is not registered", hint="it registers itself when it starts"
        )
    return node
