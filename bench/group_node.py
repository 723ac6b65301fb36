"""What many members cost a node: `python -m bench.group_node [--groups N] [--members N]`.

One real node with its own folder coordinates all groups. Their members are made here, and say over
gRPC what the client says: a heartbeat whose answer the node may keep back until there is news, and
the next one as soon as it is answered. Once everybody has settled, nothing happens but that. CPU is
the node's alone, so a busy machine changes it less than rates.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from logd_client import Admin
from logd_proto.v1 import group_pb2

from tests.support.nodes import RealNode
from tests.support.quorum import cpu_seconds

TOPIC = "read-by-all"
PARTITIONS = 10
SESSION_MS = 45_000
#: Members that join at the same time.
_JOINING = 50
#: A call that failed is made again after this.
_RETRY_S = 0.2
#: How long a node without members is looked at.
_IDLE_S = 5.0
#: Until the node coordinates.
_PATIENCE_S = 30.0

Say = Callable[[group_pb2.GroupHeartbeatRequest], Awaitable[group_pb2.GroupHeartbeatResponse]]


@dataclass(slots=True)
class Counts:
    """Heartbeats that were answered, or failed, by status; and by how much answers came later than
    they had to, in seconds."""

    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    late: list[float] = field(default_factory=list)


class Member:
    """One member that keeps what it is given."""

    def __init__(self, number: int, groups: int, say: Say, counts: Counts) -> None:
        self._say, self._counts = say, counts
        self._group_id = f"group-{number % groups}"
        self._member_id = f"member-{number}"
        self._epoch = 0
        self._interval_ms = 0
        self._owned = group_pb2.OwnedPartitions()

    async def _beat(self, **more: object) -> group_pb2.GroupHeartbeatResponse:
        answer = await self._say(
            group_pb2.GroupHeartbeatRequest(
                group_id=self._group_id,
                member_id=self._member_id,
                member_epoch=self._epoch,
                **more,  # type: ignore[arg-type]
            )
        )
        self._epoch = answer.member_epoch
        self._interval_ms = answer.heartbeat_interval_ms or self._interval_ms
        if answer.HasField("assignment"):
            self._owned = answer.assignment
        return answer

    async def join(self) -> None:
        await self._beat(
            subscription=group_pb2.TopicNames(topics=[TOPIC]),
            rebalance_timeout_ms=60_000,
            session_timeout_ms=SESSION_MS,
        )
        await self._settle()

    async def _settle(self) -> None:
        """Say what it holds until that is what it shall hold."""
        while (await self._beat(owned=self._owned)).HasField("assignment"):
            continue

    async def stay(self) -> None:
        """Beat until cancelled; at a time of its own."""
        await asyncio.sleep(random.uniform(0, self._interval_ms / 1000))
        while True:
            began = time.perf_counter()
            try:
                answer = await self._beat(max_wait_ms=self._interval_ms)
            except grpc.aio.AioRpcError as error:
                self._counts.failed[error.code().name] += 1
                await asyncio.sleep(_RETRY_S)
                continue
            took = time.perf_counter() - began
            self._counts.answered += 1
            if answer.HasField("assignment"):
                await self._settle()
            else:
                self._counts.late.append(took - self._interval_ms / 1000)


def _say_on(channel: grpc.aio.Channel) -> Say:
    say: Say = channel.unary_unary(
        "/logd.v1.Group/Heartbeat",
        request_serializer=group_pb2.GroupHeartbeatRequest.SerializeToString,
        response_deserializer=group_pb2.GroupHeartbeatResponse.FromString,
    )
    return say


async def _make_coordinators(channel: grpc.aio.Channel, groups: int) -> None:
    """Have the groups' topic made, and wait until all of its partitions are coordinated."""
    find: Any = channel.unary_unary(
        "/logd.v1.Group/FindCoordinator",
        request_serializer=group_pb2.FindCoordinatorRequest.SerializeToString,
    )
    read: Any = channel.unary_unary(
        "/logd.v1.Group/FetchOffsets",
        request_serializer=group_pb2.FetchOffsetsRequest.SerializeToString,
    )
    for number in range(groups):
        group_id = f"group-{number}"
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                await find(group_pb2.FindCoordinatorRequest(group_id=group_id))
                await read(group_pb2.FetchOffsetsRequest(group_id=group_id, member_epoch=-1))
                break
            except grpc.aio.AioRpcError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.05)


async def _join_all(members: list[Member]) -> None:
    turn = asyncio.Semaphore(_JOINING)

    async def join(member: Member) -> None:
        async with turn:
            await member.join()

    await asyncio.gather(*map(join, members))


async def report(node: RealNode, options: argparse.Namespace) -> None:
    """Measure and print."""
    # Thousands of members in one process are a load of objects that nobody measures here.
    gc.set_threshold(100_000, 50, 50)
    settings = [("grpc.use_local_subchannel_pool", 1)]
    channels = [
        grpc.aio.insecure_channel(node.address, settings) for _ in range(options.connections)
    ]
    await _make_coordinators(channels[0], options.groups)
    says = [_say_on(channel) for channel in channels]
    counts = Counts()
    members = [
        Member(number, options.groups, says[number % len(says)], counts)
        for number in range(options.members)
    ]
    began, before = time.perf_counter(), cpu_seconds(node)
    await asyncio.sleep(_IDLE_S)
    idle = (cpu_seconds(node) - before) / (time.perf_counter() - began)
    print(f"idle       {idle:8.3f} of a core")
    began, before = time.perf_counter(), cpu_seconds(node)
    await _join_all(members)
    took, used = time.perf_counter() - began, cpu_seconds(node) - before
    print(f"join       {used / len(members) * 1e3:8.2f} ms CPU a member; {took:.1f} s in all")
    staying = [asyncio.create_task(member.stay()) for member in members]
    await asyncio.sleep(options.warm_up)
    counts.answered, counts.late, counts.failed = 0, [], Counter()
    began, before = time.perf_counter(), cpu_seconds(node)
    await asyncio.sleep(options.seconds)
    took, used = time.perf_counter() - began, cpu_seconds(node) - before
    late = sorted(counts.late)
    print(
        f"heartbeat  {used / counts.answered * 1e6:8.0f} us CPU; "
        f"{counts.answered / took:,.0f}/s take {used / took:.3f} of a core"
    )
    print(
        f"late by    {late[len(late) // 2] * 1e3:8.1f} ms median, "
        f"{late[len(late) * 99 // 100] * 1e3:.1f} ms 99 %"
    )
    print(f"failed     {dict(counts.failed) or 0!s:>8}")
    print(f"memory     {node.memory_bytes() / 2**20:8.0f} MiB")
    for task in staying:
        task.cancel()
    await asyncio.gather(*staying, return_exceptions=True)
    for channel in channels:
        await channel.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.group_node", description=__doc__)
    parser.add_argument("--groups", type=int, default=1_000)
    parser.add_argument("--members", type=int, default=5_000)
    parser.add_argument("--connections", type=int, default=100, help="that the members share")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--warm-up", type=float, default=12.0)
    options = parser.parse_args()
    settings = {"LOGD__LIMITS__CONNECTIONS": str(max(4_000, options.connections + 100))}
    with (
        tempfile.TemporaryDirectory(prefix="logd-groups-") as folder,
        RealNode(Path(folder) / "node", settings=settings) as node,
    ):
        with Admin(node.address) as admin:
            admin.create_topic(TOPIC, partitions=PARTITIONS)
        asyncio.run(report(node, options))


if __name__ == "__main__":
    main()
