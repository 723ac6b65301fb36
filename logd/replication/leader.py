"""The leadership of one partition: who is in sync, and what is committed.

    own end, positions of followers  ->  HighWatermarkMoved
    a follower has caught up         ->  ProposeIsr with it    counts at once, until it is refused
    a follower is out of time        ->  ProposeIsr without    counts once it is committed

The high watermark is the lowest durable end of everybody who is, or may be by now, in sync. It
never goes back, and does not move while fewer than `min_isr` are, nor while the end of one of them
is unknown in this leadership.

One proposal is open at a time. After an unknown outcome the same one is made again, and its
members go on counting: a copy of it may be carried out at any time, until the partition is at
another partition epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from logd.model.ids import LeaderEpoch, NodeId


@dataclass(frozen=True, slots=True)
class Assignment:
    """A partition as the controller has it, for its leader."""

    leader_epoch: LeaderEpoch
    partition_epoch: int
    replicas: tuple[NodeId, ...]
    isr: tuple[NodeId, ...]
    #: Of the replicas in service: the epochs that they registered with.
    node_epochs: Mapping[NodeId, int]
    min_isr: int


# --- events and effects ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OwnEnd:
    """The leader's own log is durable so far."""

    end_offset: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class FollowerAt:
    """A follower, as the process of `node_epoch`, has everything below `end_offset`, durably."""

    node_id: NodeId
    node_epoch: int
    end_offset: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """The controller changed the partition, or nodes came and went; same leader epoch."""

    assignment: Assignment
    now_ms: int


@dataclass(frozen=True, slots=True)
class ProposalAnswered:
    """`refused`: it was not taken, and no copy of it can be. Else the next `Assigned` tells."""

    partition_epoch: int
    refused: bool
    now_ms: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class HighWatermarkMoved:
    """Everything below is committed."""

    offset: int


@dataclass(frozen=True, slots=True)
class ProposeIsr:
    """Ask the controller for another in-sync set: nodes with their node epochs."""

    partition_epoch: int
    isr: tuple[tuple[NodeId, int], ...]


LeaderEvent = OwnEnd | FollowerAt | Assigned | ProposalAnswered | Tick
LeaderEffect = HighWatermarkMoved | ProposeIsr


# --- the machine ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Follower:
    """What is known of one other replica in this leadership."""

    #: It counts as caught up until `lag_ms_max` after this.
    caught_up_ms: int
    node_epoch: int = -1
    #: -1: it has not spoken yet.
    end_offset: int = -1
    #: When its last position came, and where this log ended then.
    spoke_ms: int = -1
    spoke_end: int = -1
    #: Its log got shorter: it lost what it had acknowledged.
    went_back: bool = False


@dataclass(slots=True)
class _Proposal:
    partition_epoch: int
    isr: tuple[tuple[NodeId, int], ...]
    #: Nobody knows what became of it: it is made again.
    unknown: bool = False


