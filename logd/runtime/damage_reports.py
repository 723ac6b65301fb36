"""Damaged logs of this node, on their way to the controller.

A log with damage may lack what it has acknowledged. Before anything is led or copied from such a
state, the controller has taken it out of the in-sync and the eligible set.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from logd_wire.errors import LogdError

from logd.metadata import ReportDamage
from logd.model.ids import NodeId, TopicPartitionId
from logd.runtime.metadata_driver import MetadataDriver
from logd.runtime.partition import Partition
from logd.runtime.ports import Clock, Spawn

_logger = logging.getLogger("logd.replication")

#: How long one report may take, and how long to wait before it is made again.
REPORT_TIMEOUT_MS: Final = 5_000
RETRY_MS: Final = 250
#: Partitions in one report.
REPORTED_MAX: Final = 1_000


class DamageReports:
    """Implements `ReportsDamage`."""

    def __init__(
        self,
        *,
        own_id: NodeId,
        incarnation_id: bytes,
        metadata: MetadataDriver,
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        self._own_id = own_id
        self._incarnation_id = incarnation_id
        self._metadata = metadata
        self._clock = clock
        self._spawn = spawn
        #: Reports that the controller has not taken yet, by whether the node leads on.
        self._open: dict[tuple[TopicPartitionId, bool], asyncio.Future[None]] = {}

    def __call__(self, partition: Partition, *, leads_on: bool = False) -> asyncio.Future[None]:
        key = (partition.id, leads_on)
        found = self._open.get(key)
        if found is None:
            found = self._open[key] = asyncio.get_running_loop().create_future()
            self._spawn(self._one(partition, leads_on, found), f"damage of {partition.name}")
        return found

    async def _one(self, partition: Partition, leads_on: bool, done: asyncio.Future[None]) -> None:
        await self._decided((partition.id,), leads_on=leads_on)
        del self._open[partition.id, leads_on]
        if not done.done():
            done.set_result(None)

    async def all_of(self, partitions: Iterable[Partition]) -> None:
        """Report every damaged log among these; returns once the controller knows."""
        damaged = [found.id for found in partitions if found.must_report]
        for begin in range(0, len(damaged), REPORTED_MAX):
            await self._decided(tuple(damaged[begin : begin + REPORTED_MAX]))

    async def _decided(
        self, partitions: tuple[TopicPartitionId, ...], *, leads_on: bool = False
    ) -> None:
        command = ReportDamage(self._own_id, self._incarnation_id, partitions, leads_on)
        while True:
            try:
                await self._metadata.submit(command, follow=False, timeout_ms=REPORT_TIMEOUT_MS)
            except LogdError as error:
                _logger.warning("damaged logs could not be reported, trying again: %s", error)
                await self._clock.sleep_ms(RETRY_MS)
            else:
                _logger.warning("%d damaged logs reported to the controller", len(partitions))
                return
