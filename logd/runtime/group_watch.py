"""How far the groups of this node are behind, measured now and then for the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from logd.groups import Groups
from logd.metadata import ClusterImage
from logd.model.node_config import MetricsSection
from logd.runtime.group_driver import GroupDriver
from logd.runtime.group_lag import Lag, lags, positions, queries
from logd.runtime.log_bounds import LogBounds
from logd.runtime.ports import Clock

#: How often leaders are asked.
INTERVAL_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class LagGauges:
    """One partition of one group; -1: unknown."""

    group_id: str
    topic: str
    partition: int
    records: int
    lag_ms: int


@dataclass(frozen=True, slots=True)
class GroupGauges:
    """Groups that this node coordinates. `members` by group and `lags` are a part where there are
    many. `coordinated`: partitions of the groups' topic that are led here; of those `loading` are
    not answered for yet."""

    count: int = 0
    coordinated: int = 0
    loading: int = 0
    members: tuple[tuple[str, int], ...] = ()
    lags: tuple[LagGauges, ...] = ()


class GroupWatch:
    """`gauges` says how things stand; lags are as old as the last round."""

    def __init__(
        self,
        drivers: Mapping[int, GroupDriver],
        *,
        metrics: MetricsSection,
        bounds: LogBounds,
        image: Callable[[], ClusterImage],
        clock: Clock,
    ) -> None:
        self._drivers = drivers
        self._series_max = metrics.partitions_max if metrics.per_partition else 0
        self._bounds = bounds
        self._image = image
        self._clock = clock
        self._lags: tuple[LagGauges, ...] = ()

    def _machines(self) -> list[Groups]:
        loaded = (driver.machine for driver in list(self._drivers.values()))
        return [machine for machine in loaded if machine is not None]

    def gauges(self) -> GroupGauges:
        """As of now, without a file being touched."""
        machines = self._machines()
        listed = [each for machine in machines for each in machine.listing()]
        return GroupGauges(
            count=len(listed),
            coordinated=len(self._drivers),
            loading=len(self._drivers) - len(machines),
            members=tuple(
                (each.group_id, each.members) for each in islice(listed, self._series_max)
            ),
            lags=self._lags,
        )

    async def run(self) -> None:
        """Measure, again and again."""
        while True:
            await self._clock.sleep_ms(INTERVAL_MS)
            if self._series_max:
                await self.look()

    async def look(self) -> None:
        """One round: as many partitions as have series, asked of their leaders all at once."""
        found = [
            (each.group_id, position)
            for machine in self._machines()
            for each in machine.listing()
            for position in positions(machine, each.group_id)
        ][: self._series_max]
        answers = await self._bounds.of(queries(position for _, position in found))
        measured = lags((position for _, position in found), answers, self._clock.wall_ms())
        self._lags = tuple(
            self._gauges(group_id, lag) for (group_id, _), lag in zip(found, measured, strict=True)
        )

    def _gauges(self, group_id: str, lag: Lag) -> LagGauges:
        partition = lag.position.partition
        topic = self._image().topics.get(partition.topic_id)
        name = "" if topic is None else topic.name
        return LagGauges(group_id, name, partition.partition, lag.records, lag.lag_ms)
