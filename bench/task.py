"""What a worker is asked and what it answers; the standard library only.

Workers run in the environment of the peer they drive, where nothing of this project is installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from bench.histogram import Histogram

#: Data of this size is handed over between two looks at the clock.
_SLICE_BYTES = 128 * 1024
_SLICE_RECORDS = 1_000


@dataclass(frozen=True)
class Task:
    """One producer or one consumer of one run. Sizes are bytes, times seconds.

    `role`: `produce` or `consume`. `rate` above 0: paced, each value begins with the time at which
    it was due, and latencies are recorded. `tuned`: batches and waits as all peers have them here
    (`batch_bytes`, `linger_ms`); otherwise the client is left as it comes.
    """

    role: str
    address: str
    topic: str
    api: str
    size: int
    key_bytes: int = 0
    compression: str = "none"
    acks: str = "all"
    partitions: int = 1
    replicas: int = 1
    #: Which of how many workers of this role; the first producer creates the topic, the first
    #: consumer deletes it.
    number: int = 0
    workers: int = 1
    seconds: float = 1.0
    warm_seconds: float = 0.3
    records: int = 0
    rate: float = 0.0
    tuned: bool = True
    batch_bytes: int = 256 * 1024
    linger_ms: float = 5.0

    @property
    def slice_records(self) -> int:
        """Records between two looks at the clock."""
        return max(1, min(_SLICE_RECORDS, _SLICE_BYTES // max(self.size, 1)))

    @property
    def own_partitions(self) -> list[int]:
        """The partitions that this worker reads."""
        return list(range(self.number, self.partitions, self.workers))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


@dataclass
class Outcome:
    """What a worker did: from `start_ns` to `end_ns` of the clock that all processes share.

    `all_records` counts what was warmed up with, too. `size` is bytes of keys and values.
    """

    records: int
    size: int
    start_ns: int
    end_ns: int
    cpu_seconds: float = 0.0
    all_records: int = 0
    latency: Histogram = field(default_factory=Histogram)
    #: Versions of the client library, by name.
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    def to_json(self) -> str:
        return json.dumps({**vars(self), "latency": self.latency.document()})

    @classmethod
    def from_json(cls, text: str) -> Self:
        found: dict[str, Any] = json.loads(text)
        latency: Mapping[str, object] = found.pop("latency")
        return cls(**found, latency=Histogram.from_document(latency))
