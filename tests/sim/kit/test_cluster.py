"""MemoryCluster as a user of it would write tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from logd_client.values import TopicPartition
from logd_wire.errors import TopicExistsError

from logd.testing import MemoryCluster, run

pytest_plugins = ["logd.testing.pytest_plugin"]


async def read_all(cluster: MemoryCluster, topic: str, count: int) -> list[bytes | None]:
    """The first `count` values of a topic."""
    values: list[bytes | None] = []
    async with cluster.consumer(topic, auto_offset_reset="earliest") as consumer:
        while len(values) < count:
            found = await consumer.getmany(timeout=10)
            assert found, f"only {len(values)} records came"
            values += [record.value for records in found.values() for record in records]
    return values


def test_what_was_acknowledged_survives_a_power_loss() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("orders", partitions=2)
        async with cluster.producer() as producer:
            for number in range(20):
                await producer.send("orders", f"order {number}", key=str(number))
            await producer.flush()
            metadata = await producer.send_and_wait("orders", "last", partition=0)
            assert metadata.durable
        await cluster.crash()
        await cluster.restart()
        values = await read_all(cluster, "orders", 21)
        assert values.count(b"last") == 1

    run(scenario)


def test_an_hour_of_waiting_takes_no_time() -> None:
    async def scenario(cluster: MemoryCluster) -> int:
        await cluster.create_topic("ticks")
        async with cluster.producer() as producer, cluster.consumer("ticks") as consumer:
            consumer.assign([TopicPartition("ticks", 0)])
            consumer.seek(TopicPartition("ticks", 0), 0)
            begin = cluster.clock.wall_ms()
            for _ in range(4):
                await producer.send_and_wait("ticks", "tick")
                await asyncio.sleep(900)
            await consumer.seek_to_time(begin + 1_000_000)
            record = await consumer.getone()
            assert record is not None
            assert await consumer.position(TopicPartition("ticks", 0)) == record.offset + 1
            return record.offset

    assert run(scenario) == 2


def test_clients_go_on_after_a_reset_and_a_restart() -> None:
    async def scenario(cluster: MemoryCluster) -> str:
        await cluster.create_topic("orders")
        async with cluster.producer() as producer:
            await producer.send_and_wait("orders", "0")
            for connection in cluster.network.connections():
                connection.reset("test")
            await producer.send_and_wait("orders", "1")
            await cluster.restart()
            await producer.send_and_wait("orders", "2")
        assert await read_all(cluster, "orders", 3) == [b"0", b"1", b"2"]
        with pytest.raises(TopicExistsError):
            await cluster.create_topic("orders")
        return cluster.trace.digest()

    assert run(scenario, seed=3) == run(scenario, seed=3)


def test_iterating_ends_with_the_loop_body() -> None:
    async def scenario(cluster: MemoryCluster) -> list[int]:
        async with cluster.producer() as producer:
            await producer.send_and_wait("made", "x")
            await producer.send_and_wait("made", "y")
        async with cluster.consumer("made", auto_offset_reset="earliest") as consumer:
            offsets = []
            async for record in consumer:
                offsets.append(record.offset)
                if len(offsets) == 2:
                    break
            ends = await consumer.end_offsets(consumer.assignment())
            assert list(ends.values()) == [2]
        return offsets

    assert run(scenario, config={"auto.create.topics.enable": "true"}) == [0, 1]


def test_the_fixture_runs_a_scenario(run_in_memory: Callable[..., str]) -> None:
    async def scenario(cluster: MemoryCluster) -> str:
        await cluster.crash(power_loss=False)
        await cluster.restart()
        cluster.clock.jump_wall(-3_600_000)
        info = await cluster.admin().describe_cluster()
        return info.nodes[0].address

    assert run_in_memory(scenario, seed="mine") == "memory:7171"


def test_a_cluster_works_on_an_ordinary_loop_too() -> None:
    async def main() -> None:
        async with MemoryCluster() as cluster:
            await cluster.create_topic("orders")
            async with cluster.producer() as producer:
                await producer.send_and_wait("orders", "0")
            assert await read_all(cluster, "orders", 1) == [b"0"]

    asyncio.run(main())
