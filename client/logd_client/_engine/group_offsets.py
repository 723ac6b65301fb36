"""Committed offsets of a group: reading them, and committing one call at a time."""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from logd_proto.v1 import group_pb2
from logd_wire.errors import ErrorCode, LogdError, RebalanceError, UnknownTopicError

from logd_client._core.group_member import Held
from logd_client._core.group_reading import GroupReading
from logd_client._engine.cluster import Cluster
from logd_client._engine.coordinator import Coordinator, by_topic
from logd_client._engine.ports import Clock
from logd_client._transport.errors import from_proto
from logd_client._transport.methods import COMMIT_OFFSETS, FETCH_OFFSETS
from logd_client.values import TopicPartition

logger = logging.getLogger("logd.client.group")

Offsets = Mapping[TopicPartition, int]


class Identity(NamedTuple):
    """Who speaks. `membership` counts how often the member has lost everything."""

    member_id: str = ""
    epoch: int = -1
    membership: int = 0


class GroupOffsets:
    """See the module.

    `identity` says who commits; `ids`: topic ids of what the member holds, None without a member.
    `hurry`: the member's epoch is old, ask for the new one.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        coordinator: Coordinator,
        reading: GroupReading,
        *,
        identity: Callable[[], Identity],
        ids: Callable[[], Mapping[TopicPartition, bytes] | None],
        hurry: Callable[[], None],
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._coordinator = coordinator
        self._reading = reading
        self._identity = identity
        self._ids = ids
        self._hurry = hurry
        self._sequence = 0
        #: Commits go one after the other: an older one must not overtake a newer one.
        self._turn = asyncio.Lock()
        #: Set whenever the member's epoch changes.
        self.moved = asyncio.Event()
        self.committed_at_ms = clock.monotonic_ms()

    async def fetch(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """What the group has committed, of those of which it has something."""
        wanted = await self._with_ids(partitions, must_hold=False)
        if not wanted:
            return {}
        speaker = self._identity()
        request = group_pb2.FetchOffsetsRequest(
            group_id=self._coordinator.group_id,
            member_id=speaker.member_id,
            member_epoch=speaker.epoch,
            topics=by_topic(wanted),
        )
        timeout_ms = self._cluster.config.request_timeout_ms
        answer = await self._coordinator.call(FETCH_OFFSETS, request, timeout_ms=timeout_ms)
        places = {(held.topic_id, held.tp.partition): held.tp for held in wanted}
        return {
            places[each.topic_id, each.partition]: each.offset
            for each in answer.offsets
            if (each.topic_id, each.partition) in places
        }

    async def commit(
        self, wanted: Callable[[], Offsets] | Offsets, *, timeout_ms: float | None = None
    ) -> None:
        """Commit these; a function is asked when it is their turn. Nothing: no call.

        Raises RebalanceError when the partitions may be another member's, and what the coordinator
        refuses; some may have been stored then.
        """
        patience_ms = self._cluster.config.request_timeout_ms if timeout_ms is None else timeout_ms
        async with self._turn:
            offsets = wanted() if callable(wanted) else wanted
            self.committed_at_ms = self._clock.monotonic_ms()
            if offsets:
                await self._commit(offsets, self._clock.monotonic_ms() + patience_ms)

    async def _commit(self, offsets: Offsets, deadline_ms: float) -> None:
        while True:
            speaker = self._identity()
            held = await self._with_ids(offsets)
            # A late copy of an earlier call must not undo this one.
            self._sequence += 1
            request = group_pb2.CommitOffsetsRequest(
                group_id=self._coordinator.group_id,
                member_id=speaker.member_id,
                member_epoch=speaker.epoch,
                sequence=self._sequence if speaker.member_id else 0,
            )
            for topic_id, tp in held:
                request.offsets.add(
                    topic_id=topic_id, partition=tp.partition, offset=offsets[tp], leader_epoch=-1
                )
            left_ms = max(1.0, deadline_ms - self._clock.monotonic_ms())
            try:
                answer = await self._coordinator.call(COMMIT_OFFSETS, request, timeout_ms=left_ms)
            except RebalanceError as error:
                if error.code is not ErrorCode.STALE_MEMBER_EPOCH:
                    raise
                if not await self._wait_moved(speaker, deadline_ms):
                    raise
                continue
            self._take(offsets, [tp for _, tp in held], answer)
            return

    async def _wait_moved(self, speaker: Identity, deadline_ms: float) -> bool:
        """Wait until the same membership has another epoch; False: it ended, or it takes too long.

        What was lost in between may be another member's, even if it came back.
        """
        self._hurry()
        while self._identity() == speaker:
            self.moved.clear()
            left_ms = deadline_ms - self._clock.monotonic_ms()
            try:
                async with asyncio.timeout(max(0.0, left_ms) / 1000):
                    await self.moved.wait()
            except builtins.TimeoutError:
                return False
        return self._identity().membership == speaker.membership

    def _take(
        self,
        offsets: Offsets,
        order: list[TopicPartition],
        answer: group_pb2.CommitOffsetsResponse,
    ) -> None:
        stored: dict[TopicPartition, int] = {}
        refused: list[LogdError] = []
        for tp, outcome in zip(order, answer.outcomes, strict=True):
            if outcome.error.code:
                refused.append(from_proto(outcome.error, broker=self._coordinator.address))
            else:
                stored[tp] = offsets[tp]
        self._reading.committed(stored)
        if refused:
            raise refused[0]

    async def _with_ids(
        self, partitions: Iterable[TopicPartition], *, must_hold: bool = True
    ) -> list[Held]:
        """With topic ids. RebalanceError for what a member does not hold, if it must."""
        wanted = list(partitions)
        ids = self._ids()
        if ids is not None and must_hold:
            for tp in wanted:
                if tp not in ids:
                    raise self._reading.not_ours(tp)
        ids = ids or {}
        unknown = sorted({tp.topic for tp in wanted if tp not in ids and not self._knows(tp)})
        if unknown:
            await self._cluster.refresh(unknown)
        return [Held(ids.get(tp) or self._id_of(tp), tp) for tp in wanted]

    def _knows(self, tp: TopicPartition) -> bool:
        return self._cluster.metadata.topic(tp.topic) is not None

    def _id_of(self, tp: TopicPartition) -> bytes:
        state = self._cluster.metadata.topic(tp.topic)
        if state is None or state.error is not None:
            raise UnknownTopicError(
                f"topic {tp.topic!r} does not exist", hint="see `logd topic list`"
            )
        return state.topic_id
