"""Real members of groups, and a real coordinator, in memory and in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from logd_client.values import TopicPartition
from logd_wire.errors import InvalidGroupError, RebalanceError, UnknownTopicError

from logd.testing import MemoryCluster, run
from logd.testing.clients import MemoryConsumer

SESSION_MS = 6_000
OPTIONS: dict[str, Any] = {
    "group_id": "g",
    "auto_offset_reset": "earliest",
    "session_timeout_ms": SESSION_MS,
    "auto_commit_interval_ms": 500,
}


async def filled(cluster: MemoryCluster, partitions: int, each: int, **options: Any) -> None:
    """A topic `t` with `each` records a partition, numbered."""
    await cluster.create_topic("t", partitions=partitions, **options)
    await more(cluster, partitions, range(each))


async def more(cluster: MemoryCluster, partitions: int, numbers: range) -> None:
    producer = cluster.producer()
    for number in numbers:
        for partition in range(partitions):
            await producer.send("t", str(number), partition=partition)
    await producer.flush()


class Reader:
    """A member and the task that reads with it; says what was delivered, and when."""

    def __init__(self, cluster: MemoryCluster, name: str, **options: Any) -> None:
        self.name = name
        self.clock = cluster.clock
        self.consumer: MemoryConsumer = cluster.consumer("t", **{**OPTIONS, **options})
        #: (partition, offset, when)
        self.delivered: list[tuple[int, int, float]] = []
        self.task = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        while True:
            for records in (await self.consumer.getmany(timeout=0.5, max_records=10)).values():
                for record in records:
                    now_ms = self.clock.monotonic_ms()
                    self.delivered.append((record.partition, record.offset, now_ms))
            await asyncio.sleep(0.01)

    @property
    def partitions(self) -> set[int]:
        return {tp.partition for tp in self.consumer.assignment()}

    def cut(self, cluster: MemoryCluster) -> None:
        """Nothing reaches any node from this member, or comes back."""
        number = 1 + cluster._clients.index(self.consumer)
        cluster.network.partition(lambda client, _: client == f"consumer-{number}")

    async def stop(self, *, close: bool = True) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        if close:
            await self.consumer.close()


async def until(condition: Callable[[], bool], seconds: float = 30) -> float:
    """Wait in virtual time; returns how many milliseconds it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        assert loop.time() - began < seconds, "it does not come"
        await asyncio.sleep(0.005)
    return (loop.time() - began) * 1000


def shared(*readers: Reader, partitions: int) -> bool:
    """Whether each partition has exactly one of them."""
    found = [number for reader in readers for number in reader.partitions]
    return sorted(found) == list(range(partitions))


def test_a_planned_leave_hands_over_within_half_a_second() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await filled(cluster, 4, 20)
        one = Reader(cluster, "one")
        await until(lambda: len(one.delivered) == 80)
        two = Reader(cluster, "two")
        await until(lambda: shared(one, two, partitions=4) and len(two.partitions) == 2)
        assert two.delivered == [], "what was finished was committed before it went"
        leaving = asyncio.get_running_loop().create_task(one.stop())
        assert await until(lambda: two.partitions == {0, 1, 2, 3}) < 500
        await leaving
        await more(cluster, 4, range(1))
        await until(lambda: len(two.delivered) == 4)
        await two.stop()

    run(scenario)


def test_a_member_that_is_gone_is_replaced_within_its_session_and_delivers_nothing_past_it() -> (
    None
):
    async def scenario(cluster: MemoryCluster) -> None:
        await filled(cluster, 4, 2_000)
        one, two = Reader(cluster, "one"), Reader(cluster, "two")
        await until(lambda: shared(one, two, partitions=4) and len(two.partitions) == 2)
        gone = set(one.partitions)
        one.cut(cluster)
        took_ms = await until(lambda: two.partitions == {0, 1, 2, 3})
        assert took_ms <= SESSION_MS + 1_000
        await until(lambda: any(number in gone for number, _, _ in two.delivered))
        first = min(when for number, _, when in two.delivered if number in gone)
        assert all(when < first for _, _, when in one.delivered)
        assert one.partitions == set()
        cluster.heal()
        await until(lambda: shared(one, two, partitions=4) and len(one.partitions) == 2)
        await asyncio.gather(one.stop(), two.stop())

    run(scenario)


def test_a_handler_of_five_minutes_keeps_its_partitions() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await filled(cluster, 2, 10)
        consumer = cluster.consumer("t", **OPTIONS)
        first = await consumer.getone(timeout=10)
        assert first is not None
        await asyncio.sleep(300)
        second = await consumer.getone(timeout=0.1)
        assert second is not None
        assert consumer.status().state == "stable"
        assert len(consumer.assignment()) == 2
        await consumer.commit()
        await consumer.close()

    run(scenario)


