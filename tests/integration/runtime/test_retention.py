"""Retention of a whole node on virtual time: what goes when, and a wall clock that jumps."""

from __future__ import annotations

import asyncio

import pytest

from logd.testing import MemoryCluster, run

HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS
CHECKS = {"retention.check.interval.ms": "5m"}
LIMIT_S = 40 * 24 * 3600.0


async def hours(count: float) -> None:
    await asyncio.sleep(count * 3600)


async def start_offset(cluster: MemoryCluster) -> int:
    (info,) = await cluster.admin().describe_topics(["t"])
    return info.partitions[0].start_offset


async def segments(cluster: MemoryCluster) -> int:
    (info,) = await cluster.admin().describe_topics(["t"])
    return info.partitions[0].segments


async def words(cluster: MemoryCluster) -> str:
    (info,) = await cluster.admin().describe_topics(["t"])
    return info.partitions[0].retention


async def produce(cluster: MemoryCluster, *, at_ms: int | None = None) -> None:
    async with cluster.producer() as producer:
        stamp = cluster.clock.wall_ms() if at_ms is None else at_ms
        await producer.send_and_wait("t", b"value", timestamp=stamp)


def test_an_idle_topic_is_rolled_and_then_emptied() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config={"segment.ms": "1h", "retention.ms": "10h"})
        await produce(cluster)
        await hours(0.9)
        assert await segments(cluster) == 1
        await hours(0.3)
        assert await segments(cluster) == 2
        await hours(8.7)
        assert await start_offset(cluster) == 0
        assert "the oldest segment goes by age in" in await words(cluster)
        await hours(0.3)
        assert await start_offset(cluster) == 1
        assert await words(cluster) == "nothing to delete"

    run(scenario, config=CHECKS)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"cleanup.policy": ""}, "no segment is deleted: cleanup.policy is empty"),
        ({"retention.ms": "-1"}, "retention.ms, .bytes and .records are all -1"),
    ],
)
def test_what_is_kept_for_ever_says_so(config: dict[str, str], expected: str) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config=config)
        await produce(cluster)
        await hours(24 * 9)
        assert await start_offset(cluster) == 0
        assert expected in await words(cluster)

    run(scenario, config=CHECKS, limit_s=LIMIT_S)


def test_by_number() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config={"retention.records": "1", "segment.bytes": "1KiB"})
        async with cluster.producer() as producer:
            for _ in range(3):
                await producer.send_and_wait("t", b"v" * 900)
        assert "go with the next check: retention.records" in await words(cluster)
        await hours(0.1)
        assert await start_offset(cluster) == 2

    run(scenario, config=CHECKS)


@pytest.mark.parametrize("jump_ms", [10 * YEAR_MS, -10 * YEAR_MS])
@pytest.mark.parametrize("restart", ["", "process", "machine"])
def test_ten_years_wrong_delete_nothing_early(jump_ms: int, restart: str) -> None:
    """Records before, during and after the jump: each is there for its 48 hours at least."""

    async def scenario(cluster: MemoryCluster) -> None:
        clock = cluster.clock
        await cluster.create_topic("t", config={"segment.ms": "1h", "retention.ms": "48h"})
        await produce(cluster)
        await hours(2)
        clock.jump_wall(jump_ms)
        if restart == "machine":
            clock.boot_id = "another"
        if restart:
            await cluster.restart()
        await produce(cluster)
        await hours(2)
        said = await words(cluster)
        assert "nothing is deleted by age: the wall clock is" in said
        assert ("ahead of" if jump_ms > 0 else "behind") in said
        assert "ends when it comes back, or in" in said
        await hours(18)
        assert await start_offset(cluster) == 0
        clock.jump_wall(-jump_ms)
        await hours(0.2)
        assert "the wall clock" not in await words(cluster)
        await produce(cluster)
        await hours(25.5)
        assert await start_offset(cluster) == 0, "the first record is 47.7 hours old"
        await hours(1)
        assert await start_offset(cluster) == 1
        await hours(2)
        assert await start_offset(cluster) == 2, "and what came in the time between as well"

    run(scenario, config=CHECKS, limit_s=LIMIT_S)


@pytest.mark.parametrize("jump_ms", [10 * YEAR_MS, -10 * YEAR_MS])
def test_a_clock_that_stays_wrong_is_believed_after_a_day(jump_ms: int) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config={"segment.ms": "1h", "retention.ms": "48h"})
        await produce(cluster)
        await hours(40)
        cluster.clock.jump_wall(jump_ms)
        await hours(24.3)
        assert "the wall clock" not in await words(cluster)
        await produce(cluster)
        await hours(47.5)
        assert await start_offset(cluster) == 0, "48 hours from the moment it was believed"
        await hours(0.6)
        assert await start_offset(cluster) == 2
        await produce(cluster)
        await hours(47.9)
        assert await start_offset(cluster) == 2
        await hours(1.3)
        assert await start_offset(cluster) == 3

    run(scenario, config=CHECKS, limit_s=LIMIT_S)


def test_a_small_step_does_not_brake() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config={"segment.ms": "1h", "retention.ms": "10h"})
        await produce(cluster)
        await hours(1)
        cluster.clock.jump_wall(HOUR_MS)
        await hours(8.8)
        assert await start_offset(cluster) == 0
        assert "the wall clock" not in await words(cluster)
        await hours(0.4)
        assert await start_offset(cluster) == 1

    run(scenario, config=CHECKS)


def test_what_is_set_aside_is_not_purged_early() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        cluster.files.make_dir("partitions/unknown")
        await cluster.restart()
        cluster.clock.jump_wall(10 * YEAR_MS)
        await hours(2)
        assert len(cluster.files.list_dir("quarantine")) == 1
        await hours(24 + 21)
        assert len(cluster.files.list_dir("quarantine")) == 1
        await hours(2)
        assert cluster.files.list_dir("quarantine") == []

    run(scenario, config=CHECKS, limit_s=LIMIT_S)
