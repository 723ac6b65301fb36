"""What a node does by the clock alone: nothing that is not needed, and everything that is."""

from __future__ import annotations

import asyncio
import errno

from logd.storage.epochs import FILE_NAME as EPOCHS
from logd.testing import MemoryCluster, run
from logd.testing.loop import VirtualLoop

HOUR_S = 3_600


def test_the_only_node_sleeps_while_there_is_nothing_to_do() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        await cluster.create_topic("t", partitions=20)
        async with cluster.producer() as producer:
            await producer.send_and_wait("t", b"value")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        before = loop.jumps
        await asyncio.sleep(HOUR_S)
        assert loop.jumps - before < HOUR_S, "woken more than once a second"

    run(scenario, limit_s=2 * HOUR_S)


def test_an_only_replica_that_could_not_begin_to_lead_tries_again() -> None:
    async def scenario(cluster: MemoryCluster) -> None:
        asked = 0

        def full(operation: str, path: str) -> None:
            nonlocal asked
            if operation == "pwrite" and EPOCHS in path:
                asked += 1
                if asked > 1:  # The first is the log being made.
                    raise OSError(errno.ENOSPC, "no space left")

        cluster.process.on_file_operation = full
        await cluster.create_topic("t")
        await asyncio.sleep(5)
        cluster.process.on_file_operation = None
        async with cluster.producer() as producer:
            assert (await producer.send_and_wait("t", b"value")).offset == 0
        assert asked > 2

    run(scenario)
