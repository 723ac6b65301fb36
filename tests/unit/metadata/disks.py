"""What the model of a cluster knows of its nodes' disks."""

from __future__ import annotations

from dataclasses import dataclass, field

from logd.model.ids import TopicPartitionId


@dataclass
class Disk:
    """What a node is: a directory, and how many acknowledged records of each partition it has."""

    directory: int
    #: None: the process does not run.
    incarnation: int | None = None
    holds: dict[TopicPartitionId, int] = field(default_factory=dict)
    #: Partitions with damage, until the controller knows. A dict keeps the order.
    damaged: dict[TopicPartitionId, None] = field(default_factory=dict)


def id_of(number: int) -> bytes:
    return number.to_bytes(16, "big")
