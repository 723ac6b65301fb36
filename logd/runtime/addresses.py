"""Where the other nodes' peer listeners are, from all that this node knows of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from logd.consensus.log_types import Voters
from logd.metadata import ClusterImage
from logd.model.addresses import PeerAddress, PeerAddresses
from logd.model.ids import NodeId


class AddressBook:
    """A node's own registration counts before its voter record, that before the configuration."""

    def __init__(
        self,
        own_id: NodeId,
        own_address: str,
        configured: PeerAddresses,
        announce: Callable[[Mapping[NodeId, str]], None] = lambda _: None,
    ) -> None:
        """`announce` is called with all addresses of others whenever one changes."""
        self._own_id = own_id
        self._own_address = own_address
        self._configured = {each.node_id: each.address for each in configured}
        self._announce = announce
        self._learned: dict[NodeId, str] = {}
        self._known: dict[NodeId, str] = {}
        self._set(dict(self._configured))

    def of(self, node_id: NodeId) -> str:
        """The address of a node; empty: unknown."""
        return self._own_address if node_id == self._own_id else self._known.get(node_id, "")

    @property
    def known(self) -> PeerAddresses:
        """All of the others that have one."""
        return tuple(PeerAddress(*each) for each in self._known.items())

    def learn(self, node_id: NodeId, address: str) -> None:
        """Take over what another node says about one of which nothing is known here."""
        if address and not self.of(node_id):
            self._learned[node_id] = address
            self._set({**self._known, node_id: address})

    def follow(self, image: ClusterImage, voters: Voters) -> None:
        """Take over what is committed, and the voters of the log, committed or not."""
        known = {**self._learned, **self._configured}
        known.update((each.node_id, each.address) for each in voters if each.address)
        registered = image.nodes.values()
        known.update((each.node_id, each.peer_address) for each in registered if each.peer_address)
        self._set(known)

    def _set(self, known: dict[NodeId, str]) -> None:
        known.pop(self._own_id, None)
        known = {node_id: address for node_id, address in known.items() if address}
        if known != self._known:
            self._known = known
            self._announce(known)
