"""This node's session with the controller: heartbeats, and whether the node may serve.

A node that leads the metadata log alone answers itself, without a clock: there is nobody who could
fence it. Everybody else has to be answered again and again, and stops by itself when it is not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from logd_wire.errors import ErrorCode, LogdError, NotLeaderError

from logd.metadata import ClusterImage, NodeSession, SessionTiming
from logd.model.ids import NodeId
from logd.runtime.consensus_driver import ConsensusDriver
from logd.runtime.controller import Controller
from logd.runtime.peers import NodeHeartbeat, NodeHeartbeatAnswer, PeerTransport
from logd.runtime.ports import Clock, Spawn
from logd.runtime.signal import Signal, wait_until

_logger = logging.getLogger("logd.node")

#: Heartbeats that wait for an answer at one time.
UNANSWERED_MAX: Final = 4


class SessionKeeper:
    """`serving` says whether the controller counts on this process of the node."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        incarnation_id: bytes,
        timing: SessionTiming,
        image: Callable[[], ClusterImage],
        consensus: ConsensusDriver,
        controller: Controller,
        transport: PeerTransport | None,
        leader_address: Callable[[], str],
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        self._node_id = node_id
        self._incarnation_id = incarnation_id
        self._timing = timing
        self._image = image
        self._consensus = consensus
        self._controller = controller
        self._transport = transport
        self._leader_address = leader_address
        self._clock = clock
        self._spawn = spawn
        self._session = NodeSession(timing, clock.monotonic_ms())
        self._news = Signal()
        self._changed = Signal()
        self._was_serving = False
        self._started = False
        self._unanswered = 0
        self._answered = Signal()
        self._leaving = False
        self._told = ""

    @property
    def serving(self) -> bool:
        """Whether the node may lead partitions and acknowledge."""
        if self._is_alone:
            node = self._image().nodes.get(self._node_id)
            ours = node is not None and node.incarnation_id == self._incarnation_id
            return ours and node is not None and not node.fenced
        self._session.tick(self._clock.monotonic_ms())
        return not self._session.fenced

    @property
    def _is_alone(self) -> bool:
        return self._consensus.leads and len(self._image().nodes) < 2

    def start(self) -> None:
        """Begin to send heartbeats; the node is registered."""
        self._started = True
        self._spawn(self._run(), "session")

    async def wait_serving(self) -> None:
        """Wait until the controller counts on this node."""
        while not self.serving:
            await self._changed.next.wait()

    async def leave(self) -> None:
        """Send no more heartbeats; returns once those under way have come to their end: a late one
        would bring a fenced node back into service."""
        self._leaving = True
        self._news.set()
        while self._unanswered:
            await self._answered.next.wait()

    def on_change(self) -> None:
        """The image or the node's part in the quorum changed; the controller was told before."""
        if self._leaving:
            return
        if self._started and self._consensus.leads and self._consensus.is_sole_voter:
            # At once: with a second node the session begins to count, and must not be over.
            self._beat(self._clock.monotonic_ms())
        self._news.set()
        self._tell()

    async def _run(self) -> None:
        while not self._leaving:
            news = self._news.next
            now_ms = self._clock.monotonic_ms()
            self._session.tick(now_ms)
            if self._is_alone or self._session.heartbeat_due(now_ms):
                self._beat(now_ms)
            self._tell()
            deadline_ms = None if self._is_alone else self._session.next_deadline_ms()
            await wait_until(news, deadline_ms, self._clock)

    def _beat(self, now_ms: int) -> None:
        """Send one heartbeat, to this node itself where it leads."""
        index = self._consensus.applied_index
        call = NodeHeartbeat(self._node_id, self._incarnation_id, index)
        number = self._session.begin_heartbeat(now_ms)
        if self._consensus.leads and self._consensus.is_sole_voter:
            # Nobody else can lead: what it says is so at once.
            try:
                self._session.on_answer(number, self._controller.heartbeat(call), now_ms)
            except LogdError as error:
                self._refused(error)
        elif self._unanswered < UNANSWERED_MAX:
            self._unanswered += 1
            self._spawn(self._ask(call, number), "heartbeat")

    async def _ask(self, call: NodeHeartbeat, number: int) -> None:
        try:
            fenced = await self._answer(call)
        except LogdError as error:
            self._refused(error)
        else:
            self._session.on_answer(number, fenced, self._clock.monotonic_ms())
            self._tell()
            self._news.set()
        finally:
            self._unanswered -= 1
            self._answered.set()

    async def _answer(self, call: NodeHeartbeat) -> bool:
        """What the controller says, here or elsewhere: whether this node is fenced."""
        timeout_ms = self._timing.session_ms
        if self._consensus.leads:
            return await self._controller.confirmed_heartbeat(call, timeout_ms=timeout_ms)
        address = self._leader_address()
        if not address or self._transport is None:
            raise NotLeaderError("no controller is known", code=ErrorCode.NOT_CONTROLLER)
        answer = await self._transport.call(address, call, timeout_ms=timeout_ms)
        assert isinstance(answer, NodeHeartbeatAnswer), "the transport matches answers to calls"
        return answer.fenced

    def _refused(self, error: LogdError) -> None:
        """Say once why the controller does not count on this node."""
        if error.message != self._told:
            self._told = error.message
            _logger.info("the controller did not take the heartbeat: %s", error)

    def _tell(self) -> None:
        serving = self.serving
        if serving == self._was_serving:
            return
        self._was_serving = serving
        if serving:
            self._told = ""
            _logger.info("node %d is in service", self._node_id)
        else:
            _logger.warning("node %d is out of service: the controller is silent", self._node_id)
        self._changed.set()
