"""Three replicas of a partition, a controller and a network: what the model is played with.

The controller elects by the rules of `logd.metadata.elections`. Positions may be delivered late,
twice, in any order or never; what comes with a stream comes once, or not at all. Proposals may be
taken at any time, and twice. A crash keeps what was durable, and any part of what was only written.

A record puts one of a few keys, or deletes it. Any node may compact what is committed in its log:
that takes older records of a key away, and deletes that every replica has. A disk may be rolled
back, as far as its replica is not among those that may lead.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from logd.metadata.elections import Situation, settled, with_isr
from logd.metadata.records import PartitionImage
from logd.model.ids import NO_NODE, LeaderEpoch, NodeId
from logd.replication import (
    Alarm,
    AppendChunk,
    Appended,
    Assigned,
    Assignment,
    Begin,
    Chunk,
    Connected,
    Disconnected,
    Diverges,
    Fits,
    FollowerAt,
    FollowerEffect,
    FollowerEvent,
    HighWatermarkMoved,
    LeaderEvent,
    OwnEnd,
    PartitionFollower,
    PartitionLeader,
    ProposalAnswered,
    ProposeIsr,
    RestartAt,
    Restarted,
    RetryAt,
    SendPosition,
    Tick,
    TooLow,
    TrimTo,
    Truncated,
    TruncateTo,
    check_position,
)
from tests.unit.replication.keys import CHUNK_RECORDS, Record, check_deleted, check_kept, compacted
from tests.unit.replication.rig import LAG_MS, epochs, nodes


@dataclass(frozen=True)
class Position:
    sender: NodeId
    stream: int
    leader_epoch: int
    node_epoch: int
    end_offset: int
    last_epoch: int


@dataclass(frozen=True)
class Answer:
    chunk: Chunk
    records: tuple[Record, ...]
    told_end: int


@dataclass(frozen=True)
class Copy:
    """A proposal on its way to the controller."""

    leader: NodeId
    node_epoch: int
    leader_epoch: int
    effect: ProposeIsr


@dataclass
class Node:
    node_id: NodeId
    log: list[Record] = field(default_factory=list)
    start: int = 0
    durable: int = 0
    high_watermark: int = 0
    #: What was stored of the high watermark last.
    stored: int = 0
    node_epoch: int = 0
    is_up: bool = True
    #: How much of the controller's history it knows.
    known: int = 0
    leader: PartitionLeader | None = None
    follower: PartitionFollower | None = None
    leader_epoch: int = -1
    stream: int = 0
    answers: list[Answer] = field(default_factory=list)
    #: Deletes below it may be missing.
    forgotten_end: int = 0
    told_end: int = 0
    #: Of the chunk that is being appended.
    appending: tuple[Record, ...] = ()
    pending: FollowerEvent | None = None

    def end_offset_for(self, epoch: int) -> tuple[int, int]:
        starts: dict[int, int] = {}
        for offset, record in enumerate(self.log):
            if record is not None and offset >= self.start:
                starts.setdefault(record[0], offset)
        return epochs(starts, len(self.log))(epoch)

    @property
    def last_epoch(self) -> int:
        last = self.log[-1] if len(self.log) > self.start else None
        return -1 if last is None else last[0]


class World:
    def __init__(self, min_isr: int) -> None:
        self.min_isr = min_isr
        self.now_ms = 0
        self.records = 0
        self.nodes = {node_id: Node(node_id) for node_id in nodes(1, 2, 3)}
        self.node_epochs = {NodeId(node_id): 10 + node_id for node_id in (1, 2, 3)}
        self.in_service = {*self.node_epochs}
        replicas = nodes(1, 2, 3)
        self.state = PartitionImage(0, replicas[0], LeaderEpoch(0), replicas, replicas, 0)
        self.history: list[tuple[PartitionImage, dict[NodeId, int]]] = []
        self.positions: list[Position] = []
        self.copies: list[Copy] = []
        self.committed: list[Record] = []
        for node in self.nodes.values():
            node.node_epoch = self.node_epochs[node.node_id]
        self._record()
        for node in self.nodes.values():
            self._follow(node)

    # --- the controller --------------------------------------------------------------------------

    def _record(self) -> None:
        in_service = {node: self.node_epochs[node] for node in sorted(self.in_service)}
        self.history.append((self.state, in_service))

    def _change(self, after: PartitionImage) -> None:
        if after != self.state:
            self.state = replace(after, partition_epoch=self.state.partition_epoch + 1)
        self._record()

    def fence(self, node_id: NodeId) -> None:
        self.in_service.discard(node_id)
        self._change(settled(self.state, Situation(self.in_service, self.min_isr)))

    def unfence(self, node_id: NodeId) -> None:
        node = self.nodes[node_id]
        if node.is_up and node_id not in self.in_service:
            self.in_service.add(node_id)
            self._change(settled(self.state, Situation(self.in_service, self.min_isr)))

    def decide(self, copy: Copy) -> None:
        """A copy of a proposal arrives; it may arrive again."""
        state, effect = self.state, copy.effect
        members = dict(effect.isr)
        if copy.leader != state.leader_id or copy.leader_epoch != state.leader_epoch:
            return
        if self.node_epochs[copy.leader] != copy.node_epoch:
            return
        if any(self.node_epochs[node] != epoch for node, epoch in members.items()):
            return
        if not {*members} <= self.in_service or effect.partition_epoch != state.partition_epoch:
            return
        if {*members} == {*state.isr}:
            return
        isr = tuple(node for node in state.replicas if node in members)
        situation = Situation(self.in_service, self.min_isr)
        self._change(with_isr(state, isr, state.leader_id, situation))

    def refuse(self, copy: Copy) -> None:
        """Every copy like this one is refused for good, and the leader is told."""
        alike = [
            other
            for other in self.copies
            if (other.leader, other.leader_epoch) == (copy.leader, copy.leader_epoch)
            and other.effect.partition_epoch == copy.effect.partition_epoch
        ]
        self.copies = [other for other in self.copies if other not in alike]
        self._answer(copy, refused=True)

    def lose_answer(self, copy: Copy) -> None:
        self._answer(copy, refused=False)

    def _answer(self, copy: Copy, *, refused: bool) -> None:
        node = self.nodes[copy.leader]
        taken = self.state.partition_epoch > copy.effect.partition_epoch
        if node.leader_epoch == copy.leader_epoch and node.node_epoch == copy.node_epoch:
            answer = ProposalAnswered(
                copy.effect.partition_epoch, refused=refused and not taken, now_ms=self.now_ms
            )
            self.to_leader(node, answer)

    # --- the nodes -------------------------------------------------------------------------------

    def learn(self, node: Node, *, everything: bool = False) -> None:
        """A node follows what the controller decided."""
        if not node.is_up or node.known >= len(self.history) - 1:
            return
        node.known = len(self.history) - 1 if everything else node.known + 1
        self._follow(node)

    def _follow(self, node: Node) -> None:
        state, node_epochs = self.history[node.known]
        assignment = Assignment(
            state.leader_epoch,
            state.partition_epoch,
            state.replicas,
            state.isr,
            node_epochs,
            self.min_isr,
        )
        if state.leader_epoch == node.leader_epoch:
            self.to_leader(node, Assigned(assignment, self.now_ms))
            return
        self._finish(node)
        node.durable = len(node.log)
        node.leader_epoch = state.leader_epoch
        node.told_end = 0
        node.leader = node.follower = None
        if state.leader_id == node.node_id:
            self._lead(node, assignment)
        elif state.leader_id != NO_NODE:
            node.follower = PartitionFollower(
                state.leader_epoch,
                end_offset=node.durable,
                last_epoch=node.last_epoch,
                high_watermark=node.high_watermark,
                start_offset=node.start,
                end_offset_for=node.end_offset_for,
            )
            node.high_watermark = node.follower.high_watermark
            self.to_follower(node, Begin(self.now_ms))
            self.connect(node)

    def _lead(self, node: Node, assignment: Assignment) -> None:
        assert len(node.log) >= len(self.committed), "a leader lacks what is committed"
        self._agrees(node, len(self.committed))
        node.leader = PartitionLeader(
            node.node_id,
            assignment,
            start_offset=len(node.log),
            end_offset=node.durable,
            high_watermark=node.high_watermark,
            lag_ms_max=LAG_MS,
            now_ms=self.now_ms,
        )
        self.to_leader(node, Tick(self.now_ms))

    def produce(self, node: Node) -> None:
        if node.is_up and node.leader is not None:
            self.records += 1
            node.log.append((node.leader_epoch, self.records))

    def sync(self, node: Node) -> None:
        """What was written is durable."""
        if not node.is_up:
            return
        self._finish(node)
        node.durable = len(node.log)
        self.to_leader(node, OwnEnd(node.durable, self.now_ms))

    def trim(self, node: Node) -> None:
        if node.is_up and node.leader is not None:
            node.start = max(node.start, node.leader.high_watermark)

    def compact(self, node: Node) -> None:
        if not node.is_up or node.pending is not None:
            return
        known = node.told_end if node.leader is None else node.leader.replicated_end
        forgotten_end = compacted(node.log, node.start, node.high_watermark, known)
        node.forgotten_end = max(node.forgotten_end, forgotten_end)

    def roll_back(self, node: Node, end: int) -> None:
        """What was durable is gone, on a replica that need not have it."""
        if node.is_up or node.node_id in (*self.state.isr, *self.state.eligible):
            return
        del node.log[max(end, node.start) :]
        node.durable = len(node.log)
        node.stored = min(node.stored, node.durable)
        node.high_watermark = max(node.stored, node.start)

    def crash(self, node: Node, kept: int) -> None:
        """`kept` of the records that were only written survive."""
        if node.is_up:
            node.is_up = False
            node.leader = node.follower = None
            node.pending = None
            del node.log[node.durable + kept :]
            node.durable = len(node.log)
            node.high_watermark = min(max(node.stored, node.start), node.durable)

    def restart(self, node: Node) -> None:
        """Another process of the node registers: what it was in sync with ends."""
        if not node.is_up:
            node.is_up = True
            self.node_epochs[node.node_id] += 10
            node.node_epoch = self.node_epochs[node.node_id]
            node.leader_epoch = -1
            self.fence(node.node_id)
            node.known = len(self.history) - 1
            self._follow(node)

    def store(self, node: Node) -> None:
        node.stored = node.high_watermark

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        for node in self.nodes.values():
            self.to_leader(node, Tick(self.now_ms))
            self.to_follower(node, Tick(self.now_ms))

    # --- leading ---------------------------------------------------------------------------------

    def to_leader(self, node: Node, event: LeaderEvent) -> None:
        if node.leader is None:
            return
        for effect in node.leader.handle(event):
            match effect:
                case HighWatermarkMoved():
                    assert effect.offset <= node.durable
                    self._commit(node, effect.offset)
                case ProposeIsr():
                    self.copies.append(
                        Copy(node.node_id, node.node_epoch, node.leader_epoch, effect)
                    )
        if node.leader.serves_latest:
            assert node.leader.high_watermark <= len(self.committed)

    def _commit(self, node: Node, offset: int) -> None:
        assert offset > node.high_watermark, "the high watermark went back"
        node.high_watermark = offset
        self._agrees(node, min(offset, len(self.committed)))
        self.committed += node.log[len(self.committed) : offset]
        holders = [other for other in self.nodes.values() if other.durable >= offset]
        assert len(holders) >= self.min_isr, "committed on too few"

    def _agrees(self, node: Node, end: int) -> None:
        check_kept(node.log, self.committed, node.start, end)

    def deliver(self, position: Position) -> None:
        """A position arrives at whoever leads in its epoch; it may arrive again."""
        for node in self.nodes.values():
            if node.leader is not None and node.leader_epoch == position.leader_epoch:
                self._judge(node, position)

    def _judge(self, node: Node, position: Position) -> None:
        end, follower = len(node.log), self.nodes[position.sender]
        verdict = check_position(
            node.end_offset_for, node.start, end, position.end_offset, position.last_epoch
        )
        records: list[Record] = []
        if isinstance(verdict, Fits):
            at = position.end_offset
            self.to_leader(node, FollowerAt(position.sender, position.node_epoch, at, self.now_ms))
            records = node.log[at : at + CHUNK_RECORDS]
        chunk = Chunk(
            leader_epoch=LeaderEpoch(node.leader_epoch),
            size_bytes=len(records),
            high_watermark=node.high_watermark,
            log_start_offset=node.start,
            append_time_ms=self.now_ms,
            forgotten_end=node.forgotten_end,
            diverging=verdict if isinstance(verdict, Diverges) else None,
            too_low=isinstance(verdict, TooLow),
            refused=False,
            now_ms=self.now_ms,
        )
        if position.stream == follower.stream:
            known = node.leader.replicated_end if node.leader is not None else 0
            follower.answers = [Answer(chunk, tuple(records), known)]

    # --- following -------------------------------------------------------------------------------

    def connect(self, node: Node) -> None:
        """The stream breaks and is there again: what it carried is lost."""
        if node.is_up and node.follower is not None:
            node.stream += 1
            node.answers.clear()
            self.to_follower(node, Disconnected())
            self.to_follower(node, Connected())

    def receive(self, node: Node) -> None:
        """The answer to the last position arrives."""
        if node.is_up and node.answers:
            answer = node.answers.pop()
            # An answer belongs to one position: another one of the stream is not given.
            node.stream += 1
            node.appending = answer.records
            if answer.chunk.leader_epoch == node.leader_epoch:
                node.told_end = answer.told_end
            self.to_follower(node, answer.chunk)

    def to_follower(self, node: Node, event: FollowerEvent) -> None:
        if node.follower is None:
            return
        effects = node.follower.handle(event)
        for number, effect in enumerate(effects):
            if isinstance(effect, HighWatermarkMoved) and effect.offset <= node.high_watermark:
                assert isinstance(effects[number + 1], RestartAt), "the high watermark went back"
            self._carry_out(node, effect)

    def _carry_out(self, node: Node, effect: FollowerEffect) -> None:
        match effect:
            case SendPosition():
                assert effect.end_offset == node.durable == len(node.log)
                self.positions.append(
                    Position(
                        node.node_id,
                        node.stream,
                        node.leader_epoch,
                        node.node_epoch,
                        effect.end_offset,
                        effect.last_epoch,
                    )
                )
            case AppendChunk(forgotten_end):
                node.forgotten_end = max(node.forgotten_end, forgotten_end)
                node.log += node.appending
                node.pending = Appended(len(node.log), node.last_epoch)
            case TruncateTo(offset):
                del node.log[offset:]
                node.durable = offset
                node.pending = Truncated(offset, node.last_epoch)
            case RestartAt(offset):
                assert node.node_id not in (*self.state.isr, *self.state.eligible)
                node.log = [None] * offset
                node.forgotten_end = 0
                node.start = node.durable = offset
                node.pending = Restarted(offset)
            case TrimTo(offset):
                assert node.start < offset <= node.high_watermark
                node.start = offset
            case HighWatermarkMoved(offset):
                assert offset <= node.durable or node.pending is not None
                node.high_watermark = offset
            case RetryAt():
                pass
            case Alarm(text):
                raise AssertionError(text)

    def _finish(self, node: Node) -> None:
        event, node.pending = node.pending, None
        if event is not None:
            node.durable = len(node.log)
            self.to_follower(node, event)

    # --- what must be so -------------------------------------------------------------------------

    def check(self) -> None:
        for node in self.nodes.values():
            assert node.start <= len(node.log)
            assert node.high_watermark <= min(len(self.committed), node.durable)
            self._agrees(node, node.high_watermark)
            check_deleted(node.log, self.committed, node.start, node.high_watermark)
        for node_id in (*self.state.isr, *self.state.eligible):
            node = self.nodes[node_id]
            assert node.durable >= len(self.committed), "who may lead lacks what is committed"
            self._agrees(node, len(self.committed))

    def calm_round(self, reached: set[NodeId]) -> None:
        """Everything arrives that these nodes sent, and the controller decides on it."""
        for node_id in sorted(reached):
            node = self.nodes[node_id]
            self.learn(node, everything=True)
            self.sync(node)
            self.connect(node)
        for position in self.positions[-3:]:
            if position.sender in reached:
                self.deliver(position)
        for node_id in sorted(reached):
            self.receive(self.nodes[node_id])
        for copy in self.copies[-1:]:
            self.decide(copy)
            self.lose_answer(copy)
        self.pass_time(100)
        self.check()

    def calm_down(self) -> None:
        """Everyone is there, everything arrives: all come to have the same, all committed."""
        for _ in range(60):
            for node in self.nodes.values():
                self.restart(node)
                self.unfence(node.node_id)
            self.calm_round({*self.nodes})
        ends = {len(node.log) for node in self.nodes.values()}
        assert ends == {len(self.committed)}, "the copies do not come to agree"
        assert {*self.state.isr} == {*self.nodes}
        for node in self.nodes.values():
            assert node.high_watermark == len(self.committed)
