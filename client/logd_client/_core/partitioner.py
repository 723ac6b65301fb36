"""Which partition a record goes to: the rules of Kafka's Java client.

A record with a key (an empty one included) goes to `toPositive(murmur2(key)) % partitions`. A
record without one (None) sticks to a partition until its batch is closed and then moves on, so
that records without key fill few large batches instead of many small ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from logd_client._core.ports import Rng


def next_sticky(current: int, available: Sequence[int], partitions: int, rng: Rng) -> int:
    """Return the partition after `current` (-1: none yet) for records without key.

    Drawn from `available` (those with a leader), or from all when none has one; never `current`
    again while there is another.
    """
    choices: Sequence[int] = available or range(partitions)
    others = [partition for partition in choices if partition != current]
    if not others:
        return choices[0]
    return others[int(rng.random() * len(others))]
