"""Consumer groups in memory, for tests of the edge: the real machine without a log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from logd.groups import (
    Commit,
    Decision,
    GroupListing,
    Groups,
    GroupSettings,
    Heartbeat,
    HeartbeatReply,
    Outcomes,
    TopicView,
)
from logd.metadata import ClusterImage, PartitionImage
from logd.model.ids import LeaderEpoch, NodeId, TopicPartitionId
from logd.runtime.group_lag import Lag, lags, positions
from logd.runtime.patterns import compile_pattern
from logd.runtime.peers import Bounds

T = TypeVar("T")


class FakeGroups:
    """Has the surface of `logd.runtime.group_coordinator.GroupCoordinator`; node 1 coordinates.

    `end`: of every partition. `refusal`: what every call is refused with.
    """

    def __init__(self, image: Callable[[], ClusterImage]) -> None:
        self._image = image
        self._groups = Groups(GroupSettings(), new_pattern=compile_pattern)
        self._groups.loaded(0)
        self.end = 100
        self.now_ms = 0
        self.refusal: BaseException | None = None

    def _ready(self) -> Groups:
        if self.refusal is not None:
            raise self.refusal
        topics = {
            topic.name: TopicView(topic.topic_id, len(topic.partitions))
            for topic in self._image().topics.values()
        }
        self._replay(self._groups.topics_changed(topics, self.now_ms).records)
        return self._groups

    def _replay(self, records: Iterable[Any]) -> None:
        for record in records:
            self._groups.replay(record)

    async def find(self, _group_id: str) -> PartitionImage:
        self._ready()
        node = NodeId(1)
        return PartitionImage(0, node, LeaderEpoch(4), (node,), (node,), 0)

    async def heartbeat(self, said: Heartbeat, _wait_ms: int) -> HeartbeatReply:
        return await self.decide(
            said.group_id, lambda groups, now_ms, _wall_ms: groups.heartbeat(said, now_ms)
        )

    async def commit(self, request: Commit) -> Outcomes:
        ends = {
            TopicPartitionId(each.topic_id, each.partition): self.end for each in request.offsets
        }
        return await self.decide(
            request.group_id,
            lambda groups, _now_ms, wall_ms: groups.commit(request, wall_ms, ends),
        )

    async def lag(self, group_id: str) -> list[Lag]:
        self._ready().describe(group_id, self.now_ms)
        found = positions(self._groups, group_id)
        return lags(found, [Bounds(0, self.end, 400) for _ in found], 1_000)

    async def listing(self) -> list[GroupListing]:
        return list(self._ready().listing())

    async def read(self, _group_id: str, look: Callable[[Groups], T]) -> T:
        return look(self._ready())

    async def decide(self, _group_id: str, handle: Callable[[Groups, int, int], Decision[T]]) -> T:
        decision = handle(self._ready(), self.now_ms, 1_000)
        self._replay(decision.records)
        return decision.reply
