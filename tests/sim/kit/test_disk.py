"""The simulated disk: writes in order, syncs side by side, a crash ends everything."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from logd.testing.disk import CrashError, DiskLatency, SimDisk
from logd.testing.loop import VirtualLoop
from logd.testing.rng import SimRng


def test_writes_keep_their_order_and_syncs_overlap() -> None:
    loop = VirtualLoop()
    latency = DiskLatency(write_ms=10, sync_ms=100, read_ms=1)
    disk = SimDisk(loop, SimRng(1), latency=latency)
    order: list[str] = []

    async def main() -> None:
        writes = [disk.write(partial(order.append, f"w{n}")) for n in range(50)]
        syncs = [disk.sync(partial(order.append, f"s{n}")) for n in range(50)]
        await asyncio.gather(*writes, *syncs)
        await disk.close()

    loop.run(main())
    assert [name for name in order if name[0] == "w"] == [f"w{n}" for n in range(50)]
    syncs = [name for name in order if name[0] == "s"]
    assert len(syncs) == 50
    assert syncs != sorted(syncs, key=lambda name: int(name[1:]))
    loop.finish()


def test_a_cancelled_write_neither_runs_nor_lets_others_overtake() -> None:
    loop = VirtualLoop()
    disk = SimDisk(loop, SimRng(2), latency=DiskLatency(write_ms=10))
    order: list[int] = []

    async def main() -> None:
        writes = [asyncio.ensure_future(disk.write(partial(order.append, n))) for n in range(5)]
        writes[2].cancel()
        await asyncio.gather(*writes, return_exceptions=True)

    loop.run(main())
    assert order == [0, 1, 3, 4]
    loop.finish()


def test_errors_reach_the_caller_and_later_work_goes_on() -> None:
    loop = VirtualLoop()
    disk = SimDisk(loop, SimRng(3))

    def full() -> None:
        raise OSError(28, "No space left on device")

    async def main() -> int:
        with pytest.raises(OSError, match="No space"):
            await disk.write(full)
        result: int = await disk.write(lambda: 42)
        await disk.close()
        with pytest.raises(RuntimeError, match="closed"):
            disk.read(lambda: 1)
        return result

    assert loop.run(main()) == 42
    loop.finish()


def test_after_a_crash_nothing_runs_and_nothing_is_answered() -> None:
    loop = VirtualLoop()
    crashes: list[BaseException] = []
    disk = SimDisk(loop, SimRng(4), on_crash=crashes.append)
    ran: list[str] = []

    def crash() -> None:
        raise CrashError("here")

    async def main() -> list[bool]:
        futures = [
            asyncio.ensure_future(disk.write(partial(ran.append, "before"))),
            asyncio.ensure_future(disk.write(crash)),
            asyncio.ensure_future(disk.write(partial(ran.append, "after"))),
        ]
        await asyncio.sleep(10)
        futures.append(asyncio.ensure_future(disk.sync(partial(ran.append, "sync"))))
        await asyncio.sleep(10)
        return [future.done() for future in futures]

    done = loop.run(main())
    assert ran == ["before"]
    assert done == [True, False, False, False]
    assert len(crashes) == 1
    loop.finish()
