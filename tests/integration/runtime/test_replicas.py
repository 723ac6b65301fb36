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
