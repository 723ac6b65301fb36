"""Values that messages between nodes are made of, to protobuf and, with every check, back.

What does not pass a check is an InvalidRequestError that names the field.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final, NoReturn

from logd_proto.v1 import peer_pb2 as pb
from logd_wire.errors import ErrorCode, InvalidRequestError, LogdError

from logd.consensus.log_types import LogPoint, SnapshotMeta, Voter, Voters
from logd.model.ids import (
    ID_BYTES,
    NO_NODE,
    NODE_ID_MAX,
    ClusterId,
    DirectoryId,
    LogIndex,
    NodeId,
    Term,
)
from logd.rpc.checks import INT64_MAX, check_range
from logd.runtime.peers import PeerIdentity

#: Version of the service that this software speaks.
PEER_PROTOCOL_VERSION: Final = 1
VOTERS_MAX: Final = 100
#: A host name has at most 253, an address of IPv6 with its brackets and port fewer.
ADDRESS_CHARACTERS_MAX: Final = 300


def malformed(what: str) -> NoReturn:
    """Refuse a message that no node sends."""
    raise InvalidRequestError(
        f"a message between nodes is malformed: {what}",
        hint="check that what connects is a node of this cluster, of the same version",
    )


def number(what: str, value: int, *, minimum: int = 0, maximum: int = INT64_MAX) -> int:
    """Return a number, which is from `minimum` to `maximum`, both allowed."""
    check_range(what, value, minimum, maximum)
    return value


def term(value: int) -> Term:
    return Term(number("term", value))


def index(what: str, value: int) -> LogIndex:
    return LogIndex(number(what, value))


def node_id(value: int, *, what: str = "node_id", or_none: bool = False) -> NodeId:
    """Return a node id; `or_none`: NO_NODE is one."""
    return NodeId(number(what, value, minimum=NO_NODE if or_none else 0, maximum=NODE_ID_MAX))


def id_bytes(what: str, value: bytes) -> bytes:
    """Return an id of 16 bytes."""
    if len(value) != ID_BYTES:
        malformed(f"{what} has {len(value)} bytes instead of {ID_BYTES}")
    return value


def address(value: str, *, what: str = "address") -> str:
    """Return an address as it may be shown and connected to; it may be empty."""
    if len(value) > ADDRESS_CHARACTERS_MAX or not value.isprintable() or not value.isascii():
        malformed(f"{what} {value[:64]!a} is none")
    return value


def count_at_most(what: str, count: int, maximum: int) -> None:
    if count > maximum:
        malformed(f"{count} {what}, at most {maximum} are taken")


# --- who speaks -----------------------------------------------------------------------------------


def encode_sender(identity: PeerIdentity) -> pb.PeerSender:
    return pb.PeerSender(
        cluster_id=identity.cluster_id or b"",
        node_id=identity.node_id,
        directory_id=identity.directory_id,
        protocol_version=PEER_PROTOCOL_VERSION,
    )


def decode_sender(message: pb.PeerSender) -> PeerIdentity:
    """Return who speaks; raises LogdError (UNSUPPORTED_VERSION) for another version too."""
    if message.protocol_version != PEER_PROTOCOL_VERSION:
        raise LogdError(
            f"the other node speaks version {message.protocol_version} of the peer protocol, this "
            f"one {PEER_PROTOCOL_VERSION}",
            code=ErrorCode.UNSUPPORTED_VERSION,
            hint="run versions of logd on all nodes that fit together",
        )
    cluster_id = message.cluster_id
    return PeerIdentity(
        ClusterId(id_bytes("cluster_id", cluster_id)) if cluster_id else None,
        node_id(message.node_id),
        DirectoryId(id_bytes("directory_id", message.directory_id)),
    )


# --- the log --------------------------------------------------------------------------------------


def encode_point(point: LogPoint) -> pb.RaftPoint:
    return pb.RaftPoint(term=point.term, index=point.index)


def decode_point(message: pb.RaftPoint) -> LogPoint:
    return LogPoint(term(message.term), index("index", message.index))


def encode_voter(voter: Voter) -> pb.RaftVoter:
    return pb.RaftVoter(
        node_id=voter.node_id, directory_id=voter.directory_id, address=voter.address
    )


def decode_voters(messages: Iterable[pb.RaftVoter]) -> Voters:
    """Return a voter set: sorted by node id, each once."""
    voters = tuple(
        Voter(
            node_id(each.node_id),
            DirectoryId(id_bytes("directory_id", each.directory_id)),
            address(each.address),
        )
        for each in messages
    )
    count_at_most("voters", len(voters), VOTERS_MAX)
    ids = [voter.node_id for voter in voters]
    if any(before >= after for before, after in pairwise(ids)):
        malformed("voters that are not in the order of their ids")
    return voters


def encode_snapshot(snapshot: SnapshotMeta) -> pb.RaftSnapshot:
    return pb.RaftSnapshot(
        point=encode_point(snapshot.point), voters=map(encode_voter, snapshot.voters)
    )


def decode_snapshot(message: pb.RaftSnapshot) -> SnapshotMeta:
    return SnapshotMeta(decode_point(message.point), decode_voters(message.voters))