class PartitionLeader:
    """One object for each partition and leadership."""

    def __init__(
        self,
        own_id: NodeId,
        assignment: Assignment,
        *,
        start_offset: int,
        end_offset: int,
        high_watermark: int,
        lag_ms_max: int,
        now_ms: int,
    ) -> None:
        """`start_offset`: where this leader epoch begins. `high_watermark`: known from before."""
        self._own_id = own_id
        self.assignment = assignment
        self._start_offset = start_offset
        self._end_offset = end_offset
        self.high_watermark = high_watermark
        self._lag_ms_max = lag_ms_max
        self._followers: dict[NodeId, _Follower] = {
            node: _Follower(caught_up_ms=now_ms) for node in self._others(assignment.replicas)
        }
        self._proposal: _Proposal | None = None

    def _others(self, nodes: tuple[NodeId, ...]) -> list[NodeId]:
        return [node for node in nodes if node != self._own_id]

    @property
    def isr(self) -> tuple[NodeId, ...]:
        """As it is committed."""
        return self.assignment.isr

    @property
    def may_acknowledge(self) -> bool:
        """Whether enough replicas are in sync for anything to be committed."""
        return len(self.isr) >= self.assignment.min_isr

    @property
    def serves_latest(self) -> bool:
        """Whether this leadership knows everything that those before committed."""
        return self.high_watermark >= self._start_offset

    def next_deadline_ms(self) -> int | None:
        """When a follower in sync is out of time, unless it catches up before."""
        if self._proposal is not None and not self._proposal.unknown:
            return None
        if self._proposal is not None:
            return 0
        deadlines = [
            0 if follower.went_back else follower.caught_up_ms + self._lag_ms_max
            for node in self._others(self.isr)
            if not self._is_level(follower := self._followers[node])
        ]
        return min(deadlines, default=None)

    def handle(self, event: LeaderEvent) -> list[LeaderEffect]:
        """Take an event in; returns what is to be done."""
        match event:
            case OwnEnd():
                self._own_end(event)
            case FollowerAt():
                self._follower_at(event)
            case Assigned():
                self._assigned(event)
            case ProposalAnswered():
                self._answered(event)
            case Tick():
                pass
        effects: list[LeaderEffect] = []
        if self._advance():
            effects.append(HighWatermarkMoved(self.high_watermark))
        # An own end alone brings nobody in sync, and nobody out of it before time passes.
        if not isinstance(event, OwnEnd):
            effects += self._propose(event.now_ms)
        return effects

    # --- events ------------------------------------------------------------------------------

    def _own_end(self, event: OwnEnd) -> None:
        if event.end_offset > self._end_offset:
            for follower in self._followers.values():
                if self._is_level(follower):
                    # It had everything until now.
                    follower.caught_up_ms = event.now_ms
            self._end_offset = event.end_offset

    def _is_level(self, follower: _Follower) -> bool:
        return follower.end_offset >= self._end_offset and not follower.went_back

    def _follower_at(self, event: FollowerAt) -> None:
        follower = self._followers.get(event.node_id)
        if follower is None or event.node_epoch < follower.node_epoch:
            return
        if event.node_epoch > follower.node_epoch:
            if follower.node_epoch != -1 or event.node_id not in self.isr:
                # A new process: what the one before had is no promise of this one.
                follower.caught_up_ms = min(
                    follower.caught_up_ms, event.now_ms - self._lag_ms_max - 1
                )
            follower.node_epoch = event.node_epoch
            follower.went_back = follower.went_back and event.node_id in self.isr
            follower.spoke_ms = -1
        elif event.end_offset < follower.end_offset:
            follower.went_back = event.node_id in self.isr
        if event.end_offset >= self._end_offset:
            follower.caught_up_ms = max(follower.caught_up_ms, event.now_ms)
        elif follower.spoke_ms >= 0 and event.end_offset >= follower.spoke_end:
            follower.caught_up_ms = max(follower.caught_up_ms, follower.spoke_ms)
        follower.end_offset = event.end_offset
        follower.spoke_ms = event.now_ms
        follower.spoke_end = self._end_offset

    def _assigned(self, event: Assigned) -> None:
        before, self.assignment = self.assignment, event.assignment
        if event.assignment.partition_epoch != before.partition_epoch:
            # Whatever was proposed from the state before can happen no more.
            self._proposal = None
        for node in self._others(event.assignment.replicas):
            self._followers.setdefault(node, _Follower(caught_up_ms=event.now_ms))
            if node not in event.assignment.isr:
                self._followers[node].went_back = False
        for node in list(self._followers):
            if node not in event.assignment.replicas:
                del self._followers[node]

    def _answered(self, event: ProposalAnswered) -> None:
        proposal = self._proposal
        if proposal is None or proposal.partition_epoch != event.partition_epoch:
            return
        if event.refused:
            self._proposal = None
        else:
            proposal.unknown = True

    # --- decisions ---------------------------------------------------------------------------

    def _advance(self) -> bool:
        """Move the high watermark as far as it may go; returns whether it moved."""
        if not self.may_acknowledge:
            return False
        counted = {*self.isr}
        if self._proposal is not None:
            counted.update(node for node, _ in self._proposal.isr)
        end = self._end_offset
        for node in counted:
            if node != self._own_id:
                end = min(end, self._followers[node].end_offset)
        if end <= self.high_watermark:
            return False
        self.high_watermark = end
        return True

    def _propose(self, now_ms: int) -> list[LeaderEffect]:
        proposal = self._proposal
        if proposal is not None and not proposal.unknown:
            return []
        if proposal is None:
            wanted = self._wanted(now_ms)
            if {node for node, _ in wanted} == {*self.isr}:
                return []
            proposal = _Proposal(self.assignment.partition_epoch, wanted)
        proposal.unknown = False
        self._proposal = proposal
        return [ProposeIsr(proposal.partition_epoch, proposal.isr)]

    def _wanted(self, now_ms: int) -> tuple[tuple[NodeId, int], ...]:
        """The in-sync set as it should be: who keeps up stays, who has caught up comes in."""
        epochs = self.assignment.node_epochs
        own = (self._own_id, epochs.get(self._own_id, 0))
        members = [own]
        for node in self._others(self.assignment.replicas):
            follower = self._followers[node]
            keeps = node in self.isr and self._keeps_up(node, follower, now_ms)
            if keeps or (node not in self.isr and self._may_join(node, follower, now_ms)):
                members.append((node, epochs.get(node, follower.node_epoch)))
        return tuple(members)

    def _keeps_up(self, node: NodeId, follower: _Follower, now_ms: int) -> bool:
        known = self.assignment.node_epochs.get(node)
        if known is None or follower.went_back or follower.node_epoch not in (-1, known):
            return False
        return self._is_level(follower) or now_ms - follower.caught_up_ms <= self._lag_ms_max

    def _may_join(self, node: NodeId, follower: _Follower, now_ms: int) -> bool:
        if follower.node_epoch != self.assignment.node_epochs.get(node):
            return False
        if follower.end_offset < max(self.high_watermark, self._start_offset):
            return False
        return self._is_level(follower) or now_ms - follower.caught_up_ms <= self._lag_ms_max
