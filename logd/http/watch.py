"""What the admin port knows of its node, from before the start until after the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

from logd.http.snapshot import ApiNumbers, Snapshot, TrafficNumbers
from logd.http.sync_times import SyncTimes
from logd.model.ids import format_id
from logd.model.node_config import NodeConfig
from logd.observe import Meters, NodeFacts, Phase, Reason, find_reasons
from logd.runtime.gauges import Gauges
from logd.runtime.node import Node
from logd.runtime.world import Ports

#: A disk that has not told its free space within this time does not answer.
_DISK_ANSWER_S: Final = 2.0


class CallCounts(Protocol):
    """A client port, as far as it is counted here."""

    @property
    def connections(self) -> int: ...

    under_way: int


class NodeWatch:
    """Told by the composition root how far the node is; asked by the endpoints."""

    def __init__(self, config: NodeConfig, ports: Ports, syncs: SyncTimes, *, version: str) -> None:
        self._config = config
        self._ports = ports
        self._syncs = syncs
        self._version = version
        self._phase = Phase.STARTING
        self._begun_ns = ports.clock.monotonic_ns()
        self._start_duration_ns: int | None = None
        self._starting: Node | None = None
        self._node: Node | None = None
        self._calls: Sequence[CallCounts] = ()
        self._asking_disk: asyncio.Future[int] | None = None

    def starts(self, node: Node) -> None:
        """The node is about to start."""
        self._starting = node

    def serves(self, node: Node, calls: Sequence[CallCounts]) -> None:
        """The node has started, and clients can reach it; `calls` of each port."""
        self._node, self._calls = node, calls
        self._phase = Phase.SERVING
        self._start_duration_ns = self._ports.clock.monotonic_ns() - self._begun_ns

    def stops(self) -> None:
        """The node is about to stop."""
        self._phase = Phase.STOPPING

    async def reasons(self) -> list[Reason]:
        """Why the node is not ready; empty when it is."""
        return find_reasons(self._facts(self._gauges(), await self._free_bytes()))

    async def snapshot(self) -> Snapshot:
        """How things stand now."""
        free_bytes = await self._free_bytes()
        gauges = self._gauges()
        base = Snapshot(
            version=self._version,
            node_id=self._config.node.id,
            ready=not find_reasons(self._facts(gauges, free_bytes)),
            uptime_ns=self._ports.clock.monotonic_ns() - self._begun_ns,
            free_bytes=free_bytes,
            free_bytes_min=self._config.log.free_bytes_min,
            syncs=self._syncs.all(),
        )
        if self._node is None:
            return base
        return replace(
            base,
            start_duration_ns=self._start_duration_ns,
            cluster_id=format_id(self._node.broker.identity.cluster_id),
            connections=sum(port.connections for port in self._calls),
            calls=sum(port.under_way for port in self._calls),
            gauges=gauges,
            traffic=_traffic(self._node.meters),
            requests=_requests(self._node.meters),
        )

    def _gauges(self) -> Gauges | None:
        return None if self._node is None else self._node.gauges()

    def _facts(self, gauges: Gauges | None, free_bytes: int | None) -> NodeFacts:
        node = self._starting
        if node is not None and node.failure is not None:
            return NodeFacts(Phase.FAILED)
        if self._phase is Phase.STARTING and node is not None and node.joining:
            waiting = node.waiting
            return NodeFacts(Phase.JOINING, waiting.words, waiting.is_overdue)
        if gauges is None or self._phase is not Phase.SERVING:
            return NodeFacts(self._phase)
        return NodeFacts(
            phase=Phase.STOPPING if gauges.stopping else Phase.SERVING,
            status=gauges.status,
            registered=gauges.registered,
            fenced=gauges.fenced,
            in_session=gauges.in_session,
            free_bytes=free_bytes,
            free_bytes_min=self._config.log.free_bytes_min,
            write_waiting_ms=gauges.writer_busy_ms,
        )

    async def _free_bytes(self) -> int | None:
        """Ask the disk; None when it does not answer. A disk that hangs is asked once, not by
        every request anew: each question holds one of its few threads."""
        asking = self._asking_disk
        if asking is None or asking.done():
            asking = self._asking_disk = asyncio.ensure_future(self._ask_disk())
        await asyncio.wait((asking,), timeout=_DISK_ANSWER_S)
        if not asking.done() or asking.exception() is not None:
            return None
        return asking.result()

    async def _ask_disk(self) -> int:
        return await self._ports.disk.read(self._ports.files.free_bytes)


def _traffic(meters: Meters) -> tuple[TrafficNumbers, ...]:
    return tuple(
        TrafficNumbers(
            topic=topic,
            produced_bytes=traffic.produced_bytes,
            produced_records=traffic.produced_records,
            produced_batches=traffic.produced_batches,
            duplicates=traffic.duplicates,
            fetched_bytes=traffic.fetched_bytes,
            fetched_records=traffic.fetched_records,
        )
        for topic, traffic in meters.traffic.all()
    )


def _requests(meters: Meters) -> tuple[ApiNumbers, ...]:
    return tuple(
        ApiNumbers(
            api=api,
            ok=meter.ok,
            failures=dict(meter.failures),
            ok_durations=meter.ok_durations.copy(),
            failed_durations=meter.failed_durations.copy(),
        )
        for api, meter in meters.requests.all()
    )
