"""What the project asks of itself, as ratios within one session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Goal:
    """A median over another one, or (without `other`) a figure by itself.

    `figure` is `records_per_second`, or a percentile of `latency_ms` such as `p99`.
    """

    text: str
    group: str
    phase: str
    lane: str
    other: str
    limit: float
    at_least: bool = True
    figure: str = "records_per_second"

    def measure(self, documents: Sequence[Document]) -> float | None:
        """The ratio; None when one side was not measured."""
        ours = self._median(documents, self.lane)
        if not self.other:
            return ours
        theirs = self._median(documents, self.other)
        return ours / theirs if ours is not None and theirs else None

    def met(self, ratio: float) -> bool:
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    def _median(self, documents: Sequence[Document], lane: str) -> float | None:
        found = [
            phase[self.figure]
            if self.figure == "records_per_second"
            else phase["latency_ms"][self.figure]
            for document in documents
            if document["group"]["name"] == self.group and document["lane"]["name"] == lane
            for phase in (document[self.phase],)
            if self.figure == "records_per_second" or phase["latency_ms"]
        ]
        return median(found) if found else None


def _rate(text: str, lanes: tuple[str, str, str], limit: float, *, group: str = "unsynced") -> Goal:
    """`lanes`: the phase, our lane, the other one."""
    phase, lane, other = lanes
    return Goal(text, group, phase, lane, other, limit)


GOALS = (
    _rate("send_many / RabbitMQ streams", ("send", "logd-bulk", "rabbit-stream"), 6),
    _rate("send_many / confluent-kafka", ("send", "logd-bulk", "confluent"), 2),
    _rate("send / RabbitMQ streams", ("send", "logd-each", "rabbit-stream"), 3),
    _rate("send / RabbitMQ streams' send", ("send", "logd-each", "rabbit-stream-each"), 3),
    _rate("send / confluent-kafka", ("send", "logd-each", "confluent"), 1),
    _rate("getmany / RabbitMQ streams", ("read", "logd-bulk", "rabbit-stream"), 4),
    _rate("getmany / confluent-kafka", ("read", "logd-bulk", "confluent"), 2),
    _rate("iteration / RabbitMQ streams", ("read", "logd-each", "rabbit-stream"), 1.5),
    _rate("send_many / sketch, 100 B", ("send", "logd-bulk", "sketch"), 0.6),
    _rate("getmany / sketch, 100 B", ("read", "logd-bulk", "sketch"), 0.6),
    _rate("send_many / sketch, 1 KiB", ("send", "logd-bulk", "sketch"), 0.7, group="1-KiB"),
    _rate("getmany / sketch, 1 KiB", ("read", "logd-bulk", "sketch"), 0.7, group="1-KiB"),
    _rate(
        "send_many / Kafka, three nodes, synced",
        ("send", "logd-bulk", "confluent"),
        2,
        group="synced-3-nodes",
    ),
    Goal(
        "p99 of acknowledgements / Kafka's, three nodes, synced, a quarter of the maximum",
        "synced-3-nodes-paced",
        "send",
        "logd-each",
        "confluent",
        1,
        at_least=False,
        figure="p99",
    ),
    *(
        Goal(
            f"end to end at 1 000 records a second, {name}, ms",
            "end-to-end",
            "read",
            "logd-each",
            "",
            limit,
            at_least=False,
            figure=name,
        )
        for name, limit in (("p50", 2), ("p99", 10))
    ),
    *(
        Goal(
            f"end to end, p99 / {word}",
            "end-to-end",
            "read",
            "logd-each",
            other,
            1,
            at_least=False,
            figure="p99",
        )
        for other, word in (("confluent", "Kafka's"), ("rabbit-stream", "RabbitMQ streams'"))
    ),
)
