"""How a node with an empty data directory comes to its cluster: it founds it, or finds it.

    others    lowest id of `cluster.peers`     everybody else
    ------    ----------------------------     ------------------------------
    none      founds at once                   (there is nobody else)
    silent    waits: it may be the one that    waits
              was emptied
    empty     founds, when all have answered   waits for the one with the lowest id
    a member  joins                            joins
    refuse,   fails: no time mends that        fails
    all of
    them

So two clusters never come out of one list, whoever starts first, and a node whose disk was emptied
founds none beside the one it belonged to. Joining is registering: the cluster refuses a new
directory under the id of a node that it knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

from logd_wire.errors import ConfigError, ErrorCode, LogdError

from logd.model.addresses import PeerAddress, PeerAddresses
from logd.model.ids import ClusterId, NodeId, format_id
from logd.runtime.peers import Identified, Identify, PeerTransport
from logd.runtime.ports import Clock
from logd.runtime.waiting import Waiting

#: How long one peer may take to say who it is.
IDENTIFY_TIMEOUT_MS: Final = 1_000
#: How long to wait before asking again.
RETRY_MS: Final = 200

#: Errors that mean: not now. Anything else is for an operator.
_LATER: Final = frozenset(
    {
        ErrorCode.NETWORK,
        ErrorCode.TIMEOUT,
        ErrorCode.NOT_CONTROLLER,
        ErrorCode.SHUTTING_DOWN,
        ErrorCode.OUTCOME_UNKNOWN,
        ErrorCode.OVERLOADED,
        ErrorCode.REQUEST_TIMED_OUT,
    }
)


def may_pass(error: LogdError) -> bool:
    """Whether to try again: nobody refused, the cluster only was not there."""
    return error.retriable or error.code in _LATER


class Formation:
    """The peers of a node that is starting, as it is told of them."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        peers: PeerAddresses,
        transport: PeerTransport,
        clock: Clock,
        waiting: Waiting,
    ) -> None:
        self._node_id = node_id
        self._others: PeerAddresses = tuple(each for each in peers if each.node_id != node_id)
        self._founds = all(node_id < each.node_id for each in self._others)
        self._transport = transport
        self._clock = clock
        self._waiting = waiting
        #: Who answered last that nothing will come of it.
        self._refusals: dict[NodeId, LogdError] = {}

    async def find_cluster(self, configured: bytes) -> ClusterId | None:
        """Return the cluster to join; None: found one. Waits as long as it takes.

        `configured` is `cluster.id`, or empty. Raises ConfigError when the peers contradict each
        other or the configuration, or all of them refuse.
        """
        while True:
            answers = await self._ask(self._others)
            clusters = {answer.identity.cluster_id for answer in answers} - {None}
            cluster_id = _only(clusters, configured)
            if cluster_id is not None or (self._founds and len(answers) == len(self._others)):
                self._waiting.over()
                return cluster_id
            self._check_refusals()
            self._tell({answer.identity.node_id for answer in answers})
            await self._clock.sleep_ms(RETRY_MS)

    def _check_refusals(self) -> None:
        """Raise ConfigError when every peer answers that nothing will come of it."""
        if not self._others or len(self._refusals) < len(self._others):
            return
        said = "; ".join(
            f"node {each} says: {self._refusals[each.node_id].message}" for each in self._others
        )
        raise ConfigError(
            f"no peer takes this node in: {said}",
            hint="name the peer listeners (listeners.peer) of nodes with the same version in "
            "cluster.peers",
        )

    def _tell(self, heard: Collection[NodeId]) -> None:
        """Say who is waited for: those that are silent, those that refuse, or the founder."""
        silent = [
            each
            for each in self._others
            if each.node_id not in heard and each.node_id not in self._refusals
        ]
        why = [f"no answer from: {', '.join(map(str, silent))}"] if silent else []
        why += [f"node {node_id} refuses" for node_id in sorted(self._refusals)]
        remedy = (
            "start these nodes, or correct their addresses in cluster.peers; if they have all left "
            "the cluster, name nodes there that are in it"
        )
        if not why:
            founder = min(each.node_id for each in self._others)
            why = [f"all are empty, and node {founder}, which has the lowest id, has founded none"]
            remedy = f"see the log of node {founder}, and give every node the same cluster.peers"
        self._waiting(
            f"waiting to form or to find a cluster; {'; '.join(why)}",
            remedy=remedy,
            detail="; ".join(f"{node}: {why}" for node, why in sorted(self._refusals.items())),
        )

    async def check_cluster(self, own: ClusterId) -> None:
        """Raise ConfigError when a peer that answers belongs to another cluster than this node."""
        for answer in await self._ask(self._others):
            theirs = answer.identity.cluster_id
            if theirs not in (None, own):
                raise ConfigError(
                    f"this node belongs to cluster {format_id(own)}, node "
                    f"{answer.identity.node_id} to {format_id(theirs or own)}",
                    hint="correct cluster.peers, or use another data directory",
                )

    async def _ask(self, peers: Sequence[tuple[NodeId, str]]) -> list[Identified]:
        """Ask all of them who they are; those that do not answer are left out."""
        found = await asyncio.gather(*(self._identify(*peer) for peer in peers))
        return [answer for answer in found if answer is not None]

    async def _identify(self, node_id: NodeId, address: str) -> Identified | None:
        answer = await self._answer(node_id, address)
        if answer is not None and answer.identity.node_id != node_id:
            raise ConfigError(
                f"at {address} there is node {answer.identity.node_id}, and cluster.peers says that"
                f" it is node {node_id}",
                hint="correct cluster.peers, the same on every node",
            )
        return answer

    async def _answer(self, node_id: NodeId, address: str) -> Identified | None:
        try:
            answer = await self._transport.call(address, Identify(), timeout_ms=IDENTIFY_TIMEOUT_MS)
        except LogdError as error:
            # What is no peer listener at all will not become one.
            is_network = error.code is ErrorCode.NETWORK
            if error.retriable or (may_pass(error) and not is_network):
                self._refusals.pop(node_id, None)
            else:
                self._refusals[node_id] = error
            return None
        assert isinstance(answer, Identified), "the transport matches answers to calls"
        self._refusals.pop(node_id, None)
        return answer

    async def find_leader(
        self, own: ClusterId, learned: Sequence[PeerAddress] = ()
    ) -> Identified | None:
        """Return what the node says that knows the newest leader, and its address; None: nobody.

        `learned`: where others of the cluster `own` were when this node last knew; those of the
        configuration may all be gone. One that says that this node leads knows less than this node,
        which has only begun.
        """
        others = [each for each in learned if each not in self._others]
        asked = await self._ask(self._others)
        asked += [
            answer
            for answer in await asyncio.gather(*(self._answer(*each) for each in others))
            if answer is not None and answer.identity.cluster_id == own
        ]
        answers = [
            answer
            for answer in asked
            if answer.leader_address and answer.leader_id != self._node_id
        ]
        return max(answers, key=lambda answer: (answer.term, answer.leader_address), default=None)


def _only(clusters: set[ClusterId | None], configured: bytes) -> ClusterId | None:
    """The one cluster that was named. ConfigError: there are several, or another is configured."""
    names = sorted(format_id(each) for each in clusters if each is not None)
    if len(names) > 1:
        raise ConfigError(
            f"the peers belong to different clusters: {', '.join(names)}",
            hint="correct cluster.peers",
        )
    for cluster_id in clusters:
        if configured and cluster_id != configured:
            raise ConfigError(
                f"the peers belong to cluster {names[0]}, configured is "
                f"{format_id(ClusterId(configured))}",
                hint="correct cluster.id or cluster.peers",
            )
        return cluster_id
    return None
