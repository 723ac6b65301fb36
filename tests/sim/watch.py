"""Looks at every message between clients and node, at the moment it is sent.

What it holds against the node at once, without waiting for the end of the run:

* ack-before-sync: an acknowledged batch must survive a power loss at the moment of its
  acknowledgement, with everything dropped that was not synced.
* ack-after-failure: nothing new is acknowledged once a sync or write of it has failed.
* producer-id-reused: a producer id is never given out twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from logd_proto.v1 import log_pb2
from logd_wire import iter_headers
from logd_wire.errors import CorruptBatchError, ErrorCode

from logd.storage.memory_files import MemoryFiles
from logd.testing.network import SimConnection
from logd.testing.process import SimProcess
from logd.testing.rng import SimRng
from tests.sim.coverage import Sometimes

PRODUCE = "/logd.v1.Log/Produce"
INIT_PRODUCER_ID = "/logd.v1.Log/InitProducerId"

#: Leader epoch and base offset, which the node stamps, lie in the first bytes of a batch.
STAMPED_BYTES = 16

_Pending = dict[tuple[int, int], log_pb2.ProduceBatch]


def folder_of(topic_id: bytes, partition: int) -> str:
    """Where a replica of a partition lies in a data directory."""
    return f"partitions/{topic_id.hex()}-{partition}"


def read_segments(files: MemoryFiles, topic_id: bytes, partition: int) -> list[bytes]:
    """The segment files of a partition in the order of their base offsets."""
    path = folder_of(topic_id, partition)
    if not files.exists(path):
        return []
    found = []
    for entry in files.list_dir(path):
        if entry.name.endswith(".log"):
            file = files.open(f"{path}/{entry.name}", read_only=True)
            found.append(file.pread(file.size(), 0))
            file.close()
    return found


def survives_power_loss(files: MemoryFiles, batch: log_pb2.ProduceBatch, base_offset: int) -> bool:
    """Whether the batch lies at `base_offset`, byte for byte behind what the node stamps, after a
    power loss now that leaves nothing but what was synced."""
    segments = files.synced_files(folder_of(batch.topic_id, batch.partition))
    names = [name for name in segments if name.endswith(".log") and int(name[:-4]) <= base_offset]
    if not names:
        return False
    data = segments[names[-1]]
    # Behind a batch that went bad nothing can be told of the rest of its file.
    with contextlib.suppress(CorruptBatchError):
        for position, header in iter_headers(data):
            if header.base_offset == base_offset:
                begin = position + STAMPED_BYTES
                end = position + len(batch.records)
                return data[begin:end] == batch.records[STAMPED_BYTES:]
    return False


class Watch:
    """The network's interceptor of one simulation.

    `cut_acks` makes it reset the connection instead of passing the next acknowledgements on.
    `floor(topic id, partition)`: nothing is promised below.
    """

    def __init__(
        self,
        process: SimProcess,
        rng: SimRng,
        sometimes: Sometimes,
        floor: Callable[[bytes, int], int],
        *,
        sample: float,
    ) -> None:
        self._process = process
        self._rng = rng
        self._sometimes = sometimes
        self._floor = floor
        self._sample = sample
        self._pending: _Pending = {}
        self._producer_ids: set[int] = set()
        self._full = False
        self.cut_acks = 0
        self.acks = 0
        self.checked = 0
        #: Directories with a failed sync or write, by incarnation.
        self.failed_paths: set[tuple[int, str]] = set()
        self.violations: list[str] = []

    def __call__(
        self, connection: SimConnection, method: str, to_server: bool, data: bytes
    ) -> bool:
        if method == PRODUCE and to_server:
            for batch in log_pb2.ProduceRequest.FromString(data).batches:
                self._pending[connection.number, batch.id] = batch
        elif method == PRODUCE:
            return self._on_results(connection, log_pb2.ProduceResponse.FromString(data))
        elif method == INIT_PRODUCER_ID and not to_server:
            self._on_producer_id(data)
        return False

    def _on_producer_id(self, data: bytes) -> None:
        answer = log_pb2.InitProducerIdResponse.FromString(data)
        if answer.producer_id in self._producer_ids:
            self.violations.append(f"producer-id-reused: {answer.producer_id}")
        self._producer_ids.add(answer.producer_id)

    def _on_results(self, connection: SimConnection, response: log_pb2.ProduceResponse) -> bool:
        acknowledged = False
        for result in response.results:
            batch = self._pending.pop((connection.number, result.id), None)
            if batch is None:
                self.violations.append(f"answer-without-question: {result.id}")
            elif result.HasField("error"):
                self._on_refusal(result)
            else:
                acknowledged = True
                self._on_ack(batch, result)
        if acknowledged and self.cut_acks > 0:
            self.cut_acks -= 1
            self._sometimes("reset between append and ack")
            return True
        return False

    def _on_refusal(self, result: log_pb2.ProduceResult) -> None:
        if result.error.code == ErrorCode.STORAGE_FULL:
            self._sometimes("disk full")
            self._full = True

    def _on_ack(self, batch: log_pb2.ProduceBatch, result: log_pb2.ProduceResult) -> None:
        self.acks += 1
        self._sometimes("acknowledged")
        if result.duplicate:
            self._sometimes("dedup hit")
        if self._full:
            self._full = False
            self._sometimes("resumed after a full disk")
        where = f"{batch.topic_id.hex()}-{batch.partition}@{result.base_offset}"
        process = self._process
        # What was answered at the very moment of the failure had been synced before it.
        if process.failed_at is not None and process.loop.time() > process.failed_at:
            self.violations.append(f"ack-after-failure: {where} by a node that has failed")
        path = f"partitions/{batch.topic_id.hex()}-{batch.partition}"
        if (process.incarnation, path) in self.failed_paths and not result.duplicate:
            self.violations.append(f"ack-after-failure: {where}")
        if result.base_offset < self._floor(batch.topic_id, batch.partition):
            return
        if result.synced and self._rng.chance(self._sample):
            self.checked += 1
            if not survives_power_loss(process.files, batch, result.base_offset):
                self.violations.append(f"ack-before-sync: {where}")
