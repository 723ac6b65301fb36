"""The leadership of one partition: who is in sync, and what is committed.

    in sync           in the committed set: it has everything that is committed, or it will go
    counted           in sync, or in the set that is proposed: it may be in sync by now
    caught up         it has all that the leader has, or had so within the last `lag_ms_max`

    a follower that is not in sync has caught up          proposed with it; counts at once
    one in sync has not for `lag_ms_max`, went back, or   proposed without it; counts until
    is not the process that the controller knows          that is committed

The high watermark is the least durable end among all that count. It never goes back, and stands
still while fewer than `min_isr` are in sync or the end of one that counts is not known.

One proposal is open at a time. Its members count until it is refused or the partition is committed
at another partition epoch; where its outcome is not known the same one is sent again, because a
copy that is still on its way may be taken at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from logd.model.ids import NodeId
from logd.replication.effects import HighWatermarkMoved, LeaderEffect, ProposeIsr
from logd.replication.events import (
    Assigned,
    Assignment,
    FollowerAt,
    FollowerGone,
    LeaderEvent,
    OwnEnd,
    ProposalAnswered,
    Tick,
)

#: How long after an answer that did not help the controller is asked again.
PROPOSAL_RETRY_MS: Final = 200

#: An end or a node epoch that is not known in this leadership.
_UNKNOWN: Final = -1


@dataclass(slots=True)
class _Follower:
    """What is known of another replica in this leadership."""

    #: When it was last known to have all that the leader had; None: not in this leadership.
    caught_up_ms: int | None = None
    #: The newest process of it that was heard.
    node_epoch: int = _UNKNOWN
    end_offset: int = _UNKNOWN
    #: When it was heard last on its present stream, and where the leader's log ended then.
    heard_ms: int | None = None
    heard_end: int = 0
    #: It counted, and lost something that it had said to have.
    went_back: bool = False


@dataclass(slots=True)
class _Proposal:
    isr: tuple[tuple[NodeId, int], ...]
    #: When to send it again; None: an answer is awaited.
    retry_ms: int | None = None


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
        """Begin to lead.

        `start_offset` is where this leader epoch begins, `end_offset` the own durable end, and
        `high_watermark` what was known to be committed before, at most the own end.
        """
        self.high_watermark = high_watermark
        self._own_id = own_id
        self._assignment = assignment
        self._start_offset = start_offset
        self._end_offset = end_offset
        self._lag_ms_max = lag_ms_max
        self._followers: dict[NodeId, _Follower] = {}
        self._proposal: _Proposal | None = None
        #: After a refusal: nothing is proposed before.
        self._pause_ms: int | None = None
        self._follow_replicas(now_ms)

    @property
    def assignment(self) -> Assignment:
        return self._assignment

    @property
    def isr(self) -> tuple[NodeId, ...]:
        """Who is in sync, as it is committed."""
        return self._assignment.isr

    def followers_behind(self) -> list[tuple[NodeId, int]]:
        """The replicas not in sync, and where the log of each ends; -1: it did not say."""
        followers = self._followers.items()
        return [(node, at.end_offset) for node, at in followers if node not in self.isr]

    @property
    def may_acknowledge(self) -> bool:
        """Whether enough replicas are in sync for anything to be committed."""
        return len(self.isr) >= self._assignment.min_isr

    @property
    def replicated_end(self) -> int:
        """Every replica that is assigned, in sync or not, has said in this leadership that it has
        what lies below, durably; -1: one of them has said nothing yet."""
        known = self._assignment.node_epochs
        ends = [
            follower.end_offset if follower.node_epoch >= known.get(node_id, _UNKNOWN) else _UNKNOWN
            for node_id, follower in self._followers.items()
        ]
        return min([self._end_offset, *ends])

    @property
    def serves_latest(self) -> bool:
        """Whether everything that earlier leaders committed is known to be."""
        return self.high_watermark >= self._start_offset

    def handle(self, event: LeaderEvent) -> list[LeaderEffect]:
        """Take in what happened; return what is to be done."""
        match event:
            case OwnEnd():
                # Nobody comes in sync by it, and out of sync only when time has passed.
                self._own_end(event)
                return self._advanced()
            case FollowerAt():
                self._follower_at(event)
            case FollowerGone():
                if event.node_id in self._followers:
                    self._followers[event.node_id].heard_ms = None
            case Assigned():
                self._assigned(event)
            case ProposalAnswered():
                self._answered(event)
            case Tick():
                pass
        return [*self._advanced(), *self._proposals(event.now_ms)]

    def next_deadline_ms(self) -> int | None:
        """When a `Tick` is due: a follower is out of time, or the controller is asked again."""
        if self._proposal is not None:
            return self._proposal.retry_ms
        if self._pause_ms is not None:
            return self._pause_ms
        return min(self._out_of_time_ms(), default=None)

    def _out_of_time_ms(self) -> Iterator[int]:
        if not self._is_in_service:
            return
        for node_id, follower in self._followers.items():
            if node_id not in self.isr or self._is_level(follower):
                continue
            if follower.caught_up_ms is not None:
                yield follower.caught_up_ms + self._lag_ms_max

    # --- what is known ---------------------------------------------------------------------------

    def _own_end(self, event: OwnEnd) -> None:
        if event.end_offset <= self._end_offset:
            return
        for follower in self._followers.values():
            if self._is_level(follower):
                # It had everything until now, without a word while there was nothing new.
                follower.caught_up_ms = event.now_ms
        self._end_offset = event.end_offset

    def _follower_at(self, event: FollowerAt) -> None:
        follower = self._followers.get(event.node_id)
        if follower is None:
            return
        known = self._assignment.node_epochs.get(event.node_id, _UNKNOWN)
        if event.node_epoch < max(follower.node_epoch, known):
            # Of a process that is gone: the log may have been cut since.
            return
        if event.node_epoch > follower.node_epoch:
            # What a process had promises nothing of the next one.
            follower.heard_ms = None
            if follower.node_epoch != _UNKNOWN:
                follower.caught_up_ms = None
        elif event.end_offset < follower.end_offset:
            follower.caught_up_ms = None
            follower.went_back = follower.went_back or event.node_id in self._counted()
        follower.node_epoch = event.node_epoch
        follower.end_offset = event.end_offset
        if event.end_offset >= self._end_offset:
            follower.caught_up_ms = event.now_ms
        elif follower.heard_ms is not None and event.end_offset >= follower.heard_end:
            # It has all that there was when it was heard before, so it had caught up then.
            follower.caught_up_ms = max(follower.heard_ms, follower.caught_up_ms or 0)
        follower.heard_ms = event.now_ms
        follower.heard_end = self._end_offset

    def _is_level(self, follower: _Follower) -> bool:
        return follower.end_offset >= self._end_offset

    def _assigned(self, event: Assigned) -> None:
        before, after = self._assignment, event.assignment
        if after.leader_epoch != before.leader_epoch:
            return
        if after.partition_epoch < before.partition_epoch:
            return
        self._assignment = after
        self._pause_ms = None
        if after.partition_epoch != before.partition_epoch:
            # No copy of what was proposed from the state before can be taken any more.
            self._proposal = None
        self._follow_replicas(event.now_ms)

    def _follow_replicas(self, now_ms: int) -> None:
        counted = self._counted()
        followers: dict[NodeId, _Follower] = {}
        for node_id in self._assignment.replicas:
            if node_id == self._own_id:
                continue
            follower = self._followers.get(node_id) or _Follower()
            if node_id not in counted:
                follower.went_back = False
            elif follower.node_epoch == _UNKNOWN and follower.caught_up_ms is None:
                # It has not spoken yet, and gets the time to.
                follower.caught_up_ms = now_ms
            followers[node_id] = follower
        self._followers = followers

    def _answered(self, event: ProposalAnswered) -> None:
        if self._proposal is None or event.partition_epoch != self._assignment.partition_epoch:
            return
        retry_ms = event.now_ms + PROPOSAL_RETRY_MS
        if event.refused:
            self._proposal = None
            self._pause_ms = retry_ms
        else:
            self._proposal.retry_ms = retry_ms

    # --- what follows ----------------------------------------------------------------------------

    def _counted(self) -> set[NodeId]:
        counted = {*self.isr}
        if self._proposal is not None:
            counted.update(node_id for node_id, _ in self._proposal.isr)
        return counted

    def _advanced(self) -> list[LeaderEffect]:
        """Move the high watermark as far as it may go."""
        if not self.may_acknowledge:
            return []
        end_offset = self._end_offset
        for node_id in self._counted():
            if node_id != self._own_id:
                end_offset = min(end_offset, self._followers[node_id].end_offset)
        if end_offset <= self.high_watermark:
            return []
        self.high_watermark = end_offset
        return [HighWatermarkMoved(end_offset)]

    def _proposals(self, now_ms: int) -> list[LeaderEffect]:
        if self._proposal is None:
            self._proposal = self._new_proposal(now_ms)
        elif self._proposal.retry_ms is None or now_ms < self._proposal.retry_ms:
            return []
        if self._proposal is None:
            return []
        self._proposal.retry_ms = None
        return [ProposeIsr(self._assignment.partition_epoch, self._proposal.isr)]

    def _new_proposal(self, now_ms: int) -> _Proposal | None:
        if self._pause_ms is not None and now_ms < self._pause_ms:
            return None
        self._pause_ms = None
        node_epochs = self._assignment.node_epochs
        in_sync = [
            node_id
            for node_id, follower in self._followers.items()
            if self._belongs(node_id, follower, now_ms)
        ]
        members = [self._own_id, *in_sync]
        if not self._is_in_service or {*members} == {*self.isr}:
            return None
        return _Proposal(tuple((node_id, node_epochs[node_id]) for node_id in members))

    @property
    def _is_in_service(self) -> bool:
        """A leader out of service is about to be replaced, and its proposals are refused."""
        return self._own_id in self._assignment.node_epochs

    def _belongs(self, node_id: NodeId, follower: _Follower, now_ms: int) -> bool:
        """Whether a follower should be in sync; a replica out of service should not."""
        known = self._assignment.node_epochs.get(node_id)
        if known is None or follower.went_back or not self._is_caught_up(follower, now_ms):
            return False
        if node_id in self.isr:
            return follower.node_epoch in {_UNKNOWN, known}
        if follower.heard_ms is None or follower.node_epoch != known:
            return False
        return follower.end_offset >= max(self.high_watermark, self._start_offset)

    def _is_caught_up(self, follower: _Follower, now_ms: int) -> bool:
        if self._is_level(follower):
            return True
        at_ms = follower.caught_up_ms
        return at_ms is not None and now_ms < at_ms + self._lag_ms_max
