"""Looks at every acknowledgement of three nodes, at the moment it is sent.

* ack-not-on-all: a batch acknowledged with acks=all lies, durably, on every node that its leader
  counts as in sync, so that a power loss of all of them at this moment leaves it.
* two-leaders: one epoch of a partition acknowledges from one node only.
* ack-below-min: fewer replicas in sync than min.insync.replicas.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

from logd_proto.v1 import log_pb2
from logd_wire.errors import ErrorCode

from logd.model.ids import TopicId, TopicPartitionId
from logd.testing.network import SimConnection
from logd.testing.process import SimProcess
from tests.sim.coverage import Sometimes
from tests.sim.watch import PRODUCE, survives_power_loss

MIN_ISR = 2


class ReplicaWatch:
    """The network's interceptor of one simulation."""

    def __init__(
        self,
        processes: Mapping[int, SimProcess],
        sometimes: Sometimes,
        now: Callable[[], float],
        *,
        damaged: Container[tuple[int, TopicPartitionId]],
    ) -> None:
        self._processes = processes
        self._by_address = {process.address: process for process in processes.values()}
        self._sometimes = sometimes
        self._now = now
        self._damaged = damaged
        self._pending: dict[tuple[int, int], log_pb2.ProduceBatch] = {}
        self._leaders: dict[tuple[bytes, int, int], str] = {}
        self.acks = 0
        self.checked = 0
        #: When something was acknowledged by all in sync, in virtual seconds.
        self.acked_at: list[float] = []
        self.violations: list[str] = []

    def __call__(
        self, connection: SimConnection, method: str, to_server: bool, data: bytes
    ) -> bool:
        if method != PRODUCE:
            return False
        if to_server:
            for batch in log_pb2.ProduceRequest.FromString(data).batches:
                self._pending[connection.number, batch.id] = batch
            return False
        for result in log_pb2.ProduceResponse.FromString(data).results:
            batch = self._pending.pop((connection.number, result.id))
            if not result.HasField("error"):
                self._on_ack(connection, batch, result)
            elif result.error.code == ErrorCode.NOT_ENOUGH_REPLICAS:
                self._sometimes("refused below min.insync.replicas")
        return False

    def _on_ack(
        self,
        connection: SimConnection,
        batch: log_pb2.ProduceBatch,
        result: log_pb2.ProduceResult,
    ) -> None:
        self.acks += 1
        where = f"{batch.topic_id.hex()}-{batch.partition}@{result.base_offset}"
        if result.duplicate:
            self._sometimes("dedup hit")
        leadership = (batch.topic_id, batch.partition, result.leader_epoch)
        leader = self._leaders.setdefault(leadership, connection.address)
        if leader != connection.address:
            self.violations.append(f"two-leaders: {where} by {leader} and {connection.address}")
        if batch.acks != -1:
            self._sometimes("acknowledged by the leader alone")
            return
        self._sometimes("acknowledged by all in sync")
        self.acked_at.append(self._now())
        process = self._by_address[connection.address]
        key = TopicPartitionId(TopicId(batch.topic_id), batch.partition)
        found = process.node._partitions.get(key)
        if found is None or found.leader_epoch != result.leader_epoch:
            return
        isr = found.state.isr
        if len(isr) < MIN_ISR:
            self.violations.append(f"ack-below-min: {where}, in sync are {isr}")
        self.checked += 1
        for node_id in isr:
            files = self._processes[node_id].files
            # In front of the batch in its file there may be bytes that went bad.
            if (node_id, key) not in self._damaged and not survives_power_loss(
                files, batch, result.base_offset
            ):
                self.violations.append(f"ack-not-on-all: {where}, in sync {isr}, not on {node_id}")
