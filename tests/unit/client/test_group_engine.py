"""A member's engine against a coordinator in memory: coordinators that move or hang, positions,
commits, and what may be delivered when."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from logd_client._core.fetch_state import FetchConfig, News
from logd_client._core.group_member import Subscription
from logd_client._core.partition_reader import Reset
from logd_client._engine.consumer import ConsumerConfig, ConsumerEngine
from logd_client._engine.group_config import GroupConfig
from logd_client._transport import methods
from logd_client.values import TopicPartition
from logd_proto.v1 import group_pb2
from logd_wire import WireRecord, encode_batch
from logd_wire.errors import ErrorCode, InvalidGroupError, LogdError, RebalanceError, error_for

from logd.testing.clock import SimClock
from tests.unit.client.harness import World, read, run
from tests.unit.client.memory_cluster import MemoryCluster
from tests.unit.client.memory_group import MemoryGroup

T0 = TopicPartition("t", 0)
T1 = TopicPartition("t", 1)


def fill(world: World, partitions: int, each: int) -> None:
    if "t" not in world.cluster.topics:
        world.cluster.create("t", partitions)
    for log in world.cluster.topics["t"]:
        append(log, each)


def append(log: Any, count: int) -> None:
    log.append(encode_batch([WireRecord(n, 1_000, None, b"%d" % n) for n in range(count)]))


def engine_of(world: World, *, reset: Reset = Reset.EARLIEST, **group: Any) -> ConsumerEngine:
    options = {"session_timeout_ms": 6_000, "auto_commit_interval_ms": 500, **group}
    config = ConsumerConfig(
        cluster=world.bootstrap,
        fetch=FetchConfig(reset=reset, committed_first=True),
        group=GroupConfig("g", **options),
    )
    return ConsumerEngine(world.cluster, world.clock, world.rng, config)


async def join(engine: ConsumerEngine, *told: News) -> None:
    await engine.join(Subscription(("t",)), frozenset(told))


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        assert loop.time() < end, "it does not come"
        await SimClock(loop).sleep_ms(10)


def member_world(nodes: int = 1, partitions: int = 2, each: int = 10) -> tuple[World, MemoryGroup]:
    world = World(MemoryCluster(nodes))
    fill(world, partitions, each)
    return world, MemoryGroup(world.cluster)


def test_the_coordinator_is_followed_when_it_moves() -> None:
    async def main() -> None:
        world, group = member_world(nodes=3)
        engine = engine_of(world)
        await join(engine)
        await read(engine, 20)
        assert engine.group is not None
        assert engine.group.coordinator.address == "n1:7171"
        group.move(3)
        before = len(group.beats)
        await until(lambda: len(group.beats) > before)
        assert engine.group.coordinator.address == "n3:7171"
        assert world.cluster.called(methods.FIND_COORDINATOR) == 1, "the refusal said where"
        await engine.commit({T0: 5})
        assert group.committed[("t", 0)] == 5
        await engine.close()

    run(main)


def test_a_coordinator_that_hangs_is_looked_for_elsewhere_within_the_session() -> None:
    async def main() -> None:
        world, group = member_world(nodes=3)
        for log in world.cluster.topics["t"]:
            log.leader = 2
        engine = engine_of(world)
        await join(engine)
        await read(engine, 20)
        world.cluster.hung.add("n1:7171")
        group.move(2)
        await world.clock.sleep_ms(6_000)
        assert engine.group is not None
        assert engine.group.coordinator.address == "n2:7171"
        assert len(engine.fetcher.assignment()) == 2
        assert [beat.member_epoch for beat in group.beats].count(0) == 1, "it never had to rejoin"
        await engine.close()

    run(main)


def test_nothing_is_delivered_past_the_session_of_a_frozen_process() -> None:
    async def main() -> None:
        world, _ = member_world()
        engine = engine_of(world)
        await join(engine)
        assert len(await read(engine, 3)) == 3
        assert engine.fetcher.take_one() is not None
        assert engine.group is not None
        # The process stood still: its timers have not run, its clock has gone on.
        deadline_ms = engine.group.member.deadline_ms
        lease = engine.fetcher.state.lease
        assert lease is not None and not lease.over()
        lease.now_ms = lambda: deadline_ms
        assert engine.fetcher.take_one() is None
        assert engine.fetcher.take(100) == {}
        lease.now_ms = lambda: deadline_ms - 1
        assert engine.fetcher.take_one() is not None
        await engine.close()

    run(main)


def test_a_session_without_answers_ends_reading_and_a_new_one_begins_at_the_commit() -> None:
    async def main() -> None:
        world, group = member_world()
        engine = engine_of(world)
        await join(engine, News.LOST)
        await read(engine, 20)
        engine.fetcher.take(1)
        await until(lambda: group.committed == {("t", 0): 10, ("t", 1): 10})
        group.refuse = lambda _: error_for(ErrorCode.COORDINATOR_LOADING, "loading")
        await world.clock.sleep_ms(6_500)
        assert engine.fetcher.assignment() == []
        announcement = engine.reading.next_announcement()
        assert announcement is not None
        assert (announcement.news, set(announcement.partitions)) == (News.LOST, {T0, T1})
        engine.reading.announced(announcement)
        group.refuse = lambda _: None
        await until(lambda: len(engine.fetcher.assignment()) == 2)
        fill(world, 2, 1)
        world.cluster.push_all()
        assert [record.offset for record in await read(engine, 2)] == [10, 10]
        await engine.close()

    run(main)


def test_a_new_group_at_the_end_commits_where_it_began() -> None:
    async def main() -> None:
        world, group = member_world()
        engine = engine_of(world, reset=Reset.LATEST)
        await join(engine)
        await until(lambda: group.committed == {("t", 0): 10, ("t", 1): 10}, 0.4)
        await engine.close()

    run(main)


def test_partitions_that_come_later_are_read_from_their_beginning() -> None:
    async def main() -> None:
        world, group = member_world()
        engine = engine_of(world, reset=Reset.LATEST)
        await join(engine)
        await until(lambda: len(group.committed) == 2)
        logs = world.cluster.topics["t"]
        logs.append(type(logs[0])(leader=1))
        append(logs[2], 4)
        world.cluster.index += 1
        group._retarget()
        assert [record[1:3] for record in await read(engine, 4)] == [(2, n) for n in range(4)]
        await engine.close()

    run(main)


def test_a_commit_under_an_old_epoch_is_made_again_under_the_new_one() -> None:
    async def main() -> None:
        world, group = member_world()
        engine = engine_of(world)
        await join(engine)
        await read(engine, 20)
        stale = [error_for(ErrorCode.STALE_MEMBER_EPOCH, "old")]

        def refuse(request: Any) -> LogdError | None:
            if isinstance(request, group_pb2.CommitOffsetsRequest) and stale:
                group.want({"m1": [("t", 0), ("t", 1)]})
                return stale.pop()
            return None

        group.refuse = refuse
        await engine.commit({T0: 7})
        assert (stale, group.committed[("t", 0)]) == ([], 7)
        await engine.close()

    run(main)


def test_commits_of_a_lost_membership_are_not_made_under_the_next() -> None:
    async def main() -> None:
        world, group = member_world()
        engine = engine_of(world)
        await join(engine)
        await read(engine, 20)

        stale = [error_for(ErrorCode.STALE_MEMBER_EPOCH, "old")]

        def refuse(request: Any) -> LogdError | None:
            if isinstance(request, group_pb2.CommitOffsetsRequest) and stale:
                group.expel("m1")
                return stale.pop()
            return None

        group.refuse = refuse
        with pytest.raises(RebalanceError):
            await engine.commit({T0: 7})
        assert group.committed.get(("t", 0), 0) == 0
        await engine.close()

    run(main)


def heard(engine: ConsumerEngine) -> list[tuple[News, tuple[TopicPartition, ...]]]:
    """What the application is told now; it takes no time."""
    told = []
    while (announcement := engine.reading.next_announcement()) is not None:
        told.append((announcement.news, announcement.partitions))
        engine.reading.announced(announcement)
    return told


def test_only_what_it_was_told_of_is_lost_while_it_is_handed_over() -> None:
    async def main() -> None:
        world, group = member_world()
        group.want({"m1": {("t", 0)}})
        engine = engine_of(world)
        await join(engine, *News)
        await until(lambda: heard(engine) == [(News.ASSIGNED, (T0,))])
        await read(engine, 10)
        group.want({"m1": {("t", 0), ("t", 1)}})
        await until(lambda: T1 in engine.fetcher.assignment())
        group.want({"m1": set()})
        await until(lambda: group.member("m1").assigned == set())
        group.expel("m1")
        await until(lambda: not engine.fetcher.assignment())
        assert heard(engine) == [(News.LOST, (T0,))]
        await engine.close()

    run(main)


def test_what_it_was_told_to_give_up_is_not_lost_as_well() -> None:
    async def main() -> None:
        world, group = member_world()
        engine = engine_of(world)
        await join(engine, *News)
        await until(lambda: heard(engine))
        await read(engine, 20)
        loading = error_for(ErrorCode.COORDINATOR_LOADING, "not yet")
        group.refuse = lambda request: (
            loading if isinstance(request, group_pb2.CommitOffsetsRequest) else None
        )
        group.want({"m1": {("t", 1)}})
        await until(lambda: group.member("m1").assigned == {("t", 1)})
        engine.fetcher.take(1)
        await until(lambda: heard(engine) == [(News.REVOKED, (T0,))])
        assert T0 in engine.fetcher.assignment(), "its last commit is not answered"
        group.expel("m1")
        await until(lambda: T0 not in engine.fetcher.assignment())
        assert heard(engine) == [(News.LOST, (T1,))]
        await engine.close()

    run(main)


def test_a_commit_does_not_overtake_the_one_before_it() -> None:
    async def main() -> None:
        world, group = member_world()
        engine = engine_of(world, auto_commit=False)
        await join(engine)
        await read(engine, 20)
        loading = [error_for(ErrorCode.COORDINATOR_LOADING, "loading") for _ in range(3)]

        def refuse(request: Any) -> LogdError | None:
            if not isinstance(request, group_pb2.CommitOffsetsRequest) or not loading:
                return None
            return loading.pop() if request.offsets[0].offset == 3 else None

        group.refuse = refuse
        await asyncio.gather(engine.commit({T0: 3}), engine.commit({T0: 5}))
        assert [offset for _, _, offset in group.commits] == [3, 5]
        await engine.close()

    run(main)


def test_each_commit_has_a_number_of_its_own() -> None:
    async def main() -> None:
        world, group = member_world()
        engine = engine_of(world, auto_commit=False)
        await join(engine)
        await read(engine, 20)
        for offset in (3, 2, 5):
            await engine.commit({T0: offset})
        sent = [
            request.sequence
            for _, method, request in world.cluster.calls
            if method == methods.COMMIT_OFFSETS
            and isinstance(request, group_pb2.CommitOffsetsRequest)
        ]
        assert sent == [1, 2, 3]
        assert group.committed[("t", 0)] == 5
        await engine.close()

    run(main)


def test_a_paused_partition_that_stays_is_paused_after_a_rebalance() -> None:
    async def main() -> None:
        world, group = member_world(partitions=3)
        engine = engine_of(world)
        await join(engine)
        await read(engine, 30)
        engine.fetcher.pause([T0])
        group.want({"m1": [("t", 0), ("t", 1)]})
        engine.fetcher.take(1)
        await until(lambda: len(engine.fetcher.assignment()) == 2)
        assert engine.fetcher.paused() == {T0}
        fill(world, 3, 1)
        world.cluster.push_all()
        assert {record.partition for record in await read(engine, 1)} == {1}
        await engine.close()

    run(main)


def test_partitions_that_stay_flow_while_another_one_goes() -> None:
    async def main() -> None:
        world, group = member_world(partitions=2, each=100)
        engine = engine_of(world)
        await join(engine, News.REVOKED)
        await until(lambda: len(engine.fetcher.state.ready) == 2)
        in_hand = engine.fetcher.take(1, frozenset({T1}))
        assert list(in_hand) == [T1]
        group.want({"m1": [("t", 0)]})
        await until(lambda: group.member("m1").assigned == {("t", 0)})
        found = engine.fetcher.take(50, frozenset({T0}))
        assert len(found[T0]) == 50
        assert group.holds("m1") == {("t", 0), ("t", 1)}
        assert engine.fetcher.take(1, frozenset({T1})) == {}
        await until(lambda: engine.fetcher.state.announcements)
        assert group.holds("m1") == {("t", 0), ("t", 1)}
        announcement = engine.reading.next_announcement()
        assert announcement is not None and announcement.partitions == (T1,)
        engine.reading.announced(announcement)
        await until(lambda: group.holds("m1") == {("t", 0)})
        assert group.committed[("t", 1)] == 1
        await engine.close()

    run(main)


def test_a_reader_that_does_not_come_back_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def warnings() -> list[str]:
        return [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]

    async def main() -> None:
        world, _ = member_world()
        engine = engine_of(world, rebalance_timeout_ms=20_000)
        await join(engine)
        assert len(await read(engine, 3)) == 3
        await world.clock.sleep_ms(15_000)
        assert engine.fetcher.take_one() is not None
        await world.clock.sleep_ms(15_000)
        assert warnings() == [], "it came back in between"
        await world.clock.sleep_ms(40_000)
        (told,) = warnings()
        assert "not come back for 20 s; it is at t[0]@3 t[1]@1" in told
        await read(engine, 16)
        assert engine.fetcher.take_one() is None
        waiting = asyncio.create_task(engine.wait_readable())
        await world.clock.sleep_ms(60_000)
        assert len(warnings()) == 1, "it waits for more"
        waiting.cancel()
        await engine.close()

    with caplog.at_level(logging.WARNING, "logd.client.group"):
        run(main)


@pytest.mark.parametrize(("instance_id", "epoch"), [(None, -1), ("one", -2)])
def test_it_says_goodbye(instance_id: str | None, epoch: int) -> None:
    async def main() -> None:
        world, group = member_world()
        engine = engine_of(world, instance_id=instance_id, assignor="range")
        await join(engine)
        await read(engine, 1)
        await engine.close()
        assert group.beats[-1].member_epoch == epoch
        assert group.beats[0].instance_id == (instance_id or "")
        assert (group.beats[0].assignor, group.beats[0].session_timeout_ms) == ("range", 6_000)
        assert group.members == {}

    run(main)


def test_who_left_without_being_heard_joins_again_as_another_member() -> None:
    async def main() -> None:
        world, group = member_world()
        engine = engine_of(world)
        await join(engine)
        await read(engine, 20)
        assert engine.group is not None
        world.cluster.hung.add("n1:7171")
        await engine.group.leave()
        world.cluster.hung.clear()
        group.expel("m1")
        await join(engine)
        await until(lambda: len(engine.fetcher.assignment()) == 2)
        assert len({beat.member_id for beat in group.beats}) == 2
        await engine.close()

    run(main)


def test_a_refusal_that_is_final_is_raised_by_every_read() -> None:
    async def main() -> None:
        world, group = member_world()
        group.refuse = lambda _: error_for(ErrorCode.GROUP_FULL, "1000 members are enough")
        engine = engine_of(world)
        await join(engine)
        for _ in range(2):
            with pytest.raises(InvalidGroupError, match="1000 members"):
                await read(engine, 1)
        await engine.close()

    run(main)


def test_offsets_are_asked_for_until_they_are_known() -> None:
    async def main() -> None:
        world, group = member_world()
        group.committed[("t", 0)] = 8
        answers = [error_for(ErrorCode.COORDINATOR_LOADING, "loading") for _ in range(2)]
        answers.append(error_for(ErrorCode.STALE_MEMBER_EPOCH, "old"))

        def refuse(request: Any) -> LogdError | None:
            asks = isinstance(request, group_pb2.FetchOffsetsRequest)
            return answers.pop() if asks and answers else None

        group.refuse = refuse
        engine = engine_of(world)
        await join(engine)
        records = await read(engine, 12)
        assert [record.offset for record in records if record.partition == 0] == [8, 9]
        assert answers == []
        await engine.close()

    run(main)
