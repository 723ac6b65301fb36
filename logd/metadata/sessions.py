"""Who is alive: the sessions of the nodes with the leader of the metadata log, from both ends.

The leader's end, `NodeSessions`, is volatile: whoever becomes leader makes a new one. Its truth is
the committed image; it only says which command is due.

    WAITING   the node is fenced. A heartbeat of its process that has followed the log as far as it
              was committed when the session began asks for `UnfenceNode`, again with each
              heartbeat until the image says so.
    ALIVE     the node is not fenced, and has until its deadline for the next heartbeat.
    EXPIRED   the deadline has passed: `FenceNode` is due, again after each heartbeat interval
              until the image says so. A heartbeat before that makes it ALIVE again.

    new leader                   every node not fenced: ALIVE, with a full session from now on
    image: another registration  WAITING
    image: fenced / unfenced     WAITING / ALIVE, with a full session from now on

A node's own end, `NodeSession`, lives as long as its process:

    FENCED    it serves nothing. From the start, from an answer that says so, and from the time
              when the session is over: counted from when the last answered heartbeat was *sent*.
    SERVING   an answer said that the node is counted on.

The leader counts from when a heartbeat *arrived*. So a node stops by itself before the leader that
answered it gives its partitions to others.
"""

from __future__ import annotations

from dataclasses import dataclass

from logd_wire.errors import InvalidRequestError

from logd.metadata.commands import FenceNode, UnfenceNode
from logd.metadata.image import ClusterImage, NodeImage
from logd.metadata.nodes import registered
from logd.model.ids import LogIndex, NodeId


@dataclass(frozen=True, slots=True)
class SessionTiming:
    """The same on every node of a cluster."""

    heartbeat_ms: int = 250
    session_ms: int = 1_500
    #: A node that waits to be counted on asks more often.
    fenced_heartbeat_ms: int = 50

    def __post_init__(self) -> None:
        if not 0 < self.fenced_heartbeat_ms <= self.heartbeat_ms <= self.session_ms // 2:
            raise InvalidRequestError(
                f"a session of {self.session_ms} ms is too short for a heartbeat every "
                f"{self.heartbeat_ms} ms",
                hint="a session has room for two heartbeats at least",
            )


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What to answer, and what to decide on: answered at once, the decision is not waited for."""

    fenced: bool
    unfence: UnfenceNode | None = None


@dataclass(slots=True)
class _Session:
    incarnation_id: bytes
    #: How far the node has to follow the log before it is counted on; end index.
    target_index: LogIndex
    #: None: WAITING.
    deadline_ms: int | None
    #: Its time was over, and the image does not say so yet.
    is_over: bool = False


class NodeSessions:
    """The leader's end. `image` and `end_index` are always the committed ones."""

    def __init__(
        self, timing: SessionTiming, image: ClusterImage, end_index: LogIndex, now_ms: int
    ) -> None:
        self._timing = timing
        self._image = image
        self._sessions: dict[NodeId, _Session] = {}
        self.follow(image, end_index, now_ms)

    def follow(self, image: ClusterImage, end_index: LogIndex, now_ms: int) -> None:
        """Take over what was committed; `end_index` is where the log is applied to."""
        before, self._image = self._image.nodes, image
        sessions: dict[NodeId, _Session] = {}
        for node_id, node in image.nodes.items():
            session = self._sessions.get(node_id)
            if session is None or session.incarnation_id != node.incarnation_id:
                session = _Session(node.incarnation_id, end_index, self._deadline(node, now_ms))
            elif before[node_id].fenced != node.fenced:
                session.deadline_ms = self._deadline(node, now_ms)
                session.is_over = False
                if node.fenced:
                    # It must know what it lost before it serves again: it may still believe that it
                    # leads.
                    session.target_index = end_index
            sessions[node_id] = session
        self._sessions = sessions

    def _deadline(self, node: NodeImage, now_ms: int) -> int | None:
        return None if node.fenced else now_ms + self._timing.session_ms

    def heartbeat(
        self, node_id: NodeId, incarnation_id: bytes, applied_index: LogIndex, now_ms: int
    ) -> Heartbeat:
        """Take in a heartbeat that arrived at `now_ms`.

        Raises InvalidRequestError (retriable) from a node that is not registered, as far as is
        committed, and StaleEpochError when another process of it is.
        """
        if node_id not in self._image.nodes:
            raise InvalidRequestError(
                f"node {node_id} is not registered", hint="register first", retriable=True
            )
        node = registered(self._image, node_id, incarnation_id)
        session = self._sessions[node_id]
        if session.is_over:
            # The fence is on its way; an answer now must not let the node serve when it comes.
            return Heartbeat(fenced=True)
        if not node.fenced:
            assert session.deadline_ms is not None, "as the image says, it is alive"
            session.deadline_ms = max(session.deadline_ms, now_ms + self._timing.session_ms)
            return Heartbeat(fenced=False)
        if applied_index < session.target_index:
            return Heartbeat(fenced=True)
        return Heartbeat(fenced=True, unfence=UnfenceNode(node_id, incarnation_id))

    def is_alive(self, node_id: NodeId) -> bool:
        """Whether the node is counted on, and no fence is due."""
        session = self._sessions.get(node_id)
        return session is not None and session.deadline_ms is not None and not session.is_over

    def due(self, now_ms: int) -> tuple[FenceNode, ...]:
        """Return the nodes whose time is over; each is due again until the image says so."""
        due = []
        for node_id, session in self._sessions.items():
            if session.deadline_ms is not None and now_ms >= session.deadline_ms:
                session.deadline_ms = now_ms + self._timing.heartbeat_ms
                session.is_over = True
                due.append(FenceNode(node_id, session.incarnation_id))
        return tuple(due)

    def next_deadline_ms(self) -> int | None:
        """When to ask `due` next; None: not before something else happens."""
        deadlines = (session.deadline_ms for session in self._sessions.values())
        return min((at for at in deadlines if at is not None), default=None)


