"""A coordinator in memory for one group, on a `MemoryCluster`: epochs, sessions, one owner at a
time. What each member shall hold is spread evenly, or said by the test (`want`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from logd_client._transport import methods
from logd_proto.v1 import group_pb2
from logd_wire.errors import ErrorCode, LogdError, NotCoordinatorError, error_for

from tests.unit.client.memory_cluster import MemoryCluster
from tests.unit.client.memory_log import to_proto

Place = tuple[str, int]


@dataclass
class MemoryMember:
    """One member as the coordinator knows it."""

    name: str
    instance_id: str | None = None
    session_s: float = 45.0
    epoch: int = 0
    topics: tuple[str, ...] = ()
    pattern: str = ""
    target: set[Place] = field(default_factory=set)
    assigned: set[Place] = field(default_factory=set)
    owned: set[Place] = field(default_factory=set)
    heard_s: float = 0.0

    @property
    def holds(self) -> set[Place]:
        return self.assigned | self.owned


class MemoryGroup:
    """See the module. Members are `m1`, `m2`, ... in the order in which they first joined."""

    def __init__(self, cluster: MemoryCluster, *, interval_ms: int = 1_000) -> None:
        self.cluster = cluster
        self.node = 1
        self.leader_epoch = 1
        self.interval_ms = interval_ms
        self.epoch = 0
        self.names: dict[str, str] = {}
        self.members: dict[str, MemoryMember] = {}
        self.committed: dict[Place, int] = {}
        #: Every commit that was taken, in order.
        self.commits: list[tuple[str, Place, int]] = []
        #: Every heartbeat, in order.
        self.beats: list[group_pb2.GroupHeartbeatRequest] = []
        #: Name of a member -> what it shall hold, in place of an even share.
        self.wanted: dict[str, set[Place]] = {}
        #: (request) -> an error to refuse a call with, or None.
        self.refuse: Callable[[Any], LogdError | None] = lambda _: None
        cluster.services |= {
            methods.FIND_COORDINATOR: self._find,
            methods.GROUP_HEARTBEAT: self._heartbeat,
            methods.COMMIT_OFFSETS: self._commit,
            methods.FETCH_OFFSETS: self._fetch,
        }

    # ---- the operator --------------------------------------------------------------------------

    def want(self, wanted: Mapping[str, Iterable[Place]]) -> None:
        """Members shall hold exactly this."""
        self.wanted = {name: set(places) for name, places in wanted.items()}
        self._retarget()

    def member(self, name: str) -> MemoryMember:
        (found,) = [each for each in self.members.values() if each.name == name]
        return found

    def holds(self, name: str) -> set[Place]:
        """What a member may hold; nothing for one that is gone."""
        return {
            place for each in self.members.values() if each.name == name for place in each.holds
        }

    def move(self, node: int) -> None:
        """Another node coordinates from now on."""
        self.node, self.leader_epoch = node, self.leader_epoch + 1

    def expel(self, name: str) -> None:
        """The member is none any more, whether it knows or not."""
        self._remove(next(key for key, each in self.members.items() if each.name == name))

    # ---- calls ---------------------------------------------------------------------------------

    def _find(self, _: str, __: Any) -> group_pb2.FindCoordinatorResponse:
        answer = group_pb2.FindCoordinatorResponse()
        answer.coordinator.leader_id = self.node
        answer.coordinator.leader_epoch = self.leader_epoch
        answer.coordinator.address = self.cluster.nodes[self.node]
        return answer

    def _check(self, address: str, request: Any) -> None:
        if address != self.cluster.nodes[self.node]:
            error = NotCoordinatorError("not here", broker=address)
            error.leader_id, error.leader_epoch = self.node, self.leader_epoch
            error.leader_address = self.cluster.nodes[self.node]
            raise error
        refusal = self.refuse(request)
        if refusal is not None:
            raise refusal
        self._expire()

    def _heartbeat(self, address: str, request: Any) -> group_pb2.GroupHeartbeatResponse:
        self._check(address, request)
        self.beats.append(request)
        answer = group_pb2.GroupHeartbeatResponse(
            member_id=request.member_id, member_epoch=request.member_epoch
        )
        if request.member_epoch < 0:
            self._member(request)
            self._remove(request.member_id)
            return answer
        member = self._member(request) if request.member_epoch else self._join(request)
        member.heard_s = asyncio.get_running_loop().time()
        if request.HasField("subscription"):
            member.topics = tuple(request.subscription.topics)
            member.pattern = request.subscription_pattern
        if request.HasField("owned"):
            member.owned = self._places(request.owned.topics)
        self._advance(member)
        answer.member_epoch = member.epoch
        answer.heartbeat_interval_ms = self.interval_ms
        answer.session_timeout_ms = round(member.session_s * 1000)
        answer.assignment.SetInParent()
        for topic, number in sorted(member.assigned):
            answer.assignment.topics.add(
                topic_id=self.cluster.ids[topic], topic=topic, partitions=[number]
            )
        return answer

    def _commit(self, address: str, request: Any) -> group_pb2.CommitOffsetsResponse:
        self._check(address, request)
        self._check_speaker(request)
        answer = group_pb2.CommitOffsetsResponse()
        for each in request.offsets:
            outcome = answer.outcomes.add()
            place = (self._topic(each.topic_id), each.partition)
            if each.offset > self.cluster.topics[place[0]][place[1]].end:
                beyond = error_for(ErrorCode.OFFSET_OUT_OF_RANGE, "beyond the end")
                outcome.error.CopyFrom(to_proto(beyond))
                continue
            self.committed[place] = each.offset
            self.commits.append((self.names.get(request.member_id, ""), place, each.offset))
        return answer

    def _fetch(self, address: str, request: Any) -> group_pb2.FetchOffsetsResponse:
        self._check(address, request)
        self._check_speaker(request)
        answer = group_pb2.FetchOffsetsResponse()
        wanted = self._places(request.topics)
        for (topic, number), offset in self.committed.items():
            if (topic, number) in wanted:
                answer.offsets.add(
                    topic_id=self.cluster.ids[topic], topic=topic, partition=number, offset=offset
                )
        return answer

    def _check_speaker(self, request: Any) -> None:
        if request.member_id:
            self._member(request)
        elif self.members:
            raise error_for(ErrorCode.GROUP_NOT_EMPTY, "the group has members")

    # ---- members -------------------------------------------------------------------------------

    def _member(self, request: Any) -> MemoryMember:
        member = self.members.get(request.member_id)
        if member is None:
            raise error_for(ErrorCode.UNKNOWN_MEMBER, f"no member {request.member_id!r}")
        if request.member_epoch >= 0 and request.member_epoch != member.epoch:
            is_beat = isinstance(request, group_pb2.GroupHeartbeatRequest)
            code = ErrorCode.FENCED_MEMBER_EPOCH if is_beat else ErrorCode.STALE_MEMBER_EPOCH
            raise error_for(code, f"epoch {request.member_epoch}, not {member.epoch}")
        return member

    def _join(self, request: Any) -> MemoryMember:
        name = self.names.setdefault(request.member_id, f"m{len(self.names) + 1}")
        instance_id = request.instance_id or None
        for other in self.members.values():
            if instance_id is not None and other.instance_id == instance_id:
                raise error_for(ErrorCode.UNRELEASED_INSTANCE_ID, f"{other.name} lives")
        member = MemoryMember(name, instance_id, request.session_timeout_ms / 1000)
        member.topics = tuple(request.subscription.topics)
        self.members[request.member_id] = member
        self._retarget()
        return member

    def _remove(self, member_id: str) -> None:
        del self.members[member_id]
        self._retarget()

    def _expire(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for member_id, member in list(self.members.items()):
            if member.epoch and now_s - member.heard_s >= member.session_s:
                self._remove(member_id)

    def _retarget(self) -> None:
        self.epoch += 1
        members = list(self.members.values())
        places = [
            (topic, number)
            for topic, logs in self.cluster.topics.items()
            for number in range(len(logs))
            if any(topic in member.topics for member in members)
        ]
        shares = {member.name: set[Place]() for member in members}
        for number, place in enumerate(places):
            shares[members[number % len(members)].name].add(place)
        for member in members:
            member.target = self.wanted.get(member.name, shares[member.name])

    def _advance(self, member: MemoryMember) -> None:
        """Take what has to go first; give what nobody else holds."""
        kept = member.assigned & member.target
        if kept != member.assigned or not member.owned <= member.target:
            member.assigned = kept
            if not member.owned <= kept:
                member.epoch = max(member.epoch, 1)
                return
        elsewhere = {
            place for each in self.members.values() if each is not member for place in each.holds
        }
        member.assigned = member.target - elsewhere
        member.epoch = self.epoch

    def _topic(self, topic_id: bytes) -> str:
        return next(name for name, known in self.cluster.ids.items() if known == topic_id)

    def _places(self, topics: Iterable[group_pb2.TopicPartitions]) -> set[Place]:
        return {
            (self._topic(each.topic_id), number) for each in topics for number in each.partitions
        }
