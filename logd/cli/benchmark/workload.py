"""What is measured, and what a measurement says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Acks(StrEnum):
    """Who must have a record before it is acknowledged."""

    NONE = "0"
    LEADER = "1"
    ALL = "all"

    @property
    def value_for_client(self) -> int | str:
        return "all" if self is Acks.ALL else int(self.value)


class Api(StrEnum):
    """The client's calls that are measured."""

    SEND = "send"
    SEND_MANY = "send_many"
    GETMANY = "getmany"
    ITERATE = "iterate"


@dataclass(frozen=True, slots=True)
class Workload:
    """One run. Sizes are bytes; `rate_per_second` 0: as fast as it goes."""

    kind: str
    records: int
    size_bytes: int
    key_bytes: int
    batch_bytes: int
    partitions: int
    acks: Acks
    api: Api
    compression: str = "none"
    rate_per_second: float = 0

    @property
    def record_bytes(self) -> int:
        """Bytes of user data in one record."""
        return self.size_bytes + self.key_bytes

    def value(self) -> bytes:
        """A value of the right size that does not compress."""
        return os.urandom(self.size_bytes)

    def keys(self) -> list[bytes | None]:
        """A thousand different keys, or one null."""
        if not self.key_bytes:
            return [None]
        return [os.urandom(self.key_bytes) for _ in range(1000)]


@dataclass(slots=True)
class Result:
    """What one run measured. CPU is the client process's, latencies are milliseconds."""

    workload: Workload
    elapsed_seconds: float
    client_cpu_seconds: float
    latency_ms: dict[str, float] = field(default_factory=dict)
    #: What `latency_ms` is the latency of.
    latency_of: str = ""
    #: The same payloads in the same protobuf messages over a stream that does nothing else.
    bare_records_per_second: float | None = None
    #: The same without protobuf, as raw bytes.
    raw_records_per_second: float | None = None
    bare_message_bytes: int | None = None

    @property
    def records_per_second(self) -> float:
        return self.workload.records / self.elapsed_seconds

    @property
    def megabytes_per_second(self) -> float:
        return self.records_per_second * self.workload.record_bytes / 1e6

    @property
    def client_cpu_us_per_record(self) -> float:
        return self.client_cpu_seconds * 1e6 / self.workload.records

    @property
    def ratio_to_bare(self) -> float | None:
        """This run's throughput over that of the bare stream with the same payloads."""
        return self._ratio_to(self.bare_records_per_second)

    @property
    def ratio_to_raw(self) -> float | None:
        """The same, with the stream that does without protobuf."""
        return self._ratio_to(self.raw_records_per_second)

    def _ratio_to(self, other: float | None) -> float | None:
        return round(self.records_per_second / other, 3) if other else None

    def _megabytes(self, records: float | None) -> float | None:
        return None if records is None else round(records * self.workload.record_bytes / 1e6, 2)

    def document(self) -> dict[str, Any]:
        """The result as one flat JSON object."""
        return {
            **asdict(self.workload),
            "elapsed_seconds": round(self.elapsed_seconds, 6),
            "records_per_second": round(self.records_per_second),
            "megabytes_per_second": self._megabytes(self.records_per_second),
            "client_cpu_us_per_record": round(self.client_cpu_us_per_record, 3),
            "latency_of": self.latency_of or None,
            **{f"latency_ms_{name}": round(ms, 3) for name, ms in self.latency_ms.items()},
            "bare_message_bytes": self.bare_message_bytes,
            "bare_megabytes_per_second": self._megabytes(self.bare_records_per_second),
            "raw_megabytes_per_second": self._megabytes(self.raw_records_per_second),
            "ratio_to_bare": self.ratio_to_bare,
            "ratio_to_raw": self.ratio_to_raw,
        }


_PERCENTILES = (("p50", 0.50), ("p90", 0.90), ("p99", 0.99), ("p999", 0.999))


def percentiles(samples_ms: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99, p999 and max by nearest rank; empty without samples."""
    if not samples_ms:
        return {}
    ordered = sorted(samples_ms)
    found = {
        name: ordered[min(int(share * len(ordered)), len(ordered) - 1)]
        for name, share in _PERCENTILES
    }
    return {**found, "max": ordered[-1]}
