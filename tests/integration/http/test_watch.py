"""What the port knows before there is a node, and of a disk that hangs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, TypeVar

from logd.http.endpoints import Endpoints
from logd.http.messages import Request
from logd.http.sync_times import SyncTimes
from logd.http.watch import NodeWatch
from logd.model.node_config import load_node_config
from logd.runtime.adapters import SystemClock

T = TypeVar("T")


class HungDisk:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.release = asyncio.Event()

    def read(self, work: Callable[[], T]) -> Awaitable[T]:
        self.asked += 1
        return self._answer(work)

    async def _answer(self, work: Callable[[], T]) -> T:
        await self.release.wait()
        return work()


def watch_over(disk: HungDisk) -> NodeWatch:
    ports: Any = SimpleNamespace(
        disk=disk, files=SimpleNamespace(free_bytes=lambda: 10**12), clock=SystemClock()
    )
    return NodeWatch(load_node_config()[0], ports, SyncTimes(), version="1.2.3")


def endpoints_over(disk: HungDisk) -> Endpoints:
    return Endpoints(watch_over(disk))


async def test_while_it_starts_a_node_is_alive_and_not_ready() -> None:
    disk = HungDisk()
    disk.release.set()
    endpoints = endpoints_over(disk)
    assert (await endpoints(Request("GET", "/livez", ""))).status == 200
    ready = await endpoints(Request("GET", "/readyz", ""))
    assert ready.status == 503
    assert [reason["name"] for reason in json.loads(ready.body)["reasons"]] == ["starting"]
    metrics = await endpoints(Request("GET", "/metrics", ""))
    assert metrics.status == 200
    lines = metrics.body.decode().splitlines()
    assert 'logd_build_info{version="1.2.3"} 1.0' in lines
    assert "logd_node_up 0.0" in lines
    assert "logd_disk_free_bytes 1e+12" in lines
    assert not any(line.startswith("logd_start_duration_seconds") for line in lines)


async def test_a_node_that_waits_for_its_cluster_says_so() -> None:
    disk = HungDisk()
    disk.release.set()
    watch = watch_over(disk)
    waiting = SimpleNamespace(words="", is_overdue=False)
    node: Any = SimpleNamespace(failure=None, joining=False, waiting=waiting)
    watch.starts(node)
    assert [reason.name for reason in await watch.reasons()] == ["starting"]
    node.joining = True
    assert [reason.name for reason in await watch.reasons()] == ["joining"]
    waiting.words, waiting.is_overdue = "no answer from: 2", True
    assert await watch.reasons() == [("no_cluster", "no answer from: 2")]
    node.failure = OSError("the disk is gone")
    assert [reason.name for reason in await watch.reasons()] == ["failed"]


async def test_a_disk_that_hangs_is_asked_once_and_keeps_nobody_waiting() -> None:
    disk = HungDisk()
    endpoints = endpoints_over(disk)
    ready = Request("GET", "/readyz", "")
    async with asyncio.timeout(10):
        first, second = await asyncio.gather(endpoints(ready), endpoints(ready))
        assert {first.status, second.status} == {503}
        assert (await endpoints(Request("GET", "/healthz", ""))).status == 200
        metrics = await endpoints(Request("GET", "/metrics", ""))
    assert disk.asked == 1
    assert b"\nlogd_disk_free_bytes " not in metrics.body
    disk.release.set()
    metrics = await endpoints(Request("GET", "/metrics", ""))
    assert b"\nlogd_disk_free_bytes " in metrics.body


async def test_syncs_are_told_apart_by_what_was_synced() -> None:
    syncs = SyncTimes()
    for path in ("partitions/x/0.log", "raft/log/0.log", "raft/ledger", "ledger", "meta.json"):
        syncs.record(path, 2_000_000)
    assert {log: sum(times.counts) for log, times in syncs.all()} == {
        "partitions": 1,
        "metadata": 2,
        "other": 2,
    }
