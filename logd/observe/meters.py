"""What a node counts while it works: traffic by topic, requests by method.

Everything here is bounded by construction. Topics get a place of their own in the order in which
they come, as long as there are places; the traffic of all others is counted together under the
name "", for as long as the node runs, so that no sum ever jumps. Methods and error codes come from
tables of ours, never from a peer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from logd.observe.histogram import Histogram

#: Where the traffic of topics without a place of their own is counted; no topic has this name.
OTHERS: Final = ""
OK: Final = "NONE"


class Traffic:
    """What went into and out of the partitions of one topic on this node."""

    __slots__ = (
        "duplicates",
        "fetched_bytes",
        "fetched_records",
        "produced_batches",
        "produced_bytes",
        "produced_records",
    )

    def __init__(self) -> None:
        self.produced_batches = 0
        self.produced_bytes = 0
        self.produced_records = 0
        self.duplicates = 0
        self.fetched_bytes = 0
        self.fetched_records = 0

    def produced(self, records: int, size_bytes: int) -> None:
        """One batch was appended."""
        self.produced_batches += 1
        self.produced_bytes += size_bytes
        self.produced_records += records

    def fetched(self, records: int, size_bytes: int) -> None:
        """So much was read for a consumer."""
        self.fetched_bytes += size_bytes
        self.fetched_records += records


class TrafficTable:
    """The traffic of each topic, of at most `topics_max` by themselves."""

    def __init__(self, topics_max: int) -> None:
        self._topics_max = topics_max
        self._others = Traffic()
        self._own: dict[str, Traffic] = {}
        #: Partitions on this node of each topic that has a place.
        self._users: dict[str, int] = {}

    def join(self, topic: str) -> Traffic:
        """Where a new partition of `topic` counts; give it back with `leave`."""
        traffic = self._own.get(topic)
        if traffic is None:
            if len(self._own) >= self._topics_max:
                return self._others
            traffic = self._own[topic] = Traffic()
        self._users[topic] = self._users.get(topic, 0) + 1
        return traffic

    def leave(self, topic: str, traffic: Traffic) -> None:
        """A partition of `topic`, which counts in `traffic`, is gone."""
        if self._own.get(topic) is not traffic:
            return
        self._users[topic] -= 1
        if not self._users[topic]:
            del self._users[topic], self._own[topic]

    def all(self) -> Iterator[tuple[str, Traffic]]:
        """Topics by name with their traffic; the common place, under "", first."""
        yield OTHERS, self._others
        yield from sorted(self._own.items())


class ApiMeter:
    """How the calls of one method ended, and how long they took."""

    __slots__ = ("failed_durations", "failures", "ok", "ok_durations")

    def __init__(self) -> None:
        self.ok = 0
        self.ok_durations = Histogram()
        #: By the name of the error code.
        self.failures: dict[str, int] = {}
        self.failed_durations = Histogram()

    def succeeded(self, duration_ns: int) -> None:
        self.ok += 1
        self.ok_durations.observe(duration_ns)

    def failed(self, code: str, duration_ns: int | None = None) -> None:
        """`code` is the name of an ErrorCode; without a duration only the failure counts."""
        self.failures[code] = self.failures.get(code, 0) + 1
        if duration_ns is not None:
            self.failed_durations.observe(duration_ns)


class RequestMeters:
    """A meter for each method, made when it is first asked for."""

    def __init__(self) -> None:
        self._meters: dict[str, ApiMeter] = {}

    def of(self, api: str) -> ApiMeter:
        """The meter of the method whose short name is `api`, such as "Produce"."""
        meter = self._meters.get(api)
        if meter is None:
            meter = self._meters[api] = ApiMeter()
        return meter

    def all(self) -> list[tuple[str, ApiMeter]]:
        """Every meter by name."""
        return sorted(self._meters.items())


class Meters:
    """Everything that one node counts."""

    def __init__(self, *, topics_max: int = 0) -> None:
        self.traffic = TrafficTable(topics_max)
        self.requests = RequestMeters()