class NodeSession:
    """A node's own end: when to send heartbeats, and whether to serve."""

    def __init__(self, timing: SessionTiming, now_ms: int) -> None:
        self._timing = timing
        self._fenced = True
        #: When the newest answered heartbeat was sent.
        self._answered_ms = now_ms
        self._sent_last_ms: int | None = None
        self._begun_ms = now_ms
        self._sequence = 0
        self._answered_sequence = 0
        self._sent_ms: dict[int, int] = {}

    @property
    def fenced(self) -> bool:
        """Whether the node must lead nothing and acknowledge nothing."""
        return self._fenced

    def begin_heartbeat(self, now_ms: int) -> int:
        """Note that a heartbeat is sent now; return its number, for `on_answer`."""
        self._sequence += 1
        self._sent_last_ms = now_ms
        oldest = now_ms - self._timing.session_ms
        # What was sent longer ago than a session is not waited for.
        self._sent_ms = {number: at for number, at in self._sent_ms.items() if at > oldest}
        self._sent_ms[self._sequence] = now_ms
        return self._sequence

    def on_answer(self, number: int, fenced: bool, now_ms: int) -> None:
        """Take in the answer to a heartbeat.

        One that was overtaken by a newer one counts for nothing, and one that was sent longer ago
        than a session does not let the node serve.
        """
        sent_ms = self._sent_ms.pop(number, None)
        if sent_ms is None or number <= self._answered_sequence:
            return
        self._answered_sequence = number
        self._answered_ms = sent_ms
        self._fenced = fenced or now_ms >= self._expires_ms

    def tick(self, now_ms: int) -> None:
        """Time has come to `now_ms`: the node fences itself when its session is over."""
        if now_ms >= self._expires_ms:
            self._fenced = True

    def heartbeat_due(self, now_ms: int) -> bool:
        """Whether to send one."""
        return now_ms >= self._next_heartbeat_ms

    def next_deadline_ms(self) -> int:
        """When to look again: a heartbeat is due, or the session is over."""
        if self._fenced:
            return self._next_heartbeat_ms
        return min(self._next_heartbeat_ms, self._expires_ms)

    @property
    def _expires_ms(self) -> int:
        return self._answered_ms + self._timing.session_ms

    @property
    def _next_heartbeat_ms(self) -> int:
        if self._sent_last_ms is None:
            return self._begun_ms
        timing = self._timing
        interval = timing.fenced_heartbeat_ms if self._fenced else timing.heartbeat_ms
        return self._sent_last_ms + interval
