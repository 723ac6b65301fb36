"""Where partitions begin and end, and how old a record is: asked of whoever leads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from logd_wire import read_header
from logd_wire.errors import InvalidRequestError, LogdError, NotLeaderError

from logd.metadata import ClusterImage
from logd.model.ids import NO_NODE, NodeId, TopicPartitionId
from logd.runtime.partition import Partition
from logd.runtime.peers import (
    AskBounds,
    Bounds,
    BoundsAnswer,
    BoundsQuery,
    BoundsTold,
    PeerTransport,
)
from logd.runtime.ports import Disk
from logd.storage import LogView

#: Partitions in one call to a node.
QUERIES_MAX: Final = 1_000
#: How long a node may take that leads partitions.
TIMEOUT_MS: Final = 2_000

#: The partition, if it may be read here and its end is known; raises LogdError otherwise.
FindLed = Callable[[TopicPartitionId], Partition]


class _Asked(NamedTuple):
    node_id: NodeId
    queries: tuple[BoundsQuery, ...]


class LogBounds:
    """Answers for the partitions that this node leads, and asks other nodes for theirs."""

    def __init__(
        self,
        *,
        own_id: NodeId,
        get: Callable[[TopicPartitionId], Partition | None],
        find: FindLed,
        image: Callable[[], ClusterImage],
        disk: Disk,
        transport: PeerTransport | None,
        address_of: Callable[[NodeId], str],
    ) -> None:
        self._own_id = own_id
        self._get = get
        self._find = find
        self._image = image
        self._disk = disk
        self._transport = transport
        self._address_of = address_of

    def own_end(self, partition: TopicPartitionId) -> int:
        """The end of this node's own copy, led here or not; -1: it has none."""
        found = self._get(partition)
        return -1 if found is None else found.view.written_end_offset

    async def of(
        self, queries: Sequence[BoundsQuery], *, timeout_ms: int = TIMEOUT_MS
    ) -> list[BoundsAnswer]:
        """Where each partition begins and ends, or why nobody says; in the order of the queries."""
        answers: dict[int, BoundsAnswer] = {}
        by_leader: dict[NodeId, list[int]] = {}
        for number, query in enumerate(queries):
            try:
                by_leader.setdefault(self._leader_of(query.partition), []).append(number)
            except LogdError as error:
                answers[number] = error
        asked = [
            (some[first : first + QUERIES_MAX], node_id)
            for node_id, some in sorted(by_leader.items())
            for first in range(0, len(some), QUERIES_MAX)
        ]
        shares = [
            self._ask(_Asked(node_id, tuple(queries[number] for number in some)), timeout_ms)
            for some, node_id in asked
        ]
        for (some, _), share in zip(asked, await asyncio.gather(*shares), strict=True):
            answers.update(zip(some, share, strict=True))
        return [answers[number] for number in range(len(queries))]

    def _leader_of(self, partition: TopicPartitionId) -> NodeId:
        state = self._image().topic(partition.topic_id).partition(partition.partition)
        if state.leader_id == NO_NODE and state.replicas != (self._own_id,):
            raise NotLeaderError(f"{partition} is led by nobody at the moment", hint="try again")
        return self._own_id if state.leader_id == NO_NODE else state.leader_id

    async def _ask(self, asked: _Asked, timeout_ms: int) -> Sequence[BoundsAnswer]:
        try:
            return await self._answers(asked, timeout_ms)
        except LogdError as error:
            return [error] * len(asked.queries)

    async def _answers(self, asked: _Asked, timeout_ms: int) -> Sequence[BoundsAnswer]:
        if asked.node_id == self._own_id:
            return await self.here(asked.queries)
        address = self._address_of(asked.node_id)
        if self._transport is None or not address:
            raise NotLeaderError(f"node {asked.node_id} cannot be asked: nobody knows where it is")
        call = AskBounds(asked.queries)
        answer = await self._transport.call(address, call, timeout_ms=timeout_ms)
        assert isinstance(answer, BoundsTold), "the transport matches answers to calls"
        if len(answer.answers) != len(asked.queries):
            raise InvalidRequestError(
                f"node {asked.node_id} answered {len(answer.answers)} of {len(asked.queries)}"
            )
        return answer.answers

    async def here(self, queries: Sequence[BoundsQuery]) -> tuple[BoundsAnswer, ...]:
        """Answers of this node alone, in the order of the queries."""
        return tuple([await self._here(query) for query in queries])

    async def _here(self, query: BoundsQuery) -> BoundsAnswer:
        try:
            found = self._find(query.partition)
            found.check_latest()
            view, end = found.view, found.high_watermark
            appended_ms = -1
            if 0 <= query.offset < end:
                offset = max(query.offset, view.start_offset)
                appended_ms = await self._disk.read(partial(_append_time, view, offset, end))
            return Bounds(view.start_offset, end, appended_ms)
        except LogdError as error:
            return error


def _append_time(view: LogView, offset: int, end: int) -> int:
    """When the record at `offset`, or the first one after it, was appended; -1: nobody knows.

    The log keeps the time of every few kilobytes. In between the record's own time decides.
    """
    read = view.read(offset, bytes_max=1, limit_offset=end)
    if not read.records:
        return -1
    header = read_header(read.records)
    earliest_ms, latest_ms = view.append_times_around(header.base_offset)
    return max(min(header.base_timestamp, latest_ms), earliest_ms)
