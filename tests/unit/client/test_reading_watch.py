"""What is said of partitions that stand still: those that nobody sends, those that nobody reads."""

from __future__ import annotations

import logging

import pytest
from logd_client._core.fetch_state import News
from logd_client._core.partition_reader import Reset
from logd_client._engine.consumer import ConsumerEngine
from logd_client._engine.status import status_of
from logd_client.values import TopicPartition
from logd_wire.errors import ErrorCode, NotLeaderError, RebalanceError, error_for

from tests.unit.client.harness import World, read, run
from tests.unit.client.memory_cluster import MemoryCluster
from tests.unit.client.test_group_engine import engine_of, fill, join, member_world

T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)


def said(caplog: pytest.LogCaptureFixture, what: str) -> list[str]:
    return [text for each in caplog.records if what in (text := each.getMessage())]


@pytest.fixture(autouse=True)
def _listen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "logd.client.consumer")


def consumer(world: World, *assigned: TopicPartition) -> ConsumerEngine:
    engine = world.consumer(reset=Reset.EARLIEST)
    engine.fetcher.assign(assigned or (T0, T1))
    return engine


async def wait_on(engine: ConsumerEngine, seconds: float) -> None:
    """As an application that has nothing else to do."""
    assert not await engine.wait_readable(timeout_ms=seconds * 1000)


def test_a_partition_whose_node_is_gone_is_named_with_the_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        world = World(MemoryCluster(2))
        fill(world, 2, 1)
        world.cluster.move_leader("t", 1, 2)
        engine = consumer(world)
        await read(engine, 2)
        world.cluster.take_down("n2:7171")
        world.cluster.break_streams("n2:7171")
        await wait_on(engine, 25)
        assert said(caplog, "no node has sent") == []
        await wait_on(engine, 60)
        (told,) = said(caplog, "no node has sent")
        assert "anything of t[1] for 30 s" in told and "connection refused" in told
        partitions = status_of(engine).partitions
        assert partitions[T0].unserved_ms is None
        assert 80_000 <= (partitions[T1].unserved_ms or 0) <= 86_000
        world.cluster.move_leader("t", 1, 1)
        await wait_on(engine, 20)
        (again,) = said(caplog, "is read again")
        assert again.startswith("t[1] is read again, after ")
        assert status_of(engine).partitions[T1].unserved_ms is None
        await engine.close()

    run(main)


@pytest.mark.parametrize(
    ("trouble", "cause"),
    [
        ("silent", "n2:7171 has sent nothing since it was asked"),
        ("refused", "it moved"),
        ("led by nobody", "it has no leader that is known"),
    ],
)
def test_the_cause_is_said(trouble: str, cause: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World(MemoryCluster(2))
        fill(world, 1, 1)
        world.cluster.move_leader("t", 0, 2)
        engine = consumer(world, T0)
        await read(engine, 1)
        match trouble:
            case "silent":
                world.cluster.hung.add("n2:7171")
            case "refused":
                world.cluster.read_error = lambda *_: NotLeaderError("it moved")
            case _:
                world.cluster.fence(2)
        engine.fetcher.seek(T0, 0)
        await wait_on(engine, 40)
        (told,) = said(caplog, "no node has sent")
        assert cause in told
        await engine.close()

    run(main)


def test_a_node_that_owes_records_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        fill(world, 1, 1)
        engine = consumer(world, T0)
        await read(engine, 1)
        reader = engine.fetcher.reader(T0)
        reader.high_watermark = 9
        await wait_on(engine, 40)
        (told,) = said(caplog, "no node has sent")
        assert "n1:7171 says that there is more, up to offset 9, and sends nothing behind 1" in told
        await engine.close()

    run(main)


def test_partitions_without_records_paused_ones_and_those_read_are_not_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        world = World()
        world.cluster.create("t", 2)
        engine = consumer(world)
        await wait_on(engine, 90)
        engine.fetcher.pause([T1])
        fill(world, 2, 10)
        world.cluster.push_all()
        for _ in range(10):
            await read(engine, 1)
            await world.clock.sleep_ms(30_000)
        await wait_on(engine, 90)
        assert said(caplog, "") == []
        await engine.close()

    run(main)


def test_many_partitions_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World(MemoryCluster(2))
        fill(world, 12, 1)
        for log in world.cluster.topics["t"]:
            log.leader = 2
        world.cluster.hung.add("n2:7171")
        engine = consumer(world, *(TopicPartition("t", number) for number in range(12)))
        for tp in engine.fetcher.assignment():
            engine.fetcher.seek(tp, 0)
        await wait_on(engine, 60)
        (told,) = said(caplog, "no node has sent")
        assert "t[7] and 4 more for" in told and "t[8]" not in told
        await engine.close()

    run(main)


def test_a_partition_that_no_read_asks_for_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        fill(world, 2, 40)
        engine = consumer(world)
        only = frozenset({T0})
        for _ in range(30):
            while engine.fetcher.take_one(only) is None:
                await world.clock.sleep_ms(100)
            await world.clock.sleep_ms(5_000)
        (told,) = said(caplog, "is not read")
        assert "t[1] is not read: what was fetched of it, from offset 0 on, has waited" in told
        assert "pause()" in told and "fetch_max_bytes" in told
        engine.fetcher.pause([T1])
        await world.clock.sleep_ms(90_000)
        assert len(said(caplog, "t[1] is not read")) == 1
        await engine.close()

    run(main)


def test_a_member_that_is_busy_is_not_told_that_it_does_not_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        world, _ = member_world(each=40)
        engine = engine_of(world, rebalance_timeout_ms=600_000)
        await join(engine)
        await read(engine, 1)
        await world.clock.sleep_ms(120_000)
        assert said(caplog, "is not read") == [], "its handler takes long"
        only = frozenset(engine.fetcher.assignment()[:1])
        for _ in range(20):
            engine.fetcher.take(1, only)
            await world.clock.sleep_ms(5_000)
        assert len(said(caplog, "is not read")) == 1
        await engine.close()

    run(main)


def test_a_commit_of_what_was_lost_says_which_timeout_was_too_short() -> None:
    async def main() -> None:
        world, group = member_world()
        engine = engine_of(world)
        await join(engine, News.LOST)
        (record,) = await read(engine, 1)
        group.refuse = lambda _: error_for(ErrorCode.COORDINATOR_LOADING, "loading")
        await world.clock.sleep_ms(6_500)
        with pytest.raises(RebalanceError, match=r"was not heard for 6 s \(session_timeout_ms\)"):
            engine.reading.finish_records([record])
        await engine.close()

    run(main)


def test_whoever_handles_one_record_for_long_or_batch_after_batch_reads(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        world = World()
        fill(world, 1, 40)
        engine = consumer(world, T0)
        await read(engine, 1)
        await world.clock.sleep_ms(120_000)
        for _ in range(10):
            batch = engine.fetcher.take_batch(1)
            assert batch is not None
            engine.reading.settle(batch[0], None, unless_moved=None)
            await world.clock.sleep_ms(30_000)
        assert said(caplog, "") == []
        await world.clock.sleep_ms(60_000)
        (told,) = said(caplog, "is not read")
        assert "from offset 11 on" in told
        await engine.close()

    run(main)
