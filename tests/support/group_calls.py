"""Members of consumer groups that speak the protocol by hand, so that a test sees every answer."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.message import Message
from logd_client._transport import methods
from logd_client._transport.api import Channel
from logd_proto.v1 import group_pb2 as pb
from logd_wire.errors import LogdError, NetworkError, TimeoutError

from logd.testing import MemoryCluster

M = TypeVar("M", bound=Message)

CALL_TIMEOUT_MS = 10_000
RETRY_S = 0.05
#: Longer than any failover.
PATIENCE_S = 30.0


class GroupCaller:
    """Calls the coordinator of one group, wherever it is by now."""

    def __init__(self, cluster: MemoryCluster, group_id: str = "mailers") -> None:
        self.cluster = cluster
        self.group_id = group_id
        self._transport = cluster.transport(f"caller of {group_id}")
        self._channels: dict[str, Channel] = {}

    def channel(self, node: int) -> Channel:
        address = self.cluster.processes[node].address
        if address not in self._channels:
            self._channels[address] = self._transport.connect(address)
        return self._channels[address]

    async def at(self, node: int, method: str, request: Message) -> Any:
        """Ask one node, once."""
        return await self.channel(node).unary(method, request, timeout_ms=CALL_TIMEOUT_MS)

    async def coordinator(self) -> int:
        """The node that coordinates the group, once the nodes agree that there is one."""
        request = pb.FindCoordinatorRequest(group_id=self.group_id)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for node, process in self.cluster.processes.items():
                    if not process.up:
                        continue
                    try:
                        found = await self.at(node, methods.FIND_COORDINATOR, request)
                    except LogdError as error:
                        check_passing(error)
                        continue
                    named = int(found.coordinator.leader_id)
                    if self.cluster.processes[named].up:
                        return named
                await asyncio.sleep(RETRY_S)

    async def ask(self, method: str, request: Message) -> Any:
        """Ask the coordinator, again and again while that may help."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return await self.at(await self.coordinator(), method, request)
                except LogdError as error:
                    check_passing(error)
                await asyncio.sleep(RETRY_S)

    async def offsets(self) -> dict[tuple[str, int], int]:
        """What is committed, by topic and partition."""
        request = pb.FetchOffsetsRequest(group_id=self.group_id, member_epoch=-1)
        found = await self.ask(methods.FETCH_OFFSETS, request)
        return {(each.topic, each.partition): each.offset for each in found.offsets}

    async def describe(self) -> Any:
        request = pb.DescribeGroupRequest(group_id=self.group_id)
        return await self.ask(methods.DESCRIBE_GROUP, request)

    async def commit(
        self, topic_id: bytes, offset: int, partition: int = 0, **who: Any
    ) -> pb.OffsetOutcome:
        """Commit one offset, as nobody of the group when nothing else is said."""
        each = pb.OffsetCommit(
            topic_id=topic_id, partition=partition, offset=offset, leader_epoch=-1
        )
        request = pb.CommitOffsetsRequest(
            group_id=self.group_id, offsets=[each], **{"member_epoch": -1, **who}
        )
        (outcome,) = (await self.ask(methods.COMMIT_OFFSETS, request)).outcomes
        return outcome  # type: ignore[no-any-return]


def check_passing(error: LogdError) -> None:
    """Raise what asking again does not help with."""
    if not (error.retriable or isinstance(error, NetworkError | TimeoutError)):
        raise error


class Member:
    """One member of the caller's group. It gives up at once what it is told to."""

    def __init__(self, caller: GroupCaller, number: int, *topics: str) -> None:
        self.caller = caller
        self.id = str(UUID(int=number))
        self.epoch = 0
        self.held: set[tuple[str, int]] = set()
        self._owned: list[pb.TopicPartitions] = []
        self._subscription = pb.TopicNames(topics=topics)
        self.session_timeout_ms = 6_000

    async def beat(self, *, max_wait_ms: int = 0) -> pb.GroupHeartbeatResponse:
        """One heartbeat that says everything."""
        request = pb.GroupHeartbeatRequest(
            group_id=self.caller.group_id,
            member_id=self.id,
            member_epoch=self.epoch,
            rebalance_timeout_ms=10_000,
            session_timeout_ms=self.session_timeout_ms,
            subscription=self._subscription,
            owned=pb.OwnedPartitions(topics=self._owned),
            max_wait_ms=max_wait_ms,
        )
        answer = await self.caller.ask(methods.GROUP_HEARTBEAT, request)
        self.epoch = answer.member_epoch
        if answer.HasField("assignment"):
            self._owned = list(answer.assignment.topics)
            self.held = {(each.topic, number) for each in self._owned for number in each.partitions}
        return answer  # type: ignore[no-any-return]

    async def leave(self) -> None:
        self.epoch, self._owned, self.held = -1, [], set()
        await self.beat()


async def settled(*members: Member) -> None:
    """Heartbeats of all in turn, until nobody is told anything new."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answers = [await member.beat() for member in members]
            if not any(answer.HasField("assignment") for answer in answers):
                return
