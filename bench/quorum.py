"""What three nodes agree on in a second: `python -m bench.quorum [--seconds S]` prints a table.

Three real nodes on this machine, each with its own folder and synced log. A command changes the
configuration of one topic and is acknowledged once a majority has it durable and the answering
node has followed it. A read is a command that changes nothing: it is answered after a majority
confirmed the leader, so it is linearizable.

CPU is for each call, of the nodes alone: a busy machine changes it less than the rates.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
from logd_proto.v1 import admin_pb2

from tests.support.quorum import RealCluster, cpu_seconds

IN_FLIGHT = 64
#: Connections that share the calls in flight, as those of several clients.
CONNECTIONS = 4

Call = Callable[[admin_pb2.AlterTopicRequest], Awaitable[admin_pb2.AlterTopicResponse]]


def alter_topic(channel: grpc.aio.Channel) -> Call:
    call: Call = channel.unary_unary(
        "/logd.v1.Admin/AlterTopic",
        request_serializer=admin_pb2.AlterTopicRequest.SerializeToString,
        response_deserializer=admin_pb2.AlterTopicResponse.FromString,
    )
    return call


def request(worker: int, turn: int) -> admin_pb2.AlterTopicRequest:
    """A change whenever `turn` is another than before."""
    value = str(3_600_000 + turn)
    return admin_pb2.AlterTopicRequest(name=f"bench-{worker}", set_config={"retention.ms": value})


async def measure(
    calls: Sequence[Call], workers: int, seconds: float, *, changes: bool
) -> tuple[float, list[float]]:
    """Calls a second, and what each took in seconds."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def work(worker: int) -> None:
        turn = 0
        while (begun := time.perf_counter()) < end:
            turn += changes
            await calls[worker % len(calls)](request(worker, turn))
            took.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*map(work, range(workers)))
    return len(took) / (time.perf_counter() - begun), took


def _connection(cluster: RealCluster, number: int) -> grpc.aio.Channel:
    """A connection of its own: channels to one address share one otherwise."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(cluster.nodes[number].address, options)


def _cpu_seconds(cluster: RealCluster) -> dict[int, float]:
    return {number: cpu_seconds(node) for number, node in cluster.nodes.items()}


async def report(cluster: RealCluster, leader: int, seconds: float) -> None:
    follower = min(number for number in cluster.nodes if number != leader)
    print(
        "| asked | calls | in flight | a second | median ms | 99 % ms | "
        "leader CPU ms | all CPU ms |\n"
        "|---|---|--:|--:|--:|--:|--:|--:|"
    )
    for asked, number in (("the leader", leader), ("a follower", follower)):
        async with AsyncExitStack() as stack:
            calls = [
                alter_topic(await stack.enter_async_context(_connection(cluster, number)))
                for _ in range(CONNECTIONS)
            ]
            for what, in_flight, changes in (
                ("changes", IN_FLIGHT, True),
                ("changes", 1, True),
                ("reads", IN_FLIGHT, False),
                ("reads", 1, False),
            ):
                before = _cpu_seconds(cluster)
                rate, took = await measure(calls, in_flight, seconds, changes=changes)
                used = {node: end - before[node] for node, end in _cpu_seconds(cluster).items()}
                median, worst = statistics.median(took), statistics.quantiles(took, n=100)[-1]
                print(
                    f"| {asked} | {what} | {in_flight} | {rate:,.0f} | "
                    f"{median * 1e3:.2f} | {worst * 1e3:.2f} | "
                    f"{used[leader] / len(took) * 1e3:.2f} | "
                    f"{sum(used.values()) / len(took) * 1e3:.2f} |",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.quorum", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each row")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, RealCluster(Path(folder)) as cluster:
        for worker in range(IN_FLIGHT):
            name = f"bench-{worker}"
            cluster.ask(lambda admin, name=name: admin.create_topic(name))  # type: ignore[misc]
        asyncio.run(report(cluster, cluster.controller(), arguments.seconds))


if __name__ == "__main__":
    main()
