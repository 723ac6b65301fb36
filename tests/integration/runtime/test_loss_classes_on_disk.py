"""How others lost acknowledged records on disks and by clocks, class by class: here they stay.

One scripted scenario for each class of KAFKA-13773, KIP-937, the NATS and etcd reports and what is
known of full disks, by their number in the list of loss classes; replication is in
`test_loss_classes.py`. Virtual time, real nodes, files in memory that lose what was not synced.
"""

from __future__ import annotations

import asyncio
import errno

import pytest
from logd_wire.errors import LogdError, StorageFullError

from logd.model.ids import NO_NODE
from logd.storage.memory_files import MemoryFiles
from logd.testing import MemoryCluster, run
from logd.testing.disk import DiskLatency
from logd.testing.process import ProcessDiedError
from tests.integration.runtime.test_clusters import broker, create, formed, same_image
from tests.integration.runtime.test_replication import (
    NODES,
    all_alike,
    copy_on,
    created,
    everything,
    leading,
    others,
    send,
    until,
    up,
)
from tests.integration.runtime.test_retention import CHECKS, hours, produce, segments, start_offset
from tests.sim.rot import corrupt
from tests.support.partitions import batch_of

HOUR_MS = 3_600_000


class Untouched:
    """What a test does to files, no process does."""

    def __init__(self, cluster: MemoryCluster, node: int) -> None:
        self.files: MemoryFiles = cluster.processes[node].files

    def __enter__(self) -> MemoryFiles:
        self._hook, self.files.before = self.files.before, None
        return self.files

    def __exit__(self, *_: object) -> None:
        self.files.before = self._hook


def folder_of(cluster: MemoryCluster, node: int) -> str:
    return f"partitions/{copy_on(cluster, node).id.topic_id.hex()}-0"


# --- syncs ---------------------------------------------------------------------------------------


def test_r06_after_a_failed_sync_no_stop_is_called_clean() -> None:
    """KAFKA-13773: the marker of a clean stop was written after an I/O error, so that the next
    start did not look at what the error had left."""

    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        process = cluster.processes[leader]
        async with cluster.producer(node=others(leader)[0]) as producer:
            await send(producer, 0, 10)
            await all_alike(cluster)

            def fail(operation: str, path: str) -> None:
                if operation == "sync" and path.endswith(".log") and "partitions" in path:
                    raise OSError(errno.EIO, "input/output error", path)

            process.on_file_operation = fail
            await send(producer, 10, 5)
            await until(lambda: not process.alive)
            assert process.failed_at is not None, "it stopped by itself"
            process.on_file_operation = None
            with Untouched(cluster, leader) as files:
                assert not files.exists("clean-stop")
                assert files.exists(folder_of(cluster, others(leader)[0]))
            await cluster.restart(leader)
            assert not process.node._directory.was_clean
            await send(producer, 15, 5)
        await all_alike(cluster)
        assert await everything(cluster, 20) == list(range(20))
        # One that stops without an error is clean, or the marker would prove nothing.
        await cluster.stop(leader)
        with Untouched(cluster, leader) as files:
            assert files.exists("clean-stop")

    run(scenario, nodes=3)


def test_r11_all_lose_their_power_behind_an_acknowledgement() -> None:
    """NATS 7564. At the very moment in which it arrives; disks are slow, and nothing survives that
    was not synced."""

    async def scenario(cluster: MemoryCluster) -> None:
        await created(cluster)
        for number in range(6):
            async with cluster.producer(node=leading(cluster)) as producer:
                await send(producer, number, 1)
                for node in NODES:
                    await cluster.crash(node)
            await asyncio.gather(*(cluster.restart(node) for node in NODES))
            await until(lambda: leading(cluster) != NO_NODE)
        assert await everything(cluster, 6) == list(range(6))
        await all_alike(cluster)

    run(scenario, nodes=3, latency=DiskLatency(sync_ms=30.0))


# --- rot -----------------------------------------------------------------------------------------


