"""Three nodes that copy partitions: what faults leave of what was acknowledged."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest
from logd_wire import iter_headers
from logd_wire.errors import LogdError, NotEnoughReplicasError

from logd.model.ids import NO_NODE
from logd.runtime.partition import Partition
from logd.testing import MemoryCluster, run
from logd.testing.clients import MemoryConsumer, MemoryProducer
from logd.testing.disk import DiskLatency
from tests.sim.rot import corrupt
from tests.sim.watch import read_segments
from tests.support import loops

NODES = (1, 2, 3)
#: Virtual seconds; copies that take longer do not get there.
PATIENCE_S = 60.0
until = partial(loops.until, limit_s=PATIENCE_S)
SMALL = {"segment.bytes": "1KiB", "file.delete.delay.ms": "1s"}


def up(cluster: MemoryCluster) -> list[int]:
    return [node for node in NODES if cluster.processes[node].up]


def copy_on(cluster: MemoryCluster, node: int) -> Partition:
    """The replica of the only partition."""
    (found,) = cluster.processes[node].node._partitions.all()
    return found


def leading(cluster: MemoryCluster) -> int:
    """The node that leads, as far as one of those in service knows; NO_NODE: nobody."""
    states = [copy_on(cluster, node).state for node in up(cluster)]
    return max(states, key=lambda state: (state.leader_epoch, state.partition_epoch)).leader_id


def isr(cluster: MemoryCluster) -> list[int]:
    """Who is in sync, as the leader knows."""
    return sorted(copy_on(cluster, leading(cluster)).state.isr)


async def all_in_sync(cluster: MemoryCluster) -> None:
    """Wait until all are in sync and know the same to be committed."""

    def are_alike() -> bool:
        found = [copy_on(cluster, node) for node in NODES]
        ends = {
            (each.view.start_offset, each.view.durable_end_offset, each.high_watermark)
            for each in found
        }
        return len(ends) == 1 and all(len(each.state.isr) == 3 for each in found)

    await until(lambda: up(cluster) == list(NODES) and are_alike())


async def all_alike(cluster: MemoryCluster) -> bytes:
    """The bytes of the partition, once all are in sync."""
    await all_in_sync(cluster)
    topic_id, start = copy_on(cluster, 1).id.topic_id, copy_on(cluster, 1).view.start_offset
    copies = [
        batches_from(start, read_segments(cluster.processes[node].files, topic_id, 0))
        for node in NODES
    ]
    assert copies[0] == copies[1] == copies[2]
    return copies[0]


def batches_from(start: int, segments: list[bytes]) -> bytes:
    """What a log holds at or above its start; what lies below goes segment by segment."""
    return b"".join(
        data[position : position + header.size]
        for data in segments
        for position, header in iter_headers(data)
        if header.next_offset > start
    )


async def created(cluster: MemoryCluster, **config: str) -> int:
    """Create the topic; returns who leads it."""
    named = {name.replace("_", "."): value for name, value in config.items()}
    await cluster.create_topic("t", config={**SMALL, **named})
    await until(
        lambda: (
            all(cluster.processes[node].node._partitions.all() for node in NODES)
            and leading(cluster) != NO_NODE
            and copy_on(cluster, leading(cluster)).leads(
                copy_on(cluster, leading(cluster)).leader_epoch
            )
        )
    )
    return leading(cluster)


async def send(producer: MemoryProducer, first: int, count: int) -> None:
    for number in range(first, first + count):
        await producer.send_and_wait("t", b"%d" % number)


async def values(consumer: MemoryConsumer, count: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            record = await consumer.getone()
            if record is not None:
                found.append(int(record.value or b"-1"))
    return found


async def everything(cluster: MemoryCluster, count: int) -> list[int]:
    consumer = cluster.consumer("t", node=up(cluster)[0], auto_offset_reset="earliest")
    async with consumer:
        return await values(consumer, count)


def others(node: int) -> list[int]:
    return [each for each in NODES if each != node]


# --- far behind ----------------------------------------------------------------------------------


@pytest.mark.parametrize("power_loss", [False, True])
@pytest.mark.parametrize("inside", [False, True], ids=["at a batch", "inside of a batch"])
def test_a_follower_behind_a_trimmed_leader_starts_over(power_loss: bool, inside: bool) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        away = others(leader)[0]
        async with cluster.producer(node=leader) as producer:
            await send(producer, 0, 5)
            await all_alike(cluster)
            await cluster.crash(away, power_loss=power_loss)
            sent = [await producer.send("t", b"%d" % number) for number in range(5, 45)]
            await asyncio.gather(*sent)
            await until(lambda: copy_on(cluster, leader).high_watermark == 45)
            start = 30 if inside else 45
            await cluster.admin(node=leader).delete_records("t", {0: start})
            await send(producer, 45, 5)
            await cluster.restart(away)
            await all_alike(cluster)
            assert copy_on(cluster, away).view.start_offset == start
            # It has what it needs to lead: nobody else is left who was there.
            await cluster.stop(leader)
            await until(lambda: leading(cluster) != NO_NODE)
            async with cluster.consumer("t", node=away, auto_offset_reset="earliest") as consumer:
                assert await values(consumer, 50 - start) == list(range(start, 50))
            await cluster.restart(leader)
        await all_alike(cluster)

    run(scenario, nodes=3)


def test_a_follower_that_was_away_long_is_copied_up_to_the_end() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        away = others(leader)[0]
        await cluster.stop(away)
        async with cluster.producer(node=leader) as producer:
            await send(producer, 0, 200)
        assert isr(cluster) == [node for node in NODES if node != away]
        await cluster.restart(away)
        await all_alike(cluster)
        assert await everything(cluster, 200) == list(range(200))

    run(scenario, nodes=3)


# --- too few -------------------------------------------------------------------------------------


def test_with_two_nodes_cut_off_nothing_is_acknowledged_and_nothing_lost() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        async with cluster.producer(node=leader) as producer:
            await send(producer, 0, 10)
        await all_alike(cluster)
        for node in others(leader):
            await cluster.crash(node)
        # The quorum is gone with them: nobody can make the in-sync set smaller.
        producer = cluster.producer(node=leader, delivery_timeout_ms=3_000)
        with pytest.raises(LogdError):
            await producer.send_and_wait("t", b"10")
        assert copy_on(cluster, leader).high_watermark == 10
        await asyncio.gather(*(cluster.restart(node) for node in others(leader)))
        await all_alike(cluster)
        async with cluster.producer(node=leader) as again:
            await send(again, 11, 5)
        await all_alike(cluster)
        found = await everything(cluster, copy_on(cluster, leader).high_watermark)
        # Of the one that was refused nobody knows; it is there once or not at all.
        assert found in ([*range(16)], [*range(10), *range(11, 16)])

    run(scenario, nodes=3)


def test_below_min_insync_replicas_a_leader_refuses_and_then_goes_on() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster, min_insync_replicas="3")
        away = others(leader)[0]
        async with cluster.producer(node=leader) as producer:
            await send(producer, 0, 3)
            await all_alike(cluster)
            await cluster.stop(away)
            await until(lambda: len(isr(cluster)) == 2)
            with pytest.raises(NotEnoughReplicasError):
                copy_on(cluster, leading(cluster)).append(b"", leader_epoch=-1, acks=-1)
            late = await producer.send("t", b"3")
            await asyncio.sleep(2)
            assert not late.done(), "it is tried again and again"
            await cluster.restart(away)
            await late
        await all_alike(cluster)
        assert await everything(cluster, 4) == [0, 1, 2, 3]

    run(scenario, nodes=3)


def test_min_insync_replicas_holds_with_the_in_sync_set_however_slow_the_disk_is() -> None:
    """The controller goes by the new value from its record on: who leaves the set then is taken for
    somebody who has all that is acknowledged, and may lead alone."""

    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster, min_insync_replicas="1")
        away = others(leader)[0]
        async with cluster.producer(node=leader) as producer:
            await send(producer, 0, 3)
        await all_alike(cluster)
        await cluster.stop(away)
        await until(lambda: len(isr(cluster)) == 2)
        leader = leading(cluster)
        led = copy_on(cluster, leader)
        (other,) = {*NODES}.difference([leader, away])
        # Its logs take their configuration late; nothing else of it waits for this disk.
        disk = cluster.processes[leader]._disks[0]
        before, disk.latency = disk.latency, DiskLatency(write_ms=20_000.0, factor_max=1.0)
        writer = cluster.processes[leader].node._driver
        producer = cluster.producer(node=leader)
        flying = await producer.send("t", b"3")
        await until(lambda: writer.busy_ms > 0)
        altering = asyncio.ensure_future(
            cluster.admin(node=other).alter_topic(
                "t",
                set_config={"min.insync.replicas": "3"},
                delete_config=(),
                partitions=0,
                validate_only=False,
            )
        )
        await until(lambda: led.min_isr == 3)
        assert led.config.min_insync_replicas == 1, "else nothing is proven"
        with pytest.raises(NotEnoughReplicasError):
            led.append(b"", leader_epoch=-1, acks=-1)
        disk.latency = before
        await altering
        await cluster.restart(away)
        await flying
        await producer.close()
        await all_alike(cluster)

    run(scenario, nodes=3)


# --- disks ---------------------------------------------------------------------------------------


def test_a_follower_with_a_full_disk_leaves_the_set_and_comes_back() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        full = others(leader)[0]
        files = cluster.processes[full].files
        async with cluster.producer(node=leader) as producer:
            await send(producer, 0, 5)
            await all_alike(cluster)
            files.capacity -= files.free_bytes()
            for number in range(5, 25):
                await producer.send_and_wait("t", b"%d " % number * 100)
                # The metadata log gives its reserve up when it needs room; that is taken too.
                files.capacity -= files.free_bytes()
            assert full not in isr(cluster)
            assert cluster.processes[full].up, "it waits for room, and serves what it has"
            files.capacity = 1 << 40
        await all_alike(cluster)

    # More than the reserve that its metadata log gives back when the disk is full.
    run(scenario, nodes=3, config={"disk.free_bytes_min": "2097152"})


@pytest.mark.parametrize("where", [0, 1], ids=["at the start", "at the end"])
def test_a_damaged_replica_is_copied_anew_and_the_damage_goes_nowhere(where: int) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        damaged = others(leader)[0]
        async with cluster.producer(node=leader) as producer:
            await send(producer, 0, 30)
        before = await all_alike(cluster)
        await cluster.crash(damaged)
        files, hook = cluster.processes[damaged].files, cluster.processes[damaged].files.before
        files.before = None
        folder = f"partitions/{copy_on(cluster, leader).id.topic_id.hex()}-0"
        logs = sorted(entry.name for entry in files.list_dir(folder) if entry.name.endswith(".log"))
        corrupt(files, f"{folder}/{logs[-where]}", 70)
        files.before = hook
        await cluster.restart(damaged)
        assert await all_alike(cluster) == before
        assert not copy_on(cluster, damaged).view.damage
        await cluster.stop(leader)
        assert await everything(cluster, 30) == list(range(30))

    run(scenario, nodes=3)


# --- restarts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("power_loss", [False, True])
def test_marks_survive_a_restart_of_all(power_loss: bool) -> None:
    """What was committed long enough ago is served by whoever leads before others are heard."""

    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        async with cluster.producer(node=leader) as producer:
            await send(producer, 0, 20)
        await all_alike(cluster)
        await asyncio.sleep(6)
        for node in NODES:
            await cluster.crash(node, power_loss=power_loss)
        # The third is in sync and silent: nothing can be told from the others for a while.
        await asyncio.gather(*(cluster.restart(node) for node in NODES[:2]))
        assert [copy_on(cluster, node).high_watermark for node in NODES[:2]] == [20, 20]
        await cluster.restart(NODES[2])
        assert await everything(cluster, 20) == list(range(20))
        await all_alike(cluster)

    run(scenario, nodes=3)


def test_all_lose_power_at_once_and_keep_what_was_acknowledged() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        for attempt in range(5):
            async with cluster.producer(node=leader) as producer:
                await send(producer, 10 * attempt, 10)
            for node in NODES:
                await cluster.crash(node)
            await asyncio.gather(*(cluster.restart(node) for node in NODES))
        assert await everything(cluster, 50) == list(range(50))
        await all_alike(cluster)

    run(scenario, nodes=3)


# --- acknowledged by the leader alone ------------------------------------------------------------


def test_acks_of_the_leader_are_its_own_and_no_more() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        producer = cluster.producer(node=leader)
        producer.engine.config = replace(producer.engine.config, acks=1)
        await producer.send_and_wait("t", b"0")
        await all_alike(cluster)
        for node in others(leader):
            cluster.isolate(node)
        delivered = await producer.send_and_wait("t", b"1")
        assert delivered.offset == 1
        assert copy_on(cluster, leader).high_watermark == 1, "acknowledged, not committed"
        await producer.engine.close()
        cluster.heal()
        await all_alike(cluster)
        found = await everything(cluster, 1)
        assert found[0] == 0

    run(scenario, nodes=3)


# --- readers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", ["stop", "kill", "power", "isolate"])
def test_a_reader_sees_every_record_once_and_in_order_through_leader_changes(
    how: str, seed: int
) -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await created(cluster)
        acknowledged: list[int] = []
        over = asyncio.Event()

        async def write() -> None:
            async with cluster.producer() as producer:
                while not over.is_set():
                    record = await producer.send_and_wait("t", b"%d" % len(acknowledged))
                    acknowledged.append(record.offset)
                    await asyncio.sleep(0.02)

        async def read() -> list[int]:
            found: list[int] = []
            async with cluster.consumer("t", auto_offset_reset="earliest") as consumer:
                while not over.is_set() or len(found) < len(acknowledged):
                    record = await consumer.getone()
                    if record is not None:
                        assert record.offset == len(found)
                        found.append(int(record.value or b"-1"))
            return found

        writing, reading = asyncio.ensure_future(write()), asyncio.ensure_future(read())
        for _ in range(3):
            await asyncio.sleep(1)
            await another_leads(cluster, how, acknowledged)
        over.set()
        await writing
        async with asyncio.timeout(PATIENCE_S):
            assert await reading == list(range(len(acknowledged)))
        assert acknowledged == list(range(len(acknowledged)))
        await all_alike(cluster)

    run(scenario, nodes=3, seed=seed)


async def another_leads(cluster: MemoryCluster, how: str, acknowledged: list[int]) -> None:
    """Take the leader away until another node leads and acknowledges."""
    leader, before = leading(cluster), len(acknowledged)
    await _end(cluster, leader, how)
    await until(lambda: leading_of_others(cluster, leader) not in (NO_NODE, leader))
    await until(lambda: len(acknowledged) > before + 10)
    cluster.heal()
    if not cluster.processes[leader].up:
        await cluster.restart(leader)


async def _end(cluster: MemoryCluster, leader: int, how: str) -> None:
    if how == "stop":
        await cluster.stop(leader)
    elif how == "isolate":
        cluster.isolate(leader)
    else:
        await cluster.crash(leader, power_loss=how == "power")


def leading_of_others(cluster: MemoryCluster, old: int) -> int:
    return next(copy_on(cluster, node).state.leader_id for node in up(cluster) if node != old)
