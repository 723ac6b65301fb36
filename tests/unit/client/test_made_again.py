"""A topic that is deleted and made again: positions in the one mean nothing in the other."""

from __future__ import annotations

import logging

import pytest
from logd_client._core.partition_reader import Reset
from logd_client._engine.consumer import ConsumerEngine
from logd_client._transport import methods
from logd_wire.errors import ErrorCode, UnknownTopicError, error_for

from tests.unit.client.harness import TP, World, read, run
from tests.unit.client.test_group_engine import engine_of, fill, join, member_world


async def read_then_made_again(reset: Reset) -> tuple[World, ConsumerEngine]:
    """Ten records of the topic are read; thirty are in the new one."""
    world = World()
    fill(world, 1, 10)
    engine = world.consumer(reset=reset)
    engine.fetcher.assign([TP])
    engine.fetcher.seek(TP, 0)
    await read(engine, 10)
    world.cluster.delete("t")
    fill(world, 1, 30)
    world.cluster.push_all()
    return world, engine


def test_without_a_reset_it_is_an_error_until_somebody_seeks() -> None:
    async def main() -> None:
        world, engine = await read_then_made_again(Reset.ERROR)
        await world.clock.sleep_ms(2_000)
        for _ in range(2):
            with pytest.raises(UnknownTopicError, match="'t' was deleted, and made again") as info:
                engine.fetcher.take(1)
            assert "seek" in info.value.hint
        engine.fetcher.seek(TP, 5)
        assert [record.offset for record in await read(engine, 25)] == list(range(5, 30))
        await engine.close()

    run(main)


@pytest.mark.parametrize("reset", [Reset.EARLIEST, Reset.LATEST])
def test_with_a_reset_all_of_the_new_one_is_read(
    reset: Reset, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        _, engine = await read_then_made_again(reset)
        assert [record.offset for record in await read(engine, 30)] == list(range(30))
        await engine.close()

    with caplog.at_level(logging.WARNING, "logd.client.consumer"):
        run(main)
    (said,) = [each.getMessage() for each in caplog.records]
    assert said == "topic 't' was deleted, and made again: going on at its beginning"


def test_a_member_reads_the_new_one_only_when_the_group_assigns_it() -> None:
    async def main() -> None:
        world, group = member_world()
        engine = engine_of(world)
        await join(engine)
        await read(engine, 20)
        group.refuse = lambda _: error_for(ErrorCode.COORDINATOR_LOADING, "loading")
        world.cluster.delete("t")
        world.cluster.push_all()
        await world.clock.sleep_ms(2_000)
        assert engine.fetcher.take(1) == {}, "the group takes it away: that is no error"
        fill(world, 2, 30)
        asked = world.cluster.called(methods.GET_METADATA)
        await world.clock.sleep_ms(2_500)
        assert engine.fetcher.take(1) == {}
        assert world.cluster.called(methods.GET_METADATA) - asked < 20
        group.committed.clear()
        await world.clock.sleep_ms(2_000)
        group.refuse = lambda _: None
        offsets = sorted(record.offset for record in await read(engine, 60))
        assert offsets == sorted([*range(30), *range(30)])
        await engine.close()

    run(main)