def test_r12_a_flipped_bit_of_one_replica_goes_nowhere() -> None:
    """NATS 7549, 7556: damage on a minority cost half of all records. The one that is damaged led
    before, and its segments are cut up further when it comes back."""

    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        async with cluster.producer(node=leader) as producer:
            await send(producer, 0, 40)
        before = await all_alike(cluster)
        folder = folder_of(cluster, leader)
        for node in NODES:
            await cluster.crash(node, power_loss=False)
        with Untouched(cluster, leader) as files:
            logs = sorted(e.name for e in files.list_dir(folder) if e.name.endswith(".log"))
            assert len(logs) > 2
            for name in logs[:2]:
                corrupt(files, f"{folder}/{name}", 80)
        await asyncio.gather(*(cluster.restart(node) for node in NODES))
        # In the worst case it leads. Nobody has read these segments since.
        await until(lambda: leading(cluster) != NO_NODE)
        await until(lambda: len(copy_on(cluster, leading(cluster)).state.isr) == 3)
        await cluster.admin(node=leader).transfer_leader("t", 0, leader)
        await until(lambda: leading(cluster) == leader)
        assert await everything(cluster, 40) == list(range(40))
        assert leading(cluster) != leader
        await until(lambda: len(copy_on(cluster, leading(cluster)).state.isr) == 3)
        assert await all_alike(cluster) == before

    run(scenario, nodes=3)


def test_r12_what_the_metadata_does_not_know_is_kept() -> None:
    """NATS deleted the data of streams that damaged metadata did not name any more."""

    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster)
        away = others(leader)[0]
        async with cluster.producer(node=leader) as producer:
            await send(producer, 0, 10)
        await all_alike(cluster)
        await cluster.crash(away)
        unknown = "partitions/" + "ab" * 16 + "-0"
        with Untouched(cluster, away) as files:
            files.rename(folder_of(cluster, leader), unknown)
        await cluster.restart(away)
        await all_alike(cluster)
        with Untouched(cluster, away) as files:
            assert not files.exists(unknown)
            [kept] = [e.name for e in files.list_dir("quarantine") if "ab" * 16 in e.name]
            assert any(e.name.endswith(".log") for e in files.list_dir(f"quarantine/{kept}"))

    run(scenario, nodes=3)


@pytest.mark.parametrize("how", ["truncated", "empty", "gone"])
def test_r13_who_lost_its_raft_log_votes_for_nobody(how: str) -> None:
    """NATS 7587: a node with an emptied log voted, and a majority that knew nothing deleted what
    the third one had."""

    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        await cluster.stop(2)
        for number in range(8):
            await create(cluster, f"topic-{number}", 1)
        before = {*broker(cluster, 1).image.topics}
        await cluster.crash(3)
        await cluster.crash(1)
        with Untouched(cluster, 3) as files:
            damage_raft_log(files, how)
        # 2 knows nothing of the topics; with the vote of 3 it would lead.
        starting = asyncio.ensure_future(cluster.restart(2))
        with pytest.raises(ProcessDiedError):
            await cluster.restart(3)
        await asyncio.sleep(10)
        assert cluster.leader() is None, "there is no majority without a log that was saved"
        assert not starting.done()
        await cluster.restart(1)
        await starting
        await until(same_image(cluster, 1, 2))
        assert {*broker(cluster, 2).image.topics} == before

    run(scenario, nodes=3)


