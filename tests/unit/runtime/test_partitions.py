"""What a node with many partitions must not do for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from logd.metadata import PartitionImage, TopicImage
from logd.model.ids import LeaderEpoch, NodeId, TopicId
from logd.runtime.partitions import TICK_MS, TICK_PORTION, Partitions
from logd.storage.memory_files import MemoryFiles


class Enough(Exception):
    """Ends a loop that has no end."""


class Counted(tuple[PartitionImage, ...]):
    """Knows how often somebody went through it."""

    passes = 0

    def __iter__(self) -> Iterator[PartitionImage]:
        self.passes += 1
        return super().__iter__()


class CountingClock:
    """Counts the pauses of a loop, and ends it at its second round."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def monotonic_ms(self) -> int:
        return len(self.pauses)

    async def sleep_ms(self, milliseconds: float) -> None:
        self.pauses.append(milliseconds)
        if self.pauses.count(TICK_MS) == 2:
            raise Enough


def partitions(clock: Any = None) -> Partitions:
    files = SimpleNamespace(files=MemoryFiles())
    rest: Any = None
    return Partitions(
        config=SimpleNamespace(topic_defaults={}),  # type: ignore[arg-type]
        directory=files,  # type: ignore[arg-type]
        ledger=rest,
        driver=rest,
        disk=rest,
        clock=clock,
        steady=rest,
        spawn=rest,
        traffic=rest,
    )


def topic(number: int) -> tuple[TopicImage, Counted]:
    node = NodeId(1)
    states = Counted(
        PartitionImage(each, node, LeaderEpoch(1), (node,), (node,), 0) for each in range(5)
    )
    return TopicImage(TopicId(bytes([number]) * 16), f"t{number}", states, ()), states


def test_the_configuration_of_a_topic_is_worked_out_once_for_all_its_partitions() -> None:
    owner = partitions()
    first, of_first = topic(1)
    second, of_second = topic(2)
    found = [owner.topic_config(first) for _ in range(5)]
    assert all(each is found[0] for each in found)
    assert of_first.passes == 1
    assert owner.topic_config(second).min_insync_replicas == 1
    assert of_second.passes == 1
    # The same topic in a newer image is another object.
    newer = TopicImage(first.topic_id, first.name, of_first, (("retention.ms", "5000"),))
    assert owner.topic_config(newer).retention_ms == 5_000
    assert owner.topic_config(first).retention_ms != 5_000


@pytest.mark.parametrize(("count", "pauses"), [(3, 0), (TICK_PORTION, 0), (TICK_PORTION + 1, 1)])
async def test_others_have_their_turn_while_many_partitions_look_at_the_clock(
    count: int, pauses: int
) -> None:
    clock, ticks = CountingClock(), [0] * count
    owner = partitions(clock)

    class Ticking:
        state = SimpleNamespace(replicas=(1, 2))

        def __init__(self, number: int) -> None:
            self._number = number

        def tick(self, now_ms: int) -> None:
            ticks[self._number] += 1

    owner._partitions = {number: Ticking(number) for number in range(count)}  # type: ignore[misc]
    with pytest.raises(Enough):
        await owner._tick_loop()
    assert ticks == [1] * count
    assert clock.pauses == [TICK_MS, *[0] * pauses, TICK_MS]
