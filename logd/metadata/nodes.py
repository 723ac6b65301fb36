"""Decisions about nodes: registration, fencing, removal.

    (unknown) -- register --> fenced <-- fence / register again -- unfenced
                                 \\-- unfence: it has caught up -->/
    any of them -- remove, replace --> (unknown), and its directory never comes back

With each change the partitions follow (`logd.metadata.elections`), in the same entry as far as it
may hold them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from logd_wire.errors import InvalidRequestError, StaleEpochError

from logd.metadata.commands import (
    FenceNode,
    NodeRemoval,
    Outcome,
    RegisterNode,
    RemoveNode,
    ReplaceNode,
    UnfenceNode,
)
from logd.metadata.elections import is_last, settled, some_changes, without
from logd.metadata.image import ClusterImage, NodeImage
from logd.metadata.records import (
    MetadataRecord,
    NodeFenced,
    NodeRegistered,
    NodeRemoved,
    NodeUnfenced,
)
from logd.metadata.refusals import check_id
from logd.metadata.replay import replay
from logd.metadata.settings import MetadataSettings
from logd.metadata.voters import without_voter
from logd.model.ids import NODE_ID_MAX, DirectoryId, NodeId, format_id

_ADDRESS_CHARACTERS_MAX: Final = 300
#: So many partitions are named in a refusal; of the others the number is given.
_NAMED_MAX: Final = 5


def register(
    image: ClusterImage, settings: MetadataSettings, command: RegisterNode
) -> Outcome[NodeImage]:
    """Take a node in, fenced; a new process of a node takes the place of the one before."""
    _check_registration(image, command)
    before = image.nodes.get(command.node_id)
    node = NodeRegistered(
        command.node_id,
        command.directory_id,
        command.incarnation_id,
        command.address,
        command.rack,
        command.peer_address,
        node_epoch=image.last_node_epoch + 1,
        fenced=True,
        vote_withdrawn=before is not None and before.vote_withdrawn,
    )
    if before is not None and before == replace(
        node, node_epoch=before.node_epoch, fenced=before.fenced
    ):
        return Outcome((), before)
    return Outcome(_and_elections(image, settings, node), node)


def _check_registration(image: ClusterImage, command: RegisterNode) -> None:
    check_id(command.directory_id, "directory id")
    check_id(command.incarnation_id, "incarnation id")
    node_id = command.node_id
    if not 0 <= node_id <= NODE_ID_MAX:
        raise InvalidRequestError(f"{node_id} is not a node id")
    texts = (command.address, command.peer_address)
    if max(map(len, texts)) > _ADDRESS_CHARACTERS_MAX or len(command.rack) > 255:
        raise InvalidRequestError(f"address or rack of node {node_id} is too long")
    removed = image.removed.get(command.directory_id)
    if removed is not None:
        raise InvalidRequestError(
            f"data directory {format_id(command.directory_id)} was removed from the cluster as "
            f"that of node {removed.node_id}: it cannot come back",
            hint="start the node with an empty data folder",
        )
    before = image.nodes.get(node_id)
    if before is not None and before.directory_id != command.directory_id:
        raise InvalidRequestError(
            f"node {node_id} is registered with data directory "
            f"{format_id(before.directory_id)}, not {format_id(command.directory_id)}",
            hint="start it with the folder it had; if that is lost, run "
            f"`logd node replace {node_id}` first",
        )
    for other in image.nodes.values():
        if other.directory_id == command.directory_id and other.node_id != node_id:
            raise InvalidRequestError(
                f"data directory {format_id(command.directory_id)} is that of node "
                f"{other.node_id}, not of node {node_id}",
                hint="give the node its old node.id back, or an empty data folder",
            )


def fence(
    image: ClusterImage, settings: MetadataSettings, command: FenceNode
) -> Outcome[NodeImage]:
    """Count on a node no longer; what it led is led by others."""
    node = registered(image, command.node_id, command.incarnation_id)
    if node.fenced:
        return Outcome((), node)
    record = NodeFenced(node.node_id, node.incarnation_id)
    return Outcome(_and_elections(image, settings, record), replace(node, fenced=True))


def unfence(
    image: ClusterImage, settings: MetadataSettings, command: UnfenceNode
) -> Outcome[NodeImage]:
    """Count on a node; it leads what nobody else could. The answer may be a node still fenced."""
    node = registered(image, command.node_id, command.incarnation_id)
    if not node.fenced:
        return Outcome((), node)
    left_over, _ = some_changes(image, settings, settled)
    if left_over:
        # Where this node still counts as in sync or leading, it was another process that did.
        return Outcome(left_over, node)
    record = NodeUnfenced(node.node_id, node.incarnation_id)
    return Outcome(_and_elections(image, settings, record), replace(node, fenced=False))


def registered(image: ClusterImage, node_id: NodeId, incarnation_id: bytes) -> NodeImage:
    """Return the node; raises StaleEpochError when another process of it has registered since."""
    node = _node(image, node_id)
    if node.incarnation_id != incarnation_id:
        raise StaleEpochError(
            f"node {node_id} is registered by another process",
            hint="the node was started again since, or two of them run on copies of one folder",
        )
    return node


def _node(image: ClusterImage, node_id: NodeId) -> NodeImage:
    node = image.nodes.get(node_id)
    if node is None:
        raise InvalidRequestError(f"node {node_id} is not registered")
    return node


def _and_elections(
    image: ClusterImage, settings: MetadataSettings, record: MetadataRecord
) -> tuple[MetadataRecord, ...]:
    elections, _ = some_changes(replay(image, (record,)), settings, settled)
    return (record, *elections)


def remove(image: ClusterImage, command: RemoveNode) -> Outcome[NodeRemoval]:
    """Let a node go that holds nothing: out of the voters, then out of the cluster."""
    if _is_gone(image, command.node_id, command.directory_id):
        return Outcome((), NodeRemoval(command.node_id, done=True))
    node = _meant(image, command.node_id, command.directory_id)
    held = [
        f"{image.topic(partition.topic_id).name}-{partition.partition}"
        for partition, _ in image.partitions_of(node.node_id)
    ]
    if held:
        raise InvalidRequestError(
            f"node {node.node_id} has replicas of {_counted(held)}",
            hint=f"move them to other nodes first: `logd cluster drain {node.node_id}`; a node "
            f"whose disk is lost is not removed but replaced: `logd node replace {node.node_id}`",
        )
    return _first_without_vote(image, node) or Outcome(
        (_removed(node),), NodeRemoval(node.node_id, done=True)
    )


def replace_node(
    image: ClusterImage, settings: MetadataSettings, command: ReplaceNode
) -> Outcome[NodeRemoval]:
    """Strike out a lost directory: out of the voters, the in-sync sets, then out of the cluster."""
    if _is_gone(image, command.node_id, command.directory_id):
        return Outcome((), NodeRemoval(command.node_id, done=True))
    node = _meant(image, command.node_id, command.directory_id)
    if not node.fenced:
        raise InvalidRequestError(
            f"node {node.node_id} is in service",
            hint="only a node that is gone is replaced: stop it, and wait until it is fenced",
        )
    if not command.accept_data_loss:
        _check_not_last(image, node)
    voters_first = _first_without_vote(image, node)
    if voters_first is not None:
        return voters_first
    struck, more = some_changes(image, settings, without(node.node_id))
    if more:
        # The registration must not end before every partition knows that this copy is gone.
        return Outcome(struck, NodeRemoval(node.node_id, done=False))
    return Outcome((*struck, _removed(node)), NodeRemoval(node.node_id, done=True))


def _is_gone(image: ClusterImage, node_id: NodeId, directory_id: DirectoryId) -> bool:
    """Whether the command was carried out before."""
    if directory_id:
        removed = image.removed.get(directory_id)
        return removed is not None and removed.node_id == node_id
    was_there = any(removed.node_id == node_id for removed in image.removed.values())
    return node_id not in image.nodes and was_there


def _meant(image: ClusterImage, node_id: NodeId, directory_id: DirectoryId) -> NodeImage:
    node = _node(image, node_id)
    if directory_id and directory_id != node.directory_id:
        raise InvalidRequestError(
            f"node {node_id} is registered with data directory {format_id(node.directory_id)}, "
            f"not {format_id(directory_id)}",
            hint="see `logd cluster nodes`",
        )
    return node


def _first_without_vote(image: ClusterImage, node: NodeImage) -> Outcome[NodeRemoval] | None:
    voters = without_voter(image, node.node_id)
    return None if voters is None else Outcome((voters,), NodeRemoval(node.node_id, done=False))


def _removed(node: NodeImage) -> NodeRemoved:
    return NodeRemoved(node.node_id, node.directory_id, node.node_epoch)


def _check_not_last(image: ClusterImage, node: NodeImage) -> None:
    only_here = [
        f"{image.topic(partition.topic_id).name}-{partition.partition}"
        for partition, state in image.partitions_of(node.node_id)
        if is_last(state, node.node_id)
    ]
    if only_here:
        raise InvalidRequestError(
            f"node {node.node_id} has the only full copy of {_counted(only_here)}",
            hint="bring its folder back if you can; to go on with what is left, which loses "
            f"acknowledged records: `logd node replace {node.node_id} --accept-data-loss`",
        )


def _counted(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(names[:_NAMED_MAX])
    return shown if len(names) <= _NAMED_MAX else f"{shown} and {len(names) - _NAMED_MAX} more"