def damage_raft_log(files: MemoryFiles, how: str) -> None:
    folder = "raft/log"
    for name in [e.name for e in files.list_dir(folder) if e.name.endswith(".log")]:
        path = f"{folder}/{name}"
        if how == "gone":
            files.unlink(path)
            continue
        file = files.open(path)
        file.truncate(0 if how == "empty" else file.size() // 2)
        file.sync()
        file.close()
    files.sync_dir(folder)


def test_r14_what_is_applied_and_how_far_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """etcd 13766: the applied index was saved apart from the state. Here a node is killed at one
    file operation after the other while snapshots are taken, one every few entries."""
    monkeypatch.setattr("logd.runtime.snapshot_taker.SNAPSHOT_ENTRIES", 4)

    async def scenario(cluster: MemoryCluster) -> None:
        await formed(cluster, 1, 2, 3)
        process, made = cluster.processes[3], 0
        for operations in range(3, 60, 5):
            left = operations

            def count(_operation: str, path: str) -> None:
                nonlocal left
                left -= path.startswith("raft/")
                if left == 0:
                    process.crash(power_loss=True)

            process.on_file_operation = count
            while process.alive:
                await create(cluster, f"topic-{made}", 1)
                made += 1
            process.on_file_operation = None
            await cluster.restart(3)
            await until(same_image(cluster, 1, 2, 3))
        assert broker(cluster, 3).quorum.snapshot_point.index > made
        for node in NODES:
            await cluster.crash(node)
        await asyncio.gather(*(cluster.restart(node) for node in NODES))
        await until(same_image(cluster, 1, 2, 3))
        assert len(broker(cluster, 3).image.topics) == made

    run(scenario, nodes=3)


# --- clocks --------------------------------------------------------------------------------------


def test_r15_record_times_delete_nothing_early_and_keep_nothing_for_ever() -> None:
    """KIP-937: a time in the past had a record deleted at once, one in the future kept it for ever.
    What counts is when a record came."""

    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", config={"segment.ms": "30m", "retention.ms": "2h"})
        await produce(cluster, at_ms=1)
        await hours(0.8)
        assert await segments(cluster) == 2 and await start_offset(cluster) == 0
        await produce(cluster, at_ms=cluster.clock.wall_ms() + HOUR_MS // 2)
        with pytest.raises(LogdError):
            await produce(cluster, at_ms=cluster.clock.wall_ms() + 20 * HOUR_MS)
        await hours(1.1)
        assert await start_offset(cluster) == 0, "no record is two hours here"
        await hours(0.3)
        assert await start_offset(cluster) == 1
        await hours(0.8)
        assert await start_offset(cluster) == 2

    run(scenario, config=CHECKS, limit_s=40 * 24 * 3600.0)


# --- full disks ----------------------------------------------------------------------------------


def test_r18_a_disk_that_is_full_in_mid_batch_costs_nothing_that_was_acknowledged() -> None:
    """A write stops in the middle of a batch, a start has no room, and only deleting makes some."""

    async def scenario(cluster: MemoryCluster) -> None:
        leader = await created(cluster, segment_bytes="64KiB")
        process, files = cluster.processes[leader], cluster.processes[leader].files
        found = copy_on(cluster, leader)
        kept = 0
        async with cluster.producer(node=leader) as producer:
            for _ in range(4):
                await producer.send_and_wait("t", b"%d " % kept * 8_000)
                kept += 1
            await all_alike(cluster)

            def fill(operation: str, path: str) -> None:
                """Room for a part of the batch, though there was enough when it was asked for."""
                if operation == "pwrite" and path.startswith("partitions/") and not filled:
                    filled.append(path)
                    files.capacity -= files.free_bytes() - 3_000

            filled: list[str] = []
            process.on_file_operation = fill
            with pytest.raises(StorageFullError):
                await found.append(batch_of(1, 16_000), leader_epoch=found.leader_epoch, acks=-1)
            assert filled, "the write had begun"
            assert found.view.written_end_offset == kept, "nothing of it is left"
            assert not found.view.damage
            assert (await everything_of(cluster, leader))[:kept] == list(range(kept))
        await cluster.crash(leader, power_loss=False)
        await cluster.restart(leader)
        await until(lambda: leader in up(cluster))
        files.capacity = 1 << 40
        async with cluster.producer(node=leader) as producer:
            await producer.send_and_wait("t", b"%d " % kept * 8_000)
        await all_alike(cluster)
        assert await everything_of(cluster, leader) == list(range(kept + 1))

    run(scenario, nodes=3, config={"disk.free_bytes_min": "0"})


async def everything_of(cluster: MemoryCluster, node: int) -> list[int]:
    """The numbers of all committed records, read at one node."""
    end = copy_on(cluster, node).high_watermark
    consumer = cluster.consumer("t", node=node, auto_offset_reset="earliest")
    found: list[int] = []
    async with consumer, asyncio.timeout(60):
        while len(found) < end:
            record = await consumer.getone()
            if record is not None:
                found.append(int((record.value or b"-1").split()[0]))
    return found
