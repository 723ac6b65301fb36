"""One encoded batch as the producer would send it."""

from __future__ import annotations

import itertools
import time

from logd_wire import BatchBuilder, Compression

from logd.cli.benchmark.workload import Workload


def full_batch(workload: Workload) -> tuple[bytes, int]:
    """A batch filled to the workload's batch size, and how many records it holds."""
    builder = BatchBuilder(
        compression=Compression.parse(workload.compression), bytes_max=workload.batch_bytes
    )
    value = workload.value()
    now_ms = int(time.time() * 1000)
    for key in itertools.cycle(workload.keys()):
        if builder.append(now_ms, key, value) < 0:
            break
    return bytes(builder.build()), builder.count
