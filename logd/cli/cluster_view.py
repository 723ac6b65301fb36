"""How the cluster and its nodes are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from logd.cli.options import Format, Invocation
from logd.cli.output import emit

if TYPE_CHECKING:
    from logd_client import ClusterInfo, MemberInfo


#: What `state_of` says of nodes.
NOT_REGISTERED = "not registered"
FENCED = "fenced"
SILENT = "silent"
IN_SERVICE = "in service"


def emit_cluster(invocation: Invocation, found: ClusterInfo) -> None:
    """`logd cluster info`."""
    members = found.members
    voters = [member.id for member in members if member.voter]
    observers = [member.id for member in members if not member.voter]
    document = {
        "cluster_id": found.cluster_id,
        "controller_id": found.controller_id,
        "controller_epoch": found.controller_epoch,
        "metadata_index": found.metadata_index,
        "answered_by": found.node_id,
        "version": found.version,
        "voters": voters,
        "observers": observers,
        "nodes": [member_document(member) for member in members],
    }
    summary: list[list[object]] = [
        ["cluster", found.cluster_id],
        ["controller", found.controller_id],
        ["term", found.controller_epoch],
        ["voters", voters],
        ["observers", observers],
        ["metadata index", found.metadata_index],
        ["answered by", found.node_id],
        ["version", found.version],
    ]
    emit(
        invocation,
        document=document,
        tables=[("cluster", ["FIELD", "VALUE"], summary), ("nodes", *_table(invocation, members))],
        names=[member.address for member in members],
    )


def emit_nodes(invocation: Invocation, found: ClusterInfo) -> None:
    """`logd cluster nodes`."""
    emit(
        invocation,
        document=[member_document(member) for member in found.members],
        tables=[("nodes", *_table(invocation, found.members))],
        names=[str(member.id) for member in found.members],
    )


def member_document(member: MemberInfo) -> dict[str, Any]:
    """One node as JSON shows it."""
    return {
        "id": member.id,
        "address": member.address,
        "peer_address": member.peer_address,
        "rack": member.rack,
        "role": role_of(member),
        "voter": member.voter,
        "controller": member.controller,
        "fenced": member.fenced,
        "state": state_of(member),
        "lag": member.lag,
        "heard": member.heard,
        "directory_id": member.directory_id,
        "incarnation_id": member.incarnation_id,
    }


def role_of(member: MemberInfo) -> str:
    if member.controller:
        return "controller"
    return "voter" if member.voter else "observer"


def state_of(member: MemberInfo) -> str:
    """In one word or two: registered, counted on, heard of."""
    if not member.incarnation_id:
        return NOT_REGISTERED
    if member.fenced:
        return FENCED
    return SILENT if member.heard is False else IN_SERVICE


def _table(
    invocation: Invocation, members: tuple[MemberInfo, ...]
) -> tuple[list[str], list[list[Any]]]:
    header = ["ID", "ADDRESS", "PEER", "RACK", "ROLE", "STATE", "LAG"]
    wide = invocation.format is Format.WIDE
    if wide:
        header += ["DIRECTORY", "INCARNATION"]
    rows: list[list[Any]] = [
        [
            member.id,
            member.address or None,
            member.peer_address or None,
            member.rack or None,
            role_of(member),
            state_of(member),
            member.lag,
            member.directory_id or None,
            member.incarnation_id or None,
        ][: len(header)]
        for member in members
    ]
    return header, rows
