"""Producers of a node that is frozen: it takes everything, and answers nothing."""

from __future__ import annotations

import pytest
from logd_client._engine.cluster import METADATA_TIMEOUT_MS
from logd_client._engine.produce_link import SILENCE_AGAIN_MS, SILENCE_MS
from logd_client._transport import methods

from tests.unit.client.harness import World, run
from tests.unit.client.memory_cluster import MemoryCluster

ALL = ("n1:7171", "n2:7171", "n3:7171")
#: Calls, backoff and a new stream.
MARGIN_MS = 100


@pytest.mark.parametrize("appended", [True, False])
def test_what_a_frozen_leader_owes_goes_to_the_next_one(appended: bool) -> None:
    """Whether it got into the log before or not: once, and in order."""

    async def main() -> None:
        world = World(MemoryCluster(nodes=3))
        (log,) = world.cluster.create("t")
        engine = world.producer(linger_ms=0)
        first, _ = await engine.send("t", b"0")
        await engine.wait(first)
        if appended:
            world.cluster.swallow = lambda _: True
        else:
            world.cluster.hung.add("n1:7171")
        batches = []
        for number in range(1, 4):
            batches.append((await engine.send("t", b"%d" % number))[0])
            await world.clock.sleep_ms(5)
        await world.clock.sleep_ms(300)
        world.cluster.hung.add("n1:7171")
        world.cluster.swallow = lambda _: False
        world.cluster.move_leader("t", 0, 2)
        begin = world.clock.monotonic_ms()
        for batch in batches:
            await engine.wait(batch)
        assert world.clock.monotonic_ms() - begin < SILENCE_MS + MARGIN_MS
        assert log.values() == [b"0", b"1", b"2", b"3"]
        assert [batch.base_offset for batch in batches] == [1, 2, 3]
        await engine.close()

    run(main)


def test_an_answer_that_comes_after_all_changes_nothing() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=2))
        (log,) = world.cluster.create("t")
        engine = world.producer(linger_ms=0)
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)
        world.cluster.swallow = lambda _: True
        batch, _ = await engine.send("t", b"1")
        await world.clock.sleep_ms(300)
        ((stream, message),) = [
            (stream, message)
            for stream in world.cluster.streams
            for _, message in world.cluster.written[-1:]
        ]
        world.cluster.swallow = lambda _: False
        world.cluster.move_leader("t", 0, 2)
        await engine.wait(batch)
        # The node goes on, with what it had been sent: it leads no more.
        world.cluster.serve(stream, message)
        await world.clock.sleep_ms(300)
        assert batch.error is None and batch.base_offset == 1
        again, _ = await engine.send("t", b"2")
        await engine.wait(again)
        assert log.values() == [b"0", b"1", b"2"]
        await engine.close()

    run(main)


def test_a_silent_node_is_asked_about_until_somebody_else_leads() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3), servers=ALL)
        (log,) = world.cluster.create("t")
        engine = world.producer(linger_ms=0)
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)
        world.cluster.hung.add("n1:7171")
        batch, _ = await engine.send("t", b"1")
        await world.clock.sleep_ms(3_000)
        assert not batch.done
        world.cluster.move_leader("t", 0, 3)
        begin = world.clock.monotonic_ms()
        await engine.wait(batch)
        assert world.clock.monotonic_ms() - begin < SILENCE_AGAIN_MS + MARGIN_MS
        assert log.values() == [b"0", b"1"]
        # Only what stood before the silence went to the frozen node.
        asked = [
            address
            for address, name, _ in world.cluster.calls
            if name == methods.GET_METADATA and address == "n1:7171"
        ]
        assert len(asked) <= 1
        await engine.close()

    run(main)


def test_partitions_of_other_nodes_do_not_wait_for_a_frozen_one() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3), servers=ALL)
        world.cluster.create("t", partitions=3)
        engine = world.producer(linger_ms=0)
        for number in range(3):
            batch, _ = await engine.send("t", b"0", partition=number)
            await engine.wait(batch)
        world.cluster.hung.add("n1:7171")
        held, _ = await engine.send("t", b"1", partition=0)
        slowest = 0
        for turn in range(300):
            begin = world.clock.monotonic_ms()
            batch, _ = await engine.send("t", b"1", partition=1 + turn % 2)
            await engine.wait(batch)
            slowest = max(slowest, world.clock.monotonic_ms() - begin)
            await world.clock.sleep_ms(10)
        assert not held.done
        assert slowest < 20
        await engine.close()

    run(main)


def test_a_long_silence_is_asked_about_rarely() -> None:
    """Such as that of a leader with too few replicas in sync."""

    async def main() -> None:
        world = World(MemoryCluster(nodes=2))
        (log,) = world.cluster.create("t")
        engine = world.producer(linger_ms=0)
        batch, _ = await engine.send("t", b"0")
        await engine.wait(batch)
        world.cluster.swallow = lambda _: True
        batch, _ = await engine.send("t", b"1")
        await world.clock.sleep_ms(5_000)
        before = world.cluster.called(methods.GET_METADATA)
        assert before > 5
        await world.clock.sleep_ms(50_000)
        assert world.cluster.called(methods.GET_METADATA) - before <= 12
        assert not batch.done
        assert log.values() == [b"0", b"1"]
        await engine.close()

    run(main)


def test_the_first_address_may_be_frozen() -> None:
    async def main() -> None:
        world = World(MemoryCluster(nodes=3), servers=ALL)
        world.cluster.create("t", partitions=3)
        world.cluster.hung.add("n1:7171")
        engine = world.producer(linger_ms=0)
        begin = world.clock.monotonic_ms()
        batch, _ = await engine.send("t", b"0", partition=1)
        await engine.wait(batch)
        assert world.clock.monotonic_ms() - begin < METADATA_TIMEOUT_MS + MARGIN_MS
        await engine.close()

    run(main)


def test_what_waits_knows_why() -> None:
    """No producer id, no leader, no answer: what `last_error` says, and the error in the end."""

    async def main() -> None:
        world = World(MemoryCluster(nodes=2), servers=ALL[:2])
        world.cluster.create("t")
        for address in ALL[:2]:
            world.cluster.not_controller[address] = (-1, -1, "")
        engine = world.producer(linger_ms=0)
        batch, _ = await engine.send("t", b"0")
        await world.clock.sleep_ms(500)
        assert batch.last_error is not None and "no controller" in batch.last_error.message
        world.cluster.not_controller.clear()
        await engine.wait(batch)
        world.cluster.fence(1)
        batch, _ = await engine.send("t", b"1")
        await world.clock.sleep_ms(500)
        assert batch.last_error is not None
        assert "t[0] has no leader now" in batch.last_error.message
        world.cluster.move_leader("t", 0, 1)
        await engine.wait(batch)
        world.cluster.hung.add("n1:7171")
        batch, _ = await engine.send("t", b"2")
        await world.clock.sleep_ms(SILENCE_MS + MARGIN_MS)
        assert batch.last_error is not None
        assert batch.last_error.broker == "n1:7171"
        assert "does not answer" in batch.last_error.message
        await engine.close()

    run(main)
