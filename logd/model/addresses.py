"""Addresses as people write them: `host:port`, and lists of nodes, `1@host:port,2@host:port`."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from logd_wire.errors import InvalidConfigError

from logd.model.ids import NODE_ID_MAX, NodeId

_HOST: Final = re.compile(r"[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.%a-z]{2,64}\]", re.ASCII)
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
_NODE_ID: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
PEERS_MAX: Final = 100
_FORM: Final = "write id@host:port for each node, with commas between them"


class PeerAddress(NamedTuple):
    """One node and the address of its peer listener."""

    node_id: NodeId
    address: str

    def __str__(self) -> str:
        return f"{self.node_id}@{self.address}"


#: Nodes in the order in which they were written, each once.
PeerAddresses = tuple[PeerAddress, ...]


def parse_address(text: str) -> str:
    """Return `host:port`, or empty text for none; raises InvalidConfigError."""
    stripped = text.strip()
    if not stripped:
        return ""
    host, _, port = stripped.rpartition(":")
    if _HOST.fullmatch(host) is None or _PORT.fullmatch(port) is None or int(port) > 65_535:
        raise InvalidConfigError(
            f"{text[:64]!r} is not an address", hint="write host:port, IPv6 as [::1]:7171"
        )
    return stripped


def parse_peers(text: str) -> PeerAddresses:
    """Return the nodes of a list, which may be empty; raises InvalidConfigError."""
    if not text.strip():
        return ()
    peers = tuple(map(_parse_peer, text.split(",")))
    if len(peers) > PEERS_MAX:
        raise InvalidConfigError(f"{len(peers)} nodes, at most {PEERS_MAX} are taken")
    for what, named in (
        ("node", [str(peer.node_id) for peer in peers]),
        ("address", [peer.address for peer in peers]),
    ):
        twice = [name for name in named if named.count(name) > 1]
        if twice:
            raise InvalidConfigError(f"{what} {twice[0]} is named twice", hint=_FORM)
    return peers


def _parse_peer(text: str) -> PeerAddress:
    number, at, rest = text.strip().partition("@")
    if not at or _NODE_ID.fullmatch(number) is None or int(number) > NODE_ID_MAX:
        raise InvalidConfigError(f"{text.strip()[:64]!r} is not a node", hint=_FORM)
    address = parse_address(rest)
    if not address:
        raise InvalidConfigError(f"node {number} has no address", hint=_FORM)
    return PeerAddress(NodeId(int(number)), address)
