"""What the leader of the metadata log does by itself: fence and unfence nodes, make voters.

One loop on every node; it works where the node leads, on what is committed. Everything it decides
goes through the metadata machine as a command, and all of them may be given again: whatever fails
is simply still due at the next look.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final

from logd_wire.errors import ErrorCode, LogdError, NotLeaderError

from logd.metadata import (
    AddVoter,
    BalanceLeaders,
    ClusterImage,
    Command,
    ElectLeaders,
    NodeImage,
    NodeSessions,
    PartitionChanges,
    SessionTiming,
    UnfenceNode,
    UpdateVoter,
)
from logd.metadata.voters import stale_voters
from logd.model.ids import LogIndex, NodeId, Term
from logd.runtime.consensus_driver import ConsensusDriver
from logd.runtime.metadata_driver import MetadataDriver
from logd.runtime.peers import NodeHeartbeat, Submitted
from logd.runtime.ports import Clock, Spawn
from logd.runtime.signal import Signal, wait_until

_logger = logging.getLogger("logd.controller")

#: When something due could not be decided, and how long a decision may take.
RETRY_MS: Final = 250
DECIDE_TIMEOUT_MS: Final = 10_000
#: How often partitions are given back to their preferred leaders.
BALANCE_MS: Final = 300_000
#: A node whose log is so many entries behind may become a voter: it holds up no commit for long.
BEHIND_MAX: Final = 64


class Controller:
    """`heartbeat` answers where this node leads; the rest goes on in the background."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        incarnation_id: bytes,
        voter_ids: Collection[NodeId],
        timing: SessionTiming,
        consensus: ConsensusDriver,
        metadata: MetadataDriver,
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        """`voter_ids`: nodes that are to vote as soon as they have caught up."""
        self._node_id = node_id
        self._incarnation_id = incarnation_id
        self._voter_ids = frozenset(voter_ids)
        self._timing = timing
        self._consensus = consensus
        self._metadata = metadata
        self._clock = clock
        self._spawn = spawn
        self._news = Signal()
        self._sessions: NodeSessions | None = None
        self._led_term = Term(-1)
        #: Nodes that are being unfenced. A dict keeps the order.
        self._unfencing: dict[NodeId, None] = {}
        #: The nodes when partitions were settled last.
        self._settled_nodes: dict[NodeId, NodeImage] = {}
        self._balance_ms = 0
        self._may_serve = False

    def may_serve(self) -> None:
        """This node itself is ready to be counted on; others say so by their heartbeats."""
        self._may_serve = True
        self._news.set()

    def start(self) -> None:
        """Begin to look after the cluster, wherever this node leads it."""
        self._spawn(self._run(), "controller")

    def on_image(self, image: ClusterImage, index: LogIndex) -> None:
        """Something was committed."""
        if self._sessions is not None:
            self._sessions.follow(image, index, self._clock.monotonic_ms())
        self._news.set()

    def on_role(self) -> None:
        """This node's part in the quorum changed."""
        self._news.set()

    async def confirmed_heartbeat(self, call: NodeHeartbeat, *, timeout_ms: int) -> bool:
        """As `heartbeat`, once it is sure that nobody else leads by now.

        A leader that does not know yet that it is none would lengthen sessions that the next one
        has ended. Raises OutcomeUnknownError beside what `heartbeat` raises.
        """
        arrived_ms = self._clock.monotonic_ms()
        # A node in service has time until its next heartbeat; one that comes back is waited for.
        is_alive = self._sessions is not None and self._sessions.is_alive(call.node_id)
        patience_ms = self._timing.heartbeat_ms if is_alive else 0
        await self._consensus.read_barrier(timeout_ms=timeout_ms, patience_ms=patience_ms)
        return self.heartbeat(call, arrived_ms)

    def heartbeat(self, call: NodeHeartbeat, arrived_ms: int | None = None) -> bool:
        """Take in a heartbeat that arrived now or before; returns whether the node is fenced.

        Raises NotLeaderError here, InvalidRequestError from a node that is not registered so.
        """
        now_ms = self._clock.monotonic_ms()
        answer = self._lead(now_ms).heartbeat(
            call.node_id,
            call.incarnation_id,
            call.applied_index,
            now_ms if arrived_ms is None else arrived_ms,
        )
        if answer.unfence is not None and call.node_id not in self._unfencing:
            self._unfencing[call.node_id] = None
            self._spawn(self._unfence(answer.unfence), f"unfence {call.node_id}")
        return answer.fenced

    def _lead(self, now_ms: int) -> NodeSessions:
        """The sessions of this leadership. Raises NotLeaderError."""
        consensus = self._consensus
        if not consensus.leads:
            self._sessions = None
            raise NotLeaderError(
                f"node {self._node_id} does not lead the metadata log",
                hint="try again in a moment",
                code=ErrorCode.NOT_CONTROLLER,
            )
        if self._sessions is None or self._led_term != consensus.term:
            self._led_term = consensus.term
            self._settled_nodes = {}
            self._balance_ms = now_ms + BALANCE_MS
            image, index = self._metadata.image, consensus.applied_index
            self._sessions = NodeSessions(self._timing, image, index, now_ms)
        return self._sessions

    async def _unfence(self, command: UnfenceNode) -> None:
        try:
            await self._decide(command)
        except LogdError as error:
            # It asks again with its next heartbeat.
            _logger.info("node %d is not unfenced yet: %s", command.node_id, error)
        finally:
            del self._unfencing[command.node_id]

    # --- the loop ----------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            news = self._news.next
            deadline_ms: int | None = None
            if self._consensus.leads and self._metadata.image.cluster_id is not None:
                try:
                    deadline_ms = await self._look_after()
                except LogdError as error:
                    _logger.info("not decided, trying again: %s", error)
                    deadline_ms = self._clock.monotonic_ms() + RETRY_MS
            await wait_until(news, deadline_ms, self._clock)

    async def _look_after(self) -> int | None:
        """Decide what is due; returns when to look again."""
        now_ms = self._clock.monotonic_ms()
        sessions = self._lead(now_ms)
        own = self._metadata.image.nodes.get(self._node_id)
        ours = own is not None and own.incarnation_id == self._incarnation_id
        if own is not None and ours and self._may_serve:
            # A leader is in touch with itself.
            index = self._consensus.applied_index
            self.heartbeat(NodeHeartbeat(own.node_id, own.incarnation_id, index))
        for fence in sessions.due(now_ms):
            _logger.warning("node %d is fenced: it was not heard of in time", fence.node_id)
            await self._decide(fence)
        await self._settle_partitions(now_ms)
        change = self._voter_change()
        if change is not None:
            await self._decide(change)
            _logger.info("voters of the metadata log: %s", _names(self._metadata.image))
        return self._next_look_ms(sessions)

    def _next_look_ms(self, sessions: NodeSessions) -> int | None:
        if len(self._metadata.image.nodes) < 2:
            # Nobody to look after but itself.
            return None
        soon_ms = self._clock.monotonic_ms() + self._timing.heartbeat_ms
        deadline_ms = sessions.next_deadline_ms()
        return soon_ms if deadline_ms is None else min(deadline_ms, soon_ms)

    async def _settle_partitions(self, now_ms: int) -> None:
        """Elect what fencing left over, and now and then give leadership back."""
        nodes = dict(self._metadata.image.nodes)
        if nodes != self._settled_nodes:
            await self._until_done(ElectLeaders())
            self._settled_nodes = nodes
        if now_ms >= self._balance_ms and len(nodes) > 1:
            self._balance_ms = now_ms + BALANCE_MS
            await self._until_done(BalanceLeaders())

    async def _until_done(self, command: Command) -> None:
        more = True
        while more:
            reply = (await self._decide(command)).reply
            assert isinstance(reply, PartitionChanges), "as the command asks for it"
            more = reply.more

    def _voter_change(self) -> Command | None:
        """The next change of the voter set: moved addresses, then the founder, then who is to
        vote and has caught up."""
        image = self._metadata.image
        for node_id in stale_voters(image):
            return UpdateVoter(node_id)
        if not image.voters:
            others = len(image.nodes) > 1 and self._node_id in image.nodes
            return AddVoter(self._node_id) if others else None
        candidates = [
            node
            for node in image.nodes.values()
            if node.node_id in self._voter_ids and image.voter(node.node_id) is None
        ]
        ready = (node.node_id for node in candidates if self._may_vote(node))
        return next(map(AddVoter, ready), None)

    def _may_vote(self, node: NodeImage) -> bool:
        # Whoever took a vote away meant it: only an operator gives it back.
        if node.fenced or not node.peer_address or node.vote_withdrawn:
            return False
        status = self._consensus.status()
        return any(
            each.node_id == node.node_id
            and each.active
            and each.match_index + BEHIND_MAX >= status.commit_index
            for each in status.progress
        )

    async def _decide(self, command: Command) -> Submitted:
        return await self._metadata.decide(command, timeout_ms=DECIDE_TIMEOUT_MS)


def _names(image: ClusterImage) -> str:
    return ", ".join(str(voter.node_id) for voter in image.voters)
