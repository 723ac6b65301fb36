"""Three nodes that copy partitions: what a replica does about a log that it cannot stand on."""

from __future__ import annotations

import asyncio

from logd.storage import remove_tree
from logd.testing import MemoryCluster, run
from tests.sim.watch import read_segments


async def all_alike(cluster: MemoryCluster, topic_id: bytes) -> bytes:
    """The bytes of partition 0, once every node has them and counts as in sync."""
    async with asyncio.timeout(30):
        while True:
            found = [
                each
                for process in cluster.processes.values()
                for each in process.node._partitions.all()
            ]
            ends = {(each.view.durable_end_offset, each.high_watermark) for each in found}
            if len(ends) == 1 and all(len(each.state.isr) == 3 for each in found):
                break
            await asyncio.sleep(0.1)
    copies = [
        b"".join(read_segments(process.files, topic_id, 0))
        for process in cluster.processes.values()
    ]
    assert copies[0] == copies[1] == copies[2]
    return copies[0]


def test_a_replica_whose_folder_is_gone_is_copied_anew() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        topic = await cluster.create_topic("t")
        topic_id = bytes.fromhex(topic.id.replace("-", ""))
        async with cluster.producer() as producer:
            for number in range(50):
                await producer.send_and_wait("t", b"%d" % number)
        before = await all_alike(cluster, topic_id)
        await cluster.stop(2)
        files = cluster.processes[2].files
        hook, files.before = files.before, None
        remove_tree(files, f"partitions/{topic_id.hex()}-0")
        files.before = hook
        await cluster.restart(2)
        assert await all_alike(cluster, topic_id) == before

    run(scenario, nodes=3)


def test_partitions_that_refuse_acks_all_are_counted() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("strict", config={"min.insync.replicas": "3"})
        await cluster.create_topic("usual")
        node = cluster.processes[1].node
        assert (node.gauges().under_replicated, node.gauges().under_min_isr) == (0, 0)
        await cluster.crash(3)
        async with asyncio.timeout(30):
            while node.gauges().under_replicated < 2:
                await asyncio.sleep(0.1)
        assert (node.gauges().under_min_isr, node.gauges().leaderless) == (1, 0)

    run(scenario, nodes=3)


def test_planned_transfers_lose_nothing_while_a_producer_writes() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        topic = await cluster.create_topic("t")
        topic_id = bytes.fromhex(topic.id.replace("-", ""))
        stop = asyncio.Event()
        sent: list[int] = []
        gaps: list[float] = []
        loop = asyncio.get_running_loop()

        async def write() -> None:
            async with cluster.producer() as producer:
                while not stop.is_set():
                    began = loop.time()
                    record = await producer.send_and_wait("t", b"%d" % len(sent))
                    sent.append(record.offset)
                    gaps.append(loop.time() - began)

        writing = asyncio.ensure_future(write())
        admin = cluster.admin()
        for node in (2, 3, 1, 3, 2):
            count = len(sent)
            async with asyncio.timeout(30):
                while len(sent) < count + 20:
                    await asyncio.sleep(0.01)
            moved = await admin.transfer_leader("t", 0, node)
            assert (moved.leader, sorted(moved.isr)) == (node, [1, 2, 3])
        stop.set()
        await writing
        assert sent == list(range(len(sent))), "every record once, in order"
        assert max(gaps) < 0.3, "a transfer is hardly noticed"
        await all_alike(cluster, topic_id)

    run(scenario, nodes=3)
