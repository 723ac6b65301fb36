"""How a node with an empty data directory comes to its cluster: it founds it, or finds it.

    others    lowest id of `cluster.peers`     everybody else
    ------    ----------------------------     ------------------------------
    none      founds at once                   (there is nobody else)
    silent    waits: it may be the one that    waits
              was emptied
    empty     founds, when all have answered   waits for the one with the lowest id
    a member  joins                            joins

So two clusters never come out of one list, whoever starts first, and a node whose disk was emptied
founds none beside the one it belonged to. Joining is registering: the cluster refuses a new
directory under the id of a node that it knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from logd_wire.errors import ConfigError, ErrorCode, LogdError

from logd.model.addresses import PeerAddress, PeerAddresses
from logd.model.ids import ClusterId, NodeId, format_id
from logd.runtime.peers import Identified, Identify, PeerTransport
from logd.runtime.ports import Clock

_logger = logging.getLogger("logd.node")

#: How long one peer may take to say who it is.
IDENTIFY_TIMEOUT_MS: Final = 1_000
#: How long to wait before asking again.
RETRY_MS: Final = 200
#: How often to say in the log what is being waited for.
TELL_MS: Final = 10_000

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


class Reminder:
    """Says now and then what a start is waiting for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next_ms = clock.monotonic_ms() + RETRY_MS * 5

    def __call__(self, text: str, *values: object) -> None:
        now_ms = self._clock.monotonic_ms()
        if now_ms >= self._next_ms:
            self._next_ms = now_ms + TELL_MS
            _logger.warning(text, *values)


class Formation:
    """The peers of a node that is starting, as it is told of them."""

    def __init__(
        self, *, node_id: NodeId, peers: PeerAddresses, transport: PeerTransport, clock: Clock
    ) -> None:
        self._node_id = node_id
        self._others: PeerAddresses = tuple(each for each in peers if each.node_id != node_id)
        self._founds = all(node_id < each.node_id for each in self._others)
        self._transport = transport
        self._clock = clock

    async def find_cluster(self, configured: bytes) -> ClusterId | None:
        """Return the cluster to join; None: found one. Waits as long as it takes.

        `configured` is `cluster.id`, or empty. Raises ConfigError when the peers contradict each
        other or the configuration.
        """
        remind = Reminder(self._clock)
        while True:
            answers = await self._ask(self._others)
            clusters = {answer.identity.cluster_id for answer in answers} - {None}
            cluster_id = _only(clusters, configured)
            if cluster_id is not None:
                return cluster_id
            if self._founds and len(answers) == len(self._others):
                return None
            heard = {answer.identity.node_id for answer in answers}
            silent = [str(each) for each in self._others if each.node_id not in heard]
            remind(
                "waiting to form or to find a cluster; no answer from: %s. If "
                "those have all left the cluster, name nodes that are in it in cluster.peers",
                ", ".join(silent) or "nobody, and the node with the lowest id founds it",
            )
            await self._clock.sleep_ms(RETRY_MS)

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
            if not may_pass(error):
                _logger.warning("node %d at %s: %s", node_id, address, error)
            return None
        assert isinstance(answer, Identified), "the transport matches answers to calls"
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