def test_a_slow_revoker_is_fenced_after_the_rebalance_timeout() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await filled(cluster, 2, 10)
        slow = cluster.consumer("t", **OPTIONS, rebalance_timeout_ms=10_000)
        lost: list[Any] = []
        slow.subscribe(["t"], on_lost=lost.append)
        batch = await slow.getmany(timeout=10)
        assert len(batch) == 2 or await slow.getmany(timeout=1)
        two = Reader(cluster, "two")
        took_ms = await until(lambda: len(two.partitions) == 1, 20)
        assert 9_000 < took_ms < 12_000
        (moved,) = two.partitions
        with pytest.raises(RebalanceError):
            await slow.commit({TopicPartition("t", moved): 5})
        await slow.getmany(timeout=1)
        assert [sorted(partitions) for partitions in lost] == [
            [TopicPartition("t", 0), TopicPartition("t", 1)]
        ]
        await two.stop()
        await slow.close()

    run(scenario)


def test_groups_are_independent_and_offsets_outlive_the_coordinator() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await filled(cluster, 2, 50)
        a, b = Reader(cluster, "a"), Reader(cluster, "b", group_id="h")
        await until(lambda: len(a.delivered) == len(b.delivered) == 100)
        # Until both have come back for more, and so are done with the last ones.
        await asyncio.sleep(1)
        await asyncio.gather(a.stop(), b.stop())
        await cluster.crash()
        await cluster.restart()
        again = Reader(cluster, "again")
        await more(cluster, 2, range(3))
        await until(lambda: len(again.delivered) >= 6)
        assert all(offset >= 50 for _, offset, _ in again.delivered)
        await again.stop()

    run(scenario)


def test_members_go_on_when_the_coordinator_dies() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await filled(cluster, 4, 50, replication_factor=3)
        one, two = Reader(cluster, "one"), Reader(cluster, "two")
        await until(lambda: shared(one, two, partitions=4) and len(two.partitions) == 2)
        address = one.consumer.status().coordinator
        (node,) = [n for n, each in cluster.processes.items() if each.address == address]
        await cluster.crash(node)
        await asyncio.sleep(1)
        other = next(n for n in cluster.processes if n != node)
        producer = cluster.producer(node=other)
        for number in range(100):
            await producer.send("t", str(number), partition=number % 4)
        await producer.flush()
        await until(lambda: _count(one, two) == 4 * 50 + 100, 60)
        await cluster.restart(node)
        await until(lambda: shared(one, two, partitions=4), 60)
        await asyncio.gather(one.stop(), two.stop())

    run(scenario, nodes=3)


def test_what_cannot_be_subscribed_to_says_so() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        unknown = cluster.consumer("nowhere", **OPTIONS)
        with pytest.raises(UnknownTopicError, match="nowhere"):
            await unknown.getone()
        evil = cluster.consumer(**OPTIONS)
        evil.subscribe(pattern="(")
        with pytest.raises(InvalidGroupError):
            for _ in range(10):
                await evil.getone(timeout=1)

    run(scenario)


def test_a_pattern_takes_up_topics_that_come_later() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await filled(cluster, 1, 5)
        consumer = cluster.consumer(**OPTIONS)
        consumer.subscribe(pattern="[tu]")
        assert await consumer.getone(timeout=5) is not None
        await cluster.create_topic("u")
        async with cluster.producer() as producer:
            await producer.send_and_wait("u", b"later")
        found = set()
        for _ in range(20):
            record = await consumer.getone(timeout=1)
            if record is not None:
                found.add(record.topic)
        assert found == {"t", "u"}
        await consumer.close()

    run(scenario)


@pytest.mark.parametrize("seed", range(4))
def test_a_storm_of_members_loses_nothing(seed: int) -> None:
    """Members come, leave, are cut off and come back at random; in the end everything was
    delivered and committed, and no committed offset ever went back."""
    dice = random.Random(seed)

    async def scenario(cluster: MemoryCluster) -> None:
        await filled(cluster, 5, 0)
        readers = [Reader(cluster, "0")]
        everybody = list(readers)
        watch = _Watch(cluster)
        for step in range(30):
            await more(cluster, 5, range(step * 4, step * 4 + 4))
            match dice.choice(["come", "come", "leave", "cut", "heal"]):
                case "come" if len(readers) < 6:
                    readers.append(Reader(cluster, str(step)))
                    everybody.append(readers[-1])
                case "leave" if len(readers) > 1:
                    await readers.pop(dice.randrange(len(readers))).stop()
                case "cut":
                    dice.choice(readers).cut(cluster)
                case "heal":
                    cluster.heal()
                case _:
                    pass
            await asyncio.sleep(dice.random() * 4)
            await watch.look()
        cluster.heal()
        await until(lambda: _count(*everybody) == 5 * 120, 60)
        await until(lambda: shared(*readers, partitions=5), 60)
        await asyncio.gather(*(reader.stop() for reader in readers))
        await watch.look()
        assert watch.committed == dict.fromkeys(range(5), 120)

    run(scenario, seed=seed)


class _Watch:
    """Committed offsets as somebody sees them who is no member."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.consumer = cluster.consumer(**OPTIONS)
        self.committed: dict[int, int] = {}

    async def look(self) -> None:
        for number in range(5):
            found = await self.consumer.committed(TopicPartition("t", number))
            assert (found or 0) >= self.committed.get(number, 0), "it went back"
            self.committed[number] = found or 0


def _count(*readers: Reader) -> int:
    return len({(number, offset) for each in readers for number, offset, _ in each.delivered})
