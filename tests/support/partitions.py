"""Partitions without a node around them: alone, or with replicas elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from logd_wire import WireRecord, encode_batch

from logd.metadata import PartitionImage
from logd.model.ids import LeaderEpoch, NodeId, TopicId, TopicPartitionId
from logd.model.topic_config import parse_topic_config
from logd.observe import Traffic
from logd.replication import ProposeIsr
from logd.runtime.outcomes import ProduceOutcome
from logd.runtime.partition import Partition, Surroundings
from logd.storage import Ledger, LogConfig, MemoryFiles, PartitionLog
from tests.support.driver_bench import Bench
from tests.support.loops import settle


class Done:
    """A future that is done."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def cancelled(self) -> bool:
        return False

    def exception(self) -> None:
        return None

    def result(self) -> Any:
        return self._result

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        callback(self)


class InlineDriver:
    """Does what a `DiskDriver` is called for at once; nothing is appended through it."""

    def call(
        self,
        work: Callable[[], Any],
        _target: Any = None,
        *,
        sync: bool = False,
        apart: bool = False,
    ) -> Any:
        return Done(work())


def _never_reported(partition: Partition, *, leads_on: bool = False) -> asyncio.Future[None]:
    raise AssertionError(f"{partition.name} has no other replica that may lead ({leads_on=})")


def alone(own_id: NodeId) -> Surroundings:
    """What a partition needs on a node without others."""
    driver: Any = InlineDriver()
    return Surroundings(
        own_id=own_id,
        driver=driver,
        latest_ms=lambda: 1_000,
        monotonic_ms=lambda: 0,
        lag_ms_max=3_000,
        propose=lambda _partition, _proposal: None,
        report_damage=_never_reported,
        serving=lambda: True,
        led=lambda _partition: None,
    )


LAG_MS = 3_000
#: The processes of nodes 1 to 3, as they are registered.
NODE_EPOCHS = {NodeId(node): 10 + node for node in (1, 2, 3)}


def batch_of(records: int = 1, size: int = 10) -> bytes:
    """A batch as a producer sends it."""
    return encode_batch(
        [WireRecord(number, 1_000, None, b"v" * size, ()) for number in range(records)]
    )


def led_by(
    leader: int,
    *,
    epoch: int = 4,
    isr: tuple[int, ...] = (1, 2, 3),
    partition_epoch: int = 0,
    replicas: tuple[int, ...] = (1, 2, 3),
) -> PartitionImage:
    """Partition 0, as the controller committed it."""
    return PartitionImage(
        0,
        NodeId(leader),
        LeaderEpoch(epoch),
        tuple(map(NodeId, replicas)),
        tuple(map(NodeId, isr)),
        partition_epoch,
    )


class ReplicatedBench(Bench):
    """Node 1 with one of three replicas, over a driver whose syncs the test lets go."""

    def __init__(self, config: Mapping[str, str] | None = None, high_watermark: int = 0) -> None:
        self.files = MemoryFiles()
        super().__init__()
        self.serving = True
        self.proposals: list[ProposeIsr] = []
        #: Whether the node would lead on, of each report.
        self.damage_reports: list[bool] = []
        self.traffic = Traffic()
        self.partition = Partition(
            key=TopicPartitionId(TopicId(b"t" * 16), 0),
            topic="orders",
            log=PartitionLog.create(self.files, "log", LogConfig()),
            config=parse_topic_config(
                {"min.insync.replicas": "2", **(config or {})}, replication_factor=3
            ),
            high_watermark=high_watermark,
            around=Surroundings(
                own_id=NodeId(1),
                driver=self.driver,
                latest_ms=lambda: 1_000,
                monotonic_ms=lambda: self.now_ms,
                lag_ms_max=LAG_MS,
                propose=lambda _partition, proposal: self.proposals.append(proposal),
                report_damage=self._report_damage,
                serving=lambda: self.serving,
                led=lambda _partition: None,
            ),
            traffic=self.traffic,
        )

    def _report_damage(
        self, partition: Partition, *, leads_on: bool = False
    ) -> asyncio.Future[None]:
        assert partition is self.partition
        self.damage_reports.append(leads_on)
        return asyncio.get_running_loop().create_future()

    def make_ledger(self) -> Any:
        return Ledger.open(self.files, "ledger")

    def follow(self, state: PartitionImage) -> None:
        self.partition.follow(state, NODE_EPOCHS)

    async def lead(self, state: PartitionImage | None = None) -> Partition:
        """Have node 1 lead, and wait until it has begun to."""
        self.follow(state or led_by(1))
        await self.synced()
        return self.partition

    async def synced(self) -> None:
        """Let everything that waits for a disk go on, until nothing does."""
        await settle()
        while self.disk.syncs:
            self.disk.finish_sync()
            await settle()

    def produce(
        self, records: int = 1, *, acks: int = -1, size: int = 10
    ) -> asyncio.Future[ProduceOutcome]:
        return self.partition.append(batch_of(records, size), leader_epoch=-1, acks=acks)

    def followers_at(self, end_offset: int, *nodes: int) -> None:
        for node in nodes:
            self.partition.follower_at(NodeId(node), 10 + node, end_offset)
